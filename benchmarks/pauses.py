"""Time and words of a long recording with and without its pauses.

    python benchmarks/pauses.py MANIFEST [-m BUNDLE] [--minutes 60] [--share 0.4] [--turns 3]

MANIFEST: recordings with their text. They are put end to end, each time in another order, with pauses between them of
random length (at least 0.3 s, exponential beyond) that are ``--share`` of the whole, as in a meeting, with noise of
-66 dBFS throughout. The same recording is transcribed with and without its pauses in turns, in one process;
a ratio is the median over the turns of what was measured in the same turn. Errors are counted on the text of the whole.
"""

from __future__ import annotations

import time

import _kit
import numpy as np
from numpy.typing import NDArray

from wav2edge.measure import scoring
from wav2edge.runtime.audio import read
from wav2edge.runtime.recordings.transcriber import Transcriber

NOISE = 10**-3.3
"""Root mean square of the background noise."""
SHORTEST = 0.3
"""Seconds of the shortest pause."""


def main() -> None:
    """Make the recording, transcribe it both ways in turns, print."""
    parser = _kit.parser(__doc__)
    parser.add_argument("manifest")
    _kit.add_model(parser, threads=2)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.4, help="of pauses in the whole")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--split", help="only these rows of the manifest")
    parser.add_argument("--corpora", nargs="+", default=())
    parser.add_argument("--limit", type=int, help="recordings at most, evenly picked")
    arguments = parser.parse_args()
    rows = _kit.rows_of(arguments.manifest, split=arguments.split, corpora=arguments.corpora, limit=arguments.limit)
    sound, text = meeting([(read.load(row.audio), row.text or "") for row in rows], arguments.minutes, arguments.share)
    with _kit.open_model(arguments) as model, _kit.Output(arguments) as output:
        output.say(f"{model.engine} {model.variant.name}, {model.options.threads} threads, {len(sound) / 16000:.0f} s")
        ways = {
            way: Transcriber(model, skip_silence=way == "without pauses") for way in ("everything", "without pauses")
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        texts: dict[str, str] = {}
        for _ in range(arguments.turns):
            for way, transcriber in ways.items():
                started = time.perf_counter()
                texts[way] = transcriber(sound).text
                taken[way].append(time.perf_counter() - started)
        chunks = ways["without pauses"].chunks(ways["without pauses"].open_recording(sound))
        run = sum(len(chunk.samples) for chunk in chunks) / len(sound)
        output.say(f"without pauses {run:.3f} of the samples are run")
        for way in ways:
            wer = scoring.score([text], [texts[way]]).wer.value
            ratio = np.median(np.divide(taken[way], taken["everything"]))
            output.say(f"{way:15} {min(taken[way]):7.2f} s ({ratio:.3f} of everything), WER {100 * (wer or 0):.2f} %")
        edits = scoring.word_edits(texts["everything"], texts["without pauses"])
        output.say(f"words that differ between the two: {100 * edits.errors / max(1, edits.length):.2f} %")


def meeting(
    clips: list[tuple[NDArray[np.float32], str]], minutes: float, share: float
) -> tuple[NDArray[np.float32], str]:
    """Recordings with pauses between them, and their text."""
    draw = np.random.default_rng(0)
    mean = np.mean([len(samples) for samples, _ in clips]) / _kit.RATE * share / (1 - share)
    parts, words, held = [], [], 0
    while held < minutes * 60 * _kit.RATE:
        for index in draw.permutation(len(clips)):
            samples, text = clips[index]
            pause = SHORTEST + draw.exponential(max(0.1, mean - SHORTEST))
            parts += [samples, np.zeros(round(pause * _kit.RATE), np.float32)]
            words.append(text)
            held += len(parts[-2]) + len(parts[-1])
            if held >= minutes * 60 * _kit.RATE:
                break
    said = np.concatenate(parts)
    return said + draw.normal(0, NOISE, len(said)).astype(np.float32), " ".join(words)


if __name__ == "__main__":
    main()

"""How the text of a long recording depends on the window and the context with which it is cut.

    python benchmarks/chunking.py SPEECH [-m BUNDLE] [--recordings 10] [--seconds 60] [--docs docs/figures/chunking.md]

SPEECH is a manifest or a folder of recordings with text. Recordings are made of whole utterances in a drawn order,
with 0.3 s between them. Columns:

* changed: character error rate of the text in windows against that of one pass over the whole recording.
* WER, and how much it is above that of one pass, with a paired 95 % bootstrap interval over the recordings.
* sure: frames where both the windows and the one pass prefer their label to the next by at least --margin (in logits);
  changed there: ``changed``, with all other frames, whose labels are uncertain, left blank in both.
* control: ``changed`` of a model whose context is 0.2 s, stitched the same: the bundle's own convolutions, averaged
  over 0.2 s to each side and projected to labels by a fixed random matrix. 0 shows that cutting, normalising and
  stitching lose nothing, and that the rest of ``changed`` comes from the model's dependence on distant sound.
* work: seconds that the model is run on for each second of audio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import _kit
import numpy as np
from numpy.typing import NDArray

from wav2edge.measure import manifest, scoring
from wav2edge.runtime.audio import read
from wav2edge.runtime.audio.loudness import measure
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED, OUTPUT_LENGTHS
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.recordings.batch import LANES
from wav2edge.runtime.recordings.chunking import Chunk, Chunking, Stitcher
from wav2edge.runtime.recordings.transcriber import Transcriber

GAP = 0.3
WINDOWS = (15.0, 20.0, 30.0, 45.0)
CONTEXTS = (0.5, 1.0, 2.0, 4.0)
REACH = 10
"""Frames to each side that the control averages over: less than the least distance of a seam from a window's end."""


@dataclass(frozen=True)
class Recognised:
    """A recording's frames [frames, labels] of the model and of the control, and the model's text."""

    logits: np.ndarray
    control: np.ndarray
    text: str


def main() -> None:
    """Print the table."""
    parser = _kit.parser(__doc__)
    parser.add_argument("speech")
    _kit.add_model(parser)
    parser.add_argument("--split")
    parser.add_argument("--recordings", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--windows", type=float, nargs="+", default=WINDOWS)
    parser.add_argument("--contexts", type=float, nargs="+", default=CONTEXTS)
    parser.add_argument("--margin", type=float, default=2.0, help="in logits (default: 2, odds of 7 to 1)")
    parser.add_argument("--minutes", type=float, default=2.5, help="stop after so long")
    arguments = parser.parse_args()
    with _kit.Output(arguments) as output:
        measure_all(arguments, output)


def measure_all(arguments: argparse.Namespace, output: _kit.Output) -> None:
    """Print a line for each window and context."""
    deadline = time.monotonic() + 60 * arguments.minutes
    rows = manifest.scan(arguments.speech, split=arguments.split)[0]
    with Transcriber(_kit.open_model(arguments), lanes=LANES) as transcriber:
        model = transcriber.model
        made = [
            recording(rows, seed, arguments.seconds, transcriber.spec.sample_rate)
            for seed in range(arguments.recordings)
        ]
        seconds = sum(len(samples) for samples, _ in made) / transcriber.spec.sample_rate
        references = [text for _, text in made]
        runner = Runner(transcriber)
        recordings = [samples for samples, _ in made]
        whole = runner.run_all(recordings, Chunking(10 * arguments.seconds, 1.0))
        texts = [one.text for one in whole]
        one_pass = scoring.score(references, texts)
        output.say(f"{model.engine} {model.variant.name}: {len(made)} recordings, {seconds / 60:.1f} minutes")
        output.say(f"one pass over each whole recording: WER {one_pass.wer}, CER {one_pass.cer}\n")
        output.say(
            f"{'window':>7} {'context':>8} {'changed':>9} {'WER':>8} {'above one pass (points)':>26} {'sure':>7} "
            f"{'changed there':>14} {'control':>9} {'work':>6} {'× real time':>12}"
        )
        for window in arguments.windows:
            for context in arguments.contexts:
                if 4 * context > window or time.monotonic() > deadline:
                    continue
                recognised = runner.run_all(recordings, Chunking(window, context))
                scores = scoring.score(references, [one.text for one in recognised])
                above = scoring.difference(one_pass.words, scores.words)
                shares, there = sure(transcriber, whole, recognised, arguments.margin)
                output.say(
                    f"{window:5.0f} s {context:6.1f} s {changed(texts, [one.text for one in recognised]):>9} "
                    f"{100 * scores.wer.value:6.1f} % {str(above).replace(' points', ''):>26} {100 * shares:5.1f} % "
                    f"{there:>14} {control(transcriber, whole, recognised):>9} {runner.seconds / seconds:6.2f} "
                    f"{seconds / runner.elapsed:12.1f}"
                )
        transcriber.chunking = Chunking()
        apart = changed(texts, [alone(transcriber, samples) for samples in recordings])
        output.say(f"\neach window normalised by itself, {Chunking().length:g} s and {Chunking().context:g} s: {apart}")
        if time.monotonic() > deadline:
            output.say(f"stopped after {arguments.minutes:g} minutes")


class Runner:
    """Runs recordings in windows, the model and the control; ``seconds`` of audio, in ``elapsed`` seconds."""

    def __init__(self, transcriber: Transcriber) -> None:
        """Draw the control's matrix."""
        self.seconds = 0.0
        self.elapsed = 0.0
        self._transcriber = transcriber
        self._model = transcriber.model
        channels = self._run(np.zeros(transcriber.spec.sample_rate, np.float32))[1].shape[1]
        shape = channels, len(transcriber.spec.labels)
        self._matrix: NDArray[np.float64] = np.random.default_rng(0).normal(size=shape) / np.sqrt(channels)

    def run_all(self, recordings: Sequence[np.ndarray], chunking: Chunking) -> list[Recognised]:
        """Recordings [samples] in windows, several recordings at once; one that fits a single window is one pass."""
        self._transcriber.chunking = chunking
        started = time.perf_counter()
        with ThreadPoolExecutor(self._transcriber.lanes) as pool:
            found = list(pool.map(self._run_one, recordings))
        self.elapsed = time.perf_counter() - started
        self.seconds = sum(seconds for _, seconds in found)
        return [recognised for recognised, _ in found]

    def _run_one(self, samples: np.ndarray) -> tuple[Recognised, float]:
        cuts = list(self._transcriber.chunks(self._transcriber.open_recording(samples)))
        loudness = measure([samples])
        ran = [self._run(loudness.normalized(cut.samples)) for cut in cuts]
        logits = stitched(self._transcriber, cuts, [found[0] for found in ran])
        local = stitched(self._transcriber, cuts, [self._control(found[1]) for found in ran])
        seconds = sum(len(cut.samples) for cut in cuts) / self._transcriber.spec.sample_rate
        return Recognised(logits, local, text_of(self._transcriber, logits)), seconds

    def _run(self, normalized: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logits [frames, labels] and the convolutions' features [frames, channels] of a window."""
        lengths = np.array([len(normalized)], dtype=np.int64)
        features = self._model.run("frontend", {NORMALIZED: normalized[None], INPUT_LENGTHS: lengths})
        outputs = self._model.run("encoder", {name: features[name] for name in (FEATURES, FEATURE_LENGTHS)})
        frames = int(outputs[OUTPUT_LENGTHS][0])
        return outputs[self._transcriber.spec.outputs[0].name][0, :frames], features[FEATURES][0, :frames]

    def _control(self, features: np.ndarray) -> np.ndarray:
        """Features [frames, channels] as logits of a model whose context is REACH frames."""
        scores = features.astype(np.float64) @ self._matrix
        padded = np.pad(scores, ((REACH + 1, REACH), (0, 0)))
        sums = np.cumsum(padded, axis=0)
        return (sums[2 * REACH + 1 :] - sums[: -2 * REACH - 1]).astype(np.float32)


def stitched(transcriber: Transcriber, cuts: Sequence[Chunk], logits: Sequence[np.ndarray]) -> np.ndarray:
    """The frames [frames, labels] of a recording from those of its windows."""
    assert transcriber.spec.blank is not None
    stitcher = Stitcher(transcriber.spec.blank)
    return np.concatenate([stitcher.push(cut, rows) for cut, rows in zip(cuts, logits)])


def text_of(transcriber: Transcriber, logits: np.ndarray) -> str:
    """The text of a recording's frames, as the runtime segments and decodes them."""
    decoding = transcriber.decoding()
    decoding.push(Chunk(np.zeros(0, np.float32), 0, None), logits)
    return decoding.transcript().text


def sure(
    transcriber: Transcriber, whole: Sequence[Recognised], recognised: Sequence[Recognised], margin: float
) -> tuple[float, str]:
    """The share of frames where both are sure, and how much of the text differs there."""
    assert transcriber.spec.blank is not None
    frames = agreed = 0
    texts: list[tuple[str, str]] = []
    for first, second in zip(whole, recognised):
        both = np.ones(len(first.logits), dtype=bool)
        for logits in (first.logits, second.logits):
            best = np.sort(logits, axis=1)
            both &= best[:, -1] - best[:, -2] >= margin
        frames += len(both)
        agreed += int(both.sum())
        only = np.full((1, first.logits.shape[1]), -1e4, np.float32)
        only[0, transcriber.spec.blank] = 0.0
        masked = [np.where(both[:, None], logits, only) for logits in (first.logits, second.logits)]
        texts.append((text_of(transcriber, masked[0]), text_of(transcriber, masked[1])))
    return agreed / frames, changed([pair[0] for pair in texts], [pair[1] for pair in texts])


def control(transcriber: Transcriber, whole: Sequence[Recognised], recognised: Sequence[Recognised]) -> str:
    """How much of the control's characters differ."""
    assert transcriber.spec.blank is not None
    blank = transcriber.spec.blank

    def characters(logits: np.ndarray) -> str:
        return "".join(chr(0x4E00 + token.label) for token in ctc.tokens(logits, blank))

    return changed([characters(one.control) for one in whole], [characters(one.control) for one in recognised])


def changed(before: Sequence[str], after: Sequence[str]) -> str:
    """How many of the characters differ, in per cent; ``none`` where nothing does."""
    value = scoring.score(before, after, "none").cer
    return "none" if value.errors == 0 else f"{100 * value.value:.2f} %"


def alone(transcriber: Transcriber, samples: np.ndarray) -> str:
    """The text of a recording whose windows are normalised each by itself."""
    cuts = list(transcriber.chunks(transcriber.open_recording(samples)))
    return text_of(transcriber, stitched(transcriber, cuts, [transcriber.logits([cut.samples])[0] for cut in cuts]))


def recording(rows: tuple[manifest.Row, ...], seed: int, seconds: float, sample_rate: int) -> tuple[np.ndarray, str]:
    """Whole utterances in a drawn order, up to ``seconds``, and what is spoken in them."""
    order = np.random.default_rng(seed).permutation(len(rows))
    pieces: list[np.ndarray] = []
    texts: list[str] = []
    length = 0.0
    for index in order:
        samples = read.load(rows[index].audio, sample_rate)
        if length + len(samples) / sample_rate + GAP > seconds:
            break
        pieces += [samples, np.zeros(int(GAP * sample_rate), np.float32)]
        texts.append(rows[index].text)
        length += len(samples) / sample_rate + GAP
    return np.concatenate(pieces), " ".join(texts)


if __name__ == "__main__":
    main()

"""How far the text of a long recording depends on the window and the context it is cut with, and why.

    python benchmarks/chunking.py SPEECH [-m BUNDLE] [--recordings 10] [--seconds 60] [--docs docs/figures/chunking.md]

SPEECH is a manifest or a folder of recordings with text. Recordings are made of whole utterances in a drawn order,
with 0.3 s between them. Columns:

* changed: character error rate of the text in windows against that of one pass over the whole recording.
* WER, and how much it is above that of one pass, with a paired 95 % bootstrap interval over the recordings.
* sure: frames where both the windows and the one pass prefer their label to the next by at least --margin (in logits);
  changed there: ``changed``, with all other frames left blank in both. What it spares are frames that are undecided
  anyway.
* control: ``changed`` of a model that hears no further than 0.2 s, stitched the same: the bundle's own convolutions,
  averaged over 0.2 s to each side and projected to labels by a fixed random matrix. 0 says that cutting, normalising
  and stitching lose nothing, and that the rest of ``changed`` is the model's own dependence on what lies far away.
* work: seconds that the model is run on for each second of audio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import _docs
import numpy as np

from wav2edge.devices.open import open_model
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
class Heard:
    """A recording's frames [frames, labels] of the model and of the control, and the model's text."""

    logits: np.ndarray
    control: np.ndarray
    text: str


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech")
    parser.add_argument("-m", "--model", metavar="BUNDLE")
    parser.add_argument("--engine")
    parser.add_argument("--variant")
    parser.add_argument("--split")
    parser.add_argument("--recordings", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--windows", type=float, nargs="+", default=WINDOWS)
    parser.add_argument("--contexts", type=float, nargs="+", default=CONTEXTS)
    parser.add_argument("--margin", type=float, default=2.0, help="in logits (default: 2, odds of 7 to 1)")
    parser.add_argument("--minutes", type=float, default=2.5, help="stop after so long")
    parser.add_argument("--docs", metavar="FILE.md", help="write the table as a figure of the documentation, too")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    rows = manifest.scan(arguments.speech, split=arguments.split)[0]
    with Transcriber(open_model(arguments.model, arguments.engine, arguments.variant), lanes=LANES) as transcriber:
        made = [
            recording(rows, seed, arguments.seconds, transcriber.spec.sample_rate)
            for seed in range(arguments.recordings)
        ]
        seconds = sum(len(samples) for samples, _ in made) / transcriber.spec.sample_rate
        references = [text for _, text in made]
        listener = Listener(transcriber)
        recordings = [samples for samples, _ in made]
        whole = listener.hear(recordings, Chunking(10 * arguments.seconds, 1.0))
        one_pass = scoring.score(references, [heard.text for heard in whole])
        say(f"{transcriber.engine} {transcriber.variant}: {len(made)} recordings, {seconds / 60:.1f} minutes")
        say(f"one pass over each whole recording: WER {one_pass.wer}, CER {one_pass.cer}\n")
        say(
            f"{'window':>7} {'context':>8} {'changed':>9} {'WER':>8} {'above one pass (points)':>26} {'sure':>7} "
            f"{'changed there':>14} {'control':>9} {'work':>6} {'× real time':>12}"
        )
        for window in arguments.windows:
            for context in arguments.contexts:
                if 4 * context > window or time.monotonic() > deadline:
                    continue
                heard = listener.hear(recordings, Chunking(window, context))
                scores = scoring.score(references, [one.text for one in heard])
                above = scoring.difference(one_pass.words, scores.words)
                shares, there = sure(transcriber, whole, heard, arguments.margin)
                say(
                    f"{window:5.0f} s {context:6.1f} s {changed([w.text for w in whole], [h.text for h in heard]):>9} "
                    f"{100 * scores.wer.value:6.1f} % {str(above).replace(' points', ''):>26} {100 * shares:5.1f} % "
                    f"{there:>14} {control(transcriber, whole, heard):>9} {listener.seconds / seconds:6.2f} "
                    f"{seconds / listener.elapsed:12.1f}"
                )
        transcriber.chunking = Chunking()
        apart = changed([one.text for one in whole], [alone(transcriber, samples) for samples in recordings])
        say(f"\neach window normalised by itself, {Chunking().window:g} s and {Chunking().context:g} s: {apart}")
        if time.monotonic() > deadline:
            say(f"stopped after {arguments.minutes:g} minutes")
    if arguments.docs:
        _docs.write(Path(arguments.docs), ["```", *lines, "```"])


class Listener:
    """Runs recordings in windows, the model and the control; ``seconds`` of audio, in ``elapsed`` seconds."""

    def __init__(self, transcriber: Transcriber) -> None:
        """Draw the control's matrix."""
        self.seconds = 0.0
        self.elapsed = 0.0
        self._transcriber = transcriber
        self._model = transcriber.model
        channels = self._run(np.zeros(transcriber.spec.sample_rate, np.float32))[1].shape[1]
        shape = channels, len(transcriber.spec.labels)
        self._matrix = np.random.default_rng(0).normal(size=shape) / np.sqrt(channels)

    def hear(self, recordings: Sequence[np.ndarray], chunking: Chunking) -> list[Heard]:
        """Recordings [samples] in windows, several recordings at once; one that fits a single window is one pass."""
        self._transcriber.chunking = chunking
        started = time.perf_counter()
        with ThreadPoolExecutor(self._transcriber.lanes) as pool:
            found = list(pool.map(self._hear, recordings))
        self.elapsed = time.perf_counter() - started
        self.seconds = sum(seconds for _, seconds in found)
        return [heard for heard, _ in found]

    def _hear(self, samples: np.ndarray) -> tuple[Heard, float]:
        cuts = list(self._transcriber.chunks(samples))
        loudness = measure([samples])
        ran = [self._run(loudness.normalized(cut.samples)) for cut in cuts]
        logits = stitched(self._transcriber, cuts, [found[0] for found in ran])
        local = stitched(self._transcriber, cuts, [self._control(found[1]) for found in ran])
        seconds = sum(len(cut.samples) for cut in cuts) / self._transcriber.spec.sample_rate
        return Heard(logits, local, said(self._transcriber, logits)), seconds

    def _run(self, normalized: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logits [frames, labels] and the convolutions' features [frames, channels] of a window."""
        lengths = np.array([len(normalized)], dtype=np.int64)
        features = self._model.run("frontend", {NORMALIZED: normalized[None], INPUT_LENGTHS: lengths})
        outputs = self._model.run("encoder", {name: features[name] for name in (FEATURES, FEATURE_LENGTHS)})
        frames = int(outputs[OUTPUT_LENGTHS][0])
        return outputs[self._transcriber.spec.outputs[0].name][0, :frames], features[FEATURES][0, :frames]

    def _control(self, features: np.ndarray) -> np.ndarray:
        """Features [frames, channels] as logits of a model that hears no further than REACH frames."""
        scores = features.astype(np.float64) @ self._matrix
        padded = np.pad(scores, ((REACH + 1, REACH), (0, 0)))
        sums = np.cumsum(padded, axis=0)
        return (sums[2 * REACH + 1 :] - sums[: -2 * REACH - 1]).astype(np.float32)


def stitched(transcriber: Transcriber, cuts: Sequence[Chunk], logits: Sequence[np.ndarray]) -> np.ndarray:
    """The frames [frames, labels] of a recording from those of its windows."""
    assert transcriber.spec.blank is not None
    stitcher = Stitcher(transcriber.spec.blank)
    return np.concatenate([stitcher.push(cut, rows) for cut, rows in zip(cuts, logits)])


def said(transcriber: Transcriber, logits: np.ndarray) -> str:
    """The text of a recording's frames, as the runtime segments and decodes them."""
    decoding = transcriber.decoding()
    decoding.push(Chunk(np.zeros(0, np.float32), 0, None), logits)
    return decoding.transcript().text


def sure(transcriber: Transcriber, whole: Sequence[Heard], heard: Sequence[Heard], margin: float) -> tuple[float, str]:
    """The share of frames where both are sure, and how much of the text differs there."""
    assert transcriber.spec.blank is not None
    frames = agreed = 0
    texts: list[tuple[str, str]] = []
    for first, second in zip(whole, heard):
        both = np.ones(len(first.logits), dtype=bool)
        for logits in (first.logits, second.logits):
            best = np.sort(logits, axis=1)
            both &= best[:, -1] - best[:, -2] >= margin
        frames += len(both)
        agreed += int(both.sum())
        only = np.full((1, first.logits.shape[1]), -1e4, np.float32)
        only[0, transcriber.spec.blank] = 0.0
        masked = [np.where(both[:, None], logits, only) for logits in (first.logits, second.logits)]
        texts.append((said(transcriber, masked[0]), said(transcriber, masked[1])))
    return agreed / frames, changed([pair[0] for pair in texts], [pair[1] for pair in texts])


def control(transcriber: Transcriber, whole: Sequence[Heard], heard: Sequence[Heard]) -> str:
    """How much of the control's characters differ."""
    assert transcriber.spec.blank is not None
    blank = transcriber.spec.blank

    def characters(logits: np.ndarray) -> str:
        return "".join(chr(0x4E00 + token.label) for token in ctc.tokens(logits, blank))

    return changed([characters(one.control) for one in whole], [characters(one.control) for one in heard])


def changed(before: Sequence[str], after: Sequence[str]) -> str:
    """How many of the characters differ, in per cent; ``none`` where nothing does."""
    value = scoring.score(before, after, "none").cer
    return "none" if value.errors == 0 else f"{100 * value.value:.2f} %"


def alone(transcriber: Transcriber, samples: np.ndarray) -> str:
    """The text of a recording whose windows are normalised each by itself."""
    cuts = list(transcriber.chunks(samples))
    return said(transcriber, stitched(transcriber, cuts, [transcriber.logits([cut.samples])[0] for cut in cuts]))


def recording(rows: tuple[manifest.Row, ...], seed: int, seconds: float, sample_rate: int) -> tuple[np.ndarray, str]:
    """Whole utterances in a drawn order, up to ``seconds``, and what is said in them."""
    order = np.random.default_rng(seed).permutation(len(rows))
    pieces: list[np.ndarray] = []
    texts: list[str] = []
    length = 0.0
    for index in order:
        samples = read.load(rows[index].path, sample_rate)
        if length + len(samples) / sample_rate + GAP > seconds:
            break
        pieces += [samples, np.zeros(int(GAP * sample_rate), np.float32)]
        texts.append(rows[index].text)
        length += len(samples) / sample_rate + GAP
    return np.concatenate(pieces), " ".join(texts)


if __name__ == "__main__":
    main()

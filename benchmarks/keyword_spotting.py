"""How many phrases `wav2edge listen` finds among other speech, and how many false alarms it has.

    python benchmarks/keyword_spotting.py --phrases phrases.jsonl --speech speech.jsonl [--player paplay]

The rows of --phrases have a `label` each; --speech is speech without them. Phrases stand in turn after a pause and
between stretches of speech without a pause, at equal loudness. With --player they are played into the (virtual)
microphone in real time, else they go through the same session without waiting. Then all of --speech goes through a
session without waiting: every label there is a false alarm. A phrase is found where its label comes while it is said or
within `LATEST` seconds after it; each label finds one phrase.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import _kit
import numpy as np
import soundfile
from _kit import RATE
from numpy.typing import NDArray

from wav2edge.measure import manifest
from wav2edge.measure.manifest import Row
from wav2edge.runtime.audio import read
from wav2edge.runtime.live.capture import Microphone
from wav2edge.runtime.live.events import Dropped, Label
from wav2edge.runtime.live.labels import LiveClassifier
from wav2edge.runtime.live.session import LiveSession
from wav2edge.runtime.live.sources import PiecesSource, SkippingClock, pieces

LATEST = 2.5
"""Seconds after a phrase at which its label may still come: a window, and one hop."""
PAUSE = 1.5
"""Seconds between phrases, and between recordings of speech."""

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Said:
    """A phrase in the stream, in seconds."""

    label: str
    start: float
    end: float
    path: Path


def scene(phrases: Sequence[Row], speech: Sequence[Row], seed: int) -> tuple[Samples, list[Said]]:
    """One recording with every phrase in it, and where each is; every second one is between speech without a pause."""
    generator = np.random.default_rng(seed)
    parts: list[Samples] = [np.zeros(2 * RATE, np.float32)]
    said: list[Said] = []
    for number, row in enumerate(phrases):
        clip = read.load(row.audio, RATE)
        loud = _level(clip)
        if number % 2:
            parts.append(_stretch(speech, loud, generator))
        start = sum(map(len, parts))
        parts.append(clip)
        said.append(Said(str(row.label), start / RATE, (start + len(clip)) / RATE, row.path))
        if number % 2:
            parts.append(_stretch(speech, loud, generator))
        parts.append(np.zeros(int(PAUSE * RATE), np.float32))
    return np.concatenate([*parts, np.zeros(3 * RATE, np.float32)]), said


def _stretch(speech: Sequence[Row], loud: float, generator: np.random.Generator) -> Samples:
    """Two to four seconds of one recording, at a loudness."""
    samples = read.load(speech[int(generator.integers(len(speech)))].audio, RATE)
    length = int(generator.uniform(2, 4) * RATE)
    start = int(generator.integers(max(1, len(samples) - length)))
    piece = samples[start : start + length]
    return np.asarray(piece * (loud / _level(piece)), np.float32)


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) + 1e-6


def labels_of(session: LiveSession) -> tuple[list[Label], float]:
    """The labels of a session that is run to its end, and the seconds that it lost."""
    events = list(session)
    lost = sum(event.seconds for event in events if isinstance(event, Dropped))
    return [event for event in events if isinstance(event, Label)], lost


def without_waiting(live: LiveClassifier, sound: Iterator[Samples]) -> tuple[list[Label], float]:
    """The labels of sound that comes as fast as it is processed."""
    return labels_of(live.session(PiecesSource(pieces(sound), SkippingClock())))


def through_microphone(live: LiveClassifier, sound: Samples, player: str) -> tuple[list[Label], float]:
    """The labels of sound that a command plays into the microphone in real time; times are those of the sound."""
    microphone = Microphone()
    began: list[float] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(microphone):
        path = Path(folder) / "scene.wav"
        soundfile.write(path, sound, RATE, subtype="PCM_16")
        session = live.session(microphone)

        def play() -> None:
            time.sleep(1.0)
            began.append(microphone.present() / RATE)
            subprocess.run([*shlex.split(player), str(path)], check=False)
            time.sleep(1.0)
            session.stop()

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        found, lost = labels_of(session)
        thread.join()
    return [Label(one.label, one.start - began[0], one.end - began[0], one.score) for one in found], lost


def match(said: Sequence[Said], found: Sequence[Label]) -> tuple[list[bool], list[Label], list[float]]:
    """Which phrases were found, the false alarms, and the seconds from each phrase's end to its label."""
    left, hits, lags = list(found), [], []
    for phrase in said:
        fits = [one for one in left if one.label == phrase.label and phrase.start < one.end <= phrase.end + LATEST]
        hits.append(bool(fits))
        for one in fits[:1]:
            left.remove(one)
            lags.append(one.end - phrase.end)
    return hits, left, lags


def spoken(rows: Sequence[Row]) -> Iterator[Samples]:
    """Recordings one after the other with a pause after each."""
    for row in rows:
        yield read.load(row.audio, RATE)
        yield np.zeros(int(PAUSE * RATE), np.float32)


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = _kit.parser(__doc__)
    _kit.add_model(parser, threads=1)
    parser.set_defaults(model="keyword")
    parser.add_argument("--phrases", required=True, help="manifest with a label for each recording")
    parser.add_argument("--speech", required=True, help="manifest of speech without the phrases")
    parser.add_argument("--player", help="command that plays a file into the microphone")
    parser.add_argument("--count", type=int, default=100, help="phrases, evenly picked (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    options = arguments()
    rows = manifest.read(options.phrases, need="label")
    phrases = [rows[int(at)] for at in np.linspace(0, len(rows) - 1, min(options.count, len(rows))).round()]
    np.random.default_rng(options.seed).shuffle(phrases)
    speech = manifest.read(options.speech, need=None)
    with _kit.open_model(options) as model, _kit.Output(options, markdown=True) as output:
        live = LiveClassifier(model)
        sound, said = scene(phrases, speech, options.seed)
        if options.player:
            found, lost = through_microphone(live, sound, options.player)
        else:
            found, lost = without_waiting(live, iter([sound]))
        hits, wrong, lags = match(said, found)
        how = "through the microphone" if options.player else "without waiting"
        seconds = len(sound) / RATE
        output.say(f"{model.bundle.path.name}, {model.variant.name} on {model.engine}; {lost:.1f} s of sound lost.", "")
        output.say("| phrases | said | found |", "|---|---:|---:|")
        counts, right = Counter(one.label for one in said), Counter(o.label for o, hit in zip(said, hits) if hit)
        for label, count in sorted(counts.items()):
            output.say(f"| {label} | {count} | {right[label]} |")
        for name, start in (("after a pause", 0), ("in other speech", 1)):
            output.say(f"| {name} | {len(hits[start::2])} | {sum(hits[start::2])} |")
        output.say(f"| **all, {how}** | {len(hits)} | **{sum(hits)} ({100 * np.mean(hits):.1f} %)** |", "")
        median = f"; label {np.median(lags):.2f} s after the end of the recording (median)" if lags else ""
        output.say(f"{len(wrong)} other labels in these {seconds / 60:.1f} minutes{median}.", "")
        false, _ = without_waiting(live, spoken(speech))
        hours = sum(len(read.load(row.audio, RATE)) for row in speech) / RATE / 3600
        output.say("| speech without phrases | hours | false alarms | an hour |", "|---|---:|---:|---:|")
        corpora = ", ".join(sorted({row.corpus for row in speech}))
        output.say(f"| {corpora} | {hours:.2f} | {len(false)} | {len(false) / hours:.2f} |", "")
        missed = [one.path.name for one, hit in zip(said, hits) if not hit]
        alarms = sorted(one.label for one in false)
        output.say(f"Not found: {', '.join(missed) or 'none'}. False alarms: {', '.join(alarms) or 'none'}.")


if __name__ == "__main__":
    main()

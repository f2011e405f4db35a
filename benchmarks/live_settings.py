"""The live settings: how early words are shown against how often they change, in simulated time.

    python benchmarks/live_settings.py MANIFEST [-m BUNDLE] [--split NAME] [--limit N] [--hold S …] [--agreement N …] …

Clips are played through the live session by a clock that counts only sound and an assumed cost of computing
(``--cost``, seconds for each second of a window), so that the table is the same on every machine. Each window is
computed once and kept, so that a further setting costs only the loop. Rows within every limit of ``WANTED`` are marked
with ``*``.

UPWR            of partial words that were followed by another, the share that later changed
revised         of all words, those that a Partial had called stable and the Final changed
emission        from a word's end to the first Partial, or the Final, that showed it
first           from the first word's start in a whole-clip pass to the first Partial with text
final           from the end of speech to the Final, the endpoint's silence subtracted; above zero is computing
WER             of the finals, in percent; ``rise`` is against one pass over each whole clip, in points
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import time
from dataclasses import replace

import _kit
import numpy as np
from numpy.typing import NDArray

from wav2edge.measure import live_report, live_trial, manifest
from wav2edge.measure.live_report import CorpusFigures
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.spec import Stage
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.sources import RATE, Clock
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.live.vad import VoiceActivityModel
from wav2edge.runtime.live.window import Window
from wav2edge.runtime.model import Model

SWEPT = (
    "hop",
    "long_hop",
    "left_context",
    "kept_context",
    "hold",
    "agreement",
    "settle",
    "confirm",
    "min_confidence",
    "edge",
    "pre_roll",
    "post_roll",
    "ahead",
)
RULES = ("silence_after_text", "silence_without_text", "longest_utterance")
WANTED = {"upwr": 0.25, "emission": 1.0, "first": 1.0, "revised": 0.02, "final": 0.3}


class SimulatedClock(Clock):
    """A clock that moves only while something waits or computes."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.time = 0.0

    def now(self) -> float:
        """Seconds so far."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let seconds pass."""
        self.time += seconds


class Remembering:
    """A session that runs each input once."""

    def __init__(self, session: engines.Session) -> None:
        """Wrap a session."""
        self.session = session
        self.inputs, self.outputs = session.inputs, session.outputs
        self._known: dict[bytes, engines.Arrays] = {}

    def run(self, feeds: engines.Arrays) -> engines.Arrays:
        """Run, or remember."""
        key = hashlib.blake2b(b"".join(np.ascontiguousarray(feeds[name]).tobytes() for name in self.inputs)).digest()
        if key not in self._known:
            self._known[key] = self.session.run(feeds)
        return self._known[key]

    def close(self) -> None:
        """Close the session."""
        self.session.close()


def remembering(model: Model) -> Model:
    """The model, each stage of which runs each input once."""
    live = LiveTranscriber(model)
    stages: tuple[Stage, ...] = ("full", "frontend", "encoder") if live.settings.keep_features else ("full",)
    sessions = {stage: Remembering(model.session(stage, live.options(stage))) for stage in stages}
    return Model(model.bundle, model.engine, model.variant, model.options, sessions=sessions)


class RememberingDetector:
    """A detector that keeps its answers, for a stream that is played several times."""

    def __init__(self, detector: VoiceActivityModel) -> None:
        """Wrap a detector."""
        self.detector = detector
        self._known: list[float] = []
        self._next = 0

    def reset(self) -> None:
        """The stream begins again."""
        self._next = 0
        if not self._known:
            self.detector.reset()

    def __call__(self, window: NDArray[np.float32]) -> float:
        """The probability of speech, remembered."""
        if self._next == len(self._known):
            self._known.append(self.detector(window))
        self._next += 1
        return self._known[self._next - 1]


class Simulated(LiveTranscriber):
    """A live transcriber whose computing takes the assumed time of the clock."""

    clock: SimulatedClock
    cost: float

    def run(self, window: Window) -> engines.Arrays:
        """Run one window, and let the clock move."""
        self.clock.sleep(self.cost * (window.end - window.start) / RATE)
        return super().run(window)


def play(live: Simulated, settings: LiveSettings, rows: tuple[manifest.Row, ...]) -> dict[str, CorpusFigures]:
    """The figures of each corpus under some settings."""
    live.settings = replace(settings, keep_features=live.settings.keep_features)
    live.clock = SimulatedClock()
    played = live_trial.play_files(live, rows, fast=True, clock=live.clock)
    return live_report.figures(played)


def main() -> None:
    """Print the table."""
    default = LiveSettings()
    parser = _kit.parser(__doc__)
    parser.add_argument("manifest")
    _kit.add_model(parser)
    parser.add_argument("--split")
    parser.add_argument("--corpus", action="append", help="only this corpus (may be given again)")
    parser.add_argument("--limit", type=int, default=10, help="clips of each corpus")
    parser.add_argument("--cost", type=float, default=0.02, help="assumed computing, s for each second of a window")
    parser.add_argument("--minutes", type=float, default=3.5, help="stop sweeping after so long")
    for owner, names in ((default, SWEPT), (default.endpoint, RULES)):
        for name in names:
            value = getattr(owner, name)
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), nargs="+", default=[value])
    options = parser.parse_args()
    rows = rows_of_each_corpus(options)
    deadline = time.monotonic() + 60 * options.minutes
    with Simulated(remembering(_kit.open_model(options))) as live, _kit.Output(options) as output:
        live.cost = options.cost
        detector = RememberingDetector(live.vad())
        live.vad = lambda: detector
        wanted = ", ".join(f"{name} {bar:g}" for name, bar in WANTED.items())
        output.say(
            f"{len(rows)} clips, {live.model.engine} {live.model.variant.name}, {options.cost:g} s of computing for "
            f"each second of a window; marked: at most {wanted}"
        )
        every = SWEPT + RULES
        swept = [name for name in every if len(getattr(options, name)) > 1] or ["hop"]
        heading = " ".join(f"{name:>12}" for name in swept)
        output.say(
            f"{heading}  {'corpus':32} {'UPWR':>6} {'revised':>8} {'emission p50, p95':>18} {'first p50, p95':>15} "
            f"{'final p95':>9} {'stable p50':>10} {'WER':>6} {'rise':>6}"
        )
        for values in itertools.product(*(getattr(options, name) for name in every)):
            if time.monotonic() > deadline:
                output.say(f"stopped after {options.minutes:g} minutes; ask for fewer settings or clips")
                break
            chosen = dict(zip(every, values))
            rules = replace(default.endpoint, **{name: chosen[name] for name in RULES})
            settings = replace(default, endpoint=rules, **{name: chosen[name] for name in SWEPT})
            heading = " ".join(f"{chosen[name]:>12g}" for name in swept)
            for corpus, figures in play(live, settings, rows).items():
                output.say(line(heading, corpus, figures, rules.silence_after_text))


def rows_of_each_corpus(options: argparse.Namespace) -> tuple[manifest.Row, ...]:
    """Up to ``--limit`` rows of each corpus, evenly picked."""
    found = _kit.rows_of(options.manifest, split=options.split, corpora=options.corpus or ())
    rows: tuple[manifest.Row, ...] = ()
    for corpus in sorted({row.corpus for row in found}):
        of_corpus = [row for row in found if row.corpus == corpus]
        rows += tuple(of_corpus[:: max(1, len(of_corpus) // options.limit)][: options.limit])
    return rows


def line(heading: str, corpus: str, figures: CorpusFigures, silence: float) -> str:
    """One corpus under one setting; ``silence``: after text, until the endpoint."""
    emission, first = figures.emission, figures.first_text
    held = {
        "upwr": figures.upwr,
        "emission": emission.p50,
        "first": first.p95,
        "revised": figures.revised / max(1, figures.words),
        "final": figures.finalisation.p95 - silence,
    }
    mark = "*" if all(held[name] <= bar for name, bar in WANTED.items()) else ""
    return (
        f"{heading}  {corpus:32} {number(figures.upwr):>6} {100 * held['revised']:6.1f} % "
        f"{number(emission.p50):>9}, {number(emission.p95):>7} "
        f"{number(first.p50):>6}, {number(first.p95):>7} "
        f"{number(held['final']):>9} {number(figures.stable.p50):>10} "
        f"{100 * figures.wer_finals.value:6.1f} "
        f"{100 * figures.wer_rise.value:+6.1f} {mark}"
    )


def number(value: float) -> str:
    """Two digits, or a dash."""
    return f"{value:.2f}" if np.isfinite(value) else "–"


if __name__ == "__main__":
    main()

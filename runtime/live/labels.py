"""Live labels: a classifier over a sliding window, with hysteresis, such as a keyword spotter.

Like the live decoder it contains no sound card, no engine and no clock: samples go in, windows come out, outputs go in,
Label events come out. Windows without a voice in them are not run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..audio.arrays import checked_samples
from ..bundle.spec import ModelSpec, Stage
from ..engines import Arrays, EngineOptions
from ..errors import InputError
from ..heads import sequence_classification
from ..model import Model
from .bounds import LONGEST, check, check_counts, check_kinds
from .documents import EndReason
from .events import Event, Label
from .model import LiveModel
from .sample_buffer import SampleBuffer
from .settings import LoopSettings
from .vad import SpeechDetector, VadSettings, VoiceActivityModel
from .window import Window

DEFAULT_THRESHOLD = 0.8
"""Chosen and not measured: which threshold suits depends on the model."""


@dataclass(frozen=True)
class LabelSettings:
    """When a label is an event. Times are in seconds of sound.

    Window, hop and hysteresis are those with which the keyword recipe chooses its threshold
    (recipes/embedded/heads/keywords.py, measured by benchmarks/keyword_spotting.py).
    """

    window: float = 2.0
    """Seconds of sound that each run of the model sees; default 2.0."""

    hop: float = 0.5
    """Seconds between two runs; default 0.5."""

    threshold: float | None = None
    """Probability, 0 to 1, from which a window counts for a label; default: what the bundle says was chosen for its
    model, else 0.8 (``DEFAULT_THRESHOLD``)."""

    hysteresis: float = 0.3
    """After its event a label may come again once its probability was below ``threshold - hysteresis``; default 0.3."""

    confirm: int = 1
    """Successive windows that must count for a label before it is an event; default 1."""

    ignored: tuple[str, ...] = ("other", "unknown", "silence", "_unknown_", "_silence_", "none", "background")
    """Labels that are never events, in any case: what the model calls everything else."""

    vad: VadSettings = field(default_factory=VadSettings)
    """When a window has a voice in it."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of bounds."""
        check(self, window=(0.1, LONGEST), hop=(0.02, LONGEST))
        check_counts(self, confirm=(1, 1000))
        check_kinds(self, vad=(VadSettings,))
        check(self, hysteresis=(0.0, 1.0))
        if self.threshold is not None:
            check(self, threshold=(0.0, 1.0))


@dataclass
class _State:
    """What is known of one label: the windows in a row that count for it, and whether its event was sent."""

    windows: int = 0
    start: int = 0
    end: int = 0
    score: float = 0.0
    sent: bool = False


class LabelDecoder:
    """The labels of one stream; see ``push``, ``window`` and ``accept``."""

    def __init__(self, spec: ModelSpec, vad: VoiceActivityModel, settings: LabelSettings | None = None) -> None:
        """Prepare for a stream of a classifier at 16 kHz; raises InputError for another model.

        vad: gives the probability of speech (silero.Silero).
        """
        if spec.head != "sequence_classification":
            raise InputError(f"live labels need a model that classifies clips; this one's head is {spec.head}")
        if spec.sample_rate != 16000:
            raise InputError(f"live labels work at 16000 Hz; this model needs {spec.sample_rate} Hz")
        self.spec = spec
        self.settings = settings or LabelSettings()
        chosen = self.settings.threshold, spec.options(sequence_classification.Options).threshold, DEFAULT_THRESHOLD
        self._threshold = next(value for value in chosen if value is not None)
        self._detector = SpeechDetector(vad, self.settings.vad)
        self._buffer = SampleBuffer()
        self._began = False
        self._next = 0  # the absolute sample at which the next window ends
        self._ending = False  # whether the window that runs is that one
        self._last: int | None = None  # where the window ends that is due once the stream is over
        self._detected = 0  # the absolute sample up to which the speech detector got
        self._voices: list[tuple[int, int]] = []  # stretches of voice that a window may still reach
        self._running: Window | None = None
        ignored = {label.lower() for label in self.settings.ignored}
        self._states = {index: _State() for index, label in enumerate(spec.labels) if label.lower() not in ignored}

    @property
    def received(self) -> int:
        """The absolute index after the last sample pushed."""
        return self._buffer.end

    def push(self, samples: NDArray[np.float32], start: int) -> list[Event]:
        """Take mono float32 [samples] in [-1, 1] whose first has the absolute 16 kHz index ``start``.

        After a jump forward nothing continues. Samples pushed before are ignored. Labels come from ``accept``.
        Raises AudioError for NaN, and for values far outside [-1, 1].
        """
        if not self._began or start > self._buffer.end:
            self._begin(start)
        samples = checked_samples(samples[max(0, self._buffer.end - start) :], "the stream")
        self._buffer.append(samples)
        for activity in self._detector.push(samples):
            self._detected = activity.end
            if activity.speaking:
                self._add_voice(activity.start, activity.end)
        self._skip_silence()
        return []

    def window(self, finals_only: bool = False) -> Window | None:
        """The next window to run, or None; finals_only: skip all but the newest."""
        hop = self._samples(self.settings.hop)
        if self._running is not None:
            return None
        if self._last is not None and self._next > self._detected:
            end, self._last, self._ending = self._last, None, True
            self._next = end + hop  # nothing but a new stream comes after it
            return self._issue(end)
        if self._next > self._detected:
            return None
        if finals_only:
            self._next += (self._detected - self._next) // hop * hop
        self._next += hop
        return self._issue(self._next - hop)

    def _issue(self, end: int) -> Window:
        begin = max(self._buffer.start, end - self._samples(self.settings.window))
        values = self._buffer.read(begin, end)
        feeds = engines.as_feeds(values[None], np.array([len(values)]))
        self._running = Window(0, "label", "full", feeds, begin, end)
        return self._running

    def accept(self, window: Window, outputs: Arrays) -> list[Event]:
        """Take the outputs of a window; returns the labels that it confirms.

        Raises BundleError where they do not fit the labels, EngineError for NaN.
        """
        if window is not self._running:
            return []  # a gap came while it ran
        self._running = None
        [clip] = engines.outputs_of(self.spec, outputs)
        logits = engines.checked(np.asarray(clip[self.spec.outputs[0].name], np.float32))
        probabilities = sequence_classification.scores(logits, self.spec)
        found = [
            event
            for index, state in self._states.items()
            if (event := self._update(index, state, window, float(probabilities[index]))) is not None
        ]
        if self._ending:
            self._forget()
        self._skip_silence()
        return [*found]

    def close(self, reason: EndReason = "end") -> list[Event]:
        """End the stream, or begin anew after a lost source; a last window is due where sound came after the others."""
        end = self._buffer.end
        self._skip_silence()
        begin = max(self._buffer.start, end - self._samples(self.settings.window))
        new = end > self._next - self._samples(self.settings.hop) and end - begin >= self.spec.min_samples
        self._last = end if new and any(voice[1] > begin for voice in self._voices) else None
        if self._last is None and self._running is None:
            self._forget()
        return []

    def _begin(self, start: int) -> None:
        self._began = True
        self._buffer = SampleBuffer(start)
        self._detector.reset(start)
        self._detected = start
        self._voices.clear()
        self._next = start + max(self._samples(self.settings.hop), self.spec.min_samples)
        self._last = None
        self._forget()

    def _forget(self) -> None:
        self._running, self._ending = None, False
        for state in self._states.values():
            state.windows, state.sent = 0, False

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.spec.sample_rate)

    def _skip_silence(self) -> None:
        """Pass the windows that are due and hold no voice: they give no label, and end those that run."""
        width, hop = self._samples(self.settings.window), self._samples(self.settings.hop)
        while self._running is None and self._next <= self._detected:
            self._voices = [voice for voice in self._voices if voice[1] > self._next - width]
            if self._voices and self._voices[0][0] < self._next:
                break
            self._next += hop
            self._forget()
        self._buffer.drop(self._next - width)

    def _add_voice(self, start: int, end: int) -> None:
        if self._voices and self._voices[-1][1] == start:
            start = self._voices.pop()[0]
        self._voices.append((start, end))

    def _update(self, index: int, state: _State, window: Window, probability: float) -> Label | None:
        """Follow one label; its event where this window confirms it."""
        if probability < self._threshold:
            state.windows = 0
            state.sent = state.sent and probability >= self._threshold - self.settings.hysteresis
            return None
        if state.windows == 0:
            state.start, state.end, state.score = window.start, window.end, probability
        state.windows += 1
        state.start, state.score = window.start, max(state.score, probability)
        if state.sent or state.windows < self.settings.confirm:
            return None
        state.sent = True
        rate = self.spec.sample_rate
        begin = min(state.start, state.end)  # windows that do not overlap share nothing
        return Label(self.spec.labels[index], begin / rate, state.end / rate, round(state.score, 4))


class LiveClassifier(LiveModel):
    """Labels sound while it comes, with a model whose head classifies clips, such as a keyword spotter."""

    def __init__(
        self,
        model: Model,
        settings: LabelSettings | None = None,
        *,
        loop: LoopSettings | None = None,
        vad: Callable[[], VoiceActivityModel] | None = None,
    ) -> None:
        """Load the model's graph, so that what is missing is raised here.

        vad: makes the voice activity model of one stream, which has a state (None: Silero's after an EnergyGate).
        Raises InputError for another head, EngineError without an engine for the voice activity model, and what
        ``Model.session`` raises.
        """
        super().__init__(model, loop, vad)
        self.settings = settings or LabelSettings()
        self.decoder()  # fail now for a head that is not a classifier's
        model.prepare("full", self.options("full"))

    def options(self, stage: Stage) -> EngineOptions:
        """How a stage is loaded: the model's options, and the length of a window."""
        return replace(self.model.options, longest_seconds=self.settings.window, window_seconds=self.settings.window)

    def decoder(self) -> LabelDecoder:
        """A decoder for one stream of this model."""
        return LabelDecoder(self.spec, self.vad(), self.settings)

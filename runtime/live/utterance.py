"""One running utterance: where it began, what was decoded of it, and the next window that it needs."""

from __future__ import annotations

import math

import numpy as np

from .. import engines
from ..bundle.spec import FEATURE_LENGTHS, FEATURES, ModelSpec
from .agreement import Agreement
from .features import FROZEN_AFTER, FeatureCache
from .sample_buffer import SampleBuffer
from .settings import LiveSettings
from .vad import VoiceActivity
from .window import FinalPass, Window

_GRID = 5  # windows end on multiples of 5 frames (0.1 s), so that engines meet few different shapes

_TELLING = 0.5
"""Seconds of a window from which its blanks count: a model finds no words in very short ones. With windows of 0.1 s,
five of the six clips that ship lost up to two thirds of their words; with 0.2 s none did."""

_LONG = 4.0  # seconds of an utterance, pre-roll included, below which captions must come early: commands


class Utterance:
    """One utterance from its first voice to its endpoint; positions are absolute samples."""

    def __init__(self, number: int, start: int, spec: ModelSpec, settings: LiveSettings) -> None:
        """Begin at the absolute sample ``start``."""
        self.number = number
        self.start = start
        self.spec = spec
        self.settings = settings
        self.agreement = Agreement(settings.settle, settings.tolerance, settings.agreement, settings.confirm)
        self.voice_end = start
        self.detected = start  # up to where the speech detector got
        self.silent_from: int | None = None  # where digital silence begins after the last voice
        self.window: Window | None = None  # the window of a partial that is being run
        self.final: FinalPass | None = None
        self.last_label = start
        self.decoded = start
        # A partial that waits for its turn covers more sound; the next is due as if it had not waited.
        self._on_time = self._reached = start  # where the last partial's window would have ended
        self._due_at: int | None = None  # where the one that is due now would have ended
        self._asked: int | None = None  # where a window would have ended when ``due`` was called last
        self.shown: tuple[str, str] = ("", "")
        self.announced = False
        rate, stride = spec.sample_rate, spec.stride
        self.grid = _GRID * stride
        self.longest = max(1, int(settings.window * rate) // self.grid) * self.grid
        short = (settings.hop + settings.behind_context) * rate
        self.shortest = min(self.longest, max(1, int(short) // self.grid) * self.grid)
        self.cache = self._cache()

    @property
    def has_text(self) -> bool:
        """Whether partials decoded anything."""
        return bool(self.agreement.stable or self.agreement.tentative)

    @property
    def may_have_text(self) -> bool:
        """Whether it has text, or has voice not decoded yet: endpoints must not depend on the machine's speed."""
        if self.final is not None and self.final.transcript is not None and self.final.transcript.words:
            return True
        return self.has_text or self.decoded < self.voice_end

    @property
    def blank(self) -> int:
        """Samples from the last decoded label to where decoding has got; 0 where windows are too short to show any."""
        return self.decoded - self.last_label if self.longest >= _TELLING * self.spec.sample_rate else 0

    @property
    def natural_end(self) -> int:
        """Where it ends unless speech continues: after its last voice, on the grid, or where digital silence begins."""
        length = self.voice_end + round(self.settings.post_roll * self.spec.sample_rate) - self.start
        end = self.start + -(-length // self.grid) * self.grid  # few different shapes for the engine
        if self.silent_from is not None and self.silent_from - self.start >= self.spec.min_samples:
            return min(end, self.silent_from)
        return end

    def update(self, activity: VoiceActivity) -> None:
        """Take the speech detector's next decision."""
        self.detected = activity.end
        if activity.speaking:
            self.voice_end = activity.end
            self.final = None

    def may_end(self, received: int) -> bool:
        """Whether the final pass may start now; ``received``: the end of the samples that are there."""
        silence = max(0.0, self.settings.endpoint.silence_after_text - self.settings.ahead)
        return (
            received >= self.natural_end
            and self.detected - self.voice_end >= silence * self.spec.sample_rate
            and self.natural_end - self.start >= self.spec.min_samples
        )

    def due(self, received: int) -> int | None:
        """The absolute end of the partial window that is due once ``received`` samples are there; None without one."""
        end = self.start + (received - self.start) // self.grid * self.grid
        asked, self._asked = self._asked, end
        if not self._is_due(end):
            self._due_at = None
            return None
        if self._due_at is None:
            first = end if asked is None else max(asked + self.grid, self._next(self._on_time))
            self._due_at = min(first, end)
        return end

    def _is_due(self, end: int) -> bool:
        if self.final is not None:
            return False  # all of it is decoded, or being decoded
        rate, settings = self.spec.sample_rate, self.settings
        if end < self.next_end or end - self.decoded < self._hop(self._on_time) / 2 * rate:
            return False
        # After the voice's end nothing is new, but sound after its last word lets that word settle.
        return self.decoded < self.voice_end + settings.settle * rate

    @property
    def next_end(self) -> int:
        """Where the window of the next partial would end if the last one had not been late."""
        return self._next(self._on_time)

    def hops(self, end: int) -> int:
        """How many hypotheses one that reaches ``end`` counts for: two after a hop of twice the length."""
        return 2 if end - self.decoded > 1.5 * self.settings.hop * self.spec.sample_rate else 1

    def _hop(self, after: int) -> float:
        """The seconds of new sound that the partial waits for that follows one whose window should end at ``after``."""
        settings, rate = self.settings, self.spec.sample_rate
        long_hop = max(settings.hop, min(settings.long_hop, settings.window / 2))
        if after - self.start >= max(self.longest, _LONG * rate):
            return long_hop
        return settings.hop if self.has_text else settings.hop / 2

    def _next(self, after: int) -> int:
        """The first end of a window at which a partial is due after one that ended at ``after``.

        Ends are multiples of the hop from the utterance's start, so that they do not depend on delays before.
        """
        hop = math.ceil(self._hop(after) * self.spec.sample_rate)
        length = max(((after - self.start) // hop + 1) * hop, self.spec.min_samples)
        return self.start + -(-length // self.grid) * self.grid

    def issue(self, samples: SampleBuffer, end: int, behind: bool = False) -> Window:
        """The run that brings the partial up to ``end``: features first where some are missing.

        behind: a window with less context, where others wait.
        """
        self._reached = end if self._due_at is None else self._due_at
        self._due_at = None
        while (following := self._next(self._reached)) <= end:
            self._reached = following
        self.window = self._window(samples, end, self.shortest if behind else self.longest)
        return self.window

    def advance(self, end: int) -> None:
        """The partial of the window that was issued last is there; a late one does not make the next one late."""
        self.decoded, self._on_time = end, self._reached

    def keep(self, window: Window, outputs: engines.Arrays) -> None:
        """Keep what a window with the purpose ``features`` gave."""
        assert self.cache is not None
        self.cache.take(window.stage, window.start - self.start, window.end - self.start, outputs)

    def _window(self, samples: SampleBuffer, end: int, longest: int) -> Window:
        length = end - self.start
        if self.cache is None or length < FROZEN_AFTER * self.spec.sample_rate:
            begin = max(self.start, end - longest)
            values = samples.read(begin, end)
            feeds = engines.as_feeds(values[None], np.array([len(values)]))
            return Window(self.number, "partial", "full", feeds, begin, end)
        so_far = samples.read(self.start, end)
        if self.cache.stale(so_far):
            self.cache.freeze(so_far)
        missing = self.cache.missing(length)
        if missing is not None:
            begin, stop = self.start + missing.start, self.start + missing.end
            inputs = self.cache.feeds(missing, samples.read(begin, stop))
            return Window(self.number, "features", missing.stage, inputs, begin, stop)
        features, first = self.cache.last(self.spec.frames(length), self.spec.frames(longest))
        feeds = {FEATURES: features[None], FEATURE_LENGTHS: np.array([len(features)], np.int64)}
        return Window(self.number, "partial", "encoder", feeds, self.start + first * self.spec.stride, end)

    def _cache(self) -> FeatureCache | None:
        if not self.settings.keep_features:
            return None
        return FeatureCache(self.spec, self.spec.frames(self.longest))

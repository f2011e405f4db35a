"""One running utterance: where it began, what was decoded of it, and the next window that it wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED, ModelSpec
from ..text.transcript import Transcript
from .agreement import Agreement
from .endpoint import EndpointRules
from .features import FROZEN_AFTER, FeatureCache
from .tape import Tape
from .vad import Turn, VadSettings

_GRID = 5  # window ends lie on multiples of 5 frames (0.1 s), so that engines meet few different shapes


@dataclass(frozen=True)
class LiveSettings:
    """How captions are made; all times in seconds of sound.

    hop: between two partials; half of it until the first text. left_context: what a partial's window sees before its
    hop. kept_context: the same where convolution features are kept, which pays for a longer one. edge: words nearer
    than this to a window's cut left edge are not trusted. settle: sound wanted behind a word before it may become
    stable; agreement: hypotheses in a row that must have it for that. hold: a word that ends nearer than this to a
    window's end is not shown yet, unless it is the first. tolerance: by how much an agreed word's start may move.
    confirm: hypotheses in a row that must have a correction of a word that was followed by another, before it is
    shown (1: shown at once). doubt: a tentative word whose confidence is below this is shown, and all behind it, only
    once ``confirm`` hypotheses in a row had it (0: at once): steadier captions, later. pre_roll, post_roll: sound
    kept before and behind the voice; models that were trained on clips with silence around the speech lose words
    without. ahead: how long before the end of the endpoint's silence the pass over the whole utterance runs, so that
    its Final is ready by then; it runs for nothing when somebody goes on (0: never ahead). keep_features: keep
    convolution features between hops (None: LiveTranscriber decides; it does where that is exact, with layer norm).
    overlap: sound computed again before new frames where keeping them approximates.
    """

    hop: float = 0.5
    left_context: float = 3.0
    kept_context: float = 4.5
    edge: float = 0.4
    settle: float = 0.4
    agreement: int = 4
    hold: float = 0.3
    tolerance: float = 0.1
    confirm: int = 3
    doubt: float = 0.0
    pre_roll: float = 1.4
    post_roll: float = 1.1
    ahead: float = 0.4
    keep_features: bool | None = None
    overlap: float = 1.0
    endpoint: EndpointRules = field(default_factory=EndpointRules)
    vad: VadSettings = field(default_factory=VadSettings)

    @property
    def window(self) -> float:
        """The longest window of a partial."""
        return self.hop + (self.kept_context if self.keep_features else self.left_context)


@dataclass(frozen=True)
class Window:
    """One run of the model that the decoder wants.

    purpose: ``features`` (kept, no events), ``partial`` or ``final``. stage: which of the bundle's stages to run
    (spec.STAGES) on ``feeds``, a batch of one. start, end: absolute samples that it looks at.
    """

    utterance: int
    purpose: str
    stage: str
    feeds: Mapping[str, NDArray[Any]]
    start: int
    end: int


@dataclass
class WholePass:
    """One pass over a whole utterance: its samples, its window once handed out, its transcript once it is back."""

    samples: NDArray[np.float32]
    start: int
    end: int
    window: Window | None = None
    transcript: Transcript | None = None

    def issue(self, number: int) -> Window:
        """The window to run."""
        feeds = engines.as_feeds(self.samples[None], np.array([len(self.samples)]))
        self.window = Window(number, "final", "full", feeds, self.start, self.end)
        return self.window


class Utterance:
    """What is known of one utterance while it runs."""

    def __init__(self, number: int, start: int, spec: ModelSpec, settings: LiveSettings) -> None:
        """Begin at the absolute sample ``start``."""
        self.number = number
        self.start = start
        self.spec = spec
        self.settings = settings
        self.agreement = Agreement(settings.settle, settings.tolerance, settings.agreement, settings.confirm)
        self.voice_end = start
        self.heard = start
        self.still_from: int | None = None  # where digital silence begins behind the last voice, once it does
        self.whole: WholePass | None = None
        self.last_label = start
        self.decoded = start
        self.shown: tuple[str, str] = ("", "")
        self.announced = False
        rate, stride = spec.sample_rate, spec.stride
        self.grid = _GRID * stride
        self.longest = max(1, int(settings.window * rate) // self.grid) * self.grid
        self.cache = self._cache()

    @property
    def has_text(self) -> bool:
        """Whether anything was decoded."""
        return bool(self.agreement.stable or self.agreement.tentative)

    @property
    def may_have_text(self) -> bool:
        """The same, or nobody had the time to look: endpoints must not depend on the machine's speed."""
        if self.whole is not None and self.whole.transcript is not None and self.whole.transcript.words:
            return True
        return self.has_text or self.decoded < self.voice_end

    @property
    def natural_end(self) -> int:
        """Where it ends when nobody goes on: behind its last voice, on the grid, or where there is no more sound."""
        length = self.voice_end + round(self.settings.post_roll * self.spec.sample_rate) - self.start
        end = self.start + -(-length // self.grid) * self.grid  # few different shapes for the engine
        if self.still_from is not None and self.still_from - self.start >= self.spec.min_samples:
            return min(end, self.still_from)
        return end

    def hear(self, turn: Turn) -> None:
        """Follow the speech detector."""
        self.heard = turn.end
        if turn.speaking:
            self.voice_end = turn.end
            self.whole = None

    def may_end(self, heard: int) -> bool:
        """Whether it is time to decode the whole of it, should nobody go on; ``heard``: the samples that are there."""
        silence = max(0.0, self.settings.endpoint.silence_after_text - self.settings.ahead)
        return (
            heard >= self.natural_end
            and self.heard - self.voice_end >= silence * self.spec.sample_rate
            and self.natural_end - self.start >= self.spec.min_samples
        )

    def due(self, heard: int) -> int | None:
        """The absolute end of the window that is due when the stream was heard up to ``heard``; None: none."""
        if self.whole is not None:
            return None  # all of it is decoded, or being decoded
        rate, settings = self.spec.sample_rate, self.settings
        hop = settings.hop if self.has_text else settings.hop / 2
        end = self.start + (heard - self.start) // self.grid * self.grid
        if end - self.decoded < hop * rate or end - self.start < self.spec.min_samples:
            return None
        # Behind the voice's end there is nothing new; the sound behind its last word lets that word settle.
        if self.decoded >= self.voice_end + settings.settle * rate:
            return None
        return end

    def window(self, tape: Tape, end: int) -> Window:
        """The run that brings the partial up to ``end``: features first where some are missing."""
        length = end - self.start
        if self.cache is None or length < FROZEN_AFTER * self.spec.sample_rate:
            begin = max(self.start, end - self.longest)
            samples = tape.read(begin, end)
            feeds = engines.as_feeds(samples[None], np.array([len(samples)]))
            return Window(self.number, "partial", "full", feeds, begin, end)
        heard = tape.read(self.start, end)
        if self.cache.stale(heard):
            self.cache.freeze(heard)
        missing = self.cache.missing(length)
        if missing is not None:
            begin, stop = self.start + missing[0], self.start + missing[1]
            values = self.cache.normalized(tape.read(begin, stop))
            feeds = {NORMALIZED: values[None], INPUT_LENGTHS: np.array([len(values)], np.int64)}
            return Window(self.number, "features", "frontend", feeds, begin, stop)
        features, first = self.cache.last(self.spec.frames(length))
        feeds = {FEATURES: features[None], FEATURE_LENGTHS: np.array([len(features)], np.int64)}
        return Window(self.number, "partial", "encoder", feeds, self.start + first * self.spec.stride, end)

    def _cache(self) -> FeatureCache | None:
        if not self.settings.keep_features:
            return None
        overlap = 0 if self.spec.norm == "layer" else int(self.settings.overlap * self.spec.sample_rate)
        return FeatureCache(self.spec, self.spec.frames(self.longest), overlap // self.spec.stride)

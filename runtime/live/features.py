"""Convolution features kept between hops, so that a partial computes only what is new.

Layer norm works on one frame at a time, so a frame's features do not change while the waveform's normalisation is
frozen: kept features are exact, up to rounding. The normalisation is frozen after the utterance's first second, and
again whenever the loudness of the utterance so far has moved by a tenth, because one second, much of it silence, is a
poor estimate of a voice. Only then a window is computed anew.
Group norm works along the whole window; for it, new frames are computed with some sound before them, which approximates
(benchmarks/live_group_norm.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..audio.loudness import Loudness, Meter
from ..bundle.spec import ModelSpec

FROZEN_AFTER = 1.0
"""Seconds of an utterance after which its normalisation is frozen."""

_MOVED = 0.1  # change of the log scale from which it is frozen anew; without, partials of a quiet start were 14 % off


def can_keep(spec: ModelSpec) -> bool:
    """Whether a model's features can be kept: its frontend's frames are the output's (no adapter layers after it)."""
    return spec.frontend == "waveform" and not any(step.padding for step in spec.time)


class FeatureCache:
    """The features of one utterance's last frames; frame 0 begins at the utterance's first sample."""

    def __init__(self, spec: ModelSpec, keep: int, overlap: int = 0) -> None:
        """keep: how many frames a window needs. overlap: frames computed again before new ones (group norm)."""
        self.spec = spec
        self.keep = keep
        self.overlap = overlap
        self.first = 0
        self.features: NDArray[np.float32] | None = None
        self._loudness: Loudness | None = None
        self._meter = Meter()

    @property
    def frames(self) -> int:
        """How many frames were added, dropped ones included."""
        return self.first + (0 if self.features is None else self.features.shape[0])

    def stale(self, samples: NDArray[np.float32]) -> bool:
        """Whether the utterance so far [samples] is to be normalised by newer statistics (see ``freeze``)."""
        if not self.spec.normalize or len(samples) < FROZEN_AFTER * self.spec.sample_rate:
            return False
        return self._loudness is None or abs(np.log(self._measured(samples).scale / self._loudness.scale)) > _MOVED

    def freeze(self, samples: NDArray[np.float32]) -> None:
        """Take the normalisation from the utterance so far, and drop features that were normalised otherwise."""
        self._loudness = self._measured(samples)
        self.first, self.features = 0, None

    def _measured(self, samples: NDArray[np.float32]) -> Loudness:
        """The loudness of the utterance so far, of which only the samples that are new are summed up."""
        self._meter.add(samples[self._meter.samples :])
        return self._meter.loudness()

    def missing(self, samples: int) -> tuple[int, int] | None:
        """Which samples [start, end) of the utterance the frontend must still run on to cover its first ``samples``."""
        wanted = self.spec.frames(samples)
        begin = max(self.frames, wanted - self.keep)
        if wanted <= self.frames:
            return None
        first = max(0, begin - self.overlap)
        return first * self.spec.stride, (wanted - 1) * self.spec.stride + self.spec.receptive_field

    def normalized(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples as the stage ``frontend`` expects them, by the frozen statistics."""
        return samples if self._loudness is None else self._loudness.normalized(samples)

    def last(self, frames: int) -> tuple[NDArray[np.float32], int]:
        """The kept features [frames, channels] up to the utterance's frame ``frames``, and the first one's index."""
        assert self.features is not None
        return self.features[: frames - self.first], self.first

    def add(self, features: NDArray[np.float32], first: int) -> None:
        """Take features [frames, channels] whose first row is frame ``first``; rows added before are ignored."""
        known = self.frames
        if self.features is None or first > known:
            self.first, self.features = first, features[-self.keep :].copy()
            self.first += features.shape[0] - self.features.shape[0]
            return
        joined = np.concatenate((self.features, features[known - first :]))
        self.features = joined[-self.keep :].copy()
        self.first += joined.shape[0] - self.features.shape[0]

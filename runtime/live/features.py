"""Convolution features kept between hops, so that a partial computes only what is new.

A frame's features depend on 25 ms of sound and on what the sound is normalised by: the waveform's loudness, and where
the first convolution has a group norm the statistics of its channels. While both are frozen, kept features are exact,
up to rounding. They are frozen after the utterance's first second, and again whenever those of the utterance so far
have moved, because one second, much of it silence, is a poor estimate of a voice. Only then a window is computed anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import tiling
from ..audio.loudness import Loudness, Meter
from ..bundle.spec import (
    FEATURES,
    INPUT_LENGTHS,
    NORM_MEAN,
    NORM_MEAN_SQUARE,
    NORMALIZED,
    ModelSpec,
    Stage,
)
from ..engines import Arrays

FROZEN_AFTER = 1.0
"""Seconds of an utterance after which its normalisation is frozen."""

# Changes of the log scale from which it is frozen anew. Without, partials of a quiet start were 14 % off; with 0.1 for
# the loudness, partials were as near to whole-utterance partials as with 0.2 and cost a twentieth more.
_LOUDNESS_MOVED, _CHANNELS_MOVED = 0.2, 0.1
_LONGEST_PIECE = 1.0  # seconds of sound whose statistics one run measures, which bounds its memory


def can_keep(spec: ModelSpec) -> bool:
    """Whether a model's features can be kept: its frontend's frames are the output's (no adapter layers after it)."""
    return spec.frontend == "waveform" and not any(step.padding for step in spec.time)


def stages_to_keep(spec: ModelSpec) -> tuple[Stage, ...]:
    """The stages by which a model's features are kept, all of which a variant must have."""
    return (*tiling.stages(spec), "encoder")


@dataclass(frozen=True)
class Missing:
    """The next run that a window needs first: a stage on the samples [start, end) of the utterance."""

    stage: Stage
    start: int
    end: int


class FeatureCache:
    """The features of one utterance's last frames; frame 0 begins at the utterance's first sample."""

    def __init__(self, spec: ModelSpec, keep: int) -> None:
        """keep: how many frames a window needs."""
        self.spec = spec
        self.keep = keep
        self.first = 0
        self.features: NDArray[np.float32] | None = None
        self._loudness: Loudness | None = None
        self._meter = Meter()
        self._channels = None if "frontend" in tiling.stages(spec) else ChannelStatistics(spec)

    @property
    def frames(self) -> int:
        """How many frames were added, dropped ones included."""
        return self.first + (0 if self.features is None else self.features.shape[0])

    def stale(self, samples: NDArray[np.float32]) -> bool:
        """Whether the utterance so far [samples] is to be normalised by newer statistics (see ``freeze``)."""
        if not self.spec.normalize or len(samples) < FROZEN_AFTER * self.spec.sample_rate:
            return False
        if self._loudness is None:
            return True
        return abs(math.log(self._measured(samples).scale / self._loudness.scale)) > _LOUDNESS_MOVED

    def freeze(self, samples: NDArray[np.float32]) -> None:
        """Take the normalisation from the utterance so far, and drop features that were normalised otherwise."""
        self._loudness = self._measured(samples)
        self._drop()
        if self._channels is not None:
            self._channels = ChannelStatistics(self.spec)

    def _drop(self) -> None:
        self.first, self.features = 0, None

    def _measured(self, samples: NDArray[np.float32]) -> Loudness:
        """The loudness of the utterance so far, of which only the samples that are new are summed up."""
        self._meter.add(samples[self._meter.samples :])
        return self._meter.loudness()

    def missing(self, samples: int) -> Missing | None:
        """The next run that its first ``samples`` need; None where all their features are there."""
        if self._channels is not None:
            piece = self._channels.missing(samples)
            if piece is not None:
                return Missing("statistics", *piece)
            if self._channels.freeze():
                self._drop()
        wanted = self.spec.frames(samples)
        begin = max(self.frames, wanted - self.keep)
        if wanted <= self.frames:
            return None
        stride = self.spec.stride
        stage: Stage = "frontend" if self._channels is None else "tile"
        return Missing(stage, begin * stride, (wanted - 1) * stride + self.spec.receptive_field)

    def feeds(self, missing: Missing, samples: NDArray[np.float32]) -> Arrays:
        """The inputs of a run on its samples [samples]."""
        feeds: dict[str, NDArray[np.generic]] = {NORMALIZED: self.normalized(samples)[None]}
        if missing.stage == "tile":
            assert self._channels is not None
            return {**feeds, **self._channels.frozen}
        return {**feeds, INPUT_LENGTHS: np.array([len(samples)], np.int64)}

    def take(self, stage: Stage, start: int, end: int, outputs: Arrays) -> None:
        """Take the outputs of a run on the samples [start, end) of the utterance."""
        if stage == "statistics":
            assert self._channels is not None
            self._channels.add(outputs, end)
            return
        frames = self.spec.frames(end - start)  # in a batch with others they are padded
        self.add(np.asarray(outputs[FEATURES][0, :frames], np.float32), start // self.spec.stride)

    def normalized(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples as the stage ``frontend`` expects them, by the frozen statistics."""
        return samples if self._loudness is None else self._loudness.normalized(samples)

    def last(self, frames: int, most: int) -> tuple[NDArray[np.float32], int]:
        """The last kept features [frames, channels] up to the utterance's frame ``frames``, and the first one's index.

        most: how many at most.
        """
        assert self.features is not None
        first = max(self.first, frames - most)
        return self.features[first - self.first : frames - self.first], first

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


class ChannelStatistics:
    """The mean and the mean square of the first convolution's channels over an utterance so far, and frozen ones."""

    def __init__(self, spec: ModelSpec) -> None:
        """Begin before the first sample."""
        self._steps = spec.feature_time[:1]
        self._longest = round(_LONGEST_PIECE * spec.sample_rate) // self._steps[0].stride
        self._frames = 0
        self._sums: dict[str, NDArray[np.float64]] = {}
        self.frozen: dict[str, NDArray[np.float32]] = {}

    def missing(self, samples: int) -> tuple[int, int] | None:
        """The samples [start, end) of the utterance to measure next, of its first ``samples``; None where all are."""
        [step] = self._steps
        end = min((samples - step.kernel) // step.stride + 1, self._frames + self._longest)
        if end <= self._frames:
            return None
        return self._frames * step.stride, (end - 1) * step.stride + step.kernel

    def add(self, outputs: Arrays, end: int) -> None:
        """Take the statistics of the samples from those measured before up to ``end``."""
        [step] = self._steps
        frames = (end - step.kernel) // step.stride + 1
        for name in (NORM_MEAN, NORM_MEAN_SQUARE):
            part = outputs[name].astype(np.float64) * (frames - self._frames)
            self._sums[name] = self._sums[name] + part if name in self._sums else part
        self._frames = frames

    def freeze(self) -> bool:
        """Take the statistics so far where they have moved; whether they were taken."""
        now = {name: values / self._frames for name, values in self._sums.items()}
        if self.frozen and _distance(self.frozen, now) <= _CHANNELS_MOVED:
            return False
        self.frozen = {name: values.astype(np.float32) for name, values in now.items()}
        return True


def _distance(first: Mapping[str, NDArray[np.floating]], second: Mapping[str, NDArray[np.floating]]) -> float:
    """By how much statistics differ: root mean squares over the channels, of the log scales or of the means in it."""
    scales = [np.maximum(each[NORM_MEAN_SQUARE] - np.square(each[NORM_MEAN]), 1e-12) ** 0.5 for each in (first, second)]
    scale = np.log(scales[1] / scales[0])
    mean = (second[NORM_MEAN] - first[NORM_MEAN]) / scales[0]
    return float(np.sqrt(max(np.square(scale).mean(), np.square(mean).mean())))

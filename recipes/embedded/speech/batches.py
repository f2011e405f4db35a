"""Batches of clips of like length, drawn from corpora by their shares of time, with their targets."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import soxr
import torch
from torch import Tensor

from ..frames import EDGE, HOP, RATE, RECEPTIVE, count_frames
from ..labels import LABELS, SPACE
from .augment import Augmentation, NoiseBank, disturb, mask_frames, move_formants
from .dataset import Clip, Dataset
from .pieces import Pieces
from .targets import FEATURES, WIDTHS

Chain = tuple[Clip, ...]
"""Clips joined one after another into one recording; most often one alone."""


@dataclass
class Batch:
    """Normalised audio [batch, samples], frame counts, the feature mask, and targets (None where not cached).

    Features are NaN in the rows of clips that have none.
    """

    audio: Tensor
    frames: Tensor
    mask: Tensor
    labels: Tensor
    label_lengths: Tensor
    features: Tensor | None
    posteriors: Tensor | None
    seconds: float
    texts: list[str] = field(default_factory=list)
    corpora: list[str] = field(default_factory=list)


class Varied(NamedTuple):
    """A clip as varied for one batch: samples at 16 kHz, the target row of each frame, label ids (none: unknown)."""

    samples: np.ndarray
    rows: np.ndarray
    labels: tuple[int, ...]


class Collator:
    """Turns clips into a batch: varies, disturbs, normalises and pads audio, and standardises targets."""

    def __init__(
        self,
        dataset: Dataset,
        augmentation: Augmentation,
        seed: int,
        scale: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Collate clips of `dataset`; `scale` is the mean and deviation [512] of the teacher's features."""
        self.dataset, self.augmentation, self.scale = dataset, augmentation, scale
        self.generator = np.random.default_rng(seed)
        clips = dataset.clips()
        picked = [clips[int(i)] for i in self.generator.integers(len(clips), size=64)]
        self.noises: NoiseBank | None = None
        if augmentation.strength > 0:
            self.noises = NoiseBank([dataset.samples(clip) for clip in picked], self.generator)

    def __call__(self, chains: list[Chain]) -> Batch:
        """Return the batch of some chains of clips."""
        parts = [[self._vary(clip) for clip in chain] for chain in chains]
        joined = [_join(varied) for varied in parts]
        counts = [len(varied.rows) for varied in joined]
        width = max(counts)
        inside = slice(EDGE, width - EDGE)
        features, posteriors = self._targets(chains, parts, width)
        labels = [torch.tensor(varied.labels, dtype=torch.long) for varied in joined]
        mask = mask_frames(len(chains), width - 2 * EDGE, self.augmentation, self.generator)
        return Batch(
            torch.from_numpy(self._audio(joined)),
            torch.tensor(counts) - 2 * EDGE,
            torch.from_numpy(mask),
            torch.nn.utils.rnn.pad_sequence(labels, batch_first=True),
            torch.tensor([len(label) for label in labels]),
            None if features is None else torch.from_numpy(features)[:, inside],
            None if posteriors is None else torch.from_numpy(posteriors)[:, inside],
            sum(len(varied.samples) for varied in joined) / RATE,
            [" ".join(clip.text for clip in chain) for chain in chains],
            [chain[0].corpus for chain in chains],
        )

    def _audio(self, joined: list[Varied]) -> np.ndarray:
        audio = np.zeros((len(joined), max(len(varied.samples) for varied in joined)), np.float32)
        for row, varied in zip(audio, joined):
            samples = varied.samples
            if self.noises is not None:
                samples = disturb(samples, self.augmentation, self.noises, self.generator)
            row[: len(samples)] = normalize(samples)
        return audio

    def _targets(
        self, chains: list[Chain], parts: list[list[Varied]], width: int
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return features [batch, width, 512] and posteriors [batch, width, labels].

        Features are None where no clip has them and NaN where one has none; posteriors None where a clip has none.
        """
        clips = [clip for chain in chains for clip in chain]
        with_features = self.scale is not None and any(self.dataset.feature_rows(clip) is not None for clip in clips)
        with_posteriors = all(self.dataset.posterior_rows(clip) is not None for clip in clips)
        features = np.zeros((len(chains), width, WIDTHS[FEATURES]), np.float32) if with_features else None
        posteriors = np.zeros((len(chains), width, len(LABELS)), np.float32) if with_posteriors else None
        for i, (chain, varied) in enumerate(zip(chains, parts)):
            at = 0
            for clip, part in zip(chain, varied):
                here = slice(at, at + len(part.rows))
                at = here.stop
                if features is not None and self.scale is not None:
                    if (raw := self.dataset.feature_rows(clip)) is None:
                        features[i, here] = np.nan
                    else:
                        features[i, here] = standardize(np.asarray(raw, np.float32)[part.rows], self.scale)
                if posteriors is not None:
                    posteriors[i, here] = np.asarray(self.dataset.posterior_rows(clip))[part.rows]
        return features, posteriors

    def _vary(self, clip: Clip) -> Varied:
        """Return a clip cut at random, with moved formants, at a random speed.

        Pitch and formants move with the speed (Ko et al., "Audio augmentation for speech recognition", 2015); the
        targets of the clip are stretched with it.
        """
        varied = Varied(self.dataset.samples(clip), np.arange(clip.frames), clip.labels)
        if self.augmentation.strength <= 0:
            return varied
        varied = self._cut(clip, varied)
        if self.generator.random() < self.augmentation.formants:
            moved = move_formants(varied.samples, self.augmentation, self.generator)
            varied = varied._replace(samples=moved)
        if self.generator.random() >= self.augmentation.speed:
            return varied
        factor = float(self.generator.uniform(1 / self.augmentation.fastest, self.augmentation.fastest))
        faster = soxr.resample(varied.samples, RATE * factor, RATE, quality="LQ")
        count = count_frames(len(faster))
        if count < 5 + 2 * EDGE or len(varied.labels) + 2 > count - 2 * EDGE:
            return varied
        at = ((np.arange(count) * HOP + RECEPTIVE // 2) * factor - RECEPTIVE // 2) / HOP
        rows = varied.rows[np.clip(np.round(at).astype(int), 0, len(varied.rows) - 1)]
        return Varied(faster, rows, varied.labels)

    def _cut(self, clip: Clip, varied: Varied) -> Varied:
        """Cut off silence at the ends by chance, or keep a stretch from the middle of the speech, without transcript.

        A live window begins and ends anywhere: a model trained only with silence around the speech loses words there.
        """
        posteriors = self.dataset.posterior_rows(clip)
        if posteriors is None:
            return varied
        spoken = np.flatnonzero(posteriors[:, 0] < 0.5)
        chance = self.generator.random()
        if not len(spoken) or chance >= self.augmentation.trimmed + self.augmentation.inside:
            return varied
        labels = varied.labels
        if chance < self.augmentation.trimmed:
            first = int(self.generator.integers(max(0, int(spoken[0]) - 5) + 1))
            last = int(self.generator.integers(min(clip.frames, int(spoken[-1]) + 8), clip.frames + 1))
        else:
            length = int(self.generator.integers(75, 300))
            first = int(self.generator.integers(max(1, clip.frames - length)))
            last, labels = min(clip.frames, first + length), ()
        if last - first < max(20, len(labels) + 2 + 2 * EDGE):
            return varied
        samples = varied.samples[first * HOP : (last - 1) * HOP + RECEPTIVE]
        return Varied(samples, varied.rows[first:last], labels)


def normalize(samples: np.ndarray) -> np.ndarray:
    """Bring a clip to zero mean and unit variance, as Wav2Vec2FeatureExtractor does."""
    return ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)


def standardize(features: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return teacher features [frames, 512] at zero mean and unit deviation, at most 5 from zero."""
    return np.clip((features - scale[0]) / scale[1], -5, 5)


def _join(parts: list[Varied]) -> Varied:
    """Join clips one after another; each but the last keeps a hop of samples for each of its frames."""
    if len(parts) == 1:
        return parts[0]
    samples = [part.samples[: len(part.rows) * HOP] for part in parts[:-1]]
    labels: list[int] = []
    for part in parts:
        labels += [*([SPACE] if labels else []), *part.labels]
    known = all(part.labels for part in parts)
    rows = np.concatenate([part.rows for part in parts])
    return Varied(np.concatenate([*samples, parts[-1].samples]), rows, tuple(labels) if known else ())


def make_chains(clips: list[Clip], share: float, longest: float, generator: np.random.Generator) -> list[Chain]:
    """Join about `share` of the time into chains of up to `longest` s, in random order; the rest stays single.

    Long recordings hold many utterances in a row: a model trained on single ones lets far speech disturb it.
    """
    budget = share * _length(clips)
    chains: list[Chain] = []
    links: list[Clip] = []
    for i in generator.permutation(len(clips)):
        if budget <= 0:
            chains.append((clips[i],))
            continue
        budget -= clips[i].samples
        if links and _length(links) + clips[i].samples > longest * RATE:
            chains.append(tuple(links))
            links = []
        links.append(clips[i])
    return [*chains, tuple(links)] if links else chains


def length_batches(chains: list[Chain], seconds: float) -> Iterator[list[Chain]]:
    """Cut chains, sorted by length, into batches of at most `seconds` of padded audio."""
    batch: list[Chain] = []
    for chain in sorted(chains, key=_length):
        if batch and (len(batch) + 1) * _length(chain) > seconds * RATE:
            yield batch
            batch = []
        batch.append(chain)
    if batch:
        yield batch


def _length(clips: Sequence[Clip]) -> int:
    return sum(clip.samples for clip in clips)


def draw(
    dataset: Dataset,
    shares: dict[str, float],
    seconds: float,
    longest: float,
    generator: np.random.Generator,
    joined: float = 0.0,
    chained: float = 30.0,
    pieces: Pieces | None = None,
) -> list[list[Chain]]:
    """Draw about twelve batches of at most `seconds`: corpora by `shares` of time, clips of at most `longest` s.

    A share `joined` of the time is in chains of up to `chained` s. `pieces`: most long clips give some words only.
    Exits with one line where there is nothing to draw from.
    """
    pools = {c: [clip for clip in clips if clip.samples <= longest * RATE] for c, clips in dataset.groups.items()}
    pools = {corpus: clips for corpus, clips in pools.items() if clips and shares.get(corpus, 0) > 0}
    if not pools:
        sys.exit(
            f"error: no clip to train on: none of at most {longest:g} s, with the teacher's targets where they are "
            "asked for, is of a corpus with a share"
        )
    total = sum(shares[corpus] for corpus in pools)
    chosen: list[Clip] = []
    for corpus, clips in pools.items():
        budget = 12 * seconds * shares[corpus] / total * RATE
        budget *= generator.uniform(0.8, 1.2)
        while budget > 0:
            clip = clips[int(generator.integers(len(clips)))]
            if pieces is not None and generator.random() < pieces.share:
                clip = pieces.draw(clip, generator)
            budget -= clip.samples
            chosen.append(clip)
    batches = list(length_batches(make_chains(chosen, joined, chained, generator), seconds))
    generator.shuffle(batches)
    return batches

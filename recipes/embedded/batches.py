"""Batches of clips of like length, drawn from weighted groups of clip stores, with their targets."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch
from augment import Augmentation, NoiseBank, disturb, hide, revoice
from cache import HOP, RECEPTIVE, features_of, frame_starts, frames, open_rows
from clips import RATE, ClipStore
from model import CENTRES, IDS, LABELS, encode, normalise
from torch import Tensor


@dataclass(frozen=True)
class Clip:
    """One clip in memory maps: where its samples and its target frames lie, and its label ids."""

    store: int
    start: int
    samples: int
    frame: int
    frames: int
    labels: tuple[int, ...]
    text: str
    corpus: str


@dataclass
class Batch:
    """Normalised audio [batch, samples], frame counts, the feature mask, and targets (None where not cached)."""

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


class Said(NamedTuple):
    """What is heard of a clip: samples at 16 kHz, the target frame of each frame, and label ids (none: not known)."""

    samples: np.ndarray
    rows: np.ndarray
    labels: tuple[int, ...]


Chain = tuple[Clip, ...]
"""Clips said one after another; most often one alone."""

EDGE = (CENTRES[-1] - RECEPTIVE // 2) // HOP
"""Frames of the teacher, at either end, that the convolutions have no whole window for."""

_SPACE = IDS["|"]


class Speech:
    """All clips of some stores, grouped by corpus. `refresh` takes in what other processes appended."""

    def __init__(self, folders: list[Path], targets: bool = True, longest: float = 18.0, portion: float = 1.0) -> None:
        """Open the stores; clips longer than `longest` seconds are left out, and all but a `portion` of the others."""
        self.folders, self.targets, self.longest, self.portion = folders, targets, longest, portion
        self.stores = [ClipStore(folder) for folder in folders]
        self.refresh()

    def refresh(self) -> None:
        """Map what is on disk now; clips whose targets are not cached yet are left out.

        Another thread may be making batches meanwhile: it has the old maps until the new, longer ones are whole. Stores
        only grow, so a clip drawn before lies where it lay.
        """
        groups: dict[str, list[Clip]] = {}
        audio, features, posteriors = [], [], []
        for number, (folder, store) in enumerate(zip(self.folders, self.stores)):
            store.refresh()
            starts = frame_starts(store)
            audio.append(store.audio())
            cached = features_of(folder) if self.targets and (folder / "features.f16").exists() else None
            features.append(cached)
            path = folder / "posteriors.f16"
            posteriors.append(features_of_width(path, len(LABELS)) if self.targets and path.exists() else None)
            ready = len(cached) if cached is not None else 0
            if posteriors[-1] is not None:
                ready = min(ready, len(posteriors[-1]))
            for i, row in enumerate(store.rows):
                if self.targets and starts[i + 1] > ready:
                    break
                count, text = int(starts[i + 1] - starts[i]), str(row["text"])
                labels = tuple(encode(text))
                ours = count - 2 * EDGE
                if ours < 5 or len(labels) + 2 > ours or int(row["samples"]) > self.longest * RATE:
                    continue
                if random.Random(f"{row['text']}/{row['start']}").random() >= self.portion:
                    continue
                place = (number, int(row["start"]), int(row["samples"]), int(starts[i]), count)
                groups.setdefault(str(row["corpus"]), []).append(Clip(*place, labels, text, str(row["corpus"])))
        self.groups, self.audio, self.features, self.posteriors = groups, audio, features, posteriors

    def samples(self, clip: Clip) -> np.ndarray:
        """Return the clip as float32 in [-1, 1]."""
        return self.audio[clip.store][clip.start : clip.start + clip.samples].astype(np.float32) / 32768

    def hours(self) -> dict[str, float]:
        """Hours in each group."""
        return {g: sum(c.samples for c in clips) / RATE / 3600 for g, clips in self.groups.items()}


def features_of_width(path: Path, width: int) -> np.ndarray:
    """Open cached rows of any width as a read-only memory map."""
    return open_rows(path, path.stat().st_size // (2 * width), width)


class Collator:
    """Turns clips into a batch: disturbs, normalises, pads, and standardises targets."""

    def __init__(
        self, speech: Speech, how: Augmentation, seed: int, scale: tuple[np.ndarray, np.ndarray] | None
    ) -> None:
        """Collate clips of `speech`; `scale` is the mean and deviation of the teacher features."""
        self.speech, self.how, self.scale = speech, how, scale
        self.generator = np.random.default_rng(seed)
        everything = [clip for clips in speech.groups.values() for clip in clips]
        picked = [everything[int(i)] for i in self.generator.integers(len(everything), size=64)]
        loud = how.strength > 0
        self.bank = NoiseBank([speech.samples(c) for c in picked], self.generator) if loud else None

    def __call__(self, chains: list[Chain]) -> Batch:
        """Return the batch of some chains of clips."""
        clips = [clip for chain in chains for clip in chain]
        parts = [[self._said(clip) for clip in chain] for chain in chains]
        heard = [_joined(said) for said in parts]
        counts = [len(said.rows) for said in heard]
        longest, width = max(len(said.samples) for said in heard), max(counts)
        audio = np.zeros((len(chains), longest), np.float32)
        has_features = all(self.speech.features[c.store] is not None for c in clips) and self.scale is not None
        has_posteriors = all(
            (p := self.speech.posteriors[c.store]) is not None and c.frame + c.frames <= len(p) for c in clips
        )
        features = np.zeros((len(chains), width, 512), np.float32) if has_features else None
        posteriors = np.zeros((len(chains), width, len(LABELS)), np.float32) if has_posteriors else None
        for i, (chain, said) in enumerate(zip(chains, heard)):
            samples = said.samples
            if self.bank is not None:
                samples = disturb(samples, self.how, self.bank, self.generator)
            audio[i, : len(samples)] = normalise(samples)
            at = 0
            for clip, part in zip(chain, parts[i]):
                whole, here = slice(clip.frame, clip.frame + clip.frames), slice(at, at + len(part.rows))
                at = here.stop
                if features is not None and self.scale is not None:
                    mean, deviation = self.scale
                    raw = np.asarray(self.speech.features[clip.store][whole], np.float32)[part.rows]
                    features[i, here] = np.clip((raw - mean) / deviation, -5, 5)
                if posteriors is not None:
                    posteriors[i, here] = self.speech.posteriors[clip.store][whole][part.rows]
        labels = [torch.tensor(said.labels, dtype=torch.long) for said in heard]
        return Batch(
            torch.from_numpy(audio),
            torch.tensor(counts) - 2 * EDGE,
            torch.from_numpy(hide(len(chains), width - 2 * EDGE, self.how, self.generator)),
            torch.nn.utils.rnn.pad_sequence(labels, batch_first=True),
            torch.tensor([len(label) for label in labels]),
            None if features is None else torch.from_numpy(features)[:, EDGE : width - EDGE],
            None if posteriors is None else torch.from_numpy(posteriors)[:, EDGE : width - EDGE],
            sum(len(said.samples) for said in heard) / RATE,
            [" ".join(c.text for c in chain) for chain in chains],
            [chain[0].corpus for chain in chains],
        )

    def _said(self, clip: Clip) -> Said:
        """A clip as it is said this time: cut at random, by another mouth, at a random speed.

        Pitch and formants move with the speed (Ko et al., "Audio augmentation for speech recognition", 2015); the
        targets of the clip as it was are stretched along.
        """
        whole = Said(self.speech.samples(clip), np.arange(clip.frames), clip.labels)
        if self.how.strength <= 0:
            return whole
        said = self._cut(clip, whole)
        if self.generator.random() < self.how.formants:
            said = said._replace(samples=revoice(said.samples, self.how, self.generator))
        if self.generator.random() >= self.how.speed:
            return said
        factor = float(self.generator.uniform(1 / self.how.fastest, self.how.fastest))
        faster = soxr.resample(said.samples, RATE * factor, RATE, quality="LQ")
        count = frames(len(faster))
        if count < 5 + 2 * EDGE or len(said.labels) + 2 > count - 2 * EDGE:
            return said
        at = ((np.arange(count) * HOP + RECEPTIVE // 2) * factor - RECEPTIVE // 2) / HOP
        return Said(faster, said.rows[np.clip(np.round(at).astype(int), 0, len(said.rows) - 1)], said.labels)

    def _cut(self, clip: Clip, said: Said) -> Said:
        """Cut off silence at the ends by chance, or keep a stretch from the middle of the speech, without transcript.

        A live window begins and ends anywhere: a model that always heard silence around the speech loses words there.
        """
        posteriors = self.speech.posteriors[clip.store]
        if posteriors is None or clip.frame + clip.frames > len(posteriors):
            return said
        spoken = np.flatnonzero(posteriors[clip.frame : clip.frame + clip.frames, 0] < 0.5)
        chance = self.generator.random()
        if not len(spoken) or chance >= self.how.trimmed + self.how.inside:
            return said
        labels = said.labels
        if chance < self.how.trimmed:
            first = int(self.generator.integers(max(0, int(spoken[0]) - 5) + 1))
            last = int(self.generator.integers(min(clip.frames, int(spoken[-1]) + 8), clip.frames + 1))
        else:
            length = int(self.generator.integers(75, 300))
            first = int(self.generator.integers(max(1, clip.frames - length)))
            last, labels = min(clip.frames, first + length), ()
        if last - first < max(20, len(labels) + 2 + 2 * EDGE):
            return said
        samples = said.samples[first * HOP : (last - 1) * HOP + RECEPTIVE]
        return Said(samples, said.rows[first:last], labels)


def _joined(parts: list[Said]) -> Said:
    """Say some clips one after another, frame upon frame: each but the last keeps a hop of samples for each frame."""
    if len(parts) == 1:
        return parts[0]
    samples = [part.samples[: len(part.rows) * HOP] for part in parts[:-1]]
    labels: list[int] = []
    for part in parts:
        labels += [*([_SPACE] if labels else []), *part.labels]
    known = all(part.labels for part in parts)
    rows = np.concatenate([part.rows for part in parts])
    return Said(np.concatenate([*samples, parts[-1].samples]), rows, tuple(labels) if known else ())


def chain_up(clips: list[Clip], share: float, longest: float, generator: np.random.Generator) -> list[Chain]:
    """Put about `share` of the time into chains of up to `longest` s, in random order; the rest stays single.

    Long recordings are many people's utterances in a row: a model that never heard more than one at a time lets far
    speech disturb what it reads.
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
    speech: Speech,
    shares: dict[str, float],
    seconds: float,
    longest: float,
    generator: np.random.Generator,
    joined: float = 0.0,
    chained: float = 30.0,
) -> list[list[Chain]]:
    """Draw about twelve batches: groups by `shares` of time, clips of at most `longest` s, batches of like length.

    A share `joined` of the time is said in chains of up to `chained` s.
    """
    pools = {g: [c for c in clips if c.samples <= longest * RATE] for g, clips in speech.groups.items()}
    pools = {g: clips for g, clips in pools.items() if clips and shares.get(g, 0) > 0}
    total = sum(shares[g] for g in pools)
    chosen: list[Clip] = []
    for group, clips in pools.items():
        budget = 12 * seconds * shares[group] / total * RATE
        budget *= generator.uniform(0.8, 1.2)
        while budget > 0:
            clip = clips[int(generator.integers(len(clips)))]
            budget -= clip.samples
            chosen.append(clip)
    batches = list(length_batches(chain_up(chosen, joined, chained, generator), seconds))
    generator.shuffle(batches)  # type: ignore[arg-type]
    return batches


def feature_scale(speech: Speech, generator: np.random.Generator, rows: int = 40000) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every teacher feature over a sample of cached frames."""
    parts = []
    for cached in speech.features:
        if cached is not None and len(cached):
            index = np.sort(generator.integers(len(cached), size=min(rows, len(cached))))
            parts.append(np.asarray(cached[index], np.float32))
    stacked = np.concatenate(parts)
    return stacked.mean(0), stacked.std(0) + 1e-3


assert (RECEPTIVE, HOP) == (400, 320)

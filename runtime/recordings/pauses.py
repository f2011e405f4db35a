"""Leave out the pauses of long recordings; times are those of the whole recording.

A pause is a second or more in which every 20 ms are as quiet as the noise around them:

1. Power is that of the differences between neighbouring samples, in which hum and offsets are small.
2. The noise around a frame is the tenth percentile of power in the half minute that holds it. A pause stays below 2.5
   times that (4 dB): speech that is as loud as the noise exceeds it within a second.
3. A pause is also 15 dB quieter than the loudest twentieth of the recording, so that nothing is left out where speech
   and noise are hard to tell apart.
4. Half a second is kept at each end of a pause.

Each stretch of speech is run by itself, with no overlap into the next. Frames that were left out count as blank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..audio.loudness import Loudness, Meter
from ..bundle.spec import ModelSpec
from .chunking import Chunk, Chunking, chunks


@dataclass(frozen=True)
class Pauses:
    """What counts as a pause; benchmarks/pauses.py prints words and time with the defaults."""

    shortest: float = 1.0
    """Seconds without speech that are a pause; default 1."""
    kept: float = 0.5
    """Seconds at each end of a pause that are still run; default 0.5."""
    rise: float = 2.5
    """A pause's power is below this multiple of the noise around it; default 2.5 (4 dB)."""
    below: float = 30.0
    """A pause's power is this much smaller than that of the loudest twentieth of the recording; default 30 (15 dB)."""


_NOTHING = 50
"""Frames that are run of a recording without any speech."""
_AROUND = 30.0
"""Seconds whose noise is measured together."""


@dataclass(frozen=True)
class Survey:
    """Loudness, powers and length of a recording, from a first pass over it."""

    loudness: Loudness
    powers: NDArray[np.float32]
    """The power of each frame's stride of samples [frames]."""
    samples: int
    """The recording's length."""


def survey(blocks: Iterable[NDArray[np.float32]], stride: int) -> Survey:
    """Pass over a recording's blocks [samples]; stride: samples between two frames of the model."""
    meter = Meter()
    powers: list[NDArray[np.float32]] = []
    rest = np.zeros(0, np.float32)
    for block in blocks:
        meter.add(block)
        joined = np.concatenate((rest, block))
        whole = len(joined) // stride
        if whole:
            steps = np.diff(joined[: whole * stride].reshape(whole, stride), axis=1)
            powers.append(np.mean(steps * steps, axis=1))
        rest = joined[whole * stride :]
    all_powers = np.concatenate(powers) if powers else np.zeros(0, np.float32)
    return Survey(meter.loudness(), all_powers, meter.samples)


def spoken(powers: NDArray[np.float32], seconds: float, pauses: Pauses) -> list[tuple[int, int]]:
    """The stretches of frames [start, end) that are run, in order and apart from each other.

    powers: of each frame [frames]. seconds: from one frame to the next.
    """
    if len(powers) == 0:
        return []
    around = max(1, round(_AROUND / seconds))
    ceiling = np.percentile(powers, 95) / pauses.below
    limits = [
        min(pauses.rise * np.percentile(powers[i : i + around], 10), ceiling) for i in range(0, len(powers), around)
    ]
    quiet = powers <= np.repeat(limits, around)[: len(powers)]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.astype(np.int8), [0]))))
    shortest, kept = round(pauses.shortest / seconds), round(pauses.kept / seconds)
    stretches, start = [], 0
    for begin, end in zip(edges[::2], edges[1::2]):
        if end - begin < max(shortest, 2 * kept + 1):
            continue
        if begin + kept > start:
            stretches.append((start, int(begin) + kept))
        start = int(end) - kept
    if start < len(powers):
        stretches.append((start, len(powers)))
    return stretches


def without_pauses(
    blocks: Iterable[NDArray[np.float32]], known: Survey, spec: ModelSpec, chunking: Chunking, pauses: Pauses
) -> Iterator[Chunk]:
    """The chunks of a recording without its pauses; each covers the pauses around it with blank frames."""
    frames = spec.frames(known.samples)
    spans = spoken(known.powers, spec.stride / spec.sample_rate, pauses)
    spans = [(start, min(end, frames)) for start, end in spans if start < frames] or [(0, min(frames, _NOTHING))]
    reader = _Reader(blocks)
    beyond = spec.receptive_field - spec.stride
    begin = 0
    for (start, end), following in zip(spans, [*(start for start, _ in spans[1:]), frames]):
        samples = reader.read(start * spec.stride, None if end == frames else end * spec.stride + beyond)
        for chunk in chunks([samples], spec, chunking):
            first = start + chunk.first_frame if chunk.first_frame else begin
            rows = start + chunk.first_frame + np.arange(spec.frames(len(chunk.samples))) - first
            next_frame: int | None
            if chunk.next_frame is not None:
                upto, next_frame = first + int(rows[-1]) + 1, start + chunk.next_frame
            else:
                upto, next_frame = following, None if following == frames else following
            covered = (upto - first) * spec.stride if next_frame is not None else known.samples - first * spec.stride
            yield replace(
                chunk, first_frame=first, next_frame=next_frame, rows=rows, frames=upto - first, covered=covered
            )
        begin = following
    reader.finish()


class _Reader:
    """Stretches of a recording that comes in blocks; each begins after the last began."""

    def __init__(self, blocks: Iterable[NDArray[np.float32]]) -> None:
        self._blocks = iter(blocks)
        self._held = np.zeros(0, np.float32)
        self._first = 0

    def read(self, start: int, stop: int | None) -> NDArray[np.float32]:
        """Samples from ``start`` to before ``stop``, or to the end."""
        parts = [self._held]
        have = self._first + len(self._held)
        while stop is None or have < stop:
            block = next(self._blocks, None)
            if block is None:
                break
            have += len(block)
            if have <= start:  # all of it is pause
                parts, self._first = [], have
                continue
            parts.append(block)
        joined = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        joined = joined[max(0, start - self._first) :]
        self._first = max(self._first, start)
        self._held = joined
        return joined if stop is None else joined[: stop - self._first]

    def finish(self) -> None:
        """Read what is left, which may be damaged."""
        for _ in self._blocks:
            pass

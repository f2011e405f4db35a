"""Frame geometry: how samples at 16 kHz become 20 ms frames in the student and in the teacher."""

from __future__ import annotations

import math

RATE = 16000
"""Samples a second."""

RECEPTIVE, HOP = 400, 320
"""Samples that the teacher's targets take as the first frame, and samples from one frame to the next."""

KERNELS, STRIDES = (400, 1, 1, 3, 3, 1, 1), (160, 1, 1, 1, 2, 1, 1)
"""The student's seven convolutions."""

CENTRES = [
    (KERNELS[0] + sum((k - 1) * math.prod(STRIDES[:i]) for i, k in enumerate(KERNELS[: n + 1]) if i)) // 2
    for n in range(len(KERNELS))
]
"""The sample on which each convolution's first frame is centred."""

EDGE = (CENTRES[-1] - RECEPTIVE // 2) // HOP
"""Target frames at either end of a clip for which the convolutions have no full window."""


def count_frames(samples: int) -> int:
    """Return how many target frames a clip of so many samples at 16 kHz has."""
    return max(0, (samples - RECEPTIVE) // HOP + 1)

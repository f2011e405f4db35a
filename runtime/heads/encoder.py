"""The bare encoder: hidden states of chosen layers, for clients that compute the rest.

A recording's embedding is the mean over all of its frames, whatever chunks they were computed in.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Which hidden states the graph gives."""

    layers: tuple[int, ...] = (-1,)
    """Layers, 0 for the input of the first, -1 for the output of the last; several are one output each."""

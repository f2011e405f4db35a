"""Speaker embeddings (x-vectors; Snyder et al., 2018): one vector a clip, compared by cosine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """threshold: the cosine at or above which two clips count as the same speaker, where it was calibrated."""

    threshold: float | None = None

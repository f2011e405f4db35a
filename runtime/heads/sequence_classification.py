"""Sequence classification: one label a clip (language, emotion, keyword, speaker sex …)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """multi_label: whether several labels may hold at once (sigmoid) instead of exactly one (softmax)."""

    multi_label: bool = False

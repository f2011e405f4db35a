"""Check the numbers of settings, so that a wrong one is refused where it is given and loops or divides nowhere."""

from __future__ import annotations

from typing import Any

from ..errors import InputError

LONGEST = 3600.0
"""Seconds that any length may have."""


def check(settings: object, **bounds: tuple[float, float]) -> None:
    """Check fields of a settings object by their lowest and highest values; raises InputError for NaN too."""
    for name, (low, high) in bounds.items():
        value: Any = getattr(settings, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise InputError(f"{type(settings).__name__}.{name} must be from {low:g} to {high:g}, it is {value!r}")

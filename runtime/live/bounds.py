"""Check the numbers of settings, so that a wrong one is refused where it is given and loops or divides nowhere."""

from __future__ import annotations

from ..errors import InputError

LONGEST = 3600.0
"""Seconds that any length may have."""


def check(settings: object, **bounds: tuple[float, float]) -> None:
    """Check fields of a settings object by their lowest and highest values; raises InputError for NaN too."""
    for name, (low, high) in bounds.items():
        value: object = getattr(settings, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise InputError(f"{type(settings).__name__}.{name} must be from {low:g} to {high:g}, it is {value!r}")

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


def check_counts(settings: object, **bounds: tuple[int, int]) -> None:
    """Check fields that count something, as ``check``; raises InputError for a fraction too."""
    check(settings, **bounds)
    for name, (low, high) in bounds.items():
        value: object = getattr(settings, name)
        if not isinstance(value, int):
            where = f"{type(settings).__name__}.{name}"
            raise InputError(f"{where} must be from {low} to {high}, a whole number, it is {value!r}")


def check_kinds(settings: object, **kinds: tuple[type | None, ...]) -> None:
    """Check that fields are of one of their types, None among them where it is allowed; raises InputError."""
    for name, allowed in kinds.items():
        value: object = getattr(settings, name)
        if not any(value is None if kind is None else isinstance(value, kind) for kind in allowed):
            names = " or ".join("None" if kind is None else kind.__name__ for kind in allowed)
            raise InputError(f"{type(settings).__name__}.{name} must be {names}, it is {value!r}")

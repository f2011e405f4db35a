"""How many CPU threads may be asked for."""

from __future__ import annotations

from .errors import InputError

MAX_THREADS = 1024
"""The most CPU threads; engines fail without a reason on more."""


def check_threads(threads: object) -> None:
    """Raise InputError for a number of threads that is not a whole one from 1 to ``MAX_THREADS``."""
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MAX_THREADS:
        raise InputError(f"threads={threads!r}: give a whole number from 1 to {MAX_THREADS}")

"""The signal of a terminal that is closed."""

from __future__ import annotations

import signal

HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""SIGHUP; None on Windows, which has none."""


def ending() -> signal.Signals | None:
    """The signal, where it would end this process; None where it does not: under nohup, or where it is handled."""
    return HANG_UP if HANG_UP is not None and signal.getsignal(HANG_UP) is signal.SIG_DFL else None

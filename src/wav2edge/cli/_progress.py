"""A progress line on a terminal; nothing in a pipe."""

from __future__ import annotations

import shutil
import sys
import time

_EVERY = 0.1  # seconds between two drawings


class Progress:
    """One line on stderr that is redrawn in place; use ``say`` for messages while it stands."""

    def __init__(self) -> None:
        """Draw only when stderr is a terminal."""
        self._shown = sys.stderr.isatty()
        self._drawn = 0.0
        self._stands = False

    def update(self, label: str, done: float, total: float | None) -> None:
        """Show ``label`` and how much of ``total`` seconds is done (None: unknown)."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < _EVERY:
            return
        columns = shutil.get_terminal_size().columns
        amount = f"{_clock(done)}" if total is None else f"{_clock(done)} of {_clock(total)}"
        line = f"{label}  {amount}"
        if total:
            width = min(30, columns - len(line) - 10)
            share = min(1.0, done / total)
            if width >= 5:
                line = f"{label}  {'━' * round(width * share):·<{width}}  {share:4.0%}  {amount}"
        self._draw(line, now)

    def count(self, label: str, done: int, total: int) -> None:
        """Show how many of ``total`` recordings are done."""
        now = time.monotonic()
        if self._shown and now - self._drawn >= _EVERY:
            self._draw(f"{label}  {done}/{total}", now)

    def clear(self) -> None:
        """Take the line away, before something else is printed."""
        if self._stands:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._stands = False

    def _draw(self, line: str, now: float) -> None:
        sys.stderr.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()
        self._drawn = now
        self._stands = True

    def say(self, message: str) -> None:
        """Print a line on stderr."""
        self.clear()
        print(f"wav2edge: {message}", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

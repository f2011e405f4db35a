"""The progress of a long job: one line that is redrawn on a terminal, a line at least each 30 s in a pipe or a log."""

from __future__ import annotations

import sys
import threading
import time
from typing import Literal

from wav2edge.runtime import escape

from . import _terminal

_EVERY = 0.1  # seconds between two drawings on a terminal
_EVERY_LINE = 30.0  # seconds between two lines in a pipe
_BAR = 24  # characters

Unit = Literal["items", "seconds", "share"]
"""What is counted: items, seconds of sound, or only the share of the work."""


class Progress:
    """The progress of one job; use it in a ``with``, which clears the line at the end.

    In a pipe a separate thread writes the lines, so that they also appear during a single step of minutes.
    """

    def __init__(self) -> None:
        """Check whether standard error is a terminal; nothing is written yet."""
        self._drawn_over = sys.stderr is not None and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._line = ""
        self._began = time.monotonic()
        self._written = 0.0
        self._done = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.clear()

    def update(self, label: str, done: float, total: float | None, unit: Unit = "items") -> None:
        """Show that ``done`` of ``total`` (None: unknown) are done; label: the name of the step."""
        now = time.monotonic()
        if done < self._done:  # the next part of the job
            self._began = now
        self._done = done
        if self._drawn_over:
            if now - self._written >= _EVERY:
                self._draw(_line(label, done, total, unit, now - self._began), now)
            return
        with self._lock:
            self._line = _line(label, done, total, unit, now - self._began, bar=False)
        if self._thread is None:
            self._thread = threading.Thread(target=self._lines, name="wav2edge-progress", daemon=True)
            self._thread.start()

    def clear(self) -> None:
        """Clear the line on the terminal, before something else is printed."""
        _terminal.note_progress(None)
        if self._drawn_over and self._line:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._line = ""

    def _draw(self, line: str, now: float) -> None:
        import shutil

        self._line = escape.cut(escape.one_line(line), shutil.get_terminal_size().columns - 1)
        self._written = now
        sys.stderr.write("\r\x1b[K" + self._line)
        sys.stderr.flush()
        _terminal.note_progress(self)

    def _lines(self) -> None:
        while not self._ended.wait(_EVERY_LINE):
            with self._lock:
                line = self._line
            _terminal.note(line)


def _line(label: str, done: float, total: float | None, unit: Unit, passed: float, bar: bool = True) -> str:
    amount = {"items": f"{done:.0f}", "seconds": clock(done), "share": ""}[unit]
    if not total:
        return f"{label}  {amount}".rstrip() if amount != "0" else f"{label} …"
    share = min(1.0, done / total)
    amount += {"items": f" of {total:.0f}", "seconds": f" of {clock(total)}", "share": ""}[unit]
    # Shares are of work, not of time, but close enough for an estimate once something is done.
    left = passed / share - passed if share > 0.05 and passed > 2 else 0.0
    parts = [label, f"{'━' * round(_BAR * share):·<{_BAR}}" if bar else "", f"{share:4.0%}", amount]
    parts.append(f"about {_about(left)} left" if left >= 1 else "")
    return "  ".join(part for part in parts if part)


def clock(seconds: float) -> str:
    """Seconds as ``20:00`` or ``1:20:00``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _about(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

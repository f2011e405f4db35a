"""Show live events: as plain lines, as JSON Lines, or as captions that are redrawn on a terminal (rich)."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from wav2edge.runtime import escape, remedies
from wav2edge.runtime.live.events import Dropped, Event, Final, Label, Partial, SourceBack, SourceLost, Stats, to_line
from wav2edge.runtime.live.saving import writing

from . import _terminal
from ._progress import clock

if TYPE_CHECKING:
    from rich.text import Text

_FLOOR = -60.0  # dBFS at the left end of the level meter
_METER = 16


class Display(Protocol):
    """Shows events, one after the other."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Lines:
    """Finals and labels as lines on stdout; faults as lines on stderr."""

    def show(self, event: Event) -> None:
        """Print a Final's text, a Label or a fault."""
        if isinstance(event, Final):
            if event.text:
                _terminal.out(escape.one_line(event.text))
        elif isinstance(event, Label):
            _terminal.out(f"{_clock(event.start)}  {escape.one_line(event.label)}  {event.score:.2f}")
        elif notice := fault(event):
            _terminal.note(notice)

    def close(self) -> None:
        """Nothing is held."""


class JsonEvents:
    """Every event as one line of JSON on standard output."""

    def show(self, event: Event) -> None:
        """Print the event."""
        _terminal.out(to_line(event), as_json=True)

    def close(self) -> None:
        """Nothing is held."""


class JsonFile:
    """Every event as one line of JSON in a file; called with the events as they come."""

    def __init__(self, path: Path) -> None:
        """Start the file anew."""
        self._path = path
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def __call__(self, event: Event) -> None:
        """Write the event at once; raises InputError on a full disk."""
        with writing(self._path, "events"):
            print(to_line(event), file=self._file, flush=True)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what a full disk refused was reported
            self._file.close()


class Captions:
    """Captions on a terminal: white when stable, grey while tentative; below them level, lag and losses."""

    def __init__(self, rich: ModuleType) -> None:
        """Start drawing with the module ``rich``, submodules loaded."""
        self._text: type[Text] = rich.text.Text
        self._group = rich.console.Group
        self._console = rich.console.Console(highlight=False)
        self._live = rich.live.Live(console=self._console, auto_refresh=False, transient=True)
        self._partial: Partial | None = None
        self._stats: Stats | None = None
        self._fault = ""
        self._live.start()
        self._draw()

    def show(self, event: Event) -> None:
        """Take an event and draw."""
        if isinstance(event, Partial):
            self._partial = event
        elif isinstance(event, Final):
            self._partial = None
            self._draw()
            if event.text:
                stamp = self._text(f"{_clock(event.start)}  ", style="dim")
                self._console.print(stamp.append(escape.one_line(event.text), style="not dim default"))
        elif isinstance(event, Label):
            stamp = self._text(f"{_clock(event.start)}  ", style="dim")
            stamp.append(escape.one_line(event.label), style="not dim bold")
            self._console.print(stamp.append(f"  {event.score:.2f}", style="not bold"))
        elif isinstance(event, Stats):
            self._stats = event
        elif isinstance(event, SourceBack):
            self._fault = ""
            self._console.print(self._text(fault(event), style="green"))
        elif notice := fault(event):
            self._fault = notice if isinstance(event, SourceLost) else self._fault
            self._console.print(self._text(notice, style="yellow"))
        self._draw()

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()

    def _draw(self) -> None:
        caption = self._text("")
        if self._partial is not None:
            caption.append(escape.one_line(self._partial.stable), style="bold white")
            gap = self._partial.gap if self._partial.stable and self._partial.tentative else ""
            caption.append(gap + escape.one_line(self._partial.tentative), style="grey50")
        self._live.update(self._group(caption, self._status()), refresh=True)

    def _status(self) -> Text:
        if self._fault:
            return self._text(self._fault, style="yellow")
        if self._stats is None:
            return self._text("listening; Ctrl-C ends", style="dim")
        stats = self._stats
        filled = round(_METER * min(1.0, max(0.0, 1 - stats.level / _FLOOR)))
        status = self._text("")
        status.append("█" * filled + "·" * (_METER - filled), style="green" if stats.level < -3 else "red")
        numbers = f"  lag {stats.lag:.1f} s  load {100 * stats.rtf:.0f} %  {_clock(stats.time)}"
        status.append(numbers, style="dim")
        if stats.dropped:
            status.append(f"  dropped {stats.dropped:.1f} s", style="yellow")
        return status


def fault(event: Event) -> str:
    """A fault in words; empty for other events."""
    if isinstance(event, SourceLost):
        return f"[{_clock(event.time)}] sound lost: {escape.one_line(event.message)}"
    if isinstance(event, SourceBack):
        return f"[{_clock(event.time)}] sound is back after {event.away:.1f} s"
    if isinstance(event, Dropped):
        return f"[{_clock(event.time)}] {event.seconds:.1f} s of sound dropped: this machine is too slow or was busy"
    return ""


def choose(json: str | None) -> Display:
    """JSON Lines when asked for on standard output, captions on a terminal with rich, plain lines else."""
    if json == "-":
        return JsonEvents()
    if sys.stdout is None or not sys.stdout.isatty():
        return Lines()
    try:
        import rich.console
        import rich.live
        import rich.text
    except ImportError:
        _terminal.note(f"plain lines; for live captions `{remedies.install('mic')}`")
        return Lines()
    return Captions(rich)


def _clock(seconds: float) -> str:
    return f"{clock(seconds):0>5}"

"""A command's output: results on standard output, everything else as ``wav2edge: …`` lines on standard error.

Text from outside (transcripts, labels, file names, other libraries' errors) may hold control characters that would
move the cursor, set the window's title or forge a line. All of them are written as escapes here, and only here; in JSON
as JSON's escapes.
"""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime import escape
from wav2edge.runtime.errors import InputError

if TYPE_CHECKING:
    from ._progress import Progress

_shown: list[Progress] = []  # the progress line that is on the terminal now, if one is


def out(text: str = "", end: str = "\n", as_json: bool = False) -> None:
    """Write to standard output at once; as_json: the text is JSON, which has escapes of its own."""
    _clear_progress()
    if sys.stdout is None:  # closed by the caller: >&-
        raise InputError("standard output is closed; nothing can be written to it")
    print(_json_escaped(text) if as_json else escape.lines(text), end=end, flush=True)


def _json_escaped(text: str) -> str:
    """JSON without control characters: json leaves DEL and C1 as they are, and some terminals read 0x9b as ESC [."""
    return re.sub("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda found: f"\\u{ord(found[0]):04x}", text)


def heading(title: str, below: str) -> None:
    """Write a heading to standard output, bold on a terminal."""
    bold = sys.stdout.isatty()
    print(f"\n\x1b[1m{escape.one_line(title)}\x1b[0m" if bold else f"\n== {escape.one_line(title)}")
    out(f"{below}\n")


def note(message: str, prefix: str = "wav2edge: ") -> None:
    """Write one line to standard error."""
    _clear_progress()
    if sys.stderr is None:  # closed by the caller: 2>&-
        return
    try:
        print(f"{prefix}{escape.one_line(message)}", file=sys.stderr, flush=True)
    except OSError:  # nothing reads it; what is left in its buffer would fail again at the exit
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)


def note_unusable(rows: int, manifest: object) -> None:
    """Note how many rows of a manifest are not in its figures; nothing for none."""
    if rows:
        one = rows == 1
        what = f"{rows} row{'' if one else 's'} of {manifest} could not be used"
        note(f"{what}; the figures are without {'it' if one else 'them'}")


def write_json(value: object, file: str | Path | None = "-") -> None:
    """Write JSON to a file, or to standard output for ``-``; nothing for None."""
    from wav2edge.runtime import files
    from wav2edge.runtime.text.formats.json import dumped

    if file is None:
        return
    text = dumped(value, indent=1)
    if str(file) == "-":
        out(text, as_json=True)
    elif Path(file).exists() and not Path(file).is_file():  # a pipe, /dev/stdout
        Path(file).write_text(text + "\n", encoding="utf-8")
    else:
        files.write_whole(file, text + "\n")


def tolerate_any_name() -> None:
    """Have standard output and error write characters that they cannot encode as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def note_progress(progress: Progress | None) -> None:
    """Register the progress line on the terminal, which is cleared before anything else is printed."""
    _shown[:] = [] if progress is None else [progress]


def _clear_progress() -> None:
    for progress in tuple(_shown):
        progress.clear()

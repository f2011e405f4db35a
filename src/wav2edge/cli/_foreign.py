"""Keep lines that C libraries write to file descriptor 2 out of a command's standard error.

    KenLM       draws a progress bar, on a terminal or not
    libmpg123   (inside soundfile's libsndfile) reports a damaged MP3 in addition to the line that wav2edge prints
    ALSA        (below PortAudio) writes whenever a microphone is unplugged

None of them has an option against it. So file descriptor 2 is redirected while they run, and Python writes to a copy of
the original. Only commands do this: a library must not change the process that it runs in.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator

MP3_DECODER = re.compile(rb"^(?:\[src/libmpg123/|Note: |Warning: )")
EVERYTHING = re.compile(rb"")


@contextlib.contextmanager
def without_lines(dropped: re.Pattern[bytes]) -> Iterator[None]:
    """Drop the lines that match from what C libraries write to standard error; the others pass on as they come."""
    with contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
        except OSError:  # standard error is closed: nothing can be written there
            yield
            return
        sys.stderr.flush()
        try:
            ours = sys.stderr.fileno() == 2
        except OSError:  # a test reads it from memory
            ours = False
        stack.callback(os.close, kept)
        if ours:
            python = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context(python)))
        reading, writing = os.pipe()
        thread = threading.Thread(target=_pass_on, args=(reading, kept, dropped), name="wav2edge-stderr", daemon=True)
        thread.start()
        os.dup2(writing, 2)
        os.close(writing)
        try:
            yield
        finally:
            os.dup2(kept, 2)  # the last writing end closes, which ends the thread
            thread.join(timeout=1)  # with a limit: a program that was started meanwhile may hold the pipe open


def _pass_on(reading: int, kept: int, dropped: re.Pattern[bytes]) -> None:
    with os.fdopen(reading, "rb") as lines, contextlib.suppress(OSError):  # OSError: standard error was closed
        for line in lines:
            if not dropped.match(line):
                os.write(kept, line)

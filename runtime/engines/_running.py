"""Keep the interpreter from ending while an engine's library runs.

Python ends a thread that returns from an engine's library while the interpreter is being finalised, in the middle of
C++ code, which aborts the process. So the exit waits for the runs that have begun and refuses new ones.
"""

from __future__ import annotations

import atexit
import threading

from ..errors import EngineError

_PATIENCE = 30.0
"""Seconds that the exit waits: the longest run, 30 s of audio through a large model on a slow core, takes less."""


class _Runs:
    """A context manager around each run of an engine's library; any number of threads may be inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._ending = False

    def __enter__(self) -> None:
        with self._changed:
            if self._ending:
                if threading.current_thread().daemon:
                    raise SystemExit  # ends the thread without a traceback; Python has ended all others by now
                raise EngineError("the program is ending")
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            if self._count == 0:
                self._changed.notify_all()

    def end(self) -> None:
        """Refuse further runs, and wait for those that have begun."""
        with self._changed:
            self._ending = True
            self._changed.wait_for(lambda: self._count == 0, _PATIENCE)


running = _Runs()
atexit.register(running.end)

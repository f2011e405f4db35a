"""The memory of a process."""

from __future__ import annotations

import contextlib
from pathlib import Path


def peak() -> int | None:
    """The peak resident memory of this process in bytes; None where the system does not report it.

    getrusage would count the parent's before exec.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None

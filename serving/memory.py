"""How much memory this process has, and how much it may have."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_SHARE = 0.85


def resident() -> int:
    """Resident memory in bytes; 0 where the system does not report it."""
    if sys.platform == "win32":
        return 0
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def bound() -> int:
    """85 % of the bytes of memory of the machine, or of the container where that has less; on Windows a huge number."""
    if sys.platform == "win32":
        return sys.maxsize
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in _CGROUP:
        try:
            total = min(total, int(Path(name).read_text()))
        except (OSError, ValueError):
            continue
    return int(total * _SHARE)

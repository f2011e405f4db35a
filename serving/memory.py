"""How much memory this process has, and how much it may have."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..devices import detect
from ..devices.tree import Tree

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


def bound(root: str | Path = "/") -> int:
    """85 % of the bytes of memory of the machine, or of what this process's control groups allow where that is less.

    On Windows a huge number. root: below which /proc and /sys are.
    """
    if sys.platform == "win32":
        return sys.maxsize
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = detect.memory(Tree(root)).limit
    return int((total if limit is None else min(total, limit)) * _SHARE)

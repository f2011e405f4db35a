"""Read small text files below a root directory: /proc and /sys of this machine, or of a recorded one in a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


class Tree:
    """A root directory; every path is given as on the machine itself (``/proc/cpuinfo``).

    Nothing raises: what is missing, unreadable or not text is None, because detection must go on without it.
    """

    def __init__(self, root: str | Path = "/") -> None:
        """Look below ``root``."""
        self.root = Path(root)

    @property
    def live(self) -> bool:
        """Whether this is the machine that the program runs on."""
        return self.root == Path("/")

    def path(self, name: str) -> Path:
        """Where a path of the machine is below the root."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str | None:
        """The text of a file, white space and NUL at its ends removed (device-tree strings end with NUL)."""
        try:
            return self.path(name).read_bytes().decode("utf-8", "replace").strip(" \t\r\n\0")
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """The whole number in a file; None where it holds another word, such as ``max``."""
        text = self.read(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            return None

    def strings(self, name: str) -> tuple[str, ...]:
        """The NUL-separated strings of a device-tree property, most specific first."""
        text = self.read(name)
        return tuple(part for part in text.split("\0") if part) if text else ()

    def sysctl(self, name: str) -> str | None:
        """A value of macOS's kernel; a recorded machine has a file for each in /sysctl."""
        if not self.live:
            return self.read(f"/sysctl/{name}")
        if sys.platform != "darwin":
            return None
        try:
            done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() or None

    def exists(self, name: str) -> bool:
        """Whether a path is there."""
        return self.path(name).exists()

    def list(self, name: str) -> tuple[str, ...]:
        """The names in a directory, sorted with numbers in their order; empty where it is missing."""
        try:
            return tuple(sorted(os.listdir(self.path(name)), key=_natural))
        except OSError:
            return ()


def cpu_list(text: str | None) -> frozenset[int]:
    """The CPUs of a kernel list such as ``0-3,6``; empty for none and for what is not a list."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def cpu_list_text(cpus: Iterable[int]) -> str:
    """CPUs as the kernel writes them, ``0-3,6``."""
    spans: list[list[int]] = []
    for cpu in sorted(cpus):
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _natural(name: str) -> tuple[str, int, str]:
    stem = name.rstrip("0123456789")
    return (stem, int(name[len(stem) :] or 0), name)

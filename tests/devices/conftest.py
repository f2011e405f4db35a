r"""Boards written down: small trees of /proc, /sys, /etc and /var, each in one text file below trees/.

``=== PATH`` starts a file. ``cpu{0-5}`` in a path makes one file for each number, with ``{n}`` standing for it in the
text; ``=== PATH repeat 0-5`` repeats the text, once for each number. ``\0`` is a NUL. Lines before the first ``===``
are comments: they name the sources.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

TREES = Path(__file__).parent / "trees"
BOARDS = tuple(sorted(path.stem for path in TREES.glob("*.txt")))


def plant(text: str, root: Path) -> Path:
    for section in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        header, _, body = section.partition("\n")
        name, _, repeated = header.strip().partition(" repeat ")
        body = body.rstrip("\n").replace("\\0", "\0") + "\n"
        if repeated:
            first, last = map(int, repeated.split("-"))
            write(root, name, "\n".join(body.replace("{n}", str(n)) for n in range(first, last + 1)))
        elif braces := re.search(r"\{(\d+)-(\d+)\}", name):
            for n in range(int(braces[1]), int(braces[2]) + 1):
                write(root, name.replace(braces[0], str(n)), body.replace("{n}", str(n)))
        else:
            write(root, name, body)
    return root


def write(root: Path, name: str, text: str) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


@pytest.fixture
def board(tmp_path: Path) -> Callable[[str], Path]:
    """Plant a board's tree and return its root; the test may change it."""

    def make(name: str) -> Path:
        return plant((TREES / f"{name}.txt").read_text(encoding="utf-8"), tmp_path / name)

    return make

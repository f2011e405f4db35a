"""Command lines of Python processes that wav2edge starts, which import what this one imports and nothing else.

``python -m`` and ``python -c`` put the working directory first on the path: a ``json.py`` there would be run in place
of the standard library's. ``-P`` does without it, but not before Python 3.11.
"""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = str(Path(__file__).absolute().parents[2])
"""The folder that holds the package wav2edge."""


def module(name: str, *arguments: str) -> list[str]:
    """The command line that runs a module as ``python -m NAME ARGUMENTS`` does."""
    return [*code(f"import runpy; runpy.run_module({name!a}, run_name='__main__', alter_sys=True)"), *arguments]


def code(text: str) -> list[str]:
    """The command line that runs a program's text as ``python -c TEXT`` does."""
    path = [entry for entry in sys.path if entry]  # an empty one is the working directory
    if _ROOT not in path:
        path.append(_ROOT)
    return [sys.executable, "-c", f"import sys; sys.path[:] = {path!a}\n{text}"]

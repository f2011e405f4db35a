"""A short run of every kind of hostile input, with the seed of today's code; `scripts/test --fuzz` runs more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attack import kinds, runner
from numpy.random import Generator

from wav2edge.runtime.errors import InputError

FOLDER = Path(__file__).parent
COUNT = 40
"""Inputs of each kind."""
USABLE = {"audio": "whole", "checkpoints": "loaded", "vocabularies": "the same text", "manifests": "all rows"}
"""An outcome that a kind must have: an attack whose every input is refused at once attacks nothing."""


def test_every_kind_of_input_is_used_or_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "fuzz.py"), "--count", str(COUNT), "--seed", "19", "--keep", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [report["kind"] for report in reports] == list(kinds.NAMES), done.stderr[-2000:]
    assert not [report for report in reports if report["failures"]], done.stdout
    assert all(report["count"] == COUNT and report["megabytes"] < 1024 for report in reports)
    for report in reports:
        assert report["outcomes"].get(USABLE.get(report["kind"], ""), 1) > 0
    assert done.returncode == 0


def _traceback(random: Generator, folder: Path) -> str:
    (folder / "input").write_text("x")
    raise KeyError("x")


def _two_lines(random: Generator, folder: Path) -> str:
    error = InputError("x")
    error.args = ("one\ntwo",)
    raise error


def _outside(random: Generator, folder: Path) -> str:
    (folder.parent / "home" / "left").write_text("x")
    return "written"


def _memory(random: Generator, folder: Path) -> str:
    return str(len(b"x" * (runner.MEMORY_LIMIT + 2**21)))


def _hang(random: Generator, folder: Path) -> str:
    return (folder.parent / "secret.fifo").read_text()


def _death(random: Generator, folder: Path) -> str:
    os.abort()


KINDS: dict[str, runner.Kind] = {
    "traceback": _traceback,
    "two_lines": _two_lines,
    "outside": _outside,
    "memory": _memory,
    "hang": _hang,
    "death": _death,
}


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("traceback", "KeyError"),
        ("two_lines", "not one line"),
        ("outside", "changed home/left"),
        ("memory", "MemoryError"),
        ("hang", "took more than"),
        ("death", "signal 6"),
    ],
)
def test_the_runner_finds_each_way_to_fail(tmp_path: Path, kind: str, what: str) -> None:
    """In a process of its own: the runner forks, and a fork of the tests' process has their threads and memory."""
    command = [sys.executable, __file__, kind, str(tmp_path)]
    paths = os.pathsep.join([str(FOLDER), *(path for path in sys.path if path)])
    unset = dict.fromkeys(("HOME", "TMPDIR", "WAV2EDGE_CACHE", "XDG_CACHE_HOME"), "")
    environment = {**os.environ, **unset, "PYTHONPATH": paths}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["count"] == 3 and what in report["failures"][0], report
    assert len(report["failures"]) == 3
    kept = json.loads((tmp_path / "kept" / "x-1-0" / "failure.json").read_text())
    assert kept["number"] == 0 and kept["trace"]
    assert kind != "traceback" or (tmp_path / "kept" / "x-1-0" / "input" / "input").read_text() == "x"


def main(kind: str, folder: Path) -> None:
    """Run one kind and print how many inputs there were and what failed."""
    runner.MEMORY_LIMIT = 2**28
    if kind == "hang":
        runner.TIME_LIMIT = 0.5
    place = runner.Place(folder / "around")
    place.prepare()
    found = runner.run("x", KINDS[kind], place, seed=1, first=0, count=3, until=float("inf"), keep=folder / "kept")
    print(json.dumps({"count": found.count, "failures": [str(failure["what"]) for failure in found.failures]}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

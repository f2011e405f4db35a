"""kill -9 at any moment of a command: what is on the disk then, and after the next run.

A process that has everything loaded forks a child for each run, so a run takes seconds. The child gets SIGKILL at a
random moment of the time that a whole run took. Then what the command writes must be the old or the new, whole; its
helpers must be gone; and the next whole run must leave exactly the files that a run in a fresh folder leaves.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from numpy.random import Generator

GONE = 10.0
"""Seconds after which helpers of a killed process must have ended."""
LONGEST = 300.0
"""Seconds that a whole run may take."""
KILLS = 5
"""Kills, one after the other, before the next whole run."""


@dataclass(frozen=True)
class Target:
    """A command to kill."""

    name: str
    prepare: Callable[[Path], None]
    """Makes what it works on, the old result included, in an empty folder."""
    run: Callable[[Path], int]
    """Runs it in that folder; returns its exit code."""
    check: Callable[[Path], None]
    """Raises AssertionError, or an error of this project, where something half-written would be trusted."""
    before: Callable[[Path], None] = field(default=lambda folder: None)
    """What to do before each run, such as removing a result that a command refuses to write over."""


@dataclass
class Outcome:
    """What became of a target's kills."""

    target: str
    seconds: float
    kills: int = 0
    ended: int = 0
    runs: int = 0
    half_written: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """One line for a log."""
        return {
            "command": self.target,
            "kills": self.kills,
            "ended before": self.ended,
            "whole runs": self.runs,
            "seconds of a run": round(self.seconds, 2),
            "half-written": len(self.half_written),
            "left over": len(self.left_over),
            "problems": sorted(set(self.half_written + self.left_over))[:5],
        }


def attack(target: Target, folder: Path, count: int, random: Generator) -> Outcome:
    """Kill a command ``count`` times."""
    fresh, work = folder / "fresh", folder / "work"
    expected, seconds = _whole(target, fresh)
    outcome = Outcome(target.name, seconds)
    _begin(target, work)
    while outcome.kills + outcome.ended < count:
        for _ in range(min(KILLS, count - outcome.kills - outcome.ended)):
            _kill(target, work, outcome, random.uniform(0.0, 1.05 * seconds))
        target.before(work)
        code = _wait(_start(target, work), LONGEST)
        outcome.runs += 1
        outcome.left_over += _difference(expected, _names(work))
        _checked(target, work, outcome, f"after the next run, which ended with {code}")
        if code != 0:
            outcome.left_over.append(f"the next run ended with {code}")
            _begin(target, work)
    return outcome


def _whole(target: Target, folder: Path) -> tuple[set[str], float]:
    """The files after a whole run, and its seconds; it runs twice, so that the second replaces the first's result."""
    _begin(target, folder)
    for _ in range(2):
        target.before(folder)
        began = time.monotonic()
        code = _wait(_start(target, folder), LONGEST)
        assert code == 0, f"{target.name} ends with {code}: {(folder / 'output.txt').read_text()[-500:]}"
        seconds = time.monotonic() - began
        target.check(folder)
    return _names(folder), seconds


def _begin(target: Target, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("tmp", "cache", "home"):
        (folder / name).mkdir(parents=True)
    (folder / "output.txt").touch()
    target.prepare(folder)


def _kill(target: Target, folder: Path, outcome: Outcome, moment: float) -> None:
    target.before(folder)
    child = _start(target, folder)
    time.sleep(moment)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        outcome.kills += 1
    else:
        outcome.ended += 1
    _checked(target, folder, outcome, "")
    if left := _helpers(child, time.monotonic() + GONE):
        outcome.left_over.append(f"processes that go on: {len(left)}")
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _checked(target: Target, folder: Path, outcome: Outcome, when: str) -> None:
    try:
        target.check(folder)
    except Exception as error:
        outcome.half_written.append(
            f"{type(error).__name__}: {str(error).replace(str(folder), '')[:160]} {when}".strip()
        )


def _start(target: Target, folder: Path) -> int:
    """Fork a child that runs the command, in a session of its own."""
    child = os.fork()
    if child:
        return child
    code = 125
    try:
        os.setsid()
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.environ.update(TMPDIR=str(folder / "tmp"), HOME=str(folder / "home"), WAV2EDGE_CACHE=str(folder / "cache"))
        os.chdir(folder)
        code = target.run(folder)
    finally:
        os._exit(code)


def _wait(child: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


def _helpers(session: int, until: float) -> list[int]:
    """Processes of a session that are left at a moment; waits for them to end."""
    while (left := [process for process, leader in _processes() if leader == session]) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _processes() -> Iterator[tuple[int, int]]:
    """Every process that runs, with its session's leader."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    yield int(name), int(fields[3])


def _names(folder: Path) -> set[str]:
    """Every file below a folder but for the cache, which may keep what is whole, and what bundles list.

    A variant that replaces one of the same name has files of other names.
    """
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    for manifest in folder.glob("*/bundle.json"):
        document = json.loads(manifest.read_text("utf-8"))
        listed = {entry["file"] for entry in document["files"].values()}
        listed |= {name for variant in document["variants"] for name in variant["sizes"]}
        found -= {f"{manifest.parent.name}/{name}" for name in listed}
    return {name for name in found if not name.startswith("cache/") or name.endswith(".tmp")}


def _difference(expected: set[str], found: set[str]) -> list[str]:
    return [f"left over: {name}" for name in sorted(found - expected)] + [
        f"missing: {name}" for name in sorted(expected - found)
    ]

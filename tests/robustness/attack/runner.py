"""Run inputs in children with limits on time and memory; a child that dies or hangs is a failure, and the next begins.

A child is forked with everything loaded and takes one input after the other. It says which one it begins and how it
ended; the parent ends it when nothing came for ``TIME_LIMIT`` seconds. An input has failed when anything but an error
of this project came out of it, when such an error has several lines, when a file outside its own folder changed, and
when it needed more than ``MEMORY_LIMIT``: the system refuses more where it knows such a limit, and it is measured.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.random import Generator

TIME_LIMIT = 20.0
"""Seconds an input may take."""
MEMORY_LIMIT = 1 << 30
"""Bytes that the inputs of a child may need beyond what was loaded before."""
BATCH = 100
"""Inputs of one child."""
MOST_HANDLES = 8
"""Open files that a batch may leave: a library keeps a few for the process."""
KEPT = 20
"""Failures of a kind that are kept as reproductions."""


class Kind(Protocol):
    """A kind of input: called with a random generator and an empty folder, it makes one there and uses it.

    It returns a word for the outcome; what is refused raises Wav2EdgeError, and anything else is a failure.
    """

    def __call__(self, random: Generator, folder: Path) -> str:
        """Make and use one input."""


@dataclass
class Report:
    """What became of a kind's inputs."""

    kind: str
    seed: int
    count: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)
    megabytes: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, object]] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """One line for a log."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "count": self.count,
            "failures": len(self.failures),
            "distinct": sorted({str(failure["what"]) for failure in self.failures}),
            "outcomes": dict(self.outcomes.most_common(6)),
            "seconds": round(self.seconds, 1),
            "slowest": {"seconds": round(self.slowest[0], 2), "number": self.slowest[1]},
            "megabytes": round(self.megabytes),
        }


@dataclass(frozen=True)
class Place:
    """The folders of one kind: ``work`` holds an input, nothing else below ``around`` may change."""

    around: Path

    @property
    def work(self) -> Path:
        """Where an input is made."""
        return self.around / "work"

    def prepare(self) -> None:
        """Make the surroundings: a home, a folder to stand in, files that an input may try to reach."""
        for name in ("home", "here", "tmp", "cache"):
            (self.around / name).mkdir(parents=True)
        for name in ("victim.txt", "home/.bashrc", "here/notes.txt"):
            (self.around / name).write_text("precious")
        os.mkfifo(self.around / "secret.fifo")  # whoever opens it waits for ever
        os.environ.update(HOME=str(self.around / "home"), TMPDIR=str(self.around / "tmp"))
        os.environ.update(WAV2EDGE_CACHE=str(self.around / "cache"), XDG_CACHE_HOME=str(self.around / "cache"))
        os.chdir(self.around / "here")

    def state(self) -> dict[str, tuple[int, int]]:
        """Name, size and time of everything but the input and the cache."""
        found: dict[str, tuple[int, int]] = {}
        for folder, names, files in os.walk(self.around):
            names[:] = [name for name in names if Path(folder, name) not in (self.work, self.around / "cache")]
            for name in (*names, *files):
                status = os.lstat(os.path.join(folder, name))
                found[os.path.join(folder, name)] = (status.st_size, 0 if name in names else status.st_mtime_ns)
        return found


def run(
    name: str, kind: Kind, place: Place, *, seed: int, first: int, count: int, until: float, keep: Path | None
) -> Report:
    """Run ``count`` inputs from number ``first`` on, or until a moment of time.monotonic."""
    report, number, began = Report(name, seed), first, time.monotonic()
    while number < first + count and time.monotonic() < until:
        last = min(number + BATCH, first + count)
        number = _batch(report, kind, place, number, last, keep)
    report.seconds = time.monotonic() - began
    return report


def _batch(report: Report, kind: Kind, place: Place, first: int, last: int, keep: Path | None) -> int:
    """One child's inputs; returns the number of the next one."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            _child(kind, report.kind, place, report.seed, range(first, last), writing)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    number = first
    try:
        for line in _lines(reading):
            if "begin" in line:
                number = int(str(line["begin"]))
                continue
            number = int(str(line["end"])) + 1
            _note(report, line, place, keep)
        _, status = os.waitpid(child, 0)
        if status != 0:
            what = f"died with {_status(status)}"
            _note(report, {"end": number, "failure": what, "seconds": 0.0, "trace": what}, place, keep)
            number += 1
    except TimeoutError:
        os.kill(child, signal.SIGABRT)  # faulthandler writes where it is
        os.waitpid(child, 0)
        trace = (place.around / "hang.txt").read_text(errors="replace")
        _note(
            report,
            {"end": number, "failure": _where_of_hang(trace), "seconds": TIME_LIMIT, "trace": trace},
            place,
            keep,
        )
        number += 1
    finally:
        os.close(reading)
    return number


def _status(status: int) -> str:
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"


def _where_of_hang(trace: str) -> str:
    ours = [line.strip() for line in trace.splitlines() if "wav2edge" in line and "File" in line]
    return f"took more than {TIME_LIMIT:g} s; {ours[0] if ours else 'outside of this project'}"


def _lines(reading: int) -> Iterator[dict[str, object]]:
    """A child's messages; raises TimeoutError where none came for too long."""
    held = b""
    while True:
        if not select.select([reading], [], [], TIME_LIMIT)[0]:
            raise TimeoutError
        data = os.read(reading, 1 << 16)
        if not data:
            return
        *lines, held = (held + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _note(report: Report, line: dict[str, object], place: Place, keep: Path | None) -> None:
    seconds = float(str(line["seconds"]))
    report.count += 1
    report.slowest = max(report.slowest, (seconds, int(str(line["end"]))))
    report.megabytes = max(report.megabytes, float(str(line.get("megabytes", 0.0))))
    if "failure" not in line:
        report.outcomes[str(line["outcome"])] += 1
        return
    report.outcomes["failed"] += 1
    failure: dict[str, object] = {"kind": report.kind, "seed": report.seed, "number": line["end"]}
    failure |= {"what": line["failure"], "trace": line["trace"]}
    report.failures.append(failure)
    same = sum(other["what"] == failure["what"] for other in report.failures)
    if keep is not None and same <= 2 and len(report.failures) <= KEPT:
        folder = keep / f"{report.kind}-{report.seed}-{line['end']}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if place.work.is_dir():
            with contextlib.suppress(shutil.Error, OSError):  # the child may still be ending
                shutil.copytree(place.work, folder / "input", symlinks=True, ignore=_special)
        (folder / "failure.json").write_text(json.dumps(failure, indent=1))


def _special(folder: str, names: list[str]) -> list[str]:
    """What cannot be copied: pipes, sockets, devices."""
    return [name for name in names if not os.path.isfile(p := os.path.join(folder, name)) and not os.path.isdir(p)]


def _child(kind: Kind, name: str, place: Place, seed: int, numbers: range, writing: int) -> None:
    warnings.simplefilter("error", RuntimeWarning)  # numpy's, which are lines that no user can act on
    hang = (place.around / "hang.txt").open("w")
    faulthandler.enable(hang, all_threads=True)
    _limit_memory()
    gc.collect()
    before, handles = place.state(), _handles()
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for number in numbers:
        shutil.rmtree(place.work, ignore_errors=True)
        place.work.mkdir()
        _say(writing, {"begin": number})
        began = time.monotonic()
        line = _one(kind, random_of(seed, name, number), place.work)
        line["seconds"] = time.monotonic() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        line["megabytes"] = peak - loaded
        if peak - loaded > MEMORY_LIMIT / 2**20:
            line = {**line, "failure": f"MemoryError: {peak - loaded:.0f} MB", "trace": "measured at its peak"}
        now = place.state()
        if now != before and "failure" not in line:
            changed = sorted(path for path, _ in set(now.items()) ^ set(before.items()))
            line["failure"] = f"changed {os.path.relpath(changed[0], place.around)}, which is outside its folder"
            line["trace"] = "\n".join(changed)
        before = now
        _say(writing, {"end": number, **line})
        if "failure" in line:
            return  # the parent copies the input, and a peak stays a process's peak: the next gets another process
    gc.collect()
    if _handles() > handles + MOST_HANDLES:
        raise AssertionError(f"{_handles() - handles} files were left open by inputs {numbers}")


def random_of(seed: int, name: str, number: int) -> Generator:
    """The randomness of one input, from the run's seed, the kind and its number alone."""
    return np.random.default_rng([seed, *name.encode(), number])


def _one(kind: Kind, random: Generator, folder: Path) -> dict[str, object]:
    from wav2edge.runtime.errors import Wav2EdgeError

    try:
        return {"outcome": kind(random, folder)}
    except Wav2EdgeError as error:
        text = str(error)
        if not text.strip() or "\n" in text or "\r" in text:
            return {"failure": f"the error has not one line: {text[:80]!r}", "trace": text[:2000]}
        return {"outcome": type(error).__name__}
    except BaseException as error:
        about = f" ({str(error).splitlines()[0][:60]})" if isinstance(error, AssertionError) and str(error) else ""
        what = f"{type(error).__name__}{about} in {_where(error)}"
        return {"failure": what, "trace": traceback.format_exc()[-4000:]}


def _where(error: BaseException) -> str:
    """The innermost line of this project that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/wav2edge/" in frame.filename] or [
        frame for frame in frames if "/attack/" in frame.filename
    ]
    if not ours:
        return "a library"
    return f"{'/'.join(Path(ours[-1].filename).parts[-2:])}:{ours[-1].lineno}"


def _handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _say(writing: int, line: dict[str, object]) -> None:
    os.write(writing, json.dumps(line).encode() + b"\n")

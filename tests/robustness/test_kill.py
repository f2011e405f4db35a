"""scripts/test --kill finds what is half-written and what is left over, and finds neither where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attack import killing

FOLDER = Path(__file__).parent
TEXT = "x" * 1000


def _whole(folder: Path) -> int:
    time.sleep(0.05)
    (folder / ".new").write_text(TEXT)
    os.replace(folder / ".new", folder / "result")
    time.sleep(0.05)
    return 0


def _in_place(folder: Path) -> int:
    with (folder / "result").open("w") as file:
        for _ in range(10):
            file.write(TEXT[:100])
            file.flush()
            time.sleep(0.02)
    return 0


def _untidy(folder: Path) -> int:
    mark = folder / f".{os.getpid()}.tmp"
    mark.touch()
    time.sleep(0.2)
    mark.unlink()
    return _whole(folder)


def _check(folder: Path) -> None:
    result = folder / "result"
    assert not result.exists() or result.read_text() == TEXT, "result is cut"


@pytest.mark.parametrize(("run", "fault"), [(_whole, None), (_in_place, "half_written"), (_untidy, "left_over")])
def test_each_fault_is_found(tmp_path: Path, run: Callable[[Path], int], fault: str | None) -> None:
    target = killing.Target("x", lambda folder: None, run, _check)
    outcome = killing.attack(target, tmp_path, 20, np.random.default_rng(1))
    assert outcome.kills > 5 and outcome.runs == 4
    assert bool(outcome.half_written) == (fault == "half_written"), outcome.half_written
    assert bool(outcome.left_over) == (fault == "left_over"), outcome.left_over


@pytest.mark.slow
def test_transcripts_and_captions_survive_kills() -> None:
    command = [sys.executable, str(FOLDER / "kill.py"), "10", "--seed", "3"]
    command += ["--command", "transcribe -o", "--command", "listen --save"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found = [row for row in rows if "kills" in row]
    assert len(found) == 2 and done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert all(row["half-written"] == row["left over"] == 0 for row in found)

"""A peer's process from outside: it is prepared, started, given clips, and ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1]
LIMIT = 900.0
"""Seconds that a peer may take for one answer, compiling included."""


class Failed(Exception):
    """A peer does not run; the message is the first line of its error."""


@dataclass(frozen=True)
class Program:
    """How to start a peer's program. words: the interpreter and the program; environment: variables it needs."""

    words: Sequence[str]
    environment: Mapping[str, str]

    def prepare(self, checkpoint: Path, target: Path, variant: str, clips: Path) -> None:
        """Convert a checkpoint into a folder that is there whole or not at all; raises Failed."""
        if target.is_dir():
            return
        made = target.with_name(f"{target.name}.unfinished")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        arguments = ["prepare", str(checkpoint), str(made), variant, str(clips)]
        done = subprocess.run(
            [*self.words, *arguments], capture_output=True, text=True, env=self.environment, cwd=BENCHMARKS
        )
        if done.returncode:
            shutil.rmtree(made, ignore_errors=True)
            raise Failed(reason(done.stdout, done.stderr, done.returncode))
        made.rename(target)


def reason(output: str, errors: str, code: int) -> str:
    """Why a program ended, in one line: what it answered, else the last line of its errors, else its exit code."""
    for line in output.splitlines():
        if line.startswith('{"error"'):
            return str(json.loads(line)["error"])
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines and code > 0 else f"ended with {code}"


class Peer:
    """A running peer."""

    def __init__(self, program: Program, target: Path, variant: str, threads: int, log: Path) -> None:
        """Start it and wait until it has loaded; log: where its errors go. Raises Failed."""
        self._log = log
        self._process = subprocess.Popen(
            [*program.words, "serve", str(target), variant, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            bufsize=1,
            cwd=BENCHMARKS,
            env={**program.environment, "OMP_NUM_THREADS": str(threads)},
        )
        self._answer()

    def run(self, clip: Path) -> tuple[float, str]:
        """Seconds and text of a clip; raises Failed."""
        answer = self._ask({"run": str(clip)})
        return float(answer["seconds"]), str(answer["text"])

    def memory(self) -> tuple[float, float]:
        """The peak of its memory so far in bytes, above its bare start and in all; raises Failed."""
        answer = self._ask({"memory": True})
        return float(answer["above"]), float(answer["peak"])

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, order: Mapping[str, str | bool]) -> dict[str, float | str]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
        except BrokenPipeError:
            raise Failed(reason("", self._log.read_text("utf-8"), self._process.wait())) from None
        return self._answer()

    def _answer(self) -> dict[str, float | str]:
        assert self._process.stdout is not None
        late = threading.Timer(LIMIT, self._process.kill)
        late.start()
        line = self._process.stdout.readline()
        late.cancel()
        answer: dict[str, float | str] = json.loads(line) if line else {}
        if not line or "error" in answer:
            code = self._process.wait()
            raise Failed(reason(line, self._log.read_text("utf-8", "replace"), code))
        return answer


def environment(**more: str) -> dict[str, str]:
    """Variables for a peer's process: nothing is requested from a hub, and nothing is reported."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    quiet = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**kept, **quiet, "PYTHONPATH": str(BENCHMARKS), **more}

"""One process for each cell of the benchmark, so that load time and memory are that engine's own.

The parent sends one JSON line, the worker answers with one. ``Worker`` is the parent's side, ``main`` the process's.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import EngineError, Wav2EdgeError

_MODULE = "wav2edge.measure.bench.worker"
WHISPER = "faster-whisper"


class Worker:
    """The parent's side: start, ask, close. Every failure of the process is an EngineError with its last words."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Start a process that has imported nothing heavy yet."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close; a pipe nobody reads would fill up)
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer; raises EngineError."""
        assert self._process.stdin is not None and self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise EngineError(f"its process ended (status {self._process.wait()}): {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(str(answer["error"]))
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


class _Runner(Protocol):
    """What a worker runs."""

    def run(self, samples: NDArray[np.float32]) -> object:
        """One clip [samples]."""

    def text(self, path: str) -> str:
        """The transcript of a recording."""


class _EngineRunner:
    """A bundle's variant in an engine. Timed is the engine's call alone: raw samples in, logits out."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        from ...runtime.bundle.read import Bundle
        from ...runtime.engines import EngineOptions
        from ...runtime.model import Model

        options = EngineOptions(
            threads=request["threads"], device=request["device"], longest_seconds=request["longest"]
        )
        self._model = Model(Bundle.open(request["bundle"]), request["engine"], request["variant"], options)
        self._session = self._model.session()

    def run(self, samples: NDArray[np.float32]) -> object:
        from ...runtime import engines

        return self._session.run(engines.as_feeds(samples[None], np.array([len(samples)], np.int64)))

    def text(self, path: str) -> str:
        from ...runtime.recordings.transcriber import Transcriber

        return Transcriber(self._model)(path).text


class _WhisperRunner:
    """faster-whisper with its own defaults (beam of 5). Timed is the whole transcription, since there is no less."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise EngineError("faster-whisper is not installed; `pip install faster-whisper`") from error
        self._language = request["language"]
        try:
            self._model = WhisperModel(
                request["bundle"],
                device=request["device"] or "cpu",
                compute_type={"fp32": "float32", "fp16": "float16"}.get(request["variant"], request["variant"]),
                cpu_threads=request["threads"],
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(f"faster-whisper cannot load {request['bundle']}: {error}") from error

    def run(self, samples: NDArray[np.float32]) -> object:
        segments, _ = self._model.transcribe(samples, language=self._language)
        return [segment.text for segment in segments]

    def text(self, path: str) -> str:
        segments, _ = self._model.transcribe(path, language=self._language)
        return " ".join(segment.text.strip() for segment in segments)


def main() -> None:
    """Serve requests from standard input until it ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    runner: _Runner | None = None
    speech = np.zeros(0, np.float32)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                before, started = _device_memory(), time.perf_counter()
                kind = _WhisperRunner if request["engine"] == WHISPER else _EngineRunner
                runner = kind(request)
                answer: dict[str, Any] = {"seconds": time.perf_counter() - started, "device_before": before}
                speech = np.load(request["speech"])
            elif runner is None:
                answer = {"error": "nothing is loaded"}
            elif request["do"] == "run":
                samples = speech[: request["samples"]]
                for _ in range(request.get("warm", 0)):
                    runner.run(samples)
                answer = {"times": _times(runner, samples, request["runs"], request["limit"])}
            elif request["do"] == "text":
                answer = {"text": runner.text(request["path"])}
            else:
                answer = {"host": _peak_memory(), "device": _device_memory()}
        except Wav2EdgeError as error:
            answer = {"error": str(error)}
        except Exception as error:  # an engine's own kinds; the cell is reported as failed with this line
            answer = {"error": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # some engines' libraries crash when they are torn down


def _times(runner: _Runner, samples: NDArray[np.float32], runs: int, limit: float) -> list[float]:
    """Seconds of up to ``runs`` runs, no more once ``limit`` seconds are over."""
    times: list[float] = []
    while len(times) < runs and (not times or sum(times) < limit):
        started = time.perf_counter()
        runner.run(samples)
        times.append(time.perf_counter() - started)
    return times


def _peak_memory() -> int | None:
    """The peak resident memory of this process in bytes (getrusage would count the parent's before exec)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _device_memory() -> int | None:
    """Bytes in use on the first NVIDIA GPU, by every process; None without one."""
    from ...runtime.engines import _gpu

    if _gpu.missing() is not None:
        return None
    try:
        from ...runtime.engines._tensorrt.cuda import Cuda

        cuda = Cuda()
    except (ImportError, EngineError):
        return None
    used = cuda.used_memory()
    cuda.close()
    return used


if __name__ == "__main__":
    main()

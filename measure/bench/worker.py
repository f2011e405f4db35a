"""One process for each configuration of the benchmark, so that load time and memory are those of one engine.

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
from typing import TYPE_CHECKING, Literal, Protocol, TextIO, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from ...runtime import children
from ...runtime.audio.parts import RecordingPart
from ...runtime.errors import AudioError, EngineError, Wav2EdgeError, first_line
from . import memory

if TYPE_CHECKING:
    from ..task import Answer
    from .plan import Configuration

_MODULE = "wav2edge.measure.bench.worker"
WHISPER = "faster-whisper"


class WorkerRequest(TypedDict, total=False):
    """A request to a worker: one of these fields' kinds.

    load: bundle (a bundle's or a Whisper model's folder) to language, longest (seconds of audio) and speech (a .npy
    file [samples]). run: samples (how many), runs, limit (seconds), warm (runs before, not timed). text: path,
    offset and seconds (``RecordingPart``). answer: the same, and into (the .npy file for what the model gives).
    """

    do: Literal["load", "run", "text", "answer", "memory"]
    bundle: str
    engine: str
    variant: str
    threads: int
    device: str | None
    language: str | None
    longest: float
    speech: str
    samples: int
    runs: int
    limit: float
    warm: int
    path: str
    offset: float | None
    seconds: float | None
    into: str


class WorkerAnswer(TypedDict, total=False):
    """The answer of a worker: ``error``, or the fields of the request's kind.

    unusable: whether the error is that of the request's recording, and not of what runs it.
    """

    error: str
    unusable: bool
    seconds: float
    device_before: int | None
    times: list[float]
    text: str
    host: int | None
    device: int | None


class Worker:
    """The parent's side. Every failure of the process is an EngineError with the last line of its output.

    A recording that cannot be used is an AudioError.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Start a process that has imported nothing heavy yet."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close; a pipe that is not read would fill up)
        self._process = subprocess.Popen(
            children.module(_MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def load(self, configuration: Configuration, longest: float, speech: Path) -> tuple[float, int | None]:
        """Load a configuration; returns the seconds it took, and the bytes in use on the GPU before."""
        request: WorkerRequest = {
            "do": "load",
            "bundle": str(configuration.bundle),
            "engine": configuration.engine,
            "variant": configuration.variant,
            "threads": configuration.threads,
            "device": configuration.device,
            "language": configuration.language,
            "longest": longest,
            "speech": str(speech),
        }
        answer = self.ask(**request)
        return answer["seconds"], answer["device_before"]

    def time(self, samples: int, runs: int, limit: float, warm: int) -> list[float]:
        """Seconds of up to ``runs`` runs of ``samples``, fewer once they took ``limit``, after ``warm`` others."""
        return self.ask(do="run", samples=samples, runs=runs, limit=limit, warm=warm)["times"]

    def transcribe(self, audio: RecordingPart) -> str:
        """The text of a recording; raises AudioError where it cannot be used."""
        return self.ask(do="text", **_as_json(audio))["text"]

    def answer(self, audio: RecordingPart, into: Path) -> None:
        """Write what a model that does not transcribe gives for a recording (``task.Answer``) as a .npy file.

        Raises AudioError where the recording cannot be used.
        """
        self.ask(do="answer", **_as_json(audio), into=str(into))

    def memory(self) -> tuple[int | None, int | None]:
        """Peak bytes of the process, and bytes in use on the GPU."""
        answer = self.ask(do="memory")
        return answer["host"], answer["device"]

    def ask(self, **request: object) -> WorkerAnswer:
        """Send a request and wait for its answer; raises EngineError, and AudioError for an unusable recording."""
        assert self._process.stdin is not None and self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise EngineError(f"its process ended (status {self._process.wait()}): {self._last_output()}")
        answer = cast(WorkerAnswer, json.loads(line))
        if "error" in answer:
            raise (AudioError if answer.get("unusable") else EngineError)(answer["error"])
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

    def _last_output(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else "without any output"


class _Runner(Protocol):
    """The model that a worker runs."""

    def run(self, samples: NDArray[np.float32]) -> object:
        """One clip [samples]."""

    def text(self, audio: RecordingPart) -> str:
        """The transcript of a recording."""

    def answer(self, audio: RecordingPart) -> Answer:
        """What a head that does not transcribe gives for a recording."""


class _EngineRunner:
    """A bundle's variant in an engine. Only the model's run is timed: raw samples in, logits out."""

    def __init__(self, request: WorkerRequest) -> None:
        from ...runtime.bundle.read import Bundle
        from ...runtime.model import Model, options_by_size

        bundle = Bundle.open(request["bundle"])
        options = options_by_size(
            bundle.variant(request["variant"]),
            threads=request["threads"],
            device=request["device"],
            longest_seconds=request["longest"],
        )
        self._model = Model(bundle, request["engine"], request["variant"], options)
        self._model.prepare()

    def run(self, samples: NDArray[np.float32]) -> object:
        from ...runtime import engines

        return self._model.run("full", engines.as_feeds(samples[None], np.array([len(samples)], np.int64)))

    def text(self, audio: RecordingPart) -> str:
        from ...runtime.recordings.transcriber import Transcriber

        transcript = Transcriber(self._model)(audio)
        if not transcript.complete:  # its text would be compared with all that is said
            raise AudioError(f"{audio}: {transcript.warnings[0]}")
        return transcript.text

    def answer(self, audio: RecordingPart) -> Answer:
        from ..heads import answer_of

        return answer_of(self._model)(audio)


class _WhisperRunner:
    """faster-whisper with its own defaults (beam of 5). The whole transcription is timed."""

    def __init__(self, request: WorkerRequest) -> None:
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
            raise EngineError(f"faster-whisper cannot load {request['bundle']}: {first_line(error)}") from error

    def run(self, samples: NDArray[np.float32]) -> object:
        segments, _ = self._model.transcribe(samples, language=self._language)
        return [segment.text for segment in segments]

    def text(self, audio: RecordingPart) -> str:
        from ...runtime.audio import read

        segments, _ = self._model.transcribe(read.load(audio, 16000), language=self._language)
        return " ".join(segment.text.strip() for segment in segments)

    def answer(self, audio: RecordingPart) -> Answer:
        raise EngineError("faster-whisper transcribes, and nothing else")


class _Server:
    """The process's side: what is loaded, and the answer to each request."""

    def __init__(self) -> None:
        self._loaded: _Runner | None = None
        self._speech = np.zeros(0, np.float32)

    @property
    def _runner(self) -> _Runner:
        if self._loaded is None:
            raise EngineError("nothing is loaded")
        return self._loaded

    def answer(self, request: WorkerRequest) -> WorkerAnswer:
        """The answer to a request, which may be an error."""
        try:
            return self._answer(request)
        except AudioError as error:
            return {"error": str(error), "unusable": request["do"] in ("text", "answer")}
        except Wav2EdgeError as error:
            return {"error": str(error)}
        except Exception as error:  # of any class; the configuration is reported as failed with this line
            return {"error": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"}

    def _answer(self, request: WorkerRequest) -> WorkerAnswer:
        from ...runtime import engines

        if request["do"] == "load":
            return self._load(request)
        if request["do"] == "text":
            return {"text": self._runner.text(_audio(request))}
        if request["do"] == "answer":
            np.save(request["into"], self._runner.answer(_audio(request)))
            return {}
        if request["do"] == "run":
            samples = self._speech[: request["samples"]]
            for _ in range(request.get("warm", 0)):
                self._runner.run(samples)
            return {"times": _times(self._runner, samples, request["runs"], request["limit"])}
        _ = self._runner
        return {"host": memory.peak(), "device": engines.gpu_memory_used()}

    def _load(self, request: WorkerRequest) -> WorkerAnswer:
        from ...runtime import engines

        before, started = engines.gpu_memory_used(), time.perf_counter()
        self._loaded = _WhisperRunner(request) if request["engine"] == WHISPER else _EngineRunner(request)
        seconds = time.perf_counter() - started
        self._speech = np.load(request["speech"])
        return {"seconds": seconds, "device_before": before}


def _as_json(audio: RecordingPart) -> dict[str, object]:
    return {"path": str(audio.path), "offset": audio.offset, "seconds": audio.seconds}


def _audio(request: WorkerRequest) -> RecordingPart:
    return RecordingPart(Path(request["path"]), request["offset"], request["seconds"])


def main() -> None:
    """Answer requests from standard input until it ends."""
    answers: TextIO = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is not an answer
    server = _Server()
    for line in sys.stdin:
        answers.write(json.dumps(server.answer(json.loads(line))) + "\n")
        answers.flush()
    os._exit(0)  # some engines' libraries crash in their destructors


def _times(runner: _Runner, samples: NDArray[np.float32], runs: int, limit: float) -> list[float]:
    """Seconds of up to ``runs`` runs, no more once ``limit`` seconds are over."""
    times: list[float] = []
    while len(times) < runs and (not times or sum(times) < limit):
        started = time.perf_counter()
        runner.run(samples)
        times.append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()

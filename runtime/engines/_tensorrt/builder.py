"""From an ONNX graph to a plan, in a process of its own: a crash in the builder is then an error message.

The parent writes one JSON line to this process's standard input and keeps it open; when the parent ends, so does the
input, and then this process. It answers in JSON lines: ``{"progress": …}``, then ``{"done": true}`` or
``{"error": …}``, and writes the plan to the file that the request names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, SupportsInt

from ... import children
from ...errors import EngineError
from .. import BuildProgress
from .._profiles import ShapeProfile

if TYPE_CHECKING:
    from tensorrt import (
        Builder,
        IBuilderConfig,
        ILogger,
        INetworkDefinition,
        IOptimizationProfile,
        IProgressMonitor,
        ITimingCache,
        OnnxParser,
    )

_MODULE = "wav2edge.runtime.engines._tensorrt.builder"


@dataclass(frozen=True)
class BuildRequest:
    """One engine to build.

    module: ``tensorrt`` or ``tensorrt_rtx``. timing_cache: kept between builds, or None. before: the graph whose
    outputs are this one's inputs (the frontend, for an encoder), which gives sizes that this graph leaves open.
    """

    module: str
    graph: str
    plan: str
    profiles: tuple[ShapeProfile, ...]
    timing_cache: str | None = None
    before: str | None = None

    @classmethod
    def from_json(cls, text: str) -> BuildRequest:
        """Read what ``to_json`` wrote."""
        values = json.loads(text)
        return cls(**{**values, "profiles": tuple(ShapeProfile(**profile) for profile in values["profiles"])})

    def to_json(self) -> str:
        """The request as one line."""
        return json.dumps(dataclasses.asdict(self))


def build_apart(request: BuildRequest, progress: BuildProgress) -> None:
    """Build in another process; raises EngineError with the builder's own reason, also when that process crashes."""
    process = subprocess.Popen(
        children.module(_MODULE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
    reader.start()
    done, error = False, None
    try:
        process.stdin.write(request.to_json() + "\n")
        process.stdin.flush()
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    done, error = done or "done" in message, message.get("error", error)
                    if "progress" in message:
                        progress(str(message["progress"]))
    except BrokenPipeError:
        pass  # it ended early; its exit status and log say why
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        if sys.exc_info()[0] is not None:
            process.kill()
        code = process.wait()
        reader.join(timeout=5)
    if error is not None:
        raise EngineError(str(error))
    if not done or code != 0:
        last = next((line.strip() for line in reversed(log) if line.strip()), "no message")
        raise EngineError(f"the engine builder {_ending(code)} while building {Path(request.graph).name}: {last}")


def build(request: BuildRequest, say: BuildProgress) -> None:
    """Parse, build and write the plan, in this process; raises EngineError."""
    trt = import_module(request.module)
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network, _parser = _parse(trt, builder, request.graph, logger)
    _fix_sizes(trt, builder, network, request, logger)
    config = builder.create_builder_config()
    # An fp32 variant means float32: TF32 keeps 10 bits of mantissa. Speed comes from fp16, bf16 or int8-s8s8.
    config.clear_flag(trt.BuilderFlag.TF32)
    for profile in request.profiles:
        config.add_optimization_profile(_optimization_profile(builder, network, profile))
    config.progress_monitor = _monitor(trt, say)
    timing_cache = _timing_cache(config, request.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT built no engine from {Path(request.graph).name}: {logger.last}")
    with open(request.plan, "wb") as file:
        file.write(memoryview(plan))
    if timing_cache is not None and request.timing_cache is not None:
        from ... import cache

        cache.atomic_write(Path(request.timing_cache), bytes(memoryview(timing_cache.serialize())))


def _parse(trt: ModuleType, builder: Builder, graph: str, logger: ILogger) -> tuple[INetworkDefinition, OnnxParser]:
    """A network and its parser, which must be kept as long as the network: the library crashes otherwise."""
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(graph):
        raise EngineError(_parser_errors(graph, parser))
    return network, parser


def _fix_sizes(
    trt: ModuleType, builder: Builder, network: INetworkDefinition, request: BuildRequest, logger: ILogger
) -> None:
    """Give inputs of open size (features: batch, frames, ?) the size that the graph before this one gives them."""
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    open_ones = [tensor for tensor in tensors if any(size < 0 for size in tuple(tensor.shape)[2:])]
    if not open_ones or request.before is None:
        return
    earlier, _parser = _parse(trt, builder, request.before, logger)
    outputs = (earlier.get_output(index) for index in range(earlier.num_outputs))
    shapes = {output.name: tuple(output.shape) for output in outputs}
    for tensor in open_ones:
        if tensor.name in shapes:
            tensor.shape = (-1, -1, *shapes[tensor.name][2:])


def _optimization_profile(builder: Builder, network: INetworkDefinition, profile: ShapeProfile) -> IOptimizationProfile:
    shapes = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.is_shape_tensor:
            raise EngineError(f"the graph makes shapes from the values of {tensor.name}; export the model again")
        rest = tuple(tensor.shape)[2:]
        if any(size < 0 for size in rest):
            raise EngineError(f"the size of {tensor.name} beyond batch and time is not fixed: {tuple(tensor.shape)}")
        axes = min(2, len(tensor.shape))  # lengths have no time axis
        low = (*(1, profile.shortest)[:axes], *rest)
        high = (*(profile.batch, profile.longest)[:axes], *rest)
        shapes.set_shape(tensor.name, low, high, high)
    return shapes


def _timing_cache(config: IBuilderConfig, path: str | None) -> ITimingCache | None:
    if path is None:
        return None
    content = Path(path).read_bytes() if Path(path).exists() else b""
    timing_cache = config.create_timing_cache(content)
    # A cache of another version or GPU is refused here; a fresh one then takes its place.
    if not config.set_timing_cache(timing_cache, False):
        timing_cache = config.create_timing_cache(b"")
        config.set_timing_cache(timing_cache, False)
    return timing_cache


def _parser_errors(graph: str, parser: OnnxParser) -> str:
    parts = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        where = f"node {error.node_name()} ({error.node_operator()})" if error.node_name() else "the graph"
        parts.append(f"{where}: {error.desc()}")
    return f"TensorRT cannot parse {Path(graph).name}: " + ("; ".join(parts) or "it names no reason")


def _logger(trt: ModuleType) -> ILogger:
    class Logger(trt.ILogger):  # type: ignore[misc,name-defined]
        """Keeps the last warning or error, and prints warnings and errors to stderr."""

        last = "it names no reason"

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: SupportsInt, message: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.last = message
                sys.stderr.write(message + "\n")

    return Logger()


def _monitor(trt: ModuleType, say: BuildProgress) -> IProgressMonitor:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]
        """Reports each outermost phase as it begins."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                say(f"{phase_name} ({num_steps} steps)")

        def phase_finish(self, phase_name: str) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            return True

    return Monitor()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def main(arguments: Sequence[str] = ()) -> int:
    """Build one request from standard input."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the library prints is not an answer

    def answer(message: dict[str, str | bool]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    request = BuildRequest.from_json(sys.stdin.readline())

    def follow_parent() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()
    try:
        build(request, lambda text: answer({"progress": text}))
    except EngineError as error:
        answer({"error": str(error)})
    except Exception as error:
        answer({"error": f"the engine builder failed: {error!r}"})
    else:
        answer({"done": True})
    answers.flush()
    # Leave without running the library's destructors: some crash at exit where there is no GPU.
    os._exit(0)


if __name__ == "__main__":
    main()

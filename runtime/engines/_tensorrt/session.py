"""A plan in use: one context for each profile, grow-only buffers, CUDA graphs for shapes that repeat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...bundle.spec import STAGES, Stage
from ...errors import EngineError
from .. import Arrays
from .._profiles import ShapeProfile, pick
from .buffers import Buffer
from .cuda import Cuda

if TYPE_CHECKING:
    from tensorrt import ICudaEngine, IExecutionContext

_CAPTURE_AFTER = 2
"""Runs of one shape before it is captured: a capture costs more than it saves on a shape that occurs once."""


@dataclass
class _Context:
    """An execution context and what it is set to."""

    raw: IExecutionContext
    shape: tuple[int, int] = (0, 0)
    runs: int = 0
    graph: object = None
    generation: int = -1
    capturable: bool = True
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


class TensorRtSession:
    """A Session on a deserialised plan. Calls from several threads take turns."""

    def __init__(
        self,
        trt: ModuleType,
        engine: ICudaEngine,
        cuda: Cuda,
        stage: Stage,
        profiles: Sequence[ShapeProfile],
        output_steps: Callable[[int], int],
    ) -> None:
        """Wrap a deserialised engine.

        trt: the library's module. output_steps: output frames for steps on the stage's input time axis; outputs
        whose second axis has that many steps are cut to the clip's own, as every other engine returns them.
        """
        self._trt, self._cuda = trt, cuda
        self._engine: ICudaEngine | None = engine
        self._profiles = tuple(profiles)
        self._output_steps = output_steps
        tensors = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        modes = {name: engine.get_tensor_mode(name) for name in tensors}
        present = {name for name in tensors if modes[name] == trt.TensorIOMode.INPUT}
        self.inputs = tuple(name for name in STAGES[stage] if name in present)
        self.outputs = tuple(name for name in tensors if modes[name] == trt.TensorIOMode.OUTPUT)
        self._dtypes = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in tensors}
        self._values_name, self._lengths_name = STAGES[stage]
        self.rest = tuple(engine.get_tensor_shape(self._values_name))[2:] if self._values_name in present else ()
        self._buffers = {name: Buffer(cuda) for name in tensors}
        self._contexts: dict[int, _Context] = {}
        self.owners: tuple[object, ...] = ()
        self._lock = threading.Lock()

    def run(self, feeds: Arrays) -> Arrays:
        """Run a batch [batch, samples or frames, …] with its lengths; raises EngineError.

        A batch larger than the profile's is run in turns, each clip at its own padded length.
        """
        values = feeds[self._values_name]
        given = feeds.get(self._lengths_name)
        lengths = np.asarray(np.full(len(values), values.shape[1]) if given is None else given, np.int64)
        if len(values) == 0:
            raise EngineError("TensorRT cannot run an empty batch")
        with self._lock:
            if self._engine is None:
                raise EngineError("the session is closed")
            self._cuda.use_here()
            parts = []
            start = 0
            while start < len(values):
                longest = max(1, int(lengths[start]))
                size = self._profiles[pick(self._profiles, longest)].batch
                rows = slice(start, start + size)
                parts.append(self._run_part(values[rows], lengths[rows]))
                start += size
        return self._joined(parts, self._output_steps(values.shape[1]))

    def close(self) -> None:
        """Release contexts, graphs and memory."""
        with self._lock:
            if self._engine is None:
                return
            self._cuda.synchronize()
            for context in self._contexts.values():
                self._forget_graph(context)
            self._contexts.clear()  # contexts go before their engine, the engine before its runtime
            for buffer in self._buffers.values():
                buffer.free()
            self._engine = None
            self.owners = ()
            self._cuda.close()

    def _run_part(self, values: NDArray[np.generic], lengths: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        longest = int(max(1, lengths.max()))
        index = pick(self._profiles, longest)
        steps = self._profiles[index].padded(longest)
        context = self._context(index)
        self._set_shape(context, len(values), steps, values.shape[2:])
        self._fill(values, lengths, steps)
        generation = sum(buffer.generation for buffer in self._buffers.values())
        if context.graph is not None and context.generation != generation:
            self._forget_graph(context)
        if context.graph is not None:
            self._cuda.launch(context.graph)
        else:
            self._enqueue(context)
            context.runs += 1
            if context.capturable and context.runs >= _CAPTURE_AFTER:
                self._capture(context, generation)
        self._cuda.synchronize()
        # Cut to the part's own frames while copying out of pinned memory, which the next run overwrites.
        padded, wanted = self._output_steps(steps), self._output_steps(longest)
        results = {}
        for name in self.outputs:
            array = self._buffers[name].array(context.shapes[name], self._dtypes[name])
            timed = array.ndim >= 3 and array.shape[1] == padded
            results[name] = (array[:, :wanted] if timed else array).copy()
        return results

    def _context(self, index: int) -> _Context:
        if index not in self._contexts:
            assert self._engine is not None
            raw = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE)
            if raw is None:
                raise EngineError(
                    "TensorRT made no execution context: the GPU's memory is full; build for shorter clips"
                )
            if not raw.set_optimization_profile_async(index, self._cuda.stream_handle):
                raise EngineError(f"TensorRT refuses profile {index} of its own plan; build it again")
            # The profile switch is queued work: it must be over before shapes are set.
            self._cuda.synchronize()
            self._contexts[index] = _Context(raw)
        return self._contexts[index]

    def _set_shape(self, context: _Context, batch: int, steps: int, rest: tuple[int, ...]) -> None:
        if context.shape != (batch, steps):
            # A captured graph belongs to the shape that the context was set to.
            self._forget_graph(context)
            context.shape, context.runs = (0, 0), 0
            shapes = {self._values_name: (batch, steps, *rest), self._lengths_name: (batch,)}
            for name in self.inputs:
                if not context.raw.set_input_shape(name, shapes[name]):
                    raise EngineError(f"TensorRT refuses the shape {shapes[name]} for {name}")
            if missing := context.raw.infer_shapes():
                raise EngineError(f"TensorRT cannot derive the shape of {', '.join(missing)} from the inputs")
            context.shapes = {n: tuple(context.raw.get_tensor_shape(n)) for n in (*self.inputs, *self.outputs)}
            context.shape = (batch, steps)
        for name, shape in context.shapes.items():
            buffer = self._buffers[name]
            buffer.at_least(int(np.prod(shape)) * self._dtypes[name].itemsize)
            if context.raw.get_tensor_address(name) != buffer.device:
                context.raw.set_tensor_address(name, buffer.device)

    def _fill(self, values: NDArray[np.generic], lengths: NDArray[np.int64], steps: int) -> None:
        if self._values_name in self.inputs:
            target = self._buffers[self._values_name].array(
                (len(values), steps, *values.shape[2:]), self._dtypes[self._values_name]
            )
            kept = min(steps, values.shape[1])
            target[:, :kept] = values[:, :kept]
            target[:, kept:] = 0
        if self._lengths_name in self.inputs:
            target = self._buffers[self._lengths_name].array((len(values),), self._dtypes[self._lengths_name])
            target[:] = lengths

    def _enqueue(self, context: _Context) -> None:
        for name in self.inputs:
            buffer = self._buffers[name]
            self._cuda.upload(buffer.device, buffer.pinned, self._bytes(context, name))
        if not context.raw.execute_async_v3(self._cuda.stream_handle):
            raise EngineError("TensorRT failed to run the engine; its log above says why")
        for name in self.outputs:
            buffer = self._buffers[name]
            self._cuda.download(buffer.pinned, buffer.device, self._bytes(context, name))

    def _capture(self, context: _Context, generation: int) -> None:
        """Record the shape's run as a CUDA graph; a shape that cannot be recorded simply runs without."""
        self._cuda.synchronize()
        asked = getattr(context.raw, "is_stream_capturable", None)  # TensorRT for RTX only
        try:
            if asked is not None and not asked(self._cuda.stream_handle):
                return
            context.graph = self._cuda.capture(lambda: self._enqueue(context))
            context.generation = generation
        except EngineError:
            context.capturable = False

    def _forget_graph(self, context: _Context) -> None:
        if context.graph is not None:
            self._cuda.drop(context.graph)
            context.graph = None

    def _bytes(self, context: _Context, name: str) -> int:
        return int(np.prod(context.shapes[name]) * self._dtypes[name].itemsize)

    def _joined(self, parts: list[dict[str, NDArray[np.generic]]], frames: int) -> dict[str, NDArray[np.generic]]:
        """The parts as one batch, time axes padded with zeros to the batch's frames."""
        joined = {}
        for name in self.outputs:
            arrays = [part[name] for part in parts]
            if arrays[0].ndim >= 3:
                arrays = [_to_length(array, frames) for array in arrays]
            joined[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return joined


def _to_length(array: NDArray[np.generic], frames: int) -> NDArray[np.generic]:
    if array.shape[1] >= frames:
        return array[:, :frames]
    padding = [(0, 0), (0, frames - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, padding)

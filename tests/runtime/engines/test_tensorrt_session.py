"""A plan in use, against a runtime that computes on the CPU.

Copies, contexts, buffers and graphs must all be right, because the stand-in reads the very addresses it is given.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from wav2edge.runtime.engines._profiles import ShapeProfile
from wav2edge.runtime.engines._tensorrt.cuda import Cuda, view
from wav2edge.runtime.engines._tensorrt.session import TensorRtSession
from wav2edge.runtime.errors import EngineError

STRIDE = 4


class Mode(IntEnum):
    INPUT = 1
    OUTPUT = 2


class FakeCudaApi:
    """cuda.bindings.runtime on host memory. Work is queued, and done only when the stream is synchronised."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.queue: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None
        self.launches = self.allocations = self.live_graphs = 0
        self.fail_capture = False

    def __getattr__(self, name: str) -> Any:
        if name in ("cudaSetDevice", "cudaStreamDestroy"):
            return lambda *_: (0,)
        raise AttributeError(name)

    def cudaStreamCreate(self) -> tuple[int, int]:
        return 0, 7

    def cudaGetErrorString(self, code: int) -> tuple[int, bytes]:
        return 0, b"operation not permitted when stream is capturing"

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        assert self.captured is None, "memory must not be allocated in a capture"
        block = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(block)] = block
        self.allocations += 1
        return 0, ctypes.addressof(block)

    cudaMallocHost = cudaMalloc

    def cudaFree(self, address: int) -> tuple[int]:
        assert not self.queue, "freed while work is queued"
        del self.memory[address]
        return (0,)

    cudaFreeHost = cudaFree

    def submit(self, work: Callable[[], None]) -> None:
        (self.queue if self.captured is None else self.captured).append(work)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:
        for address in (to, source):
            assert address in self.memory and size <= len(self.memory[address])

        def work() -> None:
            ctypes.memmove(to, source, size)

        self.submit(work)
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        queue, self.queue = self.queue, []
        for work in queue:
            work()
        return (0,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        if self.fail_capture:
            return (900,)
        self.captured = []
        return (0,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, Any]:
        captured, self.captured = self.captured, None
        return 0, captured

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[int, Any]:
        self.live_graphs += 1
        return 0, graph

    def cudaGraphDestroy(self, graph: Any) -> tuple[int]:
        return (0,)

    def cudaGraphExecDestroy(self, graph: Any) -> tuple[int]:
        self.live_graphs -= 1
        return (0,)

    def cudaGraphLaunch(self, graph: Any, stream: int) -> tuple[int]:
        self.launches += 1
        for work in graph:
            self.submit(work)
        return (0,)


class FakeContext:
    """Computes logits[b, t, :] = sum of the samples of frame t that lie inside the clip, and its frames."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.profile = -1
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.runs = 0

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        profile = self.engine.profiles[self.profile]
        if not 1 <= shape[0] <= profile.batch:
            return False
        if name == "input_values" and not profile.shortest <= shape[1] <= profile.longest:
            return False
        self.shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        batch, samples = self.shapes["input_values"]
        self.shapes.update(logits=(batch, samples // STRIDE, 2), output_lengths=(batch,))
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def get_tensor_address(self, name: str) -> int:
        return self.addresses.get(name, 0)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        shapes, addresses = dict(self.shapes), dict(self.addresses)

        def work() -> None:
            arrays = {}
            for name, shape in shapes.items():
                kind = self.engine.dtypes[name]
                size = int(np.prod(shape)) * np.dtype(kind).itemsize
                arrays[name] = view(addresses[name], size).view(kind).reshape(shape)
            lengths = arrays["input_lengths"]
            inside = np.arange(shapes["input_values"][1])[None] < lengths[:, None]
            kept = np.where(inside, arrays["input_values"], 0.0)
            frames = shapes["logits"][1]
            sums = kept[:, : frames * STRIDE].reshape(len(kept), frames, STRIDE).sum(-1)
            arrays["logits"][:] = np.stack([sums, -sums], axis=-1)
            arrays["output_lengths"][:] = lengths // STRIDE

        self.runs += 1
        self.engine.cuda.submit(work)
        return True


class FakeEngine:
    names = ("input_values", "input_lengths", "logits", "output_lengths")
    dtypes: ClassVar = {"input_values": "f4", "input_lengths": "i8", "logits": "f4", "output_lengths": "i8"}

    def __init__(self, cuda: FakeCudaApi, profiles: tuple[ShapeProfile, ...]) -> None:
        self.cuda, self.profiles = cuda, profiles
        self.num_io_tensors = 4
        self.contexts: list[FakeContext] = []

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name.startswith("input") else Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:
        return self.dtypes[name]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, -1)

    def create_execution_context(self, strategy: object) -> FakeContext:
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]


class Setup:
    """A session with everything it stands on."""

    def __init__(self, *profiles: ShapeProfile) -> None:
        self.api = FakeCudaApi()
        self.engine = FakeEngine(self.api, profiles)
        trt: Any = SimpleNamespace(
            TensorIOMode=Mode,
            nptype=np.dtype,
            ExecutionContextAllocationStrategy=SimpleNamespace(ON_PROFILE_CHANGE=1),
        )
        cuda = Cuda(api=cast(ModuleType, self.api))
        self.session = TensorRtSession(trt, self.engine, cuda, "full", profiles, lambda steps: steps // STRIDE)

    def check(self, values: np.ndarray[Any, Any], lengths: list[int]) -> None:
        """Run and compare with the sums computed here, clip by clip."""
        outputs = self.session.run({"input_values": values, "input_lengths": np.array(lengths, np.int64)})
        frames = values.shape[1] // STRIDE
        assert outputs["logits"].shape == (len(values), frames, 2)
        assert outputs["output_lengths"].tolist() == [length // STRIDE for length in lengths]
        for row, clip, length in zip(outputs["logits"], values, lengths):
            valid = length // STRIDE
            wanted = clip[: valid * STRIDE].reshape(valid, STRIDE).sum(-1)
            np.testing.assert_allclose(row[:valid, 0], wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup(ShapeProfile(8, 64), ShapeProfile(65, 128), ShapeProfile(129, 256))
    yield made
    made.session.close()
    assert made.api.memory == {}, "memory was not given back"
    assert made.api.live_graphs == 0, "graphs were not given back"


def clip(length: int, seed: int = 0, batch: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((batch, length)).astype(np.float32)


def test_each_length_runs_in_its_own_narrow_context(setup: Setup) -> None:
    for length in (8, 9, 60, 64, 65, 100, 128, 200, 256, 40):
        setup.check(clip(length, length), [length])
    assert sorted(context.profile for context in setup.engine.contexts) == [0, 1, 2]


def test_buffers_grow_and_never_shrink(setup: Setup) -> None:
    setup.check(clip(256), [256])
    allocated = setup.api.allocations
    for length in (10, 128, 256, 33):
        setup.check(clip(length, length), [length])
    assert setup.api.allocations == allocated


def test_a_repeated_shape_is_captured_and_replayed_on_new_samples(setup: Setup) -> None:
    for seed in range(6):
        setup.check(clip(100, seed), [100])
    assert setup.api.launches == 4
    context = setup.engine.contexts[0]
    assert context.runs == 3  # two plain runs, and the one that was recorded


def test_lengths_that_pad_alike_share_a_graph_and_keep_their_own_lengths(setup: Setup) -> None:
    for seed, length in enumerate((121, 128, 125, 122, 127)):
        setup.check(clip(length, seed), [length])
    assert setup.api.launches == 3


def test_a_graph_is_not_replayed_for_another_shape_or_moved_memory(setup: Setup) -> None:
    for seed in range(3):
        setup.check(clip(60, seed), [60])
    assert setup.api.launches == 1
    setup.check(clip(30, 9), [30])
    setup.check(clip(60, 10), [60])
    assert setup.api.launches == 1, "a graph outlived its shape"
    for seed in range(3):
        setup.check(clip(60, seed), [60])
    before = setup.api.launches
    setup.check(clip(256), [256])  # the buffers move
    setup.check(clip(60, 11), [60])
    assert setup.api.launches == before, "a graph wrote to memory that was given back"


def test_where_capture_fails_the_runs_go_on_without(setup: Setup) -> None:
    setup.api.fail_capture = True
    for seed in range(5):
        setup.check(clip(100, seed), [100])
    assert setup.api.launches == 0


def test_a_batch_larger_than_the_profile_runs_in_turns(setup: Setup) -> None:
    setup.check(clip(200, batch=3), [200, 40, 130])


def test_a_profile_for_batches_takes_them_at_once() -> None:
    made = Setup(ShapeProfile(8, 64, batch=4))
    made.check(clip(64, batch=4), [64, 10, 33, 64])
    assert made.engine.contexts[0].runs == 1
    made.check(clip(64, batch=6), [64, 10, 33, 64, 8, 9])
    made.session.close()


def test_a_clip_longer_than_every_profile_is_an_error(setup: Setup) -> None:
    with pytest.raises(EngineError, match="--longest"):
        setup.check(clip(257), [257])
    setup.check(clip(100), [100])


def test_a_closed_session_says_so(setup: Setup) -> None:
    setup.session.close()
    setup.session.close()
    with pytest.raises(EngineError, match="closed"):
        setup.check(clip(100), [100])


def test_cuda_errors_carry_the_drivers_words() -> None:
    api = FakeCudaApi()
    api.fail_capture = True
    with pytest.raises(EngineError, match="not permitted when stream is capturing"):
        Cuda(api=cast(ModuleType, api)).capture(lambda: None)

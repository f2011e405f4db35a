"""The few CUDA calls a session needs, through cuda-bindings; every error becomes an EngineError."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import SupportsInt, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import EngineError

T = TypeVar("T")


@dataclass(frozen=True)
class CudaDevice:
    """What a plan depends on: the GPU's name, its compute capability (``8.7``) and the driver's version."""

    name: str
    capability: str
    driver: str


class Cuda:
    """One GPU and one stream on it. ``api`` is ``cuda.bindings.runtime``, or a fake of it in tests."""

    def __init__(self, device: int = 0, api: ModuleType | None = None) -> None:
        """Take a GPU by its number; raises EngineError where there is none."""
        if api is None:
            from cuda.bindings import runtime

            api = runtime
        self._api: ModuleType = api
        self._device = device
        self._done(self._api.cudaSetDevice(device))
        self.stream = self._value(self._api.cudaStreamCreate())

    @property
    def stream_handle(self) -> int:
        """The stream as the number that TensorRT takes."""
        return int(self.stream)

    def use_here(self) -> None:
        """Select the GPU for the calling thread: CUDA keeps the choice for each thread."""
        self._done(self._api.cudaSetDevice(self._device))

    def gpu(self) -> CudaDevice:
        """What this GPU is."""
        properties = self._value(self._api.cudaGetDeviceProperties(self._device))
        name = properties.name
        driver = Path("/proc/driver/nvidia/version")
        cuda = self._value(self._api.cudaDriverGetVersion())
        try:
            text = driver.read_text(encoding="utf-8", errors="replace").splitlines()[0]
        except (OSError, IndexError):
            text = ""
        return CudaDevice(
            name.decode().rstrip("\0") if isinstance(name, bytes) else str(name),
            f"{properties.major}.{properties.minor}",
            f"CUDA {cuda // 1000}.{cuda % 1000 // 10}; {text}".rstrip("; "),
        )

    def allocate(self, size: int) -> int:
        """Device memory of ``size`` bytes; its address."""
        return int(self._value(self._api.cudaMalloc(size)))

    def free(self, address: int) -> None:
        """Release device memory."""
        self._done(self._api.cudaFree(address))

    def allocate_pinned(self, size: int) -> int:
        """Page-locked host memory of ``size`` bytes; its address. Copies from it do not occupy the CPU."""
        return int(self._value(self._api.cudaMallocHost(size)))

    def free_pinned(self, address: int) -> None:
        """Release page-locked memory."""
        self._done(self._api.cudaFreeHost(address))

    def upload(self, device: int, host: int, size: int) -> None:
        """Queue a copy from pinned memory to the device."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._done(self._api.cudaMemcpyAsync(device, host, size, kind, self.stream))

    def download(self, host: int, device: int, size: int) -> None:
        """Queue a copy from the device to pinned memory."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._done(self._api.cudaMemcpyAsync(host, device, size, kind, self.stream))

    def synchronize(self) -> None:
        """Wait until everything queued is done."""
        self._done(self._api.cudaStreamSynchronize(self.stream))

    def capture(self, work: Callable[[], None]) -> object:
        """Record what ``work`` queues as a CUDA graph, ready to launch; raises EngineError where it cannot be."""
        api = self._api
        mode = api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._done(api.cudaStreamBeginCapture(self.stream, mode))
        try:
            work()
        except EngineError:
            api.cudaStreamEndCapture(self.stream)  # leave capture mode; its own error says nothing new
            raise
        graph: object = self._value(api.cudaStreamEndCapture(self.stream))
        try:
            launchable: object = self._value(api.cudaGraphInstantiate(graph, 0))
            return launchable
        finally:
            self._done(api.cudaGraphDestroy(graph))

    def launch(self, graph: object) -> None:
        """Queue a captured graph."""
        self._done(self._api.cudaGraphLaunch(graph, self.stream))

    def drop(self, graph: object) -> None:
        """Release a captured graph."""
        self._done(self._api.cudaGraphExecDestroy(graph))

    def used_memory(self) -> int:
        """Bytes of device memory in use, by every process."""
        code, free, total = self._api.cudaMemGetInfo()
        self._done((code,))
        return int(total - free)

    def close(self) -> None:
        """Release the stream."""
        self._done(self._api.cudaStreamDestroy(self.stream))

    def _value(self, result: tuple[SupportsInt, T]) -> T:
        """The value that a call returned; raises EngineError where it failed."""
        self._done(result[:1])
        return result[1]

    def _done(self, result: tuple[SupportsInt]) -> None:
        (code,) = result
        if int(code) != 0:
            _, text = self._api.cudaGetErrorString(code)
            message = text.decode() if isinstance(text, bytes) else str(text)
            raise EngineError(f"CUDA: {message} (error {int(code)})")


def view(address: int, size: int) -> NDArray[np.uint8]:
    """Host memory at an address as bytes, without a copy; the caller keeps it alive."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

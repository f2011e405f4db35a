"""NVIDIA's management library, called through ctypes: no package is needed, the driver brings libnvidia-ml.so.1.

Every function answers None (or nothing) where there is no driver. On Jetson boards the library exists from JetPack 7
on, but answers NOT_SUPPORTED to power and energy: the board's own power monitors serve there.
API: https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

_SUCCESS = 0
_NAME_BYTES = 96


@dataclass(frozen=True)
class NvmlDevice:
    """A GPU as the driver describes it: memory in bytes, ``cuda`` the newest CUDA release that the driver runs."""

    name: str
    compute_capability: str | None
    memory: int | None
    cuda: str | None


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def devices() -> tuple[NvmlDevice, ...]:
    """The GPUs that the driver knows; empty without a driver."""
    library = _open()
    if library is None:
        return ()
    try:
        cuda = ctypes.c_int()
        release = None
        if library.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda)) == _SUCCESS:
            release = f"{cuda.value // 1000}.{cuda.value % 1000 // 10}"
        return tuple(_describe(library, handle, release) for handle in _handles(library))
    except AttributeError:  # a library so old that it lacks one of the functions
        return ()
    finally:
        library.nvmlShutdown()


def energy_counter() -> tuple[Callable[[], float | None], Callable[[], None]] | None:
    """A function that reads the joules all GPUs have used since the driver was loaded, and one that closes it.

    None where no GPU counts energy (before Volta, and on Jetson boards).
    """
    library = _open()
    if library is None:
        return None
    handles = _handles(library)

    def read() -> float | None:
        total = 0
        for handle in handles:
            millijoules = ctypes.c_ulonglong()
            if library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)) != _SUCCESS:
                return None
            total += millijoules.value
        return total / 1000

    try:
        works = bool(handles) and read() is not None
    except AttributeError:
        works = False
    if not works:
        library.nvmlShutdown()
        return None
    return read, lambda: library.nvmlShutdown()


def _open() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        return library if library.nvmlInit_v2() == _SUCCESS else None
    except (OSError, AttributeError):
        return None


def _handles(library: ctypes.CDLL) -> list[ctypes.c_void_p]:
    count = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != _SUCCESS:
        return []
    found = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == _SUCCESS:
            found.append(handle)
    return found


def _describe(library: ctypes.CDLL, handle: ctypes.c_void_p, cuda: str | None) -> NvmlDevice:
    name = ctypes.create_string_buffer(_NAME_BYTES)
    named = library.nvmlDeviceGetName(handle, name, _NAME_BYTES) == _SUCCESS
    major, minor = ctypes.c_int(), ctypes.c_int()
    capability = library.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    memory = _Memory()
    measured = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == _SUCCESS
    return NvmlDevice(
        name=name.value.decode("utf-8", "replace") if named else "NVIDIA GPU",
        compute_capability=f"{major.value}.{minor.value}" if capability == _SUCCESS else None,
        memory=int(memory.total) if measured else None,
        cuda=cuda,
    )

"""Whether this machine has an NVIDIA GPU, by the driver alone: no CUDA package is needed."""

from __future__ import annotations

import ctypes
from functools import cache

from ..errors import EngineError


@cache
def missing() -> str | None:
    """Why no NVIDIA GPU can be used here and what to do; None when one can.

    Cached: a process that starts without a GPU stays without one.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver here (libcuda.so.1); it needs an NVIDIA GPU and its driver"
    if code := driver.cuInit(0):
        return f"the NVIDIA driver does not start (cuInit: error {code}); see `nvidia-smi` and `dmesg`"
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1:
        return "the NVIDIA driver sees no GPU; in a container start it with `--gpus all`"
    return None


def index(device: str | None) -> int:
    """The GPU's number in ``cuda:1``, ``1`` or None (0); raises ValueError for anything else."""
    if device is None or device == "cuda":
        return 0
    return int(device.removeprefix("cuda:"))


def gpu_memory_used() -> int | None:
    """Bytes in use on the first NVIDIA GPU, by every process; None without one."""
    if missing() is not None:
        return None
    try:
        from ._tensorrt.cuda import Cuda

        cuda = Cuda()
    except (ImportError, EngineError):
        return None
    used = cuda.used_memory()
    cuda.close()
    return used

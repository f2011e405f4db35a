"""Whether this machine has an NVIDIA GPU, by the driver alone: no CUDA package is needed."""

from __future__ import annotations

import ctypes
from functools import cache

from ..errors import DeviceError, EngineError


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
    if _count(driver) < 1:
        return "the NVIDIA driver sees no GPU; in a container start it with `--gpus all`"
    return None


def index(device: str | None) -> int:
    """The GPU's number in ``cuda:1``, ``1`` or None (0); raises DeviceError for another name, and for no such GPU."""
    number = "0" if device is None or device == "cuda" else device.removeprefix("cuda:")
    if not number.isascii() or not number.isdigit():
        raise DeviceError(f"no device {device!r}; name a GPU as cuda:0")
    if missing() is None and 0 < (count := _count(ctypes.CDLL("libcuda.so.1"))) <= int(number):
        raise DeviceError(f"no device {device!r} here; the last GPU is cuda:{count - 1}")
    return int(number)


def _count(driver: ctypes.CDLL) -> int:
    """The GPUs that the driver sees; none where it does not say."""
    count = ctypes.c_int()
    return 0 if driver.cuDeviceGetCount(ctypes.byref(count)) else count.value


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

"""GPUs by name, with a driver that only counts them."""

from __future__ import annotations

import ctypes

import pytest

from wav2edge.runtime.engines import _gpu
from wav2edge.runtime.errors import DeviceError


class CountingDriver:
    """A driver that sees two GPUs."""

    def cuDeviceGetCount(self, count: ctypes.c_int) -> int:
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = 2
        return 0


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gpu, "missing", lambda: None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: CountingDriver())


@pytest.mark.parametrize(("device", "number"), [(None, 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("1", 1)])
def test_a_gpu_has_a_number(two_gpus: None, device: str | None, number: int) -> None:
    assert _gpu.index(device) == number


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda:2", "no device 'cuda:2' here; the last GPU is cuda:1"),
        ("cuda:-1", "name a GPU as cuda:0"),
        ("GPU", "name a GPU as cuda:0"),
        ("cuda:²", "name a GPU as cuda:0"),
    ],
)
def test_a_gpu_that_is_not_here_is_a_missing_device(two_gpus: None, device: str, said: str) -> None:
    """A number beyond the last GPU was an error of the engine, so that the selftest had failed."""
    with pytest.raises(DeviceError, match=said):
        _gpu.index(device)


def test_without_a_driver_names_are_checked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gpu, "missing", lambda: "no driver")
    assert _gpu.index("cuda:5") == 5

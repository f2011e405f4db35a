"""Graphics processors: which ones there are, and whether a driver is loaded for them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .jetson import Jetson
from .tree import Tree

_VENDORS = {"0x10de": "nvidia", "0x8086": "intel", "0x1002": "amd"}


@dataclass(frozen=True)
class Gpu:
    """A graphics processor. vendor: ``nvidia``, ``intel`` or ``amd``.

    driver: version (NVIDIA) or name of the kernel driver, None when none is loaded. compute_capability: ``8.9``, where
    known. memory: bytes of its own, None where it shares the system's or nothing reports it. cuda: the newest CUDA
    release that the driver runs, where known.
    """

    vendor: str
    name: str
    driver: str | None = None
    compute_capability: str | None = None
    memory: int | None = None
    cuda: str | None = None

    @property
    def usable(self) -> bool:
        """Whether a driver is loaded that engines can use; NVIDIA's own has a version, nouveau computes nothing."""
        return self.driver is not None and (self.vendor != "nvidia" or self.driver[0].isdigit())


def detect(tree: Tree, jetson: Jetson | None) -> tuple[Gpu, ...]:
    """The GPUs of a machine: a Jetson's own, NVIDIA's from its driver, others from the PCI bus."""
    if jetson is not None:
        driver = _nvidia_driver(tree) or jetson.l4t
        return (Gpu("nvidia", f"{jetson.chip} (integrated)", driver, jetson.compute_capability),)
    nvidia = _nvidia(tree)
    return nvidia + tuple(gpu for gpu in _pci(tree) if gpu.vendor != "nvidia" or not nvidia)


def _nvidia(tree: Tree) -> tuple[Gpu, ...]:
    driver = _nvidia_driver(tree)
    if driver is None:
        return ()
    if tree.live:
        from . import nvml  # ctypes is loaded only where there is a driver to ask

        found = nvml.devices()
    else:
        found = ()
    if found:
        return tuple(Gpu("nvidia", d.name, driver, d.compute_capability, d.memory, d.cuda) for d in found)
    # The driver lists its GPUs below /proc also where nvidia-smi and its library are not installed.
    names = []
    for bus in tree.list("/proc/driver/nvidia/gpus"):
        text = tree.read(f"/proc/driver/nvidia/gpus/{bus}/information") or ""
        match = re.search(r"^Model:\s*(.+?)\s*$", text, re.MULTILINE)
        names.append(match[1] if match else "NVIDIA GPU")
    return tuple(Gpu("nvidia", name, driver) for name in names)


def _nvidia_driver(tree: Tree) -> str | None:
    # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.120  …" or, for the open driver,
    # "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build …".
    match = re.search(
        r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", (tree.read("/proc/driver/nvidia/version") or "") + " "
    )
    return match[1] if match else None


def _pci(tree: Tree) -> tuple[Gpu, ...]:
    found = []
    for slot in tree.list("/sys/bus/pci/devices"):
        base = f"/sys/bus/pci/devices/{slot}"
        kind = tree.read(f"{base}/class") or ""
        vendor = _VENDORS.get(tree.read(f"{base}/vendor") or "")
        if kind.startswith("0x03") and vendor is not None:  # PCI class 03: display controller
            uevent = dict(line.partition("=")[::2] for line in (tree.read(f"{base}/uevent") or "").splitlines())
            device = (tree.read(f"{base}/device") or "").removeprefix("0x")
            found.append(
                Gpu(
                    vendor,
                    f"{vendor.upper() if vendor == 'amd' else vendor.capitalize()} GPU {device}",
                    uevent.get("DRIVER"),
                )
            )
    return tuple(found)

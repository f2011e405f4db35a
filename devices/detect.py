"""Which machine is this? Everything is read below a root path, so that a recorded board can be tested anywhere."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from . import cpu, gpu, jetson, other_systems
from .cpu import Cpu
from .gpu import Gpu
from .jetson import Jetson
from .tree import Tree


@dataclass(frozen=True)
class Memory:
    """Memory in bytes. limit: what the control groups allow, None for no limit; available: free or easily freed."""

    total: int
    available: int | None = None
    limit: int | None = None

    @property
    def usable(self) -> int:
        """What a process may use at most, in bytes."""
        return self.total if self.limit is None else min(self.total, self.limit)


@dataclass(frozen=True)
class Machine:
    """A machine as this process sees it.

    model: the board's or computer's name, None where nothing reports it. compatible: the device tree's names of the
    board, most specific first. os, kernel: names of the system. power_mode: nvpmodel's mode, or the frequency
    governor, with ``on battery`` where that is so.
    """

    model: str | None
    compatible: tuple[str, ...]
    os: str | None
    kernel: str | None
    cpu: Cpu
    memory: Memory
    gpus: tuple[Gpu, ...]
    jetson: Jetson | None = None
    power_mode: str | None = None

    @property
    def nvidia(self) -> Gpu | None:
        """The first NVIDIA GPU with NVIDIA's driver."""
        return next((gpu for gpu in self.gpus if gpu.vendor == "nvidia" and gpu.usable), None)

    @property
    def traits(self) -> frozenset[str]:
        """The words that a profile may ask for: CPU features, ``nvidia-gpu``, ``intel-gpu``."""
        return frozenset(self.cpu.features) | {f"{gpu.vendor}-gpu" for gpu in self.gpus if gpu.usable}

    @property
    def identity(self) -> dict[str, object]:
        """What results that are kept for one machine are known by, as plain JSON values."""
        cpu = self.cpu
        return {
            "cpu": [cpu.architecture, cpu.name, *sorted(cpu.features), cpu.threads],
            "gpus": [[gpu.name, gpu.driver] for gpu in self.gpus],
            "model": self.model,
        }

    def to_json(self) -> dict[str, object]:
        """The machine as plain JSON values."""
        return {**dataclasses.asdict(self), "threads": self.cpu.threads}


def detect(root: str | Path = "/") -> Machine:
    """Describe the machine whose /proc, /sys, /etc and /var are below ``root``; what cannot be read is left out."""
    tree = Tree(root)
    compatible = tree.strings("/proc/device-tree/compatible")
    board = jetson.detect(tree, compatible)
    return Machine(
        model=_model(tree) or tree.sysctl("hw.model"),
        compatible=compatible,
        os=_os(tree) or other_systems.release(tree),
        kernel=tree.read("/proc/sys/kernel/osrelease"),
        cpu=cpu.detect(tree),
        memory=memory(tree),
        gpus=gpu.detect(tree, board),
        jetson=board,
        power_mode=_power_mode(tree),
    )


def memory(tree: Tree) -> Memory:
    """The memory by /proc/meminfo and the control groups of this process, or by another system's calls."""
    sizes = {}
    for line in (tree.read("/proc/meminfo") or "").splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdigit():
            sizes[words[0]] = int(words[1]) * 1024
    total = sizes.get("MemTotal", 0) or other_systems.memory(tree) or 0
    limits = []
    for group in cpu.control_groups(tree, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = tree.number(f"{group}/{name}")
            if limit is not None and (total == 0 or limit < total):  # version 1 writes a huge number for no limit
                limits.append(limit)
    return Memory(total, sizes.get("MemAvailable"), min(limits, default=None))


def _model(tree: Tree) -> str | None:
    if board := tree.read("/proc/device-tree/model"):
        return board
    maker = tree.read("/sys/class/dmi/id/sys_vendor")
    product = tree.read("/sys/class/dmi/id/product_name")
    # Lenovo keeps the name that people know in product_version, the order number in product_name.
    if maker == "LENOVO":
        product = tree.read("/sys/class/dmi/id/product_version") or product
    return " ".join(part for part in (maker, product) if part) or None


def _os(tree: Tree) -> str | None:
    for line in (tree.read("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return None


def _power_mode(tree: Tree) -> str | None:
    parts = [jetson.power_mode(tree) or tree.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")]
    supplies = [f"/sys/class/power_supply/{name}" for name in tree.list("/sys/class/power_supply")]
    mains = [tree.read(f"{supply}/online") for supply in supplies if tree.read(f"{supply}/type") == "Mains"]
    if mains and "1" not in mains:
        parts.append("on battery")
    return ", ".join(part for part in parts if part) or None

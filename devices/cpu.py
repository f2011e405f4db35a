"""The processor: which instructions it has, how many cores it has, and how many of them this process may use."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass

from . import other_systems
from .tree import Tree, cpu_list

# Linux's names in /proc/cpuinfo and ours, the usual names of what matters to the engines. Linux's are documented in
# Documentation/arch/arm64/elf_hwcaps.rst and arch/x86/include/asm/cpufeatures.h.
_FEATURES = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_vnni": "avx512-vnni",
    "avx_vnni": "avx-vnni",
    "avx512_bf16": "avx512-bf16",
    "avx512_fp16": "avx512-fp16",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
    "amx_fp16": "amx-fp16",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
    "sme2": "sme2",
}

# arch/arm64/include/asm/cputype.h of Linux: (implementer, part) → core.
_ARM_CORES = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd83"): "Neoverse-V3AE",
    ("0x41", "0xd85"): "Cortex-X925",
    ("0x41", "0xd87"): "Cortex-A725",
    ("0x4e", "0x004"): "NVIDIA Carmel",
    ("0x51", "0x001"): "Qualcomm Oryon",
    ("0x61", "0x022"): "Apple M1 Icestorm",
    ("0x61", "0x023"): "Apple M1 Firestorm",
    ("0x61", "0x032"): "Apple M2 Blizzard",
    ("0x61", "0x033"): "Apple M2 Avalanche",
}


@dataclass(frozen=True)
class Cpu:
    """A processor as this process sees it.

    architecture: ``x86_64``, ``aarch64``, or what the machine says. name: the model, or the cores of an ARM chip.
    features: the instruction sets that matter (``avx512-vnni``, ``dotprod`` …). cores, logical: physical cores and
    hardware threads that are online. allowed: physical cores that the affinity of this process leaves it.
    fast: those of them that belong to the fastest kind (the performance cores of a hybrid processor).
    quota: CPUs' worth of time that a control group allows, None for no limit.
    """

    architecture: str
    name: str
    features: tuple[str, ...]
    cores: int
    logical: int
    allowed: int
    fast: int
    quota: float | None = None

    @property
    def threads(self) -> int:
        """How many threads pay off: one for each fast core that may be used, no more than the quota.

        Work split evenly waits for its slowest part, so slow cores are left out (Intel's oneMKL developer guide,
        "Managing performance with heterogeneous cores") unless they are more than twice as many; estimated, since a
        slow core does about half a fast one's work.
        """
        cores = self.allowed if self.allowed > 3 * self.fast else self.fast
        return max(1, cores if self.quota is None else min(cores, math.ceil(self.quota)))

    @property
    def saturates(self) -> bool:
        """Whether sums of two products of bytes may saturate at 16 bits, so that weights need 7 bits.

        So they do on x86 without VNNI, and where it is not known (AVX-VNNI on Windows, NumPy's table missing).
        """
        return self.architecture == "x86_64" and not self.vnni

    @property
    def vnni(self) -> bool:
        """Whether x86 multiplies unsigned by signed bytes without saturating halfway (VNNI, or AMX)."""
        return any(feature in self.features for feature in ("avx512-vnni", "avx-vnni", "amx-int8"))


def detect(tree: Tree) -> Cpu:
    """Read the processor from /proc/cpuinfo, /sys/devices/system/cpu, /proc/self/status and the control groups."""
    if (found := other_systems.cpu(tree)) is not None:
        return Cpu(**found)
    blocks = _blocks(tree.read("/proc/cpuinfo") or "")
    first = blocks[0] if blocks else {}
    words = set(first.get("flags", first.get("Features", "")).split())
    architecture = _architecture(first)
    if tree.live and (own := _own_architecture()) != architecture:
        # Not Linux; or an emulator that shows its host's /proc/cpuinfo, whose instructions are not this process's.
        architecture, blocks, words = own, [], set()
    online = cpu_list(tree.read("/sys/devices/system/cpu/online")) or frozenset(
        int(block["processor"]) for block in blocks if block.get("processor", "").isdigit()
    )
    if tree.live and not online:
        online = frozenset(range(os.cpu_count() or 1))
    siblings = {cpu: _siblings(tree, cpu) & online | {cpu} for cpu in online}
    allowed = (cpu_list(_status(tree, "Cpus_allowed_list")) & online) or online
    return Cpu(
        architecture=architecture,
        name=_name(blocks),
        features=tuple(dict.fromkeys(ours for theirs, ours in _FEATURES.items() if theirs in words)),
        cores=max(1, len(set(siblings.values()))),
        logical=max(1, len(online)),
        allowed=max(1, len({siblings[cpu] for cpu in allowed})),
        fast=max(1, len({siblings[cpu] for cpu in _fastest(tree, allowed)})),
        quota=_quota(tree),
    )


def control_groups(tree: Tree, controller: str) -> tuple[str, ...]:
    """The directories, from this process's control group up to the root, that may limit ``cpu`` or ``memory``."""
    relative, base = "/", "/sys/fs/cgroup"
    for line in (tree.read("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "" and path:
            relative = path
        if controller in controllers.split(","):  # version 1: one hierarchy for each controller
            relative, base = path, f"/sys/fs/cgroup/{controller}"
            break
    parts = [part for part in relative.split("/") if part not in ("", "..")]
    return tuple("/".join([base, *parts[:depth]]) for depth in range(len(parts), -1, -1))


def _blocks(text: str) -> list[dict[str, str]]:
    blocks: list[dict[str, str]] = []
    for paragraph in text.split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.splitlines() if ":" in line)
        block = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in block:
            blocks.append(block)
    return blocks


def _architecture(block: dict[str, str]) -> str:
    if "CPU implementer" in block:
        return "aarch64" if block.get("CPU architecture") == "8" else "arm"
    if "flags" in block:
        return "x86_64" if "lm" in block["flags"].split() else "x86"
    return "unknown"


def _own_architecture() -> str:
    """The architecture that this process runs as, by Linux's names; a 32-bit program on a 64-bit kernel is 32 bits."""
    import platform

    name = platform.machine().lower()
    if sys.maxsize < 1 << 32:
        return "arm" if name.startswith(("arm", "aarch")) else "x86"
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(name, name)


def _name(blocks: list[dict[str, str]]) -> str:
    cores: dict[str, int] = {}
    for block in blocks:
        key = (block.get("CPU implementer", ""), block.get("CPU part", ""))
        core = _ARM_CORES.get(key) or block.get("model name") or (f"ARM part {key[1]}" if key[1] else "unknown")
        cores[core] = cores.get(core, 0) + 1
    if len(cores) > 1:
        return ", ".join(f"{count} × {core}" for core, count in cores.items())
    return next(iter(cores), "unknown")


def _siblings(tree: Tree, cpu: int) -> frozenset[int]:
    return cpu_list(tree.read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))


def _status(tree: Tree, key: str) -> str | None:
    for line in (tree.read("/proc/self/status") or "").splitlines():
        if line.startswith(f"{key}:"):
            return line.partition(":")[2].strip()
    return None


def _fastest(tree: Tree, cpus: frozenset[int]) -> frozenset[int]:
    # Intel hybrids name their performance cores; ARM's cpu_capacity is 1024 for the biggest core of the chip.
    performance = cpu_list(tree.read("/sys/devices/cpu_core/cpus"))
    if performance & cpus:
        return performance & cpus
    capacity = {cpu: tree.number(f"/sys/devices/system/cpu/cpu{cpu}/cpu_capacity") for cpu in cpus}
    known = [value for value in capacity.values() if value is not None]
    # Clusters of one kind differ by a few per cent; little cores have half of the big ones' capacity, or less.
    return frozenset(cpu for cpu in cpus if (capacity[cpu] or 0) >= 0.75 * max(known)) if known else cpus


def _quota(tree: Tree) -> float | None:
    limits = []
    for group in control_groups(tree, "cpu"):
        words = (tree.read(f"{group}/cpu.max") or "").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            limits.append(int(words[0]) / int(words[1]))
        quota = tree.number(f"{group}/cpu.cfs_quota_us")
        period = tree.number(f"{group}/cpu.cfs_period_us")
        if quota is not None and period and quota > 0:
            limits.append(quota / period)
    return min(limits, default=None)

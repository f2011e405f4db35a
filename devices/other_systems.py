"""What macOS and Windows say of their processor, memory and release; Linux has /proc and /sys instead."""

from __future__ import annotations

import os
import platform
import sys
from typing import TypedDict

from .tree import Tree

# macOS's names of instructions (sysctl hw.optional.arm) and ours.
_FEATURES = {
    "FEAT_FP16": "fp16",
    "FEAT_DotProd": "dotprod",
    "FEAT_I8MM": "i8mm",
    "FEAT_BF16": "bf16",
    "FEAT_SME": "sme",
    "FEAT_SME2": "sme2",
}


class CpuValues(TypedDict):
    """The fields of ``cpu.Cpu``."""

    architecture: str
    name: str
    features: tuple[str, ...]
    cores: int
    logical: int
    allowed: int
    fast: int


def cpu(tree: Tree) -> CpuValues | None:
    """The processor of a Mac or a Windows machine; None on other systems.

    On Apple silicon ``hw.perflevel0`` is the fast kind of core (https://developer.apple.com/documentation/kernel).
    """
    if brand := tree.sysctl("machdep.cpu.brand_string"):
        cores = _number(tree.sysctl("hw.physicalcpu"), 1)
        features = (ours for theirs, ours in _FEATURES.items() if tree.sysctl(f"hw.optional.arm.{theirs}") == "1")
        return CpuValues(
            architecture="aarch64" if tree.sysctl("hw.optional.arm64") == "1" else "x86_64",
            name=brand,
            features=tuple(features),
            cores=cores,
            logical=_number(tree.sysctl("hw.logicalcpu"), cores),
            allowed=cores,
            fast=_number(tree.sysctl("hw.perflevel0.physicalcpu"), cores),
        )
    if tree.live and sys.platform == "win32":
        count = os.cpu_count() or 1
        machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        name = platform.processor() or "unknown"
        return CpuValues(
            architecture=machine, name=name, features=(), cores=count, logical=count, allowed=count, fast=count
        )
    return None


def memory(tree: Tree) -> int | None:
    """The memory of a Mac, in bytes; None elsewhere."""
    return _number(tree.sysctl("hw.memsize"), 0) or None


def release(tree: Tree) -> str | None:
    """The system's name and release on macOS and Windows; None elsewhere."""
    if version := tree.sysctl("kern.osproductversion"):
        return f"macOS {version}"
    if tree.live and sys.platform == "win32":
        return f"Windows {platform.release()}"
    return None


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdigit() else default

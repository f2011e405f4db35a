"""What macOS and Windows say of their processor, memory and release; Linux has /proc and /sys instead."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Mapping
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

_NUMPY_FEATURES = {
    "AVX2": "avx2",
    "AVX512F": "avx512",
    "AVX512VNNI": "avx512-vnni",
    "AVX512BF16": "avx512-bf16",
    "AVX512FP16": "avx512-fp16",
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
        arm = tree.sysctl("hw.optional.arm64") == "1"
        found = (ours for theirs, ours in _FEATURES.items() if tree.sysctl(f"hw.optional.arm.{theirs}") == "1")
        return CpuValues(
            architecture="aarch64" if arm else "x86_64",
            name=brand,
            features=tuple(found) if arm or not tree.live else x86_features(),
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
            architecture=machine,
            name=name,
            features=x86_features() if machine == "x86_64" else (),
            cores=count,
            logical=count,
            allowed=count,
            fast=count,
        )
    return None


def x86_features() -> tuple[str, ...]:
    """The instruction sets of this x86 processor that NumPy found when it was loaded.

    NumPy asks the processor, which Python cannot. It does not know AVX-VNNI and AMX, and NumPy 1 not bfloat16. Its
    table is not a public one: where it is missing, nothing is known.
    """
    known: Mapping[str, bool] = {}
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):  # NumPy 2, NumPy 1
        try:
            known = importlib.import_module(module).__cpu_features__
            break
        except (ImportError, AttributeError):
            continue
    return tuple(ours for theirs, ours in _NUMPY_FEATURES.items() if known.get(theirs))


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

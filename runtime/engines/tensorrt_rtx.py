"""TensorRT for RTX: installs from PyPI, builds without a GPU, runs on RTX GPUs.

Its engines are portable: built on any machine, finished for the GPU at load time.
"""

from __future__ import annotations

from pathlib import Path

from ..bundle.read import Bundle, Variant
from ..bundle.spec import ModelSpec, Stage
from . import EVERY_OPTION, BuildProgress, EngineOptions, Purpose
from ._tensorrt import engine, flavor
from ._tensorrt.session import TensorRtSession

PURPOSE: Purpose = "inference"
LIBRARY: str | None = None
SHARED = False
KEEPS_LENGTHS = False
READS = EVERY_OPTION


FLAVOR = flavor.RTX


def unavailable() -> str | None:
    """Why TensorRT for RTX cannot run here; None when it can."""
    return flavor.cannot_run(FLAVOR)


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """Its parser takes FP32, FP16, BF16 and symmetric signed INT8 (s8s8)."""
    return flavor.refuses(spec, variant)


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> TensorRtSession:
    """A session on the cached engine, built first where there is none; raises EngineError."""
    return engine.load(FLAVOR, bundle, variant, stage, options)


def build(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions, progress: BuildProgress) -> Path:
    """Build and cache the engine ahead of its first use; returns its file. Raises EngineError."""
    return engine.build(FLAVOR, bundle, variant, stage, options, progress)

"""Two libraries with one API: which module to import, and what is missing here to use it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from ... import remedies
from ...bundle.read import Variant
from ...bundle.spec import ModelSpec
from ...errors import EngineError
from .. import _gpu
from .._library import installed


@dataclass(frozen=True)
class Flavor:
    """One of NVIDIA's two libraries.

    engine: the CLI name. module: what Python imports. portable: a plan is built without a GPU and runs on any GPU
    that the library supports (kernels are finished at load time); otherwise a plan belongs to one GPU.
    remedy: what to do where the module is missing.
    """

    title: str
    engine: str
    module: str
    portable: bool
    extra: str
    elsewhere: str = ""

    @property
    def remedy(self) -> str:
        """How to install it."""
        return f"{self.elsewhere}install it with `{remedies.install(self.extra)}`"


TENSORRT = Flavor(
    "TensorRT",
    "tensorrt",
    "tensorrt",
    portable=False,
    extra="tensorrt",
    elsewhere="on a Jetson it comes with JetPack (make the environment with --system-site-packages); elsewhere ",
)
RTX = Flavor(
    "TensorRT for RTX",
    "tensorrt-rtx",
    "tensorrt_rtx",
    portable=True,
    extra="rtx",
)


def cannot_build(flavor: Flavor) -> str | None:
    """Why no engine can be built here and what to do; None when one can."""
    if not installed(flavor.module):
        return f"{flavor.title} is not installed; {flavor.remedy}"
    return None if flavor.portable else cannot_run(flavor)


def cannot_run(flavor: Flavor) -> str | None:
    """Why no engine can run here and what to do; None when one can."""
    if not installed(flavor.module):
        return f"{flavor.title} is not installed; {flavor.remedy}"
    # The driver is asked before a Runtime is made: without a device the library can crash at exit.
    if reason := _gpu.missing():
        return reason
    if not _has_cuda_bindings():
        return "cuda-bindings is not installed; install it with `pip install cuda-bindings`"
    return None


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """The parser takes symmetric signed INT8 with explicit quantisation, FP16, BF16 and FP32, nothing else.

    Nor does it take graphs that cut a clip to its length (``ModelSpec.max_batch``): the length becomes a shape, which
    must then be known before the run.
    """
    if spec.max_batch is not None:
        return (
            "this bundle was imported from an ONNX file without a mask and cuts each clip to its length, which "
            "TensorRT cannot; export the checkpoint that the file was made from"
        )
    if variant.precision == "int8" and variant.scheme != "s8s8":
        return f"TensorRT takes INT8 only as s8s8, not {variant.scheme}; use int8-s8s8, fp16 or fp32"
    if variant.precision not in ("fp32", "fp16", "bf16", "int8"):
        return f"wav2edge has not tried {variant.precision} in TensorRT; use fp16 or int8-s8s8"
    return None


def module(flavor: Flavor) -> ModuleType:
    """The library's Python module; raises EngineError where it does not import."""
    try:
        return import_module(flavor.module)
    except Exception as error:  # a missing shared object surfaces as OSError, ImportError or RuntimeError
        raise EngineError(f"{flavor.title} does not import ({error}); {flavor.remedy}") from error


def version(flavor: Flavor) -> str:
    """The installed version, without importing the library where package metadata names it."""
    from importlib import metadata

    try:
        return metadata.version(flavor.module)
    except metadata.PackageNotFoundError:
        return str(module(flavor).__version__)


def _has_cuda_bindings() -> bool:
    try:
        return importlib.util.find_spec("cuda.bindings.runtime") is not None
    except ModuleNotFoundError:
        return False

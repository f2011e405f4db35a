"""ONNX Runtime as users of optimum run it: the default export, and its dynamic INT8 for this machine."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
from optimum.onnxruntime import AutoQuantizationConfig, ORTModelForCTC, ORTQuantizer
from transformers import AutoProcessor

from .decoding import through_processor
from .line import Recognizer, Samples, main


def prepare(checkpoint: Path, target: Path, variant: str, clips: Sequence[Samples]) -> None:
    """Export, and quantise for ``int8`` (its default operators) and ``int8+matmul`` (matrix products alone)."""
    model = ORTModelForCTC.from_pretrained(checkpoint, export=True)
    AutoProcessor.from_pretrained(checkpoint).save_pretrained(target)
    if variant == "fp32":
        model.save_pretrained(target)
        return
    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "avx512_vnni"
    operators = ["MatMul"] if variant.endswith("matmul") else None
    settings = getattr(AutoQuantizationConfig, machine)(
        is_static=False, per_channel=False, operators_to_quantize=operators
    )
    ORTQuantizer.from_pretrained(model).quantize(save_dir=target, quantization_config=settings)


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: ``fp32``, ``int8`` or ``int8+matmul``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    file = "model.onnx" if variant == "fp32" else "model_quantized.onnx"
    model = ORTModelForCTC.from_pretrained(target, file_name=file, session_options=options)
    return through_processor(model, target)


if __name__ == "__main__":
    main(prepare, load)

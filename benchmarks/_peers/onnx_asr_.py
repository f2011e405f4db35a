"""onnx-asr on the layout that ``wav2edge pack --for onnx-asr`` writes, loaded as the tests of that layout load it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import onnxruntime

from .line import Recognizer, Samples, main, nothing_to_prepare

LOADER = Path(__file__).parents[2] / "tests" / "clients" / "run_onnx_asr.py"


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: one of the bundle's."""
    spec = importlib.util.spec_from_file_location("run_onnx_asr", LOADER)
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model, _ = program.load(str(target), None if variant == "fp32" else "int8", options)

    def recognize(clip: Samples) -> str:
        return str(model.recognize(clip, sample_rate=16000))

    return recognize


if __name__ == "__main__":
    main(nothing_to_prepare, load)

"""OpenVINO as users of optimum-intel run it: the default export, and NNCF's default INT8 of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nncf
import openvino
from optimum.intel import OVModelForCTC
from transformers import AutoProcessor

from .decoding import through_processor
from .line import Recognizer, Samples, main, normalized


def prepare(checkpoint: Path, target: Path, variant: str, clips: Sequence[Samples]) -> None:
    """Export, and quantise with the clips for ``nncf``."""
    OVModelForCTC.from_pretrained(checkpoint, export=True, load_in_8bit=False, compile=False).save_pretrained(target)
    AutoProcessor.from_pretrained(checkpoint).save_pretrained(target)
    if variant.startswith("nncf"):
        path = target / "openvino_model.xml"
        model = openvino.Core().read_model(path)
        quantized = nncf.quantize(model, nncf.Dataset([normalized(clip) for clip in clips]))
        openvino.save_model(quantized, target / "quantized.xml", compress_to_fp16=False)
        del model
        for end in (".xml", ".bin"):
            (target / f"quantized{end}").replace(path.with_suffix(end))


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: ``fp32``, ``default`` (the plugin's choice of precision), ``nncf`` or ``nncf+fp32``."""
    settings: dict[str, str | int] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if variant.endswith("fp32"):
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    model = OVModelForCTC.from_pretrained(target, ov_config=settings)
    return through_processor(model, target)


if __name__ == "__main__":
    main(prepare, load)

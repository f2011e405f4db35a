"""transformers in PyTorch: eager, compiled by inductor, bfloat16 by autocast, and INT8 by torchao."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
from transformers import AutoModelForCTC, AutoProcessor

from .line import Recognizer, Samples, main, nothing_to_prepare


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: ``eager``, or words of ``compile``, ``bf16``, ``torchao``, ``dynamic`` joined by +."""
    torch.set_num_threads(threads)
    checkpoint, ways = target / "checkpoint", variant.split("+")
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = AutoModelForCTC.from_pretrained(checkpoint, dtype=torch.float32).eval()
    if "torchao" in ways:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        quantize_(model, Int8DynamicActivationInt8WeightConfig())
    if "dynamic" in ways:
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    run = torch.compile(model) if "compile" in ways else model

    def recognize(clip: Samples) -> str:
        inputs = processor(clip, sampling_rate=16000, return_tensors="pt")
        half = torch.autocast("cpu", dtype=torch.bfloat16) if "bf16" in ways else nullcontext()
        with torch.inference_mode(), half:
            logits = run(inputs.input_values).logits
        return str(processor.batch_decode(logits.argmax(-1))[0])

    return recognize


if __name__ == "__main__":
    main(nothing_to_prepare, load)

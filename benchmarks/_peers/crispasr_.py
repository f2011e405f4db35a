"""CrispASR (ggml) on a GGUF file that its own converter writes, and INT8 and INT4 by the package gguf.

The converter is models/convert-wav2vec2-to-gguf.py of CrispASR's repository; CRISPASR_CONVERTER names the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from crispasr import Session

from .line import Recognizer, Samples, main

TYPES = {"q8": gguf.GGMLQuantizationType.Q8_0, "q4": gguf.GGMLQuantizationType.Q4_0}


def prepare(checkpoint: Path, target: Path, variant: str, clips: Sequence[Samples]) -> None:
    """Convert to F16, then quantise what the converter wrote as F16: the weights of the linear layers."""
    converter = os.environ.get("CRISPASR_CONVERTER")
    if not converter:
        raise FileNotFoundError("name models/convert-wav2vec2-to-gguf.py of CrispASR's repository by --crispasr")
    words = [sys.executable, converter, "--model-dir", str(checkpoint), "--output", str(target / "f16.gguf")]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the converter: {done.stderr.strip().splitlines()[-1]}")
    if variant in TYPES:
        quantized(target / "f16.gguf", target / f"{variant}.gguf", TYPES[variant])
        (target / "f16.gguf").unlink()


def quantized(source: Path, written: Path, kind: gguf.GGMLQuantizationType) -> None:
    """A copy of a GGUF file whose F16 tensors have another type."""
    read = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(written, arch=read.fields["general.architecture"].contents())
    for name, field in read.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        inner = field.types[-1] if field.types[0] is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in read.tensors:
        if tensor.tensor_type is gguf.GGMLQuantizationType.F16 and tensor.shape[0] % 32 == 0:
            data = gguf.quants.quantize(np.asarray(tensor.data, np.float32), kind)
            writer.add_tensor(tensor.name, data, raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: ``f16``, ``q8`` or ``q4``."""
    session = Session(str(target / f"{variant}.gguf"), n_threads=threads, backend="wav2vec2")

    def recognize(clip: Samples) -> str:
        return " ".join(segment.text.strip() for segment in session.transcribe(clip))

    return recognize


if __name__ == "__main__":
    main(prepare, load)

"""The rows of benchmarks/peers.py, and what each of them measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line of the table. source: what the program is given: checkpoint, bundle, or a layout's name."""

    name: str
    program: str
    environment: str
    variant: str
    source: str = "checkpoint"
    other_model: bool = False

    @property
    def words(self) -> str:
        """What ``--peers`` looks in."""
        return f"{self.name} {self.program} {self.variant}".lower()


OURS = Row("**wav2edge**, its choice", "ours", "", "", "bundle")
"""The engine and variant that it opens the bundle with on this machine."""
OUR_SIGNED = Row("**wav2edge**, OpenVINO, int8-s8s8", "ours", "", "openvino/int8-s8s8", "bundle")
OUR_INT8 = Row("**wav2edge**, ONNX Runtime, int8-u8s8", "ours", "", "onnxruntime/int8-u8s8", "bundle")
OUR_FP32 = Row("**wav2edge**, ONNX Runtime, fp32", "ours", "", "onnxruntime/fp32", "bundle")
ROWS = (
    OURS,
    OUR_SIGNED,
    OUR_INT8,
    OUR_FP32,
    Row("transformers, eager", "pytorch", "pytorch", "eager"),
    Row("transformers, torch.compile", "pytorch", "pytorch", "compile"),
    Row("transformers, bfloat16 autocast", "pytorch", "pytorch", "bf16"),
    Row("transformers, bfloat16 autocast, torch.compile", "pytorch", "pytorch", "bf16+compile"),
    Row("transformers, torchao INT8, torch.compile", "pytorch", "pytorch", "torchao+compile"),
    Row("transformers, PyTorch's dynamic INT8", "pytorch", "pytorch", "dynamic"),
    Row("optimum, ONNX Runtime, default export", "optimum_onnxruntime", "optimum-onnx", "fp32"),
    Row("optimum, ONNX Runtime, dynamic INT8", "optimum_onnxruntime", "optimum-onnx", "int8"),
    Row("optimum, ONNX Runtime, dynamic INT8, MatMul", "optimum_onnxruntime", "optimum-onnx", "int8+matmul"),
    Row("optimum, OpenVINO, FP32", "optimum_openvino", "optimum-intel", "fp32"),
    Row("optimum, OpenVINO, its default precision", "optimum_openvino", "optimum-intel", "default"),
    Row("optimum, OpenVINO, NNCF INT8", "optimum_openvino", "optimum-intel", "nncf"),
    Row("optimum, OpenVINO, NNCF INT8, the rest FP32", "optimum_openvino", "optimum-intel", "nncf+fp32"),
    Row("CTranslate2, FP32", "ctranslate2_", "ctranslate2", "float32"),
    Row("CTranslate2, INT8", "ctranslate2_", "ctranslate2", "int8"),
    Row("CrispASR, GGUF F16", "crispasr_", "crispasr", "f16"),
    Row("CrispASR, GGUF Q8_0", "crispasr_", "crispasr", "q8"),
    Row("CrispASR, GGUF Q4_0", "crispasr_", "crispasr", "q4"),
    Row("sherpa-onnx, our layout, INT8", "sherpa", "sherpa-onnx", "int8-u8s8", "sherpa-onnx"),
    Row("onnx-asr, our layout, INT8", "onnx_asr_", "onnx-asr", "int8-u8s8", "onnx-asr"),
    Row("onnxruntime-web (WASM), our layout, FP32", "onnxruntime_web.mjs", "node", "fp32", "transformers.js"),
    Row("onnxruntime-web (WASM), our layout, INT8", "onnxruntime_web.mjs", "node", "int8-u8s8", "transformers.js"),
    Row("*Whisper tiny*, faster-whisper, INT8", "faster_whisper_", "faster-whisper", "tiny", other_model=True),
    Row("*Whisper base*, faster-whisper, INT8", "faster_whisper_", "faster-whisper", "base", other_model=True),
)


Turn = tuple[int, int]
"""A heat, and a turn in it."""


@dataclass
class Result:
    """What a row measured.

    times: by length in seconds, by heat and turn; mixed: seconds of clips of many lengths for a second of running;
    reason: why it does not run.
    """

    row: Row
    times: dict[float, dict[Turn, float]] = field(default_factory=dict)
    mixed: float = 0.0
    above: float = 0.0
    peak: float = 0.0
    texts: list[str] = field(default_factory=list)
    reason: str = ""

    def share(self, other: Result, length: float) -> float | None:
        """The median of this one's time over another's in the same turn."""
        return median_ratio(self.times.get(length, {}), other.times.get(length, {}))


def median_ratio(first: Mapping[Turn, float], second: Mapping[Turn, float]) -> float | None:
    """The median of one time over another in the same turn; None where they share no turn."""
    both = [first[turn] / second[turn] for turn in first if turn in second]
    return statistics.median(both) if both else None

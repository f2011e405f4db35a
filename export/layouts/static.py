"""Graphs of one fixed length, for neural processors and compilers that take no other: ``static:10s``.

``input_values`` float32 [1, samples] and ``input_lengths`` int64 [1]; a shorter clip is padded with any values and
gives the numbers of its own run, because its length masks the padding everywhere: FP32 but for rounding, INT8 in ONNX
Runtime to the last bit, except where that rounding moves a single INT8 value. Every shape is a number, all operators
are in ONNX's standard, and frames after a clip's end are the blank.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ...graphs import fixed, interface
from ...runtime.errors import InputError
from ._job import Job, Readme

NAME = "static"
CLIENT = "compilers that require fixed shapes (RKNN, QNN, NPU of OpenVINO, CoreML …)"
ARGUMENT = ":SECONDSs"
_LENGTH = re.compile(r"(\d{1,4}(?:\.\d{1,3})?)s")
FUSIONS = ("MatMulAddFusion", "SkipLayerNormFusion")
"""ONNX Runtime's optimisers of fixed shapes alone: product and bias, and sum and norm, become one operator each."""
_UNSIGNED = ("u8s8", "u7s8")
_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def write(job: Job, folder: Path) -> Readme:
    """Write the graph of each variant (fp32 where none is named) and the labels."""
    spec = job.spec
    seconds = _seconds(job.argument)
    job.need_lengths("a graph of fixed length")
    samples = round(seconds * spec.sample_rate)
    if samples < spec.min_samples:
        raise InputError(f"static:{seconds:g}s: {samples} samples; the model needs at least {spec.min_samples}")
    files, joined = {}, False
    for variant in job.asked or tuple(job.chosen(*_PRECISIONS).values())[:1]:
        graph = job.graph(variant)
        if spec.head == "ctc":
            assert spec.blank is not None
            interface.only_blank_after_end(graph, spec.outputs[0].name, spec.blank, len(spec.labels))
        fixed.fix_length(graph, samples)
        if variant.scheme in _UNSIGNED:
            fixed.widen_biases(graph)
        joined |= variant.precision == "int8" and variant.scheme not in _UNSIGNED
        name = f"{variant.name}.onnx"
        job.save(graph, folder / name, data=f"{name}.data", compact=False)
        files[variant.name] = name
    spoken = {
        "samples": samples,
        "sample_rate": spec.sample_rate,
        "seconds_per_frame": spec.stride / spec.sample_rate,
        "labels": list(spec.labels),
        "blank": spec.blank,
        "delimiter": spec.delimiter,
    }
    (folder / "labels.json").write_text(json.dumps(spoken, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    notes = [
        f"`input_values` float32 [1, {samples}]: the raw waveform in [-1, 1], then anything.",
        "`input_lengths` int64 [1]: samples of the clip.",
        "Normalisation and masking are in the graph: a shorter clip gives the text of its own run.",
        "Convert the fp32 file where the compiler quantises by itself.",
    ]
    if joined:
        notes.append(
            "ONNX Runtime joins product and bias, and sum and norm, of fixed shapes to one operator each, which round "
            f"otherwise: for the numbers of wav2edge give it `disabled_optimizers={json.dumps(FUSIONS)}`."
        )
    first = next(iter(files.values()))
    return Readme(
        "python",
        (
            "import numpy, onnxruntime, soundfile",
            f'graph = onnxruntime.InferenceSession("{job.name}/{first}")',
            'clip = soundfile.read("talk.wav", dtype="float32")[0]',
            f"padded = numpy.pad(clip, (0, {samples} - len(clip)))[None]",
            'print(graph.run(None, {"input_values": padded, "input_lengths": numpy.array([len(clip)])}))',
        ),
        "pip install onnxruntime soundfile",
        notes,
        files,
    )


def _seconds(argument: str) -> float:
    match = _LENGTH.fullmatch(argument)
    if match is None or float(match[1]) == 0.0:
        given = f"static:{argument}" if argument else "static"
        raise InputError(f"{given}: name the length in seconds, such as static:10s")
    return float(match[1])

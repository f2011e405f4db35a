"""NVIDIA Triton's model repository: models/NAME/config.pbtxt and models/NAME/1/model.onnx, backend onnxruntime.

``triton``: clients pad a batch themselves and send ``input_lengths``; the server batches requests of equal size.
``triton:ragged``: each request is one clip [1, samples] of any length; the server gives the graph all clips of a batch
as one flat row and, by ``batch_input`` BATCH_ITEM_SHAPE, the length of each, and the graph makes the padded batch.

BATCH_ITEM_SHAPE and not BATCH_ACCUMULATED_ELEMENT_COUNT: the latter counts by request, so that a request of two clips
would become one clip; the former has a row for each clip (SetBatchItemShape in triton-inference-server/backend,
src/backend_input_collector.cc).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...graphs import interface
from ...runtime.bundle.spec import INPUT_LENGTHS, INPUT_VALUES, OUTPUT_LENGTHS
from ...runtime.errors import InputError
from ._job import Job, Readme

NAME = "triton"
CLIENT = "NVIDIA Triton (backend onnxruntime)"
ARGUMENT = "[:ragged]"
SIZES = "input_sizes"
"""The ragged graph's second input: int32 [batch, 1], samples of each clip."""
MAX_BATCH = 64
"""Clips in one batch: 64 of 30 s of a base-sized model take some tens of gigabytes; lower it where memory is short."""
QUEUE_DELAY = 5000
"""Microseconds that the server waits for more requests before it runs a batch."""
_PRECISIONS = ("fp32", "fp16", "int8")


def write(job: Job, folder: Path) -> Readme:
    """Write the repository with one model, of the variant that was named, else fp32."""
    if job.argument not in ("", "ragged"):
        raise InputError(f"triton:{job.argument}: write triton, or triton:ragged")
    job.need_lengths(NAME)
    if any(len(f"{label}\n".splitlines()) > 1 for label in job.spec.labels):
        raise InputError(f"{job.bundle.path}: a label has a line break, and labels.txt has a line for each")
    if len(job.asked) > 1:
        raise InputError("a model of Triton's has one graph: name one variant")
    variant = next(iter(job.chosen(*_PRECISIONS).values()))
    spec = job.spec
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", job.name)
    version = folder / "models" / name / "1"
    version.mkdir(parents=True)
    graph = job.client_graph(variant)
    if job.argument:
        interface.flat_batch(graph, INPUT_VALUES, SIZES)
    job.save(graph, version / "model.onnx", data="model.onnx.data")
    (version.parent / "config.pbtxt").write_text(_config(job, name, bool(job.argument)), encoding="utf-8")
    (version.parent / "labels.txt").write_text("".join(f"{label}\n" for label in spec.labels), encoding="utf-8")
    return _readme(job, name, variant.name)


def _config(job: Job, name: str, ragged: bool) -> str:
    """config.pbtxt: what the server may batch, and the shapes of one clip."""
    spec = job.spec
    values = {"name": INPUT_VALUES, "data_type": "TYPE_FP32", "dims": "[ -1 ]"}
    inputs = [_message({**values, "allow_ragged_batch": "true"} if ragged else values)]
    if not ragged:
        inputs.append(_message({"name": INPUT_LENGTHS, **_ONE_NUMBER}))
    outputs = []
    for output in spec.outputs:
        sizes = [str(len(spec.labels)) if axis == "labels" else "-1" for axis in output.axes[1:]]
        dims = f"[ {', '.join(sizes)} ]"
        outputs.append(_message({"name": output.name, "data_type": "TYPE_FP32", "dims": dims}))
    if OUTPUT_LENGTHS in spec.output_names:
        outputs.append(_message({"name": OUTPUT_LENGTHS, **_ONE_NUMBER}))
    parts = [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {MAX_BATCH}"]
    parts += [f"input [\n{_joined(inputs)}\n]", f"output [\n{_joined(outputs)}\n]"]
    if ragged:
        size = {"kind": "BATCH_ITEM_SHAPE", "target_name": SIZES, "data_type": "TYPE_INT32"}
        parts.append(f"batch_input [\n{_message({**size, 'source_input': INPUT_VALUES})}\n]")
    parts.append(f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY} }}")
    return "\n".join(parts) + "\n"


_ONE_NUMBER = {"data_type": "TYPE_INT64", "dims": "[ 1 ]", "reshape": "{ shape: [ ] }"}
"""One number for each clip, which the graph sees as [batch]."""
_BARE = ("data_type", "dims", "reshape", "allow_ragged_batch", "kind")


def _message(fields: dict[str, str]) -> str:
    rows = [f"    {key}: {value}" if key in _BARE else f'    {key}: "{value}"' for key, value in fields.items()]
    return "  {\n" + "\n".join(rows) + "\n  }"


def _joined(messages: Sequence[str]) -> str:
    return ",\n".join(messages)


def _readme(job: Job, name: str, variant: str) -> Readme:
    notes = [
        f"Batches hold up to {MAX_BATCH} clips, for which a request waits up to {QUEUE_DELAY / 1000:g} ms "
        "(config.pbtxt).",
        "labels.txt has the label of each index; frames after a clip's end are the blank."
        if job.spec.head == "ctc"
        else "labels.txt has the label of each index.",
    ]
    if job.argument:
        notes.insert(0, f"A request is `{INPUT_VALUES}` FP32 [1, samples], the raw waveform; nothing is to be padded.")
        notes.append("The configuration was parsed by Triton's schema and the graph run as the backend feeds it.")
        lengths: tuple[str, ...] = ()
    else:
        notes.insert(
            0, f"A request is `{INPUT_VALUES}` FP32 [clips, samples], padded, and `{INPUT_LENGTHS}` [clips, 1]."
        )
        lengths = (
            f'inputs.append(http.InferInput("{INPUT_LENGTHS}", [1, 1], "INT64"))',
            "inputs[1].set_data_from_numpy(numpy.array([[clip.shape[1]]]))",
        )
    return Readme(
        "python",
        (
            f"# tritonserver --model-repository={job.name}/models",
            "import numpy, soundfile, tritonclient.http as http",
            'clip = soundfile.read("talk.wav", dtype="float32")[0][None]',
            f'inputs = [http.InferInput("{INPUT_VALUES}", clip.shape, "FP32")]',
            "inputs[0].set_data_from_numpy(clip)",
            *lengths,
            f'print(http.InferenceServerClient("localhost:8000").infer("{name}", inputs).as_numpy('
            f'"{job.spec.outputs[0].name}"))',
        ),
        'pip install "tritonclient[http]" soundfile',
        notes,
        {variant: f"models/{name}/1/model.onnx"},
    )

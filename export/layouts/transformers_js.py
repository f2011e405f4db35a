"""transformers.js, pipelines automatic-speech-recognition and audio-classification: onnx/model….onnx and settings.

A file's suffix is its dtype there: none fp32, ``_fp16``, ``_quantized`` q8, the default of WebAssembly. The pipeline
runs clips one by one, so lengths are read from the shape; it leaves the normalisation to the graph. It knows the models
wav2vec2, hubert, unispeech and unispeech-sat by name; the graph needs nothing from the family's code, so any other
family is named wav2vec2.
"""

from __future__ import annotations

from pathlib import Path

from ...graphs import interface
from . import _hub
from ._job import Job, Readme

NAME = "transformers.js"
CLIENT = "transformers.js 4 (npm @huggingface/transformers)"
ARGUMENT = ""
_FILES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_quantized.onnx"}
_DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "q8"}
_KNOWN = ("wav2vec2", "hubert", "unispeech", "unispeech-sat")
_PIPELINES = {"ctc": "automatic-speech-recognition", "sequence_classification": "audio-classification"}


def write(job: Job, folder: Path) -> Readme:
    """Write the graph of each variant under onnx/, and the settings."""
    _hub.check(job, NAME)
    spec = job.spec
    (folder / "onnx").mkdir()
    files, large = {}, {}
    chosen = job.chosen(*_FILES)
    for precision, variant in chosen.items():
        graph = job.client_graph(variant)
        interface.lengths_from_shape(graph)
        job.end_of(graph)
        name = _FILES[precision]
        if job.save(graph, folder / "onnx" / name, data=f"{name}_data"):
            large[name] = 1
        files[variant.name] = f"onnx/{name}"
    known = spec.architecture if spec.architecture in _KNOWN else "wav2vec2"
    more = {"transformers.js_config": {"use_external_data_format": large}} if large else None
    _hub.write(job, folder, NAME, model_type=known, more=more, fast_tokenizer=True)
    dtypes = {variant.name: _DTYPES[precision] for precision, variant in chosen.items()}
    dtype = next(iter(dtypes.values()))
    notes = ["dtype: " + ", ".join(f"`{kind}` is {name}" for name, kind in dtypes.items()) + "."]
    notes.append("Samples are a Float32Array in [-1, 1]" + f" at {spec.sample_rate} Hz; node has no reader of files.")
    if spec.head == "ctc":
        notes.append("The pipeline gives no time stamps, and runs a long recording in one piece: cut it before.")
    if known != spec.architecture:
        notes.append(f"config.json names wav2vec2, because the pipeline does not know {spec.architecture}.")
    return Readme(
        "js",
        (
            'import { pipeline, env } from "@huggingface/transformers"; env.localModelPath = "./";',
            f'const run = await pipeline("{_PIPELINES[spec.head]}", "{job.name}", {{ dtype: "{dtype}" }});',
            "console.log(await run(samples));",
        ),
        "npm install @huggingface/transformers",
        notes,
        files,
    )

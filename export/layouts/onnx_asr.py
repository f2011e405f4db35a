"""onnx-asr, type ``wav2vec2-ctc``: model.onnx, vocab.txt and config.json.

The type takes ``input_values`` and ``input_lengths`` and reads ``logprobs``. The files are made for two of its
properties (in its repository at 2c2fe19, src/onnx_asr/models/wav2vec2.py and asr.py):

1. It decodes ``length // subsampling_factor + 1`` frames of each clip, more than the clip has: in the graph, frames
   after a clip's end are the blank.
2. Its times are ``0.01 · subsampling_factor · frame``: the factor counts hundredths of a second, 2 for 20 ms.
"""

from __future__ import annotations

import json
from pathlib import Path

from ...graphs import interface
from ...runtime.errors import InputError
from ._job import Job, Readme

NAME = "onnx-asr"
CLIENT = "onnx-asr (type wav2vec2-ctc)"
ARGUMENT = ""
_FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
_STEP = 100
"""Its unit of time is 1/100 s."""


def write(job: Job, folder: Path) -> Readme:
    """Write the graph of each variant, the vocabulary and the settings."""
    job.need(NAME, "ctc")
    spec = job.spec
    factor, rest = divmod(spec.stride * _STEP, spec.sample_rate)
    if rest or factor < 1:
        raise InputError(
            f"{job.bundle.path}: a frame is {1000 * spec.stride / spec.sample_rate:g} ms; {NAME} counts whole "
            "hundredths of a second, so its times would be wrong"
        )
    symbols = job.symbols(NAME, "▁", "<blk>")
    files = {}
    for precision, variant in job.chosen(*_FILES).items():
        graph = job.transcribing_graph(variant)
        output = spec.outputs[0].name
        interface.log_probabilities(graph, output)
        interface.rename_output(graph, output, "logprobs")
        job.end_of(graph)
        name = _FILES[precision]
        job.save(graph, folder / name, data=f"{name}.data")
        files[variant.name] = name
    rows = "".join(f"{text} {index}\n" for index, text in enumerate(symbols))
    (folder / "vocab.txt").write_text(rows, encoding="utf-8")
    settings = {"model_type": "wav2vec2-ctc", "subsampling_factor": factor}
    (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    notes = [
        "The type wav2vec2-ctc is in onnx-asr's repository since July 2026; release 0.12.0 does not have it yet.",
        f"`subsampling_factor` is {factor}: hundredths of a second, not samples. onnx-asr multiplies it with 0.01 s.",
    ]
    if "model.int8.onnx" in files.values():
        notes.append('INT8: `onnx_asr.load_model(..., quantization="int8")`.')
    return Readme(
        "python",
        (
            "import onnx_asr",
            f'model = onnx_asr.load_model("wav2vec2-ctc", "{job.name}")',
            'print(model.recognize("talk.wav"))',
        ),
        'pip install "onnx-asr[cpu] @ git+https://github.com/istupakov/onnx-asr"',
        notes,
        files,
    )

"""Optimum, ``ORTModelForCTC`` and ``ORTModelForAudioClassification``: model.onnx and a checkpoint's small files.

``ORTModelForCTC`` feeds ``input_values`` alone, no mask (optimum-onnx 0.1.0), so a padded batch changes the words of
its shorter clips. Here the graph finds where a clip's padding begins: preprocessor_config.json lets the feature
extractor pad with a number that does not occur in waveforms, and leave the normalisation to the graph.
"""

from __future__ import annotations

from pathlib import Path

from ...graphs import interface
from . import _hub
from ._job import Job, Readme

NAME = "optimum"
CLIENT = "optimum-onnx 0.1 (ORTModelForCTC, ORTModelForAudioClassification)"
ARGUMENT = ""
_FILES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_quantized.onnx"}
PADDING = -10000.0
"""The value that batches are padded with: exact in fp32, and far outside [-1, 1]."""
_CTC = (
    "from optimum.onnxruntime import ORTModelForCTC; from transformers import AutoProcessor; import soundfile",
    'model, processor = ORTModelForCTC.from_pretrained("{name}"{file}), AutoProcessor.from_pretrained("{name}")',
    'inputs = processor([soundfile.read("talk.wav")[0]], sampling_rate={rate}, return_tensors="pt", padding=True)',
    "print(processor.batch_decode(model(inputs.input_values).logits.argmax(-1)))",
)
_CLASSES = (
    "from optimum.onnxruntime import ORTModelForAudioClassification as Model; import soundfile",
    "from transformers import AutoFeatureExtractor",
    'model, extractor = Model.from_pretrained("{name}"{file}), AutoFeatureExtractor.from_pretrained("{name}")',
    'inputs = extractor([soundfile.read("talk.wav")[0]], sampling_rate={rate}, return_tensors="pt", padding=True)',
    "print(model.config.id2label[int(model(**inputs).logits.argmax())])",
)


def write(job: Job, folder: Path) -> Readme:
    """Write the graph of each variant, and the settings."""
    _hub.check(job, NAME)
    job.need_lengths(NAME)
    spec = job.spec
    files = {}
    for precision, variant in job.chosen(*_FILES).items():
        graph = job.client_graph(variant)
        interface.lengths_from_padding(graph, PADDING)
        job.end_of(graph)
        name = _FILES[precision]
        job.save(graph, folder / name, data=f"{name}_data")
        files[variant.name] = name
    _hub.write(job, folder, NAME, model_type=spec.architecture, padding=PADDING)
    first = next(iter(files.values()))
    file = "" if first == "model.onnx" else f', file_name="{first}"'
    lines = _CTC if spec.head == "ctc" else _CLASSES
    notes = ["Another variant: `from_pretrained(..., file_name=FILE)`."] if len(files) > 1 else []
    notes.append(
        "Batches of clips of different lengths give each clip's own result, if this folder's processor pads them: "
        f"the graph takes {PADDING:g} at a clip's end for padding."
    )
    notes.append("Normalisation is in the graph; the processor leaves the waveform as it is.")
    return Readme(
        "python",
        tuple(line.format(name=job.name, file=file, rate=spec.sample_rate) for line in lines),
        'pip install "optimum-onnx[onnxruntime]" soundfile',
        notes,
        files,
    )

"""sherpa-onnx's ``from_omnilingual_asr_ctc``: model.onnx and tokens.txt.

The client feeds one clip at a time as one input [1, samples], which it normalises with 1e-5 added to the variance. The
graph normalises again, which removes the effect of that number: also quiet clips then have unit variance.
"""

from __future__ import annotations

from pathlib import Path

from ...graphs import interface
from ...runtime.errors import InputError
from ._job import Job, Readme

NAME = "sherpa-onnx"
CLIENT = "sherpa-onnx 2.x (OfflineRecognizer.from_omnilingual_asr_ctc)"
ARGUMENT = ""
_FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}


def write(job: Job, folder: Path) -> Readme:
    """Write the graph of each variant and the tokens."""
    job.need(NAME, "ctc")
    spec = job.spec
    if not spec.normalize and (spec.norm != "group" or spec.frontend != "waveform"):
        raise InputError(
            f"{job.bundle.path}: its clips are not normalised (do_normalize=false); {NAME} normalises every clip, and "
            "a model with layer norm then writes other words"
        )
    if spec.stride * 50 != spec.sample_rate:
        raise InputError(
            f"{job.bundle.path}: a frame is {1000 * spec.stride / spec.sample_rate:g} ms; {NAME} counts 20 ms for each"
        )
    symbols = job.symbols(NAME, "▁", "<blk>")
    files = {}
    for precision, variant in job.chosen(*_FILES).items():
        graph = job.transcribing_graph(variant)
        interface.lengths_from_shape(graph)
        job.end_of(graph)
        job.save(graph, folder / _FILES[precision])
        files[variant.name] = _FILES[precision]
    rows = "".join(f"{text} {index}\n" for index, text in enumerate(symbols))
    (folder / "tokens.txt").write_text(rows, encoding="utf-8")
    notes = [
        "It runs one clip at a time, also in `decode_streams`.",
        "It normalises clips in its own arithmetic, which differs in the last digits: the fp32 file writes the words "
        "of wav2edge, an int8 file may round to others where two labels are almost equally probable.",
    ]
    if not spec.normalize:
        notes.append(
            "The checkpoint was trained on clips that are not normalised, and sherpa-onnx normalises them; its group "
            "norm removes the difference, except in clips that are close to silence."
        )
    first = next(iter(files.values()))
    return Readme(
        "python",
        (
            "import sherpa_onnx, soundfile",
            "recognizer = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc("
            f'model="{job.name}/{first}", tokens="{job.name}/tokens.txt")',
            "stream = recognizer.create_stream()",
            'samples, rate = soundfile.read("talk.wav", dtype="float32")',
            "stream.accept_waveform(rate, samples)",
            "recognizer.decode_stream(stream)",
            "print(stream.result.text)",
        ),
        "pip install sherpa-onnx soundfile",
        notes,
        files,
    )

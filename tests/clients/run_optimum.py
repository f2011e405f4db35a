"""Run a packed folder in optimum-onnx: ``run_optimum.py FOLDER CLIPS.json OUT.json [FILE]``.

CLIPS.json lists files of float32 samples at 16 kHz. OUT.json: the client's version, and of each clip its text and the
times of its words (CTC), or its label and scores (classification), run alone and in batches of different lengths.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
from pathlib import Path

import numpy as np
import torch
from optimum.onnxruntime import ORTModelForAudioClassification, ORTModelForCTC
from transformers import AutoFeatureExtractor, AutoProcessor

BATCH = 10
"""Clips in one batch: fifty of 30 s take gigabytes."""


def main(folder: str, listed: str, out: str, file: str = "model.onnx") -> None:
    logging.disable(logging.WARNING)
    with open(listed) as opened:
        clips = [np.fromfile(path, dtype=np.float32) for path in json.load(opened)]
    groups = [clips[first : first + BATCH] for first in range(0, len(clips), BATCH)]
    ctc = json.loads(Path(folder, "config.json").read_text())["architectures"][0].endswith("ForCTC")
    run = transcriber(folder, file) if ctc else classifier(folder, file)
    found = {
        "client": f"optimum-onnx {importlib.metadata.version('optimum-onnx')}, "
        f"transformers {importlib.metadata.version('transformers')}",
        "alone": [row for clip in clips for row in run([clip])],
        "batch": [row for group in groups for row in run(group)],
    }
    with open(out, "w") as opened:
        json.dump(found, opened)


def transcriber(folder: str, file: str):
    model = ORTModelForCTC.from_pretrained(folder, file_name=file)
    processor = AutoProcessor.from_pretrained(folder)
    step = np.prod(model.config.conv_stride) / processor.feature_extractor.sampling_rate

    def run(clips):
        inputs = processor(clips, sampling_rate=16000, return_tensors="pt", padding=True)
        with torch.no_grad():
            logits = model(input_values=inputs.input_values).logits
        decoded = processor.batch_decode(logits.argmax(-1), output_word_offsets=True)
        return [
            {"text": text, "words": [[w["word"], w["start_offset"] * step, w["end_offset"] * step] for w in words]}
            for text, words in zip(decoded.text, decoded.word_offsets)
        ]

    return run


def classifier(folder: str, file: str):
    model = ORTModelForAudioClassification.from_pretrained(folder, file_name=file)
    extractor = AutoFeatureExtractor.from_pretrained(folder)

    def run(clips):
        inputs = extractor(clips, sampling_rate=16000, return_tensors="pt", padding=True)
        with torch.no_grad():
            logits = model(**inputs).logits
        return [
            {"text": model.config.id2label[int(row.argmax())], "scores": row.softmax(-1).tolist()} for row in logits
        ]

    return run


if __name__ == "__main__":
    main(*sys.argv[1:])

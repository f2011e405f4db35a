"""Run a packed folder in onnx-asr: ``run_onnx_asr.py FOLDER CLIPS.json OUT.json [QUANTIZATION]``.

CLIPS.json lists files of float32 samples at 16 kHz. OUT.json: the client's version, and of each clip its text and the
times of its symbols, run alone and as one batch of different lengths.

Release 0.12.0 has no type wav2vec2-ctc; its repository has since July 2026. With a release that lacks it, the type is
put together here from the release's own loader and decoder, with the inputs and the output of the repository's type.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys

import numpy as np
import onnx_asr
import onnxruntime
from onnx_asr.utils import ModelNotSupportedError


def load(folder: str, quantization: str | None, session: onnxruntime.SessionOptions | None = None):
    options = {"providers": ["CPUExecutionProvider"], "sess_options": session}
    try:
        return onnx_asr.load_model("wav2vec2-ctc", folder, quantization=quantization, **options), "its own type"
    except ModelNotSupportedError:
        return assembled(folder, quantization, session), "type put together from the release's decoder"


def assembled(folder: str, quantization: str | None, session: onnxruntime.SessionOptions | None = None):
    from onnx_asr.asr import _AsrWithCtcDecoding
    from onnx_asr.loader import Manager
    from onnx_asr.resolver import Resolver

    class Wav2Vec2(_AsrWithCtcDecoding):
        def __init__(self, files, preprocessors, options):
            super().__init__(files, preprocessors, options)
            self.session = onnxruntime.InferenceSession(files["model"], session, providers=["CPUExecutionProvider"])

        @staticmethod
        def _get_model_files(quantization=None):
            return {"model": f"model{'?' + quantization if quantization else ''}.onnx", "vocab": "vocab.txt"}

        @property
        def _preprocessor_name(self):
            return "identity"

        @property
        def _subsampling_factor(self):
            return int(self.config["subsampling_factor"])

        def _encode(self, waveforms, lengths):
            (scores,) = self.session.run(["logprobs"], {"input_values": waveforms, "input_lengths": lengths})
            return scores, np.minimum(lengths // self._subsampling_factor + 1, scores.shape[1])

    manager = Manager(providers=["CPUExecutionProvider"])
    files = Resolver(Wav2Vec2, local_dir=folder).resolve_model(quantization=quantization)
    return manager._create_asr_adapter(Wav2Vec2(files, manager._create_preprocessor, manager.default_onnx_config))


def main(folder: str, listed: str, out: str, quantization: str | None = None) -> None:
    with open(listed) as file:
        clips = [np.fromfile(path, dtype=np.float32) for path in json.load(file)]
    model, how = load(folder, quantization)
    timed = model.with_timestamps()
    alone = [timed.recognize(clip, sample_rate=16000) for clip in clips]
    batch = timed.recognize(clips, sample_rate=16000)
    found = {
        "client": f"onnx-asr {importlib.metadata.version('onnx-asr')}, {how}",
        **{
            name: [{"text": r.text, "tokens": r.tokens, "times": r.timestamps} for r in results]
            for name, results in (("alone", alone), ("batch", batch))
        },
    }
    with open(out, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Run a packed folder in sherpa-onnx: ``run_sherpa_onnx.py FOLDER CLIPS.json OUT.json [FILE]``.

CLIPS.json lists files of float32 samples at 16 kHz. OUT.json: the client's version, and of each clip its text and the
times of its symbols, run alone and by one call of ``decode_streams`` with all.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys

import numpy as np
import sherpa_onnx


def main(folder: str, listed: str, out: str, file: str = "model.onnx") -> None:
    with open(listed) as opened:
        clips = [np.fromfile(path, dtype=np.float32) for path in json.load(opened)]
    recognizer = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc(
        model=f"{folder}/{file}", tokens=f"{folder}/tokens.txt", num_threads=1
    )

    def streams() -> list[sherpa_onnx.OfflineStream]:
        made = [recognizer.create_stream() for _ in clips]
        for stream, clip in zip(made, clips):
            stream.accept_waveform(16000, clip)
        return made

    alone, batch = streams(), streams()
    for stream in alone:
        recognizer.decode_stream(stream)
    recognizer.decode_streams(batch)
    found = {
        "client": f"sherpa-onnx {importlib.metadata.version('sherpa-onnx')}",
        **{
            name: [
                {"text": s.result.text, "tokens": list(s.result.tokens), "times": list(s.result.timestamps)}
                for s in results
            ]
            for name, results in (("alone", alone), ("batch", batch))
        },
    }
    with open(out, "w") as opened:
        json.dump(found, opened)


if __name__ == "__main__":
    main(*sys.argv[1:])

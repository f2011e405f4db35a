"""sherpa-onnx on the layout that ``wav2edge pack --for sherpa-onnx`` writes."""

from __future__ import annotations

from pathlib import Path

import sherpa_onnx

from .line import Recognizer, Samples, main, nothing_to_prepare


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: one of the bundle's."""
    file = "model.onnx" if variant == "fp32" else "model.int8.onnx"
    recognizer = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc(
        model=str(target / file), tokens=str(target / "tokens.txt"), num_threads=threads
    )

    def recognize(clip: Samples) -> str:
        stream = recognizer.create_stream()
        stream.accept_waveform(16000, clip)
        recognizer.decode_stream(stream)
        return str(stream.result.text)

    return recognize


if __name__ == "__main__":
    main(nothing_to_prepare, load)

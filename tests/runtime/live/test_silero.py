"""Silero's network: speech, noise, and the file that is loaded."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.runtime.audio import read
from wav2edge.runtime.engines import _network
from wav2edge.runtime.errors import EngineError
from wav2edge.runtime.live.silero import Silero, verified
from wav2edge.runtime.live.vad import SpeechDetector


def test_silero_finds_speech_and_not_noise(clips: list[tuple[Path, str]]) -> None:
    samples, _ = soundfile.read(clips[0][0], dtype="float32")
    detector = SpeechDetector(Silero())
    spoken = [turn.speaking for turn in detector.push(samples)]
    assert 0.2 < np.mean(spoken) < 0.95
    noise = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 0.05
    detector.reset(0)
    assert not any(turn.speaking for turn in detector.push(noise))
    detector.reset(0)
    again = [turn.probability for turn in detector.push(samples)]
    detector.reset(0)
    halves = [turn.probability for half in (samples[:10_001], samples[10_001:]) for turn in detector.push(half)]
    assert again == halves


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_network_gives_what_the_published_one_gives(clips: list[tuple[Path, str]], engine: str) -> None:
    """OpenVINO 2026.4 does not load the published one: captions failed where it was the only engine."""
    pytest.importorskip(engine)
    data = Path(__file__).parents[2] / "data" / "silero_vad_16k_op15.onnx"
    published = pytest.importorskip("onnxruntime").InferenceSession(data)
    shipped = Path(str(files("wav2edge.runtime.live") / "data" / "silero_vad_16k.onnx")).read_bytes()
    run = (_network._with_openvino if engine == "openvino" else _network._with_onnxruntime)(shipped)()
    sounds = [read.load(path, 16_000)[: 4 * 16_000] for path, _ in clips[:3]]
    states = expected_states = np.zeros((2, 3, 128), np.float32)
    context = np.zeros((3, 64), np.float32)
    worst = 0.0
    for at in range(0, 4 * 16_000 - 512, 512):
        inputs = np.concatenate((context, np.stack([sound[at : at + 512] for sound in sounds])), axis=1)
        context = inputs[:, -64:]
        values, states = run({"input": inputs, "state": states})
        feeds = {"input": inputs, "state": expected_states, "sr": np.array(16_000)}
        expected, expected_states = published.run(None, feeds)
        worst = max(worst, float(np.abs(values - expected).max()))
    assert worst < 1e-3


def test_a_changed_network_is_refused(tmp_path: Path) -> None:
    """The network was loaded whatever its bytes were: a damaged or swapped file decided what counts as speech."""
    shipped = Path(str(files("wav2edge.runtime.live") / "data" / "silero_vad_16k.onnx"))
    data = verified(shipped)
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(EngineError, match="was changed"):
        verified(changed)
    with pytest.raises(EngineError, match="cannot be read"):
        verified(tmp_path / "missing.onnx")

"""Speech detectors run together give each stream the probabilities that it has alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.audio import read
from wav2edge.runtime.live.energy_gate import EnergyGate
from wav2edge.runtime.live.silero import Silero
from wav2edge.runtime.live.vad import VAD_WINDOW, SpeechDetector
from wav2edge.runtime.live.voices import PreparedVoice, Voices


def room(seconds: float, seed: int) -> NDArray[np.float32]:
    noise: NDArray[np.float32] = np.random.default_rng(seed).standard_normal(round(seconds * 16000)).astype(np.float32)
    noise *= np.float32(1e-3)
    return noise


def test_streams_of_any_length_have_the_probabilities_of_each_alone(clips: list[tuple[Path, str]]) -> None:
    """The quiet before the second clip closes its gate, so that one stream asks for many windows at once."""
    sounds = [np.concatenate((room(4.0 * number, number), read.load(path)[: 32_000 + 7_000 * number]))
              for number, (path, _) in enumerate(clips[:3])]  # fmt: skip
    detectors = [SpeechDetector(PreparedVoice(EnergyGate(Silero()))) for _ in sounds]
    alone = [SpeechDetector(EnergyGate(Silero())).push(sound) for sound in sounds]
    voices = Voices()
    found: list[list[float]] = [[] for _ in sounds]
    size = 1700
    for at in range(0, max(map(len, sounds)), size):
        asked = [(detector, sound[at : at + size]) for detector, sound in zip(detectors, sounds)]
        voices.prepare([(detector.model, detector.windows(piece)) for detector, piece in asked])  # type: ignore[misc]
        for (detector, piece), values in zip(asked, found):
            assert isinstance(detector.model, PreparedVoice)
            assert len(detector.model.ahead) == len(detector.windows(piece))
            values += [turn.probability for turn in detector.push(piece)]
            assert not detector.model.ahead
    for values, expected in zip(found, alone):
        np.testing.assert_allclose(values, [turn.probability for turn in expected], atol=1e-5)


def test_what_was_not_prepared_is_computed_when_it_is_asked_for() -> None:
    sound = room(2.0, 0)
    detector = SpeechDetector(PreparedVoice(EnergyGate(Silero())))
    expected = SpeechDetector(EnergyGate(Silero())).push(sound)
    assert isinstance(detector.model, PreparedVoice)
    Voices().prepare([(detector.model, detector.windows(sound)[:10])])
    assert [turn.probability for turn in detector.push(sound)] == [turn.probability for turn in expected]


def test_a_gap_forgets_what_was_prepared() -> None:
    voice = PreparedVoice(EnergyGate(Silero()))
    Voices().prepare([(voice, [room(1.0, 0)[:VAD_WINDOW]] * 3)])
    voice.reset()
    assert not voice.ahead
    window = room(1.0, 1)[:VAD_WINDOW]
    assert voice(window) == EnergyGate(Silero())(window)


def test_another_model_is_left_to_itself() -> None:
    class Scripted:
        def reset(self) -> None:
            """Nothing to forget."""

        def __call__(self, window: NDArray[np.float32]) -> float:
            return 0.25

    voice = PreparedVoice(Scripted())
    Voices().prepare([(voice, [np.zeros(VAD_WINDOW, np.float32)])])
    assert not voice.ahead and voice(np.zeros(VAD_WINDOW, np.float32)) == 0.25

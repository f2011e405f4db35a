"""The energy gate skips the network at the noise floor and finds the same speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.audio import read
from wav2edge.runtime.live.energy_gate import EnergyGate, EnergyGateSettings
from wav2edge.runtime.live.silero import Silero
from wav2edge.runtime.live.vad import VAD_WINDOW, SpeechDetector, VoiceActivityModel


class Counted:
    """Silero, and how often it ran."""

    def __init__(self) -> None:
        self.detector = Silero()
        self.runs = 0

    def reset(self) -> None:
        self.detector.reset()

    def __call__(self, window: NDArray[np.float32]) -> float:
        self.runs += 1
        return self.detector(window)


def room(seconds: float, level: float, seed: int = 0) -> NDArray[np.float32]:
    noise: NDArray[np.float32] = (
        np.random.default_rng(seed).standard_normal(round(seconds * 16000)) * 10 ** (level / 20)
    ).astype(np.float32)
    return noise


def verdicts(detector: VoiceActivityModel, sound: NDArray[np.float32]) -> list[tuple[int, bool]]:
    return [(turn.start, turn.speaking) for turn in SpeechDetector(detector).push(sound)]


def test_noise_hardly_runs_the_network() -> None:
    counted = Counted()
    assert not any(speaking for _, speaking in verdicts(EnergyGate(counted), room(20, -60)))
    assert counted.runs < 0.25 * 20 * 16000 / VAD_WINDOW


def test_a_gate_that_was_closed_finds_the_speech_that_the_network_finds(clips: list[tuple[Path, str]]) -> None:
    """It finds faint speech sooner, even: after minutes of noise the network's state is less sensitive."""
    for path, _ in clips[:1]:
        speech = read.load(path)[: 4 * 16000]
        sound = np.concatenate((room(4, -60), speech, room(5, -60, 1), 0.1 * speech, room(2, -60, 2)))
        sound[: len(sound) // VAD_WINDOW * VAD_WINDOW] += room(len(sound) // VAD_WINDOW * VAD_WINDOW / 16000, -62, 3)
        gated, plain = verdicts(EnergyGate(Silero()), sound), verdicts(Silero(), sound)
        onsets = [next(start for start, speaking in found if speaking) for found in (gated, plain)]
        assert abs(onsets[0] - onsets[1]) <= 2 * VAD_WINDOW
        missed = sum(expected and not found for (_, found), (_, expected) in zip(gated, plain))
        assert missed <= 3, "no more than a window at an onset"


def test_sound_that_rises_slowly_opens_it() -> None:
    counted = Counted()
    gate = EnergyGate(counted, EnergyGateSettings(longest_closed=10_000))
    ramp = room(10, 0) * np.geomspace(1e-3, 1e-1, 160_000).astype(np.float32)
    verdicts(gate, np.concatenate((room(3, -60), ramp)))
    assert counted.runs > 0.5 * 10 * 16000 / VAD_WINDOW

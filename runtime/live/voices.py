"""The speech detectors of many streams, run together: so small a network costs less in batches.

A window's probability needs those before it, so the windows of one stream take turns, each turn one batch of all
streams. Each stream of a batch has the values that it has alone, up to rounding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from .energy_gate import EnergyGate
from .silero import Silero, SileroBatch
from .vad import VoiceActivityModel

Window = NDArray[np.float32]


class PreparedVoice:
    """A VoiceActivityModel whose next probabilities may be computed ahead, by ``Voices``."""

    def __init__(self, model: VoiceActivityModel) -> None:
        """model: of one stream; only Silero in an EnergyGate can be run ahead."""
        self.model = model
        self.gate = model if isinstance(model, EnergyGate) and isinstance(model.model, Silero) else None
        self.ahead: deque[float] = deque()

    def reset(self) -> None:
        """Forget the stream so far."""
        self.ahead.clear()
        self.model.reset()

    def __call__(self, window: Window) -> float:
        """The probability of speech in the next window [512]."""
        return self.ahead.popleft() if self.ahead else self.model(window)


class Voices:
    """Computes probabilities ahead; one thread at a time may call ``prepare``."""

    def __init__(self) -> None:
        """Load the network at first use."""
        self._batch: SileroBatch | None = None

    def prepare(self, streams: Sequence[tuple[PreparedVoice, Sequence[Window]]]) -> None:
        """Compute the probabilities that each voice will be asked for next, in order of its windows [512]."""
        running: list[tuple[Generator[Window, float, None], Silero, Window]] = []
        for voice, windows in streams:
            if voice.gate is not None and windows:
                steps = _steps(voice.gate, windows, voice.ahead)
                _advance(running, steps, voice.gate.model, None)
        while running:
            if self._batch is None:
                self._batch = SileroBatch()
            values = self._batch([model for _, model, _ in running], [window for _, _, window in running])
            turn, running = running, []
            for (steps, model, _), value in zip(turn, values):
                _advance(running, steps, model, value)


def _steps(gate: EnergyGate, windows: Sequence[Window], ahead: deque[float]) -> Generator[Window, float, None]:
    """The windows to run for a gate's windows, each of which is answered by its probability."""
    for window in windows:
        probability: float | None = None
        for wanted in gate.wanted(window):
            probability = yield wanted
        ahead.append(gate.taken(probability))


def _advance(
    running: list[tuple[Generator[Window, float, None], Silero, Window]],
    steps: Generator[Window, float, None],
    model: VoiceActivityModel,
    value: float | None,
) -> None:
    assert isinstance(model, Silero)
    try:
        window = next(steps) if value is None else steps.send(value)
    except StopIteration:
        return
    running.append((steps, model, window))

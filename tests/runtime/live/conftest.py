"""A model whose sound is its text: each 20 ms frame of samples holds one label, so windows are exactly predictable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import (
    FEATURE_LENGTHS,
    FEATURES,
    INPUT_LENGTHS,
    INPUT_VALUES,
    NORMALIZED,
    OUTPUT_LENGTHS,
    Convolution,
    ModelSpec,
    Norm,
    Output,
)
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.heads.ctc import Options
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.decoder import Finish, LiveDecoder
from wav2edge.runtime.live.events import Event
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.sources import Item
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.live.window import Window
from wav2edge.runtime.model import Model

LABELS = ("<pad>", "|", *"abcdefghijklmnopqrstuvwxyz")
STRIDE = 320


def spoken_spec(norm: Norm = "layer") -> ModelSpec:
    return ModelSpec(
        architecture="wav2vec2",
        head="ctc",
        normalize=False,
        norm=norm,
        outputs=(Output("logits", ("batch", "frames", "labels"), "CTC logits"),),
        labels=LABELS,
        time=(Convolution(10, 5, 0), *(Convolution(3, 2, 0),) * 4, *(Convolution(2, 2, 0),) * 2),
        head_options=Options(),
        blank=0,
        delimiter="|",
    )


def speak(text: str, frames_per_label: int = 3) -> NDArray[np.float32]:
    """Samples that say a text; ``.`` is a frame of silence (nothing to detect), ``_`` one of voice without a label."""
    frames: list[float] = []
    for character in text:
        if character == ".":
            frames.append(0.0)
        elif character == "_":
            frames.append(-0.5)
        else:
            frames += [LABELS.index("|" if character == " " else character) / 64] * frames_per_label + [-0.5]
    return np.repeat(np.array(frames, np.float32), STRIDE)


def quiet(seconds: float) -> NDArray[np.float32]:
    """Noise without speech."""
    return np.full(round(seconds * 16000), 0.001, np.float32)


def nothing(seconds: float) -> NDArray[np.float32]:
    """No sound at all."""
    return np.zeros(round(seconds * 16000), np.float32)


class LoudIsSpeech:
    """A voice activity model to which everything but silence is speech."""

    def __call__(self, window: NDArray[np.float32]) -> float:
        return 1.0 if np.count_nonzero(np.abs(window) > 0.01) > len(window) // 2 else 0.0

    def reset(self) -> None:
        """It has no state."""


Change = Callable[[Window, NDArray[np.float32]], None]
"""Alters the logits [1, frames, labels] of a window in place."""


@dataclass
class SpokenModel:
    """All three stages of the model.

    blind: frames at a window's end that it cannot tell yet. change: what it does to its logits.
    """

    spec: ModelSpec
    blind: int = 0
    change: Change | None = None
    runs: list[tuple[str, int]] = field(default_factory=list)

    def run(self, window: Window) -> Arrays:
        feeds = window.feeds
        if window.stage == "encoder":
            labels = feeds[FEATURES][0, :, 0]
            assert feeds[FEATURE_LENGTHS].tolist() == [len(labels)]
        else:
            samples = feeds[NORMALIZED if window.stage == "frontend" else INPUT_VALUES][0]
            assert feeds[INPUT_LENGTHS].tolist() == [len(samples)]
            frames = self.spec.frames(len(samples))
            labels = samples[np.arange(frames) * STRIDE + STRIDE // 2]
        self.runs.append((f"{window.purpose} {window.stage}", len(labels)))
        count = np.array([len(labels)], np.int64)
        if window.stage == "frontend":
            return {FEATURES: labels[None, :, None].copy(), FEATURE_LENGTHS: count}
        best = np.rint(np.maximum(labels, 0) * 64).astype(int)
        if self.blind and window.purpose == "partial":
            best[-self.blind :] = 0
        logits: NDArray[np.float32] = np.zeros((1, len(labels), len(LABELS)), np.float32)
        logits[0, np.arange(len(labels)), best] = 10.0
        if self.change is not None:
            self.change(window, logits)
        return {"logits": logits, OUTPUT_LENGTHS: count}


def listen(
    decoder: LiveDecoder, model: SpokenModel, samples: NDArray[np.float32], start: int = 0, piece: int = 800
) -> list[Event]:
    """Push samples piece by piece and run every window at once."""
    events: list[Event] = []
    for at in range(0, len(samples), piece):
        events += decoder.push(samples[at : at + piece], start + at)
        events += drain(decoder, model)
    return events


def drain(decoder: LiveDecoder, model: SpokenModel, finals_only: bool = False) -> list[Event]:
    events: list[Event] = []
    while (window := decoder.window(finals_only)) is not None:
        events += decoder.accept(window, model.run(window))
    return events


class Played:
    """A source that gives its items, one per call; ``lag`` seconds late by its clock."""

    def __init__(self, items: Sequence[Item], lag: float = 0.0) -> None:
        self.items = list(items)
        self.lag = lag
        self.end = 0
        self.closed = 0

    def read(self, timeout: float) -> list[Item] | None:
        if not self.items:
            return None
        item = self.items.pop(0)
        if isinstance(item, Block):
            self.end = item.end
        return [item]

    def present(self) -> int:
        return self.end + round(self.lag * 16000)

    def close(self) -> None:
        self.closed += 1


def in_blocks(samples: NDArray[np.float32], start: int = 0, size: int = 800) -> list[Item]:
    return [Block(start + at, samples[at : at + size]) for at in range(0, len(samples), size)]


class SpokenSession:
    """The model's whole graph as an engine's session; ``closed``: how often it was closed."""

    inputs: tuple[str, ...] = (INPUT_VALUES, INPUT_LENGTHS)
    outputs: tuple[str, ...] = ("logits", OUTPUT_LENGTHS)

    def __init__(self, model: SpokenModel) -> None:
        self.model = model
        self.closed = 0

    def run(self, feeds: Arrays) -> Arrays:
        return self.model.run(Window(0, "final", "full", feeds, 0, 0))

    def close(self) -> None:
        self.closed += 1


class Booth:
    """Sound and models for the tests of this folder."""

    spec = staticmethod(spoken_spec)
    speak = staticmethod(speak)
    quiet = staticmethod(quiet)
    nothing = staticmethod(nothing)
    listen = staticmethod(listen)
    in_blocks = staticmethod(in_blocks)
    played = Played
    drain = staticmethod(drain)
    model = SpokenModel
    vad = LoudIsSpeech

    def decoder(self, settings: LiveSettings | None = None, finish: Finish | None = None) -> LiveDecoder:
        return LiveDecoder(self.spec(), LoudIsSpeech(), settings or LiveSettings(keep_features=False), finish)


@pytest.fixture
def booth() -> Booth:
    return Booth()


@pytest.fixture
def live(booth: Booth, shapes_bundle: Bundle) -> LiveTranscriber:
    """The model on an engine that is not there, with its one stage ``full``."""
    spec = booth.spec()
    model = Model(
        replace(shapes_bundle, spec=spec), "fake", "fp32", sessions={"full": SpokenSession(booth.model(spec))}
    )
    return LiveTranscriber(model, vad=booth.vad)

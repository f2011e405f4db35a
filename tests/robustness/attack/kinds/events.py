"""Live captions: sound in pieces of any size, with gaps, repetitions and any values, for any settings and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from wav2edge.runtime.bundle.spec import (
    FEATURE_LENGTHS,
    FEATURES,
    INPUT_LENGTHS,
    OUTPUT_LENGTHS,
    Convolution,
    ModelSpec,
    Output,
)
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.heads.ctc import Options
from wav2edge.runtime.live import events
from wav2edge.runtime.live.decoder import LiveDecoder
from wav2edge.runtime.live.endpoint import EndpointRules
from wav2edge.runtime.live.events import Event, Final, Partial
from wav2edge.runtime.live.session import LiveStream
from wav2edge.runtime.live.settings import LiveSettings, LoopSettings
from wav2edge.runtime.live.vad import VadSettings
from wav2edge.runtime.live.window import Window

from ..mutation import NUMBERS, edited, pick

LABELS = ("<pad>", "|", *"abcdefgh")
RATE = 16000


class Inputs:
    """Streams of some seconds."""

    def __init__(self, scratch: Path) -> None:
        """Describe the model, whose outputs are random."""
        kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
        self.spec = ModelSpec(
            architecture="wav2vec2",
            head="ctc",
            normalize=False,
            norm="layer",
            outputs=(Output("logits", ("batch", "frames", "labels"), "CTC logits"),),
            labels=LABELS,
            time=tuple(Convolution(kernel, stride, 0) for kernel, stride in zip(kernels, strides)),
            head_options=Options(),
            blank=0,
            delimiter="|",
        )

    def __call__(self, random: Generator, folder: Path) -> str:
        """Caption a stream and check what must hold of its events."""
        if random.random() < 0.15:
            return _line(random)
        decoder = LiveDecoder(self.spec, _Activity(random), _settings(random))
        stream = LiveStream(decoder, lambda window: self._outputs(random, window), LoopSettings())
        found: list[Event] = []
        at = int(random.integers(0, 10**6))
        for _ in range(int(random.integers(1, 60))):
            piece = _sound(random)
            at += pick(random, (0, 0, 0, 0, 0, 0, 1, -5, RATE, -RATE, 10**7, 10**12))
            found += stream.push(piece, max(0, at))
            at += len(piece)
            found += stream.windows(finals_only=random.random() < 0.2)
            found += stream.stats(1.0)
            assert decoder.held <= 120 * RATE, "the buffer grows"
        found += stream.end_utterance()
        found += stream.windows()
        found += stream.stats()
        _check(found)
        return f"{min(sum(isinstance(event, Final) for event in found), 3)} finals"

    def _outputs(self, random: Generator, window: Window) -> Arrays:
        values, lengths = list(window.feeds.values())[:2]
        if window.stage == "encoder":
            frames = values.shape[1]
        else:
            frames = self.spec.frames(values.shape[1])
            assert int(window.feeds[INPUT_LENGTHS][0]) == values.shape[1]
        count = np.array([frames], np.int64)
        assert frames > 0 and lengths is not None
        if window.stage == "frontend":
            return {FEATURES: np.zeros((1, frames, 4), np.float32), FEATURE_LENGTHS: count}
        logits = random.normal(0, pick(random, (0.0, 1.0, 20.0)), (1, frames, len(LABELS)))
        if random.random() < 0.005:
            logits[0, int(random.integers(frames))] = pick(random, (np.nan, np.inf, -np.inf))
        return {"logits": logits.astype(np.float32), OUTPUT_LENGTHS: count}


class _Activity:
    """A voice activity model that finds speech in stretches."""

    def __init__(self, random: Generator) -> None:
        self.random, self.speech = random, False

    def __call__(self, window: NDArray[np.float32]) -> float:
        if self.random.random() < 0.03:
            self.speech = not self.speech
        return float(self.random.beta(4, 1) if self.speech else self.random.beta(1, 6))

    def reset(self) -> None:
        self.speech = False


def _sound(random: Generator) -> NDArray[np.float32]:
    size = int(random.integers(0, pick(random, (2, 400, 3000, RATE, 3 * RATE))))
    sound = random.normal(0, pick(random, (0.0, 0.001, 0.1, 1.0)), size).astype(np.float32)
    if size and random.random() < 0.003:
        sound[int(random.integers(size))] = pick(random, (np.nan, np.inf, 1e30, -1e38))
    return sound


def _settings(random: Generator) -> LiveSettings:
    def number(usual: float, low: float, high: float) -> float:
        if random.random() < 0.01:
            return pick(random, NUMBERS)  # type: ignore[return-value]
        return usual if random.random() < 0.5 else float(np.exp(random.uniform(np.log(low), np.log(high))))

    return LiveSettings(
        hop=number(0.5, 0.05, 5),
        left_context=number(3, 0.01, 10),
        kept_context=number(4.5, 0.01, 10),
        edge=number(0.4, 0.01, 3),
        settle=number(0.4, 0.01, 3),
        hold=number(0.3, 0.01, 3),
        tolerance=number(0.1, 0.01, 3),
        min_confidence=number(0.0, 0.01, 2),
        pre_roll=number(1.4, 0.01, 5),
        post_roll=number(1.1, 0.01, 5),
        ahead=number(0.4, 0.01, 5),
        agreement=int(random.integers(1, 8)),
        confirm=int(random.integers(1, 8)),
        keep_features=bool(random.integers(2)),
        endpoint=EndpointRules(number(2.4, 0.02, 9), number(1.2, 0.02, 9), number(20, 0.5, 60)),
        vad=VadSettings(threshold=number(0.5, 0.05, 1), hysteresis=number(0.15, 0.01, 1)),
    )


def _check(found: list[Event]) -> None:
    closed: set[int] = set()
    stable: dict[int, str] = {}
    for event in found:
        again = events.from_json(json.loads(events.to_line(event)))
        assert again == event, "an event changes on the wire"
        json.loads(events.to_line(event), parse_constant=_refuse_constant)
        if isinstance(event, Partial):
            assert event.utterance not in closed, "a finalised utterance reopened"
            before = stable.get(event.utterance, "")
            assert not before or event.stable == before or event.stable.startswith(before + " "), "stable text changed"
            stable[event.utterance] = event.stable
        elif isinstance(event, Final):
            assert event.utterance not in closed and event.end >= event.start
            assert all(event.start - 0.05 <= word.start <= word.end <= event.end + 0.05 for word in event.words)
            closed.add(event.utterance)
    assert stable.keys() <= closed, "an utterance was shown and has no Final"


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"an event holds {name}, which JSON has not")


def _line(random: Generator) -> str:
    """An event from another program."""
    event = Final(3, 1.0, 2.5, "a bad cab", (), 0, "silence")
    events.from_json(edited(random, events.to_json(event), int(random.integers(1, 4))))
    return "event"

"""A model that needs no training: it reads labels that were written into the samples as levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.transcriber import Transcriber

Spell = Callable[[str], NDArray[np.float32]]


class LevelSession:
    """Gives label ``i`` for a frame whose samples are all ``i / 64``.

    blind: frames at each end of a run that it gets wrong, as a model does that misses its context there.
    """

    inputs: tuple[str, ...] = ("input_values", "input_lengths")
    outputs: tuple[str, ...] = ("logits", "output_lengths")

    def __init__(self, spec: ModelSpec, blind: int = 0) -> None:
        """Begin with no runs; ``lengths`` collects the samples of each clip that is run."""
        self.spec = spec
        self.blind = blind
        self.lengths: list[int] = []

    def run(self, feeds: Arrays) -> Arrays:
        values, lengths = feeds["input_values"], feeds["input_lengths"]
        self.lengths += [int(length) for length in lengths]
        frames = self.spec.frames(values.shape[1])
        labels = np.rint(values[:, : frames * 320 : 320] * 64).astype(int)
        counts = np.array([self.spec.frames(int(length)) for length in lengths])
        for row, count in zip(labels, counts):
            row[: self.blind] = row[count - self.blind : count] = self.spec.labels.index("x")
        logits = np.where(np.arange(len(self.spec.labels)) == labels[..., None], 8.0, 0.0)
        return {"logits": logits.astype(np.float32), "output_lengths": counts}

    def close(self) -> None:
        pass


@pytest.fixture
def spell(ctc_spec: ModelSpec) -> Spell:
    """Samples for which LevelSession gives a text: two frames a letter, one blank between, ``_`` is a blank frame."""

    def write(text: str) -> NDArray[np.float32]:
        frames: list[int] = []
        for letter in text:
            if letter == "_":
                frames.append(0)
            else:
                index = ctc_spec.labels.index("|" if letter == " " else letter)
                frames += [index, index, 0]
        return np.repeat(np.array([*frames, 0], dtype=np.float32) / 64, 320)

    return write


@pytest.fixture
def level_session_class() -> type[LevelSession]:
    return LevelSession


@pytest.fixture
def level_session(ctc_spec: ModelSpec) -> LevelSession:
    return LevelSession(ctc_spec)


@pytest.fixture
def level_transcriber(shapes_bundle: Bundle, level_session: LevelSession) -> Transcriber:
    """A transcriber that recognises what ``spell`` wrote."""
    model = Model(shapes_bundle, "level", "fp32", sessions={"full": level_session})
    return Transcriber(model, decoder=ctc.greedy)

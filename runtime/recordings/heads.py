"""Run the heads that do not transcribe on recordings of any length: labels, numbers, turns and embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..audio.read import AudioSource, Recording
from ..errors import AudioError
from ..heads import frame_classification, regression, sequence_classification, xvector
from ..heads.frame_classification import Turns
from ..heads.regression import Regression
from ..heads.sequence_classification import Classification
from ..heads.xvector import Verification
from ..model import Model
from .chunking import Chunk, Chunking
from .decoding import placed
from .runner import Outputs, Runner, T

SILENT = 1e-4
"""Samples up to this, -80 dB, hold no speaker: digital silence, or channels of opposite polarity that were averaged."""


class _ClipRunner(Runner[T]):
    """Runs a recording's chunks and pools their outputs."""

    def _pooled(self, recording: Recording) -> tuple[NDArray[np.float32], float]:
        """The first output [labels] averaged over chunks by their lengths, and the recording's seconds."""
        name = self.spec.outputs[0].name
        rows, weights, samples = [], [], 0
        for chunk, outputs in self._run(recording):
            rows.append(np.asarray(outputs[name], dtype=np.float32))
            weights.append(float(len(chunk.samples)))
            samples = chunk.first_frame * self.spec.stride + len(chunk.samples)
        pooled = np.average(np.stack(rows), axis=0, weights=weights)
        return np.asarray(pooled, dtype=np.float32), samples / self.spec.sample_rate

    def _run(self, recording: Recording) -> Iterator[tuple[Chunk, Outputs]]:
        for chunk in self.chunks(recording):
            yield chunk, self.outputs([chunk])[0]


class Classifier(_ClipRunner[Classification]):
    """Labels recordings with a model whose head is sequence classification."""

    heads = ("sequence_classification",)
    does = "classify"

    def result(self, recording: Recording) -> Classification:
        """The labels of an opened recording."""
        logits, seconds = self._pooled(recording)
        return sequence_classification.classify(logits, self.spec, seconds, recording.complete)

    def scores(self, recording: Recording) -> NDArray[np.float32]:
        """The score of each label [labels] of an opened recording, unrounded, in the order of the model's labels."""
        return sequence_classification.scores(self._pooled(recording)[0], self.spec)


class Regressor(_ClipRunner[Regression]):
    """Gives a number for each label of a recording, with a model whose head is regression."""

    heads = ("regression",)
    does = "give numbers"

    def result(self, recording: Recording) -> Regression:
        """The numbers of an opened recording."""
        values, seconds = self._pooled(recording)
        return regression.regress(values, self.spec, seconds, recording.complete)

    def numbers(self, recording: Recording) -> NDArray[np.float32]:
        """The number of each label [labels] of an opened recording, unrounded, in the order of the model's labels."""
        return self._pooled(recording)[0]


class FrameClassifier(_ClipRunner[Turns]):
    """Says which labels hold when (speakers, voice), with a model whose head is frame classification."""

    heads = ("frame_classification",)
    does = "label frames"

    def __init__(
        self,
        model: Model,
        chunking: Chunking | None = None,
        options: frame_classification.Options | None = None,
    ) -> None:
        """Load the model; options: how probabilities become turns (None: as the bundle says)."""
        super().__init__(model, chunking)
        self.turn_options = options

    def result(self, recording: Recording) -> Turns:
        """The turns of an opened recording."""
        frames, seconds = self.probabilities(recording)
        turns = frame_classification.turns(frames, self.spec, self.turn_options)
        return Turns(placed(turns, recording), seconds, recording.complete)

    def probabilities(self, recording: Recording) -> tuple[NDArray[np.float32], float]:
        """Probabilities [frames, labels] of an opened recording, and its length in seconds.

        Neighbouring chunks are joined in the middle of their overlap. Labels that are numbers of speakers are ordered
        as in the chunk before, by their agreement on the overlap.
        """
        name = self.spec.outputs[0].name
        parts: list[NDArray[np.float32]] = []
        held: NDArray[np.float32] | None = None
        samples = 0
        for chunk, outputs in self._run(recording):
            rows = frame_classification.probabilities(np.asarray(outputs[name], dtype=np.float32))
            start = 0
            if held is not None:
                if self.spec.options(frame_classification.Options).exchangeable:
                    rows = frame_classification.aligned(held, rows)
                start = min(len(held), len(rows)) // 2
                parts.append(held[:start])
            end = len(rows) if chunk.next_frame is None else chunk.next_frame - chunk.first_frame
            parts.append(rows[start:end])
            held = rows[end:]
            samples = chunk.first_frame * self.spec.stride + len(chunk.samples)
        return np.concatenate(parts), samples / self.spec.sample_rate


class Embedder(_ClipRunner[NDArray[np.float32]]):
    """Gives a recording's embedding, with a model whose head is an x-vector or that is a bare encoder."""

    heads = ("xvector", "encoder")
    does = "embed"

    def result(self, recording: Recording) -> NDArray[np.float32]:
        """The embedding [size] of an opened recording, of unit length for speakers.

        Raises AudioError where a model for speakers gets silence: no sample above ``SILENT``.
        """
        name = self.spec.outputs[0].name
        rows, weights, sound = [], [], False
        for chunk, outputs in self._run(recording):
            values = np.asarray(outputs[name], dtype=np.float32)
            sound = sound or float(np.abs(chunk.samples).max()) > SILENT
            if self.spec.head == "encoder":  # hidden states [frames, size]
                weights.append(float(len(values)))
                rows.append(values.mean(axis=0))
            else:
                weights.append(float(len(chunk.samples)))
                rows.append(values)
        if self.spec.head == "encoder":
            return np.asarray(np.average(np.stack(rows), axis=0, weights=weights), dtype=np.float32)
        if not sound:
            silent = "it is silent, no sample is above -80 dB"
            why = "; ".join((silent, *recording.warnings))
            raise AudioError(f"{recording.name}: {why}; there is no speaker in it")
        return xvector.pooled(np.stack(rows), np.array(weights))

    def verify(self, first: AudioSource, second: AudioSource, threshold: float | None = None) -> Verification:
        """Whether two recordings are of the same speaker.

        threshold: the cosine that counts as the same (None: the bundle's own, else ``xvector.DEFAULT_THRESHOLD``).
        Raises InputError where the model is not one for speakers, AudioError for a recording that cannot be used.
        """
        return self.compare(self(first), self(second), threshold)

    def compare(
        self, first: NDArray[np.float32], second: NDArray[np.float32], threshold: float | None = None
    ) -> Verification:
        """Whether two embeddings [size] are of the same speaker; threshold: as of ``verify``."""
        own = None
        if self.spec.head == "xvector":
            own = self.spec.options(xvector.Options).threshold_of(self.model.variant.name)
        return xvector.verify(first, second, own if threshold is None else threshold)

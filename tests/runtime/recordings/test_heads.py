"""Recordings through models that do not transcribe, on an engine whose outputs can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec, Output
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import encoder, frame_classification, regression, sequence_classification, xvector
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.chunking import Chunking
from wav2edge.runtime.recordings.heads import Classifier, Embedder, FrameClassifier, Regressor
from wav2edge.runtime.recordings.transcriber import Transcriber

Make = Callable[..., Model]


class MeanSession:
    """Gives, for each clip, or for each frame, the mean of its samples and its negative."""

    inputs: tuple[str, ...] = ("input_values", "input_lengths")

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.outputs = spec.output_names

    def run(self, feeds: Arrays) -> Arrays:
        values, lengths = feeds["input_values"].astype(np.float32), feeds["input_lengths"]
        if "frames" not in self.spec.outputs[0].axes:
            means = np.array([row[: int(length)].mean() for row, length in zip(values, lengths)])
            return {self.spec.outputs[0].name: np.stack([means, -means], axis=1).astype(np.float32)}
        frames = self.spec.frames(values.shape[1])
        means = values[:, : frames * 320 : 320]
        counts = np.array([self.spec.frames(int(length)) for length in lengths])
        return {self.spec.outputs[0].name: np.stack([means, -means], axis=2), "output_lengths": counts}

    def close(self) -> None:
        pass


@pytest.fixture
def model_of(shapes_bundle: Bundle, ctc_spec: ModelSpec) -> Make:
    def make(head: str, axes: tuple[str, ...], options: Any, labels: tuple[str, ...] = ("up", "down")) -> Model:
        spec = replace(
            ctc_spec,
            head=head,
            labels=labels,
            head_options=options,
            blank=None,
            delimiter=None,
            outputs=(Output("out", axes, "means"),),
        )
        return Model(replace(shapes_bundle, spec=spec), "means", "fp32", sessions={"full": MeanSession(spec)})

    return make


def test_a_recording_is_classified_as_a_whole(model_of: Make) -> None:
    """Three chunks: of 2 s at 0.2, and then quieter; the average is weighted by their lengths."""
    model = model_of("sequence_classification", ("batch", "labels"), sequence_classification.Options())
    classify = Classifier(model, Chunking(2.0, 0.1))
    samples = np.full(16000 * 5, 0.4, np.float32)
    found = classify(samples)
    assert found.label == "up" and found.seconds == 5.0
    assert found.scores[0].score == pytest.approx(1 / (1 + np.exp(-0.8)), abs=1e-4)
    assert classify(-samples).label == "down"
    assert classify(samples.reshape(1, -1), 16000).label == "up"


def test_each_channel_has_its_result(model_of: Make) -> None:
    classify = Classifier(model_of("sequence_classification", ("batch", "labels"), sequence_classification.Options()))
    quiet = np.full(16000, 0.4, np.float32)
    found = classify(np.stack([quiet, -quiet], axis=1), channel="each")
    assert [one.label for one in found] == ["up", "down"]
    assert found[1] == classify(-quiet)
    assert classify(np.stack([quiet, -quiet], axis=1)).scores[0].score == pytest.approx(0.5)


def test_numbers_of_a_recording(model_of: Make) -> None:
    regress = Regressor(model_of("regression", ("batch", "labels"), regression.Options()))
    assert [value.value for value in regress(np.full(16000, 0.25, np.float32)).values] == [0.25, -0.25]


def test_turns_do_not_depend_on_chunks(model_of: Make) -> None:
    samples = np.concatenate([np.full(16000 * n, sign, np.float32) for n, sign in ((3, 0.5), (4, -0.5), (2, 0.5))])
    options = frame_classification.Options()
    whole = FrameClassifier(model_of("frame_classification", ("batch", "frames", "labels"), options))
    cut = FrameClassifier(model_of("frame_classification", ("batch", "frames", "labels"), options), Chunking(2.0, 0.2))
    found = whole(samples)
    assert [(turn.label, round(turn.start), round(turn.end)) for turn in found.turns] == [
        ("up", 0, 3),
        ("down", 3, 7),
        ("up", 7, 9),
    ]
    assert cut(samples) == found


def test_an_embedding_has_unit_length_and_is_compared(model_of: Make) -> None:
    embed = Embedder(model_of("xvector", ("batch", "embedding"), xvector.Options(threshold=0.5)), Chunking(2.0, 0.1))
    loud, quiet = np.full(16000 * 5, 0.8, np.float32), np.full(16000 * 3, 0.1, np.float32)
    assert embed(loud) == pytest.approx([2**-0.5, -(2**-0.5)])
    assert embed.verify(loud, quiet) == xvector.Verification(True, 1.0, 0.5)
    assert not embed.verify(loud, -quiet).same
    assert not embed.verify(loud, quiet, threshold=1.1).same


def test_a_bare_encoder_gives_the_mean_of_all_frames(model_of: Make) -> None:
    embed = Embedder(model_of("encoder", ("batch", "frames", "hidden"), encoder.Options()))
    assert embed(np.full(16000, 0.25, np.float32)) == pytest.approx([0.25, -0.25])


def test_a_head_that_cannot_do_it_is_one_line(model_of: Make) -> None:
    model = model_of("xvector", ("batch", "embedding"), xvector.Options())
    with pytest.raises(InputError, match="its head is xvector, which does not transcribe; use it to embed"):
        Transcriber(model)
    with pytest.raises(InputError, match="its head is xvector, which does not classify"):
        Classifier(model)

"""What a graph gives is what its manifest says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED, Convolution, Stage
from wav2edge.runtime.engines import Arrays, as_feeds
from wav2edge.runtime.errors import BundleError
from wav2edge.runtime.model import Model


def test_a_manifest_that_does_not_fit_its_graph_is_one_line(small_bundle: Bundle) -> None:
    """It was an internal error, and only for sound that reached the missing label."""
    spec, clip = small_bundle.spec, np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    fewer = dataclasses.replace(small_bundle, spec=dataclasses.replace(spec, labels=spec.labels[:-3]))
    with pytest.raises(BundleError, match=f"{len(spec.labels)} scores for {len(spec.labels) - 3} labels"):
        Model(fewer, "onnxruntime", "fp32").logits([clip])
    renamed = dataclasses.replace(spec.outputs[0], name="foo")
    other = dataclasses.replace(small_bundle, spec=dataclasses.replace(spec, outputs=(renamed, *spec.outputs[1:])))
    with pytest.raises(BundleError, match="has no output 'foo'"):
        Model(other, "onnxruntime", "fp32").logits([clip])


def with_time(bundle: Bundle, step: int, convolution: Convolution) -> Bundle:
    """The bundle with another step in its time arithmetic, as an edited bundle.json has it."""
    time = list(bundle.spec.time)
    time[step] = convolution
    return dataclasses.replace(bundle, spec=dataclasses.replace(bundle.spec, time=tuple(time)))


@pytest.mark.parametrize("step", [Convolution(2, 2, 0), Convolution(5, 1, 0)], ids=["fewer", "a few fewer"])
def test_a_time_arithmetic_that_does_not_fit_the_graph_is_refused(small_bundle: Bundle, step: Convolution) -> None:
    """Clips were cut to the frames that it gave, so that words were missing without an error."""
    clips = [np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32) for samples in (16000, 12000)]
    other = with_time(small_bundle, 1, step)
    variant = small_bundle.variant("fp32")
    whole = dataclasses.replace(variant, graphs={"full": variant.graphs["full"]})
    expected = rf"gives {small_bundle.spec.frames(16000)} frames where spec.time says {other.spec.frames(16000)};"
    with Model(other, "onnxruntime", whole) as model, pytest.raises(BundleError, match=expected):
        model.logits(clips)
    with Model(with_time(Bundle.open(embedded.bundle_path()), 1, step), "onnxruntime", "fp32") as model:
        assert model.runs_in_tiles
        for stage_by_stage in (model.outputs, model.outputs_of_normalized):
            with pytest.raises(BundleError, match=r"gives \d+ frames where spec.time says \d+"):
                stage_by_stage(clips)


@dataclasses.dataclass
class Answer:
    """A session that gives the same whatever it is fed."""

    answer: Arrays
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def run(self, feeds: Arrays) -> Arrays:
        return self.answer

    def close(self) -> None: ...


def test_each_stage_is_held_to_the_time_arithmetic(shapes_bundle: Bundle) -> None:
    """Two frames of features are one of the output here, as with an adapter; a clip that is too short may have any."""
    spec = shapes_bundle.spec
    spec = dataclasses.replace(spec, time=(*spec.time, Convolution(2, 2, 0)), feature_steps=len(spec.time))
    bundle, counts = dataclasses.replace(shapes_bundle, spec=spec), np.array([49, 1], np.int64)
    features: Arrays = {FEATURES: np.zeros((2, 49, 4), np.float32), FEATURE_LENGTHS: counts}
    samples = np.zeros((2, 16000), np.float32), np.array([16000, 10], np.int64)
    normalized: Arrays = {NORMALIZED: samples[0], INPUT_LENGTHS: samples[1]}

    def run(stage: Stage, feeds: Arrays, frames: int) -> None:
        name = FEATURE_LENGTHS if stage == "frontend" else "output_lengths"
        session = Answer({name: np.array([frames, 7], np.int64)})
        Model(bundle, "fake", "fp32", sessions={stage: session}).run(stage, feeds)

    cases: list[tuple[Stage, Arrays, int]] = [
        ("full", as_feeds(*samples), 24),
        ("frontend", normalized, 49),
        ("encoder", features, 24),
    ]
    for stage, feeds, frames in cases:
        run(stage, feeds, frames)
        with pytest.raises(BundleError, match=f"gives {frames - 1} frames where spec.time says {frames}"):
            run(stage, feeds, frames - 1)

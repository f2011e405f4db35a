"""The front end in pieces equals the whole graph, for every norm, variant and engine that runs so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.observe import observe
from wav2edge.calibration.passes.qdq import observed
from wav2edge.calibration.sites import find_sites
from wav2edge.calibration.staging import staging
from wav2edge.graphs.graph import Graph
from wav2edge.measure import scoring
from wav2edge.runtime import engines, tiling
from wav2edge.runtime.audio import loudness, read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import FEATURES, INPUT_LENGTHS, NORMALIZED, ModelSpec, Stage
from wav2edge.runtime.bundle.write import add_variants
from wav2edge.runtime.engines import EngineOptions, _openvino_unsigned
from wav2edge.runtime.engines._openvino_first import quantize_apart
from wav2edge.runtime.engines._openvino_lengths import FixedLengths
from wav2edge.runtime.engines.onnxruntime import Unpadded
from wav2edge.runtime.errors import EngineError
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.live.sample_buffer import SampleBuffer
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.live.utterance import Utterance
from wav2edge.runtime.model import Model

LENGTHS = (400, 719, 720, 15999, 16000, 40007, 112_345)
"""Samples: one frame, the last before two frames, two frames, about a second, two and a half seconds, seven seconds."""
VARIANTS = ("fp32", "fp16", "int8-u8s8", "int8-s8s8", "int8-dynamic")
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@pytest.fixture(scope="module")
def tiny_bundles(random_bundle: Callable[..., Bundle]) -> dict[str, Bundle]:
    """A small model of each norm with every variant."""
    return {norm: with_variants(random_bundle(norm, **TINY)) for norm in ("group", "layer")}


def with_variants(bundle: Bundle, names: Sequence[str] = VARIANTS[1:]) -> Bundle:
    """The bundle with the named variants, all layers quantised."""
    graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    sites = find_sites(graph)
    with staging(bundle) as folder:
        seen = observe(graph, observed(sites), [noise(32000)], folder)
        builder = VariantBuilder(bundle, graph, sites, seen, "min-max", folder)
        return add_variants(bundle, folder, [builder.build(name, frozenset()) for name in names])


def noise(samples: int) -> np.ndarray:
    """Sound [samples] whose loudness changes, and that is not centred."""
    values = np.random.default_rng(samples).normal(0, 0.1, samples) * np.linspace(0.2, 1, samples) + 0.05
    return values.astype(np.float32)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_equals_the_whole_graph(tiny_bundles: dict[str, Bundle], norm: str, variant: str, engine: str) -> None:
    pytest.importorskip(engine, reason=f"runs on {engine}")
    with Model(tiny_bundles[norm], engine, variant) as model:
        assert model.runs_in_tiles
        for samples in LENGTHS:
            clip = noise(samples)
            expected = whole_graph(model, clip)
            found = model.logits([clip])[0]
            assert found.shape == expected.shape == (model.spec.frames(samples), len(model.spec.labels))
            spread = float(np.std(expected))
            if variant in ("fp32", "fp16"):
                assert np.abs(found - expected).max() < (1e-3 if variant == "fp32" else 1e-2) * spread
            else:  # a rounding that falls to the other side is a step of the quantiser
                assert np.sqrt(np.mean((found - expected) ** 2)) < 0.05 * spread


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("variant", ["int8-u8s8", "int8-s8s8"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_the_pieces_of_live_captions_give_the_same_features(
    tiny_bundles: dict[str, Bundle], norm: str, variant: str, engine: str
) -> None:
    """Statistics of other stretches differed in the last bit, and one in 300 frames by a step of the quantiser."""
    pytest.importorskip(engine, reason=f"runs on {engine}")
    with Model(tiny_bundles[norm], engine, variant) as model:

        def run(stage: Stage, feeds: engines.Arrays) -> engines.Arrays:
            return model.session(stage).run(feeds)

        clip = loudness.measure([noise(112_345)]).normalized(noise(112_345))
        file, live = (tiling.features(run, model.spec, clip, longest) for longest in (None, tiling.LIVE_SECONDS))
        assert np.array_equal(file, live)


@pytest.mark.skipif(not _openvino_unsigned.helps(), reason="fixed lengths are for x86 with VNNI and without AMX")
@pytest.mark.parametrize("variant", ["int8-s8s8", "int8-s8s8-bf16"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_pieces_of_a_fixed_length_have_the_same_features(
    random_bundle: Callable[..., Bundle], norm: str, variant: str
) -> None:
    """A file's longest pieces run in sessions of their own, live captions' in the one for any length."""
    pytest.importorskip("openvino", reason="runs on OpenVINO")
    bundle = with_variants(random_bundle(norm, **{**TINY, "conv_dim": (512,) * 7}), (variant,))
    if reason := engines.refusal(bundle, "openvino", bundle.variant(variant)):
        pytest.skip(reason)
    with Model(bundle, "openvino", variant) as model:

        def run(stage: Stage, feeds: engines.Arrays) -> engines.Arrays:
            return model.session(stage).run(feeds)

        clip = loudness.measure([noise(112_345)]).normalized(noise(112_345))
        file, live = (tiling.features(run, model.spec, clip, longest) for longest in (None, tiling.LIVE_SECONDS))
        session = model.session(tiling.stages(model.spec)[-1])
        assert isinstance(session, FixedLengths)
        assert session.lengths == (32080, 80080)
        np.testing.assert_array_equal(file, live)
        assert file.std() > 0.1
    with pytest.raises(EngineError, match="closed"):
        session.run({NORMALIZED: np.zeros((1, 32080), np.float32), INPUT_LENGTHS: np.array([32080])})


def test_the_quantizer_after_the_first_product_is_kept_apart(tiny_bundles: dict[str, Bundle]) -> None:
    """With layer norm. The variant has its GELU written out, for engines without that operator."""
    openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')
    bundle = tiny_bundles["layer"]
    graph = bundle.graph(bundle.variant("int8-s8s8"), "frontend")
    assert quantize_apart(openvino.Core().read_model(graph)) == 1


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("variant", [variant.name for variant in Bundle.open(embedded.bundle_path()).variants])
def test_text_of_real_clips_is_that_of_the_whole_graph(
    clips: list[tuple[Path, str]], variant: str, engine: str
) -> None:
    """To the letter in float. In INT8 a sum in another order can round to the other side, whichever way it is cut.

    Each clip five times, without up to 0.4 s of its beginning: 1 400 letters, of which one in a hundred can be told.
    """
    pytest.importorskip(engine, reason=f"runs on {engine}")
    with Model(Bundle.open(embedded.bundle_path()), engine, variant) as model:
        assert model.runs_in_tiles
        expected, found = [], []
        for path, _ in clips:
            clip = read.load(path)
            for begin in range(0, 8000, 1600):
                expected.append(text(whole_graph(model, clip[begin:]), model.spec))
                found.append(text(model.logits([clip[begin:]])[0], model.spec))
    if variant == "fp32":
        assert found == expected
    edits = [scoring.character_edits(*pair) for pair in zip(expected, found)]
    assert sum(edit.errors for edit in edits) <= 0.01 * sum(map(len, expected))


def test_equals_the_whole_graph_of_a_head_with_steps_of_its_own(random_head: Callable[[str], Bundle]) -> None:
    """The time-delay layers of an x-vector were counted as front end, so its pieces overlapped by their frames."""
    with Model(random_head("ForXVector"), "onnxruntime", "fp32") as model:
        assert model.runs_in_tiles
        clip = noise(40007)
        feeds = engines.as_feeds(clip[None], np.array([len(clip)]))
        found = model.run("full", feeds)
        for name, expected in model.session().run(feeds).items():
            values = np.asarray(expected, np.float64)
            np.testing.assert_allclose(np.asarray(found[name], np.float64), values, atol=1e-4 * np.abs(values).max())


def whole_graph(model: Model, clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits of a clip by the graph that other clients run."""
    outputs = engines.outputs_alone(model.session("full"), model.spec, clip)
    return np.asarray(outputs["logits"], dtype=np.float32)


def text(logits: NDArray[np.float32], spec: ModelSpec) -> str:
    """What logits say."""
    return ctc.joined(ctc.Greedy()(logits, spec), spec)


def test_a_batch_of_clips_equals_each_alone(tiny_bundles: dict[str, Bundle]) -> None:
    with Model(tiny_bundles["group"], "onnxruntime", "fp32") as model:
        several = [noise(samples) for samples in LENGTHS]
        for clip, found in zip(several, model.logits(several)):
            assert np.allclose(found, model.logits([clip])[0], atol=1e-4)


def test_a_group_norm_bundle_without_the_stages_runs_whole(tiny_bundles: dict[str, Bundle]) -> None:
    """As bundles are that an earlier version made."""
    bundle = tiny_bundles["group"]
    variant = bundle.variant("fp32")
    kept: dict[Stage, str] = {
        stage: file for stage, file in variant.graphs.items() if stage in ("full", "frontend", "encoder")
    }
    old = dataclasses.replace(variant, graphs=kept)
    with Model(bundle, "onnxruntime", old) as model, Model(bundle, "onnxruntime", variant) as new:
        assert not model.runs_in_tiles
        assert new.runs_in_tiles
        assert np.allclose(model.logits([noise(40007)])[0], new.logits([noise(40007)])[0], atol=1e-4)


@pytest.mark.parametrize(("window", "longest", "pieces"), [(None, 5.0, 6), (2.5, 0.5, 60)])
def test_the_largest_tensor_has_the_length_of_a_piece(
    tiny_bundles: dict[str, Bundle], window: float | None, longest: float, pieces: int
) -> None:
    """30 s took the memory of 30 s in the front end; live captions have shorter pieces."""
    options = EngineOptions(window_seconds=window)
    with Model(tiny_bundles["group"], "onnxruntime", "fp32", options) as model:
        seen: dict[str, list[int]] = {"statistics": [], "tile": []}
        for stage in ("statistics", "tile"):
            session = model.session(stage)
            run, lengths = session.run, seen[stage]
            session.run = lambda feeds, run=run, to=lengths: (to.append(feeds["normalized"].shape[1]), run(feeds))[1]  # type: ignore
        model.logits([noise(30 * 16000)])
        assert len(seen["statistics"]) == 6 and len(seen["tile"]) == pieces
        assert max(seen["statistics"]) <= 5 * 16000 + 10 and max(seen["tile"]) <= longest * 16000 + 400


def test_onnx_runtime_reserves_no_block_for_each_length(tiny_bundles: dict[str, Bundle]) -> None:
    """The second run of a length took as much memory again: 804 MB at base shape, 451 without the plan."""
    with Model(tiny_bundles["group"], "onnxruntime", "fp32") as model:
        encoder = model.session("encoder")
        assert isinstance(encoder, Unpadded) and encoder.session.raw is not None
        assert encoder.session.raw.get_session_options().enable_mem_pattern is False


@pytest.mark.parametrize("variant", ["fp32", "int8-u8s8"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_live_captions_keep_features_with_either_norm(tiny_bundles: dict[str, Bundle], norm: str, variant: str) -> None:
    """With group norm every window was computed anew at every hop."""
    sound = noise(5 * 16000)
    model = Model(tiny_bundles[norm], "onnxruntime", variant, EngineOptions(threads=1))
    with LiveTranscriber(model) as live:
        assert live.settings.keep_features
        buffer = SampleBuffer()
        buffer.append(sound)
        utterance = Utterance(1, 0, live.spec, live.settings)
        computed = anew = 0
        for end in range(2 * 16000, len(sound) + 1, 8000):
            while (window := utterance.issue(buffer, end)).purpose == "features":
                utterance.keep(window, live.run(window))
                computed += (window.end - window.start) * (window.stage in ("tile", "frontend"))
            kept = np.asarray(window.feeds[FEATURES][0], np.float32)
            normalized = loudness.measure([sound[:end]]).normalized(sound[:end])
            whole = tiling.features(model.run, live.spec, normalized)
            error = np.sqrt(np.mean((kept - whole[-len(kept) :]) ** 2) / np.mean(whole**2))
            assert error <= (0.02 if not anew else 0.3), "exact at first, then near until what it is by has moved"
            assert live.run(window)["output_lengths"].tolist() == [len(kept)]
            anew += end
        assert computed < 0.8 * anew, "although the loudness of this sound never settles"

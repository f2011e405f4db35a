"""Features are padded to few lengths for engines that prepare themselves for each new length."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime import engines, lengths
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED
from wav2edge.runtime.engines import Arrays, EngineOptions
from wav2edge.runtime.errors import BundleError, EngineError, InputError
from wav2edge.runtime.model import Model


class Encoder:
    """An encoder that notes how long the features are that it is given."""

    inputs: tuple[str, ...] = (FEATURES, FEATURE_LENGTHS)
    outputs: tuple[str, ...] = ("logits", "output_lengths")

    def __init__(self) -> None:
        self.given: list[tuple[int, int]] = []

    def run(self, feeds: Arrays) -> Arrays:
        self.given.append((feeds[FEATURES].shape[1], int(feeds[FEATURE_LENGTHS].max())))
        return {}

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def bundle() -> Bundle:
    return Bundle.open(embedded.bundle_path())


def encode(bundle: Bundle, engine: str, frames: range) -> list[tuple[int, int]]:
    encoder = Encoder()
    with Model(bundle, engine, "fp32", sessions={"encoder": encoder}) as model:
        for count in frames:
            features = np.ones((2, count, 4), np.float32)
            model.run("encoder", {FEATURES: features, FEATURE_LENGTHS: np.array([count, 1], np.int64)})
    return encoder.given


@pytest.mark.parametrize(
    ("device", "tiles"), [(None, True), ("CPU", True), ("cpu", True), ("CPUExecutionProvider", True), ("GPU", False)]
)
def test_the_cpu_by_any_of_its_names_runs_pieces(device: str | None, tiles: bool, bundle: Bundle) -> None:
    """With ``--device cpu`` the whole graph was run: it took more memory, and INT8 gave other words than without."""
    with Model(bundle, "onnxruntime", "fp32", EngineOptions(device=device)) as model:
        assert model.runs_in_tiles is tiles


def test_openvino_is_given_few_lengths(bundle: Bundle) -> None:
    """It keeps what it prepared for each: memory grew with every new length of a clip, past 2 GB."""
    given = encode(bundle, "openvino", range(1, 1500))
    assert len({length for length, _ in given}) == 32
    assert [valid for _, valid in given] == list(range(1, 1500))
    assert all(0 <= length - valid < (32 if length <= 512 else 64) for length, valid in given)


def test_lengths_are_those_that_processors_multiply_fast() -> None:
    """Multiples of 16: with those of half a second (25 frames) a run took up to a tenth longer, padded with less."""
    assert {lengths.rounded(frames) % 16 for frames in range(1, 5000)} == {0}
    assert lengths.rounded(1499) == 1504, "a window of 30 s, the most frequent one of long recordings"
    assert lengths.rounded(1505) == 1536
    assert all(lengths.rounded(frames) <= lengths.rounded(frames + 1) for frames in range(1, 5000))


def test_onnx_runtime_is_given_features_as_they_are(bundle: Bundle) -> None:
    assert encode(bundle, "onnxruntime", range(1, 40)) == [(count, count) for count in range(1, 40)]


def test_clips_reach_the_encoder_in_one_of_few_lengths(bundle: Bundle) -> None:
    with Model(bundle, "openvino", "fp32") as model:
        session = model.session("encoder")
        given = []
        run = session.run
        session.run = lambda feeds: (given.append(feeds[FEATURES].shape[1]), run(feeds))[1]  # type: ignore
        outputs = model.logits([np.zeros(samples, np.float32) for samples in (20_000, 84_000)])
    assert given == [288]
    assert [len(rows) for rows in outputs] == [model.spec.frames(20_000), model.spec.frames(84_000)]


def test_a_graph_that_masks_nothing_is_given_features_as_they_are(bundle: Bundle) -> None:
    one = dataclasses.replace(bundle, spec=dataclasses.replace(bundle.spec, max_batch=1))
    assert encode(one, "openvino", range(7, 9)) == [(7, 7), (8, 8)]


def padded_and_alone(bundle: Bundle, variant: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits of noise: the model pads its features to 288 frames, the session itself is given them as they are."""
    clip = np.random.default_rng(0).normal(0, 0.1, 84000).astype(np.float32)
    with Model(bundle, "openvino", variant) as model:
        features = model.run("frontend", {"normalized": clip[None], "input_lengths": np.array([len(clip)])})
        feeds = {name: features[name] for name in (FEATURES, FEATURE_LENGTHS)}
        alone = np.asarray(model.session("encoder").run(feeds)["logits"][0], np.float64)
        padded = np.asarray(model.run("encoder", feeds)["logits"][0], np.float64)
    assert len(alone) < len(padded) == 288
    return padded[: len(alone)], alone


class Loudest:
    """A graph whose logits depend on the loudest sample of a batch, as those of dynamic quantisation do."""

    inputs: tuple[str, ...] = ("input_values", INPUT_LENGTHS)
    outputs: tuple[str, ...] = ("logits", "output_lengths")

    def __init__(self, bundle: Bundle) -> None:
        self._spec = bundle.spec

    def run(self, feeds: Arrays) -> Arrays:
        values = feeds["input_values"]
        counts = np.array([self._spec.frames(int(length)) for length in feeds[INPUT_LENGTHS]])
        shape = len(values), self._spec.frames(values.shape[1]), len(self._spec.labels)
        return {"logits": np.full(shape, np.abs(values).max(), np.float32), "output_lengths": counts}

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("scheme", ["dynamic", "u8s8"])
def test_a_batch_changes_nothing_where_its_largest_value_scales_all_of_it(bundle: Bundle, scheme: str) -> None:
    """`transcribe --batch 8` gave other words with int8-dynamic: a click in one chunk made the others coarse."""
    variant = dataclasses.replace(bundle.variant("fp32"), scheme=scheme)
    clips = [np.full(16000, 0.25, np.float32), np.full(16000, 0.5, np.float32), np.ones(10, np.float32)]
    with Model(bundle, "onnxruntime", variant, sessions={"full": Loudest(bundle)}) as model:
        first, second, short = model.logits(clips)
    assert (first.max(), second.max(), len(short)) == ((0.25, 0.5, 0) if scheme == "dynamic" else (1, 1, 0))


def test_normalised_clips_run_one_by_one_where_a_batch_would_change_them(bundle: Bundle) -> None:
    variant = dataclasses.replace(bundle.variant("fp32"), scheme="dynamic")
    clips = [np.random.default_rng(seed).normal(0, 1, 16000).astype(np.float32) for seed in range(3)]
    sizes: list[int] = []
    with Model(bundle, "onnxruntime", variant) as model:
        session = model.session("encoder")
        run = session.run
        session.run = lambda feeds: (sizes.append(len(feeds[FEATURES])), run(feeds))[1]  # type: ignore
        together = model.outputs_of_normalized(clips)
        alone = [model.outputs_of_normalized([clip])[0] for clip in clips]
    assert sizes == [1] * 6
    assert all(np.array_equal(a["logits"], b["logits"]) for a, b in zip(together, alone))


def test_padded_features_change_nothing(bundle: Bundle) -> None:
    """In INT8 a value may be rounded to the next step: a small part of what INT8 itself changes."""
    pytest.importorskip("openvino", reason="runs on openvino")
    padded, exact = padded_and_alone(bundle, "fp32")
    assert np.abs(padded - exact).max() < 1e-3
    padded, alone = padded_and_alone(bundle, "int8-s8s8")
    assert np.square(padded - alone).mean() ** 0.5 < 0.25 * np.square(alone - exact).mean() ** 0.5
    assert (padded.argmax(1) == alone.argmax(1)).all()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_clips_that_are_too_short_are_refused_by_their_length(bundle: Bundle, engine: str) -> None:
    """OpenVINO gave no row at all for such a clip, or none of its frames, and ONNX Runtime named a shape."""
    with Model(bundle, engine, "fp32") as model:
        shortest = model.spec.min_samples
        needs = rf"{shortest - 1} samples.* needs at least {shortest}$"
        short, clip = np.zeros(shortest - 1, np.float32), np.zeros(16000, np.float32)
        for run in (model.outputs, model.outputs_of_normalized, model.logits):
            with pytest.raises(EngineError, match=needs):
                run([short])
        with pytest.raises(EngineError, match=needs):
            model.outputs_of_normalized([clip, short])
        with pytest.raises(EngineError, match="no clips to run"):
            model.logits([])
        with pytest.raises(EngineError, match=f"{shortest - 1} samples give no frame"):
            lengths = np.array([16000, shortest - 1], np.int64)
            model.run("frontend", {NORMALIZED: np.zeros((2, 16000), np.float32), INPUT_LENGTHS: lengths})
        assert len(model.logits([short + 0.1, clip])[1]) == model.spec.frames(16000)
        assert len(model.logits([np.zeros(shortest, np.float32)])[0]) == 1


def test_options_that_an_engine_does_not_read_load_nothing_again(bundle: Bundle) -> None:
    """A server had every model on OpenVINO twice: the options of live windows, which only GPUs read, made another."""
    plain, live = EngineOptions(threads=1), EngineOptions(threads=1, window_seconds=5.0, longest_seconds=20.0)
    with Model(bundle, "openvino", "fp32", plain) as model:
        assert model.session("encoder") is model.session("encoder", live)
        assert model.session("encoder") is not model.session("encoder", EngineOptions(threads=2))
    assert engines.read_of("tensorrt", live) == live


def test_a_model_is_copied_and_pickled_by_opening_its_bundle_again(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joblib, Ray and multiprocessing ended in ONNX Runtime's error about its session."""
    shutil.copytree(bundle.path, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    options = EngineOptions(threads=1, keep_memory=False)
    with Model(Bundle.open("mine"), "onnxruntime", "fp32", options, reason="measured") as model:
        model.session()
        clip = np.sin(np.arange(8000, dtype=np.float32))
        expected, sent = model.logits([clip])[0], pickle.dumps(model)
        monkeypatch.chdir(tmp_path.parent)
        with pickle.loads(sent) as other:
            assert (other.engine, other.variant, other.options) == ("onnxruntime", model.variant, options)
            assert (other.reason, other.bundle.path) == ("measured", tmp_path / "mine")
            np.testing.assert_array_equal(other.logits([clip])[0], expected)
    document = tmp_path / "mine/bundle.json"
    digest = model.variant.sha256["fp32.onnx"]
    document.write_text(document.read_text("utf-8").replace(digest, "0" * 64), "utf-8")
    with pytest.raises(BundleError, match="this is not the bundle that the model was opened from; open the model"):
        pickle.loads(sent)
    with pytest.raises(EngineError, match="the model is closed; open it again"):
        copy.copy(model)


def test_stages_are_loaded_wherever_the_process_has_moved(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle of a relative path was missing for each stage that was loaded after a change of the directory."""
    shutil.copytree(bundle.path, tmp_path / "here/mine")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with Model(Bundle.open("mine"), "onnxruntime", "fp32", EngineOptions(threads=1)) as model:
        assert model.bundle.graph(model.variant, "full") == Path("mine/fp32.onnx")
        monkeypatch.chdir(tmp_path / "there")
        model.session("encoder")
        model.bundle.file("vocab.json")
        assert model.bundle.path == Path("mine")
        with pickle.loads(pickle.dumps(model)) as other:
            assert other.bundle.path == tmp_path / "here/mine"
        monkeypatch.chdir(tmp_path / "here")
        (tmp_path / "here").rename(tmp_path / "renamed")
        model.session("frontend")


def test_a_model_with_given_sessions_is_not_pickled(bundle: Bundle) -> None:
    model = Model(bundle, "onnxruntime", "fp32", sessions={"encoder": Encoder()})
    with pytest.raises(InputError, match="sessions that were given cannot be copied or pickled; make it where"):
        pickle.dumps(model)

"""From a bundle and speech to variants that keep their words: the whole way, on the embedded model."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from wav2edge.calibration import report
from wav2edge.calibration.build import DEFAULT, VariantBuilder, planned
from wav2edge.calibration.gate import Budget, Verdict
from wav2edge.calibration.quantize import Calibration, Options, _refusal, quantize
from wav2edge.calibration.sites import module_path
from wav2edge.cli import main
from wav2edge.devices.cpu import detect
from wav2edge.devices.open import open_model
from wav2edge.devices.tree import Tree
from wav2edge.graphs.graph import Graph
from wav2edge.graphs.storage import save_model
from wav2edge.measure.scoring import score
from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import MANIFEST, Bundle, Variant, variant_to_json
from wav2edge.runtime.bundle.spec import Stage
from wav2edge.runtime.bundle.write import describe_variant
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.errors import BundleError, InputError
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.transcriber import Transcriber

BUILT_IN_DEV = embedded.clips_manifest()
ONE = Options(variants=("int8-u8s8",), timed_seconds=2.0, threads=1)
"""Speed is not what these tests are about: a busy machine must not refuse a variant."""


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in clips under other paths: what calibrates may not judge, and six clips are too few to part."""
    folder = tmp_path_factory.mktemp("twin") / "clips"
    shutil.copytree(BUILT_IN_DEV.parent, folder)
    return folder / BUILT_IN_DEV.name


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variant is fast enough; test_judge.py tests the timer."""
    monkeypatch.setattr("wav2edge.calibration.judge.Judge.latency_ratio", lambda *_: (0.5, 1.0))


@pytest.fixture
def plant(fp32_bundle: Bundle, tmp_path: Path) -> Callable[[str], Bundle]:
    """Rescale a linear layer so that outliers appear in its input and nothing changes in what it computes.

    Some channels of the LayerNormalization before it times 3000, the rows of the linear layer that reads them divided
    by 3000: the same function, and one scale for all channels can no longer hold the others.
    """

    def make(layer: str) -> Bundle:
        path = tmp_path / "outliers"
        shutil.copytree(fp32_bundle.path, path)
        bundle = Bundle.open(path)
        variant = bundle.variant("fp32")
        graph = Graph.load(bundle.graph(variant, "full"))
        dense = next(node for node in graph.nodes if node.op_type == "MatMul" and module_path(node.name) == layer)
        norm = graph.producer[dense.input[0]]
        assert norm.op_type == "LayerNormalization" and len(graph.readers(norm.output[0])) == 1
        factor = np.ones(len(graph.weights[norm.input[1]]), np.float32)
        factor[5::48] = 3000.0
        graph.weights[norm.input[1]] = graph.floats(norm.input[1]) * factor
        graph.weights[norm.input[2]] = graph.floats(norm.input[2]) * factor
        graph.weights[dense.input[1]] = graph.floats(dense.input[1]) / factor[:, None]
        save_model(graph.to_model(), path / variant.graphs["full"], variant.data[0])
        new = describe_variant(path, "fp32", "fp32", {"full": variant.graphs["full"]}, data=variant.data)
        values = json.loads((path / MANIFEST).read_text("utf-8"))
        values["variants"] = [variant_to_json(new)]
        (path / MANIFEST).write_text(json.dumps(values), "utf-8")
        return Bundle.open(path)

    return make


@pytest.fixture
def words(fp32_bundle: Bundle, tmp_path: Path) -> Path:
    """The built-in clips with their transcripts.

    A model that gets most of them wrong has nothing left to lose: for such a model fp32's own texts take the place of
    the transcripts, and every word that INT8 changes is a word lost.
    """
    rows = [json.loads(line) for line in BUILT_IN_DEV.read_text("utf-8").splitlines()]
    recognised = texts(fp32_bundle, "fp32")
    if score([row["text"] for row in rows], recognised).wer.value <= 0.5:
        return BUILT_IN_DEV
    lines = [
        json.dumps({"path": str(BUILT_IN_DEV.parent / row["path"]), "text": text})
        for row, text in zip(rows, recognised)
        if text
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(lines), "utf-8")
    return tmp_path / "own.jsonl"


def texts(bundle: Bundle, variant: str, engine: str = "onnxruntime") -> list[str]:
    rows = [json.loads(line) for line in BUILT_IN_DEV.read_text("utf-8").splitlines()]
    with Transcriber(open_model(bundle, engine, variant)) as transcriber:
        return [transcriber(BUILT_IN_DEV.parent / row["path"]).text for row in rows]


def rise(made: Calibration) -> float:
    return 100 * made.outcomes[0].measured.change.value


def same_labels(made: Calibration) -> float:
    """The share of frames whose best label is fp32's."""
    return made.outcomes[0].measured.likeness


NAIVE = dataclasses.replace(ONE, smooth=False, searching=False, limit=3, longest=6.0)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sensitivities on 6 s of speech: what was planted stands out on any."""
    monkeypatch.setattr("wav2edge.calibration.sensitivity.SECONDS", 6.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("brief")
def test_everything_int8_keeps_the_labels_where_nothing_is_planted(own_bundle: Bundle, words: Path, twin: Path) -> None:
    """The control of the next test: what is lost there comes from what is planted.

    Frames are counted: the clips have 61 words, and the few labels that INT8 changes can be in three or five of them.
    """
    made = quantize(own_bundle, twin, words, dataclasses.replace(NAIVE, force=True))
    assert same_labels(made) >= 0.95


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("layer", ["feature_projection.projection", "head.lm_head"])
def test_planted_outliers_break_int8_and_the_search_finds_them(
    plant: Callable[[str], Bundle], fp32_bundle: Bundle, words: Path, layer: str, twin: Path
) -> None:
    """The gate earns its place: the same function in fp32, useless in INT8, brought back by one layer in float."""
    bundle = plant(layer)
    assert texts(bundle, "fp32") == texts(fp32_bundle, "fp32")
    naive = quantize(bundle, twin, words, NAIVE)
    assert rise(naive) >= 30 and same_labels(naive) <= 0.8 and naive.refused is not None
    assert {variant.name for variant in Bundle.open(bundle.path).variants} == {"fp32"}
    found = quantize(bundle, twin, words, dataclasses.replace(NAIVE, searching=True))
    assert found.refused is None and rise(found) <= 0.5
    assert layer in found.outcomes[0].kept_float
    assert found.sensitivities["u8s8"][0].layer == layer, "the sensitivities name the layer that was spoiled"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("brief")
def test_folding_repairs_planted_outliers_without_float(
    plant: Callable[[str], Bundle], words: Path, twin: Path
) -> None:
    layer = "head.lm_head"
    made = quantize(plant(layer), twin, words, dataclasses.replace(NAIVE, smooth=True, searching=True))
    assert made.refused is None and rise(made) <= 0.5
    alone = {found.layer: found.sqnr_db for found in made.sensitivities["u8s8"]}
    assert alone[layer] > min(alone.values()) + 10, "it is no longer the layer that spoils the words"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_variant_is_made_recorded_and_runs(
    own_bundle: Bundle, capsys: pytest.CaptureFixture[str], twin: Path
) -> None:
    place = own_bundle.path.parent / "report.html"
    arguments = ["--dev", str(BUILT_IN_DEV), "--report", str(place)]
    assert main(["quantize", str(own_bundle.path), "--speech", str(twin), *arguments]) == 0
    said = capsys.readouterr().out
    bundle = Bundle.open(own_bundle.path)
    assert [v.name for v in bundle.variants] == ["fp32", "int8-u8s8", "int8-s8s8", "int8-u7s8", "int8-dynamic", "fp16"]
    record = json.loads(bundle.file("calibration.json").read_text("utf-8"))
    page = place.read_text("utf-8")
    assert page.count("<svg") >= 3 and "src=" not in page and "href=" not in page, "the report needs nothing else"
    clips = np.random.default_rng(0).normal(0, 0.05, 16000).astype(np.float32)
    for variant in bundle.variants[1:]:
        bundle.verify(variant)
        assert set(variant.graphs) == {"full", "frontend", "encoder"}
        rise, agreement = variant.metrics["wer_rise"], variant.metrics["token_agreement"]
        assert variant.metrics["verdict"].startswith("kept") and rise is not None and rise <= 0.5
        assert agreement is not None and agreement >= 98
        assert record["variants"][variant.name]["judged_on"]["clips"] == 6
        assert record["variants"][variant.name]["tools"]["onnxruntime"]
        assert f"{variant.name}: kept" in said and variant.name in page
        # The stages cut from it give what the whole gives.
        normalized = (clips - clips.mean()) / np.sqrt(clips.var() + 1e-7) if bundle.spec.normalize else clips
        front, encoder, full = (
            engines.load(bundle, variant, "onnxruntime", stage, EngineOptions())
            for stage in ("frontend", "encoder", "full")
        )
        lengths = np.array([len(clips)], dtype=np.int64)
        features = front.run({"normalized": normalized[None], "input_lengths": lengths})
        cut = encoder.run({name: features[name] for name in encoder.inputs})["logits"].astype(np.float32)
        whole = full.run(engines.as_feeds(clips[None], lengths))["logits"].astype(np.float32)
        assert np.abs(cut - whole).max() <= 0.05 * np.abs(whole).max()
    assert len(record["variants"]["int8-u8s8"]["sensitivities"]["u8s8"]) > 10


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_same_clips_same_bytes(fp32_bundle: Bundle, tmp_path: Path, twin: Path) -> None:
    digests = []
    for run in ("first", "second"):
        shutil.copytree(fp32_bundle.path, tmp_path / run)
        options = dataclasses.replace(ONE, searching=False, force=True)
        made = quantize(Bundle.open(tmp_path / run), twin, BUILT_IN_DEV, options)
        digests.append(made.bundle.variant("int8-u8s8").sha256)
    assert digests[0] == digests[1]


def test_refusal_is_exit_1_and_force_marks(own_bundle: Bundle, capsys: pytest.CaptureFixture[str], twin: Path) -> None:
    (own_bundle.path / "model.sig").write_text("{}")
    before = {path.name: path.read_bytes() for path in own_bundle.path.iterdir()}
    arguments = ["quantize", str(own_bundle.path), "--variants", "int4", "--no-search", "--no-smooth"]
    arguments += ["--min-token-agreement", "100", "--speech", str(twin), "--dev", str(BUILT_IN_DEV)]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "int4: refused, too many" in said and "signature" not in said
    assert {path.name: path.read_bytes() for path in own_bundle.path.iterdir()} == before
    assert main([*arguments, "--force"]) == 0
    assert "its signature no longer holds; sign it again" in capsys.readouterr().err
    variant = Bundle.open(own_bundle.path).variant("int4")
    assert variant.metrics["forced"] is True and "by force" in variant.metrics["verdict"]


def test_the_figures_are_those_of_this_run(own_bundle: Bundle, capsys: pytest.CaptureFixture[str], twin: Path) -> None:
    """A variant that was refused had the figures of the run before as "kept"; the first time it was missing."""
    arguments = ["quantize", str(own_bundle.path), "--no-search", "--no-smooth", "--limit", "1", "--dev-limit", "3"]
    arguments += ["--speech", str(twin), "--dev", str(BUILT_IN_DEV), "--json"]
    named, impossible = ["--variant", "int4,fp16"], ["--min-token-agreement", "100"]

    def figures(*more: str, code: int) -> dict[str, tuple[bool, str]]:
        assert main([*arguments, *more]) == code
        printed = json.loads(capsys.readouterr().out)
        beside = own_bundle.path.with_name(f"{own_bundle.path.name}.quantization") / "quantize.json"
        assert printed == json.loads(beside.read_text("utf-8"))
        assert (printed["refused"] is None) == (code == 0)
        return {name: (entry["kept"], entry["verdict"]) for name, entry in printed["variants"].items()}

    first = figures(*named, *impossible, code=1)
    assert list(first) == ["int4", "fp16"] and not first["int4"][0]
    assert first["int4"][1].startswith("refused, too many")
    assert figures(*named, "--force", code=0)["int4"][0]
    second = figures("--variant", "int4", *impossible, code=1)
    assert second == {"int4": first["int4"]}
    recorded = json.loads(Bundle.open(own_bundle.path).file("calibration.json").read_text("utf-8"))
    assert list(recorded["variants"]) == ["int4", "fp16"] and "kept" not in recorded["variants"]["int4"]


def test_variants_that_are_named_like_the_default_are_named() -> None:
    """One of them that was refused was left out in silence, with the exit code of success."""
    outcomes = [
        SimpleNamespace(variant=planned(name), verdict=Verdict(name != "fp16", "refused, not faster"))
        for name in DEFAULT
    ]
    assert _refusal(outcomes, Options(variants=DEFAULT)) == "fp16: refused, not faster"  # type: ignore[arg-type]
    assert _refusal(outcomes, Options()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(variants=()), "variants: none is named"),
        (Options(timed_seconds=0.0), "timed_seconds 0: give seconds"),
        (Options(timed_seconds=float("nan")), "timed_seconds nan: give seconds"),
        (Options(timed_seconds=float("inf")), "timed_seconds inf: give seconds"),
    ],
)
def test_options_that_cannot_be_used_are_refused_at_once(options: Options, message: str) -> None:
    """The time of a clip without length failed at the end of the run; no variants at all did nothing."""
    with pytest.raises(InputError, match=message):
        options.check()


def test_keep_float_is_kept_and_named_and_nothing_is_measured_for_no_search(
    own_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, twin: Path
) -> None:
    """Without a search a variant is built once and no layer is tried alone, most of the time at base shape before."""
    built: list[str] = []
    build = VariantBuilder.build

    def counted(shop: VariantBuilder, name: str, keep_float: frozenset[str], stages: bool = True) -> Variant:
        built.append(name)
        return build(shop, name, keep_float, stages)

    monkeypatch.setattr(VariantBuilder, "build", counted)
    options = dataclasses.replace(
        ONE, searching=False, force=True, keep_float=("feature_extractor.conv_layers.[1-3]", "lm_head")
    )
    made = quantize(own_bundle, twin, BUILT_IN_DEV, options)
    assert built == ["int8-u8s8"] and made.sensitivities == {} and "Not measured" in report.page(made)
    assert set(made.bundle.variant("int8-u8s8").graphs) == {"full", "frontend", "encoder"}
    layers = {f"feature_extractor.conv_layers.{index}" for index in (1, 2, 3)}
    kept = made.outcomes[0].kept_float
    assert layers < set(kept) and len(kept) == 4 and set(kept.values()) == {"keep_float"}
    graph = Graph.load(made.bundle.graph(made.bundle.variant("int8-u8s8"), "full"))
    for node in graph.nodes:
        if node.op_type == "Conv":
            source = graph.producer.get(node.input[1])
            quantized = source is not None and source.op_type == "DequantizeLinear"
            assert quantized is not any(f"conv_layers.{index}/" in node.name for index in (1, 2, 3)), node.name


S8S8 = dataclasses.replace(
    ONE,
    variants=("int8-s8s8",),
    searching=False,
    smooth=False,
    limit=1,
    longest=3.0,
    budget=Budget(100.0, 0.0),
)
"""One variant that is made for OpenVINO and TensorRT, whatever it loses."""


def test_speed_is_not_judged_on_an_engine_that_it_is_not_made_for(
    own_bundle: Bundle, twin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's install has ONNX Runtime alone, where int8-s8s8 is slower than fp32: it is for OpenVINO."""
    for name in planned("int8-s8s8").preferred_by:
        monkeypatch.setattr(engines.get(name), "unavailable", lambda: "not here")
    monkeypatch.setattr("wav2edge.calibration.judge.Judge.latency_ratio", lambda *_: pytest.fail("it was timed"))
    made = quantize(own_bundle, twin, BUILT_IN_DEV, S8S8)
    assert made.refused is None and made.outcomes[0].measured.engine == "onnxruntime"
    variant = made.bundle.variant("int8-s8s8")
    assert "speed not judged here, it is made for openvino" in variant.metrics["verdict"]
    assert variant.metrics["latency_ratio"] is None and "latency_engine" not in variant.metrics
    assert set(variant.graphs) == {"full", "frontend", "encoder"}
    assert "not timed here" in report.page(made)
    main(["inspect", str(own_bundle.path)])
    assert "None" not in capsys.readouterr().out


def test_a_variant_that_is_not_faster_where_it_is_made_for_is_refused(
    own_bundle: Bundle, twin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    monkeypatch.setattr("wav2edge.calibration.judge.Judge.latency_ratio", lambda *_: (1.4, 9.0))
    made = quantize(own_bundle, twin, BUILT_IN_DEV, S8S8)
    assert made.outcomes[0].measured.engine == "openvino"
    assert made.refused is not None and "not faster: 1.40 of fp32's time on openvino" in made.refused
    assert [variant.name for variant in Bundle.open(own_bundle.path).variants] == ["fp32"]


def test_local_attention_is_a_variant_of_its_own(own_bundle: Bundle, twin: Path, speech: list[np.ndarray]) -> None:
    """Windows of one block are computed as before, longer ones otherwise, in every stage and on every engine."""
    names = ("int8-u8s8", "int8-s8s8")
    for local in (None, 1.6):
        options = dataclasses.replace(S8S8, variants=names, local_attention=local)
        assert quantize(own_bundle, twin, BUILT_IN_DEV, options).refused is None
    bundle = Bundle.open(own_bundle.path)
    assert [v.name for v in bundle.variants[1:]] == [*names, "int8-u8s8-local", "int8-s8s8-local"]
    record = json.loads(bundle.file("calibration.json").read_text("utf-8"))["variants"]
    assert record["int8-u8s8-local"]["local_attention"] == 1.6 and record["int8-u8s8"]["local_attention"] is None
    spoken = np.concatenate(speech)
    for engine, name in (("onnxruntime", "int8-u8s8"), ("openvino", "int8-s8s8")):
        if engines.missing(engine):
            continue
        with Model(bundle, engine, name) as full, Model(bundle, engine, f"{name}-local") as part:
            for clip, same in ((spoken[:16000], True), (spoken, False)):
                one, other = full.logits([clip])[0], part.logits([clip])[0]
                assert one.shape == other.shape
                assert (np.abs(one - other).max() < 0.05 * np.abs(one).max()) == same


@pytest.mark.skipif("avx512-bf16" not in detect(Tree()).features, reason="this CPU computes no bfloat16")
def test_int8_with_the_rest_in_bfloat16_is_judged_on_openvino(own_bundle: Bundle, twin: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    options = dataclasses.replace(S8S8, variants=("int8-s8s8-bf16",))
    made = quantize(own_bundle, twin, BUILT_IN_DEV, options)
    assert made.refused is None and made.outcomes[0].measured.engine == "openvino"
    variant = made.bundle.variant("int8-s8s8-bf16")
    assert variant.precision == "int8" and variant.bfloat16 and variant.preferred_by == ("openvino",)


def test_local_attention_is_not_judged_on_recordings_of_a_few_blocks(own_bundle: Bundle) -> None:
    """Up to one block the numbers are those of full attention, so no loss would show."""
    options = dataclasses.replace(S8S8, local_attention=7.0)
    with pytest.raises(InputError, match="is in recordings longer than 21 s"):
        quantize(own_bundle, BUILT_IN_DEV, None, options)


def test_a_variant_that_is_named_twice_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match="one is named twice"):
        dataclasses.replace(S8S8, variants=("int8-dynamic", "int8-dynamic")).check()


def test_a_graph_that_cannot_be_cut_stays_whole(
    own_bundle: Bundle, twin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an imported graph with an attention mask; where fp32 has stages it is an error."""

    def refuse(*_: object) -> dict[Stage, str]:
        raise BundleError("the graph has no value 'features'")

    monkeypatch.setattr("wav2edge.calibration.build.split_stages", refuse)
    with pytest.raises(BundleError, match="no value 'features'"):
        quantize(own_bundle, twin, BUILT_IN_DEV, S8S8)
    document = json.loads((own_bundle.path / "bundle.json").read_text("utf-8"))
    [fp32] = document["variants"]
    fp32["graphs"] = {"full": fp32["graphs"]["full"]}
    (own_bundle.path / "bundle.json").write_text(json.dumps(document), "utf-8")
    made = quantize(Bundle.open(own_bundle.path), twin, BUILT_IN_DEV, S8S8)
    assert made.refused is None and set(made.bundle.variant("int8-s8s8").graphs) == {"full"}


def test_local_attention_and_compression_are_not_combined() -> None:
    with pytest.raises(InputError, match="one at a time"):
        dataclasses.replace(S8S8, local_attention=3.0, compress=True).check()


def test_the_plan_comes_first_and_every_long_step_reports(own_bundle: Bundle, twin: Path) -> None:
    """Judging half of a large manifest took hours without a word in a pipe."""
    events: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        events.append(f"{stage} {done}/{total}")

    options = dataclasses.replace(S8S8, dev_limit=2)
    quantize(own_bundle, twin, BUILT_IN_DEV, options, progress, lambda _: None, events.append)
    assert re.fullmatch(r"calibrating on 1, judging on 2 of 12 recordings \(about \d+ s\)", events[0])
    for stage in ("fp32: transcribing the clips that judge", "int8-s8s8: candidate 1, 0 layers in float"):
        assert [event for event in events if event.startswith(stage)][-3:] == [f"{stage} {n}/2" for n in range(3)]


@pytest.mark.parametrize("at", ["fp32: transcribing", "calibrating", "int8-s8s8: candidate"])
def test_an_interrupted_run_leaves_the_bundle_as_it_was(own_bundle: Bundle, twin: Path, at: str) -> None:
    before = {path.name: path.read_bytes() for path in own_bundle.path.iterdir()}
    beside = sorted(own_bundle.path.parent.iterdir())

    def progress(stage: str, done: int, total: int) -> None:
        if stage.startswith(at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(own_bundle, twin, BUILT_IN_DEV, S8S8, progress)
    assert {path.name: path.read_bytes() for path in own_bundle.path.iterdir()} == before
    assert sorted(own_bundle.path.parent.iterdir()) == beside


def test_two_runs_at_once_keep_each_others_variants_and_records(own_bundle: Bundle, twin: Path) -> None:
    options = dataclasses.replace(ONE, variants=("int4",), searching=False, smooth=False, force=True)
    other = dataclasses.replace(options, variants=("int8-dynamic",))

    def meanwhile(_: object) -> None:
        assert quantize(own_bundle, twin, BUILT_IN_DEV, other).refused is None

    made = quantize(own_bundle, twin, BUILT_IN_DEV, options, report=meanwhile)
    assert [variant.name for variant in made.bundle.variants] == ["fp32", "int8-dynamic", "int4"]
    record = json.loads(made.bundle.file("calibration.json").read_text("utf-8"))
    assert sorted(record["variants"]) == ["int4", "int8-dynamic"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_second_run_replaces_a_variant_and_keeps_the_others(own_bundle: Bundle, twin: Path) -> None:
    forced = dataclasses.replace(ONE, searching=False, force=True, budget=Budget(50.0, 0.0))
    first = quantize(own_bundle, twin, BUILT_IN_DEV, forced)
    both = quantize(first.bundle, twin, BUILT_IN_DEV, dataclasses.replace(forced, variants=("fp16",)))
    again = quantize(both.bundle, twin, BUILT_IN_DEV, forced)
    assert sorted(variant.name for variant in again.bundle.variants) == ["fp16", "fp32", "int8-u8s8"]
    record = json.loads(again.bundle.file("calibration.json").read_text("utf-8"))
    assert sorted(record["variants"]) == ["fp16", "int8-u8s8"]
    again.bundle.verify(again.bundle.variant("int8-u8s8"))

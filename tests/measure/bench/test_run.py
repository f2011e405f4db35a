"""The benchmark measures what it says: real processes, the null engine, real clips."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.measure import manifest
from wav2edge.measure.bench import audio, document, page, run, table, tuning
from wav2edge.measure.bench import plan as bench_plan
from wav2edge.measure.bench.figures import WordFigure, measured, of_plan
from wav2edge.measure.bench.plan import BenchPlan, Configuration
from wav2edge.measure.bench.report import Skipped
from wav2edge.measure.bench.usable import UsableRows
from wav2edge.measure.bench.verdicts import verdicts
from wav2edge.measure.bench.worker import Worker
from wav2edge.runtime.audio.parts import RecordingPart
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import Convolution, ModelSpec, Output
from wav2edge.runtime.bundle.write import describe_variant, new_bundle, write_manifest
from wav2edge.runtime.errors import AudioError, BundleError, EngineError, GateRefused, InputError
from wav2edge.runtime.heads import sequence_classification, xvector


def configuration(bundle: Bundle, engine: str = "null", **values: object) -> Configuration:
    return Configuration(bundle.path, engine, "fp32", 1, precision="fp32", file_bytes=800, **values)  # type: ignore[arg-type]


def test_measures_every_configuration_at_every_length(shapes_bundle: Bundle) -> None:
    seen: list[float] = []
    plan = BenchPlan((configuration(shapes_bundle),), lengths=(0.5, 1.0), runs=12, limit=5.0)
    report = run.measure(plan, lambda share, text: seen.append(share))
    (found,) = report.results
    assert [timing.seconds for timing in found.timings] == [0.5, 1.0]
    for timing in found.timings:
        assert len(timing.times) == 12
        assert 0 < timing.percentile(50) <= timing.percentile(95) <= timing.percentile(99)
        assert timing.first > 0
    assert found.load > 0
    assert found.memory is not None and found.memory > 10e6
    assert report.baseline == "null/fp32"
    assert report.settings["threads"] == [1]
    assert report.machine["cpu"]["name"]
    assert report.versions["numpy"] == np.__version__
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_slow_configuration_stops_at_the_limit(shapes_bundle: Bundle) -> None:
    report = run.measure(BenchPlan((configuration(shapes_bundle),), lengths=(1.0,), runs=10**9, limit=0.05))
    times = report.results[0].timings[0].times
    assert sum(times) >= 0.05
    assert sum(times[:-1]) < 0.05 + 0.25


def test_a_configuration_that_cannot_load_is_skipped_with_its_reason(shapes_bundle: Bundle) -> None:
    broken = configuration(shapes_bundle, "onnxruntime")
    report = run.measure(BenchPlan((configuration(shapes_bundle), broken), lengths=(0.5,), runs=2, limit=1.0))
    assert [found.engine for found in report.results] == ["null"]
    assert report.skipped[0].name == "onnxruntime/fp32"
    assert "cannot load fp32.onnx" in report.skipped[0].reason


def test_nothing_measured_is_an_error_that_says_why(shapes_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"nothing could be measured: onnxruntime/fp32: .*cannot load"):
        run.measure(BenchPlan((configuration(shapes_bundle, "onnxruntime"),), lengths=(0.5,), runs=2, limit=1.0))


def test_words_are_counted_over_the_manifest(shapes_bundle: Bundle) -> None:
    """The null engine recognises nothing, so that every word of every clip is an error."""
    plan = BenchPlan(
        (configuration(shapes_bundle),), lengths=(0.5,), runs=2, limit=1.0, manifest=embedded.clips_manifest(), clips=2
    )
    report = run.measure(plan)
    assert report.results[0].wer == 1.0
    assert report.settings["clips"] == 2


def test_configurations_that_do_not_fit_into_memory_together_are_measured_in_groups(shapes_bundle: Bundle) -> None:
    two = (configuration(shapes_bundle), configuration(shapes_bundle, device="other"))
    assert [len(group) for group in bench_plan.groups(two, 10**12)] == [2]
    assert [len(group) for group in bench_plan.groups(two, 800_000_000)] == [1, 1]
    report = run.measure(BenchPlan(two, lengths=(0.5,), runs=2, limit=1.0, memory=1))
    assert len(report.results) == 2
    assert "2 groups" in report.notes[0]


def test_the_plan_names_what_cannot_run_and_why(shapes_bundle: Bundle) -> None:
    found, skipped = bench_plan.configurations([shapes_bundle], 2)
    assert "onnxruntime/fp32" in [one.name for one in found]
    assert all(one.engine != "null" for one in found)
    assert all(item.reason for item in skipped)
    only, _ = bench_plan.configurations([shapes_bundle], 2, only_engines=["onnxruntime"])
    assert [one.name for one in only] == ["onnxruntime/fp32"]


def test_names_that_do_not_exist_are_refused(shapes_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no engine 'tflite'"):
        bench_plan.configurations([shapes_bundle], 2, only_engines=["tflite"])
    with pytest.raises(BundleError, match="no variant 'int3'"):
        bench_plan.configurations([shapes_bundle], 2, only_variants=["int3"])
    with pytest.raises(InputError, match=r"no model\.bin; name a Whisper model"):
        bench_plan.whisper_configurations(tmp_path, 2, "en")


def test_the_speech_is_as_long_as_asked_for() -> None:
    for seconds, rate in ((0.5, 16000), (9.0, 8000), (60.0, 16000)):
        samples = audio.speech_of(seconds, rate=rate)
        assert samples.shape == (int(seconds * rate),)
        assert 0.001 < np.abs(samples).mean() < 0.5


def test_a_second_is_a_second_of_each_models_own_rate(shapes_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 8 kHz was given 16 000 samples for each second: twice the audio, of 16 kHz."""
    asked: list[tuple[int, int]] = []
    loaded: dict[Worker, int] = {}

    def load(worker: Worker, one: Configuration, longest: float, speech: Path) -> tuple[float, int | None]:
        loaded[worker] = len(np.load(speech))
        return 0.1, None

    def time(worker: Worker, samples: int, runs: int, limit: float, warm: int) -> list[float]:
        asked.append((samples, loaded[worker]))
        return [0.01]

    monkeypatch.setattr(Worker, "load", load)
    monkeypatch.setattr(Worker, "time", time)
    monkeypatch.setattr(Worker, "memory", lambda worker: (None, None))
    wide = configuration(shapes_bundle)
    write_manifest(
        shapes_bundle.path, dataclasses.replace(shapes_bundle.spec, sample_rate=8000), shapes_bundle.variants, {}
    )
    chosen, _ = bench_plan.configurations([Bundle.open(shapes_bundle.path)], 1, only_engines=["null"])
    run.measure(BenchPlan((chosen[0],), lengths=(0.5, 2.0), runs=1, limit=1.0))
    assert set(asked) == {(4000, 16000), (16000, 16000)}
    asked.clear()
    run.measure(BenchPlan((wide,), lengths=(0.5, 2.0), runs=1, limit=1.0))
    assert set(asked) == {(8000, 32000), (32000, 32000)}


def test_a_worker_answers_with_errors_and_a_dead_one_is_noticed() -> None:
    worker = Worker()
    try:
        with pytest.raises(EngineError, match="nothing is loaded"):
            worker.ask(do="memory")
        with pytest.raises(EngineError, match="KeyError"):
            worker.ask(do="load", engine="null")
        worker._process.kill()
        with pytest.raises(EngineError, match=r"its process ended \(status -9\)"):
            worker.ask(do="memory")
    finally:
        worker.close()


def test_quick_table_is_a_table(small_clip_bundle: Bundle) -> None:
    table = run.quick_table(small_clip_bundle, threads=1)
    assert "onnxruntime" in table
    assert "10 s p50" in table


@pytest.fixture
def small_clip_bundle(tmp_path: Path, ctc_spec: ModelSpec) -> Bundle:
    """A real graph of one convolution that any engine runs in a moment."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    spec = dataclasses.replace(ctc_spec, time=(Convolution(400, 320, 0),), normalize=False)
    weights = [
        numpy_helper.from_array(np.zeros((32, 1, 400), np.float32), "kernel"),
        *(numpy_helper.from_array(np.array(value), name) for name, value in (("k", 400), ("s", 320), ("one", 1))),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["input_values", "axis"], ["wave"]),
        helper.make_node("Conv", ["wave", "kernel"], ["channels"], strides=[320]),
        helper.make_node("Transpose", ["channels"], ["logits"], perm=[0, 2, 1]),
        helper.make_node("Sub", ["input_lengths", "k"], ["less"]),
        helper.make_node("Div", ["less", "s"], ["steps"]),
        helper.make_node("Add", ["steps", "one"], ["output_lengths"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "frames", 32]),
            helper.make_tensor_value_info("output_lengths", TensorProto.INT64, ["batch"]),
        ],
        weights,
    )
    path = tmp_path / "clips"
    with new_bundle(path) as directory:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, directory / "fp32.onnx")
        variant = describe_variant(directory, "fp32", "fp32", {"full": "fp32.onnx"})
        write_manifest(directory, spec, [variant], {"checkpoint": "none"})
    return Bundle.open(path)


def test_other_heads_have_their_own_figure(shapes_bundle: Bundle, tmp_path: Path) -> None:
    """The null engine gives each label the same score, so that the first one is chosen: right for one clip in two."""
    spec = dataclasses.replace(
        shapes_bundle.spec,
        head="sequence_classification",
        labels=("happy", "sad"),
        head_options=sequence_classification.Options(),
        blank=None,
        delimiter=None,
        outputs=(Output("out", ("batch", "labels"), "for a test"),),
    )
    write_manifest(shapes_bundle.path, spec, shapes_bundle.variants, {})
    rows = [row.path for row in manifest.read(embedded.clips_manifest())][:2]
    labels = tmp_path / "labels.jsonl"
    right = [{"path": str(path), "label": label} for path, label in zip(rows, ("happy", "sad"))]
    plan = BenchPlan((configuration(shapes_bundle),), lengths=(0.5,), runs=2, limit=1.0, manifest=listed(labels, right))
    report = run.measure(plan)
    figure = report.results[0].figure
    assert figure is not None and report.results[0].wer is None
    assert (figure.name, figure.value, figure.change, figure.loss) == ("accuracy", 0.5, 0.0, 0.0)
    header, table_rows = table.table(report)
    assert table_rows[0][header.index("accuracy")] == "50.0 %"
    assert table_rows[0][header.index("accuracy change")] == "+0.0"
    assert "accuracy +0.0" in verdicts(report)[0]
    again = document.from_json(json.loads(json.dumps(document.to_json(report))))
    assert again.results[0].figure == figure
    angry = {"path": str(rows[0]), "label": "angry"}
    with pytest.raises(InputError, match="the model has no label 'angry'"):
        listed(labels, [angry])
        run.measure(plan)
    listed(labels, [{"path": cut_short(tmp_path / "cut.wav"), "label": "happy"}, angry, *right])
    partly = run.measure(plan)
    assert partly.results[0].figure == figure and "accuracy: of 2 of 4 recordings" in table.text_table(partly)
    unfit, cut = partly.problems
    assert "labels.jsonl:2: the model has no label 'angry'" in unfit and "cut.wav: cut short" in cut


def test_a_manifest_has_one_figure(shapes_bundle: Bundle) -> None:
    """A keyword model and a speaker model have nothing in common to show in one column."""
    others = [Bundle.open(name) for name in ("keyword", "speaker")]
    chosen = tuple(configuration(bundle) for bundle in others)
    with pytest.raises(InputError, match="different heads"):
        run.measure(BenchPlan(chosen, lengths=(0.5,), manifest=embedded.clips_manifest()))


@pytest.mark.parametrize("text", ["", "...", " ? "])
def test_recordings_without_words_have_no_word_error_rate(shapes_bundle: Bundle, tmp_path: Path, text: str) -> None:
    """It was NaN, which counted as no loss at all for --tune, and is not JSON."""
    paths = [row.path for row in manifest.read(embedded.clips_manifest())][:2]
    rows = [{"path": str(path), "text": said} for path, said in zip(paths, (text, "words"))]
    path = listed(tmp_path / "m.jsonl", rows)
    plan = BenchPlan((configuration(shapes_bundle),), lengths=(0.5,), manifest=path, clips=1)
    with pytest.raises(InputError, match=r"no row of the 1 that --clips picks has a text with words"):
        run.measure(plan)


def cut_short(path: Path) -> str:
    """The name of a WAV file of which the second half is missing."""
    samples, rate = soundfile.read(next(row.path for row in manifest.read(embedded.clips_manifest())))
    soundfile.write(path, samples, rate)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path.name


def listed(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("position", [0, 1, 30])
def test_a_recording_that_cannot_be_used_costs_no_configuration_its_figure(
    shapes_bundle: Bundle, tmp_path: Path, position: int
) -> None:
    """One among the first ended the run, a later one took the figure of every configuration. It is not scored."""
    path = next(row.path for row in manifest.read(embedded.clips_manifest()))
    rows: list[dict[str, object]] = [{"path": str(path), "text": "words"}] * 30
    rows[position:position] = [{"path": cut_short(tmp_path / "cut.wav"), "text": "words"}]
    rows += [{"path": "gone.wav", "text": "words"}]
    two = (configuration(shapes_bundle), configuration(shapes_bundle, device="other"))
    plan = BenchPlan(two, lengths=(0.5,), runs=2, limit=1.0, manifest=listed(tmp_path / "m.jsonl", rows))
    found = run.measure(plan)
    assert [result.wer for result in found.results] == [1.0, 1.0] and not found.skipped
    gone, cut = found.problems
    assert "m.jsonl:32: " in gone and "gone.wav: no such file" in gone
    assert f"m.jsonl:{position + 1}: " in cut and "cut.wav: it breaks off" in cut
    assert "WER: of 30 of 32 recordings; the others could not be used" in table.text_table(found)
    written = json.loads(json.dumps(document.to_json(found)))
    assert (written["settings"]["clips"], written["settings"]["clips_wanted"]) == (30, 32)
    assert document.from_json(written).problems == found.problems
    assert "Rows that could not be used" in page.page(found)


def test_without_a_usable_recording_there_is_no_figure_and_all_else(shapes_bundle: Bundle, tmp_path: Path) -> None:
    """The first damaged recording ended the run before anything was timed. Nothing is chosen without a figure."""
    short = cut_short(tmp_path / "cut.wav")
    path = listed(tmp_path / "m.jsonl", [{"path": short, "text": "words"}])
    found = run.measure(BenchPlan((configuration(shapes_bundle),), lengths=(0.5,), runs=2, limit=1.0, manifest=path))
    assert [(result.wer, len(result.timings)) for result in found.results] == [(None, 1)]
    assert "no WER: no recording that could be used has a text with words" in found.notes
    with pytest.raises(GateRefused, match="nothing was measured that could be chosen"):
        tuning.keep(found, shapes_bundle)


def test_an_engine_that_fails_on_the_manifest_costs_the_others_nothing(
    shapes_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failure is not that of a recording, and recordings that it refused before count for the others."""
    first, second = list(manifest.read(embedded.clips_manifest()))[:2]
    asked: list[Path] = []

    def transcribe(worker: Worker, audio: RecordingPart) -> str:
        asked.append(audio.path)
        if len(asked) == 1:
            raise AudioError(f"{audio}: too short")
        if len(asked) == 2:
            raise EngineError("NaN or Inf in its output")
        return "words"

    monkeypatch.setattr(Worker, "transcribe", transcribe)
    path = listed(tmp_path / "m.jsonl", [{"path": str(row.path), "text": "words"} for row in (first, second)])
    two = (configuration(shapes_bundle), configuration(shapes_bundle, device="other"))
    found = run.measure(BenchPlan(two, lengths=(0.5,), runs=2, limit=1.0, manifest=path))
    assert [result.wer for result in found.results] == [None, 0.0]
    assert found.skipped == (Skipped("null/fp32, WER", "NaN or Inf in its output"),)
    assert not found.problems and len(asked) == 4


def test_speech_is_of_the_recordings_that_can_be_read(tmp_path: Path) -> None:
    """One that was damaged ended the run, before anything was timed."""
    good = next(row.path for row in manifest.read(embedded.clips_manifest()))
    rows = [{"path": name, "text": ""} for name in (cut_short(tmp_path / "cut.wav"), str(good))]
    both = manifest.read(listed(tmp_path / "m.jsonl", rows))
    assert np.array_equal(audio.speech_of(9.0, both), audio.speech_of(9.0, both[1:]))
    assert len(audio.speech_of(9.0, both[:1])) == 9 * 16000


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"offset": 1, "duration": 1.5}, None),
        ({"offset": 1, "duration": 5}, "a.wav: it ends after 3.0 s, the part from 1 s at 6 s"),
        ({"duration": 5}, "a.wav: it ends after 3.0 s and should have 5 s"),
    ],
)
def test_a_row_of_a_part_of_its_recording_is_scored_by_the_part(
    shapes_bundle: Bundle, tmp_path: Path, row: dict[str, float], reason: str | None
) -> None:
    """The whole was scored by the text of the part; of a file cut short, what was left by the whole text."""
    soundfile.write(tmp_path / "a.wav", np.zeros(16000 * 3), 16000)
    rows = manifest.read(listed(tmp_path / "m.jsonl", [{"path": "a.wav", "text": "words", **row}]))
    figure = WordFigure(UsableRows(rows))
    np.save(tmp_path / "speech.npy", np.zeros(16000, np.float32))
    worker = Worker()
    try:
        worker.load(configuration(shapes_bundle), 1.0, tmp_path / "speech.npy")
        skipped = measured(figure, worker, configuration(shapes_bundle), lambda done, of: None)
    finally:
        worker.close()
    assert skipped is None
    assert list(figure.asked.given().values()) == [[""] if reason is None else []]
    assert [str(reason) in problem for problem in figure.problems] == ([] if reason is None else [True])


def test_few_of_many_pairs_are_of_both_kinds(tmp_path: Path, shapes_bundle: Bundle) -> None:
    """Every second pair of a list where the same speaker and two take turns is of one kind."""
    spec = dataclasses.replace(
        shapes_bundle.spec,
        head="xvector",
        labels=(),
        head_options=xvector.Options(),
        blank=None,
        delimiter=None,
        outputs=(Output("out", ("batch", "embedding"), "for a test"),),
    )
    write_manifest(shapes_bundle.path, spec, shapes_bundle.variants, {})
    for number in range(16):
        soundfile.write(tmp_path / f"{number}.wav", np.full(160, 0.1), 16000)
    lines = [f"{number % 2} {2 * number}.wav {2 * number + 1}.wav" for number in range(8)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    rows = [json.dumps({"path": f"{number}.wav", "speaker": f"s{number // 2}"}) for number in range(16)]
    (tmp_path / "speakers.jsonl").write_text("\n".join(rows))
    for name in ("pairs.txt", "speakers.jsonl"):
        plan = BenchPlan((configuration(shapes_bundle),), lengths=(0.5,), manifest=tmp_path / name, clips=8)
        found = of_plan(plan, tmp_path)
        assert len(found.rows) == 8
        numbers = {int(row.path.stem) for row in found.rows}
        twos = [number // 2 for number in numbers if {number, number ^ 1} <= numbers]
        assert len(twos) == 8 and (name != "pairs.txt" or sum(two % 2 for two in twos) == 4)

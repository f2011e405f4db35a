"""Reports survive being written and read, and every form of them has the same figures."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from wav2edge.devices import detect
from wav2edge.measure.bench import comparison, document, table, tuning
from wav2edge.measure.bench import page as bench_page
from wav2edge.measure.bench import plots as bench_plots
from wav2edge.measure.bench import report as bench_report
from wav2edge.measure.bench.report import BenchReport, BenchResult, Skipped, Timing
from wav2edge.measure.bench.verdicts import verdicts
from wav2edge.runtime import documents
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import GateRefused, InputError


def result(engine: str, variant: str, ms: float, **values: object) -> BenchResult:
    """A result whose 10 s run takes about ``ms``, all others in proportion."""
    timings = tuple(
        Timing(s, ms * s / 9e3, tuple(ms * s / 1e4 * (1 + 0.001 * (i % 7)) for i in range(50))) for s in (1.0, 10.0)
    )
    defaults: dict[str, object] = {"precision": variant.split("-")[0], "memory": 300_000_000, "file_bytes": 100}
    return BenchResult("models/mine", engine, variant, 2, 0.5, timings, **{**defaults, **values})  # type: ignore[arg-type]


REPORT = BenchReport(
    machine={"model": "Test board", "cpu": {"name": "Two cores"}, "gpus": []},
    versions={"python": "3.11.2", "onnxruntime": "1.32.0"},
    results=(
        result("torch", "fp32", 900, wer=0.12, wer_rise=0.0),
        result("onnxruntime", "fp32", 430, wer=0.12, wer_rise=0.0),
        result("onnxruntime", "int8-dynamic", 300, wer=0.125, wer_rise=0.005),
        result("openvino", "int8-s8s8", 143, wer=0.121, wer_rise=0.001, energy=1.5),
    ),
    skipped=(
        Skipped("openvino/bf16", "no <bfloat16>"),
        Skipped("tensorrt", "no <driver>"),
        Skipped("tensorrt-rtx", "no <driver>"),
    ),
    baseline="torch/fp32",
    energy_source="VDD_IN",
    created="2026-11-22T18:00:00+00:00",
    settings={"threads": [2], "power_mode": "MAXN"},
)


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document.to_json(REPORT)))
    again = document.read(path)
    assert document.to_json(again) == document.to_json(REPORT)
    assert verdicts(again) == verdicts(REPORT)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 99}', "no json"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError):
        document.read(path)


def test_verdicts_compare_the_best_of_each_engine() -> None:
    lines = verdicts(REPORT)
    assert lines[0] == "int8-s8s8 on openvino: 6.3× torch, 3.0× onnxruntime fp32, WER +0.1, 69.7× real time"
    assert lines[1].startswith("int8-dynamic on onnxruntime: 3.0× torch, 1.4× onnxruntime fp32, WER +0.5")
    assert len(lines) == 3


def test_the_table_has_a_row_for_each_result_and_only_columns_with_figures() -> None:
    text = table.text_table(REPORT)
    assert "GPU memory" not in text
    assert "bundle" not in text.splitlines()[3]
    row = next(line for line in text.splitlines() if "int8-s8s8" in line)
    assert "6.29×" in row
    assert "12.1 %" in row
    assert "+0.1" in row
    assert "Test board, Two cores" in text
    assert "power mode MAXN" in text
    assert "not measured: tensorrt, tensorrt-rtx: no <driver>" in text
    line = next(line for line in text.splitlines() if "bf16" in line)
    assert line == "openvino     bf16          not here: no <bfloat16>"


def paired(before: float, own: float, after: float) -> BenchReport:
    """Ten calm turns and as many in a burst that began between the baseline's time and theirs."""
    base = dataclasses.replace(result("torch", "fp32", 900), timings=(Timing(10.0, 1.0, (before, after)),))
    calm, burst = [(before, own, after)] * 10, [(before, 3 * own, 3 * after)] * 10
    timing = Timing(10.0, 1.0, (own,) * 10 + (3 * own,) * 10, tuple(calm + burst))
    faster = dataclasses.replace(result("openvino", "int8-s8s8", 150), timings=(timing,))
    return BenchReport({}, {}, (base, faster), baseline="torch/fp32")


def test_ratios_are_of_turns_that_other_load_did_not_disturb_in_every_form(tmp_path: Path) -> None:
    report = paired(0.90, 0.15, 0.90)
    base, faster = report.results
    assert report.ratio(faster, base, 10.0) == pytest.approx(6.0)
    assert report.ratio(base, faster, 10.0) == pytest.approx(1 / 6)
    assert report.ratio_range(faster, 10.0) == pytest.approx((6.0, 6.0))
    assert len(faster.timings[0].ratios) == 10
    assert base.timings[0].percentile(50) / faster.timings[0].percentile(50) == pytest.approx(3.0)
    assert "6.00× ± 0.00" in table.text_table(report)
    assert "ratio: how many times faster than torch/fp32 for 10 s of audio" in table.text_table(report)
    assert "| 6.00× ± 0.00 |" in table.markdown(report)
    assert "6.00× ± 0.00" in bench_page.page(report)
    assert verdicts(report)[0].startswith("int8-s8s8 on openvino: 6.0× torch")
    (row,) = [r for r in csv.DictReader(io.StringIO(table.comma_separated(report))) if r["engine"] == "openvino"]
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == ("6.0", "6.0", "6.0")
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document.to_json(report)))
    assert json.loads(path.read_text())["results"][1]["timings"][0]["ratio"] == 6.0
    again = document.read(path)
    assert again.results[1].timings[0].ratios == faster.timings[0].ratios
    assert "6.00× ± 0.00" in comparison.compare(report, again, ("a", "b"))


def test_turns_in_a_burst_count_where_there_are_no_others() -> None:
    """At least half of the turns count, those whose baseline was slowed least."""
    triples = tuple((1.0 + n / 10, 0.5, 1.0 + n / 10) for n in range(9))
    assert Timing(10.0, 1.0, (0.5,), triples).ratios == pytest.approx((2.0, 2.2, 2.4, 2.6, 2.8))
    assert Timing(10.0, 1.0, (0.5,), triples[:2]).ratios == pytest.approx((2.0, 2.2))
    assert Timing(10.0, 1.0, (0.5,)).ratios == ()


def test_too_few_turns_have_no_range() -> None:
    """One turn on a slow machine was once shown as ``1.08× ± 0.00``, as if it were sure."""
    report = paired(0.90, 0.15, 0.90)
    base, faster = report.results
    one = dataclasses.replace(faster, timings=(Timing(10.0, 1.0, (0.15,), ((0.9, 0.15, 0.9),)),))
    text = table.text_table(dataclasses.replace(report, results=(base, one)))
    assert "6.00×" in text
    assert "±" not in text.splitlines()[5]


def test_each_reason_is_given_once() -> None:
    skipped = [Skipped("a/fp32", "no memory"), Skipped("b", "no driver"), Skipped("a/int8", "no memory")]
    assert bench_report.grouped(skipped) == ["a/fp32, a/int8: no memory", "b: no driver"]


def test_csv_holds_plain_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(table.comma_separated(REPORT))))
    assert len(rows) == 8
    row = next(row for row in rows if row["engine"] == "openvino" and float(row["seconds"]) == 10)
    assert float(row["ratio"]) == pytest.approx(900 / 143, rel=1e-3)
    assert float(row["rtf"]) == pytest.approx(0.0143, rel=0.01)
    assert row["runs"] == "50"
    assert float(row["joules_per_second"]) == 1.5


def test_markdown_is_a_table() -> None:
    lines = [line for line in table.markdown(REPORT).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(REPORT.results) + 1
    assert lines[-1].startswith("| openvino | bf16 | not here: no \\<bfloat16\\> |")
    assert len({line.count("|") for line in lines}) == 1


def test_two_machines_side_by_side() -> None:
    faster = BenchReport({}, {}, (result("onnxruntime", "fp32", 215), result("tensorrt", "fp16", 10)))
    text = comparison.compare(REPORT, faster, ("pi", "desk"))
    row = next(line for line in text.splitlines() if line.startswith("onnxruntime") and "10 s" in line)
    assert "2.00×" in row
    assert "only in desk: tensorrt/fp16" in text
    assert "openvino/int8-s8s8" in text
    nothing = comparison.compare(REPORT, BenchReport({}, {}, ()), ("a", "b"))
    assert "no configuration and length in common" in nothing


def test_the_page_stands_alone_and_its_plots_are_whole() -> None:
    page = bench_page.page(REPORT)
    assert not re.search(r"<script|<link|https?://|url\(", page)
    assert "no &lt;driver&gt;" in page
    assert "not here: no &lt;bfloat16&gt;" in page
    assert "prefers-color-scheme: dark" in page
    plots = [plot for plot in re.findall(r"<svg.*?</svg>", page, flags=re.S) if "viewBox" in plot]
    assert len(plots) == 6  # three, for a desk and for a phone
    for plot in plots:
        root = ElementTree.fromstring(plot)
        width, height = (float(root.attrib[name]) for name in ("width", "height"))
        for text in root.iter("text"):
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            assert 0 <= y <= height
            length = 7.2 * len(text.text or "") * {"start": 1, "middle": 0.5, "end": 0}[text.attrib["text-anchor"]]
            assert x + length <= width + 30, f"{text.text!r} runs out of a plot {width:g} wide"


@pytest.mark.parametrize(("low", "high"), [(340, 760), (101, 130), (2, 900)])
def test_an_axis_has_at_least_three_marks(low: float, high: float) -> None:
    """From 340 to 760 ms the only mark was once 500."""
    results = (result("a", "fp32", low), result("b", "fp32", high))
    plot = bench_plots.distribution(BenchReport({}, {}, results), 1040)
    assert len(re.findall(r'<line class="grid"', plot)) >= 3


def test_a_page_of_one_result_and_one_length_needs_no_plots_of_many() -> None:
    lone = BenchResult("m", "onnxruntime", "fp32", 1, 0.1, (Timing(5.0, 0.2, (0.1,)),))
    page = bench_page.page(BenchReport({}, {}, (lone,)))
    assert "Latency of 5 s of audio" in page
    assert "Speed by length" not in page
    assert "Latency against word error rate" not in page


def test_the_document_fits_its_schema() -> None:
    written = json.loads(json.dumps(document.to_json(REPORT), allow_nan=False))
    jsonschema.Draft202012Validator(documents.schema(document.BenchDocument)).validate(written)
    assert written["results"][0]["name"] == "torch/fp32"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("results", 0, "threads"), "two", r"results\[0\].threads must be a whole number"),
        (("results", 0, "timings", 0, "times"), [], "needs times"),
        (("results", 0, "timings", 0, "times"), [0.0], "must be above 0"),
        (("results", 0, "timings", 0, "times"), [5e-324], "must be above 0"),
        (("results", 0, "timings", 0, "first"), float("nan"), "must be above 0"),
        (("results", 0, "load"), float("nan"), "load must be a finite number"),
        (("results", 0, "load"), -1.0, "load must be from 0"),
        (("results", 0, "wer"), float("inf"), "wer must be a finite number"),
        (("results",), [], "it has no results"),
        (("results", 0, "timings", 0, "triples"), [[1.0, 2.0]], "triples of three"),
        (("results", 0, "timings", 0, "times", 3), "x", r"timings\[0\].times\[3\] must be a number"),
        (("machine", "gpus"), [{"name": 3}], r"machine.gpus\[0\].name must be text"),
        (("skipped", 0), {"name": "x"}, r"skipped\[0\].reason"),
        (("format",), 1, "format 1"),
        (("baseline",), 3, "baseline must be text"),
    ],
)
def test_a_damaged_report_is_refused_with_the_field(
    tmp_path: Path, path: tuple[str | int, ...], value: object, says: str
) -> None:
    written = json.loads(json.dumps(document.to_json(REPORT)))
    inner = written
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file = tmp_path / "a.json"
    file.write_text(json.dumps(written))
    with pytest.raises(InputError, match=says):
        document.read(file)


def test_texts_of_unknown_origin_are_escaped_in_a_report() -> None:
    hostile = "<b>=1+1\x1b[2J|x"
    skipped = (Skipped(f"openvino/{hostile}", hostile), Skipped("tensorrt", hostile))
    strange = dataclasses.replace(result("=cmd|x", "fp32", 10), bundle="=1+1")
    report = dataclasses.replace(REPORT, results=(strange,), skipped=skipped, notes=(hostile,))
    assert "\x1b" not in table.text_table(report) + table.markdown(report) + bench_page.page(report)
    assert "<b>" not in bench_page.page(report)
    assert not re.search(r"(?<!\\)<b>", table.markdown(report))
    rows = list(csv.reader(io.StringIO(table.comma_separated(report))))
    assert all(not cell.startswith("=") for row in rows for cell in row)


LEAVES: st.SearchStrategy[object] = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=4)
    | st.just([])
    | st.just({})
    | st.lists(st.floats(), max_size=3)
)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of every value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


WRITTEN = json.dumps(document.to_json(paired(0.90, 0.15, 0.90)))


@seed(23)
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(places(json.loads(WRITTEN)))), LEAVES)
def test_a_report_of_unknown_origin_is_shown_or_refused_in_one_line(path: tuple[str | int, ...], value: object) -> None:
    written = json.loads(WRITTEN)
    inner = written
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        report = document.from_json(written)
    except InputError as error:
        assert "\n" not in str(error)
        return
    for text in (table.text_table(report), table.markdown(report), table.comma_separated(report)):
        assert "\x1b" not in text
    assert "<svg" in bench_page.page(report) or not report.results
    comparison.compare(report, report, ("a", "b"))
    document.to_json(report)


def test_bundles_of_one_name_are_told_apart() -> None:
    """A report against itself compared the second bundle with the first."""
    first = replace(result("onnxruntime", "fp32", 100), bundle="/a/bundle")
    second = replace(result("onnxruntime", "fp32", 300), bundle="/b/bundle")
    both = BenchReport({}, {}, (first, second))
    compared = [line for line in comparison.compare(both, both, ("x", "y")).splitlines() if "×" in line]
    assert len(compared) == 4 and all(line.endswith("1.00×") for line in compared)
    assert {line.split()[0] for line in compared} == {"a/bundle", "b/bundle"}
    assert [both.bundle_name(each) for each in both.results] == ["a/bundle", "b/bundle"]
    assert bench_plots.label(both, second) == "b/bundle onnxruntime fp32"
    moved = BenchReport({}, {}, (replace(second, bundle="/c/bundle"),))
    assert comparison.compare(BenchReport({}, {}, (first,)), moved, ("x", "y")).count("0.33×") == 2


def moved(report: BenchReport, **bundles: str) -> BenchReport:
    """A report whose bundles have other paths; bundles: the path for each engine's."""
    return replace(report, results=tuple(replace(one, bundle=bundles[one.engine]) for one in report.results))


def test_bundles_of_different_names_are_both_named() -> None:
    """A keyword model was compared with one that transcribes, and no word said so."""
    one = BenchReport({}, {}, (result("onnxruntime", "fp32", 100),))
    text = comparison.compare(moved(one, onnxruntime="/a/asr"), moved(one, onnxruntime="/b/keyword"), ("x", "y"))
    header, row = (text.splitlines()[number].split() for number in (3, 5))
    assert header[:6] == ["bundle", "in", "x", "bundle", "in", "y"] and row[:2] == ["asr", "keyword"]
    same = comparison.compare(moved(one, onnxruntime="/a/asr"), moved(one, onnxruntime="/b/asr"), ("x", "y"))
    assert "bundle" not in same


def test_a_bundle_that_both_measured_is_compared_with_itself() -> None:
    """The first bundle of the first report took the results of the second's only one."""
    both = BenchReport(
        {}, {}, (replace(result("onnxruntime", "fp32", 100), bundle="/m/a"), result("onnxruntime", "fp32", 300))
    )
    text = comparison.compare(both, BenchReport({}, {}, both.results[1:]), ("x", "y"))
    rows = [line for line in text.splitlines() if "×" in line]
    assert len(rows) == 2 and all(row.startswith("mine ") and row.endswith("1.00×") for row in rows)
    assert "only in x: a onnxruntime/fp32" in text and "only in y" not in text


def test_what_only_one_report_has_is_named() -> None:
    """Lengths and bundles that one report lacked were left out without a word."""
    all_lengths = result("onnxruntime", "fp32", 100)
    fewer = replace(all_lengths, timings=all_lengths.timings[:1])
    other = replace(result("onnxruntime", "fp32", 100), bundle="models/other")
    text = comparison.compare(BenchReport({}, {}, (all_lengths, other)), BenchReport({}, {}, (fewer,)), ("x", "y"))
    assert "only in x: mine onnxruntime/fp32 at 10 s, other onnxruntime/fp32" in text and "only in y" not in text
    nothing = comparison.compare(BenchReport({}, {}, (other,)), REPORT, ("x", "y"))
    assert "only in y: mine torch/fp32, mine onnxruntime/int8-dynamic, mine openvino/int8-s8s8" in nothing
    alone = comparison.compare(REPORT, BenchReport({}, {}, (result("tensorrt", "fp16", 9),)), ("x", "y"))
    assert "no configuration and length in common" in alone and "only in y: tensorrt/fp16" in alone


def test_what_failed_on_the_manifest_is_never_the_choice(shapes_bundle: Bundle) -> None:
    """A variant with NaN in its answers, or whose process ended there, was kept where it was the fastest."""
    path = str(shapes_bundle.path)
    works = replace(result("onnxruntime", "fp32", 430, wer=0.12, wer_rise=0.0), bundle=path)
    failed = replace(result("openvino", "fp32", 143), bundle=path)
    timed = replace(REPORT, results=(works, failed))
    assert tuning.keep(timed, shapes_bundle)[0].engine == "openvino"
    judged = replace(timed, settings={"threads": [2], "manifest": "dev.jsonl", "clips": 20})
    assert tuning.keep(judged, shapes_bundle)[0].engine == "onnxruntime"
    with pytest.raises(GateRefused, match="nothing was measured that could be chosen"):
        tuning.keep(replace(judged, results=(failed,)), shapes_bundle)


@pytest.mark.parametrize(("vnni", "judged", "chosen"), [
    (False, False, "int8-u7s8"), (False, True, "int8-u8s8"), (True, False, "int8-u8s8"),
])  # fmt: skip
def test_int8_whose_sums_may_saturate_is_the_choice_only_with_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vnni: bool, judged: bool, chosen: str
) -> None:
    """Without VNNI the fastest variant was kept, although its words may be wrong and no recording had judged them."""
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path))
    bundle, here = Bundle.open(embedded.bundle_path()), detect.detect()
    features = ("avx2", "avx512-vnni") if vnni else ("avx2",)
    cpu = replace(here.cpu, architecture="x86_64", features=features)
    monkeypatch.setattr(detect, "detect", lambda: replace(here, cpu=cpu))
    found = {"wer": 0.12, "wer_rise": 0.0} if judged else {}
    results = [result("onnxruntime", name, ms, **found) for name, ms in (("int8-u8s8", 70), ("int8-u7s8", 80))]
    report = replace(REPORT, results=tuple(replace(each, bundle=str(bundle.path)) for each in results))
    assert tuning.keep(report, bundle)[0].variant == chosen
    left_out = [each.variant for each in tuning.unjudged(report, bundle)]
    assert left_out == ([] if vnni or judged else ["int8-u8s8"])

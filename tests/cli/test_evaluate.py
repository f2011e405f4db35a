"""``wav2edge evaluate``: the table, the JSON, the page; and manifests that are partly broken."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.cli import main
from wav2edge.cli.evaluate import _print
from wav2edge.measure.evaluation import System, SystemHypotheses, evaluate, to_json, transcribe_rows
from wav2edge.measure.evaluation_page import page
from wav2edge.measure.manifest import Row
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec, Output
from wav2edge.runtime.bundle.write import write_manifest
from wav2edge.runtime.heads import xvector
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.transcriber import Transcriber

ROWS = tuple(
    Row(Path(f"{n}.wav"), text, corpus, f"m:{n}")
    for n, (text, corpus) in enumerate([("a b c d", "x"), ("e f", "x"), ("g h i", "y"), ("j <k> l", "y")] * 8)
)
RIGHT = tuple(row.text for row in ROWS)
WRONG = tuple("z " + text.split(" ", 1)[1] if n % 4 else text for n, text in enumerate(RIGHT))


def recognised(texts: tuple[str | None, ...], variant: str, *problems: str) -> SystemHypotheses:
    return SystemHypotheses(System("bundle", "onnxruntime", variant), texts, 60.0, 2.0, problems)


def test_each_corpus_and_all_together_with_a_paired_difference() -> None:
    found = evaluate(ROWS, [recognised(RIGHT, "fp32"), recognised(WRONG, "int8")])
    table = {(line.corpus, line.system): line.scores.wer for line in found.lines}
    assert set(table) == {(corpus, system) for corpus in ("x", "y", "all") for system in (0, 1)}
    assert all(rate.errors == 0 for (_, system), rate in table.items() if system == 0)
    assert (table["x", 1].errors, table["y", 1].errors, table["all", 1].length) == (8, 16, 96)
    assert {other.corpus: other.wer.significant for other in found.comparisons} == {"x": True, "y": True, "all": True}
    assert found.hypotheses[0].speed == 30.0
    values = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert values["systems"][1]["corpora"]["y"]["wer"]["errors"] == 16
    assert values["clips"][3] == {
        "path": "3.wav",
        "corpus": "y",
        "reference": "j <k> l",
        "hypotheses": ["j <k> l", "z <k> l"],
    }


def test_the_worst_come_first_and_faultless_ones_not_at_all() -> None:
    found = evaluate(ROWS[:4], [recognised(("a b c d", "", "q q i", "j k l"), "fp32")])
    assert found.worst(9) == [1, 2]


def test_only_what_all_could_use_is_compared() -> None:
    texts: list[str | None] = list(RIGHT)
    texts[0] = None
    found = evaluate(
        ROWS, [recognised(RIGHT, "fp32"), recognised(tuple(texts), "int8", "m:0: 0.wav: the file is empty")]
    )
    assert len(found.rows) == len(ROWS) - 1
    assert found.problems == ("m:0: 0.wav: the file is empty",)


def test_a_recording_that_was_cut_short_is_not_scored(shapes_bundle: Bundle, tmp_path: Path) -> None:
    """Its text is that of the whole recording: what is missing would count as errors of the model."""
    noise = np.random.default_rng(0).normal(0, 0.1, 160000).astype(np.float32)
    rows = []
    for name in ("whole", "cut"):
        path = tmp_path / f"{name}.flac"
        soundfile.write(path, noise, 16000)
        rows.append(Row(path, "a b", "mine", f"m:{name}"))
    path.write_bytes(path.read_bytes()[:100000])
    with Transcriber(Model(shapes_bundle, "null", "fp32")) as transcriber:
        found = transcribe_rows(transcriber, System("bundle", "null", "fp32"), rows)
    assert found.texts == ("", None)
    assert len(found.problems) == 1 and "cut.flac: it breaks off after" in found.problems[0]


def test_a_row_of_a_part_of_its_recording_is_scored_by_the_part(shapes_bundle: Bundle, tmp_path: Path) -> None:
    """NeMo takes a row's duration for how much of the file it is of. One of more than the file has was scored."""
    soundfile.write(tmp_path / "a.wav", np.zeros(16000 * 3, np.float32), 16000)
    places = ((None, 3.0), (None, 1.5), (1.0, 0.75), (None, 5.0), (2.0, 3.0))
    rows = [Row(tmp_path / "a.wav", "a", "mine", f"m:{n}", place[1], offset=place[0]) for n, place in enumerate(places)]
    with Transcriber(Model(shapes_bundle, "null", "fp32")) as transcriber:
        found = transcribe_rows(transcriber, System("bundle", "null", "fp32"), rows)
    assert found.texts == ("", "", "", None, None) and found.seconds == 3 + 1.5 + 0.75
    short, beyond = found.problems
    assert "m:3: " in short and "a.wav: it ends after 3.0 s and should have 5 s" in short
    assert "m:4: " in beyond and "a.wav: it ends after 3.0 s, the part from 2 s at 5 s" in beyond


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(16000, np.float32), 16000)
    (tmp_path / "bad.wav").write_bytes(b"")
    rows = [
        {"path": "a.wav", "text": "one two", "corpus": "first"},
        {"path": "gone.wav", "text": "x"},
        {"path": "b.wav", "text": "Three, <four>!", "corpus": "second"},
        {"path": "bad.wav", "text": "x"},
    ]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"path": "a.wav"\n', "utf-8")
    return path


def test_a_partly_broken_manifest_is_evaluated_and_its_lines_are_named(
    corpus: Path, shapes_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-m", str(shapes_bundle.path), "--engine", "null"]
    assert main(["evaluate", str(corpus), *options]) == 2
    captured = capsys.readouterr()
    said = captured.err.splitlines()
    assert [re.search(r"test.jsonl:(\d)", line) and line.split("test.jsonl:")[1][0] for line in said[:3]] == list("254")
    assert said[3].startswith("wav2edge: 3 rows of")
    assert "first: 1 recording, 2 words" in captured.out and "100.0 %" in captured.out
    assert main(["evaluate", str(corpus), *options, "--json"]) == 2
    values = json.loads(capsys.readouterr().out)
    assert values["systems"][0]["corpora"]["all"]["wer"]["value"] == 1.0
    assert len(values["problems"]) == 3


def test_a_difference_without_words_is_not_known_and_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    """It was "not known (could be chance)", as if there were a difference."""
    rows = tuple(replace(row, text="...") for row in ROWS)
    found = evaluate(rows, [recognised(RIGHT, "fp32"), recognised(WRONG, "int8")])
    _print(found, ["fp32", "int8"], 0)
    shown = page(found, ["fp32", "int8"], "m.jsonl", 0)
    for text in (capsys.readouterr().out, shown):
        assert "not known" in text and "chance" not in text
    assert "could be chance" in page(evaluate(ROWS, [recognised(RIGHT, "a"), recognised(RIGHT, "b")]), "ab", "m", 0)


def test_a_speed_is_shown_once_where_it_is_of_all_recordings(
    corpus: Path, shapes_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The speed over all recordings stood beside each corpus, as if it were that corpus's."""
    options = ["-m", str(shapes_bundle.path), "--engine", "null", "--report", str(tmp_path / "r")]
    assert main(["evaluate", str(corpus), *options]) == 2
    first, rest = capsys.readouterr().out.split("\nsecond: ")
    second, whole = rest.split("\nall: ")
    assert [part.count("× RT") for part in (first, second, whole)] == [0, 0, 1]
    assert (tmp_path / "r" / "index.html").read_text("utf-8").count("× real time") == 1
    corpus.write_text('{"path": "a.wav", "text": "one two"}\n', "utf-8")
    assert main(["evaluate", str(corpus), *options]) == 0
    assert capsys.readouterr().out.count("× RT") == 1


def test_equal_systems_are_called_equal(
    corpus: Path, shapes_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(shapes_bundle.path)
    main(["evaluate", str(corpus), "-m", path, "-m", path, "--engine", "null"])
    assert "as many errors as null fp32 in every recording" in capsys.readouterr().out


class Tags(html.parser.HTMLParser):
    """Checks that tags nest, and collects what would be fetched."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self) -> None:
        """Start with nothing open."""
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(corpus: Path, shapes_bundle: Bundle, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    options = ["-m", str(shapes_bundle.path), "-m", str(shapes_bundle.path), "--engine", "null", "--html", str(page)]
    assert main(["evaluate", str(corpus), *options]) == 2
    text = page.read_text("utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and tags.fetched == []
    assert "url(" not in text and "@import" not in text and "<script" not in text
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    assert "Three, &lt;four&gt;!" in text and "<four>" not in text
    assert "gone.wav" in text and "broken JSON" in text, "what could not be used is on the page too"


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--engine", "abacus"], 2, "no engine 'abacus'"),
        (["--engine", "null", "--variant", "int4"], 2, "no variant 'int4'"),
        (["--engine", "null", "--split", "eval"], 2, "no usable row of split 'eval'"),
    ],
)
def test_wrong_names(
    corpus: Path,
    shapes_bundle: Bundle,
    options: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", str(corpus), "-m", str(shapes_bundle.path), *options]) == code
    captured = capsys.readouterr()
    assert says in captured.err and captured.out == ""


def test_a_named_engine_that_is_missing_and_a_page_that_cannot_be_written_are_said_first(
    tmp_path: Path, shapes_bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "text": "x"}\n')
    command = ["evaluate", str(tmp_path / "m.jsonl"), "-m", str(shapes_bundle.path), "--engine", "null"]
    assert main([*command, "--html", str(tmp_path / "no" / "x.html")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main([*command, f"--json={tmp_path / 'm.jsonl'}"]) == 2
    assert "MANIFEST and --json: both name" in capsys.readouterr().err
    monkeypatch.setattr("wav2edge.runtime.engines.openvino.unavailable", lambda: "it is not here")
    assert main([*command, "--engine", "openvino"]) == 3
    assert "engine openvino: it is not here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hotwords", "alice"], "--hotwords: for models that transcribe; this one's head is xvector"),
        (["--lm-alpha", "3"], "--lm-alpha: for models that transcribe"),
        (["--html", "x.html"], "--html: for models that transcribe"),
        (["--text-norm", "none"], "--text-norm: for models that transcribe"),
        (["--chunk", "12"], "--chunk and --context: for models that transcribe"),
        (["--json=no/such/x.json"], "no such folder"),
    ],
)
def test_options_for_words_are_refused_with_other_heads(
    shapes_bundle: Bundle,
    ctc_spec: ModelSpec,
    tmp_path: Path,
    options: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beam search was a row of its own, of the same model run twice, and a missing folder was found at the end."""
    monkeypatch.chdir(tmp_path)
    outputs = (Output("out", ("batch", "embedding"), "for a test"),)
    spec = replace(
        ctc_spec, head="xvector", head_options=xvector.Options(), labels=(), blank=None, delimiter=None, outputs=outputs
    )
    write_manifest(shapes_bundle.path, spec, shapes_bundle.variants, {})
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "speaker": "x"}\n')
    assert main(["evaluate", "m.jsonl", "-m", str(shapes_bundle.path), "--engine", "null", *options]) == 2
    assert says in capsys.readouterr().err


def test_a_corpus_that_is_called_all_keeps_its_line() -> None:
    rows = [Row(Path(f"{i}.wav"), "a word", corpus, f"m.jsonl:{i}") for i, corpus in enumerate(("all", "all", "x"))]
    system = System("bundle", "null", "fp32", "greedy")
    found = evaluate(rows, [SystemHypotheses(system, ("a word",) * 3, 1.0, 1.0, ())])
    assert [(line.corpus, line.scores.wer.clips) for line in found.lines] == [("all", 2), ("x", 1), ("all corpora", 3)]

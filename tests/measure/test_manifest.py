"""MANIFEST in its four shapes, and every way it can be broken."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from wav2edge.measure import manifest, records, trial_list
from wav2edge.measure.figures import diarization
from wav2edge.runtime.audio.parts import RecordingPart
from wav2edge.runtime.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.flac", "sub/c.mp3"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"sound")
    return tmp_path


def write_lines(folder: Path, *rows: object, name: str = "test.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def test_json_lines_with_every_field(folder: Path) -> None:
    row = {"path": "sub/c.mp3", "text": "olá", "corpus": "x", "seconds": 2, "speaker": 7, "language": "pt", "new": 1}
    (found,) = manifest.read(write_lines(folder, row, ""))
    assert found == manifest.Row(
        folder / "sub/c.mp3", "olá", "x", f"{folder / 'test.jsonl'}:1", 2.0, language="pt", speaker="7"
    )


def test_corpus_defaults_to_the_manifest_and_absolute_paths_hold(folder: Path) -> None:
    (found,) = manifest.read(write_lines(folder, {"path": str(folder / "a.wav"), "text": ""}))
    assert (found.path, found.text, found.corpus) == (folder / "a.wav", "", "test")


@pytest.mark.parametrize(
    "row",
    [
        {"audio_filepath": "a.wav", "text": "hi", "duration": 1.5},
        {"file_name": "a.wav", "transcription": "hi", "seconds": "1.5"},
    ],
)
def test_names_that_other_tools_write(folder: Path, row: dict[str, object]) -> None:
    (found,) = manifest.read(write_lines(folder, row))
    assert (found.path, found.text, found.seconds) == (folder / "a.wav", "hi", 1.5)


def test_tsv_takes_quote_marks_as_text(folder: Path) -> None:
    path = write_lines(folder, 'path\tsentence\tcorpus\na.wav\t"so," she said\tcv\nb.flac\tit\'s "\t', name="cv.tsv")
    first, second = manifest.read(path)
    assert (first.text, first.corpus, first.source) == ('"so," she said', "cv", f"{path}:2")
    assert (second.text, second.corpus) == ("it's \"", "cv")


def test_csv_quotes_lines_and_byte_order_mark(folder: Path) -> None:
    path = folder / "x.csv"
    path.write_text('\ufeffpath,text\na.wav,"one, two\nthree"\nb.flac,four\n', encoding="utf-8")
    first, second = manifest.read(path)
    assert first.text.split() == ["one,", "two", "three"]
    assert second.source == f"{path}:4"


def test_folder_with_text_beside_each_recording(folder: Path) -> None:
    (folder / "a.txt").write_text("hello\n there \n")
    (folder / "notes.md").write_text("no audio")
    (folder / "sub/c.txt").write_text("low")
    rows, problems = manifest.scan(folder)
    assert [(row.path.name, row.text, row.corpus) for row in rows] == [
        ("a.wav", "hello there", folder.name),
        ("c.mp3", "low", folder.name),
    ]
    assert problems == (f"{folder / 'b.flac'}: no b.txt beside it with what is said",)
    assert len(manifest.read(folder, need=None)) == 3


def test_one_split(folder: Path) -> None:
    path = write_lines(
        folder, {"path": "a.wav", "text": "", "split": "dev"}, {"path": "b.flac", "text": "", "split": "eval"}
    )
    assert [row.path.name for row in manifest.read(path, split="eval")] == ["b.flac"]
    with pytest.raises(InputError, match="no usable row of split 'train'"):
        manifest.read(path, split="train")


BROKEN = [
    ('{"path": "a.wav", "text"', "broken JSON"),
    ("[1]", "not a JSON object"),
    ('{"text": "hi"}', "no `path`"),
    ('{"path": "a.wav"}', "no `text`"),
    ('{"path": "a.wav", "text": 3}', "must be a string"),
    ('{"path": "gone.wav", "text": "hi"}', "no such file"),
    ('{"path": "sub", "text": "hi"}', "is a directory"),
    ('{"path": "a.wav", "text": "hi", "seconds": "long"}', "must be a number"),
    ('{"audio_filepath": "a.wav", "text": "hi", "offset": -12.5}', "`offset` must be a number of seconds"),
    ('{"path": "a.wav", "text": "hi", "channel": 2}', "`channel` names one channel of a recording"),
]


@pytest.mark.parametrize(
    ("row", "offset", "seconds"),
    [
        ({"offset": 12.5, "duration": 1.5}, 12.5, 1.5),
        ({"offset": "0.0", "seconds": "1.9"}, 0.0, 1.9),
        ({"offset": 0, "duration": 0}, None, None),  # NeMo's form for the whole
        ({"offset": 0}, None, None),
        ({"offset": 3, "duration": None}, 3.0, None),
        ({"offset": None, "duration": 1.5}, None, 1.5),
        ({"offset": "", "duration": ""}, None, None),  # of a table
    ],
)
def test_a_row_of_a_part_of_a_recording(
    folder: Path, row: dict[str, object], offset: float | None, seconds: float | None
) -> None:
    """NeMo's form; such rows were refused, or the whole recording was taken for the part."""
    path = write_lines(folder, {"audio_filepath": "a.wav", "text": "hi", **row})
    (found,) = manifest.read(path)
    assert found.audio == RecordingPart(folder / "a.wav", offset, seconds)
    ((_, name, audio),) = manifest.recordings(path, records.strict)
    assert (name, audio) == ("a.wav", found.audio)


@pytest.mark.parametrize(("line", "says"), BROKEN)
def test_a_broken_line_is_named_and_the_others_survive(folder: Path, line: str, says: str) -> None:
    path = write_lines(folder, {"path": "a.wav", "text": "hi"}, line, {"path": "b.flac", "text": "ho"})
    with pytest.raises(InputError, match=f"test.jsonl:2: .*{says}") as caught:
        manifest.read(path)
    assert "\n" not in str(caught.value)
    rows, problems = manifest.scan(path)
    assert [row.text for row in rows] == ["hi", "ho"]
    assert len(problems) == 1 and f"{path}:2: " in problems[0]


def test_a_table_row_of_another_width_is_named(folder: Path) -> None:
    path = write_lines(folder, "path\ttext", "a.wav\thi", "b.flac", name="x.tsv")
    rows, problems = manifest.scan(path)
    assert len(rows) == 1
    assert problems == (f"{path}:3: 1 columns where the header names 2",)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.jsonl", None, "no such manifest"),
        ("empty.jsonl", b"", "no usable row"),
        ("bytes.jsonl", b"\xff\xfe{}", "not UTF-8"),
        ("x.tsv", b"a.wav\thello\n", "no header"),
        ("talk.wav", b"RIFF", "is a recording"),
        ("all-broken.jsonl", b"{\n", "broken JSON"),
    ],
)
def test_manifests_with_nothing_in_them(folder: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    for reader in (manifest.read, manifest.scan):
        with pytest.raises(InputError, match=says):
            reader(folder / name)


def test_rows_of_another_split_need_no_recording(folder: Path) -> None:
    rows = [{"path": "a.wav", "text": "x", "split": "test"}, {"path": "not copied.wav", "text": "y", "split": "train"}]
    path = write_lines(folder, *rows)
    (found,) = manifest.read(path, split="test")
    assert found.text == "x"
    assert manifest.scan(path, split="test")[1] == ()
    with pytest.raises(InputError, match="not copied"):
        manifest.read(path)


def test_a_quote_too_many_names_its_line(folder: Path) -> None:
    path = folder / "t.csv"
    path.write_text('path,text\na.wav,"' + "x" * 140_000 + "\n")
    with pytest.raises(InputError, match=r"t\.csv:\d+: cannot be read"):
        manifest.read(path)


def test_one_text_of_a_folder_that_is_not_utf8_is_one_problem(folder: Path) -> None:
    (folder / "a.txt").write_text("good")
    (folder / "b.txt").write_bytes(b"caf\xe9")
    rows, problems = manifest.scan(folder)
    assert [row.text for row in rows] == ["good"]
    assert any("b.txt: not UTF-8" in problem for problem in problems)


def test_labels_and_who_speaks_when(folder: Path) -> None:
    (folder / "a.rttm").write_text("SPEAKER a 1 0 1 <NA> <NA> anna <NA> <NA>\n")
    rows = [{"path": "a.wav", "label": "happy", "rttm": "a.rttm"}, {"path": "b.flac", "label": 3}]
    path = write_lines(folder, *rows)
    first, second = manifest.read(path, need="label")
    assert (first.label, first.rttm, first.text, second.label) == ("happy", folder / "a.rttm", "", "3")
    assert [row.rttm for row in manifest.scan(path, need="rttm")[0]] == [folder / "a.rttm"]
    with pytest.raises(InputError, match=r"test\.jsonl:2: no `rttm`"):
        manifest.read(path, need="rttm")
    with pytest.raises(InputError, match=r"test\.jsonl:1: no `text`"):
        manifest.read(path)
    with pytest.raises(InputError, match="no such file"):
        manifest.read(write_lines(folder, {"path": "a.wav", "rttm": "gone.rttm"}), need="rttm")


def test_a_number_for_each_label(folder: Path) -> None:
    path = write_lines(folder, {"path": "a.wav", "values": {"arousal": 0.4, "valence": 1}})
    assert manifest.read(path, need="values")[0].values == {"arousal": 0.4, "valence": 1.0}
    for values in ([1], {"arousal": "high"}, {"arousal": True}, {"arousal": float("nan")}, {}):
        with pytest.raises(InputError, match=r"test\.jsonl:1: "):
            manifest.read(write_lines(folder, {"path": "a.wav", "values": values}), need="values")


def test_a_folder_for_each_class(folder: Path) -> None:
    rows = manifest.read(folder, need="label")
    assert [(row.path.name, row.label) for row in rows] == [
        ("a.wav", folder.name),
        ("b.flac", folder.name),
        ("c.mp3", "sub"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "p.jsonl",
            '{"first": "a.wav", "second": "b.flac", "same": true}\n'
            '{"enroll": "a.wav", "test": "sub/c.mp3", "label": 0}',
        ),
        ("p.csv", "first,second,same\na.wav,b.flac,1\na.wav,sub/c.mp3,false\n"),
        ("p.tsv", "enroll\ttest\ttarget\na.wav\tb.flac\ttarget\na.wav\tsub/c.mp3\tnontarget\n"),
        ("p.txt", "1 a.wav b.flac\n\n0 a.wav sub/c.mp3\n"),
    ],
)
def test_pairs_in_every_shape(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    same, different = trial_list.read(folder / name)
    assert (same.first.path, same.second.path, same.same) == (folder / "a.wav", folder / "b.flac", True)
    assert (different.second.path, different.same) == (folder / "sub/c.mp3", False)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.jsonl", '{"first": "a.wav", "second": "b.flac"}', r"p\.jsonl:1: a pair needs"),
        ("p.jsonl", '{"first": "a.wav", "second": "b.flac", "same": "maybe"}', "true or false"),
        ("p.jsonl", '{"first": "a.wav", "second": "gone.wav", "same": 1}', "no such file"),
        ("p.txt", "1 a.wav\n", r"p\.txt:1: a pair is"),
        ("p.txt", "\n", "no pairs"),
        ("p.csv", "one,two\na,b\n", "no header"),
    ],
)
def test_broken_pairs_are_named(folder: Path, name: str, content: str, says: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=says):
        trial_list.read(folder / name)


HOSTILE = [
    '{"path": "a.wav", "text": "x", "seconds": ' + "9" * 5000 + "}",
    '{"path": "a.wav", "text": "x", "seconds": 1e999}',
    '{"path": "a.wav", "text": "x", "seconds": NaN}',
    '{"path": "a.wav", "text": "x", "seconds": -1}',
    '{"path": "a.wav", "text": "x", "seconds": [1]}',
    '{"path": "a.wav", "text": "x", "seconds": true, "split": {}}',
    '{"path": "' + "a" * 5000 + '", "text": "x"}',
    '{"path": "a\\u0000.wav", "text": "x"}',
    '{"path": "\\ud800.wav", "text": "x"}',
    '{"path": "a.wav", "text": "\\udfff"}',
    '{"path": "a.wav", "text": "x", "deep": ' + "[" * 50 + "]" * 50 + "}",
    "[" * 100_000,
    '{"path": "a.wav", "text": "' + "x" * 2**20 + '"}',
    '{"path": "/dev/zero", "text": "x"}',
    '{"path": "two\\nlines\\u001b[2J.wav", "text": "x"}',
    '{"path": ["a.wav"], "text": "x"}',
    '{"path": "a.wav", "text": "x", "speaker": ["y"]}',
]


@pytest.mark.parametrize("line", HOSTILE)
def test_a_line_made_to_do_harm_is_one_problem(folder: Path, line: str) -> None:
    path = write_lines(folder, {"path": "a.wav", "text": "hi"}, line)
    rows, problems = manifest.scan(path)
    assert [row.text for row in rows] == ["hi"]
    (problem,) = problems
    assert problem.startswith(f"{path}:2: ") and "\n" not in problem and len(problem) < 1000
    assert problem.encode("utf-8")


def test_a_file_that_is_too_large_is_not_read(folder: Path) -> None:
    path = folder / "endless.jsonl"
    with path.open("wb") as file:
        file.truncate(records.MAX_BYTES + 1)  # a sparse file, which takes no room
    with pytest.raises(InputError, match=r"more than 256 MB; split it"):
        manifest.read(path)
    (folder / "a.txt").write_bytes(b"x" * (records.MAX_LINE + 1))
    (folder / "b.txt").write_text("fine")
    assert any("a.txt: more than 1 MB" in problem for problem in manifest.scan(folder)[1])


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("a.wav")
LINES = st.dictionaries(
    st.sampled_from(
        ["path", "text", "seconds", "corpus", "speaker", "split", "label", "rttm", "values", "file_name", "x"]
    ),
    VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.text(max_size=3), VALUES, max_size=2),
).map(json.dumps)
NOISE = st.text(st.sampled_from('{}[]":,\\u0aé\t"\'01e-. \x00\x1b\u2028'), max_size=40) | st.binary(max_size=30).map(
    lambda content: content.decode("latin-1")
)


@seed(19)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES | NOISE, max_size=6), st.sampled_from([".jsonl", ".tsv", ".csv", ".txt", ".rttm"]))
def test_whatever_a_manifest_holds_is_read_or_refused_in_words(folder: Path, lines: list[str], suffix: str) -> None:
    path = folder / f"fuzz{suffix}"
    header = {".tsv": "path\ttext\n", ".csv": "path,text\n"}.get(suffix, "")
    path.write_bytes((header + "\n".join(lines)).encode("utf-8", "surrogatepass"))
    for need in ("text", "label", "rttm", "values", None):
        try:
            rows, problems = manifest.scan(path, need=need)
        except InputError as error:
            rows, problems = (), (str(error),)
        assert all(row.path.is_file() for row in rows)
        assert all("\n" not in problem for problem in problems)
    for reader in (trial_list.read, diarization.read_rttm):
        with contextlib.suppress(InputError):
            reader(path)

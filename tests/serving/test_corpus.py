"""A corpus in shards: every recording once, resumed after a stop, failures listed and not fatal."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import wav2edge
from wav2edge.cli import main
from wav2edge.measure import manifest as manifests
from wav2edge.runtime.audio.read import load
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.files import write_whole
from wav2edge.runtime.text import language_model
from wav2edge.serving.corpus import CorpusOutcome, Shard, items, outcomes


@pytest.fixture
def manifest(recordings: list[Path], tmp_path: Path) -> Path:
    """Three recordings, two of one name in different folders, one broken and one missing."""
    for folder, source in (("a", recordings[0]), ("b", recordings[1]), ("c", recordings[2])):
        (tmp_path / folder).mkdir()
        shutil.copy(source, tmp_path / folder / ("other.opus" if folder == "c" else "talk.opus"))
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    path = tmp_path / "corpus.jsonl"
    names = ["a/talk.opus", "b/talk.opus", "c/other.opus", "broken.wav", "missing.wav"]
    path.write_text("".join(json.dumps({"path": name}) + "\n" for name in names))
    return path


def run(manifest: Path, *words: str) -> int:
    return main(["transcribe", "--manifest", str(manifest), "-f", "json", "-o", str(manifest.parent / "out"), *words])


def statuses(manifest: Path) -> list[CorpusOutcome]:
    """The status of every recording that has one."""
    out = manifest.parent / "out"
    return outcomes(out, items(manifest, out, ".json"))


def texts(manifest: Path) -> dict[str, str]:
    """The texts of all outputs, by what they are of."""
    found = [json.loads(path.read_text("utf-8")) for path in (manifest.parent / "out").glob("*.json")]
    assert len({each["file"] for each in found}) == len(found)
    return {each["file"]: each["text"] for each in found}


def test_shards_together_have_every_recording_once(
    manifest: Path, recordings: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    codes = [run(manifest, "--shard", f"{number}/3") for number in (1, 2, 3)]
    assert sorted(set(codes)) in ([0, 2], [2])
    with wav2edge.Transcriber() as transcribe:
        names = ("a/talk.opus", "b/talk.opus", "c/other.opus")
        expected = {name: transcribe(path).text for name, path in zip(names, recordings)}
    assert texts(manifest) == expected
    found = {outcome["path"]: outcome["status"] for outcome in statuses(manifest)}
    assert found == {**dict.fromkeys(expected, "done"), "broken.wav": "failed", "missing.wav": "failed"}
    assert "missing.wav: no such file" in capsys.readouterr().err


def test_a_second_run_does_only_what_is_left(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(manifest) == 2
    before = {path: path.stat().st_mtime_ns for path in (manifest.parent / "out").glob("*.json")}
    gone = next(path for path in before if json.loads(path.read_text())["file"] == "b/talk.opus")
    gone.unlink()
    capsys.readouterr()
    assert run(manifest) == 2
    assert "5 recordings in shard 1-of-1, 2 of them done before" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in (manifest.parent / "out").glob("*.json")}
    assert set(after) == set(before)
    assert [path for path in before if after[path] != before[path]] == [gone]


@pytest.fixture
def partial(recordings: list[Path], tmp_path: Path) -> Path:
    """A manifest of a whole recording, one that was cut short, and one that is missing; whole.wav is beside them."""
    samples, rate = soundfile.read(recordings[0])
    soundfile.write(tmp_path / "whole.wav", samples, rate)
    shutil.copy(tmp_path / "whole.wav", tmp_path / "a.wav")
    data = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    path = tmp_path / "corpus.txt"
    path.write_text("a.wav\ncut.wav\nlate.wav\n")
    return path


def listed(manifest: Path) -> dict[str, str]:
    """The statuses in results.jsonl."""
    lines = (manifest.parent / "out" / "results.jsonl").read_text("utf-8").splitlines()
    return {each["path"]: each["status"] for each in map(json.loads, lines)}


def output_of(manifest: Path, name: str) -> Path:
    out = manifest.parent / "out"
    return next(item.output for item in items(manifest, out, ".json") if item.name == name)


def test_a_transcript_in_part_counts_in_every_later_run(partial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that had something left to do counted its own failures only, and ended with 0."""
    assert run(partial) == 2
    shutil.copy(partial.parent / "whole.wav", partial.parent / "late.wav")
    capsys.readouterr()
    assert run(partial) == 2
    said = capsys.readouterr().err
    assert "1 of 3 recordings were transcribed in part before, such as cut.wav" in said
    assert "1 of 1 recordings transcribed in full" in said
    assert listed(partial) == {"a.wav": "done", "cut.wav": "in part", "late.wav": "done"}
    assert run(partial) == 2


def test_the_status_is_that_of_the_last_run_whatever_its_lists_are_called(partial: Path) -> None:
    """Among lists of several shards the last by its name counted, so the corpus stayed in part, with exit code 2."""
    partial.write_text("cut.wav\n")
    codes = {run(partial, "--shard", f"{number}/2") for number in (1, 2)}
    assert codes == {0, 2}
    shutil.copy(partial.parent / "whole.wav", partial.parent / "cut.wav")
    output_of(partial, "cut.wav").unlink()
    assert run(partial) == 0 and listed(partial) == {"cut.wav": "done"}
    assert run(partial) == 0


def test_a_failure_counts_where_the_output_is_gone(partial: Path) -> None:
    """The list said done, and named an output that did not exist."""
    partial.write_text("a.wav\n")
    assert run(partial) == 0
    output_of(partial, "a.wav").unlink()
    (partial.parent / "a.wav").unlink()
    assert run(partial) == 2 and listed(partial) == {"a.wav": "failed"}
    [outcome] = statuses(partial)
    assert outcome["output"] is None and "no such file" in outcome["message"]


def test_outputs_of_another_form_have_their_own_status(partial: Path) -> None:
    """What a run with -f srt left in part was called done because its JSON was."""
    partial.write_text("cut.wav\n")
    assert run(partial) == 2
    shutil.copy(partial.parent / "whole.wav", partial.parent / "cut.wav")
    assert run(partial, "-f", "srt") == 0
    assert run(partial) == 2 and listed(partial) == {"cut.wav": "in part"}


def test_lists_without_times_count_as_older(partial: Path) -> None:
    partial.write_text("a.wav\n")
    results = partial.parent / "out" / "results" / "9-of-9.jsonl"
    results.parent.mkdir(parents=True)
    old = {
        "path": "a.wav",
        "output": output_of(partial, "a.wav").name,
        "status": "in part",
        "seconds": 1,
        "message": "",
    }
    results.write_text(json.dumps(old) + "\n")
    assert run(partial) == 0 and listed(partial) == {"a.wav": "done"}


@pytest.mark.parametrize(
    "line", [b"5", b"[]", b"{}", b'{"path": 5}', b'{"path": "a.wav"}', b"[" * 100_000, b"\xff", b'"\xff"']
)
def test_a_damaged_line_of_a_list_is_left_out(partial: Path, line: bytes) -> None:
    """Valid JSON that is not an object is left out as a damaged line is."""
    partial.write_text("a.wav\n")
    assert run(partial) == 0
    with (partial.parent / "out" / "results" / "1-of-1.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert run(partial) == 0 and listed(partial) == {"a.wav": "done"}


def test_what_was_transcribed_in_part_is_said_again_where_nothing_is_left(
    recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, rate = soundfile.read(recordings[0])
    soundfile.write(tmp_path / "whole.wav", samples, rate)
    data = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    manifest = tmp_path / "corpus.txt"
    manifest.write_text("whole.wav\ncut.wav\n")
    for _ in range(2):
        assert run(manifest) == 2
    assert "1 of 2 recordings were transcribed in part before, such as cut.wav" in capsys.readouterr().err


def test_the_list_of_the_whole_corpus_is_written_after_its_shards(manifest: Path) -> None:
    manifest.write_text("a/talk.opus\nb/talk.opus\n")
    assert [run(manifest, "--shard", f"{number}/2") for number in (1, 2)] == [0, 0]
    assert run(manifest) == 0
    lines = (manifest.parent / "out" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a/talk.opus", "b/talk.opus"]


def test_a_line_after_a_half_written_one_is_kept(manifest: Path) -> None:
    """It was joined to the half line, and neither could be read."""
    manifest.write_text("a/talk.opus\nb/talk.opus\n")
    results = manifest.parent / "out" / "results" / "1-of-1.jsonl"
    results.parent.mkdir(parents=True)
    results.write_text('{"path": "a/talk.opus", "output": "a-1')
    assert run(manifest) == 0
    assert {outcome["path"] for outcome in statuses(manifest)} == {"a/talk.opus", "b/talk.opus"}


def test_a_corpus_is_read_as_single_recordings_are(
    recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The channel, the raw format and the layout of captions were ignored."""
    samples, rate = soundfile.read(recordings[0])
    noise = np.random.default_rng(0).normal(0, 0.2, len(samples))
    stereo = np.stack([noise, samples], axis=1)
    soundfile.write(tmp_path / "two.wav", stereo, rate)
    (tmp_path / "two.pcm").write_bytes((np.clip(stereo, -1, 1) * 32767).astype("<i2").tobytes())
    given = {
        "two.wav": ("--channel", "right", "--max-line-width", "8", "--max-line-count", "1"),
        "two.pcm": ("--channel", "left", "--raw-format", "s16le", "--raw-rate", str(rate), "--raw-channels", "2"),
    }
    for name, words in given.items():
        corpus, out = tmp_path / f"{name}.txt", tmp_path / f"{name}-out"
        corpus.write_text(f"{name}\n")
        alone = tmp_path / f"{name}-alone"
        assert main(["transcribe", str(tmp_path / name), "-f", "srt", "-o", str(alone), *words]) == 0
        assert main(["transcribe", "--manifest", str(corpus), "-f", "srt", "-o", str(out), *words]) == 0
        [expected], [found] = alone.glob("*.srt"), out.glob("*.srt")
        assert found.read_text() == expected.read_text()
    capsys.readouterr()


def test_the_lines_of_a_corpus_are_a_manifest(manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their paths were relative to the folder where the command was called, not to that of the corpus."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    out = tmp_path / "lines"
    assert main(["transcribe", "--manifest", str(manifest), "-f", "jsonl", "-o", str(out)]) == 2
    found = {str(row.path) for path in out.glob("*-*.jsonl") for row in manifests.read(path)}
    assert found == {str(tmp_path / name) for name in ("a/talk.opus", "b/talk.opus", "c/other.opus")}


@pytest.mark.parametrize(
    ("words", "name"),
    [(("-m", "other"), "-m"), (("--channel", "right"), "--channel"), (("--variant", "fp32"), "--variant")],
)
def test_transcripts_of_two_settings_are_not_mixed(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], name: str
) -> None:
    """A run with another model found the transcripts of the first one, and ended as if it had done the work."""
    other = tmp_path / "other"
    shutil.copytree(embedded.bundle_path(), other)
    document = json.loads((other / "bundle.json").read_text("utf-8"))
    for digests in (variant["sha256"] for variant in document["variants"]):
        digests.update({file: f"{digest[:-1]}{'1' if digest[-1] == '0' else '0'}" for file, digest in digests.items()})
    (other / "bundle.json").write_text(json.dumps(document), "utf-8")
    run(manifest, "--shard", "1/2")
    run(manifest, "--shard", "2/2")
    before = texts(manifest)
    capsys.readouterr()
    given = [str(other) if word == "other" else word for word in words]
    for shard in ("1/2", "2/2"):
        assert run(manifest, "--shard", shard, *given) == 2
        assert f"its transcripts were made with another {name}; give another folder" in capsys.readouterr().err
    assert texts(manifest) == before
    assert run(manifest, "--threads", "1") == 2 and "3 of them done before" in capsys.readouterr().err


_ARPA = """\\data\\
ngram 1=4
ngram 2=1

\\1-grams:
-99\t<s>\t-0.3
-2.0\t</s>
-3.0\t<unk>
-1.0\t{word}\t-0.3

\\2-grams:
-0.2\t<s> {word}

\\end\\
"""


@pytest.mark.skipif(language_model.unavailable() is not None, reason="the extra [lm] is not installed on this machine")
@pytest.mark.parametrize(("option", "file"), [("--hotwords", "words.txt"), ("--lm", "words.arpa")])
def test_what_an_option_names_by_a_file_is_compared_by_its_contents(
    manifest: Path, capsys: pytest.CaptureFixture[str], option: str, file: str
) -> None:
    """Only the file's name was kept: with other words in it, half of a corpus had the one and half the other."""
    path, renamed = manifest.parent / file, manifest.parent / f"renamed-{file}"
    text = _ARPA if option == "--lm" else "{word}\n"
    value = "" if option == "--lm" else "@"
    path.write_text(text.format(word="espresso"))
    assert run(manifest, "--shard", "1/2", option, f"{value}{path}") == 2
    settings = manifest.parent / "out" / "results" / "settings-json.json"
    kept = json.loads(settings.read_text("utf-8"))
    before = len(texts(manifest))
    assert 0 < before < 3
    path.rename(renamed)
    capsys.readouterr()
    assert run(manifest, "--shard", "1/2", option, f"{value}{renamed}") == 2
    assert "made with another" not in capsys.readouterr().err
    path.write_text(text.format(word="latte"))
    assert run(manifest, "--shard", "2/2", option, f"{value}{path}") == 2
    assert f"its transcripts were made with another {option}; give another folder" in capsys.readouterr().err
    assert len(texts(manifest)) == before
    # A folder of an older version has the names alone.
    del kept["contents"]
    settings.write_text(json.dumps(kept), "utf-8")
    assert run(manifest, "--shard", "2/2", option, f"{value}{renamed}") == 2
    assert f"made with another {option}" in capsys.readouterr().err
    renamed.rename(path)
    assert run(manifest, "--shard", "2/2", option, f"{value}{path}") == 2
    assert "made with another" not in capsys.readouterr().err and len(texts(manifest)) == 3
    path.write_text(text.format(word="latte"))
    assert run(manifest, "--shard", "2/2", option, f"{value}{path}") == 2
    assert f"made with another {option}" in capsys.readouterr().err


def test_settings_without_a_transcript_do_not_bind(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.write_text(json.dumps({"path": "later.wav"}) + "\n")
    assert run(manifest, "--channel", "right") == 2
    shutil.copy(manifest.parent / "a" / "talk.opus", manifest.parent / "later.wav")
    assert run(manifest) == 0 and run(manifest) == 0
    assert "made with another" not in capsys.readouterr().err


def test_a_half_written_list_is_read_as_far_as_it_goes(manifest: Path) -> None:
    run(manifest)
    results = manifest.parent / "out" / "results" / "1-of-1.jsonl"
    count = len(statuses(manifest))
    results.write_text(results.read_text("utf-8") + '{"path": "a/ta', "utf-8")
    assert len(statuses(manifest)) == count == 5


@pytest.mark.parametrize("character", ["a", "é", "あ", "😀"])
@pytest.mark.parametrize("count", [60, 79, 82, 200])
def test_the_name_of_an_output_is_short_enough_for_the_file_system(tmp_path: Path, character: str, count: int) -> None:
    """It was cut to 80 characters, of which each may be four bytes."""
    (tmp_path / "m.txt").write_text(character * count + ".wav", "utf-8")
    [item] = items(tmp_path / "m.txt", tmp_path, ".jsonl")
    end = len("-0123456789.jsonl")
    kept = min(count, 80, (255 - end) // len(character.encode()))
    assert item.output.name[:-end] == character * kept
    item.output.touch()


def test_an_output_that_cannot_be_written_costs_no_other(partial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run ended, with the name of a temporary file, and so did every restart."""
    shutil.copy(partial.parent / "whole.wav", partial.parent / "late.wav")
    taken = output_of(partial, "a.wav")
    taken.mkdir(parents=True)
    for _ in range(2):
        assert run(partial) == 2
        assert f"a.wav: {taken} cannot be written (" in capsys.readouterr().err
    assert listed(partial) == {"a.wav": "failed", "cut.wav": "in part", "late.wav": "done"}
    taken.rmdir()
    (partial.parent / "cut.wav").unlink()
    partial.write_text("a.wav\nlate.wav\n")
    assert run(partial) == 0 and listed(partial) == {"a.wav": "done", "late.wav": "done"}


def test_a_full_disk_ends_the_run(
    partial: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: str) -> None:
        if path.parent.name == "results":  # what comes before the first transcript
            write_whole(path, content)
            return
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("wav2edge.runtime.files.write_whole", full)
    assert run(partial) == 2
    assert capsys.readouterr().err.endswith(f"{output_of(partial, 'a.wav')}: No space left on device\n")
    assert not statuses(partial)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "names no recording"),
        ("{", "broken JSON"),
        ('{"text": "x"}', "no `path`"),
        ('{"path": ""}', "no `path`"),
        ('{"path": "\\ud800.wav"}', "not a possible file name"),
        ('{"path": "a\\u0000.wav"}', "not a possible file name"),
        ('{"path": "a.wav", "offset": -2.5}', "`offset` must be a number of seconds"),
        ('{"path": "a.wav", "offset": 1}\n{"path": "./a.wav", "offset": 1.0}', "twice"),
        ('{"path": ' + "[" * 100_000, "nested too deeply"),
        ("a.wav\na.wav", "twice"),
        ("a.wav\n./a.wav", "twice"),
    ],
)
def test_a_manifest_that_cannot_be_is_one_line(tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "m.jsonl").write_text(lines)
    with pytest.raises(InputError, match=message):
        items(tmp_path / "m.jsonl", tmp_path, ".json")


@pytest.mark.parametrize("row", ['{"path": "\\ud800.wav"}', '{"path": ' + "[" * 100_000, "{", '{"text": "x"}'])
def test_a_row_that_names_no_recording_costs_no_other(
    partial: Path, row: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A surrogate or many brackets ended the run in an internal error."""
    partial.write_text(f"{row}\na.wav\n")
    for _ in range(2):
        assert run(partial) == 2
        said = capsys.readouterr().err
        assert f"{partial}:1: " in said and "internal" not in said
    assert listed(partial) == {"a.wav": "done"}
    partial.write_text(f"{row}\n")
    assert run(partial) == 2
    said = capsys.readouterr().err
    assert f"{partial}:1: " in said and "names no recording" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", "path,text\na.wav,x\nsub/b.wav,y\n"),
        ("m.tsv", "file_name\ttranscription\na.wav\tx\nsub/b.wav\ty\n"),
        ("m.jsonl", '{"audio_filepath": "a.wav", "offset": 0}\n{"audio_filepath": "sub/b.wav"}\n'),
        ("m.txt", "a.wav\nsub/b.wav\n"),
        ("", ""),
    ],
)
def test_every_manifest_of_the_other_commands_names_recordings(tmp_path: Path, name: str, content: str) -> None:
    """A table was read as a list of names, NeMo's name of the path was not understood, a folder could not be read."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    for recording in ("a.wav", "sub/b.wav"):
        (folder / recording).touch()
    (folder / "notes.md").touch()
    if name:
        (folder / name).write_text(content)
    found = items(folder / name, tmp_path, ".json")
    assert [(item.name, item.audio.path) for item in found] == [
        ("a.wav", folder / "a.wav"),
        ("sub/b.wav", folder / "sub" / "b.wav"),
    ]


def test_parts_of_one_recording_have_outputs_of_their_own(
    recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of parts were refused. Times are the recording's, and jsonl is a manifest of the same parts."""
    first, second = (load(path) for path in recordings[:2])
    soundfile.write(tmp_path / "long.wav", np.concatenate([first, second]), 16000, "FLOAT")
    begin, end = len(first) / 16000, (len(first) + len(second)) / 16000
    rows: list[dict[str, object]] = [
        {"path": "long.wav", "offset": 0, "duration": begin},
        {"path": "long.wav", "offset": begin, "duration": end - begin},
        {"path": "long.wav", "offset": 2, "duration": end},
        {"path": "long.wav", "duration": end + 2},
    ]
    manifest = tmp_path / "parts.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(manifest) == 2
    assert f"the part from 2 s at {end + 2:g} s; correct" in capsys.readouterr().err
    names = [f"long.wav#t=0,{begin:.10g}", f"long.wav#t={begin:.10g},{end:.10g}"]
    failed = f"long.wav#t=2,{end + 2:.10g}"
    assert listed(manifest) == {names[0]: "done", names[1]: "done", failed: "failed", "long.wav": "in part"}
    outputs = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "out").glob("*.json"))
    assert outputs == sorted(["long", *(name.replace(".wav", "") for name in names)])
    documents = {file["file"]: file for file in map(json.loads, map(Path.read_text, (tmp_path / "out").glob("*.json")))}
    with wav2edge.Transcriber() as transcribe:
        alone = [transcribe(first), transcribe(second)]
    for name, expected, offset in zip(names, alone, (0.0, begin)):
        found = documents[name]
        assert (found["text"], found["offset"]) == (expected.text, offset)
        assert found["duration"] == round(expected.seconds, 3)
        assert [word["start"] for word in found["words"]] == [round(w.start + offset, 3) for w in expected.words]
    assert main(["transcribe", "--manifest", str(manifest), "-f", "jsonl", "-o", str(tmp_path / "lines")]) == 2
    lines = [row for path in (tmp_path / "lines").glob("long#*.jsonl") for row in manifests.read(path)]
    found_parts = {(row.path, row.offset, round(row.seconds or 0, 2), row.text) for row in lines}
    assert {(tmp_path / "long.wav", 0.0, round(begin, 2), alone[0].text)} < found_parts
    assert {(tmp_path / "long.wav", begin, round(end - begin, 2), alone[1].text)} < found_parts


def test_a_recording_shorter_than_its_row_is_only_in_part(partial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the row tells of a file that was cut short and has a header of its new length: it was "done"."""
    partial.write_text('{"path": "a.wav", "duration": 60}\n')
    assert run(partial) == 2
    assert "and should have 60 s" in capsys.readouterr().err
    assert listed(partial) == {"a.wav": "in part"}


def test_a_recording_is_no_manifest(partial: Path) -> None:
    with pytest.raises(InputError, match="is a recording"):
        items(partial.parent / "a.wav", partial.parent, ".json")


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"])
def test_a_shard_that_cannot_be_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match="3/16"):
        Shard.parsed(text)


def test_options_that_make_no_sense_together(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "--manifest", str(manifest)]) == 2
    assert main(["transcribe", "--manifest", str(manifest), "-o", "x", "a.wav"]) == 2
    assert main(["transcribe", "--shard", "1/2", "a.wav"]) == 2
    assert main(["transcribe"]) == 2
    assert capsys.readouterr().err.count("\n") == 4

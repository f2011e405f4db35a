"""``wav2edge transcribe`` as a user runs it; the null engine recognises nothing, but takes every step."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from wav2edge.cli import _foreign, main
from wav2edge.cli._decoding import Cut
from wav2edge.cli._transcripts import output_names
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.recordings.chunking import Chunking
from wav2edge.runtime.text import language_model


@pytest.fixture
def null_options(shapes_bundle: Bundle) -> list[str]:
    return ["-m", str(shapes_bundle.path), "--engine", "null"]


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """A folder with recordings that can be used and recordings that cannot."""
    folder = tmp_path / "talks"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, (16000, 6)).astype(np.float32)
    soundfile.write(folder / "a.wav", noise[:, 0], 16000)
    soundfile.write(folder / "narrow.wav", noise[:8000, 0], 8000)
    soundfile.write(folder / "wide.wav", np.repeat(noise[:, 0], 12), 192000)
    soundfile.write(folder / "six.wav", noise, 16000)
    soundfile.write(folder / "half.flac", np.repeat(noise[:, 0], 10), 16000)
    half = folder / "half.flac"
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    (folder / "zero.wav").write_bytes(b"")
    (folder / "text.wav").write_text("no sound\n" * 40)
    soundfile.write(folder / "short.wav", noise[:399, 0], 16000)
    (folder / "dir.wav").mkdir()
    return folder


BAD = ("dir.wav", "half.flac", "short.wav", "text.wav", "zero.wav")


def test_bad_recordings_are_named_one_line_each_and_the_others_are_done(
    talks: Path, tmp_path: Path, null_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    vanished = str(talks / "vanished.wav")
    url = "https://example.org/talk.mp3"
    code = main(["transcribe", str(talks / "*"), vanished, url, *null_options, "-f", "json", "-o", str(out)])
    said = capsys.readouterr().err.splitlines()
    assert code == 2
    assert sorted(path.name for path in out.iterdir()) == [
        "a.json",
        "half.json",
        "narrow.json",
        "six.json",
        "wide.json",
    ]
    assert all(line.startswith("wav2edge: ") for line in said)
    named = [line.split(": ")[1] for line in said[:-1]]
    six = [line for line in said if "six.wav" in line]  # it is transcribed, and what averaging may lose is said
    assert len(six) == 1 and "its 6 channels hold different sound" in six[0]
    assert [name for name in named if "six.wav" not in name] == [*(str(talks / name) for name in BAD), vanished, url]
    assert said[-1] == "wav2edge: 4 of 11 recordings transcribed, 1 only in part, 6 could not be used"
    assert json.loads((out / "half.json").read_text("utf-8"))["complete"] is False
    for name in ("narrow", "wide", "six"):
        assert json.loads((out / f"{name}.json").read_text("utf-8"))["duration"] == 1.0


def test_standard_input_is_named_once(null_options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The second one was at its end, and users of the command were told to "seek(0) first"."""
    assert main(["transcribe", "-", "-", *null_options]) == 2
    assert capsys.readouterr().err == "wav2edge: -: standard input is named twice, and can be read once\n"


def test_standard_input_that_was_read_before(talks: Path, null_options: list[str]) -> None:
    with (talks / "a.wav").open("rb") as file:
        file.seek(0, os.SEEK_END)
        command = [sys.executable, "-m", "wav2edge", "transcribe", "-", *null_options]
        done = subprocess.run(command, stdin=file, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "wav2edge: standard input: it holds no data; it was read to its end before\n"


@pytest.mark.parametrize("name", BAD)
def test_one_bad_recording_alone(
    talks: Path, null_options: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(talks / name), *null_options]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and name in captured.err


def test_cut_and_damaged_mp3s_give_no_lines_but_ours(
    tmp_path: Path, null_options: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """libmpg123 writes its own warnings to the process's stderr, past Python: five lines and more for such files.

    What is left of them is transcribed; the exit code says that something is missing.
    """
    tone = np.sin(np.arange(160000) * 0.05) * np.random.default_rng(0).uniform(0.1, 0.5, 160000)
    soundfile.write(tmp_path / "whole.mp3", tone, 16000)
    data = bytearray((tmp_path / "whole.mp3").read_bytes())
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 2])
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    (tmp_path / "damaged.mp3").write_bytes(data)
    assert main(["transcribe", *(str(tmp_path / f"{name}.mp3") for name in ("cut", "damaged")), *null_options]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3 and "cut.mp3: it breaks off after 4.9 s of 10.1 s" in lines[0]
    assert "damaged.mp3: it is damaged at 4.9 s" in lines[1] and lines[2].startswith("wav2edge: 0 of 2")


@pytest.mark.parametrize("command", ["transcribe", "evaluate", "listen"])
def test_the_bound_on_pauses_inside_words_can_be_set(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "--word-gap" in capsys.readouterr().out
    assert main([command, "x.wav", "--word-gap", "0"]) == 2
    assert "--word-gap" in capsys.readouterr().err


def test_only_the_decoders_own_lines_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with _foreign.without_lines(_foreign.MP3_DECODER):
        os.write(2, b"first\nNote: Trying to resync...\nlast")
    assert capfd.readouterr().err == "first\nlast"


def test_chunks_suit_the_model_unless_their_length_is_given(ctc_spec: ModelSpec) -> None:
    short = replace(ctc_spec, trained_seconds=12.0)
    assert Cut(None, None).chunking(short) == Chunking(12.0, 2.0)
    assert Cut(None, 1.0).chunking(short) == Chunking(12.0, 1.0)
    assert Cut(20.0, None).chunking(short) == Chunking(20.0, 2.0)
    with pytest.raises(InputError, match="at least four times"):
        Cut(None, 4.0).chunking(short)


def test_every_format_is_printed(talks: Path, null_options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for name, start in {"text": "", "srt": "", "vtt": "WEBVTT\n", "tsv": "start\tend\ttext\n"}.items():
        assert main(["transcribe", str(talks / "a.wav"), *null_options, "-f", name]) == 0
        assert capsys.readouterr().out == start
    two = [str(talks / "a.wav"), str(talks / "six.wav")]
    assert main(["transcribe", *two, *null_options, "-f", "json"]) == 0
    assert [document["file"] for document in json.loads(capsys.readouterr().out)] == two
    assert main(["transcribe", *two, *null_options, "-f", "jsonl"]) == 0
    assert [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()] == two
    assert main(["transcribe", *two, *null_options, "-f", "srt"]) == 2
    assert "add -o DIR" in capsys.readouterr().err


def test_standard_input(talks: Path, null_options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wav2edge", "transcribe", "-", *null_options, "-f", "json"],
        input=(talks / "a.wav").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["duration"] == 1.0
    nothing = subprocess.run(
        [sys.executable, "-m", "wav2edge", "transcribe", "-", *null_options], input=b"", capture_output=True
    )
    assert nothing.returncode == 2
    assert nothing.stderr.decode() == "wav2edge: standard input: it holds no data\n"


def test_output_names_never_collide() -> None:
    assert output_names(["x/a.wav", "b.mp3"], ".srt") == {"x/a.wav": "a.srt", "b.mp3": "b.srt"}
    found = output_names(["x/a.wav", "y/a.wav", "y/a.mp3", "-", "z/x/a.wav", "z/x/a.wav"], ".srt")
    assert found == {
        "x/a.wav": "a.wav.srt",
        "y/a.wav": "y-a.wav.srt",
        "y/a.mp3": "a.mp3.srt",
        "-": "stdin.srt",
        "z/x/a.wav": "x-a.wav.srt",
    }


def test_an_output_directory_that_cannot_be_written(
    talks: Path, null_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(talks / "a.wav"), *null_options, "-o", str(talks / "text.wav" / "x")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_output_whose_name_is_taken_costs_no_other_recording(
    talks: Path, tmp_path: Path, null_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ended with the name of a temporary file, and the second recording was not transcribed."""
    taken = tmp_path / "out" / "a.txt"
    taken.mkdir(parents=True)
    names = [str(talks / "a.wav"), str(talks / "narrow.wav")]
    assert main(["transcribe", *names, *null_options, "-o", str(taken.parent)]) == 2
    said = capsys.readouterr().err
    assert f"{names[0]}: {taken} cannot be written (" in said and ".tmp" not in said
    assert "1 of 2 recordings transcribed, 1 could not be used" in said
    assert sorted(path.name for path in taken.parent.iterdir()) == ["a.txt", "narrow.txt"]


def test_a_full_disk_ends_the_command(
    talks: Path,
    tmp_path: Path,
    null_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("wav2edge.runtime.files.write_whole", full)
    names = [str(talks / "a.wav"), str(talks / "narrow.wav")]
    assert main(["transcribe", *names, *null_options, "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"wav2edge: {tmp_path / 'out' / 'a.txt'}: No space left on device\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--context", "9"], "context"),
        (["--pause", "0"], "pause"),
        (["--lm", "gone.arpa"], "no such language model"),
        (["--lm", "talk.wav"], "put --lm last"),
        (["--lm"], "brings no language model"),
        (["--hotwords", "@gone.txt"], "gone.txt"),
        (["--hotwords", "@/dev/zero"], "/dev/zero: more than"),
        (["--lm-alpha", "5"], "--lm-alpha is for --lm"),
        (["--hotword-weight", "5"], "--hotword-weight is for --hotwords"),
        (["--beam-width", "1"], "--beam-width is for --lm or --hotwords"),
        (["--workers", "3"], "--workers is for --manifest"),
        (["--worker-gpus", "1"], "--worker-gpus is for --manifest"),
        (["--max-line-width", "10"], "--max-line-width is for subtitles"),
        (["-f", "tsv", "--max-words-per-cue", "1"], "--max-words-per-cue is for subtitles"),
    ],
)
def test_wrong_options_say_so_before_anything_runs(
    talks: Path, null_options: list[str], options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(talks / "a.wav"), *null_options, *options]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.count("\n") == 1 and captured.out == ""


@pytest.mark.skipif(language_model.unavailable() is not None, reason="the extra [lm] is not installed on this machine")
def test_a_language_model_is_loaded_without_a_word(talks: Path, tmp_path: Path, null_options: list[str]) -> None:
    """KenLM draws a progress bar into stderr, terminal or not."""
    arpa = tmp_path / "x.arpa"
    sections = (
        "\\data\\\nngram 1=3\nngram 2=1\n",
        "\\1-grams:\n-99\t<s>\t0\n-1\t</s>\n-1\ta\t0\n",
        "\\2-grams:\n-1\t<s> a\n",
    )
    arpa.write_text("\n".join((*sections, "\\end\\\n")), "utf-8")
    command = [sys.executable, "-m", "wav2edge", "transcribe", str(talks / "a.wav"), *null_options, "--lm", str(arpa)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_interrupting_keeps_what_is_done(talks: Path, tmp_path: Path, null_options: list[str]) -> None:
    """The last recording is a pipe that has no writer: the command waits there until it is interrupted."""
    out, pipe = tmp_path / "out", tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "wav2edge", "transcribe", str(talks / "a.wav"), str(pipe), *null_options]
    process = subprocess.Popen(
        [*command, "-f", "srt", "-o", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (out / "a.srt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "wav2edge: interrupted\n"
    assert [path.name for path in out.iterdir()] == ["a.srt"]


def test_progress_on_a_terminal_only(tmp_path: Path, null_options: list[str]) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(16000 * 1200, np.int16), 16000)
    command = [sys.executable, "-m", "wav2edge", "transcribe", str(path), *null_options]
    piped = subprocess.run(command, capture_output=True, check=True)
    assert piped.stderr == b""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    assert process.wait() == 0
    assert re.search(rb"1/1 long.wav .*% .* of 20:00", shown)
    assert shown.endswith(b"\r\x1b[K"), "the line is taken away at the end"


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are of Unix")
def test_a_long_recording_through_a_named_pipe(
    tmp_path: Path, clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """It was read once for its text and, after the pipe's end, once more for its loudness."""
    clip, rate = soundfile.read(clips[0][0], dtype="float32")
    soundfile.write(tmp_path / "long.wav", np.tile(clip, 40 * rate // len(clip)), rate, subtype="PCM_16")
    os.mkfifo(tmp_path / "pipe")
    script = 'cat "$0" > "$1" & exec "$2" -m wav2edge transcribe "$1"'
    command = ["sh", "-c", script, str(tmp_path / "long.wav"), str(tmp_path / "pipe"), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 20


def test_a_name_that_is_not_utf8_is_no_traceback(talks: Path, tmp_path: Path, null_options: list[str]) -> None:
    name = os.fsencode(talks) + b"/caf\xe9.wav"
    os.link(talks / "a.wav", name)
    command = [sys.executable, "-m", "wav2edge", "transcribe", *null_options, os.fsdecode(name)]
    for more in ([str(talks / "a.wav")], ["-f", "json"], ["-f", "json", "-o", str(tmp_path / "out")]):
        done = subprocess.run([*command, *more], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr


def test_a_library_that_breaks_when_it_is_loaded_is_said_and_another_engine_tried(
    talks: Path, tmp_path: Path, shapes_bundle: Bundle
) -> None:
    broken = tmp_path / "broken" / "onnxruntime"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise ImportError("GLIBCXX_3.4.99 not found")')
    command = [sys.executable, "-m", "wav2edge", "transcribe", str(talks / "a.wav"), "--engine", "onnxruntime"]
    environment = {**os.environ, "PYTHONPATH": str(broken.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 3
    [line] = [line for line in done.stderr.splitlines() if "embedded demo" not in line]
    assert "its library fails when it is imported (GLIBCXX_3.4.99 not found)" in line


@pytest.mark.parametrize("spelled", ["same", "relative", "linked"])
def test_a_reference_beside_its_recording_is_not_written_over(
    talks: Path,
    null_options: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    spelled: str,
) -> None:
    (talks / "a.txt").write_text("what was really said")
    (talks.parent / "link").symlink_to(talks)
    monkeypatch.chdir(talks.parent)
    folder = {"same": str(talks), "relative": f"./{talks.name}/../{talks.name}", "linked": "link"}[spelled]
    assert main(["transcribe", str(talks / "a.wav"), *null_options, "-o", folder]) == 2
    assert "exists beside its recording" in capsys.readouterr().err
    assert (talks / "a.txt").read_text() == "what was really said"


def test_names_stay_inside_the_folder() -> None:
    assert not any(name.startswith("/") for name in output_names(["other/x.wav", "/x.wav"], ".txt").values())


@pytest.mark.parametrize(("option", "value"), [("--window", "inf"), ("--hotwords", ",")])
def test_values_that_say_nothing_are_one_line(
    talks: Path, null_options: list[str], capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert main(["transcribe", str(talks / "a.wav"), *null_options, option, value]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.fixture
def call(tmp_path: Path, clips: list[tuple[Path, str]]) -> Path:
    """A telephone call: one party per channel."""
    parties = [read.load(path) for path, _ in clips if path.suffix == ".opus"][:2]
    both = np.zeros((max(map(len, parties)), 2), np.float32)
    for column, party in enumerate(parties):
        both[: len(party), column] = party
    soundfile.write(tmp_path / "call.wav", both, 16000, subtype="PCM_16")
    return tmp_path / "call.wav"


def texts(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert main(["transcribe", *map(str, words), "-f", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return [document["text"] for document in (found if isinstance(found, list) else [found])]


def test_each_channel_has_its_transcript(call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two parties were averaged without a word, one over the other."""
    left, right = (texts(capsys, call, "--channel", name)[0] for name in ("left", "2"))
    assert left and right and left != right
    assert texts(capsys, call, "--channel", "each") == [left, right]
    assert main(["transcribe", str(call), "--channel", "each"]) == 0
    assert capsys.readouterr().out == f"channel 1: {left}\nchannel 2: {right}\n"
    assert main(["transcribe", str(call), "--channel", "each", "-f", "jsonl"]) == 0
    assert [json.loads(line)["channel"] for line in capsys.readouterr().out.splitlines()] == [1, 2]
    out = tmp_path / "out"
    assert main(["transcribe", str(call), "--channel", "each", "-f", "srt", "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["call.ch1.srt", "call.ch2.srt"]
    assert main(["transcribe", str(call), "--channel", "each", "-f", "vtt"]) == 2
    assert "each channel as vtt: add -o DIR" in capsys.readouterr().err


def test_averaging_channels_that_differ_names_the_option(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(call)]) == 0
    assert "choose with --channel (left, right, a number, loudest, each)" in capsys.readouterr().err


@pytest.mark.parametrize(("encoding", "dtype"), [("s16le", "<i2"), ("f32le", "<f4")])
def test_samples_without_a_header(
    call: Path, tmp_path: Path, encoding: str, dtype: str, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, _ = soundfile.read(call, dtype="int16" if encoding == "s16le" else "float32")
    (tmp_path / "call.raw").write_bytes(samples.astype(dtype).tobytes())
    raw = [tmp_path / "call.raw", "--raw-format", encoding, "--raw-channels", 2, "--raw-rate", 16000]
    assert texts(capsys, *raw, "--channel", "each") == texts(capsys, call, "--channel", "each")
    assert main(["transcribe", str(tmp_path / "call.raw")]) == 2
    assert "--raw-format, --raw-rate and --raw-channels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--channel", "3"], "no channel 3; it has 2 channels"),
        (["--channel", "middle"], "no channel 'middle'"),
        (["--raw-rate", "8000"], "--raw-rate is for samples without a header; add --raw-format"),
        (["--raw-channels", "2"], "--raw-channels is for samples without a header; add --raw-format"),
        (["--raw-format", "mp3"], "--raw-format mp3: choose from s16le, f32le, mulaw, alaw"),
        (["--raw-format", "s16le", "--raw-rate", "5"], "--raw-rate 5: give a rate in Hz from 1000 to 1000000"),
        (["--raw-format", "s16le", "--raw-channels", "99"], "--raw-channels 99: give a whole number from 1 to 32"),
    ],
)
def test_channels_and_raw_formats_that_cannot_be(
    call: Path, null_options: list[str], options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(call), *null_options, *options]) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err and len(err.splitlines()) == 1


def test_standard_input_is_no_row_of_a_manifest(
    talks: Path, null_options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO((talks / "a.wav").read_bytes())))
    assert main(["transcribe", "-", *null_options, "-f", "jsonl"]) == 2
    assert "standard input as jsonl: a line of a manifest names its recording" in capsys.readouterr().err


def test_closed_standard_output_is_said(clips: list[tuple[Path, str]]) -> None:
    command = f'exec "{sys.executable}" -m wav2edge transcribe "{clips[0][0]}" --engine onnxruntime >&-'
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "standard output is closed" in done.stderr

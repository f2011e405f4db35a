"""``wav2edge listen`` as its user meets it: files, pipes, saving, Ctrl-C, bad input."""

from __future__ import annotations

import fcntl
import io
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
import warnings
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import soundfile

from wav2edge.cli import main
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec, Output
from wav2edge.runtime.bundle.write import describe_variant, new_bundle, write_manifest
from wav2edge.runtime.heads.sequence_classification import Options
from wav2edge.runtime.live import events

COMMAND = [sys.executable, "-m", "wav2edge", "listen"]


@pytest.fixture
def shapes(shapes_bundle: Bundle) -> list[str]:
    return ["-m", str(shapes_bundle.path), "--engine", "null"]


@pytest.fixture
def classifier(tmp_path: Path, ctc_spec: ModelSpec) -> Bundle:
    """A classifier for the null engine, which gives every label the same probability."""
    spec = replace(
        ctc_spec,
        head="sequence_classification",
        outputs=(Output("logits", ("batch", "labels"), "unnormalised score of each label"),),
        labels=("other", "hey mirror", "lights off"),
        blank=None,
        delimiter=None,
        head_options=Options(),
    )
    with new_bundle(tmp_path / "classifier") as directory:
        (directory / "fp32.onnx").write_bytes(b"no graph" * 100)
        (directory / "vocab.json").write_text("{}")
        variant = describe_variant(directory, "fp32", "fp32", {"full": "fp32.onnx"})
        write_manifest(directory, spec, [variant], {"checkpoint": "none"}, ["vocab.json"])
    return Bundle.open(tmp_path / "classifier")


def test_every_line_of_json_fits_the_schema(
    shapes: list[str], clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["listen", *shapes, "--file", str(clips[0][0]), "--fast", "--json"]) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines
    for line in lines:
        jsonschema.validate(line, events.schema())
    assert "s of sound" in err and "dropped" in err


def test_events_go_to_a_file_and_captions_are_still_printed(
    clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "events.jsonl"
    assert main(["listen", "--file", str(clips[0][0]), "--fast", "--json", str(target)]) == 0
    found = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert {event["event"] for event in found} >= {"partial", "final"}
    assert capsys.readouterr().out.splitlines() == [event["text"] for event in found if event["event"] == "final"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_events_on_a_full_disk_end_in_a_line_that_names_the_file(
    shapes: list[str], clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    given = ["--file", str(clips[0][0]), "--fast", "--json", str(tmp_path / "events.jsonl")]
    assert main(["listen", *shapes, *given]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "written" in line]
    assert "events.jsonl: the events cannot be written" in line


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == events.schema()


def test_a_file_becomes_lines_and_files(
    clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = [tmp_path / f"x{suffix}" for suffix in (".srt", ".vtt", ".jsonl")]
    arguments = [word for path in saved for word in ("--save", str(path))]
    assert main(["listen", "--file", str(clips[0][0]), "--fast", *arguments, "--record", str(tmp_path / "x.flac")]) == 0
    out, err = capsys.readouterr()
    finals = [json.loads(line) for line in saved[2].read_text("utf-8").splitlines()]
    assert out.splitlines() == [final["text"] for final in finals]
    assert finals
    assert saved[0].read_text("utf-8").startswith("1\n00:00:0")
    assert saved[1].read_text("utf-8").startswith("WEBVTT\n")
    recorded, rate = soundfile.read(tmp_path / "x.flac", dtype="float32")
    played = read.load(clips[0][0])
    assert (rate, len(recorded)) == (16000, len(played))
    assert np.abs(recorded - played).max() <= 1 / 32768
    assert "small embedded demo model" in err


def test_a_pipe_gives_what_its_file_gives(shapes: list[str], clips: list[tuple[Path, str]]) -> None:
    samples = (read.load(clips[0][0]) * 32767).astype("<i2").tobytes()
    done = subprocess.run([*COMMAND, *shapes, "--stdin", "--json"], input=samples, capture_output=True, timeout=60)
    assert done.returncode == 0
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["time"] == pytest.approx(len(samples) / 32000, abs=0.01)


def test_a_wav_file_that_breaks_off_in_a_pipe_is_captioned_and_reported(clips: list[tuple[Path, str]]) -> None:
    """It gave exit code 0 and no message; --file and ``transcribe -`` give 2."""
    file = io.BytesIO()
    samples = read.load(clips[0][0])
    soundfile.write(file, np.concatenate((samples, np.zeros(32000, np.float32))), 16000, format="WAV", subtype="PCM_16")
    cut = file.getvalue()[:-64000]
    done = subprocess.run([*COMMAND, "--stdin"], input=cut, capture_output=True, timeout=60)
    whole = subprocess.run([*COMMAND, "--stdin"], input=cut[44:], capture_output=True, timeout=60, check=True)
    assert done.stdout == whole.stdout != b""
    seconds = len(samples) / 16000
    line = f"wav2edge: standard input: it breaks off after {seconds:.1f} s of {seconds + 2:.1f} s; copy or convert it"
    assert done.returncode == 2 and done.stderr.decode().splitlines()[-1].startswith(line)


def test_an_empty_pipe_is_one_line(shapes: list[str]) -> None:
    done = subprocess.run([*COMMAND, *shapes, "--stdin"], input="", capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "wav2edge: standard input: no sound came; check the program that writes into the pipe"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_a_summary(
    shapes: list[str], clips: list[tuple[Path, str]], tmp_path: Path, number: signal.Signals
) -> None:
    recording = tmp_path / "x.flac"
    process = subprocess.Popen(
        [*COMMAND, *shapes, "--file", str(clips[0][0]), "--json", "--record", str(recording)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "s of sound" in err.splitlines()[-1]
    assert len(soundfile.read(recording)[0]) >= 16000


def test_a_terminal_that_is_closed_ends_with_the_final_of_what_was_said(
    clips: list[tuple[Path, str]], tmp_path: Path
) -> None:
    """It ended ``listen`` at once: the running utterance was lost, and the end of the recording."""
    found, recording, long = tmp_path / "events.jsonl", tmp_path / "x.wav", tmp_path / "long.wav"
    soundfile.write(long, np.tile(read.load(clips[0][0], 16000), 20), 16000)
    terminal, inner = os.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup

    process = subprocess.Popen(
        [*COMMAND, "--file", str(long), "--json", str(found), "--record", str(recording)],
        stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
        preexec_fn=take_terminal,
    )  # fmt: skip
    os.close(inner)
    deadline = time.monotonic() + 60
    while not (found.exists() and '"stats"' in found.read_text()) and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 1 << 16)
    os.close(terminal)
    assert process.wait(20) == 0
    kinds = [json.loads(line) for line in found.read_text().splitlines()]
    assert any(each["event"] == "final" for each in kinds)
    assert len(soundfile.read(recording)[0]) / 16000 == max(each["time"] for each in kinds if each["event"] == "stats")


def test_a_closed_pipe_is_no_error(shapes: list[str], clips: list[tuple[Path, str]]) -> None:
    command = " ".join([*COMMAND, *shapes, "--file", str(clips[0][0]), "--fast", "--json", "| head -n 1"])
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--file", "missing.wav"], "no such file"),
        (["--fast"], "--fast needs --file"),
        (["--file", "{clip}", "--save", "x.doc"], ".srt, .vtt or .jsonl"),
        (["--file", "{clip}", "--record", "x.mp3"], ".flac or .wav"),
        (["--file", "{clip}", "--record", "{clip}"], "exists already"),
        (["--file", "{clip}", "--longest-utterance", "40"], "longest utterance"),
        (["--file", "{clip}", "--longest-utterance", "0.3"], "longest utterance"),
        (["--file", "{clip}", "--save", "x.srt", "--record", "x.mp3"], ".flac or .wav"),
        (["--file", "{clip}", "--save", "no/such/folder.srt"], "no such folder"),
        (["--file", "{clip}", "--save", "x.jsonl", "--json", "x.jsonl"], "--save and --json: both name x.jsonl"),
        (["--file", "{clip}", "--save", "x.jsonl", "--json", "../{folder}/./x.jsonl"], "--save and --json: both name"),
        (["--file", "{clip}", "--save", "x.srt", "--save", "./x.srt"], "--save and --save: both name ./x.srt"),
        (["--file", "{clip}", "--record", "x.flac", "--json=x.flac"], "--record and --json: both name x.flac"),
        (["--file", "{clip}", "--json={clip}"], "--file and --json: both name"),
        (["--measure", "{clip}", "--json={clip}"], "--measure and --json: both name"),
        (["--measure", "{clip}", "--plot", "x.png", "--json=x.png"], "--json and --plot: both name x.png"),
        (["--file", "{clip}", "--player", "paplay"], "--player is for --measure"),
        (["--file", "{clip}", "--microphone", "usb"], "--microphone is for the microphone"),
        (["--device", "usb"], "choose the microphone with --microphone usb"),
        (["--measure", "{clip}", "--save", "x.srt"], "--save is for captions"),
        (["--measure", "{clip}", "--fast", "--player", "paplay"], "--fast"),
        (["--measure", "missing.jsonl"], "missing.jsonl"),
        (["--channel", "left"], "--channel is for --file and --stdin"),
        (["--file", "{clip}", "--channel", "9"], "no channel 9"),
        (["--file", "{clip}", "--raw-rate", "8000"], "add --raw-format"),
    ],
)
def test_bad_input_is_one_line(
    shapes: list[str],
    clips: list[tuple[Path, str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    clip = tmp_path / "clip.flac"
    clip.write_bytes(next(path for path, _ in clips if path.suffix == ".flac").read_bytes())
    monkeypatch.chdir(tmp_path)
    words = [word.replace("{clip}", str(clip)).replace("{folder}", tmp_path.name) for word in arguments]
    before = clip.read_bytes()
    assert main(["listen", *shapes, *words]) == 2
    assert clip.read_bytes() == before
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["clip.flac"]


def test_a_closed_standard_input_is_one_line(shapes: list[str]) -> None:
    command = " ".join([*COMMAND, *shapes, "--stdin", "<&-"])
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["wav2edge: --stdin: standard input is closed; pipe sound in"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--fast", "--plot", "x.foo"], 2, "a plot is saved as one of"),
        (["--player", "no-such-player --loud"], 3, "no such program"),
        (["--player", "paplay 'half a quote"], 2, "No closing quotation"),
    ],
)
def test_measure_finds_what_cannot_be_before_it_plays(
    clips: list[tuple[Path, str]],
    shapes: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"path": str(clips[0][0]), "text": clips[0][1], "corpus": "commands"}) + "\n")
    assert main(["listen", *shapes, "--measure", str(manifest), *arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and message in err and len(err.splitlines()) == 1


def test_a_plot_of_a_clip_without_words_is_drawn_without_a_warning(
    shapes: list[str], clips: list[tuple[Path, str]], tmp_path: Path
) -> None:
    """Matplotlib warned that there was nothing to put into a legend."""
    pytest.importorskip("jiwer", reason="the scores need the extra [eval]")
    pytest.importorskip("matplotlib", reason="plots need the extra [report]")
    manifest, plot = tmp_path / "m.jsonl", tmp_path / "x.png"
    manifest.write_text(json.dumps({"path": str(clips[0][0]), "text": ""}) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["listen", *shapes, "--measure", str(manifest), "--fast", "--plot", str(plot)]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_measure_prints_a_table_and_json(
    clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jiwer", reason="the scores need the extra [eval]")
    path, text = clips[0]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"path": str(path), "text": text, "corpus": "commands"}) + "\n")
    plot = tmp_path / "x.png"
    assert main(["listen", "--measure", str(manifest), "--fast", "--plot", str(plot)]) == 0
    table = capsys.readouterr().out
    assert "commands" in table and "UPWR" in table
    assert "dropped: 0.00 s of sound; source lost: 0 times" in table
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main(["listen", "--measure", str(manifest), "--fast", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    same, finals = report["finals_equal_to_transcribe"]
    assert same == finals >= 1
    figures = report["corpora"]["commands"]
    assert figures["stable_changed"] == 0
    # What the machine is slow at today shows in how late the partials of the same run are.
    late = figures["finalisation"]["p95"] - report["endpoint_silence"]
    assert 0 <= late <= 0.3 + 2 * report["lag"]["p95"]
    assert report["seconds"] > 3
    assert (report["dropped"], report["source_lost"]) == (0, 0)


def test_a_pipe_of_two_channels_takes_the_one_that_is_named(clips: list[tuple[Path, str]]) -> None:
    speech = (read.load(clips[0][0]) * 32767).astype("<i2")
    both = np.stack([np.zeros_like(speech), speech], axis=1)
    raw = ["--stdin", "--raw-format", "s16le", "--raw-channels", "2"]
    said = {}
    for channel in ("left", "right"):
        command = [*COMMAND, *raw, "--channel", channel]
        said[channel] = subprocess.run(command, input=both.tobytes(), capture_output=True, timeout=60, check=True)
    alone = subprocess.run([*COMMAND, "--stdin"], input=speech.tobytes(), capture_output=True, timeout=60, check=True)
    loudest = subprocess.run([*COMMAND, *raw, "--channel", "loudest"], input=b"", capture_output=True, timeout=60)
    assert loudest.returncode == 2 and b"is known at its end only" in loudest.stderr
    assert said["left"].stdout == b"" and said["right"].stdout == alone.stdout != b""


def test_a_classifier_gives_labels(
    classifier: Bundle, clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was refused: only models that transcribe could listen."""
    model = ["-m", str(classifier.path), "--engine", "null", "--file", str(clips[0][0]), "--fast"]
    saved = tmp_path / "labels.jsonl"
    assert main(["listen", *model, "--min-confidence", "0.2", "--hop", "0.25", "--save", str(saved)]) == 0
    out, err = capsys.readouterr()
    assert "labels" in err
    lines = [json.loads(line) for line in saved.read_text("utf-8").splitlines()]
    assert {line["label"] for line in lines} == {"hey mirror", "lights off"}
    assert len(out.splitlines()) == len(lines) and "hey mirror" in out
    for line in lines:
        jsonschema.validate(line, events.schema())
    assert main(["listen", *model, "--min-confidence", "0.9"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and " s of sound, 0 labels, " in err  # it said 0 words
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"path": str(clips[0][0]), "text": clips[0][1]}) + "\n")
    assert main(["listen", *model[:4], "--measure", str(manifest)]) == 2
    assert "--measure is for models that transcribe" in capsys.readouterr().err


_TWICE = """
import signal, sys
from wav2edge.cli import listen
from wav2edge.devices.open import open_model
from wav2edge.runtime.live import events
from wav2edge.runtime.live.sources import FileSource
from wav2edge.runtime.live.transcriber import LiveTranscriber

before = signal.getsignal(signal.SIGINT)
with LiveTranscriber(open_model(sys.argv[1], "null")) as live:
    session = live.session(FileSource(sys.argv[2], fast=True))
    try:
        with listen._stops(session):
            signal.raise_signal(signal.SIGINT)
            assert all(isinstance(event, events.Stats) for event in session), "it did not stop"
            assert session.seconds < 1
            signal.raise_signal(signal.SIGINT)
            sys.exit("the second did not end it")
    except KeyboardInterrupt:
        assert signal.getsignal(signal.SIGINT) is before
        print("ended")
"""


def test_a_second_ctrl_c_ends_at_once(shapes_bundle: Bundle, clips: list[tuple[Path, str]]) -> None:
    """In a process of its own, whose main thread has nothing else to do with signals."""
    command = [sys.executable, "-c", _TWICE, str(shapes_bundle.path), str(clips[0][0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


@pytest.mark.parametrize(
    "option", ["--hotwords=mirror", "--lm=x.arpa", "--longest-utterance=5", "--save=x.srt", "--left-context=1"]
)
def test_options_for_captions_are_refused_with_labels(
    classifier: Bundle,
    clips: list[tuple[Path, str]],
    option: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["listen", "-m", str(classifier.path), "--engine", "null", "--file", str(clips[0][0]), "--fast"]
    assert main([*command, option]) == 2
    assert "for models that transcribe; this one's head is sequence_classification" in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))


def test_a_start_that_fails_leaves_no_empty_captions(
    shapes: list[str], clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    saved = tmp_path / "x.srt"
    command = ["listen", *shapes, "--file", str(clips[0][0]), "--fast", "--save", str(saved)]
    assert main([*command, f"--json={tmp_path / 'folder.jsonl'}"]) == 2
    assert "folder.jsonl" in capsys.readouterr().err and not saved.exists()


def test_standard_output_that_is_closed_is_no_error(shapes: list[str], clips: list[tuple[Path, str]]) -> None:
    command = " ".join([*COMMAND, *shapes, "--file", str(clips[0][0]), "--fast", ">&-"])
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "s of sound" in done.stderr.splitlines()[-1]

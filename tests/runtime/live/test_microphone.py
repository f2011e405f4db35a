"""A real microphone path without a sound card: PulseAudio's null sink, PortAudio's capture, faults that happen."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import wav2edge
from wav2edge.measure.scoring import word_edits
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.capture import CaptureSettings, Microphone
from wav2edge.runtime.live.events import Dropped, SourceBack, SourceLost
from wav2edge.runtime.live.sources import Item, as_int16

SCRIPT = Path(__file__).parents[2] / "live" / "virtual_mic.sh"
APT = "apt-get install -y libportaudio2 pulseaudio pulseaudio-utils libasound2-plugins"
RATE = 16000


@dataclass(frozen=True)
class VirtualMicrophone:
    folder: Path

    def do(self, *actions: str) -> None:
        for action in actions:
            subprocess.run([str(SCRIPT), str(self.folder), action], check=True, capture_output=True, timeout=30)

    def play(self, path: Path) -> None:
        subprocess.run(["paplay", "--latency-msec=200", str(path)], check=True, capture_output=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        text = subprocess.run([str(SCRIPT), str(self.folder), "env"], check=True, capture_output=True, text=True).stdout
        return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture
def microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    if shutil.which("pulseaudio") is None or shutil.which("paplay") is None:
        if os.environ.get("CI"):
            pytest.fail(f"the microphone tests need PulseAudio: {APT}")
        pytest.skip(f"no PulseAudio on this machine: {APT}")
    virtual = VirtualMicrophone(tmp_path / "pulse")
    for name, value in virtual.environment.items():
        monkeypatch.setenv(name, value)
    virtual.do("start")
    yield virtual
    subprocess.run([str(SCRIPT), str(virtual.folder), "stop"], capture_output=True, timeout=30)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.wav"
    sound = np.random.default_rng(0).integers(-3000, 3000, 2 * RATE).astype(np.int16)
    soundfile.write(path, sound, RATE)
    return path


def in_background(*work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=lambda: [step() for step in work], daemon=True)
    thread.start()
    return thread


def listen_for(source: Microphone, seconds: float) -> list[Item]:
    end = time.monotonic() + seconds
    items: list[Item] = []
    while time.monotonic() < end:
        items += source.read(0.1)
    return items


def sound_of(items: list[Item]) -> NDArray[np.int16]:
    blocks = [item for item in items if isinstance(item, Block)]
    sound = np.zeros(blocks[-1].end - blocks[0].start, np.int16)
    for block in blocks:
        sound[block.start - blocks[0].start : block.end - blocks[0].start] = as_int16(block.samples)
    return sound


def offset_of(part: NDArray[np.int16], sound: NDArray[np.int16]) -> int:
    size = 1 << (len(sound) + len(part)).bit_length()
    spectrum = np.fft.rfft(sound.astype(float), size) * np.conj(np.fft.rfft(part.astype(float), size))
    return int(np.fft.irfft(spectrum, size)[: len(sound)].argmax())


def test_what_is_played_is_captured(microphone: VirtualMicrophone, noise: Path) -> None:
    played, _ = soundfile.read(noise, dtype="int16")
    source = Microphone(CaptureSettings(rate=RATE))
    player = in_background(lambda: time.sleep(0.3), lambda: microphone.play(noise))
    items = listen_for(source, 3.5)
    source.close()
    player.join()
    sound = sound_of(items)
    start = offset_of(played, sound)
    np.testing.assert_array_equal(sound[start : start + len(played)], played)
    assert not [item for item in items if not isinstance(item, Block)]
    # The blocks' indices are those of the clock.
    assert source.present() / RATE == pytest.approx(3.5, abs=0.5)


@pytest.mark.parametrize("noise_db", [None, pytest.param(10, marks=pytest.mark.slow)])
def test_speech_into_the_microphone_becomes_the_text_of_its_recording(
    microphone: VirtualMicrophone, clips: list[tuple[Path, str]], tmp_path: Path, noise_db: int | None
) -> None:
    """The command itself, embedded model, real speech (also in noise); then ``transcribe`` of what it recorded."""
    path = tmp_path / "clip.wav"
    speech = read.load(clips[0][0])
    if noise_db is not None:
        noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
        speech = 0.5 * (speech + noise * speech.std() * 10 ** (-noise_db / 20))
    soundfile.write(path, speech, RATE, subtype="PCM_16")
    recording = tmp_path / "recorded.flac"
    with Listener(["--record", str(recording)]) as listener:
        listener.wait_for("stats", timeout=20)
        microphone.play(path)
        final = listener.wait_for("final", timeout=10)
    recorded, _ = soundfile.read(recording, dtype="float32")
    cut = recorded[round(final["start"] * RATE) : round(final["end"] * RATE)]
    transcriber = wav2edge.Transcriber()
    assert final["text"]
    assert transcriber(cut).text == final["text"]
    partials = [event for event in listener.events if event["event"] == "partial"]
    assert partials
    assert listener.code == 0
    assert "s of sound" in listener.errors


@pytest.mark.slow
def test_ten_clips_through_the_microphone(
    microphone: VirtualMicrophone, clips: list[tuple[Path, str]], tmp_path: Path
) -> None:
    """The bars of live captions, on the clips that ship and four of them at a quarter of their loudness.

    Nothing here was trained on. How late captions are depends on who else is computing, so what the machine was slow
    at (the run's own lag) is taken off; benchmarks say how fast it is.
    """
    pytest.importorskip("jiwer", reason="the scores need the extra [eval]")
    rows = []
    for number, (path, text) in enumerate([*clips, *clips[:4]]):
        speech = read.load(path)
        name = tmp_path / f"{number}.wav"
        soundfile.write(name, speech / (4 if number >= len(clips) else 1), RATE, subtype="PCM_16")
        corpus = "read aloud" if path.suffix == ".flac" else "commands"
        rows.append({"path": str(name), "text": text, "corpus": corpus})
    assert len(rows) == 10
    manifest = tmp_path / "ten.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run_listen("--measure", str(manifest), "--player", "paplay --latency-msec=200", "--json", timeout=180)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    same, finals = report["finals_equal_to_transcribe"]
    assert same == finals >= 10
    assert (report["dropped"], report["source_lost"]) == (0, 0)
    late = 2 * report["lag"]["p95"]
    for figures in report["corpora"].values():
        assert figures["stable_changed"] == 0
        assert figures["first_text"]["p95"] <= 1.0 + late
        assert figures["finalisation"]["p95"] <= report["endpoint_silence"] + 0.3 + late
    commands, read_aloud = report["corpora"]["commands"], report["corpora"]["read aloud"]
    assert commands["wer_rise"]["low"] <= 0.01
    read_rows = [row for row in rows if row["corpus"] == "read aloud"]
    assert read_aloud["wer_finals"]["errors"] <= sum(most_errors(Path(row["path"]), row["text"]) for row in read_rows)
    assert commands["wer_finals"]["value"] <= 0.15
    assert commands["emission"]["p50"] <= 1.0 + late
    assert commands["upwr"] <= 0.25
    # The bar, 2 % of forty clips' words, allows 1.5 of the 76 here; more than four at that rate has a chance of 0.02.
    assert commands["revised"] <= 4


def most_errors(path: Path, text: str) -> int:
    """The most word errors of one pass over a clip, by where its frames of 20 ms fall in the speech.

    That alone changes words that are as likely as others: of one clip's fourteen, five to nine are wrong. So two clips
    cannot show a rise of 2 %, but speech that is lost takes more words than this.
    """
    transcriber, speech = wav2edge.Transcriber(), read.load(path)
    shifted = [np.pad(speech, (shift, 0)) for shift in range(0, 320, 20)]
    return max(word_edits(text, transcriber(samples).text).errors for samples in shifted)


class Listener:
    """``wav2edge listen --json`` in a process of its own, its events with the time of their arrival."""

    def __init__(self, arguments: list[str]) -> None:
        """Start it."""
        command = [sys.executable, "-m", "wav2edge", "listen", "--json", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events: list[dict[str, Any]] = []
        self.errors = ""
        self.code: int | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append({**json.loads(line), "arrived": time.monotonic()})

    def wait_for(self, kind: str, timeout: float, after: float = 0.0) -> dict[str, Any]:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for event in list(self.events):
                if event["event"] == kind and event["arrived"] > after:
                    return event
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        seen = [event["event"] for event in self.events]
        raise AssertionError(f"no {kind} within {timeout} s; saw {seen[-10:]}, exit {self.process.poll()}")

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reader.join(timeout=5)
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()
        self.code = self.process.returncode


def shapes(bundle: Bundle) -> list[str]:
    return ["-m", str(bundle.path), "--engine", "null"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("away", "home", "cause"),
    [("unplug", "plug", "unplugged"), ("stop", "start", "unplugged"), ("suspend", "resume", "stalled")],
)
def test_a_source_that_goes_away_comes_back(
    microphone: VirtualMicrophone, shapes_bundle: Bundle, noise: Path, tmp_path: Path, away: str, home: str, cause: str
) -> None:
    """Five seconds without a microphone or its server: events say so, back within 2 s, nothing before is lost."""
    played, _ = soundfile.read(noise, dtype="int16")
    recording = tmp_path / "recorded.wav"
    with Listener([*shapes(shapes_bundle), "--rate", "16000", "--record", str(recording)]) as listener:
        listener.wait_for("stats", timeout=20)
        microphone.play(noise)
        time.sleep(0.3)
        gone = time.monotonic()
        microphone.do(away)
        lost = listener.wait_for("source_lost", timeout=3, after=gone)
        assert lost["cause"] == cause
        time.sleep(max(0.0, gone + 5 - time.monotonic()))
        microphone.do(home)
        plugged = time.monotonic()
        back = listener.wait_for("source_back", timeout=4, after=gone)
        assert back["arrived"] - plugged <= 2.0
        assert back["away"] == pytest.approx(5.0, abs=2.0)
        microphone.play(noise)
        time.sleep(0.7)
    assert listener.code == 0
    assert "ALSA" not in listener.errors
    recorded, _ = soundfile.read(recording, dtype="int16")
    one = offset_of(played, recorded[: round(lost["time"] * RATE) + RATE])
    np.testing.assert_array_equal(recorded[one : one + len(played)], played)
    after = round(back["time"] * RATE)
    two = after + offset_of(played, recorded[after:])
    np.testing.assert_array_equal(recorded[two : two + len(played)], played)


@pytest.mark.slow
def test_a_muted_source_is_told(microphone: VirtualMicrophone, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    sound = np.random.default_rng(0).integers(-3000, 3000, 8 * RATE).astype(np.int16)
    soundfile.write(path, sound, RATE)
    source = Microphone(CaptureSettings(rate=RATE, muted_after=1.0))
    steps = [
        lambda: time.sleep(2),
        lambda: microphone.do("mute"),
        lambda: time.sleep(3),
        lambda: microphone.do("unmute"),
    ]
    threads = [in_background(lambda: microphone.play(path)), in_background(*steps)]
    items = listen_for(source, 7.0)
    source.close()
    for thread in threads:
        thread.join()
    faults = [item for item in items if isinstance(item, (SourceLost, SourceBack)) and item.time > 1.0]
    lost, back = faults
    assert isinstance(lost, SourceLost) and isinstance(back, SourceBack)
    assert lost.cause == "muted"
    assert back.away == pytest.approx(3.0, abs=0.7)


@pytest.mark.slow
def test_a_stalled_reader_costs_bounded_memory_and_is_told(microphone: VirtualMicrophone, noise: Path) -> None:
    source = Microphone(CaptureSettings(rate=RATE, backlog=4.0))
    listen_for(source, 0.5)
    time.sleep(30)
    assert source.waiting <= 4
    items = list(source.read(0.1))
    [dropped] = [item for item in items if isinstance(item, Dropped)]
    assert dropped.seconds == pytest.approx(26, abs=1)
    player = in_background(lambda: microphone.play(noise))
    items = listen_for(source, 3.0)
    source.close()
    player.join()
    assert sound_of(items).any(), "captions must go on"
    blocks = [item for item in items if isinstance(item, Block)]
    assert blocks[-1].end / RATE == pytest.approx(33.5, abs=1.5), "time must go on through what was dropped"


@pytest.mark.slow
def test_a_process_that_stood_still_catches_up(
    microphone: VirtualMicrophone, shapes_bundle: Bundle, tmp_path: Path
) -> None:
    """SIGSTOP for 6 s: the sound server held the sound, so it is late and not lost, and no source is blamed."""
    path, recording = tmp_path / "long.wav", tmp_path / "recorded.wav"
    played = np.random.default_rng(0).integers(-3000, 3000, 10 * RATE).astype(np.int16)
    soundfile.write(path, played, RATE)
    with Listener([*shapes(shapes_bundle), "--rate", "16000", "--record", str(recording)]) as listener:
        listener.wait_for("stats", timeout=20)
        player = in_background(lambda: microphone.play(path))
        time.sleep(2)
        listener.process.send_signal(signal.SIGSTOP)
        time.sleep(6)
        listener.process.send_signal(signal.SIGCONT)
        player.join()
        time.sleep(1.0)
    assert {event["event"] for event in listener.events} <= {"stats", "silence"}
    assert listener.events[-1]["lag"] < 1.0
    recorded, _ = soundfile.read(recording, dtype="int16")
    start = offset_of(played, recorded)
    np.testing.assert_array_equal(recorded[start : start + len(played)], played)


def run_listen(
    *arguments: str, timeout: float = 60, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wav2edge", "listen", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(environment or {})}, check=False
    )


def test_no_microphone_is_one_line_and_exit_3(tmp_path: Path) -> None:
    nowhere = {"PULSE_SERVER": f"unix:{tmp_path}/nowhere", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = run_listen(environment=nowhere)
    assert done.returncode == 3
    assert done.stderr.strip().splitlines() == [
        "wav2edge: no microphone found; plug one in, or caption a file or a pipe instead"
    ]


def test_no_portaudio_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    hidden = "import ctypes.util\nfound = ctypes.util.find_library\n"
    hidden += "ctypes.util.find_library = lambda name: None if name == 'portaudio' else found(name)\n"
    (tmp_path / "sitecustomize.py").write_text(hidden)
    done = run_listen(environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3
    assert done.stderr.strip().splitlines() == [
        "wav2edge: PortAudio is not installed; install it with `apt-get install libportaudio2`"
    ]


def test_an_unknown_microphone_is_named_with_those_there_are(microphone: VirtualMicrophone) -> None:
    done = run_listen("--microphone", "no such thing")
    assert done.returncode == 3
    assert "no microphone 'no such thing'; there are 0 'pulse'" in done.stderr

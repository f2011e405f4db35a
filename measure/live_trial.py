"""Play a manifest through the live path, from files or into a (virtual) microphone; live_report has the figures."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..runtime.audio import read
from ..runtime.errors import AudioError, EngineError, InputError
from ..runtime.live.backlog import Block
from ..runtime.live.capture import CaptureSettings, Microphone
from ..runtime.live.session import LiveSession
from ..runtime.live.sources import RATE, Clock, PiecesSource, SkippingClock, as_int16, on_grid, pieces
from ..runtime.live.transcriber import LiveTranscriber
from ..runtime.text.transcript import Transcript
from .live_quality import TimedEvent
from .manifest import Row

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Clip:
    """A clip that was played: where it began in the stream, and the transcript of one pass over it (samples)."""

    row: Row
    start: int
    samples: int
    batch: Transcript


@dataclass(frozen=True)
class SessionLog:
    """The sound that a session received, and the events that it gave."""

    events: tuple[TimedEvent, ...]
    """Its events, with the time at which each left it."""

    seconds: float
    """Seconds of sound received."""

    cpu: float
    """CPU-seconds of all threads."""

    lags: tuple[float, ...]
    """Seconds from the end of each partial's window to its events."""

    sound: NDArray[np.int16]
    """The stream [samples] at 16 kHz; lost sound is zeros."""


@dataclass(frozen=True)
class Playback:
    """A run: the clips that were played, and the stream that the session received."""

    clips: tuple[Clip, ...]
    stream: SessionLog


def play_files(
    live: LiveTranscriber,
    rows: Sequence[Row],
    fast: bool,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Playback:
    """Play clips in real time with silence between them.

    fast: do not wait; the times are those of a run in real time. clock: used in place of these two. Raises AudioError
    for a recording that cannot be used.
    """
    clock = clock or (SkippingClock() if fast else Clock())
    gap = np.zeros(_gap(live), np.float32)
    starts: list[int] = []
    lengths: list[int] = []

    def stream() -> Iterator[NDArray[np.float32]]:
        at = 0
        for number, row in enumerate(rows):
            samples = read.load(row.audio, RATE)
            starts.append(at)
            lengths.append(len(samples))
            at += len(samples) + len(gap)
            if progress is not None:
                progress(number + 1, len(rows))
            yield samples
            yield gap

    received = _run(live.session(PiecesSource(pieces(stream()), clock)))
    clips = (Clip(*each) for each in zip(rows, starts, lengths, _batch(live, rows)))
    return Playback(tuple(clips), received)


def play_microphone(
    live: LiveTranscriber,
    rows: Sequence[Row],
    player: str,
    capture: CaptureSettings | None = None,
    progress: Progress | None = None,
) -> Playback:
    """Play clips with a command such as ``paplay --latency-msec=200``, to which the file is added, and capture them.

    Where a clip began is found by correlation with the captured sound. Raises EngineError when the player fails or a
    clip cannot be found, InputError for a command that cannot be parsed, and what Microphone raises.
    """
    try:
        command = shlex.split(player)
    except ValueError as error:
        raise InputError(f"{player}: {error}") from error
    if not command or shutil.which(command[0]) is None:
        raise EngineError(f"{player}: no such program; install it or name another player")
    microphone = Microphone(capture)
    began: list[int] = []
    failures: list[str] = []

    def play() -> None:
        try:
            time.sleep(0.5)
            for number, row in enumerate(rows):
                began.append(microphone.present())
                failures.extend(_play(command, row))
                if failures:
                    return
                time.sleep(_gap(live) / RATE)
                if progress is not None:
                    progress(number + 1, len(rows))
        finally:
            session.stop()

    session = live.session(microphone)
    thread = threading.Thread(target=play, daemon=True)
    try:
        thread.start()
        received = _run(session)
    finally:
        session.stop()
        microphone.close()
    thread.join()
    if failures:
        raise EngineError(f"{player}: {failures[0]}")
    clips = []
    for row, about, batch in zip(rows, began, _batch(live, rows)):
        samples = read.load(row.audio, RATE)
        clips.append(Clip(row, _find(received.sound, samples, about, row), len(samples), batch))
    return Playback(tuple(clips), received)


def _run(session: LiveSession) -> SessionLog:
    sound: list[NDArray[np.int16]] = [np.zeros(0, np.int16)]
    end = 0

    def record(block: Block) -> None:
        nonlocal end
        if block.start > end:
            sound.append(np.zeros(block.start - end, np.int16))
        sound.append(as_int16(block.samples))
        end = block.end

    session.record = record
    began = time.process_time()
    events = tuple(TimedEvent(event, (session.present() or 0) / RATE) for event in session)
    cpu = time.process_time() - began
    return SessionLog(events, session.seconds, cpu, tuple(session.lags), np.concatenate(sound))


def _batch(live: LiveTranscriber, rows: Iterable[Row]) -> list[Transcript]:
    transcriber = live.transcriber()
    return [transcriber(on_grid(read.load(row.audio, RATE))) for row in rows]


def _gap(live: LiveTranscriber) -> int:
    """Silence between two clips, in samples: enough for every endpoint."""
    return int((live.settings.endpoint.silence_without_text + 0.6) * RATE)


def _play(command: Sequence[str], row: Row) -> list[str]:
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        try:
            soundfile.write(path, read.load(row.audio, RATE), RATE, subtype="PCM_16")
            done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        except OSError as error:
            return [str(error.strerror)]
        except AudioError as error:
            return [str(error)]
    return [] if done.returncode == 0 else [done.stderr.strip().splitlines()[-1] if done.stderr else "failed"]


def _find(sound: NDArray[np.int16], samples: NDArray[np.float32], about: int, row: Row, slack: float = 3.0) -> int:
    stretch = sound[about : about + len(samples) + int(slack * RATE)].astype(np.float32) / 32768
    size = 1 << (len(stretch) + len(samples)).bit_length()
    spectrum = np.fft.rfft(stretch, size) * np.conj(np.fft.rfft(samples, size))
    match = np.fft.irfft(spectrum, size)[: max(1, len(stretch))]
    best = int(match.argmax())
    power = float(np.dot(samples, samples))
    if power > 0 and match[best] < 0.3 * power:
        raise EngineError(f"{row.audio}: not in the microphone's sound; is the player's output its input?")
    return about + best

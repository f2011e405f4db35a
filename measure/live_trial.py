"""Play a manifest through the live path, from files or into a virtual microphone, and report what came out."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.audio import read
from ..runtime.errors import AudioError, EngineError, InputError
from ..runtime.live.backlog import Block
from ..runtime.live.capture import CaptureSettings, Microphone
from ..runtime.live.events import Dropped, Final, Partial, Silence, SourceLost
from ..runtime.live.sources import RATE, Clock, PiecesSource, SkippingClock, Source, as_int16, on_grid, pieces
from ..runtime.live.transcriber import LiveTranscriber
from ..runtime.text.transcript import Transcript
from . import scoring
from .live_quality import Timed, Utterances, percentiles
from .manifest import Row

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Clip:
    """A clip that was played: where it began in the stream (samples), and what one pass over it says."""

    row: Row
    start: int
    samples: int
    batch: Transcript


@dataclass(frozen=True)
class Trial:
    """What a run gave. cpu: seconds of all threads. sound: the stream as int16 [samples], lost sound as zeros."""

    clips: tuple[Clip, ...]
    events: tuple[Timed, ...]
    seconds: float
    cpu: float
    lags: tuple[float, ...]
    sound: NDArray[np.int16]


def play_files(
    live: LiveTranscriber,
    rows: Sequence[Row],
    fast: bool,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Trial:
    """Play clips in real time with silence between them; ``fast`` skips the waiting and times as if it had not.

    clock: another clock than these two. Raises AudioError for a recording that cannot be used.
    """
    clock = clock or (SkippingClock() if fast else Clock())
    gap = np.zeros(_gap(live), np.float32)
    starts: list[int] = []
    lengths: list[int] = []

    def stream() -> Iterator[NDArray[np.float32]]:
        at = 0
        for number, row in enumerate(rows):
            samples = read.load(row.path, RATE)
            starts.append(at)
            lengths.append(len(samples))
            at += len(samples) + len(gap)
            if progress is not None:
                progress(number + 1, len(rows))
            yield samples
            yield gap

    events, seconds, cpu, lags, sound = _run(live, PiecesSource(pieces(stream()), clock))
    clips = [Clip(*each) for each in zip(rows, starts, lengths, _batch(live, rows))]
    return Trial(tuple(clips), tuple(events), seconds, cpu, lags, sound)


def play_microphone(
    live: LiveTranscriber,
    rows: Sequence[Row],
    player: str,
    capture: CaptureSettings | None = None,
    progress: Progress | None = None,
) -> Trial:
    """Play clips with a command (such as ``paplay --latency-msec=200``, the file is added) and listen to them.

    Where a clip began is found by correlation with what was heard. Raises EngineError when the player fails or a clip
    cannot be found, InputError for a command that cannot be read, and what Microphone raises.
    """
    try:
        command = shlex.split(player)
    except ValueError as error:
        raise InputError(f"{player}: {error}") from error
    if not command or shutil.which(command[0]) is None:
        raise EngineError(f"{player}: there is no such program")
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
        events, seconds, cpu, lags, sound = _run(live, microphone, session)
    finally:
        session.stop()
        microphone.close()
    thread.join()
    if failures:
        raise EngineError(f"{player}: {failures[0]}")
    clips = []
    for row, about, batch in zip(rows, began, _batch(live, rows)):
        samples = read.load(row.path, RATE)
        clips.append(Clip(row, _find(sound, samples, about, row), len(samples), batch))
    return Trial(tuple(clips), tuple(events), seconds, cpu, lags, sound)


def report(live: LiveTranscriber, trial: Trial, normalization: str = scoring.DEFAULT_NORMALIZATION) -> dict[str, Any]:
    """The figures of a run, for each corpus and for all, as JSON values; rates are fractions, times seconds."""
    silence = live.settings.endpoint.silence_after_text
    happened = [timed.event for timed in trial.events]
    return {
        "bundle": str(live.model.bundle.path),
        "engine": live.model.engine,
        "variant": live.model.variant.name,
        "keeps_features": bool(live.settings.keep_features),
        "endpoint_silence": silence,
        "seconds": round(trial.seconds, 3),
        "cpu_per_second": round(trial.cpu / trial.seconds, 4),
        "lag": _pair(trial.lags),
        "dropped": round(sum(event.seconds for event in happened if isinstance(event, Dropped)), 3),
        "source_lost": sum(isinstance(event, SourceLost) for event in happened),
        "finals_equal_to_transcribe": _equal(live, trial),
        "corpora": figures(trial, normalization),
    }


def figures(trial: Trial, normalization: str = scoring.DEFAULT_NORMALIZATION) -> dict[str, Any]:
    """The figures of each corpus of a run, and of ``all`` where there are several, as JSON values."""
    corpora = sorted({clip.row.corpus for clip in trial.clips})
    groups = {name: [c for c in trial.clips if c.row.corpus == name] for name in corpora}
    if len(corpora) > 1:
        groups["all"] = list(trial.clips)
    return {name: _figures(clips, trial, normalization) for name, clips in groups.items()}


def _run(
    live: LiveTranscriber, source: Source, session: Any = None
) -> tuple[list[Timed], float, float, tuple[float, ...], NDArray[np.int16]]:
    heard: list[NDArray[np.int16]] = []
    end = 0

    def record(block: Block) -> None:
        nonlocal end
        if block.start > end:
            heard.append(np.zeros(block.start - end, np.int16))
        heard.append(as_int16(block.samples))
        end = block.end

    session = session or live.session(source)
    session.record = record
    began = time.process_time()
    events = [Timed(event, (source.present() or 0) / RATE) for event in session]
    cpu = time.process_time() - began
    return events, session.seconds, cpu, tuple(session.lags), np.concatenate(heard)


def _batch(live: LiveTranscriber, rows: Iterable[Row]) -> list[Transcript]:
    transcriber = live.transcriber()
    return [transcriber(on_grid(read.load(row.path, RATE))) for row in rows]


def _gap(live: LiveTranscriber) -> int:
    """Silence between two clips, samples: enough for every endpoint."""
    return int((live.settings.endpoint.silence_without_text + 0.6) * RATE)


def _play(command: Sequence[str], row: Row) -> list[str]:
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        try:
            soundfile.write(path, read.load(row.path, RATE), RATE, subtype="PCM_16")
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
        raise EngineError(f"{row.path}: not heard by the microphone; is the player's output its input?")
    return about + best


def _equal(live: LiveTranscriber, trial: Trial) -> list[int]:
    """How many finals are what ``transcribe`` says of the recorded samples, of how many."""
    finals = [timed.event for timed in trial.events if isinstance(timed.event, Final)]
    same, transcriber = 0, live.transcriber()
    for final in finals:
        cut = trial.sound[round(final.start * RATE) : round(final.end * RATE)]
        same += transcriber(cut.astype(np.float32) / np.float32(32768)).text == final.text
    return [same, len(finals)]


def _figures(clips: Sequence[Clip], trial: Trial, normalization: str) -> dict[str, Any]:
    starts = [clip.start for clip in trial.clips]
    wanted = {clip.start for clip in clips}
    found = Utterances()
    texts: dict[int, list[str]] = {clip.start: [] for clip in clips}
    shown: dict[int, float] = {}
    for timed in trial.events:
        event = timed.event
        if not isinstance(event, (Partial, Final, Silence)):
            continue
        # Pre-roll may reach back into the gap before the clip; nothing reaches across a gap.
        clip_start = starts[max(0, bisect_right(starts, event.start * RATE + RATE) - 1)]
        if clip_start not in wanted:
            continue
        found.add(timed)
        if isinstance(event, Final):
            texts[clip_start].append(event.text)
        elif isinstance(event, Partial) and event.text:
            shown.setdefault(clip_start, timed.at)
    references = [clip.row.text for clip in clips]
    batch = scoring.score(references, [clip.batch.text for clip in clips], normalization)
    finals = scoring.score(references, [" ".join(texts[clip.start]) for clip in clips], normalization)
    first = [
        shown[clip.start] - clip.start / RATE - clip.batch.words[0].start
        for clip in clips
        if clip.batch.words and clip.start in shown
    ]
    words = sum(len(final.words) for final in found.finals)
    return {
        "clips": len(clips),
        "wer_finals": finals.wer.to_json(),
        "wer_batch": batch.wer.to_json(),
        "wer_rise": scoring.difference(batch.words, finals.words).to_json(),
        "first_text": _pair(first),
        "emission": _pair(found.emissions),
        "finalisation": _pair(found.finalisations),
        "stable": _pair(found.settled),
        "upwr": _round(found.upwr),
        "stable_changed": found.stable_changed,
        "revised": found.revised,
        "words": words,
        "utterances": len(found.finals),
    }


def _pair(values: Iterable[float]) -> dict[str, float | None]:
    median, high = percentiles(values)
    return {"p50": _round(median), "p95": _round(high)}


def _round(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None

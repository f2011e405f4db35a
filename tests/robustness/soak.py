"""A week in an hour: live, transcribe and selftest on each CPU engine while length, loudness and source change.

    scripts/test --soak 60                         # so many minutes, shared among the engines
    scripts/test --soak 5 --engine onnxruntime

After a first quarter of the time, and at least ``WARM`` rounds, in which caches fill, memory, open files and threads
are recorded after each round, and a line is laid through them: memory may grow by ``SLOPE`` MB in an hour of running,
or by ``NOISE`` MB in all; files and threads may not grow. Prints one line of JSON for each engine and exits with 1
where one grew, or where there were too few rounds to tell.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator

import wav2edge
from wav2edge.runtime import engines, selftest
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.reference import read_archive

SLOPE, NOISE = 20.0, 12.0
"""MB in an hour, and in all: allocators keep a few MB more or less from one round to the next."""
WARM = 60
"""Rounds before the first that is judged."""
ENOUGH = 30
"""Rounds that must be judged."""
MOST = 3
"""Clips that are joined for a round, at most."""
FORMS = ("array", "wav", "flac", "opus", "bytes")


def main() -> int:
    """Soak each engine; 1 where something grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--engine", action="append", help="repeat for several; all CPU engines here by default")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    here = [name for name in ("onnxruntime", "openvino") if engines.missing(name) is None]
    names = asked.engine or here
    failed = 0
    for name in names:
        found = soak(name, asked.minutes * 60 / len(names), np.random.default_rng(asked.seed))
        print(json.dumps(found), flush=True)
        failed += bool(found["problems"])
    return 1 if failed else 0


def soak(engine: str, seconds: float, random: Generator) -> dict[str, object]:
    """Run one engine for so long; what was recorded, and what grew."""
    clips = [read.load(path) for path in sorted(embedded.clips_manifest().parent.glob("*.*[sc]"))]
    bundle = embedded.resolve(None)
    began, rounds, samples = time.monotonic(), 0, []
    with (
        tempfile.TemporaryDirectory(prefix="wav2edge-soak-") as folder,
        wav2edge.open(engine=engine, threads=1) as model,
    ):
        transcribe, live = wav2edge.Transcriber(model), wav2edge.LiveTranscriber(model)
        reference = read_archive(bundle)
        _every_length(clips, transcribe, live)
        while time.monotonic() - began < seconds:
            _round(random, clips, transcribe, live, Path(folder))
            if rounds % 10 == 0:
                assert selftest.check(model, reference).status == "passed"
            rounds += 1
            gc.collect()
            if rounds > WARM and time.monotonic() - began > seconds / 4:
                samples.append((time.monotonic() - began, *_usage()))
    return {"engine": engine, "rounds": rounds, "judged": len(samples), **judged(np.array(samples, dtype=float))}


def judged(samples: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, object]:
    """Slopes of [rounds, (seconds, MB, files, threads)] and what is wrong with them."""
    problems: list[str] = []
    if len(samples) < ENOUGH:
        return {"problems": [f"too few rounds to judge: {len(samples)}, {ENOUGH} are needed; run longer"]}
    hours = (samples[:, 0] - samples[0, 0]) / 3600
    slopes = [float(np.polyfit(hours, samples[:, column], 1)[0]) for column in (1, 2, 3)]
    growth = slopes[0] * float(hours[-1])
    if growth > max(NOISE, SLOPE * float(hours[-1])):
        problems.append(f"memory grows: {growth:.1f} MB in {hours[-1]:.2f} h")
    thirds = len(samples) // 3
    for column, what in ((2, "files"), (3, "threads")):
        if samples[-thirds:, column].min() > samples[:thirds, column].max():
            problems.append(f"open {what} grow: {samples[0, column]:.0f} to {samples[-1, column]:.0f}")
    ends = {
        name: [samples[0, column], samples[-1, column]] for column, name in ((1, "MB"), (2, "files"), (3, "threads"))
    }
    return {**ends, "MB per hour": round(slopes[0], 1), "hours": round(float(hours[-1]), 3), "problems": problems}


def _round(
    random: Generator,
    clips: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
    transcribe: wav2edge.Transcriber,
    live: wav2edge.LiveTranscriber,
    folder: Path,
) -> None:
    """One recording of a new length, loudness and form, transcribed; the same sound live."""
    count = int(random.integers(1, MOST + 1))
    sound = np.concatenate([clips[int(random.integers(len(clips)))] for _ in range(count)])
    sound = sound[: int(random.integers(8000, max(8001, len(sound))))] * np.float32(10 ** random.uniform(-1.5, 0))
    form = FORMS[int(random.integers(len(FORMS)))]
    source: read.AudioSource = sound
    if form != "array":
        path = folder / f"x.{'wav' if form == 'bytes' else form}"
        kind = {"opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16")}.get(form, ("WAV", "PCM_16"))
        soundfile.write(path, sound, 16000, format=kind[0], subtype=kind[1])
        source = path.read_bytes() if form == "bytes" else path
    transcribe(source)
    _live(live, sound, int(random.integers(160, 4000)))


def _every_length(
    clips: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
    transcribe: wav2edge.Transcriber,
    live: wav2edge.LiveTranscriber,
) -> None:
    """Sound of every half second up to the longest: OpenVINO keeps memory for each length of its inputs."""
    longest = sorted(clips, key=len)[-1]
    sound = np.concatenate([longest] * MOST)
    for end in range(8000, len(sound) + 8000, 8000):
        transcribe(sound[:end])
        _live(live, sound[:end], 1600)


def _live(live: wav2edge.LiveTranscriber, sound: np.ndarray[tuple[int, ...], np.dtype[np.float32]], piece: int) -> None:
    for start in range(0, len(sound), piece):
        live.push(sound[start : start + piece])
    live.finish()


def _usage() -> tuple[float, int, int]:
    """Megabytes, open files and threads of this process."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resident, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


if __name__ == "__main__":
    sys.exit(main())

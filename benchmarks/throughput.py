"""How much of the bare engine's speed is left when whole files are transcribed, and whether batches would add to it.

    python benchmarks/throughput.py SPEECH [-m BUNDLE] [--engine E] [--variant V] [--minutes 10] [--runs 3]

SPEECH is a manifest or a folder of recordings. Both sides run the same windows: the bare session has them in memory and
decodes nothing; the transcriber reads, resamples, cuts, decodes and segments. Runs take turns, the best of each counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wav2edge.runtime import manifest
from wav2edge.runtime.batch import transcribe_all
from wav2edge.runtime.transcriber import Transcriber

BATCHES = (2, 4, 8)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech")
    parser.add_argument("-m", "--model", metavar="BUNDLE")
    parser.add_argument("--engine")
    parser.add_argument("--variant")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with Transcriber.open(
        arguments.model, arguments.engine, arguments.variant, threads=arguments.threads
    ) as transcriber:
        paths, clips, seconds = collect(transcriber, arguments.speech, arguments.minutes)
        print(
            f"{transcriber.engine} {transcriber.variant}, {arguments.threads} threads: "
            f"{len(paths)} files, {len(clips)} windows, {seconds / 60:.1f} minutes"
        )
        transcriber.logits([max(clips, key=len)])
        ways: dict[str, Callable[[], None]] = {
            "bare session, one window at a time": lambda: bare(transcriber, clips),
            "transcribe files": lambda: files(transcriber, paths),
        }
        for size in BATCHES:
            ways[f"bare session, batches of {size}, sorted by length"] = (
                lambda size=size: bare_batches(transcriber, clips, size)  # type: ignore[misc]
            )
        best = {name: float("inf") for name in ways}
        for _ in range(arguments.runs):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                best[name] = min(best[name], time.perf_counter() - started)
    reference = best["bare session, one window at a time"]
    print(f"{'':48} {'seconds':>8} {'× real time':>12} {'of bare':>8}")
    for name, elapsed in best.items():
        print(f"{name:48} {elapsed:8.2f} {seconds / elapsed:12.1f} {reference / elapsed:8.2f}")


def collect(transcriber: Transcriber, speech: str, minutes: float) -> tuple[list[Path], list[np.ndarray], float]:
    """Recordings spread over SPEECH up to so many minutes, their windows, and their seconds."""
    rows = manifest.scan(speech, need_text=False)[0]
    order = np.random.default_rng(0).permutation(len(rows))
    paths: list[Path] = []
    clips: list[np.ndarray] = []
    seconds = 0.0
    for index in order:
        windows = list(transcriber.windows(rows[index].path))
        paths.append(rows[index].path)
        clips += [window.samples for window in windows]
        last = windows[-1]
        seconds += (last.first_frame * transcriber.spec.stride + len(last.samples)) / transcriber.spec.sample_rate
        if seconds > 60 * minutes:
            break
    return paths, clips, seconds


def bare(transcriber: Transcriber, clips: Sequence[np.ndarray]) -> None:
    """The session alone."""
    for clip in clips:
        transcriber.logits([clip])


def bare_batches(transcriber: Transcriber, clips: Sequence[np.ndarray], size: int) -> None:
    """The session alone, with neighbours in length padded to one batch."""
    ordered = sorted(clips, key=len)
    for start in range(0, len(ordered), size):
        transcriber.logits(ordered[start : start + size])


def files(transcriber: Transcriber, paths: Sequence[Path]) -> None:
    """The whole way from files to text."""
    for result in transcribe_all(transcriber, paths):
        if result.error is not None:
            raise result.error


if __name__ == "__main__":
    main()

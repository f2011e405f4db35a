"""Hours of speech through the live path as fast as it goes: memory, drift of times, drops.

    python benchmarks/live_soak.py --hours 4 [-m BUNDLE] [--engine E] [--variant V] [--speech MANIFEST]

Recordings are repeated with pauses between them; every hop is decoded (back-pressure). Each recording lies at a known
place, so the words of its Finals must stay where they were the first time: that difference is the drift. Four hours
take about 12 minutes with the embedded bundle on two quiet cores. Each figure is followed by its bar and whether it
holds; the exit code is 1 where one does not, or where nothing could be said.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2edge.devices.open import open_model
from wav2edge.measure import manifest
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.live.events import Dropped, Final, Partial
from wav2edge.runtime.live.sources import PIECE, PiecesSource, on_grid, pieces
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.live.vad import VAD_WINDOW

RATE = 16000
PAUSE = 4.0
PHASE = int(np.lcm(PIECE, VAD_WINDOW))  # recordings begin where a piece and a window of the speech detector begin
SETTLING = 600.0  # seconds of sound before memory counts
SLOPE = 1.0  # MB per hour of sound
DRIFT = 0.02  # seconds: a frame


def resident() -> float:
    """Memory of this process, MB."""
    text = Path("/proc/self/statm").read_text("ascii")
    return int(text.split()[1]) * 4096 / 1e6


def verdict(slope: float, drift: float, dropped: float, compared: int) -> list[tuple[str, bool]]:
    """A line for each bar and whether it holds; NaN holds none."""
    return [
        (f"memory slope after the first 10 minutes: {slope:+.2f} MB per hour of sound, under {SLOPE:g}", slope < SLOPE),
        (
            f"drift of word times over the repetitions: {1000 * drift:.1f} ms, under a frame of {1000 * DRIFT:g} ms "
            f"({compared} finals compared)",
            drift < DRIFT,
        ),
        (f"{dropped:.1f} s dropped, none", dropped == 0.0),
    ]


def main() -> int:
    """Print a line every ten minutes of sound, then the figures and whether they hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-m", "--model", metavar="BUNDLE")
    parser.add_argument("--engine")
    parser.add_argument("--variant")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--speech", help="manifest (default: the clips that ship)")
    parser.add_argument("--clips", type=int, default=20, help="recordings to repeat")
    options = parser.parse_args()
    rows = manifest.read(options.speech or embedded.clips_manifest())[: options.clips]
    clips = [on_grid(read.load(row.path, RATE)) for row in rows]
    # Every turn meets the same blocks and the same windows at the same places in them, so that times can be compared.
    pause = int(PAUSE * RATE)
    padded = [np.concatenate((clip, np.zeros(pause + -(len(clip) + pause) % PHASE, np.float32))) for clip in clips]
    ends = np.cumsum([len(clip) for clip in padded])
    turn = int(ends[-1])
    wanted = options.hours * 3600 * RATE

    def stream() -> Iterator[NDArray[np.float32]]:
        sent = 0
        while sent < wanted:
            for clip in padded:
                yield clip
                sent += len(clip)

    memory: list[tuple[float, float]] = []
    times: dict[tuple[int, str], list[float]] = defaultdict(list)
    dropped, partials, finals, told = 0.0, 0, 0, 0.0
    began = time.perf_counter()
    model = open_model(options.model, options.engine, options.variant, threads=options.threads)
    with LiveTranscriber(model) as live:
        session = live.session(PiecesSource(pieces(stream()), None))
        for event in session:
            if isinstance(event, Final):
                finals += 1
                at = event.start * RATE % turn
                number = int(np.searchsorted(ends, at, side="right"))
                if event.words:
                    key = (number, event.text)
                    times[key].append(event.words[-1].end - event.start * RATE // turn * turn / RATE)
            elif isinstance(event, Partial):
                partials += 1
            elif isinstance(event, Dropped):
                dropped += event.seconds
            if session.seconds - told >= 60:
                told = session.seconds
                memory.append((session.seconds, resident()))
                if len(memory) % 10 == 0:
                    speed = session.seconds / (time.perf_counter() - began)
                    print(f"{session.seconds / 60:6.0f} min  {resident():8.1f} MB  {speed:5.1f}× real time", flush=True)
    late = np.array([entry for entry in memory if entry[0] > SETTLING])
    slope = float(np.polyfit(late[:, 0] / 3600, late[:, 1], 1)[0]) if len(late) > 2 else float("nan")
    repeated = [seen for seen in times.values() if len(seen) > 1]
    drift = max((max(seen) - min(seen) for seen in repeated), default=float("nan"))
    same = sum(len(seen) for seen in repeated)
    took = time.perf_counter() - began
    print(f"{session.seconds / 3600:.2f} h of sound in {took / 60:.1f} minutes, {finals} finals, {partials} partials")
    lines = verdict(slope, drift, dropped, same)
    for text, held in lines:
        print(f"{'held' if held else 'FAILED':6} {text}")
    return 0 if all(held for _, held in lines) else 1


if __name__ == "__main__":
    sys.exit(main())

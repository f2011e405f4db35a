"""Hours of speech through the live path as fast as it goes: memory, drift of times, drops.

    python benchmarks/live_soak.py --hours 4 [-m BUNDLE] [--engine E] [--variant V] [--speech MANIFEST]

Recordings are repeated with pauses between them; every hop is decoded (back-pressure). Each recording is at a known
place, so the words of its Finals must have the same times at every repetition: the difference is the drift. Four hours
take about 12 minutes with the embedded bundle on two quiet cores. Each figure is followed by what is allowed; the exit
code is 1 where one is above it, or where there was too little to measure.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import _kit
import numpy as np
from numpy.typing import NDArray

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
    """A line for each figure with what is allowed, and whether it is within; NaN is not."""
    return [
        (
            f"memory slope after the first 10 minutes: {slope:+.2f} MB per hour of sound (allowed: {SLOPE:g})",
            slope < SLOPE,
        ),
        (
            f"drift of word times over the repetitions: {1000 * drift:.1f} ms (allowed: a frame, {1000 * DRIFT:g} ms; "
            f"{compared} finals compared)",
            drift < DRIFT,
        ),
        (f"{dropped:.1f} s dropped (allowed: none)", dropped == 0.0),
    ]


class Tally:
    """The results of a run of repeated clips; ``ends`` are the clips' ends in one repetition, in samples."""

    def __init__(self, clips: Sequence[NDArray[np.float32]]) -> None:
        """Begin with nothing."""
        self.ends = np.cumsum([len(clip) for clip in clips])
        self.memory: list[tuple[float, float]] = []
        self.times: dict[tuple[int, str], list[float]] = defaultdict(list)
        self.dropped, self.partials, self.finals = 0.0, 0, 0

    def add(self, event: object) -> None:
        """Count an event; of a Final also where its last word ended within the repetition."""
        if isinstance(event, Final):
            self.finals += 1
            turn = int(self.ends[-1])
            number = int(np.searchsorted(self.ends, event.start * RATE % turn, side="right"))
            if event.words:
                end = event.words[-1].end - event.start * RATE // turn * turn / RATE
                self.times[number, event.text].append(end)
        elif isinstance(event, Partial):
            self.partials += 1
        elif isinstance(event, Dropped):
            self.dropped += event.seconds

    def verdict(self) -> list[tuple[str, bool]]:
        """The figures, and whether each is within what is allowed."""
        late = np.array([entry for entry in self.memory if entry[0] > SETTLING])
        slope = float(np.polyfit(late[:, 0] / 3600, late[:, 1], 1)[0]) if len(late) > 2 else float("nan")
        repeated = [ends for ends in self.times.values() if len(ends) > 1]
        drift = max((max(ends) - min(ends) for ends in repeated), default=float("nan"))
        return verdict(slope, drift, self.dropped, sum(map(len, repeated)))


def repeated(clips: Sequence[NDArray[np.float32]], samples: float) -> Iterator[NDArray[np.float32]]:
    """The clips repeatedly, until ``samples`` are sent."""
    sent = 0
    while sent < samples:
        for clip in clips:
            yield clip
            sent += len(clip)


def main() -> int:
    """Print a line every ten minutes of sound, then the figures; 1 where one is above what is allowed."""
    parser = _kit.parser(__doc__)
    _kit.add_model(parser)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--speech", help="manifest (default: the clips that ship)")
    parser.add_argument("--clips", type=int, default=20, help="recordings to repeat")
    options = parser.parse_args()
    rows = manifest.read(options.speech or embedded.clips_manifest())[: options.clips]
    # Every repetition has the same blocks and the same windows at the same places, so that times can be compared.
    pause = int(PAUSE * RATE)
    clips = [on_grid(read.load(row.audio, RATE)) for row in rows]
    padded = [np.concatenate((clip, np.zeros(pause + -(len(clip) + pause) % PHASE, np.float32))) for clip in clips]
    tally = Tally(padded)
    began, noted = time.perf_counter(), 0.0
    with LiveTranscriber(_kit.open_model(options)) as live, _kit.Output(options) as output:
        session = live.session(PiecesSource(pieces(repeated(padded, options.hours * 3600 * RATE)), None))
        for event in session:
            tally.add(event)
            if session.seconds - noted >= 60:
                noted = session.seconds
                tally.memory.append((session.seconds, resident()))
                if len(tally.memory) % 10 == 0:
                    speed = session.seconds / (time.perf_counter() - began)
                    output.say(f"{session.seconds / 60:6.0f} min  {resident():8.1f} MB  {speed:5.1f}× real time")
        took = time.perf_counter() - began
        hours = session.seconds / 3600
        output.say(f"{hours:.2f} h of sound in {took / 60:.1f} min, {tally.finals} finals, {tally.partials} partials")
        lines = tally.verdict()
        for text, within in lines:
            output.say(f"{'within' if within else 'ABOVE':6} {text}")
    return 0 if all(within for _, within in lines) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The speed of transcribing whole files, as a share of the bare engine's.

    python benchmarks/throughput.py SPEECH [-m BUNDLE] [--engine E] [--variant V] [--minutes 2] [--turns 7] [--batches]

SPEECH is a manifest or a folder of recordings. They are put end to end and cut into files of 10 s and 60 s, as FLAC and
as WAV (--as-they-are: the recordings themselves), which are then in the page cache. All sides run the same windows on
the same graph with the same number of threads in all, one window a run:

* bare: the session has the windows in memory, runs one after the other on all threads, and decodes nothing. This is
  the reference; ``of bare`` is the median, over the turns, of its time over the other's in the same turn.
* bare in lanes: the same, with as many windows at once as the transcriber chooses, each on its share of the threads.
* files: as ``wav2edge transcribe`` does it: open, read, resample, meter, cut, run, stitch, segment, decode.

--batches adds the bare session on padded batches of 2, 4 and 8 windows, sorted by length.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import _kit
import numpy as np
import soundfile

from wav2edge.devices.open import open_model
from wav2edge.measure import manifest
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.recordings.batch import lanes, transcribe_all
from wav2edge.runtime.recordings.chunking import Chunk
from wav2edge.runtime.recordings.transcriber import Transcriber

BATCHES = (2, 4, 8)


def main() -> None:
    """Print a table for each kind of file."""
    parser = _kit.parser(__doc__)
    parser.add_argument("speech")
    _kit.add_model(parser, threads=2)
    parser.add_argument("--minutes", type=float, default=2.0, help="of speech for each kind of file")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 60], help="lengths of the files")
    parser.add_argument("--formats", nargs="+", default=["flac", "wav"], help="as soundfile names them")
    parser.add_argument("--as-they-are", action="store_true", help="the recordings of SPEECH, uncut")
    parser.add_argument("--batches", action="store_true")
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.model or embedded.bundle_path())
    model = open_model(bundle, arguments.engine, arguments.variant, threads=arguments.threads)
    engine, variant, threads = model.engine, model.variant.name, model.options.threads or 1
    rows = manifest.scan(arguments.speech, need=None)[0]
    paths = [rows[index].path for index in np.random.default_rng(0).permutation(len(rows))]
    with tempfile.TemporaryDirectory() as folder, _kit.Output(arguments) as output:
        output.say(f"{engine} {variant}, {threads} threads, median of {arguments.turns} turns")
        output.say(f"{'':33} {'files':>6} {'windows':>8} {'ms a window':>12} {'× real time':>12} {'of bare':>8}")
        kinds: dict[str, Callable[[], list[Path]]] = (
            {"as they are": lambda: enough(paths, arguments.minutes)}
            if arguments.as_they_are
            else {
                f"{seconds} s {form}": functools.partial(cut, paths, Path(folder), seconds, form, arguments.minutes)
                for seconds in arguments.seconds
                for form in arguments.formats
            }
        )
        for kind, make in kinds.items():
            for line in measure(bundle, engine, variant, threads, kind, make(), arguments.turns, arguments.batches):
                output.say(line)


def measure(
    bundle: Bundle, engine: str, variant: str, threads: int, kind: str, files: list[Path], turns: int, batches: bool
) -> list[str]:
    """Time all ways in turns; a line for each."""
    count = lanes(engine, bundle.variant(variant), files)
    with (
        Transcriber(open_model(bundle, engine, variant, threads=threads)) as whole,
        Transcriber(open_model(bundle, engine, variant, threads=threads), lanes=count) as shared,
    ):
        per_file = [list(whole.chunks(whole.open_recording(path))) for path in files]
        windows = [window for found in per_file for window in found]
        seconds = sum(
            (found[-1].first_frame * whole.spec.stride + len(found[-1].samples)) / whole.spec.sample_rate
            for found in per_file
        )
        ways: dict[str, Callable[[], None]] = {"bare": lambda: bare(whole, windows)}
        if shared.lanes > 1:
            ways[f"bare in {shared.lanes} lanes"] = lambda: bare_in_lanes(shared, windows)
        ways["files"] = lambda: transcribe(shared, files)
        if batches:
            alike = sorted(windows, key=lambda window: len(window.samples))
            for size in BATCHES:
                ways[f"bare, batches of {size}"] = lambda size=size: bare_batches(whole, alike, size)  # type: ignore[misc]
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(-1, turns):  # the first turn warms up
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                if turn >= 0:
                    taken[name].append(time.perf_counter() - started)
    lines = []
    for name, elapsed in taken.items():
        of_bare = np.median(np.array(taken["bare"]) / np.array(elapsed))
        typical = float(np.median(elapsed))
        lines.append(
            f"{kind + ', ' + name:33} {len(files):6} {len(windows):8} {1000 * typical / len(windows):12.1f} "
            f"{seconds / typical:12.1f} {of_bare:8.2f}"
        )
    return lines


def enough(paths: Sequence[Path], minutes: float) -> list[Path]:
    """Recordings of ``minutes`` in all."""
    taken: list[Path] = []
    seconds = 0.0
    for path in paths:
        taken.append(path)
        seconds += len(read.load(path)) / 16000
        if seconds > 60 * minutes:
            break
    return taken


def cut(paths: Sequence[Path], folder: Path, seconds: int, form: str, minutes: float) -> list[Path]:
    """Recordings end to end, cut into files of equal length; again from the first when they run out."""
    wanted = max(1, round(60 * minutes / seconds))
    size = 16000 * seconds
    made: list[Path] = []
    rest = np.zeros(0, np.float32)
    while True:
        for path in paths:
            rest = np.concatenate((rest, read.load(path)))
            while len(rest) >= size:
                made.append(folder / f"{seconds}-{len(made):04}.{form}")
                soundfile.write(made[-1], rest[:size], 16000)
                rest = rest[size:]
                if len(made) == wanted:
                    return made


def bare(transcriber: Transcriber, windows: Sequence[Chunk]) -> None:
    """The session alone."""
    for window in windows:
        transcriber.run([window])


def bare_in_lanes(transcriber: Transcriber, windows: Sequence[Chunk]) -> None:
    """The session alone, several windows at once."""
    with ThreadPoolExecutor(transcriber.lanes) as pool:
        list(pool.map(lambda window: transcriber.run([window]), windows))


def bare_batches(transcriber: Transcriber, windows: Sequence[Chunk], size: int) -> None:
    """The session alone, with neighbours in length padded to one batch."""
    for metered in (False, True):  # they run on different graphs
        alike = [window for window in windows if (window.loudness is not None) == metered]
        for start in range(0, len(alike), size):
            transcriber.run(alike[start : start + size])


def transcribe(transcriber: Transcriber, files: Sequence[Path]) -> None:
    """From files to text, as the command does it."""
    for result in transcribe_all(transcriber, files):
        if result.error is not None:
            raise result.error


if __name__ == "__main__":
    main()

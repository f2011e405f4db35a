"""How cost grows with length, threads, batch, streams and model size, each beside a limit.

    python benchmarks/growth.py --docs docs/figures/growth.md [--only windows files threads batch streams size]

Windows are run in processes of their own (benchmarks/memory.py); files of a minute to two hours by `wav2edge
transcribe` (benchmarks/long_audio.py); streams are played to `wav2edge serve` in real time. INT8 throughout: int8-u8s8
on ONNX Runtime, int8-s8s8 on OpenVINO, layer norm. The limit of a time is that of the model's products at the INT8 peak
that this machine reaches in the same run, or growth in proportion; that of memory is the size of the variant's file.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import _curves
import _kit
import _limits
import _shapes
import long_audio
import memory
from _serving import Speech, served, together

from wav2edge.measure import manifest
from wav2edge.runtime import tiling
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle

WAYS = (("onnxruntime", "int8-u8s8"), ("openvino", "int8-s8s8"))
LENGTHS, FILES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0), (60.0, 600.0, 3600.0, 7200.0)
BATCHES, STREAMS = (1, 2, 4, 8), (1, 2, 4, 8, 16)
AT = 10.0
"""Seconds of the windows whose threads, batch and model size vary."""
NORM: _shapes.Norm = "layer"


def main() -> None:
    """Print a table for each way to grow, with curves for length."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=6, help="of a window; the fastest counts")
    parser.add_argument("--largest", choices=["base", "300m"], default="300m", help="model (default: 300m)")
    parser.add_argument("--longest", type=float, default=FILES[-1], help="seconds of the longest file")
    arguments = parser.parse_args()
    with _kit.Output(arguments, markdown=True) as output, tempfile.TemporaryDirectory() as folder:
        growth = Growth(arguments, output, Path(folder))
        for name in arguments.only:
            PARTS[name](growth)


class Growth:
    """One run of the script: its options, where it writes, and what the machine reaches."""

    def __init__(self, arguments: argparse.Namespace, output: _kit.Output, folder: Path) -> None:
        """folder: for long files and the engines' caches."""
        self.options, self.output, self.folder = arguments, output, folder
        peak = _limits.Peak(arguments.threads)
        self.peak = max(peak.rate() for _ in range(4))
        output.say(f"The INT8 peak of this machine, {arguments.threads} threads: {self.peak / 1e9:.0f} GOP/s.", "")

    def limit(self, shape: str, seconds: float) -> float:
        """Seconds that the products of a clip take at the peak."""
        return _limits.products(checkpoint(shape), seconds) / self.peak

    def window(self, shape: str, way: tuple[str, str], seconds: float, threads: int = 0, batch: int = 1) -> memory.Row:
        """Time and memory of a window in a process of its own, with the cache of the ones before."""
        told = [shape, NORM, *way, "pieces", str(seconds), str(self.options.runs)]
        told += [str(threads or self.options.threads), str(batch)]
        return memory.child(bundle(shape).path, str(self.folder / "cache"), tiling.SECONDS, told)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table with its heading."""
        self.output.say(f"### {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|")
        self.output.say(*(f"| {' | '.join(row)} |" for row in rows), "")


def windows(growth: Growth) -> None:
    """Time and memory against the length of a window."""
    rows, times, sizes = [], {}, {}
    for shape in ("embedded", "base"):
        for way in WAYS:
            found = {seconds: growth.window(shape, way, seconds) for seconds in LENGTHS}
            name = f"{shape}, {TITLES[way[0]]}"
            times[name] = [(seconds, 1000 * row["run_seconds"]) for seconds, row in found.items()]
            sizes[name] = [(seconds, row["peak"] / 1e6) for seconds, row in found.items()]
            for seconds, row in found.items():
                taken, limit = 1000 * row["run_seconds"], 1000 * growth.limit(shape, seconds)
                rows.append((shape, " ".join(way), f"{seconds:g}", f"{taken:.1f}", f"{limit:.1f}",
                             f"{row['peak'] / 1e6:.0f}", f"{weights(shape, way[1]):.0f}"))  # fmt: skip
    times["limit of base"] = [(seconds, 1000 * growth.limit("base", seconds)) for seconds in LENGTHS]
    sizes["limit of base"] = [(seconds, weights("base", WAYS[0][1])) for seconds in LENGTHS]
    growth.output.say("### Length of a window", "")
    growth.output.say(_curves.drawn("ms of a run, over seconds of sound", times), "")
    growth.output.say(_curves.drawn("MB above the bare imports, over seconds of sound", sizes), "")
    columns = ("model", "engine and variant", "s", "ms", "limit: products at the peak", "MB", "limit: file")
    growth.table("Windows in figures", columns, rows)


def files(growth: Growth) -> None:
    """Time and memory of the command against the length of a file."""
    rows = []
    recordings = manifest.scan(str(embedded.clips_manifest()), need=None)[0]
    for shape in ("embedded", "base"):
        engine, variant = WAYS[0]
        options = ["-m", str(bundle(shape).path), "--engine", engine, "--variant", variant]
        first = 0.0
        for seconds in (length for length in FILES if length <= growth.options.longest):
            path = growth.folder / f"{seconds:g}.flac"
            if not path.exists():
                long_audio.write(recordings, path, seconds)
            words = [*options, "--threads", str(growth.options.threads)]
            peak, taken, _ = long_audio.transcribe(path, words)
            first = first or taken / seconds
            rows.append((shape, f"{engine} {variant}", f"{seconds / 60:g}", f"{taken:.1f}", f"{first * seconds:.1f}",
                         f"{seconds / taken:.1f}", f"{peak / 1e6:.0f}"))  # fmt: skip
    columns = ("model", "engine and variant", "min", "s", "limit: as the first", "× real time", "MB of the process")
    growth.table("Length of a file", columns, rows)


def threads(growth: Growth) -> None:
    """Time against threads."""
    rows = []
    for shape in ("embedded", "base"):
        for way in WAYS:
            one, *more = (growth.window(shape, way, AT, count) for count in range(1, growth.options.threads + 1))
            for count, row in enumerate((one, *more), start=1):
                rows.append((shape, " ".join(way), str(count), f"{1000 * row['run_seconds']:.1f}",
                             f"{1000 * one['run_seconds'] / count:.1f}", f"{row['peak'] / 1e6:.0f}"))  # fmt: skip
    growth.table(
        f"Threads, {AT:g} s", ("model", "engine and variant", "threads", "ms", "limit: in proportion", "MB"), rows
    )


def batch(growth: Growth) -> None:
    """Time and memory against clips in one run."""
    rows = []
    for shape in ("embedded", "base"):
        for way in WAYS:
            found = {count: growth.window(shape, way, AT, batch=count) for count in BATCHES}
            one = found[1]["run_seconds"]
            rows += [
                (shape, " ".join(way), str(count), f"{1000 * row['run_seconds'] / count:.1f}", f"{1000 * one:.1f}",
                 f"{row['peak'] / 1e6:.0f}")
                for count, row in found.items()
            ]  # fmt: skip
    columns = ("model", "engine and variant", "clips", "ms a clip", "limit: as one alone", "MB")
    growth.table(f"Batch, {AT:g} s", columns, rows)


def streams(growth: Growth) -> None:
    """CPU time and memory of a server against its live streams."""
    engine, variant = WAYS[0]
    options = argparse.Namespace(model=None, engine=engine, variant=variant, threads=growth.options.threads)
    speeches, rows = Speech.of(options, 15.0, max(STREAMS)), []
    one = 0.0
    for count in STREAMS:
        log = growth.folder / f"serve-{count}.log"
        with served(options, log) as server:
            before = server.cpu()
            asyncio.run(together(server, speeches, count))
            spent, peak = (server.cpu() - before) / speeches[0].seconds, server.peak()
        one = one or spent
        rows.append((f"{count}", f"{spent:.3f}", f"{count * one:.3f}", f"{peak / 1e6:.0f}"))
    columns = ("streams", "CPU-seconds a second", "limit: in proportion", "MB of the process")
    growth.table(f"Live streams of a server, embedded, {engine} {variant}", columns, rows)


def size(growth: Growth) -> None:
    """Time and memory against the size of the model."""
    rows = []
    for shape in ("embedded", "base", *(["300m"] if growth.options.largest == "300m" else [])):
        for way in WAYS:
            row, limit = growth.window(shape, way, AT), growth.limit(shape, AT)
            rows.append((shape, " ".join(way), f"{1000 * row['run_seconds']:.1f}", f"{1000 * limit:.1f}",
                         f"{row['run_seconds'] / limit:.2f}", f"{row['peak'] / 1e6:.0f}",
                         f"{weights(shape, way[1]):.0f}", f"{row['load_seconds']:.2f}"))  # fmt: skip
    columns = (
        "model",
        "engine and variant",
        "ms",
        "limit: products at the peak",
        "of it",
        "MB",
        "limit: file",
        "load s",
    )
    growth.table(f"Model size, {AT:g} s", columns, rows)


TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
PARTS: dict[str, Callable[[Growth], None]] = {
    part.__name__: part for part in (windows, files, threads, batch, streams, size)
}
"""What can grow."""


def bundle(shape: str) -> Bundle:
    """The bundle of a shape, or the embedded one."""
    return Bundle.open(embedded.bundle_path()) if shape == "embedded" else _shapes.bundle(shape, NORM)


def checkpoint(shape: str) -> Path:
    """The folder with the config.json of a shape."""
    if shape == "embedded":
        return Path(__file__).parents[1] / "recipes" / "embedded" / "checkpoint"
    return _shapes.folder() / f"{shape}-{NORM}-checkpoint"


def weights(shape: str, variant: str) -> float:
    """Megabytes of a variant's whole graph and its data."""
    made = bundle(shape)
    chosen = made.variant(variant)
    return sum(made.path.joinpath(name).stat().st_size for name in (chosen.graphs["full"], *chosen.data)) / 1e6


if __name__ == "__main__":
    main()

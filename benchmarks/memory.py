"""Memory of a process that transcribes, at the shapes of common models (random weights: only memory and time count).

    python benchmarks/memory.py [--shapes base 300m] [--norms layer group] [--seconds 30] [--runs 4] [--threads 2]
    python benchmarks/memory.py --live 60                     # live captions of an hour of speech too

Each row is a separate process. It imports the engine's library and numpy, whose memory is subtracted; then it loads an
INT8 variant (int8-u8s8 on ONNX Runtime, int8-s8s8 on OpenVINO) and runs windows of noise. Printed are, in
MB above that floor: resident memory after loading, the peak while windows run, and resident memory after each of the
runs; PSS counts what processes share by their number. ``whole`` is the same variant without the stages that run in
pieces, in one graph. Loading is timed twice: with an empty cache and with the cache that the first left. ``live`` is
captions of the recordings that ship, again and again, as fast as they can be made; its ``run s`` are CPU-seconds of a
second of sound, and what resident memory grows by in an hour is a line through the later half of its minutes. The
speech detector's library is then among the imports.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypedDict

import _kit
import _shapes
import numpy as np

from wav2edge.runtime import tiling

WAYS = (("onnxruntime", "int8-u8s8"), ("openvino", "int8-s8s8"), ("onnxruntime", "fp32"), ("openvino", "fp32"))


class Row(TypedDict):
    """What a process measured; memory in bytes above the bare imports."""

    shape: str
    norm: str
    engine: str
    variant: str
    way: str
    loaded: int
    peak: int
    after: list[int]
    pss: int
    load_seconds: float
    run_seconds: float


def main() -> None:
    """A process for each row, and a table."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--shapes", nargs="+", default=["base"], choices=[*_shapes.SHAPES])
    parser.add_argument("--norms", nargs="+", default=["layer", "group"], choices=["layer", "group"])
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a window")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variants", nargs="+", default=["int8-u8s8", "int8-s8s8"])
    parser.add_argument("--piece", type=float, default=tiling.SECONDS, help="length of a piece in seconds")
    parser.add_argument("--live", type=float, metavar="MIN", help="minutes of speech, live")
    parser.add_argument("--only-live", action="store_true", help="leave out the rows of windows")
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--child", nargs="+", help="for the script itself: the row that this process measures")
    arguments = parser.parse_args()
    if arguments.child:
        tiling.SECONDS = arguments.piece
        live = arguments.child[4] == "live"
        print(json.dumps(captions(*arguments.child) if live else measure(*arguments.child)))
        return
    rows = []
    ways = (*(() if arguments.only_live else ("whole", "pieces")), *(("live",) if arguments.live else ()))
    with _kit.Output(arguments) as output:
        output.say(f"windows of {arguments.seconds:g} s, {arguments.threads} threads; MB above the bare imports")
        output.say(
            f"{'shape':5} {'norm':5} {'engine':12} {'variant':10} {'way':6} {'loaded':>7} {'peak':>6} {'at rest':>8} "
            f"{'PSS':>6} {'load s':>7} {'cached':>7} {'run s':>6}"
        )
        for shape in arguments.shapes:
            for norm in arguments.norms:
                bundle = _shapes.bundle(shape, norm)
                for engine, variant in WAYS:
                    if variant not in arguments.variants:
                        continue
                    for way in ways:
                        with tempfile.TemporaryDirectory() as cache:
                            seconds = arguments.live * 60 if way == "live" else arguments.seconds
                            told, more = (
                                [shape, norm, engine, variant, way],
                                [str(arguments.runs), str(arguments.threads)],
                            )
                            first, second = (
                                child(bundle.path, cache, arguments.piece, [*told, str(length), *more])
                                for length in (1.0 if way == "live" else seconds, seconds)
                            )
                        rows.append(second)
                        output.say(line(first, second))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": _kit.machine(), "rows": rows}, indent=1) + "\n")


def child(bundle: Path, cache: str, piece: float, told: list[str]) -> Row:
    """Measure in another process, whose cache is ``cache``."""
    import os

    command = [sys.executable, __file__, "--piece", str(piece), "--child", *told]
    environment = {**os.environ, "WAV2EDGE_CACHE": cache, "WAV2EDGE_BENCHMARK_BUNDLE": str(bundle)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(told)}: {done.stderr.strip().splitlines()[-1]}")
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def measure(
    shape: str, norm: str, engine: str, variant: str, way: str, seconds: str, runs: str, threads: str, batch: str = "1"
) -> Row:
    """One row, in this process. batch: windows in one run."""
    import os

    from wav2edge.devices.open import open_model
    from wav2edge.runtime.bundle.read import Bundle
    from wav2edge.runtime.engines import library

    library(engine)
    floor = status("VmRSS")
    bundle = Bundle.open(os.environ["WAV2EDGE_BENCHMARK_BUNDLE"])
    chosen = bundle.variant(variant)
    if way == "whole":
        chosen = dataclasses.replace(chosen, graphs={"full": chosen.graphs["full"]})
        bundle = dataclasses.replace(bundle, variants=(chosen,))
    started = time.perf_counter()
    with open_model(bundle, engine, variant, threads=int(threads)) as model:
        model.prepare()
        load_seconds = time.perf_counter() - started
        loaded = status("VmRSS") - floor
        window = np.random.default_rng(0).normal(0, 0.1, round(float(seconds) * _kit.RATE)).astype(np.float32)
        after, times = [], []
        for _ in range(int(runs)):
            started = time.perf_counter()
            model.logits([window] * int(batch))
            times.append(time.perf_counter() - started)
            after.append(status("VmRSS") - floor)
        return row((shape, norm, engine, variant, way), floor, loaded, after, load_seconds, min(times))


def captions(shape: str, norm: str, engine: str, variant: str, way: str, seconds: str, runs: str, threads: str) -> Row:
    """The row of live captions, in this process; ``run_seconds`` are those of a second of sound."""
    import os

    from wav2edge.devices.open import open_model
    from wav2edge.runtime.audio import read
    from wav2edge.runtime.bundle import embedded
    from wav2edge.runtime.engines import library
    from wav2edge.runtime.live.transcriber import LiveTranscriber

    clips = [read.load(path, _kit.RATE) for path in sorted(embedded.clips_manifest().parent.glob("*.*[sc]"))]
    library("onnxruntime"), library(engine)
    floor = status("VmRSS")
    started = time.perf_counter()
    with LiveTranscriber(
        open_model(os.environ["WAV2EDGE_BENCHMARK_BUNDLE"], engine, variant, threads=int(threads))
    ) as live:
        load_seconds, loaded = time.perf_counter() - started, status("VmRSS") - floor
        after: list[int] = []
        started, done, turn = time.process_time(), 0, 0
        while done < float(seconds) * _kit.RATE:
            sound = np.concatenate((clips[turn % len(clips)], np.zeros(2 * _kit.RATE, np.float32)))
            for at in range(0, len(sound), 1600):
                live.push(sound[at : at + 1600])
            done, turn = done + len(sound), turn + 1
            if done >= (len(after) + 1) * 60 * _kit.RATE:
                after.append(status("VmRSS") - floor)
        spent = (time.process_time() - started) / (done / _kit.RATE)
        after = after or [status("VmRSS") - floor]
        live.finish()
        return row((shape, norm, engine, variant, way), floor, loaded, after, load_seconds, spent)


def row(
    what: tuple[str, str, str, str, str],
    floor: int,
    loaded: int,
    after: list[int],
    load_seconds: float,
    run_seconds: float,
) -> Row:
    """A row, with the peak and the pages of this process now. what: its shape, norm, engine, variant and way."""
    shape, norm, engine, variant, way = what
    return {
        "shape": shape,
        "norm": norm,
        "engine": engine,
        "variant": variant,
        "way": way,
        "loaded": loaded,
        "peak": status("VmHWM") - floor,
        "after": after,
        "pss": pss() - floor,
        "load_seconds": load_seconds,
        "run_seconds": run_seconds,
    }


def growth(after: list[int]) -> float:
    """MB an hour over the later half of what was measured each minute, of three minutes at least."""
    later = np.array(after[len(after) // 2 :]) / 1e6
    return 60 * float(np.polyfit(np.arange(len(later)), later, 1)[0])


def status(field: str) -> int:
    """A field of the status of this process, in bytes."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith(f"{field}:"):
            return int(text.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}")


def pss() -> int:
    """The proportional set size of this process in bytes."""
    for text in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if text.startswith("Pss:"):
            return int(text.split()[1]) * 1024
    raise SystemExit("/proc/self/smaps_rollup has no Pss")


def line(first: Row, second: Row) -> str:
    """A line of the table."""
    sizes = second["loaded"], second["peak"], second["after"][-1], second["pss"]
    megabytes = [f"{value / 1e6:.0f}" for value in sizes]
    known = second["way"] == "live" and len(second["after"]) > 2
    grows = f"   {growth(second['after']):+.0f} MB an hour" if known else ""
    return (
        f"{second['shape']:5} {second['norm']:5} {second['engine']:12} {second['variant']:10} {second['way']:6} "
        f"{megabytes[0]:>7} {megabytes[1]:>6} {megabytes[2]:>8} {megabytes[3]:>6} {first['load_seconds']:7.2f} "
        f"{second['load_seconds']:7.2f} {second['run_seconds']:6.2f}{grows}"
    )


if __name__ == "__main__":
    main()

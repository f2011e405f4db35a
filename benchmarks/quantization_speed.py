"""Time of quantised variants at base shape (94 M parameters, random weights: speed only), side by side.

    python benchmarks/quantization_speed.py BASE_BUNDLE [--seconds 10] [--threads 2] [--turns 12] [--only NAME,NAME]

BASE_BUNDLE: an export of a base-shape checkpoint. NNCF's default INT8 of the same graph runs beside ours, torch too;
they need `pip install nncf "wav2edge[export,openvino]"`. Each contender has a separate process and they take turns,
forwards and backwards; a ratio is the median over the turns of what was measured in the same turn. Prints the sizes of
the files, the operators that the engines fused, all times, and the main ratios beside what is expected of them. Some
four minutes.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import _kit
import numpy as np
from _speed_runners import RUNNERS, openvino_compiled

from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.clips import BUILT_IN, calibration_clips
from wav2edge.calibration.observe import observe
from wav2edge.calibration.passes.qdq import observed
from wav2edge.calibration.sites import find_sites, match_sites
from wav2edge.graphs.graph import Graph
from wav2edge.runtime.bundle.read import Bundle

FIRST = "conv_layers.[0-3]"
CALIBRATED_ON = 3  # clips: random weights, only the time counts
PLAN = (
    # name, variant, float layers, engine
    ("torch fp32", "torch", "", "torch"),
    ("fp32", "fp32", "", "onnxruntime"),
    ("int8-u8s8", "int8-u8s8", "", "onnxruntime"),
    ("int8-u8s8, conv 0-3 float", "int8-u8s8", FIRST, "onnxruntime"),
    ("int8-dynamic", "int8-dynamic", "", "onnxruntime"),
    ("fp32 openvino", "fp32", "", "openvino"),
    ("int8-s8s8", "int8-s8s8", "", "openvino"),
    ("int8-s8s8, conv 0-3 float", "int8-s8s8", FIRST, "openvino"),
    ("nncf default", "nncf", "", "openvino"),
)


OURS = tuple(name for name, variant, _, _ in PLAN if variant.startswith("int8"))
EXPECTED = (
    # contenders of which the fastest counts, what it is compared with, the largest ratio expected, where
    (("int8-u8s8",), "fp32", 0.68, "in ONNX Runtime, all convolutions in INT8"),
    (("int8-u8s8, conv 0-3 float",), "fp32", 0.85, "in ONNX Runtime"),
    (("int8-dynamic",), "fp32", 0.78, "in ONNX Runtime"),
    (("int8-s8s8",), "nncf default", 1.0, "in OpenVINO"),
    (tuple(name for name in OURS if "float" not in name), "torch fp32", 0.18, "on a CPU with AMX"),
    (tuple(name for name in OURS if "float" in name), "torch fp32", 0.25, "on a CPU with AMX"),
)
EXPECTED_SIZE = 0.33
"""Of the fp32 file: a quarter for the weights, and what stays in float."""


def work(pipe: Any, engine: str, path: str, threads: int, samples: int) -> None:
    """Load in this process, then run once for each word from the pipe and answer with the seconds."""
    run = RUNNERS[engine](path, threads)
    values = np.random.default_rng(0).normal(0, 0.1, (1, samples)).astype(np.float32)
    feeds = {"input_values": values, "input_lengths": np.array([samples], dtype=np.int64)}
    for _ in range(2):
        run(feeds)
    pipe.send("ready")
    while pipe.recv() == "run":
        start = time.perf_counter()
        run(feeds)
        pipe.send(time.perf_counter() - start)


def nncf_model(source: Path, target: Path, samples: int) -> None:
    """NNCF's default INT8 of the same graph."""
    import nncf
    import openvino

    values = np.random.default_rng(0).normal(0, 0.1, (1, samples)).astype(np.float32)
    feeds = {"input_values": values, "input_lengths": np.array([samples], dtype=np.int64)}
    model = openvino.Core().read_model(str(source))
    openvino.save_model(nncf.quantize(model, nncf.Dataset([feeds] * 2), subset_size=2), target, compress_to_fp16=False)


def fused(path: Path) -> Counter[str]:
    """The operators of the graph that ONNX Runtime makes of a file."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath, load_external_data=False)
    return Counter(node.op_type for node in model.graph.node)


def integer_operators(path: Path, threads: int) -> Counter[str]:
    """The operators of a file that OpenVINO computes in INT8; those of attention are fused into ``Subgraph``."""
    counts: Counter[str] = Counter()
    for node in openvino_compiled(str(path), threads).get_runtime_model().get_ordered_ops():
        kind, precision = (node.get_rt_info()[key].astype(str) for key in ("layerType", "runtimePrecision"))
        if precision in ("i8", "u8") and kind.startswith(("Conv", "GroupConv", "FullyConnected", "MatMul", "Subgraph")):
            counts[kind] += 1
    return counts


def files(
    output: _kit.Output, bundle: Bundle, folder: Path, samples: int, threads: int, wanted: set[str]
) -> dict[str, Path]:
    """Calibrate on the built-in clips and write every contender; returns their graphs."""
    clips = calibration_clips(BUILT_IN, bundle.spec, longest=5.0, limit=CALIBRATED_ON)
    fp32 = bundle.variant("fp32")
    graph = Graph.load(bundle.graph(fp32, "full"))
    sites = find_sites(graph)
    started = time.perf_counter()
    histograms = observe(graph, observed(sites), clips.pieces(), folder)
    output.say(f"calibrated on {len(clips.rows)} clips in {time.perf_counter() - started:.1f} s; {len(sites)} sites")
    made = {}
    for name, variant, patterns, engine in PLAN:
        if name not in wanted:
            continue
        place = folder / name.replace(" ", "_")
        place.mkdir()
        if variant == "torch":
            made[name] = Path(bundle.spec.norm)
        elif variant == "fp32":
            made[name] = bundle.graph(fp32, "full")
        elif variant == "nncf":
            made[name] = place / "nncf.xml"
            nncf_model(bundle.graph(fp32, "full"), made[name], samples)
        else:
            keep = match_sites(sites, [patterns]) if patterns else frozenset()
            builder = VariantBuilder(bundle, graph, sites, histograms, "min-max", place)
            written = builder.build(variant, keep, stages=False)
            made[name] = place / written.graphs["full"]
            size = written.bytes / sum(fp32.sizes[file] for file in (fp32.graphs["full"], *fp32.data))
            expected = "" if patterns or variant == "int8-dynamic" else f" (expected: at most {EXPECTED_SIZE})"
            output.say(f"{name}: {written.bytes / 1e6:.1f} MB, {size:.3f} of fp32{expected}")
        if engine == "openvino" and variant != "fp32":
            counts = integer_operators(made[name], threads)
            output.say(f"{name}: in OpenVINO in INT8 {', '.join(f'{kind} {count}' for kind, count in counts.items())}")
        if engine == "onnxruntime":
            output.say(f"{name}: in ONNX Runtime {operators(fused(made[name]))}")
    return made


def operators(counts: Counter[str]) -> str:
    """The products and convolutions of an optimised graph: how many in INT8, and as which operators."""
    integer = ("QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulInteger", "QLinearConv")
    kinds = ", ".join(f"{kind} {counts[kind]}" for kind in (*integer, "MatMul", "FusedMatMul", "Conv") if counts[kind])
    products = sum(counts[kind] for kind in integer[:4])
    left = counts["MatMul"] + counts["FusedMatMul"]
    return f"{products} of {products + left} matrix products in INT8 ({kinds})"


def take_turns(
    made: dict[str, Path], engines: dict[str, str], threads: int, samples: int, turns: int
) -> dict[str, list[float]]:
    """Seconds of each contender in each turn; every one runs in a separate process."""
    context = multiprocessing.get_context("spawn")
    workers = {}
    for name, path in made.items():
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, engines[name], str(path), threads, samples))
        process.start()
        assert ours.recv() == "ready"
        workers[name] = (process, ours)
    times: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(turns):
        for name in list(workers)[:: -1 if turn % 2 else 1]:
            time.sleep(0.05)  # the threads of the previous contender spin for a moment
            workers[name][1].send("run")
            times[name].append(workers[name][1].recv())
    for process, pipe in workers.values():
        pipe.send("stop")
        process.join()
    return times


def ratio(times: dict[str, list[float]], name: str, other: str) -> float:
    """The median over the turns of one contender's time over another's in the same turn."""
    return float(np.median(np.divide(times[name], times[other])))


def main() -> None:
    """Build, take turns, print."""
    parser = _kit.parser(__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--only", help="names of contenders, by comma")
    arguments = parser.parse_args()
    started = time.perf_counter()
    bundle = Bundle.open(arguments.bundle)
    samples = int(arguments.seconds * 16000)
    wanted = {row[0] for row in PLAN}
    if arguments.only:
        wanted = {name for name in wanted if any(part.strip() in name for part in arguments.only.split(","))}
    if "nncf default" in wanted and importlib.util.find_spec("nncf") is None:
        sys.exit("needs nncf: `pip install nncf`, or leave it out with --only")
    with tempfile.TemporaryDirectory() as folder, _kit.Output(arguments) as output:
        made = files(output, bundle, Path(folder), samples, arguments.threads, wanted)
        engines = {name: engine for name, _, _, engine in PLAN}
        times = take_turns(made, engines, arguments.threads, samples, arguments.turns)
        output.say("", f"{arguments.seconds:g} s of audio, {arguments.threads} threads, {arguments.turns} turns:")
        output.say("median (min) ms, and median of the ratios within a turn")
        output.say(*rows(times), "", *ratios(times))
    print(f"{time.perf_counter() - started:.0f} s in all")


def rows(times: dict[str, list[float]]) -> list[str]:
    """A line for each contender."""
    lines = []
    for name, values in times.items():
        others = [other for other in ("fp32", "fp32 openvino", "nncf default", "torch fp32") if other != name]
        shares = "  ".join(f"{ratio(times, name, other):.3f} of {other}" for other in others if other in times)
        lines.append(f"{name:28} {np.median(values) * 1000:7.1f} ({min(values) * 1000:.1f})  {shares}")
    return lines


def ratios(times: dict[str, list[float]]) -> list[str]:
    """The main ratios, and what is expected of them."""
    lines = []
    for names, other, expected, where in EXPECTED:
        measured = {name: ratio(times, name, other) for name in names if name in times and other in times}
        if measured:
            best = min(measured, key=measured.__getitem__)
            lines.append(f"{best} of {other}: {measured[best]:.3f} (expected: at most {expected:g} {where})")
    return lines


if __name__ == "__main__":
    main()

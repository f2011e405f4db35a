"""The time that the engine layer adds to a call: wav2edge's engine against the library's session, on one graph.

    python benchmarks/engine_layer.py [BUNDLE …] [--variant fp32 int8-u8s8] [--seconds 10] [--pairs 40]

Without a bundle the embedded one. ONNX Runtime's session is opened as its documentation opens one, on as many threads.
Calls alternate, each of ours between two bare ones, and the median of the paired ratios is printed with half the width
of their middle half (``Timing.ratios``: pairs that other load did not disturb). Two sessions of the same kind differ in
time, because their weights are at other addresses: a second bare session shows by how much. ``own code`` is the time of
wav2edge's calls without the library's call inside them, which other load does not affect. The testing engine's median
over 1 000 calls is the layer without a library. Exits 1 above 0.3 ms for the testing engine, and above 2 % for own code
or, beyond the scatter of the pairs, for the whole.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _kit
import numpy as np
from numpy.typing import NDArray

from wav2edge.devices import detect
from wav2edge.measure.bench.audio import speech_of
from wav2edge.measure.bench.report import Timing
from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.engines._ort import OnnxRuntimeSession
from wav2edge.runtime.engines.onnxruntime import load

ALLOWED_SHARE, ALLOWED_TESTING = 0.02, 0.3e-3
_SETTLE = 0.03
"""Seconds between calls, in which one session's idle threads fall asleep before the other runs."""
Call = Callable[[], object]


def main() -> int:
    """Print the table; 1 above what is allowed."""
    parser = _kit.parser(__doc__)
    parser.add_argument("bundle", type=Path, nargs="*")
    parser.add_argument("--variant", nargs="+", default=["fp32", "int8-u8s8"])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=detect.detect().cpu.threads)
    parser.add_argument("--pairs", type=int, default=40)
    arguments = parser.parse_args()
    samples = speech_of(arguments.seconds)
    bundles = [Bundle.open(path) for path in arguments.bundle or [embedded.bundle_path()]]
    with _kit.Output(arguments) as output:
        (testing,) = engines.names(("testing",))
        took = _testing(testing, bundles[0], samples)
        length = f"{arguments.seconds:g} s of audio"
        output.say(f"{testing} engine, {length}: {1e3 * took:.3f} ms a call, median of 1 000 (allowed: 0.3)")
        output.say(f"{'bundle':16} {'variant':12} {'bare':>9} {'ours adds':>16} {'second bare':>16} {'own code':>19}")
        within = took <= ALLOWED_TESTING
        for bundle in bundles:
            for variant in bundle.variants:
                if variant.name in arguments.variant:
                    within &= _row(output, bundle, variant.name, samples, arguments.threads, arguments.pairs)
        output.say(f"{'within' if within else 'above'} what is allowed ({ALLOWED_SHARE:.0%})")
    return int(not within)


def _row(
    output: _kit.Output, bundle: Bundle, name: str, samples: NDArray[np.float32], threads: int, pairs: int
) -> bool:
    """Print a variant's line; whether it is within what is allowed."""
    variant = bundle.variant(name)
    session = load(bundle, variant, "full", EngineOptions(threads=threads))
    assert isinstance(session, OnnxRuntimeSession)
    inner = _Timed(session.raw)
    session.raw = inner
    values, lengths = samples[None], np.array([len(samples)], np.int64)
    first, second = (_bare(_open(bundle.graph(variant, "full"), threads), values, lengths) for _ in range(2))
    ours = _pairs(first, lambda: session.run(engines.as_feeds(values, lengths)), pairs)
    again = _pairs(first, second, pairs)
    bare = statistics.median(before for before, _, _ in ours.triples)
    own = statistics.median(whole - library for whole, library in zip(ours.times, inner.times[-pairs:]))
    (added, scatter), floor = _added(ours), _added(again)
    output.say(
        f"{bundle.path.name:16} {name:12} {1e3 * bare:6.1f} ms {added:+9.2%} ± {scatter:.2%} {floor[0]:+9.2%} ± "
        f"{floor[1]:.2%} {1e3 * own:7.3f} ms {own / bare:.3%}"
    )
    return own / bare <= ALLOWED_SHARE and added - scatter <= ALLOWED_SHARE


class _Timed:
    """ONNX Runtime's session, and how long each of its runs took."""

    def __init__(self, session: Any) -> None:
        self._session, self.times = session, list[float]()

    def run(self, *arguments: Any) -> Any:
        started = time.perf_counter()
        result = self._session.run(*arguments)
        self.times.append(time.perf_counter() - started)
        return result


def _open(graph: Path, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _bare(session: Any, values: NDArray[np.float32], lengths: NDArray[np.int64]) -> Call:
    feeds = {"input_values": values, "input_lengths": lengths}
    return lambda: session.run(None, feeds)


def _pairs(bare: Call, ours: Call, pairs: int) -> Timing:
    """Alternate, ours between two bare calls; after three of each that are not counted."""
    for _ in range(3):
        bare()
        ours()
    before, triples = _time(bare), []
    for _ in range(pairs):
        own, after = _time(ours), _time(bare)
        triples.append((before, own, after))
        before = after
    return Timing(0.0, 0.0, tuple(own for _, own, _ in triples), tuple(triples))


def _time(call: Call) -> float:
    time.sleep(_SETTLE)
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _added(timing: Timing) -> tuple[float, float]:
    """The median share that is added, and half the width of its middle half."""
    shares = [1 / ratio - 1 for ratio in timing.ratios]
    low, high = np.percentile(shares, (25, 75))
    return statistics.median(shares), float(high - low) / 2


def _testing(engine: str, bundle: Bundle, samples: NDArray[np.float32]) -> float:
    """The median seconds of a call of an engine that computes nothing."""
    session = engines.load(bundle, bundle.variants[0], engine)
    values, lengths = samples[None], np.array([len(samples)], np.int64)
    times = []
    for _ in range(1000):
        started = time.perf_counter()
        session.run(engines.as_feeds(values, lengths))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())

"""The time of Triton's ragged batch against padding by the client, and whether each clip has the result of its own run.

    python benchmarks/triton_ragged.py [-m BUNDLE] [--variant fp32] [--requests 64] [--turns 5]

As many requests as --requests, of 0.5 to 30 s of speech, are one batch of the graph of ``triton:ragged``, fed as the
server's ONNX Runtime backend feeds it; the same clips are padded and run by the graph of ``triton``; and run ragged in
batches of similar lengths and one by one. Times are of ONNX Runtime here, the medians of the turns. A batch of 64 takes
much memory: ONNX Runtime keeps none that was freed, and --most-memory ends the run with an error before it takes more.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import _kit
import numpy as np
import onnxruntime
from _packed_graphs import decoded, flat, padded
from numpy.typing import NDArray

from wav2edge.export import layouts
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.files import write_whole

SHORTEST, LONGEST = 0.5, 30.0
"""Seconds."""
GROUP = 8
"""Requests of similar lengths in one batch, as a scheduler that sorts would send them."""

Clip = NDArray[np.float32]


def main() -> None:
    """Print both parts."""
    parser = _kit.parser(__doc__)
    parser.add_argument("-m", "--model", metavar="BUNDLE", help="bundle (default: the embedded demo model)")
    parser.add_argument("--variant", default="fp32")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most-memory", type=float, metavar="GB", help="address space that the run may take")
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write the results")
    options = parser.parse_args()
    if options.most_memory:
        resource.setrlimit(resource.RLIMIT_AS, (int(options.most_memory * 1e9),) * 2)
    bundle = Bundle.open(options.model or embedded.bundle_path())
    clips = requests(options.requests)
    total = sum(len(clip) for clip in clips)
    with _kit.Output(options) as output:
        ragged, plain = (session(bundle, name, options) for name in ("triton:ragged", "triton"))
        same, largest = equal_to_their_own(ragged, clips, bundle)
        output.say(
            f"{len(clips)} requests of {SHORTEST:g} to {LONGEST:g} s, {total / _kit.RATE:.0f} s in all, one batch"
        )
        output.say(f"clips with the labels of their own run: {same} of {len(clips)}; largest difference {largest:.1e}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        output.say(f"most memory of the ragged batch: {peak:.1f} GB")
        groups = [sorted(clips, key=len)[n : n + GROUP] for n in range(0, len(clips), GROUP)]
        longest = max(len(clip) for clip in clips)
        ways: dict[str, Callable[[], object]] = {
            "padded by the client, one batch": lambda: plain.run(None, padded(clips)),
            "ragged, one batch": lambda: ragged.run(None, flat(clips)),
            f"ragged, batches of {GROUP} of similar lengths": lambda: [ragged.run(None, flat(g)) for g in groups],
            "ragged, one by one": lambda: [ragged.run(None, flat([clip])) for clip in clips],
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.turns):
            for way, run in ways.items():
                start = time.perf_counter()
                run()
                times[way].append(time.perf_counter() - start)
        sent = dict.fromkeys(ways, total)
        sent["padded by the client, one batch"] = longest * len(clips)
        first = float(np.median(times["padded by the client, one batch"]))
        rows = []
        for way in ways:
            middle = float(np.median(times[way]))
            rows.append({"way": way, "seconds": middle, "of_padded": middle / first, "sent_mb": sent[way] * 4 / 1e6})
            output.say(f"{way:45} {middle:7.2f} s, {middle / first:5.2f} of padded, {sent[way] * 4 / 1e6:6.1f} MB sent")
    if options.json:
        head = {"date": date.today().isoformat(), "machine": _kit.machine(), "command": _kit.command()}
        values = {"requests": len(clips), "same": same, "largest_difference": largest, "memory_gb": peak, "ways": rows}
        write_whole(options.json, json.dumps({**head, **values}, indent=1) + "\n")


def requests(count: int) -> list[Clip]:
    """Stretches of the speech that ships, of lengths from the shortest to the longest, in random order."""
    seconds = np.linspace(SHORTEST, LONGEST, count)
    np.random.default_rng(0).shuffle(seconds)
    speech = _kit.sound([], LONGEST * 2)
    starts = np.random.default_rng(1).integers(0, len(speech) // 2, count)
    return [speech[start : start + round(length * _kit.RATE)] for start, length in zip(starts, seconds)]


def session(bundle: Bundle, layout: str, options: object) -> onnxruntime.InferenceSession:
    """The packed graph of a layout."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = getattr(options, "threads", 2)
    settings.enable_cpu_mem_arena = False
    with tempfile.TemporaryDirectory() as place:
        made = layouts.pack(bundle, layout, Path(place) / "packed", variants=[getattr(options, "variant", "fp32")])
        file = made.path / "models" / "packed" / "1" / "model.onnx"
        return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


def equal_to_their_own(graph: onnxruntime.InferenceSession, clips: Sequence[Clip], bundle: Bundle) -> tuple[int, float]:
    """How many clips of one batch have the text that they have alone, and the largest difference of a score."""
    name = bundle.spec.outputs[0].name
    together = np.asarray(graph.run([name], flat(clips))[0])
    same, largest = 0, 0.0
    for row, clip in zip(together, clips):
        alone = np.asarray(graph.run([name], flat([clip]))[0])[0]
        largest = max(largest, float(np.abs(row[: len(alone)] - alone).max()))
        same += decoded(row, bundle.spec) == decoded(alone, bundle.spec)
    return same, largest


if __name__ == "__main__":
    main()

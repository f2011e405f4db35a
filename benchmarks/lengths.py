"""What the few lengths of features (runtime/lengths.py) cost OpenVINO's encoder, in time and memory.

    python benchmarks/lengths.py [--shapes demo base] [--variant V] [--rounds N] [--clips N]

The features of clips of random lengths are padded to multiples of half a second (25 frames), and as the engine pads
them. Printed are the processor time of a clip (each length: the least of some rounds), on one thread, and by how much
the process grows for each length that is new to it, the longest having been run before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import _kit
import _shapes
import numpy as np
from memory import status

from wav2edge.devices.open import open_model
from wav2edge.runtime import lengths
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.model import Model

SPANS = ((25, 100), (100, 250), (250, 500), (500, 1000), (1000, 1499))
"""Frames of the clips of a line."""
LONGEST = 1499
"""Frames of 30 s."""


def half_seconds(frames: int) -> int:
    """Multiples of half a second."""
    return -(-frames // 25) * 25


PADDINGS: Mapping[str, Callable[[int], int]] = {"half seconds": half_seconds, "few lengths": lengths.rounded}


def main() -> None:
    """Print the tables."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--shapes", nargs="+", default=["demo", "base"], choices=["demo", *_shapes.SHAPES])
    parser.add_argument("--variant", default="int8-s8s8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=20, help="of each line")
    arguments = parser.parse_args()
    with _kit.Output(arguments, markdown=True) as output:
        for shape in arguments.shapes:
            path = None if shape == "demo" else _shapes.bundle(shape, "layer").path
            output.say(f"{'demo model' if path is None else f'{shape} shape'}, {arguments.variant}, one thread", "")
            memory_table(output, path, arguments.variant)
            output.say()
            time_table(output, path, arguments)
            output.say()


def memory_table(output: _kit.Output, path: Path | None, variant: str) -> None:
    """What each padding keeps."""
    output.say("| lengths | up to 30 s | MB for each | MB |", "|---|---:|---:|---:|")
    for name, padding in PADDINGS.items():
        counts = {padding(count) for count in range(1, LONGEST + 1)}
        grown = in_process(growth, path, variant, [*counts])
        output.say(f"| {name} | {len(counts)} | {grown / (len(counts) - 1):.1f} | {grown:.0f} |")


def time_table(output: _kit.Output, path: Path | None, arguments: argparse.Namespace) -> None:
    """What a clip of each span takes."""
    random = np.random.default_rng(0)
    clips = [[int(n) for n in random.integers(low, high + 1, arguments.clips)] for low, high in SPANS]
    padded = sorted({padding(count) for padding in PADDINGS.values() for counts in clips for count in counts})
    with open_model(path, "openvino", arguments.variant, threads=1) as model:
        rounds = [{count: seconds(model, count) for count in padded} for _ in range(arguments.rounds + 1)]
    least = {count: min(each[count] for each in rounds[1:]) for count in padded}
    output.say("| clips | half seconds, ms | few lengths, ms | ratio |", "|---|---:|---:|---:|")
    for (low, high), counts in zip(SPANS, clips):
        before, after = (1e3 * float(np.mean([least[pad(count)] for count in counts])) for pad in PADDINGS.values())
        span = f"{low / 50:g} to {(high + 1) // 50} s"
        output.say(f"| {span} | {before:.1f} | {after:.1f} | {after / before:.2f} |")


def in_process(function: Callable[..., float], *arguments: object) -> float:
    """What a function returns in another process, whose memory nothing used before."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def growth(path: Path | None, variant: str, counts: Sequence[int]) -> float:
    """By how many MB a process grows while a model runs features of these lengths after the longest."""
    longest, *others = sorted(counts, reverse=True)
    with open_model(path, "openvino", variant, threads=1) as model:
        seconds(model, longest)
        before = status("VmRSS")
        for count in others:
            seconds(model, count)
        return (status("VmRSS") - before) / 1e6


def seconds(model: Model, frames: int) -> float:
    """The processor time of the encoder on features of so many frames."""
    channels = channels_of(model)
    features = np.random.default_rng(frames).normal(0, 1, (1, frames, channels)).astype(np.float32)
    feeds: Arrays = {FEATURES: features, FEATURE_LENGTHS: np.array([frames], np.int64)}
    session = model.session("encoder")
    began = time.process_time()
    session.run(feeds)
    return time.process_time() - began


def channels_of(model: Model) -> int:
    """The channels of a model's features."""
    silence = np.zeros((1, model.spec.min_samples), np.float32)
    outputs = model.run("frontend", {NORMALIZED: silence, INPUT_LENGTHS: np.array([silence.shape[1]], np.int64)})
    return int(outputs[FEATURES].shape[2])


if __name__ == "__main__":
    main()

"""What local attention costs in words and saves in time (``quantize --local-attention``).

    python benchmarks/local_attention.py SPEECH CALIBRATION [-m BUNDLE] [--blocks 1.6 3.2 6.4]

Words: recordings of a minute, made of whole utterances of SPEECH, are transcribed in windows of 30 s, in INT8 on ONNX
Runtime; the rise is that over full attention, with a paired 95 % bootstrap interval over the recordings. Time: base
shape (94 M parameters, random weights) in INT8; a window of 30 s, as a share of the same window with full attention
and as a share of three windows of 10 s with full attention, which is what attention over 10 s costs. What is compared
takes turns in one process; a time is the median of the ratios within a turn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import _kit
import _shapes
import numpy as np
from chunking import recording
from compress import ENGINES, ready

from wav2edge.calibration.clips import calibration_clips
from wav2edge.calibration.passes.local_attention import block_of, localize
from wav2edge.graphs.graph import Graph
from wav2edge.measure import manifest, scoring
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.transcriber import Transcriber

LONG, SHORT = 30.0, 10.0
"""Seconds of the windows."""
ENGINE = "onnxruntime"
"""Runs the words."""
FULL = 0.0
"""The block of full attention."""


def main() -> None:
    """Words, then times; one table."""
    parser = _kit.parser(__doc__)
    parser.add_argument("speech")
    parser.add_argument("calibration")
    _kit.add_model(parser, threads=2)
    parser.add_argument("--blocks", type=float, nargs="+", default=[1.6, 3.2, 6.4], help="seconds of a block")
    parser.add_argument("--recordings", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    blocks = [FULL, *arguments.blocks]
    source = Path(arguments.model) if arguments.model else embedded.bundle_path()
    with tempfile.TemporaryDirectory() as name, _kit.Output(arguments, markdown=True) as output:
        folder = Path(name)
        bundle = _kit.only_fp32(source, folder / "model")
        rows, rate = manifest.scan(arguments.speech)[0], bundle.spec.sample_rate
        made = [recording(rows, seed, arguments.seconds, rate) for seed in range(arguments.recordings)]
        clips = calibration_clips(arguments.calibration, bundle.spec, longest=10.0, limit=100)
        scores = {}
        for block in blocks:
            graph = graph_of(bundle, block)
            with ready(bundle, graph, ENGINE, ENGINES[ENGINE], clips, folder, arguments.threads) as model:
                found = Transcriber(model).batch([samples for samples, _ in made])
            texts = [result.transcript.text if result.transcript else "" for result in found]
            scores[block] = scoring.score([text for _, text in made], texts)
        taken = {engine: times(engine, blocks, folder, arguments.threads, arguments.turns) for engine in ENGINES}
        output.say(f"{len(made)} recordings, {sum(len(samples) for samples, _ in made) / rate / 60:.1f} minutes.", "")
        columns = ["block", "a frame sees, to either side", "WER", "rise"]
        columns += [f"{engine}, 30 s, of {of}" for engine in ENGINES for of in ("full attention", "three of 10 s")]
        output.say(f"| {' | '.join(columns)} |", "|---" * len(columns) + "|")
        for block in blocks:
            rise = "" if block == FULL else str(scoring.difference(scores[FULL].words, scores[block].words))
            seen = f"{block:g} to {2 * block:g} s" if block else "all"
            cells = [f"{block:g} s" if block else "full", seen, f"{100 * scores[block].wer.value:.1f} %", rise]
            cells += [f"{share:.2f}" for engine in ENGINES for share in taken[engine][block]]
            output.say(f"| {' | '.join(cells)} |")


def graph_of(bundle: Bundle, block: float) -> Graph:
    """The bundle's fp32 graph, with attention over blocks of so many seconds."""
    graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    if block != FULL:
        localize(graph, block_of(bundle.spec, block))
    return graph


def times(
    engine: str, blocks: list[float], folder: Path, threads: int, turns: int
) -> Mapping[float, tuple[float, float]]:
    """For each block, the time of a long window over that of full attention, and over three short ones of it."""
    base = _shapes.bundle("base", "layer", ())
    found = {}
    with loaded(base, engine, FULL, folder, threads) as whole:
        for block in blocks:
            with loaded(base, engine, block, folder, threads) as local:
                found[block] = shares(whole, local, turns)
    return found


@contextmanager
def loaded(base: Bundle, engine: str, block: float, folder: Path, threads: int) -> Iterator[Model]:
    """Base shape in INT8."""
    with ready(base, graph_of(base, block), engine, ENGINES[engine], None, folder, threads) as model:
        yield model


def shares(whole: Model, local: Model, turns: int) -> tuple[float, float]:
    """The medians over turns of the long window's time in ``local``, over those in ``whole``: long, and three short."""
    long, short = _kit.sound((), LONG), _kit.sound((), SHORT)
    taken = np.zeros((turns + 1, 3))
    for turn in range(turns + 1):
        for place, (model, sound) in enumerate(((local, long), (whole, long), (whole, short))):
            started = time.perf_counter()
            model.logits([sound])
            taken[turn, place] = time.perf_counter() - started
    kept = taken[1:]  # the first turn prepares
    return float(np.median(kept[:, 0] / kept[:, 1])), float(np.median(kept[:, 0] / (3 * kept[:, 2])))


if __name__ == "__main__":
    main()

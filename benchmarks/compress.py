"""What removing layers, heads and inner units costs in words and saves in time (``quantize --compress``).

    python benchmarks/compress.py CALIBRATION DEV [-m BUNDLE] [--limit N] [--turns N]

Every second recording of DEV is the gate's, the others draw the curve. Removals are ordered on CALIBRATION, and more
and more of them are made together. For each number: the rise in word error rate, the frames that keep their label, and
the time of the INT8 variants, as a share of the same variants of the whole model; also at base shape (94 M parameters,
random weights), from which the same shares of layers, heads and inner units are removed. Runs of the whole and of the
compressed models take turns in one process; a time is the median of the ratios within a turn.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import _kit
import _shapes
import numpy as np

from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.clips import BUILT_IN, Clips, calibration_clips, dev_clips
from wav2edge.calibration.compress import Compressor, judged, most_allowed, prepare_removals
from wav2edge.calibration.gate import Budget
from wav2edge.calibration.judge import Judge, Measured
from wav2edge.calibration.observe import observe
from wav2edge.calibration.parts import Removal, find_branches, find_layers
from wav2edge.calibration.passes.qdq import observed
from wav2edge.calibration.passes.remove_parts import remove_parts
from wav2edge.calibration.sites import find_sites
from wav2edge.graphs.graph import Graph
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.model import Model

SHARES = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)
"""Points of the curve: shares of all removals."""
SECONDS = 10.0
"""Of sound in one timed run."""
ENGINES = {"onnxruntime": "int8-u8s8", "openvino": "int8-s8s8"}
"""The engines of CPUs, and the variant that each is timed with."""
HEADING = (
    "removals",
    "layers, heads, inner units removed",
    "WER",
    "rise",
    "frames alike",
    *(f"{size}, {engine}" for size in ("embedded", "base") for engine in ENGINES),
)


def main() -> None:
    """Order the removals, judge and time the points, write the table."""
    parser = _kit.parser(__doc__)
    parser.add_argument("calibration")
    parser.add_argument("dev")
    _kit.add_model(parser, threads=2)
    parser.add_argument("--limit", type=int, default=200, help="recordings of each half of DEV, evenly picked")
    parser.add_argument("--turns", type=int, default=12)
    arguments = parser.parse_args()
    source = Path(arguments.model) if arguments.model else embedded.bundle_path()
    with tempfile.TemporaryDirectory() as name, _kit.Output(arguments, markdown=True) as output:
        folder = Path(name)
        bundle = _kit.only_fp32(source, folder / "model")
        graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
        clips = calibration_clips(arguments.calibration, bundle.spec, longest=10.0, limit=100)
        every = dev_clips(arguments.dev, bundle.spec, longest=10.0)
        gate, held_out = (
            Judge(bundle, dataclasses.replace(every, rows=every.rows[start::2]).limited(arguments.limit), None)
            for start in (0, 1)
        )
        compressor = prepare_removals(graph, clips, folder, arguments.threads)
        say_clips(output, compressor, gate, held_out)
        counts = gates(output, bundle, compressor, gate, folder)
        curve = {0: Removal()} | {count: compressor.removal(count) for count in sorted({*points(compressor), *counts})}
        found = {count: judged(bundle, compressor, count, held_out, folder) for count in curve}
        taken = times(bundle, compressor, curve, clips, folder, arguments.threads, arguments.turns)
        table(output, graph, curve, found, taken)
        output.say("", drawing(found, taken))


def say_clips(output: _kit.Output, compressor: Compressor, gate: Judge, held_out: Judge) -> None:
    """What the figures were measured on."""
    output.say(
        f"{len(compressor.steps)} removals. The gate: {len(gate.dev.rows)} recordings, {gate.dev.amount} words, fp32 "
        f"{gate.reference.run.estimates()[0]}. The curve: {len(held_out.dev.rows)} others, {held_out.dev.amount} "
        f"words, fp32 {held_out.reference.run.estimates()[0]}."
    )


def points(compressor: Compressor) -> set[int]:
    """The numbers of removals of the curve."""
    return {round(share * len(compressor.steps)) for share in SHARES}


def gates(output: _kit.Output, bundle: Bundle, compressor: Compressor, judge: Judge, folder: Path) -> list[int]:
    """How many removals several gates allow, the default one first."""
    known: dict[int, Measured] = {}

    def allows(budget: Budget) -> int:
        def allowed(count: int) -> bool:
            known[count] = known.get(count) or judged(bundle, compressor, count, judge, folder)
            return budget.loss(known[count]) is None

        return most_allowed(len(compressor.steps), allowed)

    default = Budget()
    found = {
        "half of the default budget, as `quantize --compress` takes": allows(default.half),
        "all of the default budget": allows(default),
        "half of the default budget for words, any labels": allows(Budget(default.max_wer_rise / 2, 0.0)),
        "all of the default budget for words, any labels": allows(Budget(default.max_wer_rise, 0.0)),
    }
    output.say("", "| the gate | removals that it allows |", "|---|---|")
    output.say(*(f"| {name} | {count} |" for name, count in found.items()), "")
    return list(found.values())


def scaled(removal: Removal, source: Graph, target: Graph) -> Removal:
    """The same shares of layers, and of heads and inner units in the others, of another graph."""
    layers = find_layers(target)
    count = round(len(removal.layers) / max(1, len(find_layers(source))) * len(layers))
    gone = frozenset(layer.path for layer in layers[:count])
    left = [branch for branch in find_branches(source) if branch.layer not in removal.layers]
    units = {}
    for branch in find_branches(target):
        alike = [other for other in left if other.kind == branch.kind]
        share = sum(map(removal.gone, alike)) / max(1, sum(other.units for other in alike))
        number = min(round(share * branch.units), branch.units - 1)
        if number and branch.layer not in gone:
            units[branch.path] = tuple(range(number))
    return Removal(gone, units)


def times(
    bundle: Bundle,
    compressor: Compressor,
    curve: Mapping[int, Removal],
    clips: Clips,
    folder: Path,
    threads: int,
    turns: int,
) -> dict[tuple[str, str], dict[int, float]]:
    """The time of every point over that of the whole model, by size and engine."""
    base = _shapes.bundle("base", bundle.spec.norm, ())
    whole = Graph.load(base.graph(base.variant("fp32"), "full"))
    taken = {}
    for size, of_size in (("embedded", bundle), ("base", base)):
        few = dataclasses.replace(clips, rows=clips.rows[:3]) if size == "embedded" else None
        for engine, variant in ENGINES.items():
            taken[size, engine] = {0: 1.0}
            original = whole if size == "base" else compressor.graph
            with ready(of_size, original, engine, variant, few, folder, threads) as first:
                for count in [count for count in curve if count]:
                    if size == "embedded":
                        graph = compressor.without(curve[count])
                    else:
                        graph = whole.copy()
                        remove_parts(graph, scaled(curve[count], compressor.graph, whole))
                    with ready(of_size, graph, engine, variant, few, folder, threads) as second:
                        taken[size, engine][count] = ratio(first, second, turns)
    return taken


@contextmanager
def ready(
    bundle: Bundle, graph: Graph, engine: str, variant: str, clips: Clips | None, folder: Path, threads: int
) -> Iterator[Model]:
    """A graph in INT8, loaded."""
    clips = clips or calibration_clips(BUILT_IN, bundle.spec, longest=5.0, limit=3)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        sites = find_sites(graph)
        histograms = observe(graph, observed(sites), clips.pieces(), place)
        builder = VariantBuilder(bundle, graph, sites, histograms, "min-max", place)
        built = builder.build(variant, frozenset(builder.never_quantized(variant)))
        staged = dataclasses.replace(bundle, path=place, variants=(built,))
        options = EngineOptions(threads=threads, keep_compiled=False)
        with Model(staged, engine, built, options, reason="to time it") as model:
            yield model


def ratio(first: Model, second: Model, turns: int) -> float:
    """The median over the turns of the second model's time over the first one's."""
    sound = _kit.sound((), SECONDS)
    taken = np.zeros((turns + 1, 2))
    for turn in range(turns + 1):
        for place, model in enumerate((first, second)):
            started = time.perf_counter()
            model.logits([sound])
            taken[turn, place] = time.perf_counter() - started
    return float(np.median(taken[1:, 1] / taken[1:, 0]))  # the first turn prepares


def table(
    output: _kit.Output,
    graph: Graph,
    curve: Mapping[int, Removal],
    found: Mapping[int, Measured],
    taken: Mapping[tuple[str, str], Mapping[int, float]],
) -> None:
    """One row for each point."""
    output.say(f"| {' | '.join(HEADING)} |", f"|{'---|' * len(HEADING)}")
    for count, removal in curve.items():
        measured = found[count]
        cells = [
            str(count),
            removal.summary(graph),
            f"{100 * measured.figure.value:.1f} %",
            str(measured.change),
            f"{100 * measured.likeness:.1f} %",
            *(f"{of[count]:.3f}" for of in taken.values()),
        ]
        output.say(f"| {' | '.join(cells)} |")


def drawing(found: Mapping[int, Measured], taken: Mapping[tuple[str, str], Mapping[int, float]]) -> str:
    """The curve at base shape as an SVG: the rise in points over the share of the time."""
    width, height, left, bottom = 640, 300, 48, 260
    rises = {count: 100 * measured.change.value for count, measured in found.items()}
    top = max(5.0, *(min(rise, 30.0) for rise in rises.values()))
    parts = [
        f'<path d="M{left} 10V{bottom}H{width - 10}" fill="none" stroke="currentColor"/>',
        f'<text x="{width - 10}" y="{height - 8}" text-anchor="end">share of the time at base shape, 0 to 1</text>',
        f'<text x="{left + 6}" y="20">rise in WER, 0 to {top:.0f} points</text>',
    ]
    for (size, engine), color in zip(((s, e) for s, e in taken if s == "base"), ("#3366cc", "#cc6633")):
        of = taken[size, engine]
        shown = [(left + (width - left - 10) * of[n], rises[n]) for n in found if rises[n] <= top]
        line = " ".join(f"{x:.1f},{bottom - (bottom - 10) * max(rise, 0.0) / top:.1f}" for x, rise in shown)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        place = 36 + 16 * (color == "#cc6633")
        parts.append(f'<text x="{left + 6}" y="{place}" fill="{color}">{engine}</text>')
    opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Rise in word error rate against time"'
    return f'{opening} font-size="12" fill="currentColor">{"".join(parts)}</svg>'


if __name__ == "__main__":
    main()

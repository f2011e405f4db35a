"""The noise that each layer adds when it alone is quantised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.engines import as_feeds

from ..graphs.graph import Graph
from ..graphs.nodes import Tensor
from .closeness import sqnr
from .observe import Progress, Samples, float_session
from .passes.qdq import insert_qdq
from .ranges import Range
from .schemes import Scheme
from .sites import Site
from .work import Arrays, Pass, Work, names_match

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SECONDS = 24.0
"""Seconds of speech that each layer is tried on. With four times as much no layer of the embedded model changes by more
than 1.4 dB; with half of it one changes by 3.5 dB (benchmarks/quantization_choices.py, part ``layers``)."""
FRAMES = 250
"""Frames of one clip in the other operand of an attention product: 5 s at 50 frames a second, an assumption about the
clips of a device. Only the order in which layers are pruned depends on it."""


@dataclass(frozen=True)
class Sensitivity:
    """The noise that a layer adds in INT8, and its share of the work."""

    layer: str
    sqnr_db: float
    """Signal to quantisation noise of the logits, in dB, with this layer alone in INT8."""
    cost: float
    """Its share of the model's multiplications, from 0 to 1."""


def measure_sensitivities(
    graph: Graph,
    sites: Sequence[Site],
    ranges: Mapping[str, Range],
    scheme: Scheme,
    pieces: Iterable[Samples],
    costs: Mapping[str, float],
    spec: ModelSpec,
    folder: Path,
    progress: Progress,
    threads: int | None = None,
    work: Work | None = None,
) -> tuple[Sensitivity, ...]:
    """Quantise one layer at a time on a few pieces of speech; worst layer first. work: keeps the layers that are done.

    One graph holds every layer twice and switches, so that nothing is rebuilt between two layers.
    """
    switched = graph.copy()
    layers = insert_qdq(switched, sites, ranges, scheme, switched=True)
    stage = f"sensitivity of each layer ({scheme.name})"
    known: dict[str, float] = {}
    kept = _kept(known, layers, stage, work or Work())
    session = float_session(switched, (), folder, threads, qdq=False)
    clips = some_pieces(pieces, spec.sample_rate)
    output = spec.outputs[0].name

    def run(chosen: str | None) -> list[NDArray[np.float32]]:
        switches = {f"quantize:{layer}": np.array(layer == chosen) for layer in layers}
        return [_run(session, clip, switches, output) for clip in clips]

    progress(stage, len(known), len(layers))
    reference = run(None) if len(known) < len(layers) else []
    for layer in layers[len(known) :]:
        known[layer] = round(sqnr(reference, run(layer)), 2)
        kept.note(len(known), last=len(known) == len(layers))
        progress(stage, len(known), len(layers))
    found = [Sensitivity(layer, known[layer], round(costs.get(layer, 0.0), 4)) for layer in layers]
    return tuple(sorted(found, key=lambda item: (item.sqnr_db, item.layer)))


def _kept(known: dict[str, float], layers: Sequence[str], stage: str, work: Work) -> Pass:
    """The layers one after the other, with those whose sensitivity was kept."""

    def restore(kept: Arrays) -> None:
        names_match(kept, layers)
        known.update(zip(layers, np.asarray(kept["sqnr_db"], np.float64).tolist()))

    found = Pass(work, stage, lambda: {"names": np.array(layers), "sqnr_db": np.array(list(known.values()))})
    found.resume(restore)
    return found


def layer_costs(graph: Graph, sites: Sequence[Site], elements: Mapping[str, int]) -> dict[str, float]:
    """Each layer's share of the multiplications; ``elements`` counts the values of every observed tensor."""
    totals: dict[str, float] = {}
    for site in sites:
        if site.weight is None:
            work = elements[site.anchors[-1]] * float(FRAMES)
        elif site.kind == "convolution":
            weight = graph.weights[site.weight]
            work = elements[site.output] * weight.size / weight.shape[0]
        else:
            work = elements[site.anchors[0]] * float(graph.weights[site.weight].shape[1])
        totals[site.layer] = totals.get(site.layer, 0.0) + work
    total = sum(totals.values()) or 1.0
    return {layer: work / total for layer, work in totals.items()}


def _run(session: InferenceSession, clip: Samples, switches: Mapping[str, Tensor], output: str) -> NDArray[np.float32]:
    """The logits [frames, labels] of one clip."""
    feeds = {**as_feeds(clip[None], np.array([len(clip)], dtype=np.int64)), **switches}
    wanted = {item.name for item in session.get_inputs()}
    logits: NDArray[np.float32] = session.run([output], {k: v for k, v in feeds.items() if k in wanted})[0][0]
    return logits


def some_pieces(pieces: Iterable[Samples], sample_rate: int) -> list[Samples]:
    """The first ``SECONDS`` of the pieces; a rest of under half a second is left out."""
    wanted, shortest = int(SECONDS * sample_rate), sample_rate // 2
    chosen: list[Samples] = []
    for piece in pieces:
        chosen.append(piece[: wanted - sum(map(len, chosen))])
        if sum(map(len, chosen)) >= wanted:
            break
    return [piece for piece in chosen if len(piece) >= shortest] or chosen[:1]

"""How much each layer alone costs when it is quantised and all others are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.engines import as_feeds

from ..graphs.graph import Graph
from .judge import sqnr
from .observe import Progress, float_session
from .passes.qdq import insert_qdq
from .schemes import Scheme
from .sites import Site

SECONDS = 24.0
"""Real speech that each layer is tried on."""


@dataclass(frozen=True)
class Sensitivity:
    """A layer's price: sqnr_db of the logits with this layer alone in INT8; cost: its share of the arithmetic."""

    layer: str
    sqnr_db: float
    cost: float


def measure_sensitivities(
    graph: Graph,
    sites: Sequence[Site],
    ranges: Mapping[str, tuple[float, float]],
    scheme: Scheme,
    pieces: Iterable[NDArray[np.float32]],
    costs: Mapping[str, float],
    spec: ModelSpec,
    folder: Path,
    progress: Progress,
    threads: int | None = None,
) -> tuple[Sensitivity, ...]:
    """Quantise one layer at a time on a few pieces of real speech; worst layer first.

    One graph holds every layer twice and switches, so that nothing is rebuilt between two layers.
    """
    switched = graph.copy()
    layers = insert_qdq(switched, sites, ranges, scheme, switched=True)
    session = float_session(switched, (), folder, threads, qdq=False)
    wanted = {item.name for item in session.get_inputs()}
    name = spec.outputs[0].name
    clips = _some(pieces, int(SECONDS * spec.sample_rate))

    def run(chosen: str | None) -> list[NDArray[np.float32]]:
        flags = {f"quantize:{layer}": np.array(layer == chosen) for layer in layers}
        results = []
        for clip in clips:
            feeds: dict[str, Any] = {**as_feeds(clip[None], np.array([len(clip)], dtype=np.int64)), **flags}
            results.append(session.run([name], {key: value for key, value in feeds.items() if key in wanted})[0][0])
        return results

    reference = run(None)
    found = []
    for done, layer in enumerate(layers):
        progress(f"sensitivity of each layer ({scheme.name})", done, len(layers))
        found.append(Sensitivity(layer, round(sqnr(reference, run(layer)), 2), round(costs.get(layer, 0.0), 4)))
    progress(f"sensitivity of each layer ({scheme.name})", len(layers), len(layers))
    return tuple(sorted(found, key=lambda item: (item.sqnr_db, item.layer)))


def layer_costs(graph: Graph, sites: Sequence[Site], elements: Mapping[str, int]) -> dict[str, float]:
    """Each layer's share of the multiplications; ``elements`` counts the values of every observed tensor."""
    totals: dict[str, float] = {}
    for site in sites:
        if site.kind == "convolution" and site.weight is not None:
            weight = graph.weights[site.weight]
            work = elements[site.output] * weight.size / weight.shape[0]
        elif site.weight is not None:
            work = elements[site.anchors[0]] * float(graph.weights[site.weight].shape[1])
        else:
            # Frames of one clip in the other operand: some hundreds at the lengths that devices see.
            work = elements[site.anchors[-1]] * 250.0
        totals[site.layer] = totals.get(site.layer, 0.0) + work
    total = sum(totals.values()) or 1.0
    return {layer: work / total for layer, work in totals.items()}


def _some(pieces: Iterable[NDArray[np.float32]], samples: int) -> list[NDArray[np.float32]]:
    chosen: list[NDArray[np.float32]] = []
    for piece in pieces:
        chosen.append(piece[: samples - sum(map(len, chosen))] if chosen else piece[:samples])
        if sum(map(len, chosen)) >= samples:
            break
    return [piece for piece in chosen if len(piece) >= 8000] or chosen[:1]

"""The two passes over the speech that every variant shares: fold outliers, and observe the values of each tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.bundle.read import Bundle

from ..graphs.graph import Graph
from .build import VariantBuilder
from .clips import Clips, Samples
from .closeness import Logits, sqnr
from .observe import Progress, observe, observe_channels, run_with_outputs
from .options import Options
from .passes.qdq import observed
from .passes.smooth import find_folds, fold_outliers
from .ranges import BINS, Histogram
from .schemes import S8S8, SIGNED, STATIC, U8S8
from .sensitivity import Sensitivity, layer_costs, measure_sensitivities
from .sites import find_sites
from .work import Arrays, Pass, Work, names_match

EXACT_DB = 90.0
"""Signal to noise, in dB, that a graph must keep when outliers are folded: half way between the 132 of all folds of the
embedded model and the 56 of the least harmful single fold whose readers were not scaled
(benchmarks/quantization_choices.py, part ``folds``)."""


def prepare(
    bundle: Bundle,
    graph: Graph,
    clips: Clips,
    folder: Path,
    options: Options,
    progress: Progress,
    work: Work | None = None,
) -> tuple[VariantBuilder, int]:
    """Fold the outliers of a graph, in place, and calibrate it; returns what builds variants, and the number of folds.

    work: where what both passes saw is kept; None: nowhere.

    Raises GateRefused for NaN or Inf in fp32, EngineError where ONNX Runtime is missing.
    """
    work = work or Work()
    folds = _fold(graph, clips, folder, options, progress, work) if options.smooth else 0
    sites = find_sites(graph)
    wanted = observed(sites) if needs_ranges(options) else ()
    histograms = {name: Histogram() for name in wanted}
    if wanted:
        kept = _histograms(histograms, work)
        pieces = counted(clips, "calibrating", progress, kept)
        if kept.done < len(clips.rows):
            observe(graph, wanted, pieces, folder, options.threads, histograms)
    return VariantBuilder(bundle, graph, sites, histograms, options.method, folder), folds


def needs_ranges(options: Options) -> bool:
    """Whether activations are observed: for static variants, and for the sensitivities that guide a search."""
    return options.searching or bool(set(options.names) & set(STATIC))


def sensitivities(
    builder: VariantBuilder, clips: Clips, options: Options, progress: Progress, work: Work
) -> dict[str, tuple[Sensitivity, ...]]:
    """The layers' sensitivities by scheme, worst first; empty where nothing is searched, because they take long."""
    if not options.searching:
        return {}
    elements = {name: seen.elements for name, seen in builder.histograms.items()}
    costs = layer_costs(builder.graph, builder.sites, elements)
    schemes = [S8S8] if SIGNED & set(options.names) else []
    if set(options.names) - SIGNED:
        schemes.insert(0, U8S8)
    return {
        scheme.name: measure_sensitivities(
            builder.graph,
            builder.sites,
            builder.ranges(scheme),
            scheme,
            clips.pieces(),
            costs,
            clips.spec,
            builder.folder,
            progress,
            options.threads,
            work,
        )
        for scheme in schemes
    }


def _fold(graph: Graph, clips: Clips, folder: Path, options: Options, progress: Progress, work: Work) -> int:
    folds = find_folds(graph, find_sites(graph))
    tensors = tuple(dict.fromkeys(name for fold in folds for name in fold.tensors))
    maxima: dict[str, NDArray[np.float32]] = {}
    kept = _maxima(maxima, tensors, work)
    pieces = counted(clips, "looking for outliers", progress, kept)
    if kept.done < len(clips.rows):
        observe_channels(graph, tensors, pieces, folder, options.threads, maxima)
    progress("checking that folding changes nothing", 0, 0)
    folded = graph.copy()
    count = fold_outliers(folded, folds, maxima)
    # Folds are exact by algebra; where one changes more than rounding does, the graph has another layout: undo it.
    before, after = (_first_logits(each, clips, folder, options) for each in (graph, folded))
    if sqnr([before], [after]) < EXACT_DB:
        return 0
    graph.become(folded)
    return count


def _first_logits(graph: Graph, clips: Clips, folder: Path, options: Options) -> Logits:
    """The logits [frames, labels] of the first piece."""
    logits: list[Logits] = []
    name = clips.spec.outputs[0].name
    piece = next(clips.pieces())
    run_with_outputs(graph, (name,), [piece], folder, lambda o: logits.append(o[name][0]), options.threads)
    return logits[0]


def counted(clips: Clips, stage: str, progress: Progress, kept: Pass | None = None) -> Iterator[Samples]:
    """The pieces of the clips that are not done, with progress counted in recordings.

    kept: where an interrupted run got to; None: nothing is kept.
    """
    kept = kept or Pass(Work(), stage, dict)
    total = len(clips.rows)
    for done in range(kept.done, total):
        progress(stage, done, total)
        yield from dataclasses.replace(clips, rows=(clips.rows[done],)).pieces()
        kept.note(done + 1, last=done + 1 == total)  # a piece was used when the next is asked for
    progress(stage, total, total)


def _histograms(histograms: dict[str, Histogram], work: Work) -> Pass:
    """The pass that calibrates, with the histograms as they were kept."""

    def state() -> Arrays:
        return {
            "names": np.array(list(histograms)),
            "counts": np.stack([histogram.counts for histogram in histograms.values()]),
            "numbers": np.array([histogram.numbers for histogram in histograms.values()]),
        }

    def restore(kept: Arrays) -> None:
        names_match(kept, list(histograms))
        if kept["counts"].shape != (len(histograms), 2 * BINS) or kept["numbers"].shape != (len(histograms), 4):
            raise ValueError("of other histograms")
        for histogram, counts, numbers in zip(histograms.values(), kept["counts"], kept["numbers"]):
            histogram.restore(counts, numbers)

    found = Pass(work, "calibrating", state)
    found.resume(restore)
    return found


def _maxima(maxima: dict[str, NDArray[np.float32]], tensors: tuple[str, ...], work: Work) -> Pass:
    """The pass that looks for outliers, with the largest magnitudes as they were kept."""

    def state() -> Arrays:
        return {
            "names": np.array(tensors),
            **{str(place): maxima[name] for place, name in enumerate(tensors) if name in maxima},
        }

    def restore(kept: Arrays) -> None:
        names_match(kept, tensors)
        maxima.update({name: np.asarray(kept[str(place)], np.float32) for place, name in enumerate(tensors)})

    found = Pass(work, "looking for outliers", state)
    found.resume(restore)
    return found

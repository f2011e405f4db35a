"""The part ``time`` of quantization_choices.py: passes over the speech, and timed runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from _quantization_setting import THREADS, Setting, quiet, row

from wav2edge.calibration import sensitivity
from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.candidates import staged_bundle
from wav2edge.calibration.observe import observe, observe_channels
from wav2edge.calibration.options import Options
from wav2edge.calibration.passes import smooth
from wav2edge.calibration.passes.qdq import observed
from wav2edge.calibration.schemes import S8S8, U8S8
from wav2edge.calibration.sites import find_sites
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.model import Model


def spent(time_of: Callable[[], object]) -> float:
    """Seconds of the faster of two runs."""
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        time_of()
        best = min(best, time.perf_counter() - start)
    return best


def times(at: Setting) -> Iterator[str]:
    """What the passes cost beside fp32's own run, and how many timed runs a ratio needs."""
    clips = at.speech.limited(12)
    pieces = list(clips.pieces())
    graph = at.graph()
    sites = find_sites(graph)
    places = smooth.find_folds(graph, sites)
    names = [name for place in places for name in place.tensors]
    with Model(at.bundle, "onnxruntime", "fp32", EngineOptions(threads=THREADS)) as model:
        plain = spent(lambda: [model.logits([piece]) for piece in pieces])
    folding = spent(lambda: observe_channels(graph, names, pieces, at.folder, THREADS))
    observing = spent(lambda: observe(graph, observed(sites), pieces, at.folder, THREADS))
    builder = at.builder(clips, Options(threads=THREADS))
    seconds = sum(map(len, pieces)) / at.bundle.spec.sample_rate
    sensitivity.SECONDS = min(seconds, 24.0)
    rows = [("looking for outliers", folding / plain), ("calibrating", observing / plain)]
    for scheme in (U8S8, S8S8):
        layers = len({site.layer for site in builder.sites})
        started = time.perf_counter()
        sensitivity.measure_sensitivities(
            builder.graph,
            builder.sites,
            builder.ranges(scheme),
            scheme,
            iter(pieces),
            {},
            at.bundle.spec,
            at.folder,
            quiet,
            THREADS,
        )
        run = (time.perf_counter() - started) / layers
        rows.append((f"one layer's sensitivity, {scheme.name}", run / (plain * sensitivity.SECONDS / seconds)))
    yield "| pass over the speech | time, fp32 = 1 |"
    yield "|---|---|"
    for title, ratio in rows:
        yield row(title, f"{ratio:.2f}")
    yield ""
    yield from _repeats(at, builder)


def _repeats(at: Setting, builder: VariantBuilder) -> Iterator[str]:
    variant = builder.build("int8-u8s8", frozenset(), stages=False)
    staged = staged_bundle(at.bundle, builder, variant)
    samples = next(at.speech.pieces())
    options = EngineOptions(threads=THREADS)
    turns: list[tuple[float, float]] = []
    with (
        Model(at.bundle, "onnxruntime", "fp32", options) as fp32,
        Model(staged, "onnxruntime", variant, options) as int8,
    ):
        for _ in range(181):
            pair = []
            for model in (fp32, int8):
                start = time.perf_counter()
                model.logits([samples])
                pair.append(time.perf_counter() - start)
            turns.append((pair[0], pair[1]))
    measured = np.array(turns[1:])
    yield "| timed runs | ratio of the fastest: middle | 5 to 95 % | median of the turns' ratios: middle | 5 to 95 % |"
    yield "|---|---|---|---|---|"
    for count in (1, 3, 5, 9):
        groups = measured[: len(measured) // count * count].reshape(-1, count, 2)
        fastest = groups.min(axis=1)
        cells = [str(count)]
        for ratios in (fastest[:, 1] / fastest[:, 0], np.median(groups[:, :, 1] / groups[:, :, 0], axis=1)):
            low, middle, high = np.percentile(ratios, [5, 50, 95])
            cells += [f"{middle:.3f}", f"{low:.3f} to {high:.3f}"]
        yield row(*cells)

"""Where the numbers of the quantiser come from: each default beside its neighbours, on one model and its speech.

    python benchmarks/quantization_choices.py --speech CAL --dev DEV [--bundle BUNDLE] [--only NAME,NAME] [--docs FILE]

CAL and DEV are manifests that share nothing. The parts (``--only``): folds, methods, recordings, layers, dev, time.
With the embedded model, 200 recordings each and two threads, some ten minutes.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import _kit
import numpy as np
from _quantization_setting import THREADS, Setting, quiet, row
from _quantization_times import times

from wav2edge.calibration import sensitivity
from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.candidates import staged_bundle
from wav2edge.calibration.clips import calibration_clips, dev_clips
from wav2edge.calibration.closeness import sqnr
from wav2edge.calibration.judge import Judge, Measured
from wav2edge.calibration.observe import observe_channels, run_with_outputs
from wav2edge.calibration.options import Options
from wav2edge.calibration.passes import smooth
from wav2edge.calibration.ranges import METHODS, choose_range
from wav2edge.calibration.schemes import U8S8
from wav2edge.calibration.sites import find_sites
from wav2edge.graphs.graph import Graph
from wav2edge.measure.runs import TranscriptionRun
from wav2edge.measure.scoring import difference
from wav2edge.runtime.bundle import embedded

VARIANTS = ("int8-u8s8", "int8-s8s8", "int8-u7s8", "int8-dynamic", "int4")


def folds(at: Setting) -> Iterator[str]:
    """How exact folding is, how wrong a misplaced fold, and how far the scales spread."""
    graph = at.graph()
    places = smooth.find_folds(graph, find_sites(graph))
    clips = at.speech.limited(25)
    names = [name for place in places for name in place.tensors]
    maxima = observe_channels(graph, names, clips.pieces(), at.folder, THREADS)
    piece = next(clips.pieces())

    def logits(changed: Graph) -> np.ndarray:
        found: list[np.ndarray] = []
        output = at.bundle.spec.outputs[0].name
        run_with_outputs(changed, (output,), [piece], at.folder, lambda o: found.append(o[output][0]), THREADS)
        return found[0]

    folded = graph.copy()
    smooth.fold_outliers(folded, places, maxima)
    before = logits(graph)
    seen: set[str] = set()
    yield "| folding of outliers | signal to noise of the logits, dB |"
    yield "|---|---|"
    yield f"| all {len(places)} folds | {sqnr([before], [logits(folded)]):.1f} |"
    for place, scale in zip(places, _scales(graph, places, maxima)):
        if place.kind in seen:
            continue
        seen.add(place.kind)
        spoiled = graph.copy()
        smooth.scale_output(spoiled, place.sources[0], (1 / scale).astype(np.float32))
        yield f"| one fold of kind `{place.kind}` that misses its readers | {sqnr([before], [logits(spoiled)]):.1f} |"
    scales = np.concatenate([scale.reshape(-1) for scale in _scales(graph, places, maxima)])
    shares = np.percentile(scales, [0, 0.1, 50, 99.9, 100])
    yield ""
    yield f"Scales of {len(scales)} channels: least {shares[0]:.3g}, 0.1 % below {shares[1]:.3g}, 0.1 % above"
    yield f"{shares[3]:.3g}, largest {shares[4]:.3g}."


def _scales(graph: Graph, places: tuple[smooth.Fold, ...], maxima: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    for place in places:
        if place.kind == "scores":
            yield smooth.fold_scale(maxima[place.tensors[0]], maxima[place.tensors[1]], 0.5)
        else:
            weights = [graph.floats(graph.node(name).input[1]) for name in place.readers]
            largest = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
            yield smooth.fold_scale(maxima[place.tensors[0]], largest, smooth.ALPHA)


def _figures(measured: Measured) -> tuple[str, str, str]:
    return str(measured.change), f"{100 * measured.likeness:.2f}", f"{measured.sqnr_db:.1f}"


def judged(at: Setting, judge: Judge, builder: VariantBuilder, name: str) -> Measured:
    """One variant with nothing in float, built and judged."""
    variant = builder.build(name, frozenset(), stages=False)
    return judge.judge(staged_bundle(at.bundle, builder, variant), variant)


def methods(at: Setting) -> Iterator[str]:
    """Every method, with and without folding, nothing in float: what is lost, and what the frames show of it."""
    judge = Judge(at.bundle, at.dev, THREADS)
    yield "| variant | method | folded | rise | frames as fp32 % | SQNR dB |"
    yield "|---|---|---|---|---|---|"
    for folding in (True, False):
        options = Options(searching=False, smooth=folding, threads=THREADS)
        builder = at.builder(at.speech.limited(100), options)
        for name in VARIANTS:
            for method in METHODS if name in ("int8-u8s8", "int8-s8s8") else (options.method,):
                measured = judged(at, judge, dataclasses.replace(builder, method=method), name)
                yield row(name, method, "yes" if folding else "no", *_figures(measured))
        if folding:
            factors = [_factor(builder, name, unsigned) for name in builder.histograms for unsigned in (True, False)]
    low, middle = np.percentile(factors, [0, 50])
    yield ""
    yield f"Ranges by mean squared error, as a share of the largest value: least {low:.2f}, middle {middle:.2f}."


def _factor(builder: VariantBuilder, name: str, unsigned: bool) -> float:
    seen = builder.histograms[name]
    return choose_range(seen, "mse", unsigned)[1] / max(seen.high if unsigned else max(-seen.low, seen.high), 1e-12)


def recordings(at: Setting) -> Iterator[str]:
    """How many recordings calibration needs."""
    judge = Judge(at.bundle, at.dev, THREADS)
    yield "| calibrated on | variant | rise | frames as fp32 % | SQNR dB |"
    yield "|---|---|---|---|---|"
    for count in (5, 10, 25, 100):
        if count > len(at.speech.rows):
            break
        builder = at.builder(at.speech.limited(count), Options(searching=False, threads=THREADS))
        for name in ("int8-u8s8", "int8-s8s8"):
            yield row(str(count), name, *_figures(judged(at, judge, builder, name)))


def layers(at: Setting) -> Iterator[str]:
    """How much speech the order of layers needs."""
    builder = at.builder(at.speech.limited(50), Options(threads=THREADS))
    found: dict[float, dict[str, float]] = {}
    lengths = (3.0, 6.0, 12.0, 24.0, 48.0, 96.0)
    for seconds in lengths:
        sensitivity.SECONDS = seconds
        items = sensitivity.measure_sensitivities(
            builder.graph,
            builder.sites,
            builder.ranges(U8S8),
            U8S8,
            at.speech.pieces(),
            {},
            at.bundle.spec,
            at.folder,
            quiet,
            THREADS,
        )
        found[seconds] = {item.layer: item.sqnr_db for item in items}
    names = sorted(found[lengths[-1]])
    last = np.array([found[lengths[-1]][name] for name in names])
    yield f"| speech | rank correlation with {lengths[-1]:g} s | of the 8 worst layers | largest change, dB |"
    yield "|---|---|---|---|"
    for seconds in lengths[:-1]:
        values = np.array([found[seconds][name] for name in names])
        ranks = [np.argsort(np.argsort(v)).astype(np.float64) for v in (values, last)]
        same = len(set(np.argsort(values)[:8]) & set(np.argsort(last)[:8]))
        correlation = np.corrcoef(ranks[0], ranks[1])[0, 1]
        yield row(f"{seconds:g} s", f"{correlation:.3f}", f"{same} of 8", f"{np.abs(values - last).max():.1f}")


def dev(at: Setting) -> Iterator[str]:
    """How wide the interval of the rise is for so many recordings to judge on."""
    judge = Judge(at.bundle, at.dev, THREADS)
    builder = at.builder(at.speech.limited(100), Options(searching=False, threads=THREADS))
    reference, found = judge.reference.run, judged(at, judge, builder, "int8-u8s8").hypotheses.run
    assert isinstance(reference, TranscriptionRun) and isinstance(found, TranscriptionRun)
    edits = found.edits
    yield "| judged on | words | rise of int8-u8s8, points | half the interval, points |"
    yield "|---|---|---|---|"
    for count in (*(n for n in (25, 50, 100, 200, 400) if n < len(edits)), len(edits)):
        chosen = np.linspace(0, len(edits) - 1, count).round().astype(int)
        rise = difference([reference.edits[i] for i in chosen], [edits[i] for i in chosen])
        words = sum(edits[i].length for i in chosen)
        yield row(str(count), str(words), f"{100 * rise.value:+.2f}", f"{50 * (rise.high - rise.low):.2f}")


PARTS: dict[str, Callable[[Setting], Iterator[str]]] = {
    "folds": folds,
    "methods": methods,
    "recordings": recordings,
    "layers": layers,
    "dev": dev,
    "time": times,
}


def main() -> None:
    """Print every part, and write them where asked."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--bundle", type=Path, default=embedded.bundle_path())
    parser.add_argument("--speech", required=True)
    parser.add_argument("--dev", required=True)
    parser.add_argument("--dev-limit", type=int)
    parser.add_argument("--only", default=",".join(PARTS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _kit.Output(arguments, markdown=True) as output:
        bundle = _kit.only_fp32(arguments.bundle, Path(folder) / "model")
        speech = calibration_clips(arguments.speech, bundle.spec, longest=Options.longest)
        judging = dev_clips(arguments.dev, bundle.spec, longest=Options.longest).limited(arguments.dev_limit)
        counts = f"Calibrated on up to {len(speech.rows)}, judged on {len(judging.rows)} recordings"
        output.say(f"{counts}: {judging.amount} words.", "")
        at = Setting(bundle, speech, judging, Path(folder))
        for name in arguments.only.split(","):
            sensitivity.SECONDS = 24.0
            output.say(f"**{(PARTS[name].__doc__ or name).rstrip('.')}**", "")
            for line in PARTS[name](at):
                output.say(line)
            output.say()


if __name__ == "__main__":
    main()

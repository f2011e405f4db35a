"""The whole way: calibrate once, build each variant, search, judge, and add what passes to the bundle.

Nothing touches the bundle before the end: files are staged in a sibling directory and enter it in one step.
"""

from __future__ import annotations

import dataclasses
import glob
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2edge.runtime.bundle.read import Bundle, Variant
from wav2edge.runtime.bundle.write import add_variants
from wav2edge.runtime.errors import GateRefused, InputError

from ..graphs.graph import Graph
from . import record
from .build import DEFAULT, Workshop, planned
from .clips import Clips, apart, calibration_clips, dev_clips, hold_out
from .gate import decide
from .judge import Judge, Measured, engine_for, sqnr, staged_bundle
from .observe import Progress, observe, observe_channels, run_with_outputs
from .options import Options, Outcome
from .passes.qdq import observed
from .passes.smooth import find_folds, fold_outliers
from .schemes import S8S8, STATIC, U8S8
from .search import search
from .sensitivity import Sensitivity, layer_costs, measure_sensitivities
from .sites import find_sites, match_sites


@dataclass(frozen=True)
class Calibration:
    """What a run made. bundle: as it is now. outcomes: every variant, the refused ones too.

    sensitivities: by scheme, worst layer first; none without a search. judge: the dev clips and what fp32 made of them.
    """

    bundle: Bundle
    outcomes: tuple[Outcome, ...]
    sensitivities: dict[str, tuple[Sensitivity, ...]]
    judge: Judge
    values: dict[str, object]

    @property
    def refused(self) -> str | None:
        """Why the bundle was left as it was; None when variants were added."""
        reason = self.values.get("refused")
        return None if reason is None else str(reason)


def quantize(
    bundle: Bundle,
    speech: str | Path,
    dev: str | Path | None = None,
    options: Options | None = None,
    progress: Progress = lambda stage, done, total: None,
    report: Callable[[Outcome], None] = lambda outcome: None,
    say: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Calibrate on ``speech``, judge on ``dev`` (default: every second clip of ``speech``), add what passes.

    say: told in one line what was left out of ``speech``. Raises InputError for what cannot be used (NaN in fp32
    included), EngineError for a variant that no engine here runs, before any work; a refusal by the gate is in the
    result, and the bundle is then as it was.
    """
    options = options or Options()
    clips, judged = _clips(bundle, speech, dev, options, say)
    graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    forced_float = match_sites(find_sites(graph), options.keep_float)
    with _staging(bundle) as folder:
        judge = Judge(bundle, judged, options.threads)
        workshop, folds = _prepare(bundle, graph, clips, folder, options, progress)
        sensitivities = _sensitivities(workshop, clips, options, progress)
        outcomes = []
        for name in options.variants:
            order = sensitivities.get("s8s8" if name == "int8-s8s8" else "u8s8", ())
            outcome = _one(name, workshop, judge, order, forced_float, options, progress)
            outcomes.append(outcome)
            report(outcome)
        refused = _refusal(outcomes, options)
        now = Bundle.open(bundle.path)  # another run may have added to it meanwhile
        values = record.values(now, clips, judge, options, outcomes, sensitivities, folds, refused)
        if refused is None:
            kept = [outcome for outcome in outcomes if outcome.verdict.kept]
            record.write(folder / record.FILE, values)
            added = [dataclasses.replace(o.variant, metrics=record.metrics(o)) for o in kept]
            bundle = add_variants(bundle, folder, added, files=(record.FILE,))
    return Calibration(bundle, tuple(outcomes), sensitivities, judge, values)


def _clips(
    bundle: Bundle, speech: str | Path, dev: str | Path | None, options: Options, say: Callable[[str], None]
) -> tuple[Clips, Clips]:
    for variant in [planned(name) for name in options.variants]:
        engine_for(bundle.spec, variant)
    if bundle.spec.head != "ctc":
        raise InputError(f"{bundle.path}: its head is {bundle.spec.head}; words can be counted for ctc models only")
    bundle.verify(bundle.variant("fp32"))
    clips = calibration_clips(speech, bundle.spec, longest=options.longest)
    if dev is None:
        clips, judged = hold_out(clips, str(speech))
    else:
        judged = dev_clips(dev, bundle.spec, longest=options.longest)
        rest = apart(clips, judged)
        if left_out := len(clips.rows) - len(rest.rows):
            say(f"{left_out} of {len(clips.rows)} recordings of {speech} are in {dev} too: not calibrated on")
        clips = rest
    return clips.limited(options.limit), judged


@contextmanager
def _staging(bundle: Bundle) -> Iterator[Path]:
    """A sibling directory for files to come; a full disk or a place that cannot be written is one InputError.

    Its name holds machine and process: what a killed run left behind, a few hundred megabytes, goes at the next one.
    """
    place = bundle.path.resolve()
    mark = f".{place.name}.quantize.{platform.node()}."
    if not os.access(place, os.W_OK):
        raise InputError(f"{bundle.path}: the bundle cannot be written; copy it to a place of your own first")
    try:
        for left in place.parent.glob(f"{glob.escape(mark)}*"):
            if not _alive(left.name.removeprefix(mark).partition(".")[0]):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{mark}{os.getpid()}.", dir=place.parent))
    except OSError as error:
        raise InputError(f"{place.parent}: cannot be written ({error.strerror or error})") from error
    try:
        yield folder
    except OSError as error:
        raise InputError(
            f"{place.parent}: cannot be written ({error.strerror or error}); the bundle is as it was, free some space"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alive(process: str) -> bool:
    """Whether a process of this machine runs; what is no number is not ours to judge."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def _prepare(
    bundle: Bundle, graph: Graph, clips: Clips, folder: Path, options: Options, progress: Progress
) -> tuple[Workshop, int]:
    folds = _smooth(graph, clips, folder, options, progress) if options.smooth else 0
    sites = find_sites(graph)
    # Ranges are for static variants, and for the sensitivities that a search goes by.
    wanted = observed(sites) if options.searching or set(options.variants) & set(STATIC) else ()
    pieces = _counted(clips, "calibrating", progress) if wanted else ()
    histograms = observe(graph, wanted, pieces, folder, options.threads) if wanted else {}
    return Workshop(bundle, graph, sites, histograms, options.method, folder), folds


def _smooth(graph: Graph, clips: Clips, folder: Path, options: Options, progress: Progress) -> int:
    folds = find_folds(graph, find_sites(graph))
    tensors = tuple(dict.fromkeys(name for fold in folds for name in fold.tensors))
    pieces = _counted(clips, "looking for outliers", progress)
    maxima = observe_channels(graph, tensors, pieces, folder, options.threads)
    progress("checking that folding changes nothing", 0, 0)
    folded = graph.copy()
    count = fold_outliers(folded, folds, maxima)
    # The folds are exact by algebra; a graph that they change by more than rounding has another layout: leave it.
    before, after = (_logits(each, clips, folder, options) for each in (graph, folded))
    if sqnr([before], [after]) < 60.0:
        return 0
    graph.weights, graph.model = folded.weights, folded.model
    graph.refresh()
    return count


def _logits(graph: Graph, clips: Clips, folder: Path, options: Options) -> np.ndarray:
    found: list[np.ndarray] = []
    name = clips.spec.outputs[0].name
    run_with_outputs(
        graph, (name,), [next(clips.pieces())], folder, lambda o: found.append(o[name][0]), options.threads
    )
    return found[0]


def _counted(clips: Clips, stage: str, progress: Progress) -> Iterator[np.ndarray]:
    total = len(clips.rows)
    for done, row in enumerate(clips.rows):
        progress(stage, done, total)
        yield from dataclasses.replace(clips, rows=(row,)).pieces()
    progress(stage, total, total)


def _sensitivities(
    workshop: Workshop, clips: Clips, options: Options, progress: Progress
) -> dict[str, tuple[Sensitivity, ...]]:
    """By scheme, worst layer first; none where no search reads them: they take as long as the calibration itself."""
    if not options.searching:
        return {}
    elements = {name: seen.elements for name, seen in workshop.histograms.items()}
    costs = layer_costs(workshop.graph, workshop.sites, elements)
    schemes = [S8S8] if "int8-s8s8" in options.variants else []
    if set(options.variants) != {"int8-s8s8"}:
        schemes.insert(0, U8S8)
    return {
        scheme.name: measure_sensitivities(
            workshop.graph,
            workshop.sites,
            workshop.ranges(scheme.unsigned),
            scheme,
            clips.pieces(),
            costs,
            clips.spec,
            workshop.folder,
            progress,
            options.threads,
        )
        for scheme in schemes
    }


def _one(
    name: str,
    workshop: Workshop,
    judge: Judge,
    order: tuple[Sensitivity, ...],
    forced_float: frozenset[str],
    options: Options,
    progress: Progress,
) -> Outcome:
    """Build, search and judge one variant; its final files are staged."""
    named = {site.layer for site in workshop.sites if site.node in forced_float}
    usable = [site for site in workshop.sites if name in STATIC or site.kind == "linear" or name in ("fp16", "bf16")]
    never = workshop.never_quantised(name)
    written: dict[frozenset[str], Variant] = {}
    layers = {site.layer for site in usable if site.node not in forced_float} - set(never)
    trials = 0

    def nodes(float_layers: frozenset[str]) -> frozenset[str]:
        return forced_float | {site.node for site in workshop.sites if site.layer in float_layers}

    def trial(float_layers: frozenset[str]) -> Measured:
        nonlocal trials
        progress(f"{name}: candidate {trials + 1}, {len(float_layers)} layers in float", 0, 0)
        variant = workshop.build(name, nodes(float_layers), stages=False)
        written.clear()  # the next candidate takes its files' place
        written[float_layers] = variant
        trials += 1
        return judge.judge(staged_bundle(judge.bundle, workshop.folder, variant), variant)

    candidates = [item for item in order if item.layer in layers] if options.searching else []
    found = search(candidates, trial, lambda measured: options.budget.words_lost(measured) is None)
    last = written.get(found.float_layers)
    variant = workshop.build(name, nodes(found.float_layers)) if last is None else workshop.with_stages(last)
    staged = staged_bundle(judge.bundle, workshop.folder, variant)
    # On an engine that it is not made for, its time says nothing: int8-s8s8 is slow on ONNX Runtime.
    here = not variant.preferred_by or found.result.engine in variant.preferred_by
    ratio, milliseconds = math.nan, math.nan
    if here:
        ratio, milliseconds = judge.latency_ratio(staged, variant, options.timed_seconds)
    # Half precision is for other machines than the one it is made on, int4 for memory: their time here is no reason.
    timed = ratio if here and name.startswith("int8") else None
    verdict = decide(found.result, timed, options.budget, options.force, () if here else variant.preferred_by)
    prices = {item.layer: item.sqnr_db for item in order}
    kept = {**never, **dict.fromkeys(sorted(named), "--keep-float")}
    kept |= {
        layer: f"search ({prices[layer]:.1f} dB alone)" for layer in sorted(found.float_layers, key=prices.__getitem__)
    }
    return Outcome(variant, found.result, verdict, kept, ratio, milliseconds, trials)


def _refusal(outcomes: list[Outcome], options: Options) -> str | None:
    """Why nothing is added: words lost anywhere, a variant that the user named refused, or nothing kept."""
    refused = [outcome for outcome in outcomes if not outcome.verdict.kept]
    serious = [o for o in refused if o.verdict.words or options.variants != DEFAULT or len(refused) == len(outcomes)]
    if not serious:
        return None
    return "; ".join(f"{outcome.variant.name}: {outcome.verdict.text}" for outcome in serious)


__all__ = ["Calibration", "GateRefused", "Options", "Outcome", "quantize"]

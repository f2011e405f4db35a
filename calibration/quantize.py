"""Quantise a bundle: calibrate once, build each variant, search, judge, and add the variants that pass.

The bundle does not change before the end: files are staged in a sibling directory and added in one step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2edge.measure.tasks import task_of
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.write import add_variants
from wav2edge.runtime.errors import InputError

from ..graphs.graph import Graph
from .build import COMPRESSED, LOCAL, planned
from .candidates import Candidates
from .clips import Clips, choose_speech
from .compress import NOTHING, compress, need_parts
from .judge import Judge, engine_for
from .observe import Progress
from .options import Options, Outcome
from .parts import Removal
from .passes.local_attention import block_of, localize
from .plan import make_plan
from .prepare import prepare, sensitivities
from .record import FILE, RunRecord, merged, metrics, run_record, to_text
from .resume import kept_work
from .sensitivity import Sensitivity
from .sites import find_sites, match_sites
from .staging import staging

__all__ = ["Calibration", "Options", "Outcome", "quantize"]


@dataclass(frozen=True)
class Calibration:
    """The results of a run."""

    bundle: Bundle
    """The bundle after the run."""
    outcomes: tuple[Outcome, ...]
    """Every variant, the refused ones too."""
    sensitivities: dict[str, tuple[Sensitivity, ...]]
    """By scheme, worst layer first; none without a search."""
    judge: Judge
    """The dev clips and fp32's answers to them."""
    record: RunRecord
    """Every variant of this run with its figures and how it was made."""

    @property
    def refused(self) -> str | None:
        """Why the bundle is unchanged; None when variants were added."""
        return self.record["refused"]


def quantize(
    bundle: Bundle,
    speech: str | Path,
    dev: str | Path | None = None,
    options: Options | None = None,
    progress: Progress = lambda stage, done, total: None,
    report: Callable[[Outcome], None] = lambda outcome: None,
    say: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Calibrate on ``speech``, judge on ``dev`` (None: every second recording of ``speech``), add what passes.

    speech, dev: manifests, folders, or ``built-in``. progress: called before each step. report: called with each
    variant as it is done. say: called with one line for the plan (how many recordings, about how long), and for
    recordings of ``speech`` that are left out.

    Raises InputError for speech, options or a model that cannot be used (NaN in fp32 included), EngineError for a
    variant that no engine here runs, before any work. A refusal by the gate is in the result; the bundle is then
    unchanged, as after an error or an interruption. After an interruption the same call resumes from what the cache
    keeps (``resume``).
    """
    options = options or Options()
    options.check()
    graph_file = _usable(bundle, options)
    chosen = choose_speech(bundle.spec, speech, dev, options.longest, options.limit, options.dev_limit, say)
    clips = chosen.calibrating
    graph = Graph.load(graph_file)
    if options.local_attention is not None:
        block = block_of(bundle.spec, options.local_attention)
        _check_long_enough(chosen.judging, options.local_attention)
        localize(graph, block)
    if options.compress:
        need_parts(bundle, graph)
    sites = find_sites(graph)
    keep_float = match_sites(sites, options.keep_float)
    with staging(bundle) as folder, kept_work(bundle, chosen, options, say) as work:
        say(str(make_plan(bundle, chosen, sites, options)))
        judge = Judge(bundle, chosen.judging, options.threads, progress, work)
        removed, prepared = Removal(), graph
        if options.compress:
            removed, prepared = compress(bundle, graph, clips, judge, folder, options, progress, work)
            say(f"removed: {removed.summary(graph)}" if removed else NOTHING)
        outcomes: list[Outcome] = []
        measured: dict[str, tuple[Sensitivity, ...]] = {}
        folds = 0
        if removed or not options.compress:
            parts = removed.described(graph)
            builder, folds = prepare(bundle, prepared, clips, folder, options, progress, work)
            builder = dataclasses.replace(builder, suffix=COMPRESSED if removed else _suffix(options))
            measured = sensitivities(builder, clips, options, progress, work)
            candidates = Candidates(builder, judge, measured, keep_float, options, progress)
            for name in options.names:
                outcomes.append(dataclasses.replace(candidates.make(name), removed=parts))
                report(outcomes[-1])
        refused = NOTHING if options.compress and not removed else _refusal(outcomes, options)
        made = run_record(clips, judge, options, outcomes, measured, folds, refused)
        if refused is None:
            bundle = _add(bundle, folder, outcomes, made)
    return Calibration(bundle, tuple(outcomes), measured, judge, made)


def _check_long_enough(judging: Clips, seconds: float) -> None:
    """Raise InputError where most of what judges is too short to show what attention over such blocks loses."""
    lengths = np.array([len(samples) for _, samples in judging.whole()]) / judging.spec.sample_rate
    long = float(lengths[lengths > 3 * seconds].sum() / lengths.sum())
    if long < 0.5:
        raise InputError(
            f"local attention over {seconds:g} s: {100 * long:.0f} % of the speech that judges is in recordings longer "
            f"than {3 * seconds:g} s, so its loss would not show; judge on longer recordings, at least half of the time"
        )


def _suffix(options: Options) -> str:
    """What the names of variants of the whole model end on."""
    return "" if options.local_attention is None else LOCAL


def _usable(bundle: Bundle, options: Options) -> Path:
    """The fp32 graph, after all checks that need no speech and no run."""
    for name in options.names:
        engine_for(bundle, planned(name))
    task_of(bundle.spec)
    fp32 = bundle.variant("fp32")
    bundle.verify(fp32)
    return bundle.graph(fp32, "full")


def _refusal(outcomes: list[Outcome], options: Options) -> str | None:
    """Why nothing is added: words lost anywhere, a variant that the user named refused, or nothing kept."""
    refused = [outcome for outcome in outcomes if not outcome.verdict.kept]
    serious = [o for o in refused if o.verdict.words or options.variants is not None or len(refused) == len(outcomes)]
    if not serious:
        return None
    return "; ".join(f"{outcome.variant.name}: {outcome.verdict.text}" for outcome in serious)


def _add(bundle: Bundle, folder: Path, outcomes: list[Outcome], made: RunRecord) -> Bundle:
    kept = [outcome for outcome in outcomes if outcome.verdict.kept]
    added = [dataclasses.replace(outcome.variant, metrics=metrics(outcome)) for outcome in kept]
    return add_variants(bundle, folder, added, files=lambda now: {FILE: to_text(merged(now, made))})

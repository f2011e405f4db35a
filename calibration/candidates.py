"""One variant: build it, search for the layers that must stay in float, judge it, time it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wav2edge.runtime.bundle.read import Bundle, Variant

from .build import VariantBuilder, is_meant_for_speed, planned
from .gate import decide
from .judge import Judge, Measured, engine_for
from .observe import Progress
from .options import Options, Outcome
from .schemes import S8S8, SIGNED, U8S8
from .search import SearchResult, search
from .sensitivity import Sensitivity


@dataclass(frozen=True)
class Candidates:
    """Makes variants from one calibration."""

    builder: VariantBuilder
    judge: Judge
    sensitivities: Mapping[str, Sequence[Sensitivity]]
    """By scheme, worst layer first; none without a search."""
    keep_float: frozenset[str]
    """The nodes that the user wants in float."""
    options: Options
    progress: Progress

    def make(self, name: str) -> Outcome:
        """Build, search and judge one variant; its final files are in the builder's folder.

        Raises InputError for a variant of no such name, EngineError where no engine here runs it.
        """
        order = self.sensitivities.get(S8S8.name if name in SIGNED else U8S8.name, ())
        written: dict[frozenset[str], Variant] = {}
        found = self._search(name, order, written)
        last = written.get(found.float_layers)
        if last is None:
            variant = self.builder.build(name, self._nodes(found.float_layers))
        else:
            variant = self.builder.with_stages(last)
        # Its time on an engine that it is not made for is not judged: int8-s8s8 is slow on ONNX Runtime.
        here = not variant.preferred_by or found.result.engine in variant.preferred_by
        ratio, milliseconds = math.nan, math.nan
        if here:
            ratio, milliseconds = self.judge.latency_ratio(self._staged(variant), variant, self.options.timed_seconds)
        timed = ratio if here and is_meant_for_speed(name) else None
        missing = () if here else variant.preferred_by
        in_float = self._in_float(name, found.float_layers, order) if is_meant_for_speed(name) else 0.0
        verdict = decide(found.result, timed, self.options.budget, self.options.force, missing, in_float)
        kept_float = self._kept_float(name, found.float_layers, order)
        return Outcome(variant, found.result, verdict, kept_float, ratio, milliseconds, found.trials)

    def _search(
        self, name: str, order: Sequence[Sensitivity], written: dict[frozenset[str], Variant]
    ) -> SearchResult[Measured]:
        """``written``: takes the float layers of the candidate whose files are in the folder, and the candidate."""
        free = {site.layer for site in self.builder.quantizable(name) if site.node not in self.keep_float}
        free -= set(self.builder.never_quantized(name))
        tries = _Tries(self, name, written)
        candidates = [item for item in order if item.layer in free] if self.options.searching else []
        found = search(candidates, tries, lambda tried: tries.loss(tried) is None)
        measured = found.result
        if isinstance(measured, Recalled):  # its outputs are damaged
            measured = tries.measure(found.float_layers)
        return SearchResult(found.float_layers, measured, found.passes, found.trials)

    def _staged(self, variant: Variant) -> Bundle:
        return staged_bundle(self.judge.bundle, self.builder, variant)

    def build(self, name: str, float_layers: frozenset[str]) -> Variant:
        """Write the full graph of a candidate."""
        return self.builder.build(name, self._nodes(float_layers), stages=False)

    def measure(self, variant: Variant, stage: str, part: str) -> Measured:
        """Judge a candidate that was written."""
        return self.judge.judge(self._staged(variant), variant, stage, part)

    def _nodes(self, float_layers: frozenset[str]) -> frozenset[str]:
        """The nodes in float where these layers are."""
        return self.keep_float | {site.node for site in self.builder.sites if site.layer in float_layers}

    def _in_float(self, name: str, found: frozenset[str], order: Sequence[Sensitivity]) -> float:
        """The share of a variant's work that is in float, from 0 to 1; 0 without a search, which measures no work."""
        kept = self._nodes(found)
        integer = {site.layer for site in self.builder.quantizable(name) if site.node not in kept}
        integer -= set(self.builder.never_quantized(name))
        return sum(item.cost for item in order if item.layer not in integer)

    def _kept_float(self, name: str, found: frozenset[str], order: Sequence[Sensitivity]) -> dict[str, str]:
        """The layers in float, and why."""
        named = {site.layer for site in self.builder.sites if site.node in self.keep_float}
        alone = {item.layer: item.sqnr_db for item in order}
        return {
            **self.builder.never_quantized(name),
            **dict.fromkeys(sorted(named), "keep_float"),
            **{layer: f"search ({alone[layer]:.1f} dB alone)" for layer in sorted(found, key=alone.__getitem__)},
        }


@dataclass(frozen=True)
class Recalled:
    """A candidate of an interrupted run, of which only the loss is kept, because another one was better."""

    loss: str | None
    """Why it loses too much; None where it does not."""


class _Tries:
    """The candidates of one variant: made and judged, or recalled where an interrupted run has judged them.

    The outputs of the best are kept, and only the loss of the others.
    """

    def __init__(self, candidates: Candidates, name: str, written: dict[frozenset[str], Variant]) -> None:
        self._candidates, self._name, self._written = candidates, name, written
        self._work = candidates.judge.work
        self._trials = 0
        self._best: tuple[str, bool] | None = None  # its part, and whether it passes

    def __call__(self, float_layers: frozenset[str]) -> Measured | Recalled:
        self._trials += 1
        part = self._part(float_layers)
        tried = self._recalled(part) or self.measure(float_layers)
        loss = self.loss(tried)
        self._work.write(f"loss of {part}", {"loss": np.array(loss or "")})
        if self._best is None or loss is None or not self._best[1]:
            if self._best is not None:
                self._candidates.judge.forget(self._best[0])
            self._best = part, loss is None
        else:
            self._candidates.judge.forget(part)
        return tried

    def loss(self, tried: Measured | Recalled) -> str | None:
        """Why a candidate loses too much; None where it does not."""
        return tried.loss if isinstance(tried, Recalled) else self._candidates.options.budget.loss(tried)

    def measure(self, float_layers: frozenset[str]) -> Measured:
        """Make and judge a candidate."""
        stage = f"{self._name}: candidate {self._trials}, {len(float_layers)} layers in float"
        self._candidates.progress(stage, 0, 0)
        variant = self._candidates.build(self._name, float_layers)
        self._written.clear()  # the files of the previous candidate were replaced
        self._written[float_layers] = variant
        return self._candidates.measure(variant, stage, self._part(float_layers))

    def _recalled(self, part: str) -> Measured | Recalled | None:
        kept = self._work.read(f"loss of {part}")
        if kept is None:
            return None
        judge = self._candidates.judge
        measured = judge.recalled(engine_for(judge.bundle, planned(self._name)), part)
        return measured or Recalled(str(kept["loss"]) or None)

    def _part(self, float_layers: frozenset[str]) -> str:
        return f"{self._name} with {', '.join(sorted(float_layers)) or 'nothing'} in float"


def staged_bundle(bundle: Bundle, builder: VariantBuilder, variant: Variant) -> Bundle:
    """A bundle whose one variant is read from the builder's folder."""
    return dataclasses.replace(bundle, path=builder.folder, variants=(variant,))

"""One variant: build it, search for the layers that must stay in float, judge it, time it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wav2edge.runtime.bundle.read import Bundle, Variant

from .build import VariantBuilder, is_meant_for_speed
from .gate import decide
from .judge import Judge, Measured
from .observe import Progress
from .options import Options, Outcome
from .schemes import S8S8, U8S8
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
        order = self.sensitivities.get(S8S8.name if name == S8S8.variant else U8S8.name, ())
        written: dict[frozenset[str], Variant] = {}
        found = self._search(name, order, written)
        last = written.get(found.float_layers)
        if last is None:
            variant = self.builder.build(name, self._nodes(found.float_layers))
        else:
            variant = self.builder.with_stages(last)
        # On an engine that it is not made for, its time says nothing: int8-s8s8 is slow on ONNX Runtime.
        here = not variant.preferred_by or found.result.engine in variant.preferred_by
        ratio, milliseconds = math.nan, math.nan
        if here:
            ratio, milliseconds = self.judge.latency_ratio(self._staged(variant), variant, self.options.timed_seconds)
        timed = ratio if here and is_meant_for_speed(name) else None
        missing = () if here else variant.preferred_by
        verdict = decide(found.result, timed, self.options.budget, self.options.force, missing)
        kept_float = self._kept_float(name, found.float_layers, order)
        return Outcome(variant, found.result, verdict, kept_float, ratio, milliseconds, found.trials)

    def _search(
        self, name: str, order: Sequence[Sensitivity], written: dict[frozenset[str], Variant]
    ) -> SearchResult[Measured]:
        """``written``: takes the float layers of the candidate whose files are in the folder, and the candidate."""
        free = {site.layer for site in self.builder.quantizable(name) if site.node not in self.keep_float}
        free -= set(self.builder.never_quantized(name))
        trials = 0

        def trial(float_layers: frozenset[str]) -> Measured:
            nonlocal trials
            trials += 1
            stage = f"{name}: candidate {trials}, {len(float_layers)} layers in float"
            self.progress(stage, 0, 0)
            variant = self.builder.build(name, self._nodes(float_layers), stages=False)
            written.clear()  # the files of the candidate before were replaced
            written[float_layers] = variant
            return self.judge.judge(self._staged(variant), variant, stage)

        candidates = [item for item in order if item.layer in free] if self.options.searching else []
        return search(candidates, trial, lambda measured: self.options.budget.loss(measured) is None)

    def _staged(self, variant: Variant) -> Bundle:
        return staged_bundle(self.judge.bundle, self.builder, variant)

    def _nodes(self, float_layers: frozenset[str]) -> frozenset[str]:
        """The nodes in float where these layers are."""
        return self.keep_float | {site.node for site in self.builder.sites if site.layer in float_layers}

    def _kept_float(self, name: str, found: frozenset[str], order: Sequence[Sensitivity]) -> dict[str, str]:
        """The layers in float, and why."""
        named = {site.layer for site in self.builder.sites if site.node in self.keep_float}
        alone = {item.layer: item.sqnr_db for item in order}
        return {
            **self.builder.never_quantized(name),
            **dict.fromkeys(sorted(named), "keep_float"),
            **{layer: f"search ({alone[layer]:.1f} dB alone)" for layer in sorted(found, key=alone.__getitem__)},
        }


def staged_bundle(bundle: Bundle, builder: VariantBuilder, variant: Variant) -> Bundle:
    """A bundle whose one variant is read from the builder's folder."""
    return dataclasses.replace(bundle, path=builder.folder, variants=(variant,))

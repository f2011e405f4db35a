"""calibration.json: how each variant was made, so that anybody can make it again or doubt it."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import BundleError

from .clips import Clips
from .judge import Judge
from .options import Options, Outcome
from .sensitivity import Sensitivity

FILE = "calibration.json"
_TOOLS = ("wav2edge", "onnx", "onnxruntime", "openvino", "numpy", "jiwer")


def values(
    bundle: Bundle,
    clips: Clips,
    judge: Judge,
    options: Options,
    outcomes: Sequence[Outcome],
    sensitivities: Mapping[str, Sequence[Sensitivity]],
    folds: int,
    refused: str | None,
) -> dict[str, Any]:
    """Everything about a run as plain JSON values; runs whose variants are still in the bundle stay listed."""
    names = {outcome.variant.name for outcome in outcomes if outcome.verdict.kept}
    earlier = {name: entry for name, entry in _earlier(bundle).items() if name not in names}
    run = {
        "method": options.method,
        "smooth": options.smooth,
        "search": options.searching,
        "keep_float": list(options.keep_float),
        "max_wer_rise": options.budget.max_wer_rise,
        "min_token_agreement": options.budget.min_token_agreement,
        "longest_seconds": options.longest,
        "calibrated_on": {"clips": len(clips.rows), "sha256": clips.digest},
        "judged_on": {"clips": len(judge.dev.rows), judge.dev.unit: judge.dev.words, "sha256": judge.dev.digest},
        "folds": folds,
        "fp32_wer": judge.reference.wer.to_json(),
        "sensitivities": {
            scheme: [{"layer": s.layer, "sqnr_db": s.sqnr_db, "cost": s.cost} for s in found]
            for scheme, found in sensitivities.items()
        },
        "tools": tool_versions(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    return {
        "variants": {
            **earlier,
            **{outcome.variant.name: {**_outcome(outcome), **run} for outcome in outcomes if outcome.verdict.kept},
        },
        "refused": refused,
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write calibration.json."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def metrics(outcome: Outcome) -> dict[str, Any]:
    """The figures that a variant carries in bundle.json; rates in percent, rises in points."""
    measured = outcome.measured
    figures: dict[str, Any] = {
        "wer": _percent(measured.wer.value),
        "wer_low": _percent(measured.wer.low),
        "wer_high": _percent(measured.wer.high),
        "wer_rise": _percent(measured.rise.value),
        "wer_rise_low": _percent(measured.rise.low),
        "wer_rise_high": _percent(measured.rise.high),
        "token_agreement": _percent(measured.token_agreement),
        "sqnr_db": _rounded(measured.sqnr_db, 2),
        "latency_ratio": _rounded(outcome.latency_ratio, 3),
        **({} if math.isnan(outcome.latency_ratio) else {"latency_engine": measured.engine}),
        "kept_float": list(outcome.kept_float),
        "verdict": outcome.verdict.text,
    }
    return {**figures, "forced": True} if outcome.verdict.forced else figures


def tool_versions() -> dict[str, str]:
    """The versions of what made the variants."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        **metrics(outcome),
        "kept_float": outcome.kept_float,
        "latency_ms": _rounded(outcome.latency_ms, 2),
        "trials": outcome.trials,
        "bytes": outcome.variant.bytes,
    }


def _earlier(bundle: Bundle) -> dict[str, Any]:
    names = {variant.name for variant in bundle.variants}
    try:
        found = json.loads(bundle.file(FILE).read_text(encoding="utf-8"))["variants"]
    except (BundleError, ValueError, KeyError, TypeError):
        return {}
    return {name: entry for name, entry in found.items() if name in names}


def _percent(share: float) -> float | None:
    return _rounded(100 * share, 3)


def _rounded(number: float, digits: int) -> float | None:
    """A number for JSON, which knows no NaN."""
    return round(number, digits) if math.isfinite(number) else None

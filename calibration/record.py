"""How each variant came out and was made: the document of one run, and calibration.json for those of all runs."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, TypedDict, cast

from wav2edge.measure.figures import EstimateDocument
from wav2edge.measure.task import Unit
from wav2edge.runtime.bundle.documents import FigureJson, MetricsJson
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import BundleError

from .clips import Clips
from .judge import Judge, Measured
from .options import Options, Outcome
from .ranges import Method
from .sensitivity import Sensitivity

if TYPE_CHECKING:
    from typing_extensions import NotRequired

FILE = "calibration.json"
_ENGINES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx")
_TOOLS = ("wav2edge", "onnx", *_ENGINES, "numpy", "jiwer")


class Figures(TypedDict):
    """The figures of a variant; rates in percent, rises in points, null where there is no number.

    counts: the unit that the figure counts. wer: of models that transcribe, the rate in words, or in characters where
    text has no gaps. token_agreement: where there are labels; cosine, concordance: where there are embeddings or
    numbers.
    """

    counts: Unit
    figure: FigureJson
    wer: NotRequired[float | None]
    wer_low: NotRequired[float | None]
    wer_high: NotRequired[float | None]
    wer_rise: NotRequired[float | None]
    wer_rise_low: NotRequired[float | None]
    wer_rise_high: NotRequired[float | None]
    token_agreement: NotRequired[float | None]
    cosine: NotRequired[float | None]
    concordance: NotRequired[float | None]
    sqnr_db: float | None
    latency_ratio: float | None
    verdict: str
    latency_engine: NotRequired[str]
    forced: NotRequired[bool]


class ClipsRecord(TypedDict):
    """Which recordings were used; ``sha256`` as ``Clips.digest`` computes it."""

    clips: int
    sha256: str
    words: NotRequired[int]
    characters: NotRequired[int]
    labels: NotRequired[int]
    numbers: NotRequired[int]
    turns: NotRequired[int]
    pairs: NotRequired[int]
    recordings: NotRequired[int]


class SensitivityRecord(TypedDict):
    """A layer's sensitivity, see ``Sensitivity``."""

    layer: str
    sqnr_db: float
    cost: float


class VariantRecord(Figures):
    """One variant: how it came out, and the run that made it."""

    kept_float: dict[str, str]
    removed: dict[str, str]
    latency_ms: float | None
    trials: int
    bytes: int
    method: Method
    smooth: bool
    search: bool
    keep_float: list[str]
    max_wer_rise: float
    min_token_agreement: float
    min_cosine: float
    local_attention: float | None
    longest_seconds: float
    calibrated_on: ClipsRecord
    judged_on: ClipsRecord
    folds: int
    fp32: EstimateDocument
    sensitivities: dict[str, list[SensitivityRecord]]
    tools: dict[str, str]
    machine: str


class OutcomeRecord(VariantRecord):
    """One variant of a run. kept: whether it passed the gate, or was forced; ``verdict`` says why, or why not."""

    kept: bool


class RunRecord(TypedDict):
    """What one run made. variants: by name, the refused ones too, and none of earlier runs.

    refused: why the bundle is as it was, without the variants that passed either; null where those were added.
    """

    variants: dict[str, OutcomeRecord]
    refused: str | None


class Record(TypedDict):
    """calibration.json. variants: by name, those of earlier runs too. refused: null."""

    variants: dict[str, VariantRecord]
    refused: None


def run_record(
    clips: Clips,
    judge: Judge,
    options: Options,
    outcomes: Sequence[Outcome],
    sensitivities: Mapping[str, Sequence[Sensitivity]],
    folds: int,
    refused: str | None,
) -> RunRecord:
    """The document of a run."""
    judged: ClipsRecord = {"clips": len(judge.dev.rows), "sha256": judge.dev.digest}
    judged[judge.task.unit] = judge.dev.amount
    calibrated: ClipsRecord = {"clips": len(clips.rows), "sha256": clips.digest}
    variants: dict[str, OutcomeRecord] = {}
    for outcome in outcomes:
        variants[outcome.variant.name] = {
            "kept": outcome.verdict.kept,
            **_figures(outcome),
            "kept_float": outcome.kept_float,
            "removed": outcome.removed,
            "latency_ms": _rounded(outcome.latency_ms, 2),
            "trials": outcome.trials,
            "bytes": outcome.variant.bytes,
            "method": options.method,
            "smooth": options.smooth,
            "search": options.searching,
            "keep_float": list(options.keep_float),
            "max_wer_rise": options.budget.max_wer_rise,
            "min_token_agreement": options.budget.min_token_agreement,
            "min_cosine": options.budget.min_cosine,
            "local_attention": options.local_attention,
            "longest_seconds": options.longest,
            "calibrated_on": calibrated,
            "judged_on": judged,
            "folds": folds,
            "fp32": judge.reference.run.estimates()[0].to_json(),
            "sensitivities": {
                scheme: [{"layer": s.layer, "sqnr_db": s.sqnr_db, "cost": s.cost} for s in found]
                for scheme, found in sensitivities.items()
            },
            "tools": tool_versions(),
            "machine": f"{platform.system()} {platform.machine()}",
        }
    return {"variants": variants, "refused": refused}


def merged(bundle: Bundle, run: RunRecord) -> Record:
    """calibration.json after a run: its kept variants, and those of earlier runs that are still in the bundle."""
    variants = _earlier(bundle)
    for name, entry in run["variants"].items():
        if entry["kept"]:
            variants.pop(name, None)
            variants[name] = cast(VariantRecord, {key: value for key, value in entry.items() if key != "kept"})
    return {"variants": variants, "refused": None}


def to_text(content: Record) -> str:
    """The record as it is written to calibration.json."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def metrics(outcome: Outcome) -> MetricsJson:
    """The figures that a variant carries in bundle.json."""
    return cast(MetricsJson, {**_figures(outcome), "kept_float": list(outcome.kept_float)})


def tool_versions() -> dict[str, str]:
    """The versions of the packages that made the variants."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _figures(outcome: Outcome) -> Figures:
    measured = outcome.measured
    figures: Figures = {
        "counts": measured.unit,
        "figure": _figure(measured),
        "sqnr_db": _rounded(measured.sqnr_db, 2),
        "latency_ratio": _rounded(outcome.latency_ratio, 3),
        "verdict": outcome.verdict.text,
    }
    if measured.kind == "labels":
        figures["token_agreement"] = _percent(measured.likeness)
    else:
        figures[measured.kind] = _rounded(measured.likeness, 5)
    if measured.unit in ("words", "characters"):
        figure = figures["figure"]
        figures["wer"], figures["wer_low"], figures["wer_high"] = figure["value"], figure["low"], figure["high"]
        figures["wer_rise"] = figure["change"]
        figures["wer_rise_low"], figures["wer_rise_high"] = figure["change_low"], figure["change_high"]
    if not math.isnan(outcome.latency_ratio):
        figures["latency_engine"] = measured.engine
    if outcome.verdict.forced:
        figures["forced"] = True
    return figures


def _figure(measured: Measured) -> FigureJson:
    figure, change = measured.figure, measured.change
    scale, digits = (100, 3) if figure.figure.percent else (1, 5)
    return {
        "name": figure.figure.name,
        "value": _rounded(scale * figure.value, digits),
        "low": _rounded(scale * figure.low, digits),
        "high": _rounded(scale * figure.high, digits),
        "change": _rounded(scale * change.value, digits),
        "change_low": _rounded(scale * change.low, digits),
        "change_high": _rounded(scale * change.high, digits),
    }


def _earlier(bundle: Bundle) -> dict[str, VariantRecord]:
    """The entries of variants that are in the bundle; none where the file is missing or damaged."""
    names = {variant.name for variant in bundle.variants}
    try:
        found: dict[str, VariantRecord] = json.loads(bundle.file(FILE).read_text(encoding="utf-8"))["variants"]
        return {name: entry for name, entry in found.items() if name in names}
    except (BundleError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _percent(share: float) -> float | None:
    return _rounded(100 * share, 3)


def _rounded(number: float, digits: int) -> float | None:
    """A number for JSON, which has no NaN."""
    return round(number, digits) if math.isfinite(number) else None

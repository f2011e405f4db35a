"""``wav2edge quantize BUNDLE --speech MANIFEST``: calibrated variants that keep their words, or none."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.cli import _options

if TYPE_CHECKING:
    from wav2edge.calibration.quantize import Outcome
    from wav2edge.runtime.bundle.read import Bundle

_NEEDED = ("onnx", "onnxruntime", "jiwer")
HELP = "add calibrated INT8, FP16 and INT4 variants that keep their words"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="bundle to add variants to")
    add("--speech", metavar="MANIFEST", default="built-in", help="speech to calibrate on (default: the built-in clips)")
    add("--dev", metavar="MANIFEST", help="speech with text to judge on (default: every second clip of --speech)")
    add("--max-wer-rise", type=float, default=0.5, metavar="POINTS", help="words that may be lost (default: 0.5)")
    add(
        "--min-token-agreement",
        type=float,
        default=98.0,
        metavar="PERCENT",
        help="frames that must keep fp32's label (default: 98)",
    )
    add(
        "--variants",
        metavar="NAME,NAME",
        help="which to make (default: int8-u8s8,int8-s8s8,int8-u7s8,int8-dynamic,fp16)",
    )
    add("--method", choices=("min-max", "entropy", "percentile", "mse"), default="mse", help="how ranges are found")
    add(
        "--keep-float",
        action="append",
        default=[],
        metavar="PATH",
        help="leave these modules in float: module path or regular expression, such as "
        "'feature_extractor.conv_layers.[1-3]'; may be repeated",
    )
    add("--list-layers", action="store_true", help="print the layers that --keep-float can name, and stop")
    add("--longest", type=float, default=10.0, metavar="SECONDS", help="clip length that the device will see")
    add(
        "--limit",
        type=_options.positive,
        metavar="N",
        help="calibrate on at most N recordings, evenly spread, not counting those that judge",
    )
    add("--no-smooth", action="store_true", help="do not fold outliers of activations into weights")
    add(
        "--no-search",
        action="store_true",
        help="judge as it is: no layer's sensitivity is measured, none put back in float",
    )
    add("--force", action="store_true", help="keep what the gate refuses, marked as forced")
    add("--report", metavar="FILE", help="HTML report (default: BUNDLE.quantization.html beside the bundle)")
    add("--threads", type=_options.positive, metavar="N", help="CPU threads (default: the engine's choice)")


def run(arguments: argparse.Namespace) -> int:
    """Quantise, print one line for each variant, write the report.

    Raises InputError for options that make no sense, EngineError for packages that are missing.
    """
    _check(arguments)
    from wav2edge.calibration import report
    from wav2edge.calibration.build import DEFAULT
    from wav2edge.calibration.gate import Budget
    from wav2edge.calibration.quantize import Options, quantize
    from wav2edge.runtime.bundle.read import Bundle
    from wav2edge.runtime.errors import InputError

    bundle = Bundle.open(arguments.bundle)
    if arguments.list_layers:
        return _list_layers(bundle)
    options = Options(
        variants=tuple(dict.fromkeys(arguments.variants.split(","))) if arguments.variants else DEFAULT,
        method=arguments.method,
        budget=Budget(arguments.max_wer_rise, arguments.min_token_agreement),
        keep_float=tuple(arguments.keep_float),
        smooth=not arguments.no_smooth,
        searching=not arguments.no_search,
        force=arguments.force,
        longest=arguments.longest,
        limit=arguments.limit or Options.limit,
        threads=arguments.threads,
    )
    default = bundle.path.resolve().with_name(f"{bundle.path.resolve().name}.quantization.html")
    place = Path(arguments.report) if arguments.report else default
    if place.is_dir() or not os.access(place.parent, os.W_OK):  # said now, not after the work
        raise InputError(f"{place}: the report cannot be written there; name a file in a writable folder with --report")
    bar = _Bar()

    def report_one(outcome: Outcome) -> None:
        bar.clear()
        _print(outcome)

    def say(line: str) -> None:
        bar.clear()
        print(f"wav2edge: {line}", file=sys.stderr)

    made = quantize(bundle, arguments.speech, arguments.dev, options, bar, report_one, say)
    bar.clear()
    try:
        place.write_text(report.page(made), encoding="utf-8")
        print(f"report: {place}")
    except OSError as error:
        done = "is as it was" if made.refused is not None else "holds the new variants"
        raise InputError(f"{place}: the report cannot be written ({error.strerror}); {bundle.path} {done}") from error
    if made.refused is not None:
        print(f"wav2edge: {bundle.path} is as it was; {made.refused}", file=sys.stderr)
        return 1
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Numbers and packages, before anything is opened."""
    from wav2edge.runtime.errors import EngineError, InputError

    if not 0 < arguments.longest <= 3600:
        raise InputError(f"--longest {arguments.longest:g}: give seconds above 0, at most 3600")
    if not 0 <= arguments.max_wer_rise <= 100:
        raise InputError(f"--max-wer-rise {arguments.max_wer_rise:g}: give points from 0 to 100")
    if not 0 <= arguments.min_token_agreement <= 100:
        raise InputError(f"--min-token-agreement {arguments.min_token_agreement:g}: give percent from 0 to 100")
    needed = _NEEDED[:1] if arguments.list_layers else _NEEDED
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(
            f'quantize needs {", ".join(missing)}; install it with `pip install "wav2edge[calibrate,eval]"`'
        )


def _print(outcome: Outcome) -> None:
    from wav2edge.calibration.clips import rate_name

    measured, variant = outcome.measured, outcome.variant
    timed = f"{outcome.latency_ms:.1f} ms, {outcome.latency_ratio:.2f} of fp32 on {measured.engine}"
    if math.isnan(outcome.latency_ratio):
        timed = "not timed here"
    print(f"{variant.name}: {outcome.verdict.text}")
    print(
        f"  size {variant.bytes / 1e6:.1f} MB; {rate_name(measured.unit)} {measured.wer}, "
        f"{measured.rise} against fp32 on the same clips"
    )
    print(f"  token agreement {100 * measured.token_agreement:.2f} %, SQNR {measured.sqnr_db:.1f} dB; {timed}")
    kept = ", ".join(f"{layer}: {why}" for layer, why in outcome.kept_float.items())
    print(f"  in float: {kept or 'nothing'}", flush=True)


def _list_layers(bundle: Bundle) -> int:
    from wav2edge.calibration.sites import find_sites
    from wav2edge.graphs.graph import Graph

    for site in find_sites(Graph.load(bundle.graph(bundle.variant("fp32"), "full"))):
        print(site.path)
    return 0


class _Bar:
    """One line of progress on a terminal; silent where stderr is none."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.shown:
            filled = 20 * done // total if total else 0
            bar = f" [{'#' * filled}{'.' * (20 - filled)}] {done}/{total}" if total else " …"
            print(f"\r\033[K{stage}{bar}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

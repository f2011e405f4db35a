"""``wav2edge bench``: every engine × variant of this machine, one table, one page with plots."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.cli import _options
from wav2edge.runtime.bundle.read import MANIFEST
from wav2edge.runtime.errors import InputError

if TYPE_CHECKING:
    from wav2edge.measure.bench.plan import Plan
    from wav2edge.measure.bench.report import BenchReport

HELP = "measure every engine and variant that this machine runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument(
        "-m", "--model", metavar="BUNDLE", nargs="+", action="extend", help="bundles (default: the embedded demo model)"
    )
    chosen = parser.add_argument_group("what is measured")
    chosen.add_argument("--engine", metavar="E[,E]", type=_names, default=(), help="only these engines")
    chosen.add_argument("--variant", metavar="V[,V]", type=_names, default=(), help="only these variants")
    chosen.add_argument("--device", metavar="DEVICE", help="the engine's device, such as cuda:0 or GPU (with --engine)")
    chosen.add_argument("--threads", type=_options.positive, metavar="N", help="CPU threads (default: the fast cores)")
    chosen.add_argument("--seconds", metavar="S[,S]", type=_lengths, help="lengths of audio (default: 1,5,10,30)")
    chosen.add_argument("--manifest", type=Path, metavar="MANIFEST", help="recordings with text, for WER")
    chosen.add_argument("--clips", type=_options.positive, metavar="N", help="only N recordings of the manifest")
    chosen.add_argument(
        "--checkpoint", type=Path, metavar="DIR", action="append", default=[], help="checkpoint for the engine torch"
    )
    chosen.add_argument(
        "--with",
        dest="peers",
        nargs=2,
        metavar=("whisper", "DIR"),
        action="append",
        default=[],
        help="also measure faster-whisper with the model in DIR",
    )
    how = parser.add_argument_group("how it is measured")
    how.add_argument("--quick", action="store_true", help="seconds instead of minutes: 1 and 10 s of audio, few runs")
    how.add_argument(
        "--runs", type=_options.positive, metavar="N", help="runs of each engine and variant (default: 50)"
    )
    how.add_argument("--limit", type=_seconds, metavar="S", help="or so many seconds of running (default: 10)")
    how.add_argument("--baseline", metavar="ENGINE/VARIANT", help="what ratios are against (default: torch/fp32)")
    out = parser.add_argument_group("what comes out")
    out.add_argument("--json", nargs="?", type=Path, const=Path("-"), metavar="FILE", help="JSON, to FILE or stdout")
    out.add_argument("--csv", type=Path, metavar="FILE", help="also write a CSV table")
    out.add_argument("--markdown", type=Path, metavar="FILE", help="also write a Markdown table")
    out.add_argument("--report", type=Path, metavar="DIR", help="also write a page with plots, and all of the above")
    out.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="measure nothing; set two runs side by side"
    )
    tune = parser.add_argument_group("choose for this machine")
    tune.add_argument("--tune", action="store_true", help="keep the best engine and variant as this machine's choice")
    tune.add_argument("--max-wer-rise", type=float, metavar="POINTS", help="most WER points to lose (with --manifest)")
    tune.add_argument("--max-latency", type=_seconds, metavar="S", help="slowest median allowed for 10 s of audio")


def run(arguments: argparse.Namespace) -> int:
    """Measure, or compare two earlier runs."""
    from wav2edge.measure.bench import document, table
    from wav2edge.measure.bench import run as bench

    if arguments.compare:
        first, second = (document.read(path) for path in arguments.compare)
        names = (arguments.compare[0].stem, arguments.compare[1].stem)
        print(table.compare(first, second, names if names[0] != names[1] else ("first", "second")))
        return 0
    plan = _plan(arguments)
    for path in (arguments.json, arguments.csv, arguments.markdown):
        if path is not None and not path.absolute().parent.is_dir():
            raise InputError(f"{path.parent}: no such directory; make it first")
    if arguments.report is not None:
        arguments.report.mkdir(parents=True, exist_ok=True)
    if plan.configurations:
        print(f"wav2edge: {_amount(plan)}", file=sys.stderr)
    bar = _Bar() if sys.stderr.isatty() else None
    try:
        report = bench.measure(plan, bar or (lambda share, text: None))
    finally:
        if bar is not None:
            bar.clear()
    _write(report, arguments)
    if arguments.tune:
        _tune(report, arguments)
    return 0


def _plan(arguments: argparse.Namespace) -> Plan:
    from wav2edge.devices import detect
    from wav2edge.measure.bench import plan as bench_plan
    from wav2edge.measure.bench import run as bench

    if (arguments.max_wer_rise is not None or arguments.max_latency is not None) and not arguments.tune:
        raise InputError("--max-wer-rise and --max-latency limit what --tune chooses; add --tune")
    if arguments.max_wer_rise is not None and arguments.manifest is None:
        raise InputError("--max-wer-rise needs recordings with text; add --manifest MANIFEST")
    if arguments.device is not None and not arguments.engine:
        raise InputError("--device names a device of one engine; add --engine")
    for path in arguments.checkpoint:
        if not path.is_dir():
            raise InputError(f"--checkpoint {path}: no such directory")
    bundles = [_options.open_bundle(name) for name in arguments.model or (None,)]
    threads = arguments.threads or detect.detect().cpu.threads
    chosen, skipped = bench_plan.configurations(
        bundles,
        threads,
        only_engines=arguments.engine,
        only_variants=arguments.variant,
        device=arguments.device,
        checkpoints=arguments.checkpoint,
    )
    for peer, directory in arguments.peers:
        if peer != "whisper":
            raise InputError(f"--with {peer}: only whisper is known")
        chosen += bench_plan.whisper_configurations(Path(directory), threads, bundles[0].spec.language)
    if arguments.baseline is not None and arguments.baseline not in {one.name for one in chosen}:
        names = ", ".join(one.name for one in chosen)
        raise InputError(f"--baseline {arguments.baseline}: it is not among what is measured; choose from {names}")
    lengths, runs, limit = (bench.QUICK_LENGTHS, 20, 0.5) if arguments.quick else (bench_plan.LENGTHS, 50, 10.0)
    return bench_plan.Plan(
        tuple(chosen),
        tuple(skipped),
        lengths=arguments.seconds or lengths,
        runs=arguments.runs or runs,
        limit=arguments.limit or limit,
        manifest=arguments.manifest,
        clips=arguments.clips,
        baseline=arguments.baseline,
    )


def _amount(plan: Plan) -> str:
    """What is measured, and how long that may take where it takes minutes."""
    from wav2edge.measure.bench.turns import longest

    count = len(plan.configurations)
    what = f"measuring {count} engine and variant pair{'s' if count > 1 else ''} here"
    minutes = longest(count, len(plan.lengths), plan.limit) / 60
    return f"{what}; up to about {minutes:.0f} min (--quick: a look in less)" if minutes >= 1.5 else what


def _write(report: BenchReport, arguments: argparse.Namespace) -> None:
    from wav2edge.measure.bench import document, table

    to_stdout = arguments.json == Path("-")
    if to_stdout:
        _options.write_json(document.to_json(report))
    else:
        print(table.text_table(report))
    folder = arguments.report
    json_files = [] if arguments.json is None or to_stdout else [arguments.json]
    csv_files = [] if arguments.csv is None else [arguments.csv]
    markdown_files = [] if arguments.markdown is None else [arguments.markdown]
    if folder is not None:
        from wav2edge.measure.bench import page

        json_files.append(folder / "bench.json")
        csv_files.append(folder / "bench.csv")
        markdown_files.append(folder / "bench.md")
        (folder / "index.html").write_text(page.page(report), encoding="utf-8")
    for path in json_files:
        _options.write_json(document.to_json(report), path)
    for path in csv_files:
        path.write_text(table.comma_separated(report), encoding="utf-8")
    for path in markdown_files:
        path.write_text(table.markdown(report), encoding="utf-8")
    if folder is not None:
        print(f"wav2edge: the page with plots is {folder / 'index.html'}", file=sys.stderr)


def _tune(report: BenchReport, arguments: argparse.Namespace) -> None:
    """Keep the best result of each bundle inside the budget as the choice for this machine."""
    from wav2edge.measure.bench import tuning
    from wav2edge.runtime.bundle.read import Bundle

    for path in dict.fromkeys(result.bundle for result in report.results):
        if not (Path(path) / MANIFEST).is_file():
            continue  # a Whisper model: nothing of ours to choose
        rise = arguments.max_wer_rise
        chosen, file = tuning.keep(report, Bundle.open(path), rise, arguments.max_latency)
        print(f"wav2edge: {path} now runs {chosen.variant} on {chosen.engine} here ({file})", file=sys.stderr)


class _Bar:
    """One line on the terminal that is drawn over."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._drawn = 0.0

    def __call__(self, share: float, text: str) -> None:
        now = time.monotonic()
        if now - self._drawn < 0.1:
            return
        self._drawn = now
        filled = int(share * 24)
        # Shares are of work, not of time, but near enough for a guess once something is done.
        passed = now - self._started
        left = f", about {passed / share - passed:.0f} s left" if share > 0.05 and passed > 2 else ""
        line = f"{'█' * filled}{'░' * (24 - filled)} {share:4.0%} {text}{left}"
        print(f"\r\x1b[2K{line[:118]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _lengths(text: str) -> tuple[float, ...]:
    return tuple(sorted({_seconds(part) for part in text.split(",")}))


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) < float("inf"):
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")

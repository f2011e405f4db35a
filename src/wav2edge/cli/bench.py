"""``wav2edge bench``: measure how fast every engine and variant runs on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from wav2edge.runtime.errors import InputError

from . import _foreign, _options, _terminal
from ._command import argument, command, gathered, listed, option
from ._options import OUTPUT, Several
from ._progress import Progress
from ._values import COUNT, SECONDS, Number

if TYPE_CHECKING:
    from wav2edge.measure.bench.plan import BenchPlan
    from wav2edge.measure.bench.report import BenchReport

_WHAT = "What is measured"
_HOW = "How it is measured"
_TUNE = "Choose for this machine"


@dataclass(frozen=True)
class What:
    """What is measured."""

    seconds: tuple[float, ...]
    manifest: str | None
    clips: int | None
    checkpoint: tuple[str, ...]
    peers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MeasureOptions:
    """How it is measured."""

    quick: bool
    runs: int | None
    limit: float | None
    baseline: str | None


@dataclass(frozen=True)
class Outputs:
    """What comes out."""

    json: str | None
    csv: str | None
    markdown: str | None
    report: str | None


@dataclass(frozen=True)
class TuneOptions:
    """Whether the best is kept as this machine's choice, and the limits that it must meet."""

    tune: bool
    max_wer_rise: float | None
    max_latency: float | None


@command(
    "wav2edge bench -m my-bundle --quick  # first figures in under a minute",
    "wav2edge bench -m my-bundle --report report  # every engine and variant here, a page with plots",
    "wav2edge bench -m my-bundle --tune  # make the fastest the default here",
    "wav2edge bench --compare pi.json desk.json",
)
@argument("more", "more bundles, the same as -m", metavar="[BUNDLE]…", nargs=-1, type=_options.BUNDLE)
@_options.models("bundle to measure")
@_options.several_engines("only these engines (default: every one here)", "only these variants (default: all)")
@gathered(
    What,
    "what",
    listed(
        "--seconds",
        "lengths of audio (default: 1,5,10,30; with --quick 1,10)",
        group=_WHAT,
        metavar="S[,S]",
        type=SECONDS,
    ),
    option(
        "--manifest",
        "recordings with text, to measure word error rates as well; with label, speaker, rttm or values, or pairs, the "
        "figures of other heads",
        group=_WHAT,
        metavar="MANIFEST",
        type=_options.FILE,
    ),
    option("--clips", "only N recordings of the manifest, evenly spread", group=_WHAT, metavar="N", type=COUNT),
    listed(
        "--checkpoint",
        "checkpoint that the bundle was made from, to measure torch as well",
        group=_WHAT,
        metavar="DIR",
        type=_options.BUNDLE,
    ),
    option(
        "--with",
        "peers",
        "measure faster-whisper as well, with the model in DIR",
        group=_WHAT,
        metavar="whisper DIR",
        nargs=2,
        multiple=True,
    ),
)
@gathered(
    MeasureOptions,
    "how",
    option("--quick", "seconds instead of minutes: 1 and 10 s of audio, few runs", group=_HOW, is_flag=True),
    option(
        "--runs",
        "runs of each engine and variant at each length (default: 50; with --quick 20)",
        group=_HOW,
        metavar="N",
        type=COUNT,
    ),
    option(
        "--limit",
        "stop after this many seconds of running, even before N runs (default: 10; with --quick 0.5)",
        group=_HOW,
        metavar="S",
        type=SECONDS,
    ),
    option(
        "--baseline",
        "what ratios are against (default: torch/fp32 if it is measured, else onnxruntime/fp32, else the first)",
        group=_HOW,
        metavar="ENGINE/VARIANT",
    ),
)
@gathered(
    Outputs,
    "outputs",
    _options.json_file("print the figures as JSON instead"),
    option("--csv", "also write a CSV table", group=OUTPUT, metavar="FILE", type=_options.WRITTEN_FILE),
    option("--markdown", "also write a Markdown table", group=OUTPUT, metavar="FILE", type=_options.WRITTEN_FILE),
    _options.report("write a page with plots (index.html), and bench.json, bench.csv, bench.md"),
)
@option(
    "--compare",
    "measure nothing; print two earlier runs side by side (no other option goes with it)",
    group=OUTPUT,
    metavar="A.json B.json",
    nargs=2,
    type=_options.FILE,
)
@gathered(
    TuneOptions,
    "tuning",
    option(
        "--tune",
        "make the fastest engine and variant the default for the bundle on this machine",
        group=_TUNE,
        is_flag=True,
    ),
    option(
        "--max-wer-rise",
        "most points of word error rate, or of its head's figure, that it may lose (with --manifest)",
        group=_TUNE,
        metavar="POINTS",
        type=Number(float, 0, 100, "points"),
    ),
    option(
        "--max-latency",
        "slowest median allowed for 10 s of audio, or for the longest measured, in seconds",
        group=_TUNE,
        metavar="S",
        type=SECONDS,
    ),
)
def run(
    more: tuple[str, ...],
    model: tuple[str, ...],
    several: Several,
    what: What,
    how: MeasureOptions,
    outputs: Outputs,
    compare: tuple[str, str] | None,
    tuning: TuneOptions,
) -> int:
    """Measure how fast every engine and variant runs on this machine.

    For each: the time for several lengths of audio, the real-time factor, memory, and energy where the machine has a
    meter. Engines take turns, so that other load on the machine affects all alike.

    With --manifest, rows that cannot be used are named, and the figures are of the recordings that every engine and
    variant could use. The exit code is then 2, and 3 where an engine or a variant failed.
    """
    from wav2edge.measure.bench import comparison, document
    from wav2edge.measure.bench import run as bench

    if compare:
        _check_alone()
        first, second = (document.read(Path(path)) for path in compare)
        names = (Path(compare[0]).stem, Path(compare[1]).stem)
        _terminal.out(comparison.compare(first, second, names if names[0] != names[1] else ("first", "second")))
        return 0
    plan = _plan((*model, *more), several, what, how, tuning)
    _options.check_folder(outputs.json, outputs.csv, outputs.markdown)
    written = (("--json", outputs.json), ("--csv", outputs.csv), ("--markdown", outputs.markdown))
    page = _options.in_report(outputs.report, "index.html", "bench.json", "bench.csv", "bench.md")
    _options.check_distinct(("--manifest", what.manifest), *written, *page)
    _options.make_folder(outputs.report)
    if plan.configurations:
        _terminal.note(_amount(plan))
    with Progress() as progress, _foreign.without_lines(_foreign.MP3_DECODER):
        report = bench.measure(plan, lambda share, text: progress.update(text, share, 1.0, "share"))
    for problem in report.problems:
        _terminal.note(problem)
    _write(report, outputs)
    _terminal.note_unusable(len(report.problems), plan.manifest)
    if tuning.tune:
        _tune(report, tuning)
    return _exit_code(plan, report)


def _exit_code(plan: BenchPlan, report: BenchReport) -> int:
    """Of a run with a manifest: 3 where an engine or a variant failed, else 2 where a row or a figure is missing."""
    if plan.manifest is None:
        return 0
    if set(report.skipped) - set(plan.skipped):
        return 3
    return 2 if report.problems or not all(result.has_figure for result in report.results) else 0


def _plan(
    bundles: tuple[str, ...], several: Several, what: What, how: MeasureOptions, tuning: TuneOptions
) -> BenchPlan:
    from wav2edge.measure.bench import plan as bench_plan
    from wav2edge.measure.bench import run as bench

    _check(several, what, tuning)
    opened = [_options.open_bundle(name) for name in bundles or (None,)]
    threads = _options.threads_or_default(several.threads)
    chosen, skipped = bench_plan.configurations(
        opened,
        threads,
        only_engines=several.engine,
        only_variants=several.variant,
        device=several.device,
        checkpoints=[Path(path) for path in what.checkpoint],
    )
    for peer, directory in what.peers:
        if peer != "whisper":
            raise InputError(f"--with {peer}: only whisper is known")
        chosen += bench_plan.whisper_configurations(Path(directory), threads, opened[0].spec.language)
    if how.baseline is not None and how.baseline not in {one.name for one in chosen}:
        names = ", ".join(one.name for one in chosen)
        raise InputError(f"--baseline {how.baseline}: it is not among what is measured; choose from {names}")
    lengths, runs, limit = (
        (bench.QUICK_LENGTHS, bench.QUICK_RUNS, bench.QUICK_LIMIT) if how.quick else (bench_plan.LENGTHS, 50, 10.0)
    )
    return bench_plan.BenchPlan(
        tuple(chosen),
        tuple(skipped),
        lengths=tuple(sorted(what.seconds)) or lengths,
        runs=how.runs or runs,
        limit=how.limit or limit,
        manifest=None if what.manifest is None else Path(what.manifest),
        clips=what.clips,
        baseline=how.baseline,
    )


def _check_alone() -> None:
    """Raise InputError for every other option: --compare, which measures nothing, has no use for it."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE and context.params.get(name) != ()
        if given and name != "compare":
            shown = parameter.opts[0] if isinstance(parameter, click.Option) else "-m"
            raise InputError(f"--compare prints two reports side by side; {shown} is for measuring")


def _check(several: Several, what: What, tuning: TuneOptions) -> None:
    """Raise InputError for options that need others."""
    _options.check_device(several)
    if what.clips is not None and what.manifest is None:
        raise InputError("--clips picks recordings of a manifest; add --manifest MANIFEST")
    if several.device is not None and tuning.tune:
        raise InputError("--tune chooses an engine and variant for every command, not a device; leave --device out")
    if (tuning.max_wer_rise is not None or tuning.max_latency is not None) and not tuning.tune:
        raise InputError("--max-wer-rise and --max-latency limit what --tune chooses; add --tune")
    if tuning.max_wer_rise is not None and what.manifest is None:
        raise InputError("--max-wer-rise needs recordings with text or labels; add --manifest MANIFEST")
    for path in what.checkpoint:
        if not Path(path).is_dir():
            raise InputError(f"--checkpoint {path}: no such directory")


def _amount(plan: BenchPlan) -> str:
    """What is measured, and how long that may take where it takes minutes."""
    from wav2edge.measure.bench.turns import longest

    count = len(plan.configurations)
    what = f"measuring {count} engine and variant pair{'s' if count > 1 else ''} here"
    minutes = longest(count, len(plan.lengths), plan.limit) / 60
    return f"{what}; up to about {minutes:.0f} min (--quick: a look in less)" if minutes >= 1.5 else what


def _write(report: BenchReport, outputs: Outputs) -> None:
    from wav2edge.measure.bench import document, page, table
    from wav2edge.runtime import files

    folder = None if outputs.report is None else Path(outputs.report)
    if outputs.json != "-":
        _terminal.out(table.text_table(report))
    _terminal.write_json(document.to_json(report), outputs.json)
    written = [(outputs.csv, table.comma_separated), (outputs.markdown, table.markdown)]
    if folder is not None:
        _terminal.write_json(document.to_json(report), folder / "bench.json")
        written += [(str(folder / "bench.csv"), table.comma_separated), (str(folder / "bench.md"), table.markdown)]
        written += [(str(folder / "index.html"), page.page)]
    for path, render in written:
        if path is not None:
            files.write_whole(Path(path), render(report))
    if folder is not None:
        _terminal.note(f"the page with plots is {folder / 'index.html'}")


def _tune(report: BenchReport, tuning: TuneOptions) -> None:
    """Keep the best result of each bundle inside the budget as the choice for this machine."""
    from wav2edge.measure.bench import tuning as tunings
    from wav2edge.runtime.bundle.read import MANIFEST, Bundle

    for path in dict.fromkeys(result.bundle for result in report.results):
        if not (Path(path) / MANIFEST).is_file():
            continue  # a Whisper model: nothing of ours to choose
        bundle = Bundle.open(path)
        if left_out := tunings.unjudged(report, bundle):
            what = ", ".join(f"{each.engine}/{each.variant}" for each in left_out)
            _terminal.note(f"{path}: may lose words on this processor, so not chosen without --manifest: {what}")
        chosen, file = tunings.keep(report, bundle, tuning.max_wer_rise, tuning.max_latency)
        _terminal.note(f"{path} now runs {chosen.variant} on {chosen.engine} here ({file})")

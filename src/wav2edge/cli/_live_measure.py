"""``wav2edge listen --measure``: the figures of a live run as a table, JSON or a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from wav2edge.measure import live_trial, manifest, scoring
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.runtime.live.capture import CaptureSettings
from wav2edge.runtime.live.transcriber import LiveTranscriber

from . import _tables, _terminal
from ._progress import Progress

if TYPE_CHECKING:
    from .listen import Measure, Sound


def run(live: LiveTranscriber, sound: Sound, measure: Measure, json: str | None) -> int:
    """Play the manifest, print the report."""
    assert measure.measure is not None
    rows = manifest.read(measure.measure)
    # What the report needs is looked for before minutes of playing.
    scoring.score(["word"], ["word"], scoring.DEFAULT_NORMALIZATION)
    if measure.plot:
        check_plot(Path(measure.plot))
    with Progress() as progress:

        def played(done: int, total: int) -> None:
            progress.update("clips played", done, total)

        if measure.player:
            capture = CaptureSettings(device=sound.microphone, rate=sound.rate)
            result = live_trial.play_microphone(live, rows, measure.player, capture, played)
        else:
            result = live_trial.play_files(live, rows, sound.fast, played)
        report = live_trial.report(live, result)
    _terminal.write_json(report, json)
    if json != "-":
        _terminal.out(table(report))
    if measure.plot:
        plot(result, Path(measure.plot))
    return 0


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    corpora = report["corpora"]
    rows: list[tuple[str, list[str]]] = [("", list(corpora))]

    def add(name: str, show: Any) -> None:
        rows.append((name, [show(figures) for figures in corpora.values()]))

    add("clips, utterances", lambda f: f"{f['clips']}, {f['utterances']}")
    add("WER of finals %", lambda f: _percent(f["wer_finals"]["value"]))
    add("WER of whole clips %", lambda f: _percent(f["wer_batch"]["value"]))
    add("rise, points", lambda f: _percent(f["wer_rise"]["value"], "+"))
    add("  95 % interval", lambda f: f"{_percent(f['wer_rise']['low'], '+')} … {_percent(f['wer_rise']['high'], '+')}")
    for key, name in (
        ("first_text", "first text after the first word began, s"),
        ("emission", "word shown after it ended, s"),
        ("finalisation", "final after speech ended, s"),
    ):
        add(f"{name} (p50, p95)", lambda f, key=key: f"{_number(f[key]['p50'])}, {_number(f[key]['p95'])}")
    add("UPWR", lambda f: _number(f["upwr"]))
    add("stable words changed in partials", lambda f: str(f["stable_changed"]))
    add("stable words revised by finals", lambda f: f"{f['revised']} of {f['words']}")
    (_, corpora_names), *figures = rows
    lines = [_tables.table(("", *corpora_names), [(name, *cells) for name, cells in figures], indent="")]
    same, finals = report["finals_equal_to_transcribe"]
    lag = report["lag"]
    lines += [
        f"dropped: {report['dropped']:.2f} s of sound; source lost: {report['source_lost']} times",
        f"finals equal to transcribe of the recorded samples: {same} of {finals}",
        f"{report['engine']} {report['variant']}, features {'kept' if report['keeps_features'] else 'not kept'}: "
        f"{report['cpu_per_second']:.3f} CPU-seconds per second of sound, "
        f"lag p50 {_number(lag['p50'])} s, p95 {_number(lag['p95'])} s",
    ]
    return "\n".join(lines)


def check_plot(path: Path) -> None:
    """Raise EngineError without the extra [report], InputError when no image of that name can be made."""
    formats = _pyplot().Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in formats:
        raise InputError(f"{path}: a plot is saved as one of {', '.join('.' + name for name in sorted(formats))}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no such folder")


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise EngineError('a plot needs matplotlib; install it with `pip install "wav2edge[report]"`') from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot(result: live_trial.Trial, path: Path) -> None:
    """Latencies as cumulative curves, written to an image file; raises EngineError without the extra [report]."""
    import numpy as np

    from wav2edge.measure.live_quality import Utterances

    pyplot = _pyplot()
    found = Utterances()
    for timed in result.events:
        found.add(timed)
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, values in (
        ("word shown after it ended", found.emissions),
        ("final after speech ended", found.finalisations),
    ):
        if values:
            axes.plot(np.sort(values), np.linspace(0, 100, len(values)), label=name)
    axes.set_xlabel("seconds")
    axes.set_ylabel("% of cases")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _percent(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{100 * value:{sign}.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

"""``wav2edge listen --measure``: the figures of a live run as a table, JSON or a plot."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from wav2edge.measure import live_report, live_trial, manifest, scoring, tables
from wav2edge.measure.live_report import CorpusFigures, LiveReport, Percentiles
from wav2edge.runtime import remedies
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.runtime.live.capture import CaptureSettings
from wav2edge.runtime.live.transcriber import LiveTranscriber

from . import _terminal
from ._progress import Progress

if TYPE_CHECKING:
    from ._live_options import Measure, Sound


def run(live: LiveTranscriber, sound: Sound, measure: Measure, json: str | None) -> int:
    """Play the manifest, print the report."""
    assert measure.measure is not None
    rows = manifest.read(measure.measure)
    # Missing packages are reported before minutes of playing.
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
        report = live_report.report(live, result)
    _terminal.write_json(report.to_json(), json)
    if json != "-":
        _terminal.out(table(report))
    if measure.plot:
        plot(result, Path(measure.plot))
    return 0


def table(report: LiveReport) -> str:
    """The report for people."""
    rows: list[tuple[str, Callable[[CorpusFigures], str]]] = [
        ("clips, utterances", lambda f: f"{f.clips}, {f.utterances}"),
        ("WER of finals %", lambda f: _percent(f.wer_finals.value)),
        ("WER of whole clips %", lambda f: _percent(f.wer_batch.value)),
        ("rise, points", lambda f: _percent(f.wer_rise.value, "+")),
        ("  95 % interval", lambda f: f"{_percent(f.wer_rise.low, '+')} … {_percent(f.wer_rise.high, '+')}"),
        ("first text after the first word began, s (p50, p95)", lambda f: _pair(f.first_text)),
        ("word shown after it ended, s (p50, p95)", lambda f: _pair(f.emission)),
        ("final after speech ended, s (p50, p95)", lambda f: _pair(f.finalisation)),
        ("UPWR", lambda f: _number(f.upwr)),
        ("stable words changed in partials", lambda f: str(f.stable_changed)),
        ("stable words revised by finals", lambda f: f"{f.revised} of {f.words}"),
    ]
    cells = [(name, *map(show, report.corpora.values())) for name, show in rows]
    return "\n".join(
        (
            tables.table(("", *report.corpora), cells, indent=""),
            f"dropped: {report.dropped:.2f} s of sound; source lost: {report.source_lost} times",
            f"finals equal to transcribe of the recorded samples: {report.equal} of {report.finals}",
            f"{report.engine} {report.variant}, features {'kept' if report.keeps_features else 'not kept'}: "
            f"{report.cpu_per_second:.3f} CPU-seconds per second of sound, "
            f"lag p50 {_number(report.lag.p50)} s, p95 {_number(report.lag.p95)} s",
        )
    )


def check_plot(path: Path) -> None:
    """Raise EngineError without the extra [report], InputError when no image of that name can be made."""
    formats = _pyplot().Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in formats:
        raise InputError(f"{path}: a plot is saved as one of {', '.join('.' + name for name in sorted(formats))}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: no such folder")


def _pyplot() -> ModuleType:
    try:
        import matplotlib
    except ImportError as error:
        raise EngineError(f"a plot needs matplotlib; install it with `{remedies.install('report')}`") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot(result: live_trial.Playback, path: Path) -> None:
    """Latencies as cumulative curves, written to an image file; raises EngineError without the extra [report]."""
    import numpy as np

    from wav2edge.measure.live_quality import LiveQuality

    pyplot = _pyplot()
    found = LiveQuality()
    for timed in result.stream.events:
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
    if axes.lines:
        axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _pair(found: Percentiles) -> str:
    return f"{_number(found.p50)}, {_number(found.p95)}"


def _percent(value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.2f}" if math.isfinite(value) else "-"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"

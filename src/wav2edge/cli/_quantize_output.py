"""What ``wav2edge quantize`` prints and writes: a few lines for each variant, and the page."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime.errors import InputError

from . import _terminal

if TYPE_CHECKING:
    from wav2edge.calibration.options import Outcome
    from wav2edge.calibration.quantize import Calibration
    from wav2edge.runtime.bundle.read import Bundle

_PAGE = "index.html"
_FIGURES = "quantize.json"


def page_of(bundle: Bundle, report: str | None) -> Path:
    """The page to write; raises InputError before the work where it cannot be. ``--report x.html``: that file alone."""
    path = bundle.path.resolve()
    place = path.with_name(f"{path.name}.quantization") if report is None else Path(report)
    page = place if place.suffix == ".html" else place / _PAGE
    folder = page.parent if page == place else place if place.is_dir() else place.absolute().parent
    if page.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{page}: the report cannot be written there; name a folder to be made with --report")
    return page


def written(place: Path) -> list[tuple[str, str]]:
    """The files that ``write`` writes, each with the option that names its place."""
    names = [place, place.with_name(_FIGURES)] if place.name == _PAGE else [place]
    return [("--report", str(name)) for name in names]


def write(made: Calibration, place: Path, json: str | None) -> None:
    """Write the page, and the figures beside it; raises InputError. json: as given on the command line."""
    from wav2edge.calibration import report
    from wav2edge.runtime import files

    try:
        if place.name == _PAGE:
            place.parent.mkdir(exist_ok=True)
            _terminal.write_json(made.record, place.with_name(_FIGURES))
        files.write_whole(place, report.page(made))
    except OSError as error:
        done = "is as it was" if made.refused is not None else "holds the new variants"
        why = f"the report cannot be written ({error.strerror}); {made.bundle.path} {done}"
        raise InputError(f"{place}: {why}") from error
    if json != "-":
        _terminal.out(f"report: {place}")


def show(outcome: Outcome) -> None:
    """Print a variant's verdict, figures and layers in float."""
    measured, variant = outcome.measured, outcome.variant
    timed = f"{outcome.latency_ms:.1f} ms, {outcome.latency_ratio:.2f} of fp32 on {measured.engine}"
    if math.isnan(outcome.latency_ratio):
        timed = "not timed here"
    _terminal.out(f"{variant.name}: {outcome.verdict.text}")
    _terminal.out(
        f"  size {variant.bytes / 1e6:.1f} MB; {measured.figure.figure.short} {measured.figure}, "
        f"{measured.change} against fp32 on the same clips"
    )
    alike = f"{measured.kind} with fp32 {measured.likeness:.4f}"
    if measured.kind == "labels":
        alike = f"token agreement {100 * measured.likeness:.2f} %"
    _terminal.out(f"  {alike}, SQNR {measured.sqnr_db:.1f} dB; {timed}")
    kept = ", ".join(f"{layer}: {why}" for layer, why in outcome.kept_float.items())
    _terminal.out(f"  in float: {kept or 'nothing'}")
    if outcome.removed:
        _terminal.out(f"  removed: {', '.join(f'{path}: {what}' for path, what in outcome.removed.items())}")

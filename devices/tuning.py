"""What ``bench --tune`` measured, kept in the cache directory for this bundle on this machine.

A tuning is found again only while both stay the same: another variant in the bundle, another processor, GPU, driver or
number of usable cores makes it stale, and the profile decides again.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime import cache
from ..runtime.bundle.read import Bundle
from ..runtime.errors import GateRefused
from .detect import Machine

_FORMAT = 1


@dataclass(frozen=True)
class Cell:
    """One engine × variant as measured.

    latency: p50 of one run in seconds, on ``seconds`` of audio. wer: word error rate in per cent on the manifest that
    was given, wer_rise: points above fp32 on the same clips; None where no manifest was. joules: for each second of
    audio, where the machine tells.
    """

    engine: str
    variant: str
    threads: int
    latency: float
    seconds: float = 10.0
    wer: float | None = None
    wer_rise: float | None = None
    joules: float | None = None


@dataclass(frozen=True)
class Tuning:
    """The choice for a bundle on a machine. date: ISO 8601. cells: all that was measured; power_mode: in what mode."""

    chosen: Cell
    cells: tuple[Cell, ...]
    date: str
    power_mode: str | None = None


def save(bundle: Bundle, machine: Machine, tuning: Tuning) -> Path:
    """Keep a tuning; returns its file. Raises InputError where the cache cannot be written."""
    path = _path(bundle, machine)
    values = {"format": _FORMAT, "bundle": fingerprint(bundle), **dataclasses.asdict(tuning)}
    cache.atomic_write_json(path, values)
    return path


def load(bundle: Bundle, machine: Machine) -> Tuning | None:
    """The tuning of this bundle on this machine; None where there is none that can be read."""
    values = cache.read_json(_path(bundle, machine))
    if values is None or values.get("format") != _FORMAT:
        return None
    try:
        cells = tuple(_cell(cell) for cell in values["cells"])
        return Tuning(_cell(values["chosen"]), cells, str(values["date"]), values.get("power_mode"))
    except (KeyError, TypeError, AttributeError):
        return None


def forget(bundle: Bundle, machine: Machine) -> bool:
    """Remove the tuning; whether there was one."""
    path = _path(bundle, machine)
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def within_budget(cells: Iterable[Cell], max_wer_rise: float | None = None, max_latency: float | None = None) -> Cell:
    """The best of measured cells inside a budget.

    max_wer_rise: points of word error rate above fp32; max_latency: seconds for the cell's audio. Where words are
    bounded, or nothing is, the fastest wins; where only time is, the one that loses fewest words (then the fastest).
    Raises GateRefused, naming the cell that came closest, when none is inside.
    """
    measured = tuple(cells)
    if not measured:
        raise GateRefused("nothing was measured, so nothing can be chosen")
    words_known = [cell for cell in measured if cell.wer_rise is not None]
    if max_wer_rise is not None and not words_known:
        raise GateRefused("--max-wer-rise needs words: name a manifest with texts, so that their errors can be counted")
    inside = [
        cell
        for cell in measured
        if (max_wer_rise is None or (cell.wer_rise is not None and cell.wer_rise <= max_wer_rise))
        and (max_latency is None or cell.latency <= max_latency)
    ]
    if inside:
        if max_latency is not None and max_wer_rise is None:
            return min(inside, key=lambda cell: (_words_lost(cell), cell.latency))
        return min(inside, key=lambda cell: cell.latency)
    within_words = [cell for cell in words_known if max_wer_rise is None or (cell.wer_rise or 0.0) <= max_wer_rise]
    closest = min(within_words or measured, key=lambda cell: cell.latency if within_words else _words_lost(cell))
    rise = "" if closest.wer_rise is None else f", {closest.wer_rise:+.2f} points of WER"
    wanted = [f"{max_wer_rise:g} points of WER"] if max_wer_rise is not None else []
    wanted += [f"{max_latency * 1000:g} ms"] if max_latency is not None else []
    raise GateRefused(
        f"nothing stays inside {' and '.join(wanted)}; closest is {closest.variant} on {closest.engine} with "
        f"{closest.latency * 1000:.1f} ms{rise}"
    )


def fingerprint(bundle: Bundle) -> str:
    """What tells one bundle from another, wherever it lies: the digests of all its variants' files."""
    digest = hashlib.sha256()
    for variant in sorted(bundle.variants, key=lambda variant: variant.name):
        for name in sorted(variant.files):
            digest.update(f"{variant.name}\0{variant.sha256[name]}\n".encode())
    return digest.hexdigest()[:20]


def _words_lost(cell: Cell) -> float:
    return float("inf") if cell.wer_rise is None else max(0.0, cell.wer_rise)


def _path(bundle: Bundle, machine: Machine) -> Path:
    cpu = machine.cpu
    parts = {
        "bundle": fingerprint(bundle),
        "cpu": [cpu.architecture, cpu.name, *sorted(cpu.features), cpu.threads],
        "gpus": [[gpu.name, gpu.driver] for gpu in machine.gpus],
        "model": machine.model,
    }
    return cache.root() / "tuning" / f"{cache.key(parts)}.json"


def _cell(values: dict[str, Any]) -> Cell:
    known = {field.name for field in dataclasses.fields(Cell)}
    return Cell(**{key: value for key, value in values.items() if key in known})

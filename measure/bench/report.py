"""What a benchmark found: plain figures that are written as JSON, read back, and compared between machines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.errors import InputError

FORMAT = 1
_CALM, _ENOUGH_FOR_A_RANGE = 1.1, 4
REFERENCE_SECONDS = 10.0
"""The length that verdicts and the table's ratios are taken at, where it was measured."""


@dataclass(frozen=True)
class Timing:
    """Runs of one cell at one length. seconds: of audio. first, times: seconds that runs took.

    trios: for each turn the baseline's time just before it, its own, and the baseline's just after it; none for the
    baseline itself.
    """

    seconds: float
    first: float
    times: tuple[float, ...]
    trios: tuple[tuple[float, float, float], ...] = ()

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster than the baseline, by those turns that a noisy neighbour left alone.

        They are the turns with both times of the baseline within a tenth of its best; where a neighbour leaves fewer
        than half, the half whose slower time of the baseline is the least. On a quiet machine that is all of them.
        The turn's own time chooses nothing.
        """
        if not self.trios:
            return ()
        best = float(np.percentile([min(before, after) for before, _, after in self.trios], 10))
        slower = sorted(self.trios, key=lambda trio: max(trio[0], trio[2]))
        calm = sum(max(before, after) <= _CALM * best for before, _, after in slower)
        kept = slower[: max(3, -(-len(slower) // 2), calm)]
        return tuple((before + after) / 2 / own for before, own, after in kept)

    def percentile(self, share: float) -> float:
        """The time in seconds that ``share`` percent of the runs stay below."""
        return float(np.percentile(self.times, share))

    @property
    def rtf(self) -> float:
        """Real-time factor: median time for each second of audio; below 1 is faster than real time."""
        return self.percentile(50) / self.seconds


@dataclass(frozen=True)
class CellResult:
    """One engine × variant of one bundle.

    load: seconds until the engine was ready, its library's import included. memory: peak bytes of the worker process;
    device_memory: bytes that it added on the GPU. energy: joules for each second of audio, of what the machine
    measures. wer, wer_rise: fractions; the rise is against the bundle's fp32. precision: how it computes.
    """

    bundle: str
    engine: str
    variant: str
    threads: int
    load: float
    timings: tuple[Timing, ...]
    device: str | None = None
    precision: str = ""
    file_bytes: int | None = None
    memory: int | None = None
    device_memory: int | None = None
    energy: float | None = None
    wer: float | None = None
    wer_low: float | None = None
    wer_high: float | None = None
    wer_rise: float | None = None

    @property
    def name(self) -> str:
        """As ``onnxruntime/fp32``, with the device where one was named."""
        return f"{self.engine}{f'({self.device})' if self.device else ''}/{self.variant}"

    def timing(self, seconds: float) -> Timing | None:
        """The runs at one length."""
        return next((timing for timing in self.timings if timing.seconds == seconds), None)


@dataclass(frozen=True)
class Skipped:
    """What was not measured, and why."""

    name: str
    reason: str


def grouped(skipped: Iterable[Skipped]) -> list[str]:
    """As ``tensorrt, tensorrt-rtx: no driver``: each reason once."""
    names: dict[str, list[str]] = {}
    for item in skipped:
        names.setdefault(item.reason, []).append(item.name)
    return [f"{', '.join(dict.fromkeys(found))}: {reason}" for reason, found in names.items()]


@dataclass(frozen=True)
class Report:
    """Everything a run of the benchmark found.

    machine: model, cpu, memory, gpus, power_mode … as ``devices.detect`` tells. versions: of the engines' libraries.
    energy_source: what the joules cover, None where the machine tells none. settings: how it was measured.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    cells: tuple[CellResult, ...]
    skipped: tuple[Skipped, ...] = ()
    baseline: str | None = None
    energy_source: str | None = None
    created: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def lengths(self) -> tuple[float, ...]:
        """The lengths measured, in seconds of audio."""
        return tuple(sorted({timing.seconds for cell in self.cells for timing in cell.timings}))

    @property
    def reference_length(self) -> float | None:
        """The length that ratios are taken at: 10 s, else the longest."""
        return shown_length(self.lengths) if self.lengths else None

    def baseline_for(self, cell: CellResult) -> CellResult | None:
        """The baseline of a cell's bundle (a Whisper model is held against the first bundle's)."""
        named = [other for other in self.cells if other.name == self.baseline]
        return next((other for other in named if other.bundle == cell.bundle), named[0] if named else None)

    def ratio(self, cell: CellResult, to: CellResult | None, seconds: float) -> float | None:
        """How many times faster than another cell at one length.

        By the median over the turns that were held against the baseline (``Timing.ratios``), so that a neighbour's
        burst moves nothing; by medians of times where there are none, as in a report of an older version.
        """
        ours = cell.timing(seconds)
        theirs = to.timing(seconds) if to is not None else None
        if to is None or ours is None or theirs is None:
            return None
        mine, other = self._speed(cell, seconds), self._speed(to, seconds)
        if mine is not None and other is not None and self.baseline_for(cell) is self.baseline_for(to):
            return mine / other
        return theirs.percentile(50) / ours.percentile(50)

    def ratio_range(self, cell: CellResult, seconds: float) -> tuple[float, float] | None:
        """The middle half of a cell's ``Timing.ratios``; None where they are too few to have one."""
        timing = cell.timing(seconds)
        if timing is None or len(timing.ratios) < _ENOUGH_FOR_A_RANGE:
            return None
        low, high = np.percentile(timing.ratios, (25, 75))
        return float(low), float(high)

    def _speed(self, cell: CellResult, seconds: float) -> float | None:
        """In multiples of the baseline's; None where no turn was held against it."""
        if cell is self.baseline_for(cell):
            return 1.0
        timing = cell.timing(seconds)
        return float(np.median(timing.ratios)) if timing is not None and timing.ratios else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the percentiles beside the times they come from."""
        cells = []
        for cell in self.cells:
            values = dataclasses.asdict(cell)
            for timing, written in zip(cell.timings, values["timings"]):
                written["times"] = [round(t, 6) for t in timing.times]
                written["trios"] = [[round(t, 6) for t in trio] for trio in timing.trios]
                written["runs"] = len(timing.times)
                written.update({f"p{share}": round(timing.percentile(share), 6) for share in (50, 95, 99)})
                written["rtf"] = round(timing.rtf, 5)
                ratio = self.ratio(cell, self.baseline_for(cell), timing.seconds)
                low, high = self.ratio_range(cell, timing.seconds) or (None, None)
                for name, value in (("ratio", ratio), ("ratio_low", low), ("ratio_high", high)):
                    written[name] = None if value is None else round(value, 4)
            cells.append({"name": cell.name, **values})
        return {"format": FORMAT, **{k: v for k, v in dataclasses.asdict(self).items() if k != "cells"}, "cells": cells}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Report:
        """Read what ``to_json`` wrote; raises InputError for anything else."""
        try:
            if int(values["format"]) > FORMAT:
                raise InputError(f"benchmark format {values['format']} is newer than this wav2edge reads; upgrade it")
            cells = []
            for cell in values["cells"]:
                timings = tuple(
                    Timing(t["seconds"], t["first"], tuple(t["times"]), tuple(map(tuple, t.get("trios", ()))))
                    for t in cell["timings"]
                )
                if not all(timing.times for timing in timings):
                    raise ValueError("a cell without times")
                cells.append(CellResult(**{**_known(CellResult, cell), "timings": timings}))
            return cls(
                **{
                    **_known(cls, values),
                    "cells": tuple(cells),
                    "skipped": tuple(Skipped(s["name"], s["reason"]) for s in values.get("skipped", ())),
                    "notes": tuple(values.get("notes", ())),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"no benchmark of `wav2edge bench --json` ({error!r})") from error


def shown_length(lengths: Sequence[float]) -> float:
    """The length that ratios and verdicts are taken at: 10 s where it is measured, else the longest."""
    return REFERENCE_SECONDS if REFERENCE_SECONDS in lengths else max(lengths)


def read(path: Path) -> Report:
    """Read a report that ``bench --json`` wrote; raises InputError."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as JSON ({error}); write it with `wav2edge bench --json FILE`"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: no benchmark; write one with `wav2edge bench --json FILE`")
    return Report.from_json(values)


def verdicts(report: Report) -> list[str]:
    """One sentence for each engine's fastest cell: how it stands to torch, to ONNX Runtime's fp32, and in words."""
    seconds = report.reference_length
    if seconds is None:
        return []
    lines = []
    for cell in _fastest_of_each_engine(report.cells, seconds):
        facts = []
        for label, other in _references(report, cell):
            if other.name != cell.name and (ratio := report.ratio(cell, other, seconds)) is not None:
                facts.append(f"{ratio:.1f}× {label}" if ratio >= 0.95 else f"{ratio:.2f}× {label}")
        if cell.wer_rise is not None:
            facts.append(f"WER {100 * cell.wer_rise:+.1f}")
        elif cell.wer is not None:
            facts.append(f"WER {100 * cell.wer:.1f} %")
        timing = cell.timing(seconds)
        if timing is not None:
            facts.append(f"{1 / timing.rtf:.3g}× real time")
        several = len({other.bundle for other in report.cells}) > 1
        on = f" ({Path(cell.bundle).name})" if several else ""
        device = f" ({cell.device})" if cell.device else ""
        lines.append(f"{cell.variant} on {cell.engine}{device}{on}: {', '.join(facts)}")
    return lines


def _fastest_of_each_engine(cells: Sequence[CellResult], seconds: float) -> list[CellResult]:
    best: dict[tuple[str, str, str | None], CellResult] = {}
    for cell in cells:
        key = (cell.bundle, cell.engine, cell.device)
        if cell.timing(seconds) and (key not in best or _median(cell, seconds) < _median(best[key], seconds)):
            best[key] = cell
    return sorted(best.values(), key=lambda cell: _median(cell, seconds))


def _references(report: Report, cell: CellResult) -> list[tuple[str, CellResult]]:
    """The cells that people compare with: torch and ONNX Runtime's fp32 of the same bundle, else the baseline."""
    found = []
    for label, name in (("torch", "torch/fp32"), ("onnxruntime fp32", "onnxruntime/fp32")):
        same = [c for c in report.cells if c.name == name]
        other = next((c for c in same if c.bundle == cell.bundle), same[0] if same else None)
        if other is not None:
            found.append((label, other))
    baseline = report.baseline_for(cell)
    if baseline is not None and all(baseline is not other for _, other in found):
        found.append((baseline.name, baseline))
    return found


def _median(cell: CellResult, seconds: float) -> float:
    timing = cell.timing(seconds)
    return timing.percentile(50) if timing else float("inf")


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in dataclasses.fields(kind)}
    return {key: value for key, value in values.items() if key in names}

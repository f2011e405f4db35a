"""What ``bench --tune`` measured, kept in the cache directory for this bundle on this machine.

A tuning is found again only while both stay the same: another variant in the bundle, another processor, GPU, driver or
number of usable cores makes it stale, and the profile decides again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..runtime import cache, documents
from ..runtime.bundle.read import Bundle
from ..runtime.errors import GateRefused, InputError
from ..runtime.threads import check_threads
from .detect import Machine

_FORMAT = 2


@dataclass(frozen=True)
class Measurement:
    """One engine × variant as measured.

    latency: p50 of one run in seconds, on ``seconds`` of audio. wer: word error rate in per cent on the manifest that
    was given; wer_rise: points above fp32 on the same clips, or by how many points the figure of another head is worse;
    None without a manifest. joules: for each second of audio, where the machine measures it.
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
    """The choice for a bundle on a machine, and all measurements that it was made from. date: ISO 8601."""

    chosen: Measurement
    measurements: tuple[Measurement, ...]
    date: str
    power_mode: str | None = None


class _TuningRequired(TypedDict):
    chosen: dict[str, object]
    measurements: list[dict[str, object]]
    date: str


class TuningJson(_TuningRequired, total=False):
    """A tuning's file, without what it is found by; its measurements hold the fields of ``Measurement``."""

    power_mode: str | None


def save(bundle: Bundle, machine: Machine, tuning: Tuning) -> Path:
    """Keep a tuning; returns its file.

    Raises InputError where the cache cannot be written, or others may write to it.
    """
    cache.directory("tuning")
    path = _path(bundle, machine)
    values = {"format": _FORMAT, "bundle": fingerprint(bundle), **dataclasses.asdict(tuning)}
    cache.atomic_write_json(path, values)
    return path


def load(bundle: Bundle, machine: Machine) -> Tuning | None:
    """The tuning of this bundle on this machine; None where there is none that can be read, or others may write it."""
    if cache.others_may_write():
        return None
    values = cache.read_json(_path(bundle, machine))
    if values is None or values.get("format") != _FORMAT:
        return None
    try:
        found = documents.check(values, TuningJson, "the tuning is damaged")
        measurements = tuple(_measurement(one) for one in found["measurements"])
        return Tuning(_measurement(found["chosen"]), measurements, found["date"], found.get("power_mode"))
    except (InputError, TypeError):
        return None


def forget(bundle: Bundle, machine: Machine) -> bool:
    """Remove the tuning; whether there was one."""
    path = _path(bundle, machine)
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def within_budget(
    measurements: Iterable[Measurement], max_wer_rise: float | None = None, max_latency: float | None = None
) -> Measurement:
    """The best measurement inside a budget.

    max_wer_rise: points of word error rate above fp32; max_latency: seconds for the measured length of audio. Where
    the rise is bounded, or nothing is, the fastest wins; where only the latency is, the lowest rise, then the fastest.
    Raises GateRefused, naming the measurement that came closest, when none is inside.
    """
    measured = tuple(measurements)
    if not measured:
        raise GateRefused("nothing was measured, so nothing can be chosen; measure an engine that runs here")
    if max_wer_rise is not None and all(one.wer_rise is None for one in measured):
        raise GateRefused(
            "max_wer_rise needs word error rates or another figure; measure with a manifest that has texts or labels"
        )
    accurate = [one for one in measured if max_wer_rise is None or _rise(one) <= max_wer_rise]
    inside = [one for one in accurate if max_latency is None or one.latency <= max_latency]
    if inside and max_latency is not None and max_wer_rise is None:
        return min(inside, key=lambda one: (_rise(one), one.latency))
    if inside:
        return min(inside, key=lambda one: one.latency)
    rated = [one for one in accurate if one.wer_rise is not None]
    closest = (
        min(rated, key=lambda one: one.latency) if rated else min(measured, key=lambda one: (_rise(one), one.latency))
    )
    rise = "" if closest.wer_rise is None else f", {closest.wer_rise:+.2f} points of WER"
    wanted = [f"{max_wer_rise:g} points of WER"] if max_wer_rise is not None else []
    wanted += [f"{max_latency * 1000:g} ms"] if max_latency is not None else []
    raise GateRefused(
        f"nothing stays inside {' and '.join(wanted)}; closest is {closest.variant} on {closest.engine} with "
        f"{closest.latency * 1000:.1f} ms{rise}; allow more, or measure other variants"
    )


def fingerprint(bundle: Bundle) -> str:
    """What identifies a bundle, wherever it is: the digests of all its variants' files."""
    digest = hashlib.sha256()
    for variant in sorted(bundle.variants, key=lambda variant: variant.name):
        for name in sorted(variant.files):
            digest.update(f"{variant.name}\0{variant.sha256[name]}\n".encode())
    return digest.hexdigest()[:20]


def _rise(measurement: Measurement) -> float:
    """Points of WER above fp32; infinite where they are not known."""
    rise = measurement.wer_rise
    return float("inf") if rise is None or math.isnan(rise) else max(0.0, rise)


def _path(bundle: Bundle, machine: Machine) -> Path:
    parts = {"bundle": fingerprint(bundle), **machine.identity}
    return cache.root() / "tuning" / f"{cache.key(parts)}.json"


def _measurement(values: Mapping[str, object]) -> Measurement:
    documents.check(values, Measurement, "the measurement is damaged")
    measurement = documents.build(Measurement, values)
    check_threads(measurement.threads)
    return measurement

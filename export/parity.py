"""The parity gate: compare the written graphs with torch on each clip alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..runtime import engines
from ..runtime.audio import loudness, read
from ..runtime.bundle import embedded
from ..runtime.bundle.documents import ParityPointJson
from ..runtime.bundle.read import Bundle, Variant
from ..runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED, OUTPUT_LENGTHS, ModelSpec
from ..runtime.engines import EngineOptions, Session
from ..runtime.errors import GateRefused

TOLERANCE = 1e-3
"""Largest difference allowed, as a share of the largest reference value (of 1 where that is smaller).

The embedded model differs by 6e-6 of it at most (its bundle.json lists all points), from the order of sums. A graph
without its mask fails (tests/export/test_pipeline.py)."""
RAGGED = "batch of 3, ragged"
LOG_MEL_SHORTEST = 0.1
"""Seconds of the shortest clip that is compared where the front end is log-mel, whose bands are divided by their own
deviation: over two frames it can be as small as float32's rounding. On 40 cuts of the shipped speech and a random
Wav2Vec2-BERT the largest difference was 15 times the limit at 35 ms, 0.28 of it at 0.1 s and 0.08 at 1 s."""
LENGTHS = 100
"""How many clip lengths ``frames()`` is checked at: the 40 shortest, and others up to 12 000 samples more."""

Clip = NDArray[np.float32]
Values = NDArray[np.float32]
Reference = Callable[[Clip], dict[str, Values]]
"""Torch on one clip [samples] alone: outputs by name, without the batch axis."""


@dataclass(frozen=True)
class Case:
    """One point of the gate."""

    name: str
    clips: tuple[Clip, ...]
    """Clips [samples] that run as one batch."""
    padding: float = 0.0
    """The value of the samples after the end of the shorter ones."""


def cases(spec: ModelSpec) -> tuple[Case, ...]:
    """The points: shortest to 30 s, ragged batches, silence, loud and quiet speech, padding of any value."""
    speech = np.concatenate(speech_clips(spec.sample_rate))
    rate, shortest = spec.sample_rate, spec.min_samples
    if spec.frontend == "log-mel":
        shortest = max(shortest, int(LOG_MEL_SHORTEST * rate))

    def cut(seconds: float, start: float = 0.0) -> Clip:
        first = int(start * rate)
        return np.take(speech, np.arange(first, first + max(int(seconds * rate), shortest)), mode="wrap")

    second, loud = cut(1.0), cut(3.0, 2.0)
    loud = loud / np.abs(loud).max()
    return (
        Case("shortest clip", (cut(0.0, 1.0),)),
        Case("1 s", (second,)),
        Case("7.3 s", (cut(7.3),)),
        Case("30 s", (cut(30.0),)),
        Case(RAGGED, (cut(7.3, 1.0), cut(1.0, 3.0), cut(3.7, 5.0))),
        Case("batch of 3 with the shortest", (cut(0.0, 2.0), cut(2.0, 4.0), cut(1.3, 6.0))),
        Case("silence", (np.zeros(max(2 * rate, shortest), np.float32),)),
        Case("loud speech, peak 1.0", (loud,)),
        Case("quiet speech, peak 0.001", (loud * np.float32(1e-3),)),
        Case("batch of 2, padded with noise of 3.0", (cut(2.5, 4.0), cut(1.1, 7.0)), padding=3.0),
        Case("batch of 2, padded with NaN", (cut(1.7, 5.5), cut(0.9, 8.0)), padding=float("nan")),
    )


def check(
    bundle: Bundle, variant: Variant, reference: Reference, engine: str = "onnxruntime"
) -> tuple[ParityPointJson, ...]:
    """Run every point in an engine; the last rows compare the cut stages with the whole, and ``frames()``.

    The difference must stay within ``TOLERANCE``, and every frame whose two best labels are further apart than twice
    the limit must get the same token.
    """
    spec = bundle.spec
    session = engines.load(bundle, variant, engine, "full", EngineOptions())
    points = []
    ragged: tuple[Case, engines.Arrays] | None = None
    for case in cases(spec):
        got = session.run(_feeds(case))
        if case.name == RAGGED:
            ragged = case, got
        expected = [reference(clip) for clip in case.clips]
        points.append(compare(case, spec, got, expected))
    if bundle.spec.timed or "frontend" in variant.graphs:
        points.append(_frame_counts(bundle, variant, engine, session))
    # One session at a time: each holds the weights.
    session.close()
    assert ragged is not None
    if "encoder" in variant.graphs:
        points.append(_stages(bundle, variant, engine, *ragged))
    return tuple(points)


def refuse_mismatch(points: Sequence[ParityPointJson], reference: str = "torch") -> None:
    """Raise GateRefused, naming the worst point, unless all passed; reference: what was compared with."""
    failed = [point for point in points if not point["passed"]]
    if failed:
        worst = max(failed, key=lambda point: point["difference"] / point["limit"] if point["limit"] else np.inf)
        raise GateRefused(
            f"parity: {len(failed)} of {len(points)} points differ from {reference}, the worst at {worst['name']!r}: "
            f"{worst['difference']:.2e} where {worst['limit']:.2e} is allowed; no bundle was written"
        )


def compare(case: Case, spec: ModelSpec, got: engines.Arrays, expected: Sequence[dict[str, Values]]) -> ParityPointJson:
    """One point: an engine's batch against torch's clips one by one."""
    difference, largest, frames = 0.0, 0.0, 0
    shapes_agree = True
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for row, clip in enumerate(expected):
        for output in spec.outputs:
            ours, torchs = np.asarray(got[output.name][row], np.float64), clip[output.name].astype(np.float64)
            if "frames" in output.axes:
                count = int(got[OUTPUT_LENGTHS][row])
                shapes_agree &= count == len(torchs) == spec.frames(len(case.clips[row]))
                ours, torchs = ours[:count], torchs[:count]
                frames += count
            shapes_agree &= ours.shape == torchs.shape
            if ours.shape == torchs.shape:
                pairs.append((ours, torchs))
                difference = max(difference, _worst(ours, torchs))
                largest = max(largest, float(np.abs(torchs).max(initial=0.0)))
    limit = TOLERANCE * max(1.0, largest)
    tokens = None if spec.blank is None else _same_tokens(pairs, 2 * limit)
    passed = shapes_agree and difference <= limit and tokens in (None, 1.0)
    seconds = sum(len(clip) for clip in case.clips) / spec.sample_rate
    return ParityPointJson(
        name=case.name,
        batch=len(case.clips),
        seconds=round(seconds, 3),
        frames=frames,
        difference=difference,
        limit=limit,
        tokens=tokens,
        passed=passed,
    )


def _same_tokens(pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], margin: float) -> float:
    """Share of equal tokens among frames whose two best labels are further apart than ``margin``."""
    same = []
    for ours, torchs in pairs:
        top = np.sort(torchs, axis=1)
        clear = top[:, -1] - top[:, -2] > margin
        same.extend((ours.argmax(1) == torchs.argmax(1))[clear].tolist())
    return sum(same) / len(same) if same else 1.0


def _worst(ours: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Largest |ours - reference|; infinite where either holds NaN."""
    worst = float(np.abs(ours - reference).max(initial=0.0))
    return worst if np.isfinite(worst) else float("inf")


def _feeds(case: Case) -> engines.Arrays:
    lengths = np.array([len(clip) for clip in case.clips], dtype=np.int64)
    batch = np.full((len(case.clips), int(lengths.max())), case.padding, dtype=np.float32)
    for row, clip in zip(batch, case.clips):
        row[: len(clip)] = clip
    return engines.as_feeds(batch, lengths)


def _stages(bundle: Bundle, variant: Variant, engine: str, case: Case, whole: engines.Arrays) -> ParityPointJson:
    """Compare the encoder on the frontend's features with the full graph."""
    spec = bundle.spec
    feeds = _feeds(case)
    normalized = np.zeros_like(feeds["input_values"])
    for row, clip in zip(normalized, case.clips):
        row[: len(clip)] = loudness.measure([clip]).normalized(clip) if spec.normalize else clip
    frontend = engines.load(bundle, variant, engine, "frontend", EngineOptions())
    middle = frontend.run({NORMALIZED: normalized, INPUT_LENGTHS: feeds["input_lengths"]})
    frontend.close()
    encoder = engines.load(bundle, variant, engine, "encoder", EngineOptions(keep_graph=True))
    got = encoder.run({FEATURES: middle[FEATURES], FEATURE_LENGTHS: middle[FEATURE_LENGTHS]})
    encoder.close()
    rows = range(len(case.clips))
    clips = [{o.name: _own(whole, o.name, "frames" in o.axes, row) for o in spec.outputs} for row in rows]
    return {**compare(case, spec, got, clips), "name": "frontend, then encoder, against the whole"}


def _own(outputs: engines.Arrays, name: str, timed: bool, row: int) -> Values:
    values = np.asarray(outputs[name][row], dtype=np.float32)
    return values[: int(outputs[OUTPUT_LENGTHS][row])] if timed else values


def _frame_counts(bundle: Bundle, variant: Variant, engine: str, full: Session) -> ParityPointJson:
    """Compare ``frames()`` with the graph's number of frames, one clip at a time."""
    spec = bundle.spec
    timed = next((output.name for output in spec.outputs if "frames" in output.axes), None)
    session = full if timed else engines.load(bundle, variant, engine, "frontend", EngineOptions())
    first = spec.min_samples
    lengths = [first + step for step in range(40)]
    lengths += [first + 40 + (step * step * 7) // 2 for step in range(LENGTHS - len(lengths))]
    wrong = 0
    for samples in lengths:
        length = np.array([samples], dtype=np.int64)
        silence = np.zeros((1, samples), dtype=np.float32)
        if timed:
            outputs = full.run(engines.as_feeds(silence, length))
            found = {int(outputs[OUTPUT_LENGTHS][0]), int(outputs[timed].shape[1])}
            wrong += found != {spec.frames(samples)}
        else:
            outputs = session.run({NORMALIZED: silence, INPUT_LENGTHS: length})
            wrong += int(outputs[FEATURE_LENGTHS][0]) != int(outputs[FEATURES].shape[1])
    if not timed:
        session.close()
    seconds = round(sum(lengths) / spec.sample_rate, 3)
    name = f"frames() at {len(lengths)} lengths"
    return ParityPointJson(
        name=name,
        batch=1,
        seconds=seconds,
        frames=len(lengths),
        difference=float(wrong),
        limit=0.0,
        tokens=None,
        passed=wrong == 0,
    )


@functools.lru_cache(maxsize=1)
def speech_clips(rate: int) -> tuple[Clip, ...]:
    """The clips of real speech that ship with the package, at a rate in Hz; read once, and not to be changed."""
    manifest = embedded.clips_manifest()
    lines = manifest.read_text(encoding="utf-8").splitlines()
    clips = tuple(read.load(manifest.parent / json.loads(line)["path"], rate) for line in lines if line.strip())
    for clip in clips:
        clip.flags.writeable = False
    return clips

"""Proof that travels with the bundle: any engine × variant here against the outputs that were kept at export.

selftest.npz holds real clips in 16 bits, the outputs of the fp32 variant for each clip alone, and the text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import engines
from .audio import loudness
from .bundle.read import SELFTEST, Bundle, Variant
from .bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED, OUTPUT_LENGTHS, ModelSpec
from .engines import Arrays, EngineOptions, Session
from .errors import BundleError, EngineError, InputError
from .heads import ctc

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Tolerance:
    """What a variant of some precision may differ from fp32.

    difference: max |Δ| as a share of the largest reference value (of 1 where that is smaller). cosine: lowest cosine
    between the outputs. tokens: lowest share of frames with the same best label, counted where the reference's two best
    labels lie further apart than ``margin`` standard deviations of its logits. text: whether it must be the same.
    """

    difference: float
    cosine: float
    tokens: float
    margin: float
    text: bool


TOLERANCES: Mapping[str, Tolerance] = {
    # fp32 differs by the order of summation only: what the parity gate of the export allows.
    "fp32": Tolerance(1e-3, 0.99999, 1.0, 5e-3, True),
    # Ten and seven bits of mantissa through a dozen layers or two.
    "fp16": Tolerance(0.05, 0.9995, 0.99, 0.05, False),
    "bf16": Tolerance(0.25, 0.99, 0.97, 0.2, False),
    # Words are judged when a variant is made, against real transcripts; here a wrong kernel must show, which gives
    # cosines near 0, while honest rounding stays well above these.
    "int8": Tolerance(1.0, 0.95, 0.9, 0.5, False),
    "int4": Tolerance(1.0, 0.9, 0.85, 0.5, False),
}
"""By precision. A variant of an unknown precision is held to int8's."""


@dataclass(frozen=True)
class Outcome:
    """One engine × variant.

    status: ``passed``, ``failed``, ``refused`` (the engine does not run this variant) or ``missing`` (no such engine
    here); reason says why. The figures are None where nothing ran. seconds: time of the runs, loading left out.
    """

    engine: str
    variant: str
    status: str
    reason: str = ""
    difference: float | None = None
    cosine: float | None = None
    tokens: float | None = None
    same_text: bool | None = None
    seconds: float | None = None


def run(
    bundle: Bundle, engine: str | None = None, variant: str | None = None, threads: int | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of every engine × variant, or of those that are named.

    Raises BundleError where the bundle has no selftest or no such variant, InputError for an engine that does not
    exist, EngineError for a named one that is missing here.
    """
    reference = read_archive(bundle)
    variants = (bundle.variant(variant),) if variant is not None else bundle.variants
    for name in (engine,) if engine is not None else tuple(n for n in engines.names() if n != "null"):
        module = engines.get(name)
        if reason := engines.missing(name):
            if engine is not None:
                raise EngineError(f"engine {name}: {reason}")
            yield Outcome(name, "", "missing", reason)
            continue
        for candidate in variants:
            if reason := module.refuses(bundle.spec, candidate):
                yield Outcome(name, candidate.name, "refused", reason)
            else:
                yield check(bundle, candidate, name, reference, EngineOptions(threads=threads))


def check(
    bundle: Bundle, variant: Variant, engine: str, reference: Sequence[Outputs], options: EngineOptions
) -> Outcome:
    """Run the kept clips in one engine and compare; an engine's failure is an outcome, not an error."""
    clips = [values["clip"] for values in reference]
    bundle.verify(variant)
    try:
        with closing(engines.load(bundle, variant, engine, options=options)) as session:
            started = time.perf_counter()
            found = run_clips(session, bundle.spec, clips)
            seconds = time.perf_counter() - started
        outcome = compare(bundle.spec, variant, engine, found, reference, seconds)
        if outcome.status != "passed" or not _has_halves(bundle, variant, engine):
            return outcome
        with (
            closing(engines.load(bundle, variant, engine, "frontend", options)) as frontend,
            closing(engines.load(bundle, variant, engine, "encoder", options)) as encoder,
        ):
            found = run_clips(_Halves(frontend, encoder), bundle.spec, clips)
    except EngineError as error:
        return Outcome(engine, variant.name, "failed", str(error))
    halves = compare(bundle.spec, variant, engine, found, reference, seconds)
    if halves.status != "passed":
        return replace(halves, reason=f"in two stages, as for long recordings and live captions: {halves.reason}")
    return outcome


def _has_halves(bundle: Bundle, variant: Variant, engine: str) -> bool:
    """Whether long recordings run in two stages here; an engine that compiles for minutes is spared them."""
    waveform = bundle.spec.normalize and bundle.spec.frontend == "waveform"
    return waveform and {"frontend", "encoder"} <= set(variant.graphs) and not hasattr(engines.get(engine), "build")


class _Halves:
    """The stages ``frontend`` and ``encoder`` as one session."""

    def __init__(self, frontend: Session, encoder: Session) -> None:
        self.frontend, self.encoder = frontend, encoder
        self.inputs: tuple[str, ...] = ("input_values", "input_lengths")
        self.outputs = encoder.outputs

    def run(self, feeds: Arrays) -> Arrays:
        samples = feeds["input_values"][0]
        normalized = loudness.measure([samples]).normalized(samples)[None]
        features = self.frontend.run({NORMALIZED: normalized, INPUT_LENGTHS: feeds["input_lengths"]})
        return self.encoder.run({name: features[name] for name in (FEATURES, FEATURE_LENGTHS)})

    def close(self) -> None:
        """They belong to the caller."""


def compare(
    spec: ModelSpec,
    variant: Variant,
    engine: str,
    found: Sequence[Outputs],
    reference: Sequence[Outputs],
    seconds: float = 0.0,
) -> Outcome:
    """Judge outputs by the tolerance of the variant's precision."""
    allowed = TOLERANCES.get(variant.precision, TOLERANCES["int8"])
    difference, cosine, same, counted = 0.0, 1.0, 0, 0
    texts = True
    for ours, wanted in zip(found, reference):
        for output in spec.outputs:
            a, b = ours[output.name].astype(np.float64), wanted[output.name].astype(np.float64)
            if a.shape != b.shape:
                reason = f"{output.name} has shape {list(a.shape)} where {list(b.shape)} is expected"
                return Outcome(engine, variant.name, "failed", reason, seconds=seconds)
            if not np.isfinite(a).all():
                return Outcome(engine, variant.name, "failed", f"{output.name} holds NaN or Inf", seconds=seconds)
            difference = max(difference, float(np.abs(a - b).max(initial=0.0)) / max(1.0, float(np.abs(b).max())))
            cosine = min(cosine, _cosine(a, b))
            if spec.blank is not None and output.axes[-1] == "labels":
                top = np.sort(b, axis=1)
                clear = top[:, -1] - top[:, -2] > allowed.margin * b.std()
                counted += int(clear.sum())
                same += int((a.argmax(1) == b.argmax(1))[clear].sum())
        if spec.head == "ctc":
            texts &= text_of(ours, spec) == str(wanted["text"])
    tokens = same / counted if counted else 1.0
    failures = []
    if difference > allowed.difference:
        failures.append(f"difference {difference:.2e} > {allowed.difference:.0e}")
    if cosine < allowed.cosine:
        failures.append(f"cosine {cosine:.5f} < {allowed.cosine}")
    if tokens < allowed.tokens:
        failures.append(f"tokens {tokens:.1%} < {allowed.tokens:.0%}")
    if allowed.text and not texts:
        failures.append("another text")
    return Outcome(
        engine,
        variant.name,
        "failed" if failures else "passed",
        "; ".join(failures),
        difference,
        cosine,
        tokens if spec.blank is not None else None,
        texts if spec.head == "ctc" else None,
        seconds,
    )


def run_clips(session: Session, spec: ModelSpec, clips: Sequence[NDArray[np.int16]]) -> list[Outputs]:
    """Outputs of 16-bit clips, each run alone: by name, without the batch axis, cut to the clip's own frames."""
    results = []
    for clip in clips:
        samples = clip.astype(np.float32)[None] / np.float32(32767)
        outputs = session.run(engines.as_feeds(samples, np.array([len(clip)], dtype=np.int64)))
        values: Outputs = {}
        for output in spec.outputs:
            row = np.asarray(outputs[output.name][0])
            values[output.name] = row[: int(outputs[OUTPUT_LENGTHS][0])] if "frames" in output.axes else row
        results.append(values)
    return results


def text_of(outputs: Outputs, spec: ModelSpec) -> str:
    """The greedy text of one clip's outputs."""
    logits = np.asarray(outputs[spec.outputs[0].name], dtype=np.float32)
    return ctc.joined(ctc.greedy(logits, spec), spec)


def clip_key(index: int) -> str:
    """The archive's name of a clip."""
    return f"clip_{index}"


def output_key(index: int, name: str) -> str:
    """The archive's name of an output (or of ``text``) for a clip."""
    return f"{name}_{index}"


def write_archive(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the archive."""
    kinds: dict[str, Any] = dict(arrays)
    np.savez_compressed(path, **kinds)


def read_archive(bundle: Bundle) -> list[Outputs]:
    """The kept clips with their outputs: ``clip``, ``text`` and each output by name; raises BundleError."""
    path = bundle.file(SELFTEST)
    names = [output.name for output in bundle.spec.outputs] + (["text"] if bundle.spec.head == "ctc" else [])
    try:
        with np.load(path, allow_pickle=False) as archive:
            count = sum(key.startswith("clip_") for key in archive.files)
            found = [
                {"clip": archive[clip_key(i)], **{name: archive[output_key(i, name)] for name in names}}
                for i in range(count)
            ]
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: damaged ({error}); copy the bundle again") from error
    if not found:
        raise InputError(f"{path}: it holds no clips; export the model again")
    return found


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1.0 if norm == 0.0 and not a.any() and not b.any() else float((a * b).sum()) / max(norm, 1e-30)

"""Compare any engine × variant on this machine with the reference outputs that the export put into the bundle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from . import engines
from .audio import loudness
from .bundle.read import Bundle
from .bundle.reference import Outputs, read_archive
from .comparison import Comparison, compare, samples_of
from .engines import EngineOptions
from .errors import DeviceError, EngineError
from .model import Model

Status = Literal["passed", "failed", "refused", "missing"]


@dataclass(frozen=True)
class SelftestResult:
    """One engine × variant.

    status: ``passed``, ``failed``, ``refused`` (the engine does not run this variant) or ``missing`` (the engine is not
    available here, variant is empty then; or it lacks the device). reason: why, where it did not pass. The figures are
    those of ``comparison.Comparison``, None where nothing ran. seconds: time of the runs, loading left out.
    """

    engine: str
    variant: str
    status: Status
    reason: str = ""
    difference: float | None = None
    cosine: float | None = None
    tokens: float | None = None
    same_text: bool | None = None
    seconds: float | None = None


def run(
    bundle: Bundle,
    engine: str | Sequence[str] | None = None,
    variant: str | Sequence[str] | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Iterator[SelftestResult]:
    """Yield the result of every engine × variant, or of the one or those that are named.

    Raises BundleError where the bundle has no selftest or no such variant, InputError for an engine that does not
    exist, EngineError for a named one that is missing here, DeviceError for a device that a named one lacks.
    """
    reference = read_archive(bundle)
    options = EngineOptions(threads=threads, device=device)
    names, variants = _named(engine), _named(variant)
    for candidate in engines.runnable(bundle, names, variants, ("inference", "reference")):
        if candidate.status == "missing" and names is not None:
            raise EngineError(f"engine {candidate.engine}: {candidate.reason}")
        if candidate.variant is None or candidate.status != "runs":
            name = "" if candidate.variant is None else candidate.variant.name
            status: Status = "missing" if candidate.status == "missing" else "refused"
            yield SelftestResult(candidate.engine, name, status, candidate.reason)
            continue
        with Model(bundle, candidate.engine, candidate.variant, options) as model:
            try:
                result = check(model, reference)
            except DeviceError as error:
                if names is not None:
                    raise
                result = SelftestResult(candidate.engine, candidate.variant.name, "missing", str(error))
        yield result


def _named(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)


def check(model: Model, reference: Sequence[Outputs]) -> SelftestResult:
    """Run the bundle's clips, each alone, and compare; an engine's failure is a result, not an error.

    The whole graph is compared, and where the model runs in stages, as it does for recordings and live captions, they
    are too. Raises BundleError where a file of the variant is damaged, DeviceError for a device that is missing.
    """
    clips = [samples_of(values["clip"]) for values in reference]
    model.bundle.verify(model.variant)
    try:
        session = model.session()
        started = time.perf_counter()
        outputs = [engines.outputs_alone(session, model.spec, clip) for clip in clips]
        seconds = time.perf_counter() - started
        comparison = compare(model.spec, model.variant, outputs, reference)
        if comparison.status == "passed" and (staged := _in_stages(model, clips)):
            apart = compare(model.spec, model.variant, staged, reference)
            if apart.status != "passed":
                reason = f"in stages, as for recordings and live captions: {apart.reason}"
                return _result(model, apart, seconds, reason)
    except DeviceError:
        raise
    except EngineError as error:
        return SelftestResult(model.engine, model.variant.name, "failed", str(error))
    return _result(model, comparison, seconds, comparison.reason)


def _in_stages(model: Model, clips: Sequence[NDArray[np.float32]]) -> list[dict[str, NDArray[np.generic]]]:
    """The outputs of clips by way of the model's stages; none where it is run as a whole."""
    if model.runs_in_tiles:
        return [model.outputs([clip])[0] for clip in clips]
    if not model.runs_in_stages:
        return []
    return [model.outputs_of_normalized([loudness.measure([clip]).normalized(clip)])[0] for clip in clips]


def _result(model: Model, comparison: Comparison, seconds: float, reason: str) -> SelftestResult:
    return SelftestResult(
        model.engine,
        model.variant.name,
        comparison.status,
        reason,
        comparison.difference,
        comparison.cosine,
        comparison.tokens,
        comparison.same_text,
        seconds,
    )

"""Which engine and which variant to run, when the user leaves it open."""

from __future__ import annotations

from . import engines
from .bundle.read import Bundle, Variant
from .errors import EngineError, InputError

ORDER = ("onnxruntime", "openvino")
"""Engines in the order in which they are tried where no device profile says otherwise."""


def choose(
    bundle: Bundle, engine: str | None = None, variant: str | None = None, order: tuple[str, ...] = ORDER
) -> tuple[str, Variant]:
    """The engine and the variant to run: what the user named, else the first of ``order`` that can run here.

    Of an engine's variants the first that lists it in ``preferred_by`` wins, else fp32, else the first it does not
    refuse. Raises EngineError, saying why, when nothing fits.
    """
    wanted = bundle.variant(variant) if variant is not None else None
    reasons = []
    for name in (engine,) if engine is not None else order:
        if name not in engines.names():
            if engine is not None:
                raise InputError(f"no engine {name!r}; there are {', '.join(engines.names())}")
            continue
        module = engines.get(name)
        if reason := engines.missing(name):
            reasons.append(f"{name}: {reason}")
            continue
        candidates = (wanted,) if wanted is not None else ranked(bundle, name)
        for candidate in candidates:
            reason = module.refuses(bundle.spec, candidate)
            if reason is None:
                return name, candidate
            reasons.append(f"{name} does not run {candidate.name}: {reason}")
    if not bundle.variants:
        raise EngineError(f"{bundle.path}: it holds no variant; export the model again")
    raise EngineError("; ".join(reasons) or f"{bundle.path}: no variant for engine {engine}")


def ranked(bundle: Bundle, engine: str) -> tuple[Variant, ...]:
    """As ``Bundle.ranked``."""
    return bundle.ranked(engine)


def forced(variant: Variant) -> bool:
    """Whether a variant is in the bundle although the gate refused it (``quantize --force``): never a default."""
    return variant.forced

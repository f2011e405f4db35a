"""Run a new engine before it is kept: on every length range, and on the bundle's selftest clips where it has some."""

from __future__ import annotations

import numpy as np

from ...bundle.read import SELFTEST, Bundle, Variant
from ...bundle.reference import read_archive
from ...bundle.spec import STAGES
from ...comparison import compare, samples_of
from ...errors import EngineError
from .. import Session, outputs_alone
from .session import TensorRtSession
from .store import Key

_FEATURE_CHANNELS_AXIS = 2


def check(session: TensorRtSession, bundle: Bundle, variant: Variant, key: Key) -> None:
    """Raise EngineError where an engine's outputs are not finite, or differ from the bundle's reference outputs."""
    random = np.random.default_rng(1)
    values_name, lengths_name = STAGES[key.stage]
    for profile in key.profiles:
        shape = (1, profile.longest, *session.rest)
        values = (random.standard_normal(shape) * 0.1).astype(np.float32)
        outputs = session.run({values_name: values, lengths_name: np.array([profile.longest], np.int64)})
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise EngineError(
                    f"the engine built from {variant.graphs[key.stage]} gives numbers that are not finite in {name} "
                    f"for {profile.longest} steps, so it is not kept; use bf16 or fp32"
                )
    if key.stage == "full" and SELFTEST in bundle.files:
        _selftest(session, bundle, variant)


def _selftest(session: Session, bundle: Bundle, variant: Variant) -> None:
    reference = read_archive(bundle)
    outputs = [outputs_alone(session, bundle.spec, samples_of(values["clip"])) for values in reference]
    compared = compare(bundle.spec, variant, outputs, reference)
    if compared.status != "passed":
        raise EngineError(
            f"the engine built from {variant.graphs['full']} fails the selftest ({compared.reason}), "
            "so it is not kept; use another variant"
        )

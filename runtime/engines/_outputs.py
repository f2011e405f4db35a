"""What a graph gave, clip by clip, and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import OUTPUT_LENGTHS, ModelSpec
from ..errors import BundleError, EngineError

if TYPE_CHECKING:
    from . import Arrays, Session


def outputs_of(spec: ModelSpec, outputs: Arrays) -> list[dict[str, NDArray[np.generic]]]:
    """A batch's outputs, one dictionary for each clip: without the batch axis, time axes cut to the clip's frames.

    Raises BundleError where there are more or fewer scores than labels.
    """
    lengths = outputs.get(OUTPUT_LENGTHS)
    first = spec.outputs[0]
    given = np.shape(outputs[first.name])[-1] if first.axes[-1] == "labels" else len(spec.labels)
    if given != len(spec.labels):
        raise BundleError(f"the model gives {given} scores for {len(spec.labels)} labels; export it again")
    rows: list[dict[str, NDArray[np.generic]]] = [{} for _ in outputs[first.name]]
    for output in spec.outputs:
        for index, row in enumerate(rows):
            value = np.asarray(outputs[output.name][index])
            row[output.name] = value if lengths is None or "frames" not in output.axes else value[: int(lengths[index])]
    return rows


def checked(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """An output as it is; raises EngineError for NaN and infinite numbers, which would decode to arbitrary text."""
    if not np.isfinite(values).all():
        raise EngineError(
            "the model gave NaN or infinite numbers here; use another variant, such as fp32, or another engine"
        )
    return values


def check_outputs(session: Session, spec: ModelSpec) -> None:
    """Raise BundleError where a session of a whole graph or of an encoder lacks an output that the model has."""
    for name in spec.output_names:
        if name not in session.outputs:
            raise BundleError(f"its graph has no output {name!r}; export the model again")

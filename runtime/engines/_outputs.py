"""What a graph gave, clip by clip, and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import FEATURE_LENGTHS, OUTPUT_LENGTHS, STAGES, ModelSpec, Stage
from ..errors import BundleError, EngineError

if TYPE_CHECKING:
    from . import Arrays, Session

_ARITHMETIC: Mapping[Stage, Callable[[ModelSpec, int], int]] = {
    "full": ModelSpec.frames,
    "frontend": ModelSpec.feature_frames,
    "encoder": ModelSpec.encoded_frames,
}
"""From the length of a stage's input to that of its output; the other stages take stretches of any length."""


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


def check_lengths(spec: ModelSpec, stage: Stage, feeds: Arrays, outputs: Arrays) -> None:
    """Raise BundleError where a run gave clips of another number of frames than the spec's time arithmetic.

    By that arithmetic clips are cut, and words timed, so that words would be lost or misplaced.
    """
    name = FEATURE_LENGTHS if stage == "frontend" else OUTPUT_LENGTHS
    arithmetic = _ARITHMETIC.get(stage)
    if arithmetic is None or name not in outputs:
        return
    for length, found in zip(feeds[STAGES[stage][1]], outputs[name]):
        expected = arithmetic(spec, int(length))
        if expected not in (0, int(found)):  # the graph need not count the frames of a clip that is too short
            raise contradiction(int(found), expected)


def contradiction(found: int, expected: int) -> BundleError:
    """The error for a graph that gave other frames than the spec says."""
    return BundleError(f"the model gives {found} frames where spec.time says {expected}; export it again")


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

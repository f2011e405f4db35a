"""The ranges of lengths that an engine with fixed shape profiles is built for.

With one profile for every length TensorRT picks kernels that suit none, so the lengths are cut into narrow ranges,
each twice as long as the one before. A clip is padded up to a step inside its range: shapes then repeat, which
CUDA graphs need, and padding never changes a clip's result (the graph contract).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..bundle.spec import ModelSpec, Stage
from ..errors import EngineError
from . import EngineOptions

LONGEST_SECONDS = 30.0
"""The longest clip prepared for where the user names none."""
_FIRST_SECONDS = 1.0
_STEPS = 8


@dataclass(frozen=True)
class ShapeProfile:
    """A range of lengths along the time axis (samples, or feature frames for the stage ``encoder``).

    Kernels are chosen for ``longest``, because most padded lengths are near it and it is the slowest case.
    batch: the largest batch; bigger ones are run in turns. window: one length alone, that of a live window.
    """

    shortest: int
    longest: int
    batch: int = 1
    window: bool = False

    def padded(self, length: int) -> int:
        """The length to pad to: at most 8 values (one for a profile of one length), never below ``shortest``."""
        step = max(1, self.longest // _STEPS)
        return max(self.shortest, self.longest - (self.longest - length) // step * step)


def plan(spec: ModelSpec, stage: Stage, options: EngineOptions, batch: int = 1) -> tuple[ShapeProfile, ...]:
    """The profiles for clips up to ``options.longest_seconds``, and one of exactly the live window where it is set."""
    longest = round((options.longest_seconds or LONGEST_SECONDS) * spec.sample_rate)
    if longest < spec.min_samples:
        raise EngineError(f"the longest clip must have at least {spec.min_samples} samples, not {longest}")
    edges = []
    edge = round(_FIRST_SECONDS * spec.sample_rate)
    # A last range that would be a sliver is merged into the one before it: a profile costs build time and memory.
    while edge * 1.25 < longest:
        edges.append(edge)
        edge *= 2
    edges.append(longest)
    profiles = []
    shortest = time_steps(spec, stage, spec.min_samples)
    for samples in edges:
        last = time_steps(spec, stage, samples)
        profiles.append(ShapeProfile(shortest, max(shortest, last), batch))
        shortest = last + 1
    if options.window_seconds is not None:
        window = time_steps(spec, stage, round(options.window_seconds * spec.sample_rate))
        profiles.insert(0, ShapeProfile(window, window, batch, window=True))
    return tuple(profiles)


def pick(profiles: Sequence[ShapeProfile], length: int) -> int:
    """The index of the profile for a clip; raises EngineError, which says what to do, for one that is too long.

    A profile of exactly this length (the live window) comes first, then the smallest range that holds it.
    """
    for index, profile in enumerate(profiles):
        if profile.window and profile.longest == length:
            return index
    fitting = [index for index, profile in enumerate(profiles) if not profile.window and profile.longest >= length]
    if not fitting:
        longest = max(profile.longest for profile in profiles)
        raise EngineError(
            f"a clip of {length} steps is longer than the engine was built for ({longest}); "
            "cut it, or build for longer clips with `wav2edge build BUNDLE --engine … --longest SECONDS`"
        )
    return min(fitting, key=lambda i: profiles[i].longest)


def time_steps(spec: ModelSpec, stage: Stage, samples: int) -> int:
    """Steps along a stage's input time axis: samples, or for ``encoder`` the feature frames."""
    if stage != "encoder":
        return samples
    for kernel, stride, _ in spec.feature_time:
        samples = (samples - kernel) // stride + 1
    return max(1, samples)


def output_steps(spec: ModelSpec, stage: Stage, steps: int) -> int:
    """Frames on a stage's output time axis for ``steps`` on its input time axis."""
    if stage == "full":
        return spec.frames(steps)
    if stage in ("frontend", "tile"):
        return time_steps(spec, "encoder", steps)
    for kernel, stride, padding in spec.time[len(spec.feature_time) :]:
        steps = (steps + 2 * padding - kernel) // stride + 1
    return max(0, steps)

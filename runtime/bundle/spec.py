"""What a model is: everything a client must know to feed its graph and read its outputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, NamedTuple, TypedDict, TypeVar, cast

from .. import documents
from ..errors import BundleError

INPUT_VALUES = "input_values"
INPUT_LENGTHS = "input_lengths"
OUTPUT_LENGTHS = "output_lengths"
NORMALIZED = "normalized"
FEATURES = "features"
FEATURE_LENGTHS = "feature_lengths"
NORM_MEAN = "norm_mean"
NORM_MEAN_SQUARE = "norm_mean_square"
BETWEEN_STAGES = (FEATURES, FEATURE_LENGTHS, NORM_MEAN, NORM_MEAN_SQUARE)
"""What one stage computes for another, besides the model's outputs."""

Options = TypeVar("Options")

Stage = Literal["full", "frontend", "encoder", "statistics", "tile"]
"""A graph of a variant: the whole model, or a part of it that is run apart (see ``STAGES``)."""

Norm = Literal["group", "layer"]
Frontend = Literal["waveform", "log-mel"]
Tokenizer = Literal["char", "piece", "phoneme"]


STAGES: Mapping[Stage, tuple[str, ...]] = {
    "full": (INPUT_VALUES, INPUT_LENGTHS),
    "frontend": (NORMALIZED, INPUT_LENGTHS),
    "encoder": (FEATURES, FEATURE_LENGTHS),
    "statistics": (NORMALIZED, INPUT_LENGTHS),
    "tile": (NORMALIZED, NORM_MEAN, NORM_MEAN_SQUARE),
}
"""The graph contract: the inputs of each stage.

``full``      raw waveform float32 [batch, samples] in [-1, 1] and int64 [batch] lengths → the model's outputs.
``frontend``  normalised waveform [batch, samples] and lengths in samples → ``features`` [batch, frames, channels]
              and ``feature_lengths`` int64 [batch].
``encoder``   ``features`` and ``feature_lengths`` → the model's outputs.
``statistics``  of a model whose first convolution is normalised over a clip's frames (group norm): any stretch of the
              normalised waveform → ``norm_mean`` and ``norm_mean_square`` of each channel over the stretch's frames.
``tile``      of such a model: a stretch of the normalised waveform and the clip's statistics → the stretch's
              ``features``. Where nothing is normalised over time, ``frontend`` itself does that.
Padding (any value after a clip's length) never changes the clip's result.
"""


RATES = (1_000, 1_000_000)
"""Hz: below the lower bound a file of a few kB would be hours of sound; no microphone records above the upper one."""
_MAX_STEPS, _MAX_STEP, _MAX_SAMPLES = 64, 100_000, 100_000_000
"""Bounds of the time arithmetic. The family's longest chain has 10 steps, and kernels of at most 400 samples."""


class OutputJson(TypedDict):
    """One output of the graph."""

    name: str
    axes: list[str]
    meaning: str


class _SpecRequired(TypedDict):
    architecture: str
    head: str
    normalize: bool
    norm: Norm
    outputs: list[OutputJson]
    labels: list[str]
    time: list[list[int]]
    head_options: dict[str, object]


class SpecJson(_SpecRequired, total=False):
    """The model spec; ``min_samples`` follows from ``time`` and is for other readers."""

    blank: int | None
    delimiter: str | None
    tokenizer: Tokenizer
    frontend: Frontend
    sample_rate: int
    trained_seconds: float | None
    language: str | None
    max_batch: int | None
    feature_steps: int | None
    min_samples: int


class Convolution(NamedTuple):
    """One step of the time arithmetic; frames = floor((samples + 2·padding − kernel) / stride) + 1."""

    kernel: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Output:
    """One output of the graph.

    axes: names of its dimensions, such as ``("batch", "frames", "labels")``; ``frames`` marks a time axis.
    meaning: what the numbers are, in words.
    """

    name: str
    axes: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class ModelSpec:
    """What a client must know to feed the model's graph and use its outputs."""

    architecture: str
    """A row of export/families.py, such as ``wav2vec2``."""
    head: str
    """A file of runtime/heads/, such as ``ctc``."""
    normalize: bool
    """Whether the graph brings each clip to zero mean and unit variance."""
    norm: Norm
    """The feature extractor's normalisation."""
    outputs: tuple[Output, ...]
    """The outputs of the stages ``full`` and ``encoder``; lengths are not among them."""
    labels: tuple[str, ...]
    """What each index of the label axis means."""
    time: tuple[Convolution, ...]
    """The convolutions between samples and output frames, adapters included."""
    head_options: object
    """The ``Options`` dataclass of runtime/heads/<head>.py; ``options`` gives it as that class."""
    blank: int | None = None
    """The index of CTC's blank; None without CTC."""
    delimiter: str | None = None
    """The label between words; None where there is none."""
    tokenizer: Tokenizer = "char"
    """What one label is a part of a word as: a character, a piece of several, a phoneme."""
    frontend: Frontend = "waveform"
    """What the graph computes first."""
    sample_rate: int = 16000
    """Hz."""
    trained_seconds: float | None = None
    """The longest clip of its training in seconds, where known."""
    language: str | None = None
    """A language code, where the checkpoint names one."""
    max_batch: int | None = None
    """How many clips the graphs take at once: 1 where they were imported without a mask; None: any number."""
    feature_steps: int | None = None
    """How many steps of ``time`` are before ``features``, the others being those of the encoder and the head; None: all
    before the first that pads, in bundles that do not say it."""

    def frames(self, samples: int) -> int:
        """Output frames of a clip of ``samples`` samples, by exact arithmetic; 0 when it is too short."""
        return _frames(self.time, samples)

    def feature_frames(self, samples: int) -> int:
        """Frames of ``features`` of a clip of ``samples`` samples; 0 when it is too short."""
        return _frames(self.feature_time, samples)

    def encoded_frames(self, features: int) -> int:
        """Output frames of a clip with so many frames of ``features``; 0 when there are too few."""
        return _frames(self.time[len(self.feature_time) :], features)

    @property
    def stride(self) -> int:
        """Samples between two output frames (320 for wav2vec2: 20 ms)."""
        product = 1
        for step in self.time:
            product *= step.stride
        return product

    @property
    def receptive_field(self) -> int:
        """Samples that one output frame of the convolutions sees (400 for wav2vec2: 25 ms)."""
        field = 1
        for kernel, stride, _ in reversed(self.time):
            field = (field - 1) * stride + kernel
        return field

    @property
    def min_samples(self) -> int:
        """The shortest clip that gives one frame."""
        samples = 1
        for kernel, stride, padding in reversed(self.time):
            samples = max(1, (samples - 1) * stride + kernel - 2 * padding)
        return samples

    @property
    def feature_time(self) -> tuple[Convolution, ...]:
        """The steps between samples and ``features``: those of ``time`` before squeezing, adapters and the head."""
        if self.feature_steps is not None:
            return self.time[: self.feature_steps]
        padded = next((index for index, step in enumerate(self.time) if step.padding), len(self.time))
        if padded < len(self.time) and self.time[padded].stride == 1:  # squeezing: a step without padding, one with
            padded -= 1
        return self.time[:padded]

    @property
    def feature_stride(self) -> int:
        """Samples between two frames of ``features``."""
        return math.prod(step.stride for step in self.feature_time)

    @property
    def timed(self) -> bool:
        """Whether an output has a time axis."""
        return any("frames" in output.axes for output in self.outputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs of the stages ``full`` and ``encoder``, lengths included where there is a time axis."""
        names = tuple(output.name for output in self.outputs)
        return names + ((OUTPUT_LENGTHS,) if self.timed else ())

    def options(self, kind: type[Options]) -> Options:
        """The head's options as their class; raises TypeError where the model has another head."""
        if not isinstance(self.head_options, kind):
            raise TypeError(f"the options of the head {self.head} are not {kind.__module__}.{kind.__name__}")
        return self.head_options

    def to_json(self) -> SpecJson:
        """The spec as plain JSON values."""
        return cast(SpecJson, {**dataclasses.asdict(self), "min_samples": self.min_samples})

    @classmethod
    def from_json(cls, document: Mapping[str, object], where: str = "bundle.json") -> ModelSpec:
        """Read what ``to_json`` wrote; unknown keys are left to newer versions.

        where: names the document in errors. Raises BundleError for a field of another type or a value that no model can
        have, and for a head that this version does not know.
        """
        damaged = f"{where}: damaged, export the model again"
        values: SpecJson = documents.check(dict(document), SpecJson, damaged, path=".spec", error=BundleError)
        if any(len(step) != 3 for step in values["time"]):
            raise BundleError(f"{damaged} (spec.time must list kernel, stride and padding of each step)")
        read: dict[str, object] = {
            "outputs": tuple(Output(o["name"], tuple(o["axes"]), o["meaning"]) for o in values["outputs"]),
            "time": tuple(Convolution(*step) for step in values["time"]),
            "head_options": _head_options(values["head"], values["head_options"], where),
        }
        spec = documents.build(cls, {**values, **read})
        for problem in _problems(spec):
            raise BundleError(f"{where}: spec.{problem}; export the model again")
        return spec


def _frames(steps: tuple[Convolution, ...], length: int) -> int:
    """What steps of the time arithmetic leave of a length; 0 when it is too short."""
    for kernel, stride, padding in steps:
        length = (length + 2 * padding - kernel) // stride + 1
        if length <= 0:
            return 0
    return length


def _problems(spec: ModelSpec) -> Iterator[str]:
    """What makes a spec one that no model can have."""
    if not RATES[0] <= spec.sample_rate <= RATES[1]:
        yield f"sample_rate is {spec.sample_rate}; it must be {RATES[0]} to {RATES[1]} Hz"
    steps = [value for step in spec.time for value in (step.kernel, step.stride, step.padding + 1)]
    if not spec.time or len(spec.time) > _MAX_STEPS or not all(0 < value <= _MAX_STEP for value in steps):
        yield f"time must hold 1 to {_MAX_STEPS} steps of kernels and strides from 1 to {_MAX_STEP}"
    elif spec.min_samples > _MAX_SAMPLES or spec.stride > _MAX_SAMPLES:
        yield f"time makes one frame of {spec.min_samples} samples"
    if spec.feature_steps is not None and not 0 < spec.feature_steps <= len(spec.time):
        yield f"feature_steps is {spec.feature_steps}, of {len(spec.time)} steps"
    names = [output.name for output in spec.outputs]
    if not names or len(set(names)) < len(names) or not all(output.axes for output in spec.outputs):
        yield "outputs must have names of their own, and axes"
    if spec.head == "ctc" and (spec.blank is None or spec.outputs[0].axes != ("batch", "frames", "labels")):
        yield "blank is missing, or the first output is not [batch, frames, labels], which a ctc head needs"
    if spec.blank is not None and not 0 <= spec.blank < len(spec.labels):
        yield f"blank is {spec.blank}, outside the {len(spec.labels)} labels"
    if spec.max_batch not in (None, 1):
        yield f"max_batch is {spec.max_batch}; it is 1 or left out"
    if spec.trained_seconds is not None and not 0 < spec.trained_seconds < float("inf"):
        yield f"trained_seconds is {spec.trained_seconds}"


def _head_options(head: str, values: Mapping[str, object], where: str) -> object:
    if not head.isidentifier() or head.startswith("_"):
        raise BundleError(f"{where}: spec.head is {head[:40]!r}, which is not the name of a head; export it again")
    try:
        kind: type = import_module(f"wav2edge.runtime.heads.{head}").Options
    except (ModuleNotFoundError, AttributeError) as error:
        raise BundleError(f"{where}: this version has no head {head!r}; upgrade wav2edge") from error
    known = {field.name for field in dataclasses.fields(kind)}
    kept = {key: value for key, value in values.items() if key in known}
    documents.check(kept, kind, f"{where}: damaged, export the model again", path=".head_options", error=BundleError)
    return documents.build(kind, kept)

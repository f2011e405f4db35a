"""What a model is: everything a client must know to feed its graph and read its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from ..errors import BundleError

INPUT_VALUES = "input_values"
INPUT_LENGTHS = "input_lengths"
OUTPUT_LENGTHS = "output_lengths"
NORMALIZED = "normalized"
FEATURES = "features"
FEATURE_LENGTHS = "feature_lengths"

STAGES: Mapping[str, tuple[str, ...]] = {
    "full": (INPUT_VALUES, INPUT_LENGTHS),
    "frontend": (NORMALIZED, INPUT_LENGTHS),
    "encoder": (FEATURES, FEATURE_LENGTHS),
}
"""The graph contract: the inputs of each stage.

``full``      raw waveform float32 [batch, samples] in [-1, 1] and int64 [batch] lengths → the model's outputs.
``frontend``  normalised waveform [batch, samples] and lengths in samples → ``features`` [batch, frames, channels]
              and ``feature_lengths`` int64 [batch].
``encoder``   ``features`` and ``feature_lengths`` → the model's outputs.
Padding (any value behind a clip's length) never changes the clip's result.
"""


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
    """A model in the words of its family.

    architecture: a row of export/families.py, such as ``wav2vec2``.
    head: a file of runtime/heads/, such as ``ctc``.
    frontend: what the graph starts from: ``waveform`` or ``log-mel``.
    normalize: whether the graph brings each clip to zero mean and unit variance.
    norm: the feature extractor's normalisation, ``group`` or ``layer``.
    labels: what each index of the label axis stands for; blank: the index of CTC's blank (None without CTC).
    delimiter: the label between words (None where there is none); tokenizer: ``char``, ``piece`` or ``phoneme``.
    sample_rate: Hz. time: the convolutions between samples and output frames, adapters included.
    min_samples: the shortest legal clip. trained_seconds: the longest clip of its training, where known.
    head_options: the ``Options`` dataclass of runtime/heads/<head>.py.
    """

    architecture: str
    head: str
    normalize: bool
    norm: str
    outputs: tuple[Output, ...]
    labels: tuple[str, ...]
    time: tuple[Convolution, ...]
    head_options: Any
    blank: int | None = None
    delimiter: str | None = None
    tokenizer: str = "char"
    frontend: str = "waveform"
    sample_rate: int = 16000
    trained_seconds: float | None = None
    language: str | None = None

    def frames(self, samples: int) -> int:
        """Output frames of a clip of ``samples`` samples, by exact arithmetic; 0 when it is too short."""
        for kernel, stride, padding in self.time:
            samples = (samples + 2 * padding - kernel) // stride + 1
            if samples <= 0:
                return 0
        return samples

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
    def output_names(self) -> tuple[str, ...]:
        """The outputs of the stages ``full`` and ``encoder``, lengths included where there is a time axis."""
        names = tuple(output.name for output in self.outputs)
        timed = any("frames" in output.axes for output in self.outputs)
        return names + ((OUTPUT_LENGTHS,) if timed else ())

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return {**dataclasses.asdict(self), "min_samples": self.min_samples}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelSpec:
        """Read what ``to_json`` wrote; unknown keys are left to newer versions.

        Raises BundleError where a field is missing or of the wrong kind, and for a head this version does not know.
        """
        try:
            head = str(values["head"])
            options = _head_options(head, values.get("head_options", {}))
            known = {field.name for field in dataclasses.fields(cls)}
            kept = {key: value for key, value in values.items() if key in known}
            kept["outputs"] = tuple(Output(o["name"], tuple(o["axes"]), o["meaning"]) for o in values["outputs"])
            kept["labels"] = tuple(values["labels"])
            kept["time"] = tuple(Convolution(*map(int, step)) for step in values["time"])
            return cls(**{**kept, "head_options": options})
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"bundle.json: the model spec is damaged ({error!r}); export the model again") from error


def _head_options(head: str, values: Mapping[str, Any]) -> Any:
    if not head.isidentifier():
        raise BundleError(f"bundle.json: {head!r} is no head")
    try:
        kind = import_module(f"wav2edge.runtime.heads.{head}").Options
    except ModuleNotFoundError as error:
        raise BundleError(f"this version of wav2edge knows no head {head!r}; upgrade wav2edge") from error
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: _frozen(value) for key, value in values.items() if key in known})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value

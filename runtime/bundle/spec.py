"""What a model is: everything a client must know to feed its graph and read its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, NamedTuple, get_args

from ..errors import BundleError

INPUT_VALUES = "input_values"
INPUT_LENGTHS = "input_lengths"
OUTPUT_LENGTHS = "output_lengths"
NORMALIZED = "normalized"
FEATURES = "features"
FEATURE_LENGTHS = "feature_lengths"

Stage = Literal["full", "frontend", "encoder"]
"""A graph of a variant: the whole model, or one of the two parts that live captions and long recordings run apart."""

Norm = Literal["group", "layer"]
Frontend = Literal["waveform", "log-mel"]
Tokenizer = Literal["char", "piece", "phoneme"]

_WORDS = {"norm": get_args(Norm), "frontend": get_args(Frontend), "tokenizer": get_args(Tokenizer)}
"""The fields whose words are fixed."""

STAGES: Mapping[Stage, tuple[str, ...]] = {
    "full": (INPUT_VALUES, INPUT_LENGTHS),
    "frontend": (NORMALIZED, INPUT_LENGTHS),
    "encoder": (FEATURES, FEATURE_LENGTHS),
}
"""The graph contract: the inputs of each stage.

``full``      raw waveform float32 [batch, samples] in [-1, 1] and int64 [batch] lengths → the model's outputs.
``frontend``  normalised waveform [batch, samples] and lengths in samples → ``features`` [batch, frames, channels]
              and ``feature_lengths`` int64 [batch].
``encoder``   ``features`` and ``feature_lengths`` → the model's outputs.
Padding (any value after a clip's length) never changes the clip's result.
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
    """A model in the words of its family: all that a client must know to feed its graph and use its outputs."""

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
    head_options: Any
    """The ``Options`` dataclass of runtime/heads/<head>.py."""
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
            for key, words in _WORDS.items():
                if key in kept and kept[key] not in words:
                    raise BundleError(
                        f"bundle.json: spec.{key} is {kept[key]!r}; this version knows {', '.join(words)}"
                    )
            return cls(**{**kept, "head_options": options})
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"bundle.json: the model spec is damaged ({error!r}); export the model again") from error


def _head_options(head: str, values: Mapping[str, Any]) -> Any:
    if not head.isidentifier():
        raise BundleError(f"bundle.json: {head!r} is not the name of a head")
    try:
        kind = import_module(f"wav2edge.runtime.heads.{head}").Options
    except ModuleNotFoundError as error:
        raise BundleError(f"this version of wav2edge knows no head {head!r}; upgrade wav2edge") from error
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: _frozen(value) for key, value in values.items() if key in known})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value

"""PyTorch with transformers on the checkpoint itself: the reference that every other engine is measured against.

A bundle holds no PyTorch weights, so this engine needs the checkpoint that the bundle was made from: the directory in
the environment variable WAV2EDGE_CHECKPOINT. Its weights must be those that the bundle names. Each clip runs alone,
as the parity gate's reference does: transformers itself lets padding change the results of group-norm models.
``EngineOptions.device``: ``cpu``, ``cuda:0``; ``cpu,compile`` or ``cuda:0,compile`` adds ``torch.compile``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..audio.loudness import measure
from ..bundle.read import Bundle, Variant
from ..bundle.spec import OUTPUT_LENGTHS, STAGES, ModelSpec, Stage
from ..bundle.trust import joined_sha256
from ..errors import DeviceError, EngineError, first_line
from . import EVERY_OPTION, Arrays, Build, EngineOptions, Purpose, _gpu, _library

if TYPE_CHECKING:
    import torch

    Forward = Callable[[torch.Tensor], Mapping[str, torch.Tensor]]

PURPOSE: Purpose = "reference"
LIBRARY: str | None = "torch"
SHARED = False
KEEPS_LENGTHS = False
READS = EVERY_OPTION
build: Build | None = None


CHECKPOINT = "WAV2EDGE_CHECKPOINT"
"""The environment variable that names the checkpoint's directory."""

_CLASSES = {
    "ctc": ("ForCTC", "AutoModelForCTC"),
    "sequence_classification": ("ForSequenceClassification", "AutoModelForAudioClassification"),
    "regression": ("ForSequenceClassification", "AutoModelForAudioClassification"),
    "frame_classification": ("ForAudioFrameClassification", "AutoModelForAudioFrameClassification"),
    "xvector": ("ForXVector", "AutoModelForAudioXVector"),
    "encoder": ("Model", "AutoModel"),
}
"""For each head the ending of transformers' class names, and the class that selects one by a model's type."""

_LAST = "last_hidden_state"
"""What transformers calls the output ``hidden_states`` of a bare encoder."""


def unavailable() -> str | None:
    """Why torch cannot run here; None when it can."""
    if reason := not_installed():
        return reason
    if not os.environ.get(CHECKPOINT):
        return f"it runs the checkpoint that a bundle was made from; set {CHECKPOINT} to its directory"
    return None


def not_installed() -> str | None:
    """The reason and the pip line where torch or transformers is missing; None when both are there."""
    for name in ("torch", "transformers"):
        if reason := _library.not_installed(name, "export"):
            return reason
    return None


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """Refuses integer variants, which exist only as graphs, and heads that it does not know."""
    if variant.precision not in ("fp32", "fp16", "bf16"):
        return "it runs the checkpoint, which has no integer form"
    if spec.head not in _CLASSES:
        return f"wav2edge does not run the head {spec.head} in torch"
    return None


def devices() -> tuple[tuple[str, str | None], ...]:
    """fp32 on the CPU; with an NVIDIA GPU also fp32, fp16 and compiled fp16 there."""
    on_gpu = (("fp32", "cuda:0"), ("fp16", "cuda:0"), ("fp16", "cuda:0,compile"))
    return (("fp32", None), *(on_gpu if _gpu.missing() is None else ()))


def matches(bundle: Bundle, directory: Path) -> bool:
    """Whether a checkpoint's weights are those that the bundle was made from (as far as the bundle says)."""
    wanted = bundle.provenance.get("weights_sha256")
    if wanted is None:
        return True
    # As the export digests them: safetensors before pickles, shards in order.
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        files = sorted(directory.glob(pattern))
        if files and joined_sha256(files) == wanted:
            return True
    return False


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> TorchSession:
    """Load the checkpoint in the variant's float type; raises EngineError, DeviceError without the device."""
    import torch

    if stage != "full":
        raise EngineError(f"the engine torch runs whole models, not the stage {stage}")
    directory = Path(os.environ.get(CHECKPOINT, ""))
    if not (directory / "config.json").is_file():
        raise EngineError(f"{CHECKPOINT}={directory}: no config.json, so this is not a Hugging Face checkpoint")
    if not matches(bundle, directory):
        raise EngineError(f"{directory} holds other weights than {bundle.path} was made from")
    device, _, extra = (options.device or "cpu").partition(",")
    if extra not in ("", "compile"):
        raise DeviceError(f"no device {options.device!r}; torch takes cpu or cuda:0, and cuda:0,compile")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError("torch finds no CUDA device here; install its CUDA build and the NVIDIA driver, or use cpu")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[variant.precision]
    model = _model(directory, bundle.spec).to(device=device, dtype=kind).eval()
    extractor = _extractor(directory) if bundle.spec.frontend == "log-mel" else None
    return TorchSession(bundle.spec, torch.compile(model) if extra else model, device, kind, extractor)


class _Loader(Protocol):
    """A class of transformers that loads checkpoints."""

    def from_pretrained(self, directory: str, *, local_files_only: bool) -> torch.nn.Module: ...


class _FeatureExtractor(Protocol):
    """Turns samples [samples] into a model's input features, [batch, frames, size]."""

    def __call__(
        self, raw_speech: NDArray[np.float32], *, sampling_rate: int, return_tensors: str
    ) -> Mapping[str, NDArray[np.float32]]:
        """The features of one recording."""


class _ExtractorLoader(Protocol):
    """The class of transformers that loads feature extractors."""

    def from_pretrained(self, directory: str, *, local_files_only: bool) -> _FeatureExtractor: ...


def _extractor(directory: Path) -> _FeatureExtractor:
    """The feature extractor that makes a model's input, where that is a spectrogram."""
    import transformers

    try:
        loader: _ExtractorLoader = getattr(transformers, "AutoFeatureExtractor")  # noqa: B009 (its own type says nothing)
        return loader.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:  # as of _model
        raise EngineError(f"{directory}: transformers has no feature extractor ({first_line(error)})") from error


def _model(directory: Path, spec: ModelSpec) -> torch.nn.Module:
    import transformers

    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        named = (config.get("architectures") or [""])[0]
        suffix, auto = _CLASSES[spec.head]
        loader: _Loader = getattr(transformers, named if named.endswith(suffix) else auto)
        return loader.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:  # transformers raises many kinds for a damaged checkpoint
        raise EngineError(f"{directory}: transformers cannot load it ({first_line(error)})") from error


class TorchSession:
    """A transformers model that takes the graph contract's feeds and gives its outputs."""

    def __init__(
        self,
        spec: ModelSpec,
        model: Forward,
        device: str,
        dtype: torch.dtype,
        extractor: _FeatureExtractor | None = None,
    ) -> None:
        """Wrap a model in eval mode; extractor: makes its input from samples, where it takes a spectrogram."""
        self._spec, self._device, self._dtype, self._extractor = spec, device, dtype, extractor
        self._model: Forward | None = model
        self.inputs = STAGES["full"]
        self.outputs = spec.output_names

    def run(self, feeds: Arrays) -> Arrays:
        """Run each clip of the batch alone; raises EngineError."""
        import torch

        model = self._model
        if model is None:
            raise EngineError("the session is closed")
        values, lengths = (feeds[name] for name in self.inputs)
        rows: list[dict[str, NDArray[np.generic]]] = []
        try:
            with torch.inference_mode():
                for clip, length in zip(values, lengths):
                    rows.append(self._clip(model, clip[: int(length)]))
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"torch failed: {first_line(error)}") from error
        frames = self._spec.frames(values.shape[1])
        result = {}
        for output in self._spec.outputs:
            arrays = [row[output.name] for row in rows]
            if "frames" in output.axes:
                arrays = [np.pad(array, [(0, frames - len(array)), (0, 0)]) for array in arrays]
            result[output.name] = np.stack(arrays)
        if OUTPUT_LENGTHS in self.outputs:
            result[OUTPUT_LENGTHS] = np.array([self._spec.frames(int(n)) for n in lengths], np.int64)
        return result

    def close(self) -> None:
        """Drop the model."""
        self._model = None

    def _clip(self, model: Forward, clip: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        import torch

        if self._spec.normalize:
            clip = measure([clip]).normalized(clip)
        values = np.ascontiguousarray(clip, np.float32)[None]
        if self._extractor is not None:
            made = self._extractor(clip, sampling_rate=self._spec.sample_rate, return_tensors="np")
            values = np.asarray(made["input_features"], np.float32)
        outputs = model(torch.from_numpy(values).to(self._device, self._dtype))
        found: dict[str, NDArray[np.generic]] = {}
        for output in self._spec.outputs:
            named = _LAST if self._spec.head == "encoder" else output.name
            # Copying to the host also waits for the device.
            found[output.name] = outputs[named][0].float().cpu().numpy()
            if "frames" in output.axes:  # a spectrogram is padded to whole frames
                found[output.name] = found[output.name][: self._spec.frames(len(clip))]
        return found

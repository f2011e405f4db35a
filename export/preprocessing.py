"""The preprocessing of a waveform, by the settings of the checkpoint's feature extractor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle.spec import RATES, Frontend
from ..runtime.errors import CheckpointError
from .documents import PreprocessorJson, ProcessorJson, read_document

if TYPE_CHECKING:
    from torch import Tensor

SUMMED_AT_ONCE = 512
"""Samples whose mean is taken by itself, before the means are added up (``modules.WaveformNorm``)."""


class Extractor(Protocol):
    """The part of transformers' feature extractors that is used here."""

    def __call__(
        self, clip: NDArray[np.float32], /, *, sampling_rate: int, return_tensors: str
    ) -> Mapping[str, Tensor]:
        """A batch of one clip [samples]: the model's arguments, as tensors."""


class MelExtractor(Extractor, Protocol):
    """The part of SeamlessM4TFeatureExtractor that is used here."""

    num_mel_bins: int
    stride: int
    window: NDArray[np.float64]
    mel_filters: NDArray[np.float64]


@dataclass(frozen=True)
class Preprocessing:
    """The settings of a feature extractor."""

    normalize: bool
    """Whether each clip is brought to zero mean and unit variance; log-mel bands always are."""
    sample_rate: int
    """Hz."""
    frontend: Frontend = "waveform"
    """What the model takes."""
    bands: int = 80
    """Mel bands, for log-mel features."""

    def extractor(self) -> Extractor:
        """Transformers' own feature extractor with these settings."""
        import transformers

        if self.frontend == "log-mel":
            return self.mel_extractor()
        made: Callable[..., Extractor] = transformers.Wav2Vec2FeatureExtractor
        return made(sampling_rate=self.sample_rate, do_normalize=self.normalize, return_attention_mask=False)

    def mel_extractor(self) -> MelExtractor:
        """Transformers' own extractor of log-mel features with these settings."""
        import transformers

        made: Callable[..., MelExtractor] = transformers.SeamlessM4TFeatureExtractor
        return made(feature_size=self.bands, num_mel_bins=self.bands, sampling_rate=self.sample_rate)

    def features(self, clip: NDArray[np.float32]) -> Mapping[str, Tensor]:
        """A batch of one clip [samples] as transformers' own feature extractor makes it: the model's arguments.

        A last log-mel frame without a pair is left out instead of masked: a clip alone needs no mask then.
        """
        output = self.extractor()(clip, sampling_rate=self.sample_rate, return_tensors="pt")
        if self.frontend == "log-mel":
            return {"input_features": output["input_features"][:, : int(output["attention_mask"].sum())]}
        return output


def read_preprocessing(path: Path, normalize: bool | None, frontend: Frontend = "waveform") -> Preprocessing:
    """The settings in a checkpoint's directory; ``normalize`` overrides the files, or replaces them.

    frontend: what the architecture takes. Raises CheckpointError where it is not stated whether clips are normalised.
    """
    stated = normalize is True
    values = _extractor_settings(path)
    if normalize is None:
        if not values and frontend == "waveform":
            raise CheckpointError(
                f"{path}: no preprocessor_config.json, so nothing says whether clips are normalised, and a wrong guess "
                "turns transcripts into garbage; state it with normalize=True or normalize=False"
            )
        normalize = values.get("do_normalize", True)
    rate = values.get("sampling_rate", 16000)
    low, high = RATES
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not low <= rate <= high or rate != int(rate):
        raise CheckpointError(
            f"{path}: the preprocessor's sampling_rate is {rate!r}; it must be a number of Hz from {low} to {high}, "
            "such as 16000"
        )
    if frontend == "log-mel":
        if stated:
            raise CheckpointError(f"{path}: normalize=True is for models of waveforms, not of log-mel")
        return _log_mel(path, values, int(rate))
    return Preprocessing(normalize, int(rate))


def _extractor_settings(path: Path) -> PreprocessorJson:
    """The feature extractor's settings; those inside processor_config.json count, as in transformers 5."""
    processor = read_document(path / "processor_config.json", ProcessorJson)
    inside = processor.get("feature_extractor") or processor.get("audio_processor")
    return inside or read_document(path / "preprocessor_config.json", PreprocessorJson)


def _log_mel(path: Path, values: PreprocessorJson, rate: int) -> Preprocessing:
    """The settings of SeamlessM4TFeatureExtractor, whose frames are 400 samples and of which two make a feature."""
    if rate != 16000 or values.get("stride", 2) != 2:
        raise CheckpointError(
            f"{path}: log-mel features of {rate} Hz and stride {values.get('stride', 2)}; wav2edge exports those of "
            "16000 Hz and stride 2"
        )
    return Preprocessing(False, rate, "log-mel", values.get("num_mel_bins", values.get("feature_size", 80)))

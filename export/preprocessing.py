"""What happens to a waveform before the model sees it, as the checkpoint's feature extractor does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import CheckpointError
from .documents import PreprocessorJson, ProcessorJson, read_document

Frontend = Literal["waveform", "log-mel"]

MAX_RATE = 1_000_000
"""Hz; no recording of speech comes near it, so a larger number is a mistake."""


@dataclass(frozen=True)
class Preprocessing:
    """The settings of a feature extractor."""

    normalize: bool
    """Whether each clip is brought to zero mean and unit variance."""
    sample_rate: int
    """Hz."""

    def features(self, clip: NDArray[np.float32]) -> Any:
        """A batch of one clip [samples] as transformers' own feature extractor makes it: the model's arguments."""
        import transformers

        extractor_class: Any = transformers.Wav2Vec2FeatureExtractor
        extractor = extractor_class(
            sampling_rate=self.sample_rate, do_normalize=self.normalize, return_attention_mask=False
        )
        return extractor(clip, sampling_rate=self.sample_rate, return_tensors="pt")


def read_preprocessing(path: Path, normalize: bool | None) -> Preprocessing:
    """The settings in a checkpoint's directory; ``normalize`` overrides what the files say, or stands in for them.

    Raises CheckpointError where nothing says whether clips are normalised.
    """
    found = read_document(path / "preprocessor_config.json", PreprocessorJson)
    if not found:
        found = read_document(path / "processor_config.json", ProcessorJson).get("feature_extractor") or {}
    if normalize is None:
        if not found:
            raise CheckpointError(
                f"{path}: no preprocessor_config.json, so nothing says whether clips are normalised, and a wrong guess "
                "turns transcripts into garbage; state it with normalize=True or normalize=False"
            )
        normalize = found.get("do_normalize", True)
    rate = found.get("sampling_rate", 16000)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 1 <= rate <= MAX_RATE or rate != int(rate):
        raise CheckpointError(
            f"{path}: the preprocessor's sampling_rate is {rate!r}; it must be a number of Hz, such as 16000"
        )
    return Preprocessing(normalize, int(rate))

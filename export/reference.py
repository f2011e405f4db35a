"""The reference of the parity gate: transformers' model on each clip alone, as a user of the checkpoint runs it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle.spec import ModelSpec
from ..runtime.errors import CheckpointError
from .documents import announced_line
from .head_spec import THEIRS
from .network import Network
from .preprocessing import Preprocessing


class Reference:
    """Torch's outputs for a clip; kept, so that the model's modules can be rewritten once all clips have run."""

    def __init__(self, model: Network, spec: ModelSpec, preprocessing: Preprocessing) -> None:
        """Use transformers' model, in eval mode, after transformers' own feature extractor."""
        self.model = model
        self.spec = spec
        self.preprocessing = preprocessing
        self._known: dict[bytes, dict[str, NDArray[np.float32]]] = {}

    def __call__(self, clip: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name for a clip [samples], without the batch axis; no mask, as for a clip alone.

        Raises CheckpointError where the model does not take what the feature extractor gives.
        """
        key = clip.tobytes()
        if key not in self._known:
            self._known[key] = self._run(clip)
        return self._known[key]

    def release(self) -> None:
        """Drop the model, and with it its weights; outputs of clips that were run are kept."""
        self.model = None

    def _run(self, clip: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        import torch

        if self.model is None:
            raise ValueError("this clip was not run before the model was released")
        try:
            with torch.inference_mode():
                outputs = self.model(**self.preprocessing.features(clip))
        except (RuntimeError, ValueError, IndexError) as error:
            raise CheckpointError(
                f"torch cannot run this model on a clip of {len(clip)} samples ({announced_line(error)}); is "
                "preprocessor_config.json that of another model?"
            ) from error
        names = {output.name: THEIRS.get(output.name, output.name) for output in self.spec.outputs}
        return {name: getattr(outputs, theirs)[0].numpy() for name, theirs in names.items()}

"""Read a Hugging Face checkpoint: its configuration, its weights, its vocabulary, its preprocessing.

Nothing of it is executed: weights are safetensors, or pickles that torch loads with ``weights_only``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.bundle.trust import joined_sha256
from ..runtime.errors import CheckpointError
from .bounds import check_amount
from .documents import ConfigJson, announced_line
from .families import POOLED, Family, Head, family_of, head_of
from .labels import Labels, read_labels
from .network import Network
from .preprocessing import Preprocessing, read_preprocessing
from .sources import CheckpointSource, open_source
from .weight_names import NEEDLESS, any_fits, match_names
from .weights import unfilled

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

_ATTENTION = ("_attn_implementation", "attn_implementation", "_attn_implementation_internal")
"""Keys of config.json that select an attention kernel, which may not be installed; the graph has plain attention."""
_TUPLES = ("return_dict", "use_return_dict")
"""Keys of config.json by which a model returns its outputs in a tuple; here they are read by their names."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose small files were read and checked; the weights are read by ``load``."""

    source: CheckpointSource
    """Where its files are."""
    name: str
    """The name under which the user gave it."""
    family: Family
    """Its architecture."""
    head: Head
    """What it predicts."""
    labels: Labels
    """What the label axis means."""
    preprocessing: Preprocessing
    """The settings of its feature extractor."""
    ignored: tuple[str, ...] = ()
    """Patterns of weights that the model may leave unused."""

    @property
    def path(self) -> Path:
        """Its directory, or its file."""
        return self.source.path

    @property
    def config(self) -> ConfigJson:
        """config.json, or the same made from a foreign file."""
        return self.source.config

    @property
    def weights(self) -> tuple[Path, ...]:
        """Its weight files; that of its language, where there is one, is last."""
        return (*self.source.weights, *self._of_language)

    @property
    def _of_language(self) -> tuple[Path, ...]:
        """The files with the weights of its language alone: one or none."""
        return () if self.labels.adapter is None else (self.labels.adapter,)

    @property
    def normalize(self) -> bool:
        """Whether clips are brought to zero mean and unit variance."""
        return self.preprocessing.normalize

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.preprocessing.sample_rate

    @property
    def saved_in_half(self) -> bool:
        """Whether its weights were saved in float16, as config.json says."""
        return str(self.config.get("dtype") or self.config.get("torch_dtype")).split(".")[-1] == "float16"

    @classmethod
    def open(
        cls,
        source: str | Path,
        normalize: bool | None = None,
        revision: str | None = None,
        language: str | None = None,
        ignore_weights: Sequence[str] = (),
        vocab: str | Path | None = None,
        label_groups: Sequence[int] = (),
    ) -> Checkpoint:
        """Read a directory, a repository of the Hugging Face hub, or a weight file of fairseq or torchaudio.

        normalize: overrides preprocessor_config.json, which may then be missing. language: which one, where vocab.json
        holds several; its weights (``adapter.fra.safetensors``) are taken with it. ignore_weights: a shell-style
        pattern, or several, of weights that the model may leave unused. vocab: a vocab.json, or a dictionary of
        fairseq, in place of the checkpoint's. label_groups: sizes of consecutive groups of a classifier's labels, of
        which one holds each. Raises CheckpointError when the checkpoint is missing, incomplete, unsafe or not of this
        family.
        """
        found = open_source(source, revision, language)
        path, config = found.path, found.config
        family = family_of(config, str(path))
        head = head_of(config, family, str(path))
        if normalize is None:
            normalize = found.normalize
        file = found.vocabulary if vocab is None else Path(vocab)
        return cls(
            source=found,
            name=str(source),
            family=family,
            head=head,
            labels=read_labels(path, config, head, language, file, label_groups, found.languages),
            preprocessing=read_preprocessing(path, normalize, family.frontend),
            ignored=(ignore_weights,) if isinstance(ignore_weights, str) else tuple(ignore_weights),
        )

    def load(self) -> Network:
        """Transformers' model in eval mode and float32, attention written out; raises CheckpointError."""
        import torch
        import transformers

        state = self.source.load(self._of_language)
        check_amount(self._model_config(), sum(tensor.numel() for tensor in state.values()), self.path)
        transformers_config: type[PreTrainedConfig] = getattr(transformers, f"{self.family.classes}Config")
        try:
            config = transformers_config.from_dict(self._model_config(), attn_implementation="eager")
            config.dtype = torch.float32
            with unfilled():
                model = self._model_class()(config)
        except Exception as error:  # the checks of transformers and of the hub's client raise many classes
            raise CheckpointError(f"{self.path}: config.json describes no model ({announced_line(error)})") from error
        self._fill(model, state)
        model.eval()
        return model

    def _model_class(self) -> Callable[[PreTrainedConfig], nn.Module]:
        import transformers

        if self.head == POOLED:
            from .pooled import PooledModel

            return lambda config: PooledModel(config, self.family)
        found: type[nn.Module] = getattr(transformers, self.family.classes + self.head.suffix)
        return found

    def _model_config(self) -> dict[str, object]:
        values: dict[str, object] = {
            key: value for key, value in self.config.items() if key not in (*_ATTENTION, *_TUPLES)
        }
        if self.head.name == "ctc":
            values["vocab_size"] = len(self.labels.names)
        return values

    def _fill(self, model: nn.Module, state: dict[str, Tensor]) -> None:
        """Put the weights into the model; raises CheckpointError for missing, unused, misshapen and damaged ones."""
        import torch

        own: dict[str, Tensor] = model.state_dict()
        found = match_names(state, own, self.ignored, str(self.path), type(model).__name__)
        for name, value in found.items():
            if own[name].is_floating_point() and not value.is_floating_point():
                kind = str(value.dtype).removeprefix("torch.")
                raise CheckpointError(
                    f"{self.path}: weight {name} holds {kind}, not floating-point numbers (a quantised checkpoint?); "
                    "export the checkpoint that it was made from"
                )
            if value.shape != own[name].shape:
                raise CheckpointError(
                    f"{self.path}: weight {name} has shape {list(value.shape)}, "
                    f"config.json asks for {list(own[name].shape)}"
                )
        with torch.no_grad():
            for name, value in found.items():
                own[name].copy_(value)
                if not any_fits(name, NEEDLESS):
                    self._refuse_damaged(name, own[name])

    def _refuse_damaged(self, name: str, weight: Tensor) -> None:
        """Raise CheckpointError for a weight with NaN or infinity.

        The sum tells it in 0.35 s for 10^9 numbers, where isfinite takes 5 s; the sum of large numbers may overflow.
        """
        import torch

        if weight.is_floating_point() and not bool(torch.isfinite(weight.sum())):
            damaged = weight.numel() - int(torch.isfinite(weight).sum())
            if damaged:
                raise CheckpointError(
                    f"{self.path}: weight {name} has {damaged} of {weight.numel()} values that are NaN or infinite (or "
                    "beyond float32), so its training diverged or the file is damaged; export an earlier state of the "
                    "training, or download it again"
                )

    def digest(self) -> str:
        """The SHA-256 of its weights (of the files' digests, where there are several)."""
        return joined_sha256(self.weights)

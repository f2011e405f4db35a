"""Read a Hugging Face checkpoint: its configuration, its weights, its vocabulary, its preprocessing.

Nothing of it is executed: weights are safetensors, or pickles that torch loads with ``weights_only``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.bundle.read import sha256
from ..runtime.errors import CheckpointError
from .families import Family, Head, family_of, head_of
from .json_files import one_line, read_json
from .labels import Labels, read_labels
from .weights import load_weights, weight_files


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found and whose small files were read; the weights are read by ``load``.

    path: its directory. name: what the user called it. config: config.json. labels: what the label axis means.
    normalize: whether clips are brought to zero mean and unit variance. sample_rate: Hz. weights: its weight files.
    """

    path: Path
    name: str
    config: Mapping[str, Any]
    family: Family
    head: Head
    labels: Labels
    normalize: bool
    sample_rate: int
    weights: tuple[Path, ...]

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
    ) -> Checkpoint:
        """Read a directory, or a repository of the Hugging Face hub.

        normalize: overrides preprocessor_config.json, which may then be missing. language: which one, where vocab.json
        holds several and the tokenizer names none. Raises CheckpointError when the checkpoint is missing, incomplete,
        unsafe or not of this family.
        """
        path = Path(source)
        if not path.is_dir():
            from .hub import download

            path = download(str(source), revision)
        config = read_json(path / "config.json", required="this is no Hugging Face checkpoint")
        family = family_of(config, str(path))
        head = head_of(config, family, str(path))
        found_normalize, sample_rate = _preprocessing(path, normalize)
        return cls(
            path=path,
            name=str(source),
            config=config,
            family=family,
            head=head,
            labels=read_labels(path, config, head, language),
            normalize=found_normalize,
            sample_rate=sample_rate,
            weights=weight_files(path),
        )

    def load(self) -> Any:
        """Transformers' model in eval mode and float32, attention written out; raises CheckpointError."""
        import torch
        import transformers

        state = load_weights(self.weights)
        transformers_config: Any = getattr(transformers, f"{self.family.classes}Config")
        model_class: Any = getattr(transformers, self.family.classes + self.head.suffix)
        try:
            config = transformers_config.from_dict(dict(self.config), attn_implementation="eager")
            config.dtype = torch.float32
            model = model_class(config)
        except Exception as error:  # the checks of transformers and of the hub's client raise classes of their own
            raise CheckpointError(f"{self.path}: config.json describes no model ({one_line(error)})") from error
        self._fill(model, {name: value.to(torch.float32) for name, value in state.items()})
        model.eval()
        return model

    def _fill(self, model: Any, state: dict[str, Any]) -> None:
        """Put the weights into the model; raises CheckpointError when some are missing or of another shape."""
        state = {_modern_name(name): value for name, value in state.items()}
        own = model.state_dict()
        needed = [name for name in own if not name.startswith("objective.") and "masked_spec_embed" not in name]
        missing = [name for name in needed if name not in state]
        if missing:
            raise CheckpointError(
                f"{self.path}: {len(missing)} of {len(needed)} weights are missing, such as {missing[0]}; "
                f"is it a fine-tuned {type(model).__name__}?"
            )
        for name, value in own.items():
            if name in state and state[name].shape != value.shape:
                raise CheckpointError(
                    f"{self.path}: weight {name} has shape {list(state[name].shape)}, "
                    f"config.json asks for {list(value.shape)}"
                )
        model.load_state_dict(state, strict=False)

    def digest(self) -> str:
        """The SHA-256 of its weights (of the files' digests, where there are several)."""
        digests = [sha256(path) for path in self.weights]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _preprocessing(path: Path, normalize: bool | None) -> tuple[bool, int]:
    # transformers 5 writes processor_config.json with the extractor's settings inside.
    found = read_json(path / "preprocessor_config.json")
    if not found:
        nested = read_json(path / "processor_config.json").get("feature_extractor")
        found = nested if isinstance(nested, dict) else {}
    if normalize is None:
        if not found:
            raise CheckpointError(
                f"{path}: no preprocessor_config.json, so nothing says whether clips are normalised, and a wrong guess "
                "turns transcripts to garbage; add --normalize yes or --normalize no"
            )
        normalize = bool(found.get("do_normalize", True))
    rate = found.get("sampling_rate", 16000)
    if not isinstance(rate, (int, float)) or not 1 <= rate <= 1_000_000 or rate != int(rate):
        raise CheckpointError(
            f"{path}: the preprocessor's sampling_rate is {json.dumps(rate)}; it must be a number of Hz, such as 16000"
        )
    return normalize, int(rate)


def _modern_name(name: str) -> str:
    """Weight normalisation was once stored as weight_g and weight_v."""
    for old, new in (("conv.weight_g", "original0"), ("conv.weight_v", "original1")):
        if name.endswith(f"pos_conv_embed.{old}"):
            return name[: -len(old)] + f"conv.parametrizations.weight.{new}"
    return name

"""LoRA adapters as PEFT saves them: a directory with the differences to a model that is elsewhere, merged here.

The weight of an adapted layer is W + s · B A (Hu et al., 2022), where s is alpha / rank, or alpha / √rank (rsLoRA).
DoRA scales each row of that sum to a learnt length (Liu et al., 2024). Layers that were trained whole, such as a new
output layer, are in the adapter's file under their own names.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..runtime.errors import CheckpointError
from .documents import AdapterJson, ConfigJson, is_file, read_document
from .weights import load_weights

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER_CONFIG = "adapter_config.json"
_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_MATRIX = re.compile(r"\.lora_(A|B|magnitude_vector)(\.\w+)?(\.weight)?$")
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Values of init_lora_weights that change the base model's weights: PEFT saves the difference to those."""
_LONGEST_PATTERN, _MOST_REPEATED = 200, 2
"""Repetitions in a regular expression of adapter_config.json, at most; with more a search may never end."""
_HEADS = {
    "lm_head.weight": "ForCTC",
    "tdnn.0.kernel.weight": "ForXVector",
    "projector.weight": "ForSequenceClassification",
}
_Size = Literal["vocab_size", "num_labels", "classifier_proj_size"]
_SIZES: Mapping[str, tuple[tuple[str, int, _Size], ...]] = {
    "ForCTC": (("lm_head.weight", 0, "vocab_size"),),
    "ForSequenceClassification": (
        ("classifier.weight", 0, "num_labels"),
        ("projector.weight", 0, "classifier_proj_size"),
    ),
    "ForAudioFrameClassification": (("classifier.weight", 0, "num_labels"),),
    "ForSpeechClassification": (("classifier.out_proj.weight", 0, "num_labels"),),
    "ForXVector": (("objective.weight", 1, "num_labels"),),
}
"""By the end of a class's name: the weight and its axis whose length is a size in config.json."""


@dataclass(frozen=True)
class LoraAdapter:
    """A LoRA adapter: its settings, its file, and where the model is that it adapts."""

    path: Path
    """Its directory."""
    settings: AdapterJson
    """adapter_config.json."""
    file: Path
    """Its weights."""

    @property
    def base(self) -> str:
        """The directory, or the name on the hub, of the model that it adapts."""
        name = self.settings.get("base_model_name_or_path") or ""
        return str(self.path / name) if is_file(self.path / name / "config.json") else name

    def brings(self, weight: str) -> bool:
        """Whether a weight was trained whole, so that the base model's is replaced."""
        return weight in self._state()

    def config(self, base: ConfigJson, classes: str) -> ConfigJson:
        """The base model's config.json with the head that the adapter brings; classes: its family's class names.

        The sizes of the head are those of the adapter's own weights: the base model may have another head, or none.
        """
        state = self._state()
        config: ConfigJson = {**base}
        named = (self.settings.get("auto_mapping") or {}).get("base_model_class")
        heads = [classes + suffix for weight, suffix in _HEADS.items() if weight in state]
        if isinstance(named, str) and named.startswith((classes + "For", classes + "Model")):
            config["architectures"] = [named]
        elif heads:
            config["architectures"] = heads[:1]
        suffix = (config.get("architectures") or [""])[0].removeprefix(classes)
        for weight, axis, key in _SIZES.get(suffix, ()):
            if weight in state and state[weight].ndim > axis:
                _set_size(config, key, state[weight].shape[axis])
        return config

    def merge(self, base: Mapping[str, Tensor], core: str) -> dict[str, Tensor]:
        """The base model's weights with the adapter's; raises CheckpointError for matrices that fit no weight.

        core: the attribute of a head's model that holds the network. As transformers does where it loads a model, names
        with and without it in front are taken for the same: either model may have been saved without a head.
        """
        state, start = self._state(), f"{core}."
        bare = not any(f".{start}" in f".{name}" for name in base)
        merged = {(start + name if bare else name): value for name, value in base.items()}

        def place(name: str) -> str:
            return start + name if start + name in merged and name not in merged else name

        for layer in dict.fromkeys(_MATRIX.sub("", name) for name in state if _MATRIX.search(name)):
            name = place(f"{layer}.weight")
            merged[name] = self._merged(layer, merged.get(name), state)
        merged.update({place(name): value for name, value in state.items() if not _MATRIX.search(name)})
        return merged

    def _merged(self, layer: str, weight: Tensor | None, state: Mapping[str, Tensor]) -> Tensor:
        named = [(found.group(1), state[name]) for name in state if (found := _part(name, layer)) is not None]
        parts = dict(named)
        if len(parts) < len(named):
            raise CheckpointError(f"{self.file}: holds several adapters for {layer}; save one of them alone")
        if weight is None or not _fit(weight, parts, bool(self.settings.get("fan_in_fan_out"))):
            raise CheckpointError(
                f"{self.file}: cannot be merged into {layer}: the base model has no such linear layer of that shape; "
                "save the model after merge_and_unload() and export that"
            )
        rank = parts["A"].shape[0]
        scale = self._alpha(layer) / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)
        change = parts["B"].float() @ parts["A"].float() * scale
        whole: Tensor = weight.float() + (change.T if self.settings.get("fan_in_fan_out") else change)
        if "magnitude_vector" in parts:
            length = parts["magnitude_vector"].float().reshape(-1)
            whole = whole * (length / whole.norm(dim=1)).unsqueeze(1)
        return whole

    def _alpha(self, layer: str) -> float:
        for pattern, alpha in (self.settings.get("alpha_pattern") or {}).items():
            if _expression(pattern, self.path).search(layer):
                return float(alpha)
        return float(self.settings.get("lora_alpha", 8))

    def _state(self) -> dict[str, Tensor]:
        state = load_weights((self.file,))
        return {name.removeprefix(_PREFIX).replace(".base_layer.", "."): value for name, value in state.items()}


def open_adapter(path: Path) -> LoraAdapter | None:
    """The adapter in a directory; None where there is none. Raises CheckpointError for adapters of another kind."""
    if not (path / ADAPTER_CONFIG).is_file() or (path / "config.json").is_file():
        return None
    settings = read_document(path / ADAPTER_CONFIG, AdapterJson)
    kind = settings.get("peft_type", "LORA")
    file = next((path / name for name in _FILES if (path / name).is_file()), None)
    start = settings.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGED_BASE):
        raise CheckpointError(
            f"{path}: this adapter began from changed weights of its base model (init_lora_weights: {start[:40]!r}), "
            "which are not in it; save the model after merge_and_unload() and export that"
        )
    if kind != "LORA" or file is None or not settings.get("base_model_name_or_path"):
        what = "without its weights" if file is None else f"of the kind {kind}"
        raise CheckpointError(
            f"{path}: this is a PEFT adapter {what}, which cannot be merged here; save the model after "
            "merge_and_unload() and export that"
        )
    return LoraAdapter(path, settings, file)


def _set_size(config: ConfigJson, key: _Size, size: int) -> None:
    """Put a head's size into config.json, without what config.json says of the base model's own head."""
    config[key] = size
    if key == "vocab_size":
        # The base model's padding token is not that of the vocabulary that this layer was trained with.
        config["pad_token_id"] = None
    if key == "num_labels" and len(config.get("id2label") or ()) != size:
        config["id2label"] = None


def _fit(weight: Tensor, parts: Mapping[str, Tensor], transposed: bool) -> bool:
    """Whether the matrices, and DoRA's lengths, are those of a linear layer with this weight."""
    if not {"A", "B"} <= set(parts) or weight.ndim != 2 or parts["A"].ndim != 2 or parts["B"].ndim != 2:
        return False
    outputs, inputs = reversed(weight.shape) if transposed else weight.shape
    rank = parts["A"].shape[0]
    lengths = parts.get("magnitude_vector")
    return (
        rank > 0
        and tuple(parts["A"].shape) == (rank, inputs)
        and tuple(parts["B"].shape) == (outputs, rank)
        and (lengths is None or lengths.numel() == weight.shape[0])
    )


def _expression(pattern: str, path: Path) -> re.Pattern[str]:
    """A regular expression for the end of layers' names, of unknown origin; raises CheckpointError for costly ones."""
    repeated = re.findall(r"[*+{]", pattern)
    if len(pattern) <= _LONGEST_PATTERN and len(repeated) <= _MOST_REPEATED and not re.search(r"\)[*+{]", pattern):
        with contextlib.suppress(re.error):
            return re.compile(rf"(^|\.)(?:{pattern})$")
    raise CheckpointError(
        f"{path / ADAPTER_CONFIG}: alpha_pattern holds {pattern[:40]!r}, which is not the end of a layer's name; save "
        "the model after merge_and_unload() and export that"
    )


def _part(name: str, layer: str) -> re.Match[str] | None:
    match = _MATRIX.search(name)
    return match if match is not None and name[: match.start()] == layer else None

"""LoRA adapters as PEFT saves them: a directory with the differences to a model that is elsewhere, merged here.

The weight of an adapted layer is W + s · B A (Hu et al., 2022), where s is alpha / rank, or alpha / √rank (rsLoRA).
DoRA scales each row of that sum to a learnt length (Liu et al., 2024). Layers that were trained whole, such as a new
output layer, are in the adapter's file under their own names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.errors import CheckpointError
from .documents import AdapterJson, ConfigJson, read_document
from .weights import load_weights

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER_CONFIG = "adapter_config.json"
_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_MATRIX = re.compile(r"\.lora_(A|B|magnitude_vector)(\.\w+)?(\.weight)?$")
_HEADS = {
    "lm_head.weight": "ForCTC",
    "tdnn.0.kernel.weight": "ForXVector",
    "projector.weight": "ForSequenceClassification",
}


@dataclass(frozen=True)
class Adapter:
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
        return str(self.path / name) if (self.path / name / "config.json").is_file() else name

    def config(self, base: ConfigJson, classes: str) -> ConfigJson:
        """The base model's config.json with the head that the adapter brings; classes: its family's class names."""
        state = self._state()
        config: ConfigJson = {**base}
        named = (self.settings.get("auto_mapping") or {}).get("base_model_class")
        heads = [classes + suffix for weight, suffix in _HEADS.items() if weight in state]
        if isinstance(named, str) and named.startswith(classes + "For"):
            config["architectures"] = [named]
        elif heads:
            config["architectures"] = heads[:1]
        if "lm_head.weight" in state:
            # The base model's padding token is not that of the vocabulary that this layer was trained with.
            config["vocab_size"] = state["lm_head.weight"].shape[0]
            config["pad_token_id"] = None
        return config

    def merge(self, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The base model's weights with the adapter's; raises CheckpointError for matrices that fit no weight."""
        merged, state = dict(base), self._state()
        for name in [name for name in state if _MATRIX.search(name)]:
            if ".lora_A" in name:
                layer = _MATRIX.sub("", name)
                merged[f"{layer}.weight"] = self._merged(layer, base, state)
        return {**merged, **{name: value for name, value in state.items() if not _MATRIX.search(name)}}

    def _merged(self, layer: str, base: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Tensor:
        parts = {found.group(1): state[name] for name in state if (found := _part(name, layer)) is not None}
        weight = base.get(f"{layer}.weight")
        if weight is None or "B" not in parts or parts["A"].ndim != 2:
            raise CheckpointError(
                f"{self.file}: cannot be merged into {layer}: the base model has no such linear layer; "
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
            if re.search(rf"(^|\.){pattern}$", layer):
                return float(alpha)
        return float(self.settings.get("lora_alpha", 8))

    def _state(self) -> dict[str, Tensor]:
        state = load_weights((self.file,))
        return {name.removeprefix(_PREFIX).replace(".base_layer.", "."): value for name, value in state.items()}


def open_adapter(path: Path) -> Adapter | None:
    """The adapter in a directory; None where there is none. Raises CheckpointError for adapters of another kind."""
    if not (path / ADAPTER_CONFIG).is_file() or (path / "config.json").is_file():
        return None
    settings = read_document(path / ADAPTER_CONFIG, AdapterJson)
    kind = settings.get("peft_type", "LORA")
    file = next((path / name for name in _FILES if (path / name).is_file()), None)
    if kind != "LORA" or file is None or not settings.get("base_model_name_or_path"):
        what = "without its weights" if file is None else f"of the kind {kind}"
        raise CheckpointError(
            f"{path}: this is a PEFT adapter {what}, which cannot be merged here; save the model after "
            "merge_and_unload() and export that"
        )
    return Adapter(path, settings, file)


def _part(name: str, layer: str) -> re.Match[str] | None:
    found = _MATRIX.search(name)
    return found if found is not None and name[: found.start()] == layer else None

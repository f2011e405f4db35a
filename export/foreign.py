"""Weight files of fairseq and torchaudio: one ``.pt`` file with other names and no config.json.

1. The configuration is taken from the weights' shapes. What shapes do not tell (attention heads, strides, whether clips
   are normalised) is taken from fairseq's settings in the file, else from the published models of these shapes; where
   there is none, the file is refused: the parity gate cannot detect a wrong guess, which its reference has too.
2. Nothing in the file is run: torch loads it with ``weights_only``, and objects of classes that torch does not know
   become ``Inert`` ones, which keep their data and do nothing.
3. fairseq's CTC blank is its ``<s>``, label 0; the labels follow in the order of its dictionary (``dict.ltr.txt``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.errors import CheckpointError
from .documents import ConfigJson, announced_line
from .weights import refuse_pointer

if TYPE_CHECKING:
    from torch import Tensor

MAX_CLASSES = 100
"""Classes of a file that are replaced by ``Inert``, at most; fairseq's published files have fewer than ten."""
MAX_DEPTH = 12
"""Levels of nested settings that are searched; fairseq's have five."""
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
"""What comes before the labels of fairseq's dictionary, with its first two names exchanged: transformers' blank is the
padding token."""

_NOT_ALLOWED = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")
_CONV = re.compile(r"feature_extractor\.conv_layers\.(\d+)\.(0|2|2\.1)\.(weight|bias)$")
_FAIRSEQ = (
    (r"^w2v_encoder\.proj\.", "lm_head."),
    (r"^w2v_encoder\.w2v_model\.", "wav2vec2."),
    (r"\.post_extract_proj\.", ".feature_projection.projection."),
    (r"^wav2vec2\.layer_norm\.", "wav2vec2.feature_projection.layer_norm."),
    (r"\.mask_emb$", ".masked_spec_embed"),
    (r"\.pos_conv\.0\.", ".pos_conv_embed.conv."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.self_attn\.", ".attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
_TORCHAUDIO = (
    (r"^feature_extractor\.", "wav2vec2.feature_extractor."),
    (r"^encoder\.feature_projection\.", "wav2vec2.feature_projection."),
    (r"^encoder\.transformer\.", "wav2vec2.encoder."),
    (r"^aux\.", "lm_head."),
)
_POSITIONS = re.compile(r"pos_conv_embed.*(weight_v|original1)$")
_PRETRAINING = re.compile(r"\.(final_proj|label_embs_concat|target_glu|project_q|project_hid|quantizer)(\.|$)")
_HEAD_SIZE = 64
"""Of every published model but those of ``_HEADS``."""
_HEADS = {1280: 16, 1920: 16}
"""Attention heads by width: XLS-R of 10^9 and 2 · 10^9 weights, MMS, HuBERT X-Large."""
_KERNELS, _STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
"""Of every published model."""


class Inert:
    """An object of a class that is not loaded: it accepts and keeps any arguments and state, and does nothing."""

    def __init__(self, *arguments: object) -> None:
        """Keep the arguments."""
        self.state: object = arguments

    def __setstate__(self, state: object) -> None:
        """Keep the state."""
        self.state = state

    def __hash__(self) -> int:
        """Equal to itself alone."""
        return id(self)


def load_foreign(file: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """The weights of a fairseq or torchaudio file under transformers' names, and fairseq's settings where it has some.

    Raises CheckpointError where the file is damaged or of neither.
    """
    loaded = _load_inert(file)
    state, settings = _state_of(file, loaded), dict(_settings(loaded, 0))
    if any(name.startswith("w2v_encoder.") for name in state):
        return _renamed(state, _FAIRSEQ), settings
    if any(name.startswith("encoder.transformer.") for name in state):
        return _renamed(state, _TORCHAUDIO), settings
    raise CheckpointError(
        f"{file}: its weights have neither fairseq's names of a fine-tuned model nor torchaudio's; a pre-trained model "
        "has no labels, and a checkpoint of transformers is a directory with config.json"
    )


def foreign_config(file: Path, state: Mapping[str, Tensor], settings: Mapping[str, object]) -> ConfigJson:
    """config.json for such weights; raises CheckpointError where one that it needs is missing."""
    try:
        return _config(state, settings)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{file}: not the weights of a fine-tuned Wav2Vec2 model ({error} is missing)") from error


def read_dictionary(file: Path) -> list[str]:
    """Fairseq's dictionary, a label and its count on each line, with the special labels in front."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: cannot be read ({announced_line(error)})") from error
    labels = [line.rsplit(" ", 1)[0] for line in lines if line.strip()]
    return [*SPECIAL, *(label for label in labels if label not in SPECIAL)]


def find_dictionary(file: Path) -> Path | None:
    """The dictionary beside a weight file: ``dict.ltr.txt``, or the only one of other letters."""
    dictionaries = sorted(file.parent.glob("dict.*.txt"))
    named = [path for path in dictionaries if path.name == "dict.ltr.txt"] or dictionaries
    return named[0] if len(named) == 1 else None


def _load_inert(file: Path) -> object:
    """What torch reads from a file, with classes that it does not know made inert (rule 2)."""
    import pickle

    import torch

    refuse_pointer(file)
    inert: list[tuple[type, str]] = []
    while True:
        try:
            with torch.serialization.safe_globals([*inert]):
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            match = _NOT_ALLOWED.search(str(error))
            if match is None or len(inert) >= MAX_CLASSES or match.group(1) in {name for _, name in inert}:
                raise CheckpointError(
                    f"{file}: this pickle would run code, or is damaged; it was not loaded"
                ) from error
            inert.append((type("Inert", (Inert,), {}), match.group(1)))
        except Exception as error:  # bytes read as a pickle end in errors of any class
            raise CheckpointError(
                f"{file}: truncated or damaged ({announced_line(error)}); download it again"
            ) from error


def _state_of(file: Path, loaded: object) -> dict[str, Tensor]:
    import torch

    inner = loaded.get("model", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(inner, dict):
        raise CheckpointError(f"{file}: no dictionary of tensors by name")
    return {name: value for name, value in inner.items() if isinstance(name, str) and isinstance(value, torch.Tensor)}


def _settings(value: object, depth: int) -> Iterator[tuple[str, object]]:
    """All named plain values in a loaded file, inside tables and objects of argparse or omegaconf."""
    if isinstance(value, Inert):
        value = value.state
    if depth > MAX_DEPTH or not isinstance(value, dict):
        return
    for key, inner in value.items():
        plain = inner.state.get("_val", inner) if isinstance(inner, Inert) and isinstance(inner.state, dict) else inner
        if isinstance(key, str) and isinstance(plain, (str, int, float, bool)):
            yield key, plain
        elif key not in ("model", "last_optimizer_state") or depth > 0:
            yield from _settings(inner, depth + 1)


def _renamed(state: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    result = {}
    for old, value in state.items():
        name = old
        for expression, replacement in rules:
            name = re.sub(expression, replacement, name)
        if (found := _CONV.search(name)) is not None:
            part = "conv" if found.group(2) == "0" else "layer_norm"
            name = f"wav2vec2.feature_extractor.conv_layers.{found.group(1)}.{part}.{found.group(3)}"
        if not _PRETRAINING.search(name):
            result[name] = value
    return result


def _config(state: Mapping[str, Tensor], settings: Mapping[str, object]) -> ConfigJson:
    extractor = "wav2vec2.feature_extractor.conv_layers"
    convolutions: list[Tensor] = []
    while (name := f"{extractor}.{len(convolutions)}.conv.weight") in state:
        convolutions.append(state[name])
    layer_norm = f"{extractor}.1.layer_norm.weight" in state
    positions = state[next((name for name in state if _POSITIONS.search(name)), "pos_conv")]
    width = state["wav2vec2.feature_projection.projection.weight"].shape[0]
    layers = {int(found.group(1)) for name in state if (found := re.search(r"\.encoder\.layers\.(\d+)\.", name))}
    config: dict[str, object] = {
        "model_type": "wav2vec2",
        "architectures": ["Wav2Vec2ForCTC"],
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": settings.get("encoder_attention_heads") or _heads(width),
        "intermediate_size": state["wav2vec2.encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0],
        "num_feat_extract_layers": len(convolutions),
        "conv_dim": [weight.shape[0] for weight in convolutions],
        "conv_kernel": [weight.shape[2] for weight in convolutions],
        "conv_stride": _strides(settings, [weight.shape[2] for weight in convolutions]),
        "conv_bias": f"{extractor}.0.conv.bias" in state,
        "hidden_act": _activation(settings),
        "feat_extract_norm": "layer" if layer_norm else "group",
        "do_stable_layer_norm": settings.get("layer_norm_first", layer_norm),
        "num_conv_pos_embeddings": positions.shape[2],
        "num_conv_pos_embedding_groups": width // positions.shape[1],
        "vocab_size": state["lm_head.weight"].shape[0],
        "pad_token_id": 0,
    }
    result: ConfigJson = config  # type: ignore[assignment]
    return result


def _activation(settings: Mapping[str, object]) -> str:
    """Transformers' name of fairseq's ``activation_fn``; its gelu_accurate is the approximation by tanh."""
    named = str(settings.get("activation_fn") or "gelu")
    names = {"gelu": "gelu", "relu": "relu", "gelu_accurate": "gelu_new", "gelu_fast": "gelu_new", "swish": "swish"}
    if named not in names:
        raise CheckpointError(f"the file's activation_fn is {named}; wav2edge knows {', '.join(names)}")
    return names[named]


def _heads(width: int) -> int:
    """The attention heads of the published models of a width."""
    if width % _HEAD_SIZE:
        raise CheckpointError(
            f"the file does not state its attention heads, and no published model is {width} wide; save the model with "
            "transformers and export that"
        )
    return _HEADS.get(width, width // _HEAD_SIZE)


def _strides(settings: Mapping[str, object], kernels: Sequence[int]) -> list[int]:
    """The strides in fairseq's Python expression, ``[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2``.

    kernels: those of the weights, which the expression must have too.
    """
    text = settings.get("conv_feature_layers")
    if text is None and tuple(kernels) == _KERNELS:
        return list(_STRIDES)
    steps: list[tuple[int, int]] = []
    for inside, times in re.findall(r"\[([^]]*)\]\s*(?:\*\s*(\d{1,9}))?", str(text)):
        layers = re.findall(r"\(\s*\d+\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*\)", inside)
        steps += [(int(kernel), int(stride)) for kernel, stride in layers] * min(int(times or 1), len(kernels) + 1)
    if [kernel for kernel, _ in steps] != list(kernels):
        stated = "has no conv_feature_layers" if text is None else f"states conv_feature_layers as {str(text)[:80]!r}"
        raise CheckpointError(
            f"the file {stated}, and its convolutions have kernels of {', '.join(map(str, kernels))}, so their strides "
            "are not known; save the model with transformers and export that"
        )
    return [stride for _, stride in steps]

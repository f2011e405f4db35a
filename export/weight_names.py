"""From the names in a weight file to those of transformers' model, with the cause where they do not match.

1. Training loops put a wrapper around the model: DistributedDataParallel's ``module.``, torch.compile's
   ``_orig_mod.``, the attribute of a Lightning module. It is removed where more names fit without it.
2. Older versions of torch store weight normalisation as weight_g and weight_v.
3. Weights that only pre-training uses are left out (PRETRAINING), as transformers leaves them out.
4. Every other weight must be in the model and every weight of the model in the file, or the error names the cause:
   the parity gate cannot detect trained weights that are missing in its reference too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ..runtime.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

PRETRAINING = ("quantizer.*", "project_q.*", "project_hid.*")
"""The quantiser and the projections of the contrastive loss (transformers' Wav2Vec2ForPreTraining)."""
RECOMPUTED = ("*.embed_positions.inv_freq", "*.embed_positions.pe")
"""Tables of positions that older versions of transformers saved and newer ones compute."""
NEEDLESS = ("objective.*", "*masked_spec_embed", "*.num_batches_tracked")
"""Weights that only training uses: a file may lack them."""
LISTED = 12
"""Patterns of left-over weights that an error lists, at most; enough to recognise every known cause."""

_WEIGHT_NORM = (
    (".weight_g", ".parametrizations.weight.original0"),
    (".weight_v", ".parametrizations.weight.original1"),
)
_CAUSES = (
    (
        r"\.base_layer\.|\.lora_[AB]\.|lora_embedding_|modules_to_save\.",
        "they are of a PEFT adapter that was not merged; save the model after merge_and_unload()",
    ),
    (r"lora_[AB]$", "they are LoRA matrices that were not merged; add them to the weights and save the model again"),
    (r"adapter_layer\.", "config.json sets no adapter_attn_dim, so the model has no attention adapters"),
    (r"layers\.\*\.", "config.json sets fewer layers (num_hidden_layers) than the file holds"),
    (r"\.adapter\.", "config.json does not set add_adapter, or fewer layers of it"),
    (r"^classifier\.(dense|out_proj)\.", "their head is that of ForSpeechClassification; name that in architectures"),
    (r"^(lm_head|classifier|projector|tdnn)\.", "they are of another head than config.json's architectures name"),
)


def match_names(
    state: Mapping[str, Tensor], own: Collection[str], ignored: Sequence[str], where: str, kind: str
) -> dict[str, Tensor]:
    """The weights by the names of the model's own; ignored: patterns of weights that may be left over.

    Raises CheckpointError that lists what is missing and what is left over, with the cause where it is known.
    """
    kept = {name: value for name, value in state.items() if not _any_fits(name, ignored)}
    renamed = {_modern(name, own): value for name, value in _unwrapped(kept, own, where).items()}
    known = {name: value for name, value in renamed.items() if name in own}
    missing = [name for name in own if name not in known and not _any_fits(name, NEEDLESS)]
    left_over = [
        name for name in renamed if name not in own and not _any_fits(name, (*PRETRAINING, *RECOMPUTED, *ignored))
    ]
    if missing:
        needed = sum(not _any_fits(name, NEEDLESS) for name in own)
        rest = f"; unused in the file: {', '.join(_patterns(left_over))}" if left_over else ""
        cause = _cause(left_over) or f"is it a fine-tuned {kind}?"
        raise CheckpointError(
            f"{where}: {len(missing)} of {needed} weights are missing, such as {missing[0]}{rest}; {cause}"
        )
    if left_over:
        cause = _cause(left_over) or "config.json describes another model than the one that was trained"
        raise CheckpointError(
            f"{where}: {len(left_over)} weights of the file are unused: {', '.join(_patterns(left_over))}; {cause}. "
            f"To export without them, pass ignore_weights={_patterns(left_over)[0]!r}"
        )
    return known


def _unwrapped(state: Mapping[str, Tensor], own: Collection[str], where: str) -> dict[str, Tensor]:
    """Names without the wrappers of rule 1."""
    names = {name: re.sub(r"(^|\.)_orig_mod\.", r"\1", name) for name in state}
    while True:
        now = sum(_modern(name, own) in own for name in names.values())
        best = _wrapper(names.values(), own, now, where)
        if best is None and now == 0 and len({name.split(".", 1)[0] for name in names.values()}) == 1:
            best = next(iter(names.values())).split(".", 1)[0] + "."  # several wrappers, one in the other
            if best[:-1] in names.values():
                best = None
        if best is None:
            return {new: state[old] for old, new in names.items()}
        names = {old: new.removeprefix(best) for old, new in names.items()}


def _wrapper(names: Collection[str], own: Collection[str], now: int, where: str) -> str | None:
    """The wrapper without which most names fit, where they are more than ``now``.

    One whose removal makes two names equal is none: it holds a second copy of the model, such as a moving average.
    Raises CheckpointError where two of them hold the same weights and as many fit.
    """
    fits = dict[str, set[str]]()
    for wrapper in sorted({name.split(".", 1)[0] + "." for name in names if "." in name}):
        found = [_modern(name.removeprefix(wrapper), own) for name in names]
        if len(set(found)) == len(found):
            fits[wrapper] = set(found).intersection(own)
    best = max(fits, key=lambda wrapper: len(fits[wrapper]), default=None)
    if best is None or len(fits[best]) <= now:
        return None
    equal = [wrapper for wrapper, fitting in fits.items() if fitting == fits[best]]
    if len(equal) > 1:
        raise CheckpointError(
            f"{where}: the file holds two copies of the model, {' and '.join(f'{wrapper}*' for wrapper in equal)}. "
            f"To export without one of them, pass ignore_weights={equal[0] + '*'!r}"
        )
    return best


def _modern(name: str, own: Collection[str]) -> str:
    if name in own:
        return name
    for old, new in _WEIGHT_NORM:
        for end, other in ((old, new), (new, old)):
            if name.endswith(end) and name[: -len(end)] + other in own:
                return name[: -len(end)] + other
    return name


def _any_fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _patterns(names: Sequence[str]) -> list[str]:
    """The names as patterns: numbers of layers become ``*``, and weights of one module are one pattern."""
    short = list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))
    if len(short) > LISTED:
        short = list(dict.fromkeys(name.rsplit(".", 1)[0] + ".*" for name in short))
    if len(short) > LISTED:
        short = list(dict.fromkeys(".".join(name.split(".")[:3]) + ".*" for name in short))
    return short if len(short) <= LISTED else [*short[:LISTED], "…"]


def _cause(left_over: Sequence[str]) -> str | None:
    names = (*left_over, *_patterns(left_over))
    return next((cause for expression, cause in _CAUSES if any(re.search(expression, name) for name in names)), None)

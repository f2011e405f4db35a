"""From the names in a weight file to those of transformers' model, with the cause where they do not match.

1. Training loops put a wrapper around the model: DistributedDataParallel's ``module.``, torch.compile's
   ``_orig_mod.``, the attribute of a Lightning module. It is removed where more names fit without it.
2. Older versions of torch store weight normalisation as weight_g and weight_v.
3. Weights that only pre-training uses are left out (PRETRAINING), as transformers leaves them out.
4. Every other weight must be in the model and every weight of the model in the file, or the error names the cause:
   the parity gate cannot detect trained weights that are missing in its reference too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
ADVISED = 48
"""Patterns that an error advises to ignore, at most: as many as the most layers of a published model."""

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
    (r"(^|\.)adapter\.", "config.json does not set add_adapter, or fewer layers of it"),
    (r"\.layers\.\*\.", "config.json sets fewer layers (num_hidden_layers) than the file holds"),
    (r"^classifier\.(dense|out_proj)\.", "their head is that of ForSpeechClassification; name that in architectures"),
    (r"^(lm_head|classifier|projector|tdnn)\.", "they are of another head than config.json's architectures name"),
)


def match_names(
    state: Mapping[str, Tensor], own: Collection[str], ignored: Sequence[str], where: str, kind: str
) -> dict[str, Tensor]:
    """The weights by the names of the model's own; ignored: patterns of weights that may be left over.

    Raises CheckpointError that lists what is missing and what is left over, with the cause where it is known.
    """
    kept = {name: value for name, value in state.items() if not any_fits(name, ignored)}
    now = {old: _modern(name, own) for old, name in _unwrapped(kept, own, where).items()}
    renamed = {name: kept[old] for old, name in now.items()}
    known = {name: value for name, value in renamed.items() if name in own}
    missing = [name for name in own if name not in known and not any_fits(name, NEEDLESS)]
    left_over = [
        name for name in renamed if name not in own and not any_fits(name, (*PRETRAINING, *RECOMPUTED, *ignored))
    ]
    if missing:
        needed = sum(not any_fits(name, NEEDLESS) for name in own)
        rest = f"; unused in the file: {', '.join(_patterns(left_over))}" if left_over else ""
        cause = _cause(left_over, own) or f"is it a fine-tuned {kind}?"
        raise CheckpointError(
            f"{where}: {len(missing)} of {needed} weights are missing, such as {missing[0]}{rest}; {cause}"
        )
    if left_over:
        cause = _cause(left_over, own) or "config.json describes another model than the one that was trained"
        used = {name for pair in now.items() if pair[1] in known for name in pair}
        raise CheckpointError(
            f"{where}: {len(left_over)} weights of the file are unused: {', '.join(_patterns(left_over))}; {cause}"
            + _advice("To export without them", left_over, used)
        )
    return known


def _unwrapped(state: Iterable[str], own: Collection[str], where: str) -> dict[str, str]:
    """Names without the wrappers of rule 1, by the names in the file."""
    names = {name: re.sub(r"(^|\.)_orig_mod\.", r"\1", name) for name in state}
    while True:
        now = sum(_modern(name, own) in own for name in names.values())
        best = _wrapper(names, own, now, where)
        if best is None and now == 0 and len({name.split(".", 1)[0] for name in names.values()}) == 1:
            best = next(iter(names.values())).split(".", 1)[0] + "."  # several wrappers, one in the other
            if best[:-1] in names.values():
                best = None
        if best is None:
            return names
        names = {old: new.removeprefix(best) for old, new in names.items()}


def _wrapper(named: Mapping[str, str], own: Collection[str], now: int, where: str) -> str | None:
    """The wrapper without which most names fit, where they are more than ``now``; named: names by those in the file.

    One whose removal makes two names equal is none: it holds a second copy of the model, such as a moving average.
    Raises CheckpointError where two of them hold the same weights and as many fit.
    """
    fits, names = dict[str, set[str]](), named.values()
    for wrapper in sorted({name.split(".", 1)[0] + "." for name in names if "." in name}):
        found = [_modern(name.removeprefix(wrapper), own) for name in names]
        if len(set(found)) == len(found):
            fits[wrapper] = set(found).intersection(own)
    best = max(fits, key=lambda wrapper: len(fits[wrapper]), default=None)
    if best is None or len(fits[best]) <= now:
        return None
    equal = [wrapper for wrapper, fitting in fits.items() if fitting == fits[best]]
    if len(equal) > 1:
        number = "two" if len(equal) == 2 else len(equal)
        others = [old for old, name in named.items() if name.startswith(tuple(equal[:-1]))]
        raise CheckpointError(
            f"{where}: the file holds {number} copies of the model, {' and '.join(f'{wrapper}*' for wrapper in equal)}"
            + _advice(f"To export {equal[-1]}* alone", others, set(named).difference(others))
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


def any_fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a weight's name fits one of some patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _patterns(names: Sequence[str]) -> list[str]:
    """The names as patterns: numbers of layers become ``*``, and weights of one module are one pattern."""
    short = list(dict.fromkeys(map(_numberless, names)))
    for parts in (-1, 3):
        if len(short) > LISTED:
            short = list(dict.fromkeys(_cut(name, parts) for name in short))
    return short if len(short) <= LISTED else [*short[:LISTED], "…"]


def _advice(purpose: str, names: Iterable[str], used: Collection[str]) -> str:
    """How to leave weights out, with patterns that fit all of them and none that is used; empty where it takes many."""

    @functools.cache
    def free(pattern: str) -> bool:
        return pattern not in used and not ("*" in pattern and any(fnmatchcase(name, pattern) for name in used))

    literal = [re.sub(r"[*?[]", r"[\g<0>]", name) for name in names]
    patterns = _at_most(LISTED, (_first_free((_numberless(name), name), free) for name in literal))
    if len(patterns) > LISTED:
        cuts = ((*(_cut(name, parts) for parts in range(1, name.count(".") + 1)), name) for name in literal)
        patterns = _at_most(ADVISED, (_first_free(choices, free) for choices in cuts))
    if len(patterns) > ADVISED:
        return ""
    return f". {purpose}, pass " + " ".join(f"ignore_weights={pattern!r}" for pattern in patterns)


def _at_most(count: int, patterns: Iterable[str]) -> dict[str, None]:
    """The different ones of the patterns in their order; where they are more than ``count``, the first of them."""
    found = dict[str, None]()
    for pattern in patterns:
        found[pattern] = None
        if len(found) > count:
            break
    return found


def _first_free(choices: Sequence[str], free: Callable[[str], bool]) -> str:
    return next((choice for choice in choices if free(choice)), choices[-1])


def _numberless(name: str) -> str:
    return re.sub(r"\.\d+(?=\.)", ".*", name)


def _cut(name: str, parts: int) -> str:
    """The first parts of a name and ``*`` for the others; all but the last for -1."""
    kept = name.split(".")[:parts]
    return name if len(kept) in (0, name.count(".") + 1) else ".".join(kept) + ".*"


def _cause(left_over: Sequence[str], own: Iterable[str]) -> str | None:
    # A number of a layer is beyond the model's own only where that layer is otherwise one of them.
    layers = set(map(_numberless, left_over)).intersection(map(_numberless, own))
    names = (*left_over, *sorted(layers))
    return next((cause for expression, cause in _CAUSES if any(re.search(expression, name) for name in names)), None)

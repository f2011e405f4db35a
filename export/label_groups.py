"""Several groups of labels in one layer of logits: one label of each holds, as in SUPERB's intent classification.

Transformers has no field for them: the code on the model's card cuts the logits by hand. So they are recognised by the
labels' names where these are unambiguous, and otherwise stated by the user:

1. The labels of Fluent Speech Commands (Lugosch et al., 2019) in the order of s3prl: 6 actions, 14 objects, 4
   locations.
2. Labels that all begin with the name of one of these slots (``action_3``, ``object: lamp``), slot after slot.
3. A label that occurs twice belongs to two groups: without their sizes the checkpoint is refused.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from ..runtime.errors import CheckpointError

INTENT = (
    "activate|bring|change language|deactivate|decrease|increase",
    "chinese|english|german|heat|juice|korean|lamp|lights|music|newspaper|none|shoes|socks|volume",
    "bedroom|kitchen|none|washroom",
)
"""The labels of each slot of Fluent Speech Commands."""
_SLOT = re.compile(r"^(action|object|location)s?[\s_:/=.-]")


def label_groups(names: Sequence[str], asked: Sequence[int], where: str) -> tuple[int, ...]:
    """The sizes of the groups, in order; empty where all labels are one group.

    asked: the sizes that the user states, which override all else; one size means that all labels are one group. where:
    names the checkpoint in errors. Raises CheckpointError for sizes that do not add up to the labels, and where a label
    occurs twice without sizes (rule 3).
    """
    if asked:
        if sum(asked) != len(names) or min(asked) < 1:
            raise CheckpointError(
                f"{where}: label groups of {'+'.join(map(str, asked))} labels; the model has {len(names)}"
            )
        return tuple(asked) if len(asked) > 1 else ()
    found = _known_intent(names) or _slots(names)
    if found:
        return found
    repeated = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if repeated is not None:
        raise CheckpointError(
            f"{where}: the label {repeated!r} occurs twice among {len(names)}, so they seem to be several groups of "
            "which one label each holds; state the groups' sizes as label_groups (SUPERB's intents have 6, 14 and 4), "
            f"or {len(names)} alone where they are one group"
        )
    return ()


def _known_intent(names: Sequence[str]) -> tuple[int, ...]:
    """Rule 1."""
    slots = [slot.split("|") for slot in INTENT]
    sizes = tuple(len(slot) for slot in slots)
    if len(names) != sum(sizes):
        return ()
    plain = [name.lower().replace("_", " ").strip() for name in names]
    starts = itertools.accumulate(sizes, initial=0)
    same = all(sorted(plain[start : start + len(slot)]) == slot for start, slot in zip(starts, slots))
    return sizes if same else ()


def _slots(names: Sequence[str]) -> tuple[int, ...]:
    """Rule 2; empty where a slot occurs again after another one, since groups are consecutive."""
    slots = [found.group(1) if (found := _SLOT.match(name.lower())) else "" for name in names]
    runs = [(slot, len(list(run))) for slot, run in itertools.groupby(slots)]
    distinct = {slot for slot, _ in runs}
    if "" in distinct or len(distinct) < len(runs) or len(runs) < 2:
        return ()
    return tuple(size for _, size in runs)

"""Architectures that can be exported: one row each.

A row says where transformers keeps the pieces that all of the family share: a convolutional feature extractor, a
feature projection, a transformer encoder with a positional convolution, perhaps an adapter. What differs inside those
pieces (their own forward passes) is left to transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime.errors import CheckpointError
from .documents import ConfigJson


@dataclass(frozen=True)
class Family:
    """One architecture.

    name: what ``ModelSpec.architecture`` says. model_type: config.json's key.
    classes: what transformers' class names start with; core: the attribute of a head's model that holds the network.
    xvector: whether transformers has the family with the speaker head.
    """

    name: str
    model_type: str
    classes: str
    core: str
    xvector: bool = True

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that transformers has for this family."""
        return tuple(head for head in HEADS if self.xvector or head.name != "xvector")


@dataclass(frozen=True)
class Head:
    """A head by its file in runtime/heads/ and by the end of transformers' class name."""

    name: str
    suffix: str


HEADS = (
    Head("ctc", "ForCTC"),
    Head("sequence_classification", "ForSequenceClassification"),
    Head("xvector", "ForXVector"),
)

FAMILIES = (
    Family("wav2vec2", "wav2vec2", classes="Wav2Vec2", core="wav2vec2"),
    Family("hubert", "hubert", classes="Hubert", core="hubert", xvector=False),
    Family("unispeech", "unispeech", classes="UniSpeech", core="unispeech", xvector=False),
    Family("unispeech-sat", "unispeech-sat", classes="UniSpeechSat", core="unispeech_sat"),
)


def family_of(config: ConfigJson, where: str) -> Family:
    """The row that config.json's ``model_type`` names; raises CheckpointError where there is none."""
    model_type = config.get("model_type")
    for family in FAMILIES:
        if family.model_type == model_type:
            return family
    known = ", ".join(family.model_type for family in FAMILIES)
    raise CheckpointError(f"{where}: model type {model_type!r} is not of this family; wav2edge exports {known}")


def head_of(config: ConfigJson, family: Family, where: str) -> Head:
    """The head that config.json's ``architectures`` names; raises CheckpointError where it names none of ours."""
    names = config.get("architectures") or []
    for name in names:
        for head in family.heads:
            if name == family.classes + head.suffix:
                return head
    wanted = ", ".join(family.classes + head.suffix for head in family.heads)
    found = ", ".join(names) or "nothing"
    hint = ""
    if any("PreTrain" in name for name in names):
        hint = "; a pre-trained model has no head yet: fine-tune it first"
    elif config.get("auto_map"):
        hint = (
            "; its class comes as code with the checkpoint (auto_map, which needs trust_remote_code) and is never run "
            "here: save its weights under one of these classes"
        )
    raise CheckpointError(f'{where}: config.json names {found} under "architectures"; wav2edge exports {wanted}{hint}')

"""Architectures that can be exported: one row each.

A row says where transformers keeps the parts that the whole family shares: a feature extractor, a feature projection,
an encoder, perhaps an adapter. An encoder with another forward pass has a file in export/encoders/.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime.bundle.spec import Frontend
from ..runtime.errors import CheckpointError
from .documents import ConfigJson


@dataclass(frozen=True)
class Family:
    """One architecture."""

    name: str
    """``ModelSpec.architecture`` and the ``model_type`` of config.json."""
    classes: str
    """What transformers' class names start with."""
    core: str
    """The attribute of a head's model that holds the network."""
    encoder: str = "transformer"
    """A file in export/encoders/."""
    frontend: Frontend = "waveform"
    """What the network takes."""
    speakers: bool = True
    """Whether transformers has the family with the heads for speakers: x-vectors and frames."""

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that transformers has for this family."""
        return tuple(head for head in HEADS if self.speakers or head.name not in ("xvector", "frame_classification"))


@dataclass(frozen=True)
class Head:
    """A head by its file in runtime/heads/ and by the end of transformers' class name."""

    name: str
    suffix: str


HEADS = (
    Head("ctc", "ForCTC"),
    Head("sequence_classification", "ForSequenceClassification"),
    Head("frame_classification", "ForAudioFrameClassification"),
    Head("xvector", "ForXVector"),
    Head("encoder", "Model"),
)
POOLED = Head("sequence_classification", "ForSpeechClassification")
"""A class that is not in transformers (export/pooled.py)."""

FAMILIES = (
    Family("wav2vec2", "Wav2Vec2", "wav2vec2"),
    Family("hubert", "Hubert", "hubert", speakers=False),
    Family("wavlm", "WavLM", "wavlm", "wavlm"),
    Family("unispeech", "UniSpeech", "unispeech", speakers=False),
    Family("unispeech-sat", "UniSpeechSat", "unispeech_sat"),
    Family("data2vec-audio", "Data2VecAudio", "data2vec_audio", "data2vec_audio"),
    Family("wav2vec2-conformer", "Wav2Vec2Conformer", "wav2vec2_conformer", "conformer"),
    Family("wav2vec2-bert", "Wav2Vec2Bert", "wav2vec2_bert", "conformer", "log-mel"),
    Family("sew", "SEW", "sew", "sew", speakers=False),
    Family("sew-d", "SEWD", "sew_d", "sew_d", speakers=False),
)


def family_of(config: ConfigJson, where: str) -> Family:
    """The row for config.json's ``model_type``; raises CheckpointError where there is none."""
    model_type = config.get("model_type")
    for family in FAMILIES:
        if family.name == model_type:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise CheckpointError(f"{where}: model type {model_type!r} is not of this family; wav2edge exports {known}")


def head_of(config: ConfigJson, family: Family, where: str) -> Head:
    """The head that config.json's ``architectures`` names; raises CheckpointError where it names none of ours."""
    names = config.get("architectures") or []
    for name in names:
        for head in (*family.heads, POOLED):
            if name == family.classes + head.suffix:
                return head
    wanted = ", ".join(family.classes + head.suffix for head in family.heads)
    found = ", ".join(names) or "nothing"
    hint = ""
    if any("PreTrain" in name for name in names):
        hint = (
            "; a pre-trained model has no head yet: fine-tune it first, or write "
            f'"{family.classes}Model" there to export its network, for `embed`'
        )
    elif not names:
        hint = "; write there, in brackets, the class that it was trained as"
    elif config.get("auto_map"):
        hint = (
            "; its class comes as code with the checkpoint (auto_map, which needs trust_remote_code) and is never run "
            "here: save its weights under one of these classes"
        )
    raise CheckpointError(f'{where}: config.json names {found} under "architectures"; wav2edge exports {wanted}{hint}')

"""Several groups of labels in one layer: SUPERB's intent models give an action, an object and a location."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from wav2edge.cli import main
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.label_groups import INTENT, label_groups
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import CheckpointError
from wav2edge.runtime.heads import sequence_classification

LAYOUT = Path(__file__).parent / "layouts" / "superb-ic-wav2vec2-base" / "config.json"
NAMES: list[str] = list(json.loads(LAYOUT.read_text())["id2label"].values())
SIZES = (6, 14, 4)


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (NAMES, SIZES),
        ([name.replace(" ", "_").upper() for name in NAMES], SIZES),
        ([f"action_{i}" for i in range(2)] + [f"object_{i}" for i in range(3)], (2, 3)),
        (["Action: on", "Action: off", "Location: hall"], (2, 1)),
        (["action_0", "object_0", "action_1"], ()),
        (["action_0", "object_0", "happy"], ()),
        (["male_angry", "male_happy", "female_angry", "female_happy"], ()),
        (["action_0", "action_1"], ()),
        (["a", "b"], ()),
    ],
)
def test_groups_are_recognised_where_the_names_leave_no_doubt(names: list[str], sizes: tuple[int, ...]) -> None:
    assert label_groups(names, (), "here") == sizes


def test_the_user_states_what_names_do_not_say(make_checkpoint: Callable[..., Path]) -> None:
    labels = {0: "on", 1: "off", 2: "none", 3: "lamp", 4: "none"}
    folder = make_checkpoint(head="ForSequenceClassification", id2label=labels, label2id={})
    with pytest.raises(CheckpointError, match=r"'none' occurs twice among 5.* label_groups"):
        Checkpoint.open(folder)
    with pytest.raises(CheckpointError, match=r"groups of 2\+2 labels; the model has 5"):
        Checkpoint.open(folder, label_groups=[2, 2])
    assert Checkpoint.open(folder, label_groups=[3, 2]).labels.groups == (3, 2)
    assert Checkpoint.open(folder, label_groups=[5]).labels.groups == ()


def test_only_classifiers_have_groups(layer_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="only a classifier"):
        Checkpoint.open(layer_checkpoint, label_groups=[16, 16])


@pytest.mark.slow
def test_classify_gives_what_the_models_card_does(
    make_checkpoint: Callable[..., Path],
    tmp_path: Path,
    clips: list[tuple[Path, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The card takes the best of logits 0–5, 6–19 and 20–23; one softmax over all of them named a single label."""
    folder = make_checkpoint(head="ForSequenceClassification", id2label=dict(enumerate(NAMES)), label2id={})
    assert main(["export", str(folder), str(tmp_path / "b")]) == 0
    assert "groups      3, of 6, 14, 4 labels" in capsys.readouterr().out
    assert Bundle.open(tmp_path / "b").spec.options(sequence_classification.Options).groups == SIZES
    assert tuple(len(slot.split("|")) for slot in INTENT) == SIZES
    model: Any = transformers.AutoModelForAudioClassification.from_pretrained(folder).eval()
    extractor: Any = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    for path, _ in clips[:3]:
        import soundfile

        samples, rate = soundfile.read(path, dtype="float32")
        with torch.no_grad():
            logits = model(**extractor(samples, sampling_rate=rate, return_tensors="pt")).logits[0].numpy()
        cuts = np.split(logits, np.cumsum(SIZES)[:-1])
        starts = (0, 6, 20)
        expected = [NAMES[start + int(cut.argmax())] for start, cut in zip(starts, cuts)]
        assert main(["classify", str(path), "-m", str(tmp_path / "b"), "-f", "jsonl"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [score["label"] for score in found["best"]] == expected

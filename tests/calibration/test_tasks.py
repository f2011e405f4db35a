"""Each head is judged by its own figure."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.calibration.closeness import agreement
from wav2edge.calibration.options import Options
from wav2edge.calibration.quantize import quantize
from wav2edge.calibration.tasks import CHARACTERS, LABELS, WORDS, task_of
from wav2edge.measure.manifest import Row
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import sequence_classification, xvector

LABEL_NAMES = ("calm", "angry", "sad")


@pytest.fixture
def classifier(ctc_spec: ModelSpec) -> ModelSpec:
    options = sequence_classification.Options()
    return dataclasses.replace(
        ctc_spec, head="sequence_classification", labels=LABEL_NAMES, blank=None, delimiter=None, head_options=options
    )


def test_a_head_has_its_task(ctc_spec: ModelSpec, classifier: ModelSpec) -> None:
    assert task_of(ctc_spec) is WORDS
    assert task_of(dataclasses.replace(ctc_spec, delimiter=None)) is CHARACTERS
    assert task_of(classifier) is LABELS
    several = dataclasses.replace(classifier, head_options=sequence_classification.Options(multi_label=True))
    speaker = dataclasses.replace(ctc_spec, head="xvector", head_options=xvector.Options())
    for spec in (several, speaker):
        with pytest.raises(InputError, match=f"the head {spec.head} cannot be judged"):
            task_of(spec)


def test_labels_are_right_or_wrong(classifier: ModelSpec) -> None:
    row = Row(Path("a.wav"), "", "c", "c:1", label="sad")
    assert LABELS.reference(row) == "sad" and LABELS.reference(dataclasses.replace(row, label=None)) == ""
    assert LABELS.answer(np.array([0.1, 2.0, -1.0], np.float32), classifier) == "angry"
    edits, rate = LABELS.score(("sad", "calm", "calm", "angry"), ("sad", "angry", "calm", "angry"))
    assert [one.errors for one in edits] == [0, 1, 0, 0] and (rate.value, rate.length) == (0.25, 4)
    same, other, nan = (np.array(values, np.float32) for values in ([1, 0, 0], [0, 1, 0], [np.nan, 0, 0]))
    assert agreement([same, same, same, same], [same, other, nan, same]) == 0.5


@pytest.fixture(scope="session")
def classifier_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An exported classifier of random weights."""
    torch = pytest.importorskip("torch", reason="needs the extra [export]")
    transformers = pytest.importorskip("transformers", reason="needs the extra [export]")
    from wav2edge.export.checkpoint import Checkpoint
    from wav2edge.export.pipeline import export

    folder = tmp_path_factory.mktemp("classifier")
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        num_labels=len(LABEL_NAMES),
        id2label=dict(enumerate(LABEL_NAMES)),
        label2id={name: index for index, name in enumerate(LABEL_NAMES)},
    )
    torch.manual_seed(3)
    transformers.Wav2Vec2ForSequenceClassification(config).eval().save_pretrained(folder / "checkpoint")
    values = {"do_normalize": True, "sampling_rate": 16000}
    (folder / "checkpoint" / "preprocessor_config.json").write_text(json.dumps(values), "utf-8")
    return export(Checkpoint.open(folder / "checkpoint"), folder / "bundle")


@pytest.mark.slow
def test_a_classifier_is_judged_by_its_labels(
    classifier_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wav2edge.calibration.judge.Judge.latency_ratio", lambda *_: (0.5, 1.0))
    random = np.random.default_rng(0)
    lines = []
    for index in range(44):
        soundfile.write(tmp_path / f"{index}.wav", random.normal(0, 0.1, 8000), 16000)
        lines.append(json.dumps({"path": f"{index}.wav", "label": LABEL_NAMES[index % 3]}))
    (tmp_path / "all.jsonl").write_text("\n".join(lines), "utf-8")
    options = Options(variants=("int8-u8s8", "fp16"), searching=False, force=True)
    made = quantize(classifier_bundle, tmp_path / "all.jsonl", options=options)
    assert made.refused is None and [v.name for v in made.bundle.variants] == ["fp32", "int8-u8s8", "fp16"]
    for outcome in made.outcomes:
        assert outcome.measured.unit == "labels" and outcome.measured.token_agreement > 0.9
    record = json.loads(made.bundle.file("calibration.json").read_text("utf-8"))["variants"]["int8-u8s8"]
    assert record["judged_on"]["labels"] == 22 and record["counts"] == "labels"
    with pytest.raises(InputError, match="no label to judge on"):
        quantize(classifier_bundle, "built-in", options=options)

"""Each head is judged by its own figure."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.calibration import report
from wav2edge.calibration.clips import Clips
from wav2edge.calibration.closeness import agreement, likeness
from wav2edge.calibration.judge import Hypotheses, Judge
from wav2edge.calibration.options import Options
from wav2edge.calibration.quantize import quantize
from wav2edge.measure import tasks
from wav2edge.measure.manifest import Row
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import sequence_classification, xvector

LABEL_NAMES = ("calm", "angry", "sad")
RandomHead = Callable[[str], Bundle]


@pytest.fixture
def classifier(ctc_spec: ModelSpec) -> ModelSpec:
    options = sequence_classification.Options()
    return dataclasses.replace(
        ctc_spec, head="sequence_classification", labels=LABEL_NAMES, blank=None, delimiter=None, head_options=options
    )


def test_a_head_has_its_task(ctc_spec: ModelSpec, classifier: ModelSpec) -> None:
    gapless = dataclasses.replace(ctc_spec, delimiter=None)
    heads = ("regression", "frame_classification", "xvector", "encoder")
    specs = [ctc_spec, gapless, classifier, *(dataclasses.replace(ctc_spec, head=head) for head in heads)]
    found = [tasks.task_of(spec) for spec in specs]
    assert [task.figure.short for task in found] == ["WER", "CER", "accuracy", "CCC", "DER", "EER", "cosine"]
    assert [task.unit for task in found] == ["words", "characters", "labels", "numbers", "turns", "pairs", "recordings"]
    several = dataclasses.replace(classifier, head_options=sequence_classification.Options(multi_label=True))
    with pytest.raises(InputError, match="several labels may apply"):
        tasks.task_of(several)


def test_labels_are_right_or_wrong(classifier: ModelSpec) -> None:
    row = Row(Path("a.wav"), "", "c", "c:1", label="sad")
    task = tasks.task_of(classifier)
    assert task.reference(row) == "sad" and task.reference(dataclasses.replace(row, label=None)) == ""
    outputs = [np.array(values, np.float32) for values in ([0, 1, 3], [0.1, 2, -1], [5, 0, 0], [0, 7, 0])]
    rows = [dataclasses.replace(row, label=label) for label in ("sad", "calm", "calm", "angry")]
    run = task.run(rows, [task.answer(output) for output in outputs])
    assert [item.answer for item in run.items()] == ["sad", "angry", "calm", "angry"]
    assert [item.wrong for item in run.items()] == [0, 1, 0, 0] and run.estimates()[0].value == 0.75
    same, other, nan = (np.array(values, np.float32) for values in ([1, 0, 0], [0, 1, 0], [np.nan, 0, 0]))
    assert agreement([same, same, same, same], [same, other, nan, same]) == 0.5


def test_named_speakers_make_pairs(ctc_spec: ModelSpec) -> None:
    rows = [Row(Path(f"{n}.wav"), "", "c", f"c:{n}", speaker="ab"[n % 2]) for n in range(6)]
    task = tasks.task_of(dataclasses.replace(ctc_spec, head="xvector", head_options=xvector.Options()))
    assert task.amount(rows) == 6  # 3 + 3 pairs of one speaker, 9 of two
    embeddings = [np.array([1, 0.1 * n], np.float32) if n % 2 else np.array([0.1 * n, 1], np.float32) for n in range(6)]
    run = task.run(rows, [task.answer(output) for output in embeddings])
    assert run.estimates()[0].value == 0 and len(run.items()) == 15
    assert task.run(rows[:3], [task.answer(output) for output in embeddings[:3]]).items()[0].name == "0.wav, 2.wav"
    with pytest.raises(InputError, match="pairs of the same speaker and of different"):
        task.check(rows[:2])


def test_answers_are_alike_by_what_they_are() -> None:
    one, two = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    assert likeness("cosine", [one, two], [one * 3, one]) == 0.5
    assert likeness("labels", [np.array([[0.9, 0.2]], np.float32)], [np.array([[0.6, 0.7]], np.float32)], True) == 0.5
    numbers = [np.array([value], np.float32) for value in (1, 2, 3)]
    assert likeness("concordance", numbers, numbers) == 1
    assert likeness("concordance", numbers, [number + 1 for number in numbers]) == pytest.approx(4 / 7)
    assert likeness("cosine", [one], [one * np.nan]) == 0


@pytest.fixture(scope="session")
def classifier_bundle(random_head: RandomHead) -> Bundle:
    """An exported classifier of random weights."""
    return random_head("ForSequenceClassification")


def test_the_best_label_of_each_group_counts(classifier_bundle: Bundle, tmp_path: Path) -> None:
    """Of several groups only that with the largest score was compared, so the others could change within the gate."""
    options = sequence_classification.Options(groups=(2, 1))
    spec = dataclasses.replace(classifier_bundle.spec, head_options=options)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
    label = f"{LABEL_NAMES[0]}, {LABEL_NAMES[2]}"
    clips = Clips((Row(tmp_path / "a.wav", "", "c", "c:1", label=label),), spec, 10.0)
    judge = Judge(dataclasses.replace(classifier_bundle, spec=spec), clips, None)
    own = judge.reference.logits[0]
    last_is_best = np.array([*own[:2], 1 + own.max()], np.float32)
    for scores, alike in ((last_is_best, 1), (np.array([own[1], own[0], 1 + own.max()], np.float32), 0)):
        answers = (judge.task.answer(scores),)
        measured = judge.compare("onnxruntime", Hypotheses((scores,), answers, judge.task.run(clips.rows, answers)))
        assert measured.likeness == alike
    assert agreement([last_is_best], [last_is_best[[1, 0, 2]]]) == 1  # as one group


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "figure", "counted"),
    [
        ("ForXVector", "eer", "cosine"),
        ("ForAudioFrameClassification", "der", "token_agreement"),
        ("Regression", "ccc", "concordance"),
        ("Model", "cosine", "cosine"),
    ],
)
def test_every_head_is_judged_by_its_own_figure(
    head: str,
    figure: str,
    counted: str,
    random_head: RandomHead,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Speaker models, diarizers, regressions and bare encoders were refused."""
    monkeypatch.setattr("wav2edge.calibration.judge.Judge.latency_ratio", lambda *_: (0.5, 1.0))
    random = np.random.default_rng(0)
    lines = []
    for index in range(44):
        soundfile.write(tmp_path / f"{index}.wav", random.normal(0, 0.1, 8000), 16000)
        (tmp_path / f"{index}.rttm").write_text(f"SPEAKER {index} 1 0.1 0.2 <NA> <NA> anna <NA> <NA>\n", "utf-8")
        numbers = dict(zip(LABEL_NAMES, random.normal(size=3).round(3)))
        rows = {"rttm": f"{index}.rttm", "speaker": "abc"[index // 2 % 3], "values": numbers}
        lines.append(json.dumps({"path": f"{index}.wav", **rows}))
    (tmp_path / "all.jsonl").write_text("\n".join(lines), "utf-8")
    options = Options(variants=("int8-u8s8",), searching=False, force=True, longest=1.0)
    shutil.copytree(random_head(head).path, tmp_path / "bundle")
    made = quantize(Bundle.open(tmp_path / "bundle"), tmp_path / "all.jsonl", options=options)
    (outcome,) = made.outcomes
    assert made.refused is None and outcome.measured.finite and outcome.measured.likeness > 0.8
    record = json.loads(made.bundle.file("calibration.json").read_text("utf-8"))["variants"]["int8-u8s8"]
    assert record["figure"]["name"] == figure and record["figure"]["change"] is not None and record[counted] > 0.8
    assert "wer" not in record and figure.upper()[:3] in report.page(made).upper()


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
    shutil.copytree(classifier_bundle.path, tmp_path / "bundle")
    made = quantize(Bundle.open(tmp_path / "bundle"), tmp_path / "all.jsonl", options=options)
    assert made.refused is None and [v.name for v in made.bundle.variants] == ["fp32", "int8-u8s8", "fp16"]
    for outcome in made.outcomes:
        assert outcome.measured.unit == "labels" and outcome.measured.likeness > 0.9
    record = json.loads(made.bundle.file("calibration.json").read_text("utf-8"))["variants"]["int8-u8s8"]
    assert record["judged_on"]["labels"] == 22 and record["counts"] == "labels"
    with pytest.raises(InputError, match="no label to judge on"):
        quantize(classifier_bundle, "built-in", options=options)

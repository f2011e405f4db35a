"""transformers' own pipelines on the same checkpoint and clips give the same text and labels, clip by clip."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from wav2edge.cli import main
from wav2edge.runtime.audio import read

CLIPS = 4
KINDS = {
    "wav2vec2 with layer norm": {},
    "wav2vec2 with group norm": {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    "wavlm": {"classes": "WavLM", "num_buckets": 32, "max_bucket_distance": 80},
}
LABELS = {0: "calm", 1: "happy", 2: "sad"}


def answers(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(list(words)) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def pipeline(task: str, folder: Path) -> Any:
    made: Any = transformers.pipeline
    return made(task, model=str(folder), framework="pt", device="cpu")


@pytest.fixture(params=KINDS)
def shape(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration of each kind."""
    return KINDS[request.param]


@pytest.fixture
def exported(make_checkpoint: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Path, str]]:
    """Make a checkpoint and export it by the command: ``exported(head=…, **shape)``; returns it and the bundle."""

    def make(**options: Any) -> tuple[Path, str]:
        folder, bundle = make_checkpoint(**options), str(tmp_path / "b")
        assert main(["export", str(folder), bundle]) == 0
        return folder, bundle

    return make


@pytest.fixture
def paths(clips: list[tuple[Path, str]]) -> list[str]:
    """A few of the clips that ship."""
    return [str(path) for path, _ in clips[:CLIPS]]


@pytest.mark.slow
def test_speech_recognition(
    shape: dict[str, Any],
    exported: Callable[..., tuple[Path, str]],
    paths: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, bundle = exported(**shape)
    options = ("-f", "jsonl", "--engine", "onnxruntime")
    ours = [answer["text"] for answer in answers(capsys, "transcribe", *paths, "-m", bundle, *options)]
    recognise = pipeline("automatic-speech-recognition", folder)
    theirs = []
    for path in paths:
        text: str = recognise({"raw": read.load(path, 16000), "sampling_rate": 16000})["text"]
        for special in ("<s>", "</s>", "<unk>"):  # written out by transformers, never text here
            text = text.replace(special, "")
        theirs.append(" ".join(text.split()))
    assert ours == theirs and sum(len(text) for text in ours) > 60


@pytest.mark.slow
def test_audio_classification(
    shape: dict[str, Any],
    exported: Callable[..., tuple[Path, str]],
    paths: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"id2label": LABELS, "label2id": {name: index for index, name in LABELS.items()}}
    folder, bundle = exported(head="ForSequenceClassification", **names, **shape)
    classify = pipeline("audio-classification", folder)
    for path, ours in zip(paths, answers(capsys, "classify", *paths, "-m", bundle, "-f", "jsonl")):
        theirs = classify({"raw": read.load(path, 16000), "sampling_rate": 16000}, top_k=3)
        assert [score["label"] for score in ours["scores"]] == [score["label"] for score in theirs]
        expected = [score["score"] for score in theirs]
        assert [score["score"] for score in ours["scores"]] == pytest.approx(expected, abs=2e-3)

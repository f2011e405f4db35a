"""Fine-tuning on a few recordings: what is trained, what is kept, and that the result exports."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from .conftest import package

TINY = Path(__file__).parents[1] / "data/group_norm"
Recipe = Callable[[str], ModuleType]


@pytest.fixture(scope="session")
def finetune() -> Recipe:
    """Import a module of the fine-tuning recipe: `finetune("speech")`."""
    name = package("finetune").__name__
    return lambda module: importlib.import_module(f"{name}.{module}")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve one-second tones by six speakers, each with a word for its pitch."""
    generator, rows = np.random.default_rng(0), []
    for i in range(12):
        tone = np.sin(2 * np.pi * (200 + 100 * (i % 2)) * np.arange(16000) / 16000)
        soundfile.write(tmp_path / f"{i}.wav", 0.3 * tone + 0.01 * generator.standard_normal(16000), 16000)
        rows.append({"path": f"{i}.wav", "text": ("Low", "High")[i % 2] + "!", "speaker": f"s{i // 2}"})
    path = tmp_path / "speech.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_dev_has_speakers_of_its_own(finetune: Recipe, manifest: Path) -> None:
    speech = finetune("speech").read_speech(manifest)
    assert (len(speech.train), len(speech.dev), len(speech.test)) == (10, 2, 0)
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    rows[0]["split"], rows[1]["split"] = "dev", "test"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    speech = finetune("speech").read_speech(manifest)
    assert (len(speech.train), len(speech.dev), len(speech.test)) == (10, 1, 1)


def test_transcripts_are_written_in_the_labels_of_the_checkpoint(finetune: Recipe, tmp_path: Path) -> None:
    labels = finetune("labels")
    writer = labels.Writer(labels.new_tokenizer(["Zoë don't"], tmp_path))
    assert writer.write("ZOË, don’t!") == "zoë don't" and dict(writer.dropped) == {",": 1, "!": 1}
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "A": 3, "B": 4}))
    upper = labels.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), pad_token="<pad>", unk_token="<unk>")
    assert labels.Writer(upper).ids("ab a") == [3, 4, 2, 3]


def test_the_rate_rises_and_falls_to_zero(finetune: Recipe) -> None:
    rates = [finetune("train").rate_at(step, 100, 0.1) for step in range(101)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == 1.0 and rates[100] == 0
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[10:]))


def test_training_keeps_the_front_end_and_the_best_pass(finetune: Recipe, manifest: Path, tmp_path: Path) -> None:
    train = finetune("train")
    settings = train.Settings(epochs=4, patience=2, rate=1e-3, batch_seconds=4.0)
    checkpoint = train.open_checkpoint(str(TINY), [], tmp_path, settings)
    before = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    speech = finetune("speech").read_speech(manifest)
    history = train.fine_tune(checkpoint, speech, settings)
    assert 3 <= len(history) <= 5 and history[0]["epoch"] == 0
    best = min(row["dev_wer"] for row in history)
    assert train.word_error_rate(checkpoint, speech.dev) == pytest.approx(best)
    after = checkpoint.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "feature_extractor" in name)


def test_it_stops_when_dev_no_longer_improves(
    finetune: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = finetune("train")
    rates = iter([0.9, 0.5, 0.6, 0.5, 0.7, 0.1])
    monkeypatch.setattr(train, "word_error_rate", lambda *_: next(rates))
    settings = train.Settings(epochs=9, patience=3)
    checkpoint = train.open_checkpoint(str(TINY), [], tmp_path, settings)
    history = train.fine_tune(checkpoint, finetune("speech").read_speech(manifest), settings)
    assert [row["dev_wer"] for row in history] == [0.9, 0.5, 0.6, 0.5, 0.7]


@pytest.mark.slow
def test_the_two_commands_of_the_readme_make_a_bundle(
    finetune: Recipe,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from wav2edge.cli import main

    tuned = tmp_path / "tuned"
    line = [
        "finetune",
        str(manifest),
        "--checkpoint",
        str(TINY),
        "--out",
        str(tuned),
        "--epochs",
        "1",
        "--threads",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", line)
    finetune("__main__").main()
    assert "WER on dev" in capsys.readouterr().out
    result = json.loads((tuned / "finetune.json").read_text("utf-8"))
    assert result["test_wer"] is None and len(result["history"]) == 2
    assert main(["export", str(tuned), str(tmp_path / "bundle")]) == 0

"""``wav2edge evaluate`` of models that do not transcribe, with manifests that are partly broken."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.cli import main
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import Output
from wav2edge.runtime.bundle.write import write_manifest
from wav2edge.runtime.heads import sequence_classification, xvector


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Four whole recordings, and one that is empty."""
    random = np.random.default_rng(0)
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", random.normal(0, 0.1, 16000), 16000)
    (tmp_path / "bad.wav").write_bytes(b"")
    return tmp_path


@pytest.fixture
def classifier(shapes_bundle: Bundle) -> str:
    spec = dataclasses.replace(
        shapes_bundle.spec,
        head="sequence_classification",
        labels=("happy", "sad"),
        head_options=sequence_classification.Options(),
        blank=None,
        delimiter=None,
        outputs=(Output("out", ("batch", "labels"), "for a test"),),
    )
    write_manifest(shapes_bundle.path, spec, shapes_bundle.variants, {})
    return str(shapes_bundle.path)


@pytest.fixture
def speaker_model(shapes_bundle: Bundle) -> str:
    spec = dataclasses.replace(
        shapes_bundle.spec,
        head="xvector",
        labels=(),
        head_options=xvector.Options(),
        blank=None,
        delimiter=None,
        outputs=(Output("out", ("batch", "embedding"), "for a test"),),
    )
    write_manifest(shapes_bundle.path, spec, shapes_bundle.variants, {})
    return str(shapes_bundle.path)


def test_rows_that_cannot_be_used_are_named_and_left_out(
    recordings: Path, classifier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad row of thousands, found after the first model had run, and there was no result."""
    labels = [("0.wav", "sad"), ("bad.wav", "sad"), ("1.wav", "happy"), ("gone.wav", "sad"), ("2.wav", "angry")]
    labels += [("3.wav", "happy")]
    lines = [json.dumps({"path": path, "label": label}) for path, label in labels]
    manifest = recordings / "m.jsonl"
    manifest.write_text("\n".join([*lines, '{"path": "0.wav"']))
    words = ["evaluate", str(manifest), "-m", classifier, "-m", classifier, "--engine", "null"]
    assert main([*words, "--report", str(recordings / "r")]) == 2
    captured = capsys.readouterr()
    for said in ("m.jsonl:2: ", "m.jsonl:4: ", "m.jsonl:5: the model has no label 'angry'", "m.jsonl:7: "):
        assert said in captured.err
    assert "4 rows of" in captured.err and "the figures are without them" in captured.err
    assert "3 items" in captured.out and "66.7 %" in captured.out
    assert len(json.loads((recordings / "r" / "evaluate.json").read_text())["problems"]) == 4
    assert "bad.wav" in (recordings / "r" / "index.html").read_text()
    largest = captured.out.split("largest errors of ")[1].splitlines()[3:]
    assert [line.split()[1:] for line in largest] == [["sad", "happy", "happy"]]
    items = json.loads((recordings / "r" / "evaluate.json").read_text())["items"]
    assert [item["errors"] for item in items] == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert items[0]["reference"] == "sad" and items[0]["answers"] == ["happy", "happy"]
    assert main([*words, "--worst", "0"]) == 2
    assert "largest errors" not in capsys.readouterr().out
    manifest.write_text(json.dumps({"path": "bad.wav", "label": "sad"}))
    assert main(words) == 2
    assert "no recording could be used" in capsys.readouterr().err


LINES = ["1 0.wav 1.wav", "0 0.wav 2.wav", "1 2.wav bad.wav", "0 1.wav gone.wav", "0 1.wav", "0 1.wav 3.wav"]


def listed(folder: Path) -> Path:
    (folder / "pairs.txt").write_text("\n".join(LINES))
    return folder / "pairs.txt"


def table(folder: Path) -> Path:
    rows = ["same\tfirst\tsecond", *("\t".join(line.split()) for line in LINES)]
    (folder / "pairs.tsv").write_text("\n".join(rows))
    return folder / "pairs.tsv"


@pytest.mark.parametrize("write", [listed, table])
def test_pairs_that_cannot_be_used_are_named_and_left_out(
    write: Callable[[Path], Path], recordings: Path, speaker_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(write(recordings)), "-m", speaker_model, "--engine", "null", "--json"]
    assert main(words) == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert len(found["problems"]) == 3 and found["systems"][0]["figures"]["eer"]["items"] == 3
    assert captured.err.count("wav2edge: ") == 4

"""``wav2edge inspect``: what a bundle holds and what was proven, for people and for programs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from wav2edge.cli import main
from wav2edge.runtime.bundle.documents import MetricsJson
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.write import write_manifest

METRICS: MetricsJson = {
    "wer": 12.345,
    "wer_low": 10.0,
    "wer_high": 15.0,
    "wer_rise": 0.25,
    "token_agreement": 98.7,
    "latency_ratio": 0.61,
    "latency_engine": "onnxruntime",
    "kept_float": ["feature_extractor.conv_layers.0"],
    "verdict": "kept",
}


@pytest.fixture
def bundle(shapes_bundle: Bundle) -> Bundle:
    """A bundle whose variant was measured."""
    variants = [dataclasses.replace(variant, metrics=METRICS) for variant in shapes_bundle.variants]
    provenance = {"wer": {"commands": 4.2}, "checkpoint": "mine", "parameters": 2_000_000}
    files = tuple(shapes_bundle.files)
    return write_manifest(shapes_bundle.path, shapes_bundle.spec, variants, provenance, files)


def test_shows_what_was_measured(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle.path)]) == 0
    out = capsys.readouterr().out
    for wanted in ("12.35 (10–15)", "0.25", "98.7", "0.61 on onnxruntime", "commands 4.2 %", "2.0 M parameters"):
        assert wanted in out
    assert "kept; left in float: feature_extractor.conv_layers.0" in out


def test_json_is_the_manifest(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((bundle.path / "bundle.json").read_text())


def test_verify_finds_a_changed_file(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle.path), "--verify"]) == 0
    assert "all files match" in capsys.readouterr().out
    file = bundle.path / bundle.variants[0].files[0]
    file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
    assert main(["inspect", str(bundle.path), "--verify"]) == 2
    assert "wrong SHA-256" in capsys.readouterr().err


def test_no_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "nowhere"]) == 2
    assert capsys.readouterr().err == (
        "wav2edge: nowhere: no such bundle; make one with `wav2edge export CHECKPOINT BUNDLE`, or correct the path\n"
    )

"""``wav2edge.open`` and ``wav2edge.Transcriber`` run what the command line would run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wav2edge
from wav2edge.devices import choice, tuning
from wav2edge.devices.detect import detect
from wav2edge.devices.tuning import Measurement, Tuning
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.recordings.transcriber import Transcriber


def test_it_follows_what_was_measured_on_this_machine(
    shapes_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    measured = Measurement("null", "fp32", 3, 0.1)
    tuning.save(shapes_bundle, detect(), Tuning(measured, (measured,), "2026-11-23T00:00:00"))
    with wav2edge.Transcriber(shapes_bundle.path) as transcriber:
        assert (transcriber.model.engine, transcriber.options.threads) == ("null", 3)
        assert isinstance(transcriber, Transcriber)
        assert transcriber(np.zeros(16000, np.float32)).text == ""


def test_it_follows_the_profile_and_what_is_named() -> None:
    bundle = Bundle.open(embedded.bundle_path())
    expected = choice.choose(bundle)
    with wav2edge.Transcriber() as transcriber:
        assert (transcriber.model.engine, transcriber.model.variant.name) == (expected.engine, expected.variant.name)
        assert transcriber.options.threads == expected.threads
    with wav2edge.open(variant="fp32", engine="onnxruntime", threads=1) as model:
        assert (model.engine, model.variant.name, model.options.threads) == ("onnxruntime", "fp32", 1)

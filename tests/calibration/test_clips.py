"""Which speech calibrates and which judges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.calibration.clips import BUILT_IN, calibration_clips, dev_clips, hold_out
from wav2edge.runtime.spec import ModelSpec


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    lines = []
    for index, split in enumerate(("train", "dev", "eval", "train", "test", "train")):
        soundfile.write(tmp_path / f"{index}.wav", random.normal(0, 0.1, 16000 * (index + 1)), 16000)
        text = " ".join(["word"] * 12)
        lines.append(json.dumps({"path": f"{index}.wav", "text": text, "split": split}))
    (tmp_path / "all.jsonl").write_text("\n".join(lines), "utf-8")
    return tmp_path / "all.jsonl"


def names(clips: object) -> list[str]:
    return [row.path.name for row in clips.rows]  # type: ignore[attr-defined]


def test_what_a_manifest_sets_aside_is_never_touched(rows: Path, ctc_spec: ModelSpec) -> None:
    clips = calibration_clips(rows, ctc_spec, longest=10.0)
    assert names(clips) == ["0.wav", "1.wav", "3.wav", "5.wav"]
    assert names(dev_clips(rows, ctc_spec, longest=10.0)) == names(clips)


def test_hold_out_shares_nothing(rows: Path, ctc_spec: ModelSpec) -> None:
    rest, dev = hold_out(calibration_clips(rows, ctc_spec, longest=10.0), "all.jsonl")
    assert names(rest) == ["0.wav", "3.wav"] and names(dev) == ["1.wav", "5.wav"]


def test_recordings_are_cut_to_the_length_the_device_sees(rows: Path, ctc_spec: ModelSpec) -> None:
    clips = calibration_clips(rows, ctc_spec, longest=2.5)
    pieces = [len(piece) / 16000 for piece in clips.pieces()]
    assert max(pieces) == 2.5
    assert sum(pieces) == pytest.approx(1 + 2 + 4 + 6)


def test_limit_spreads_over_the_manifest(rows: Path, ctc_spec: ModelSpec) -> None:
    assert names(calibration_clips(rows, ctc_spec, longest=10.0, limit=2)) == ["0.wav", "5.wav"]


def test_digest_follows_bytes_and_texts(rows: Path, ctc_spec: ModelSpec) -> None:
    clips = calibration_clips(rows, ctc_spec, longest=10.0)
    assert clips.digest == calibration_clips(rows, ctc_spec, longest=3.0).digest
    rows.write_text(rows.read_text("utf-8").replace("word word", "another word", 1), "utf-8")
    assert clips.digest != calibration_clips(rows, ctc_spec, longest=10.0).digest


def test_built_in_clips_are_speech_with_text(ctc_spec: ModelSpec) -> None:
    clips = calibration_clips(BUILT_IN, ctc_spec, longest=10.0)
    assert clips.words > 40 and len(clips.rows) >= 6

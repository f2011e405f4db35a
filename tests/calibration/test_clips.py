"""Which speech calibrates and which judges."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.calibration.clips import BUILT_IN, calibration_clips, choose_speech, dev_clips, hold_out, without_dev
from wav2edge.runtime.audio.read import load
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import sequence_classification, xvector


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


def test_splits_are_recognised_as_corpora_name_them(rows: Path, ctc_spec: ModelSpec) -> None:
    """Only the names ``test`` and ``eval`` were set aside: with LibriSpeech's, test sets calibrated and judged."""
    text = rows.read_text("utf-8").replace('"test"', '"test-clean"').replace('"eval"', '"Test"')
    rows.write_text(text, "utf-8")
    assert names(calibration_clips(rows, ctc_spec, longest=10.0)) == ["0.wav", "1.wav", "3.wav", "5.wav"]


def test_hold_out_shares_nothing(rows: Path, ctc_spec: ModelSpec) -> None:
    rest, dev = hold_out(calibration_clips(rows, ctc_spec, longest=10.0), "all.jsonl")
    assert names(rest) == ["0.wav", "3.wav"] and names(dev) == ["1.wav", "5.wav"]


def listed(folder: Path, name: str, *rows: tuple[str, str]) -> Path:
    lines = [json.dumps({"path": path, "text": text}) for path, text in rows]
    (folder / name).write_text("\n".join(lines), "utf-8")
    return folder / name


def test_the_folder_of_a_recording_is_its_label(tmp_path: Path, ctc_spec: ModelSpec) -> None:
    """Such a folder was measured and not quantised with: no label was read."""
    options = sequence_classification.Options()
    spec = dataclasses.replace(ctc_spec, head="sequence_classification", labels=("no", "yes"), head_options=options)
    random = np.random.default_rng(0)
    for index in range(40):
        folder = tmp_path / ("no", "yes")[index // 20]
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / f"{index}.wav", random.normal(0, 0.1, 1600), 16000)
    rest, dev = hold_out(calibration_clips(tmp_path, spec, longest=10.0), "folder")
    assert rest.amount == dev.amount == 20
    assert [row.label for row in dev_clips(tmp_path, spec, longest=10.0).rows] == ["no"] * 20 + ["yes"] * 20
    unlabelled = listed(tmp_path, "rows.jsonl", ("no/0.wav", ""), ("yes/20.wav", ""))
    assert [row.label for row in calibration_clips(unlabelled, spec, longest=10.0).rows] == [None, None]


LONG = " ".join(["word"] * 24)


def test_hold_out_parts_recordings_not_rows(rows: Path, ctc_spec: ModelSpec) -> None:
    """The same recording in several rows, once through a link: it judges or it calibrates."""
    (rows.parent / "link.wav").symlink_to("0.wav")
    twice = listed(rows.parent, "twice.jsonl", ("0.wav", LONG), ("link.wav", LONG), ("1.wav", LONG), ("1.wav", ""))
    rest, dev = hold_out(calibration_clips(twice, ctc_spec, longest=10.0), "twice.jsonl")
    assert names(rest) == ["0.wav", "link.wav"] and names(dev) == ["1.wav"]
    alone = listed(rows.parent, "alone.jsonl", ("0.wav", LONG), ("link.wav", LONG))
    with pytest.raises(InputError, match="one recording with text cannot both"):
        hold_out(calibration_clips(alone, ctc_spec, longest=10.0), "alone.jsonl")


def test_silence_judges_nothing(rows: Path, ctc_spec: ModelSpec) -> None:
    soundfile.write(rows.parent / "silence.wav", np.zeros(16000), 16000)
    path = listed(rows.parent, "silence.jsonl", ("silence.wav", LONG))
    with pytest.raises(InputError, match="silence only; judge on speech"):
        dev_clips(path, ctc_spec, longest=10.0)
    for order, verb in ((("0.wav", "silence.wav"), "judge"), (("silence.wav", "0.wav"), "calibrate")):
        half = listed(rows.parent, "half.jsonl", *((name, LONG) for name in order))
        with pytest.raises(InputError, match=f"silence only; {verb} on speech"):
            hold_out(calibration_clips(half, ctc_spec, longest=10.0), "half.jsonl")
    mixed = calibration_clips(
        listed(rows.parent, "mixed.jsonl", ("silence.wav", LONG), ("0.wav", LONG)), ctc_spec, longest=10.0
    )
    with pytest.raises(InputError, match="silence only"):
        mixed.limited(1)


def test_what_judges_does_not_calibrate(rows: Path, ctc_spec: ModelSpec) -> None:
    (rows.parent / "link.wav").symlink_to("3.wav")
    speech = calibration_clips(rows, ctc_spec, longest=10.0)
    assert names(speech) == ["0.wav", "1.wav", "3.wav", "5.wav"]

    def dev(*files: str) -> object:
        path = listed(rows.parent, "dev.jsonl", *((name, LONG) for name in files))
        return dev_clips(path, ctc_spec, longest=10.0)

    assert names(without_dev(speech, dev("2.wav"))) == names(speech)  # type: ignore[arg-type]
    assert names(without_dev(speech, dev("2.wav", "link.wav"))) == ["0.wav", "1.wav", "5.wav"]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="every recording of dev is in speech too"):
        without_dev(speech, dev("link.wav", "0.wav"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="every recording of speech is in dev too"):
        without_dev(speech, dev("0.wav", "1.wav", "2.wav", "3.wav", "5.wav"))  # type: ignore[arg-type]


def test_limit_comes_after_the_hold_out(rows: Path, ctc_spec: ModelSpec) -> None:
    """N recordings calibrate, whatever judges; and it is said what was left out."""
    said: list[str] = []
    found = choose_speech(ctc_spec, rows, None, 10.0, limit=2, say=said.append)
    assert names(found.calibrating) == ["0.wav", "3.wav"] and names(found.judging) == ["1.wav", "5.wav"] and said == []
    dev = listed(rows.parent, "dev.jsonl", ("2.wav", LONG), ("5.wav", LONG))
    found = choose_speech(ctc_spec, rows, dev, 10.0, limit=2, say=said.append)
    assert names(found.calibrating) == ["0.wav", "3.wav"] and names(found.judging) == ["2.wav", "5.wav"]
    assert found.recordings == 5
    assert len(said) == 1 and said[0].startswith("1 of 4 recordings of ") and "not calibrated on" in said[0]


def test_a_large_manifest_is_judged_on_a_part_of_it(rows: Path, ctc_spec: ModelSpec) -> None:
    """It judged on half of 4 748 recordings, hours at base shape, without a word of it."""
    many = listed(rows.parent, "many.jsonl", *((f"{index}.wav", LONG) for index in range(6)))
    found = choose_speech(ctc_spec, many, None, 10.0, dev_limit=2)
    assert names(found.judging) == ["1.wav", "5.wav"] and len(found.calibrating.rows) == 3 and found.recordings == 6
    dev = listed(rows.parent, "dev.jsonl", ("2.wav", "too few words"), ("5.wav", LONG))
    with pytest.raises(InputError, match=r"dev\.jsonl, 1 of 2 recordings by dev_limit: 3 words to judge on"):
        choose_speech(ctc_spec, rows, dev, 10.0, dev_limit=1)
    soundfile.write(rows.parent / "silence.wav", np.zeros(16000), 16000)
    half = listed(rows.parent, "half.jsonl", ("silence.wav", LONG), ("5.wav", LONG))
    with pytest.raises(InputError, match="silence only; judge on speech"):
        choose_speech(ctc_spec, rows, half, 10.0, dev_limit=1)


def test_lengths_come_from_the_manifest_else_from_the_headers(rows: Path, ctc_spec: ModelSpec) -> None:
    clips = calibration_clips(rows, ctc_spec, longest=2.5)
    assert clips.seconds == pytest.approx(1 + 2 + 4 + 6)
    (rows.parent / "stated.jsonl").write_text('{"path": "0.wav", "seconds": 1.5}', "utf-8")
    assert calibration_clips(rows.parent / "stated.jsonl", ctc_spec, longest=2.5).seconds == 1.5
    (rows.parent / "stated.jsonl").write_text('{"path": "0.wav", "seconds": 100}', "utf-8")
    with pytest.raises(InputError, match=r"0\.wav: it ends after 1\.0 s and should have 100 s"):
        calibration_clips(rows.parent / "stated.jsonl", ctc_spec, longest=2.5)


def test_a_row_of_a_part_of_its_recording_calibrates_with_the_part(rows: Path, ctc_spec: ModelSpec) -> None:
    """It was refused. Another part is other speech, though of the same file."""
    path = rows.parent / "parts.jsonl"
    whole = load(rows.parent / "5.wav")
    digests = set()
    for offset in (1, 2):
        path.write_text(json.dumps({"path": "5.wav", "offset": offset, "duration": 2}) + '\n{"path": "1.wav"}', "utf-8")
        clips = calibration_clips(path, ctc_spec, longest=10.0)
        assert np.array_equal(next(clips.pieces()), whole[offset * 16000 : (offset + 2) * 16000])
        assert clips.seconds == 4.0
        digests.add(clips.digest)
    assert len(digests) == 2


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
    assert clips.amount > 40 and len(clips.rows) >= 6


def pairs_of(folder: Path) -> Path:
    """A list of 100 pairs of 200 recordings; the same speaker and two take turns."""
    lines = [f"{index % 2} {2 * index}.wav {2 * index + 1}.wav" for index in range(100)]
    (folder / "pairs.txt").write_text("\n".join(lines), "utf-8")
    return folder / "pairs.txt"


def speakers_of(folder: Path) -> Path:
    """200 recordings of 100 speakers, in the speakers' order."""
    lines = [json.dumps({"path": f"{index}.wav", "speaker": f"s{index // 2}"}) for index in range(200)]
    (folder / "speakers.jsonl").write_text("\n".join(lines), "utf-8")
    return folder / "speakers.jsonl"


@pytest.mark.parametrize("write", [pairs_of, speakers_of])
def test_the_pairs_of_a_speaker_model_stay_together(
    write: Callable[[Path], Path], tmp_path: Path, ctc_spec: ModelSpec
) -> None:
    """Every second recording, or every third, is of another pair: there was nothing to judge on."""
    spec = dataclasses.replace(ctc_spec, head="xvector", head_options=xvector.Options())
    random = np.random.default_rng(0)
    for index in range(200):
        soundfile.write(tmp_path / f"{index}.wav", random.normal(0, 0.1, 500), 16000)
    dev = write(tmp_path)
    found = choose_speech(spec, BUILT_IN, dev, 10.0, dev_limit=90)
    assert 80 <= len(found.judging.rows) <= 90 and found.judging.amount >= 20
    held = choose_speech(spec, dev, None, 10.0, limit=30)
    assert len(held.judging.rows) == 100 and held.judging.amount >= 25
    assert len(held.calibrating.rows) == 30 and not set(names(held.judging)) & set(names(held.calibrating))
    limited = choose_speech(spec, dev, None, 10.0, dev_limit=90).judging
    assert 80 <= len(limited.rows) <= 90 and limited.amount >= 20


def test_pairs_that_share_recordings_leave_some_to_calibrate_on(tmp_path: Path, ctc_spec: ModelSpec) -> None:
    """Each recording is in 19 pairs, so that the recordings of every second pair are all of them."""
    spec = dataclasses.replace(ctc_spec, head="xvector", head_options=xvector.Options())
    random = np.random.default_rng(0)
    for index in range(20):
        soundfile.write(tmp_path / f"{index}.wav", random.normal(0, 0.1, 500), 16000)
    pairs = [(a, b) for a in range(20) for b in range(a + 1, 20)]
    lines = [f"{int((a + b) % 2 == 0)} {a}.wav {b}.wav" for a, b in pairs]
    (tmp_path / "pairs.txt").write_text("\n".join(lines), "utf-8")
    held = choose_speech(spec, tmp_path / "pairs.txt", None, 10.0)
    assert len(held.judging.rows) == len(held.calibrating.rows) == 10 and held.judging.amount >= 20

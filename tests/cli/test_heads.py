"""classify, embed, verify and diarize, on bundles that the null engine runs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wav2edge.cli import _evaluate_heads, main
from wav2edge.measure.evaluation import System
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec, Output
from wav2edge.runtime.bundle.write import write_manifest
from wav2edge.runtime.heads import frame_classification, regression, sequence_classification, xvector

Make = Callable[..., str]
NULL = ("--engine", "null")


@pytest.fixture
def bundle_of(shapes_bundle: Bundle, ctc_spec: ModelSpec) -> Make:
    def make(head: str, axes: tuple[str, ...], options: Any, labels: tuple[str, ...] = ("happy", "sad")) -> str:
        spec = replace(
            ctc_spec, head=head, labels=labels, head_options=options, blank=None, delimiter=None,
            outputs=(Output("out", axes, "for a test"),),
        )  # fmt: skip
        write_manifest(shapes_bundle.path, spec, shapes_bundle.variants, {})
        return str(shapes_bundle.path)

    return make


def test_labels_of_recordings(
    bundle_of: Make, clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("sequence_classification", ("batch", "labels"), sequence_classification.Options())
    first, second = str(clips[0][0]), str(clips[1][0])
    assert main(["classify", first, "-m", bundle, *NULL]) == 0
    assert capsys.readouterr().out == f"{first}: happy 0.50\n"
    assert main(["classify", first, "-m", bundle, *NULL, "--top", "2"]) == 0
    assert capsys.readouterr().out == f"{first}: happy 0.50, sad 0.50\n"
    gone = str(tmp_path / "gone.wav")
    assert main(["classify", first, gone, second, "-m", bundle, *NULL, "-f", "jsonl"]) == 2
    captured = capsys.readouterr()
    documents = [json.loads(line) for line in captured.out.splitlines()]
    assert [document["audio"] for document in documents] == [first, second]
    assert documents[0]["best"] == [{"label": "happy", "score": 0.5}]
    assert "gone.wav" in captured.err and "2 of 3 recordings could be used" in captured.err
    assert main(["classify", first, "-m", bundle, *NULL, "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] == pytest.approx(documents[0]["seconds"])


def test_the_best_labels_of_each_group(
    bundle_of: Make, clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """``--top 2`` of a model of intents printed two actions, and neither object nor place."""
    options = sequence_classification.Options(groups=(3, 2))
    bundle = bundle_of("sequence_classification", ("batch", "labels"), options, ("on", "off", "up", "lamp", "heat"))
    file = str(clips[0][0])
    assert main(["classify", file, "-m", bundle, *NULL, "--top", "2"]) == 0
    assert capsys.readouterr().out == f"{file}: on 0.33, off 0.33, lamp 0.50, heat 0.50\n"


def test_each_channel_is_labelled(bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = bundle_of("sequence_classification", ("batch", "labels"), sequence_classification.Options())
    call = str(tmp_path / "call.wav")
    soundfile.write(call, np.random.default_rng(0).normal(0, 0.1, (16000, 2)), 16000)
    assert main(["classify", call, "-m", bundle, *NULL, "--channel", "each"]) == 0
    assert capsys.readouterr().out == f"{call} channel 1: happy 0.50\n{call} channel 2: happy 0.50\n"
    assert main(["classify", call, "-m", bundle, *NULL, "--channel", "each", "-f", "jsonl"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(document["audio"], document["channel"]) for document in documents] == [(call, 1), (call, 2)]


def test_numbers_of_a_recording(
    bundle_of: Make, clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("regression", ("batch", "labels"), regression.Options(), ("arousal", "valence"))
    assert main(["classify", str(clips[0][0]), "-m", bundle, *NULL]) == 0
    assert capsys.readouterr().out.endswith(": arousal 0, valence 0\n")


def test_embeddings_are_printed_or_written_whole(
    bundle_of: Make, clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options())
    names = [str(path) for path, _ in clips[:2]]
    assert main(["embed", *names, "-m", bundle, *NULL]) == 0
    assert [json.loads(line)["audio"] for line in capsys.readouterr().out.splitlines()] == names
    assert main(["embed", *names, "-m", bundle, *NULL, "-o", str(tmp_path / "e.npz")]) == 0
    with np.load(tmp_path / "e.npz", allow_pickle=False) as archive:
        assert list(archive["names"]) == names and archive["embeddings"].shape == (2, 1)
    assert main(["embed", *names, "-m", bundle, *NULL, "-o", str(tmp_path / "e.txt")]) == 2


def test_two_recordings_are_compared(
    bundle_of: Make, clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options(threshold=0.5))
    names = [str(path) for path, _ in clips[:2]]
    assert main(["verify", *names, "-m", bundle, *NULL]) == 1
    assert capsys.readouterr().out == "different speakers: cosine 0.0000, threshold 0.5\n"
    assert main(["verify", *names, "-m", bundle, *NULL, "--threshold", "-0.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"same": True, "score": 0.0, "threshold": -0.5}


def test_each_channel_is_compared(bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options(threshold=-0.5))
    call, alone = str(tmp_path / "call.wav"), str(tmp_path / "alone.wav")
    samples = np.random.default_rng(0).normal(0, 0.1, (16000, 2))
    soundfile.write(call, samples, 16000)
    soundfile.write(alone, samples[:, 0], 16000)
    assert main(["verify", alone, call, "-m", bundle, *NULL, "--channel", "each"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "channel 1 of B: the same speaker: cosine 0.0000, threshold -0.5",
        "channel 2 of B: the same speaker: cosine 0.0000, threshold -0.5",
    ]
    assert main(["verify", call, call, "-m", bundle, *NULL, "--channel", "each", "--threshold", "1", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(one["first_channel"], one["second_channel"], one["same"]) for one in found] == [
        (1, 1, False), (1, 2, False), (2, 1, False), (2, 2, False)
    ]  # fmt: skip


def test_a_silent_channel_leaves_the_others(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options(threshold=-0.5))
    call, alone = str(tmp_path / "call.wav"), str(tmp_path / "alone.wav")
    samples = np.random.default_rng(0).normal(0, 0.1, (16000, 2)) * (0, 1)
    soundfile.write(call, samples, 16000)
    soundfile.write(alone, samples[:, 1], 16000)
    assert main(["verify", alone, call, "-m", bundle, *NULL, "--channel", "each"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "channel 2 of B: the same speaker: cosine 0.0000, threshold -0.5\n"
    assert "channel 1 of " in printed.err and "call.wav: it is silent" in printed.err
    assert main(["embed", call, "-m", bundle, *NULL, "--channel", "each"]) == 2
    printed = capsys.readouterr()
    assert [json.loads(line)["channel"] for line in printed.out.splitlines()] == [2]
    assert main(["embed", call, "-m", bundle, *NULL, "--channel", "1"]) == 2
    assert capsys.readouterr().out == ""


def test_a_pattern_for_one_of_two_recordings_names_one(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options())
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    pattern = str(tmp_path / "*.wav")
    assert main(["verify", pattern, str(tmp_path / "a.wav"), "-m", bundle, *NULL]) == 2
    assert "2 recordings fit this pattern; name one" in capsys.readouterr().err


def test_a_threshold_is_measured_for_a_false_accept_rate(
    bundle_of: Make, clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The null engine's cosines are 0 for every pair: nothing but a threshold above 0 accepts at most a half."""
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options())
    names = [str(path) for path, _ in clips[:3]]
    pairs = tmp_path / "pairs.jsonl"
    listed = [(0, 1, True), (0, 2, False), (1, 2, False)]
    pairs.write_text(
        "".join(json.dumps({"first": names[a], "second": names[b], "same": s}) + "\n" for a, b, s in listed)
    )
    evaluate = ["evaluate", str(pairs), "-m", bundle, *NULL]
    assert main([*evaluate, "--false-accept-rate", "0.5", "--keep"]) == 0
    captured = capsys.readouterr()
    words = (
        "accepts 0\u00a0% of 2 pairs of different speakers and rejects 100\u00a0% of 1 pairs of the same in pairs.jsonl"
    )
    assert (
        f"threshold 0.0001 {words} (fp32)" in captured.out and "verify now takes the threshold 0.0001" in captured.err
    )
    options = Bundle.open(bundle).spec.options(xvector.Options)
    (point,) = options.operating_points
    assert (point.different, point.false_accepts, point.same, point.misses) == (2, 0, 1, 1)
    assert options.threshold == point.threshold == 0.0001
    verify = ["verify", *names[:2], "-m", bundle, *NULL]
    for extra in ([], ["--false-accept-rate", "0.5"]):
        assert main([*verify, *extra]) == 1
        assert capsys.readouterr().out.splitlines()[1] == f"threshold 0.0001 {words} (fp32)"
    assert main([*verify, "--false-accept-rate", "0.01"]) == 2
    assert "(measured: 0.5); measure one" in capsys.readouterr().err
    assert main([*verify, "--false-accept-rate", "0.5", "--threshold", "0.1"]) == 2
    assert main([*evaluate, "--false-accept-rate", "0.01"]) == 2
    assert "2 pairs of different speakers are too few" in capsys.readouterr().err
    assert main([*evaluate, "--false-accept-rate", "0.5,0.01", "--keep"]) == 2
    assert "2 pairs of different speakers are too few" in capsys.readouterr().err
    assert main([*evaluate, "--keep"]) == 2
    assert main(["evaluate", str(pairs), "-m", "speaker", "--false-accept-rate", "0.5", "--keep"]) == 2
    assert "is part of wav2edge; copy it" in capsys.readouterr().err


def test_keep_says_the_threshold_of_each_variant() -> None:
    """It named that of the first variant alone, and `verify`, which runs another here, took another."""
    measured = ((0.63, "int8-u8s8"), (0.64, "fp32"))
    points = [xvector.OperatingPoint(0.1, cosine, 1, 10, 0, 10, "pairs.tsv", variant) for cosine, variant in measured]
    options = xvector.Options(points[0].threshold, tuple(points))
    systems = [System("speakers", "onnxruntime", variant) for _, variant in measured]
    assert _evaluate_heads.default_thresholds(systems, options) == "0.63 (int8-u8s8), 0.64 (fp32)"
    assert _evaluate_heads.default_thresholds(systems[1:], options) == "0.64"


def test_turns_of_each_channel(bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = frame_classification.Options()
    bundle = bundle_of("frame_classification", ("batch", "frames", "labels"), options, ("one", "two"))
    call = str(tmp_path / "call.wav")
    soundfile.write(call, np.random.default_rng(0).normal(0, 0.1, (16000, 2)), 16000)
    line = ["diarize", call, "-m", bundle, *NULL, "--channel", "each"]
    assert main([*line, "-f", "rttm"]) == 0
    assert [row.split()[1:3] for row in capsys.readouterr().out.splitlines()] == [["call", "1"]] * 2 + [
        ["call", "2"]
    ] * 2
    assert main([*line, "-f", "json"]) == 0
    assert [found["channel"] for found in json.loads(capsys.readouterr().out)] == [1, 2]
    assert main([*line, "-o", str(tmp_path / "turns")]) == 0
    assert sorted(path.name for path in (tmp_path / "turns").iterdir()) == ["call.ch1.txt", "call.ch2.txt"]


def test_turns_are_written_as_rttm(
    bundle_of: Make, clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = frame_classification.Options()
    bundle = bundle_of("frame_classification", ("batch", "frames", "labels"), options, ("one", "two b"))
    path = clips[0][0]
    assert main(["diarize", str(path), "-m", bundle, *NULL, "-f", "rttm"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:4] for line in lines] == [["SPEAKER", path.stem, "1", "0.000"]] * 2
    assert [line[7] for line in lines] == ["one", "two_b"] and all(len(line) == 10 for line in lines)
    assert main(["diarize", str(path), "-m", bundle, *NULL, "--onset", "0.6", "-f", "json", "-o", str(tmp_path)]) == 0
    assert json.loads((tmp_path / f"{path.stem}.json").read_text())["turns"] == []


@pytest.mark.parametrize("command", ["classify", "embed", "diarize"])
def test_the_wrong_bundle_is_one_line(
    command: str, shapes_bundle: Bundle, clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(clips[0][0])
    assert main([command, name]) == 2
    assert "with -m BUNDLE" in capsys.readouterr().err
    assert main([command, name, "-m", str(shapes_bundle.path), *NULL]) == 2
    assert "its head is ctc, which does not" in capsys.readouterr().err


def test_a_turn_cannot_end_above_the_probability_at_which_it_begins(
    bundle_of: Make, clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("frame_classification", ("batch", "frames", "labels"), frame_classification.Options(), ("one",))
    line = ["diarize", str(clips[0][0]), "-m", bundle, *NULL]
    assert main([*line, "--onset", "0.2", "--offset", "0.9"]) == 2
    assert "--offset 0.9: a turn begins at 0.2, so it ends at most there" in capsys.readouterr().err
    assert main([*line, "--offset", "0.6"]) == 2
    assert main([*line, "--onset", "0.2"]) == 0


def test_verify_takes_the_threshold_of_the_variant_that_runs_with_and_without_a_rate() -> None:
    points = [
        xvector.OperatingPoint(rate, threshold, 0, 100, 0, 100, "pairs.tsv", variant)
        for rate, threshold, variant in ((0.01, 0.7, "int8-u8s8"), (0.01, 0.75, "fp32"), (0.001, 0.9, "fp32"))
    ]
    options = xvector.Options(threshold=0.7, operating_points=tuple(points))
    for variant, threshold in (("int8-u8s8", 0.7), ("fp32", 0.75), ("fp16", 0.7)):
        assert options.threshold_of(variant) == options.operating_point(0.01, variant).threshold == threshold
    assert xvector.Options(threshold=0.3).threshold_of("fp32") == 0.3
    assert xvector.Options().threshold_of("fp32") == xvector.DEFAULT_THRESHOLD


def test_a_cosine_below_the_threshold_is_shown_below_it() -> None:
    one = np.array([1.0, 0.0], np.float32)
    other = np.array([0.76857, np.sqrt(1 - 0.76857**2)], np.float32)
    found = xvector.verify(one, other, 0.7686)
    assert not found.same and found.score == 0.7685
    assert xvector.verify(other, other, 0.5).score == 1.0


def test_recordings_of_one_name_do_not_overwrite_each_other(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = frame_classification.Options()
    bundle = bundle_of("frame_classification", ("batch", "frames", "labels"), options, ("one",))
    for folder in "ab":
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", np.zeros(16000), 16000)
    both = [str(tmp_path / folder / "x.wav") for folder in "ab"]
    assert main(["diarize", *both, "-m", bundle, *NULL, "-f", "rttm", "-o", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert main(["diarize", *both, "-m", bundle, *NULL, "-f", "json"]) == 0
    assert [document["audio"] for document in json.loads(capsys.readouterr().out)] == both


def test_each_turn_says_of_which_recording_it_is(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines of text named no recording, and in RTTM two recordings of one name in other folders were one."""
    bundle = bundle_of("frame_classification", ("batch", "frames", "labels"), frame_classification.Options(), ("one",))
    for folder in "ab":
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", np.zeros(16000), 16000)
    both = [str(tmp_path / folder / "x.wav") for folder in "ab"]
    line = ["diarize", *both, "-m", bundle, *NULL]
    assert main(line) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [text.split(": ")[0] for text in printed] == both and printed[0].split()[1] == "0.00"
    assert main([*line, "-f", "rttm"]) == 0
    assert [row.split()[1] for row in capsys.readouterr().out.splitlines()] == ["x.wav", "b-x.wav"]
    assert main([*line, "-o", str(tmp_path / "out")]) == 0
    assert all(path.read_text().split()[0] == "0.00" for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("command", ["classify", "diarize"])
def test_a_name_that_is_not_utf_8(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """JSON had a lone surrogate for it, which is not valid text."""
    head, axes, options = {
        "classify": ("sequence_classification", ("batch", "labels"), sequence_classification.Options()),
        "diarize": ("frame_classification", ("batch", "frames", "labels"), frame_classification.Options()),
    }[command]
    bundle = bundle_of(head, axes, options, ("one", "two"))
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    soundfile.write(tmp_path / "x.wav", np.zeros(16000), 16000)
    os.rename(tmp_path / "x.wav", path)
    assert main([command, path, "-m", bundle, *NULL, "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["audio"] == f"{tmp_path}/\ufffd.wav"


@pytest.mark.parametrize(("form", "ending"), [("rttm", ".rttm"), ("text", ".txt")])
def test_turns_are_not_written_over_a_reference(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, ending: str
) -> None:
    """As with ``transcribe``: the reference of a folder of data, beside its recording, was lost."""
    bundle = bundle_of("frame_classification", ("batch", "frames", "labels"), frame_classification.Options(), ("one",))
    soundfile.write(tmp_path / "x.wav", np.zeros(16000), 16000)
    reference = tmp_path / f"x{ending}"
    reference.write_text("by hand")
    line = ["diarize", str(tmp_path / "x.wav"), "-m", bundle, *NULL, "-f", form, "-o"]
    assert main([*line, str(tmp_path)]) == 2
    assert "exists beside its recording" in capsys.readouterr().err
    assert reference.read_text() == "by hand"
    assert main([*line, str(tmp_path / "out")]) == 0 and (tmp_path / "out" / f"x{ending}").exists()


def test_turns_that_cannot_be_written_cost_no_other_recording(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is taken by a folder ended the command with the others undone."""
    bundle = bundle_of("frame_classification", ("batch", "frames", "labels"), frame_classification.Options(), ("one",))
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(16000), 16000)
    (tmp_path / "out" / "a.rttm").mkdir(parents=True)
    both = [str(tmp_path / f"{name}.wav") for name in "ab"]
    assert main(["diarize", *both, "-m", bundle, *NULL, "-f", "rttm", "-o", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "b.rttm").is_file()
    error = capsys.readouterr().err
    assert "a.rttm cannot be written" in error and "1 of 2 recordings could be used" in error


def test_a_recording_cut_short_is_labelled_and_named(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("sequence_classification", ("batch", "labels"), sequence_classification.Options())
    path = tmp_path / "half.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 80000), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main(["classify", str(path), "-m", bundle, *NULL]) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}: happy") and "half.flac: it breaks off after 2.3 s of 5.0 s" in err
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options(threshold=-0.5))
    for command in (["embed", str(path)], ["verify", str(path), str(path)]):
        assert main([*command, "-m", bundle, *NULL]) == 2
        out, err = capsys.readouterr()
        assert out and "half.flac: it breaks off after 2.3 s of 5.0 s" in err, (
            "the result is there, and what is missing said"
        )


def test_json_on_a_terminal_holds_no_control_character(
    bundle_of: Make, clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "a\x9b31m"
    bundle = bundle_of("sequence_classification", ("batch", "labels"), sequence_classification.Options(), (evil, "b"))
    assert main(["classify", str(clips[0][0]), "-m", bundle, *NULL, "-f", "jsonl"]) == 0
    out = capsys.readouterr().out
    assert "\x9b" not in out and json.loads(out)["best"][0]["label"] == evil


def test_a_classifier_is_evaluated_by_its_own_figures(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of("sequence_classification", ("batch", "labels"), sequence_classification.Options())
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(16000), 16000)
    rows = [{"path": f"{number}.wav", "label": "happy" if number else "sad"} for number in range(4)]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", str(manifest), "-m", bundle, *NULL]
    assert main([*words, "--report", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert "4 items" in out and "accuracy" in out and "75.0 %" in out
    written = json.loads((tmp_path / "r" / "evaluate.json").read_text())
    assert written["systems"][0]["figures"]["accuracy"]["value"] == 0.75
    page = (tmp_path / "r" / "index.html").read_text()
    assert "expected calibration error" in page and page.count("<table") == 2
    assert "0.wav" in page and "1.wav" not in page, "the one that is wrong"
    assert main([*words, "-m", bundle]) == 0
    assert "accuracy against" in capsys.readouterr().out
    manifest.write_text(json.dumps({"path": "0.wav", "label": "angry"}) + "\n")
    assert main(words) == 2
    assert "the model has no label 'angry'" in capsys.readouterr().err


def test_channels_that_cancel_each_other_are_said(
    bundle_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their average was classified as "other", and verified as the same speaker, without a word."""
    path, alone = str(tmp_path / "x.wav"), str(tmp_path / "alone.wav")
    samples = np.random.default_rng(0).normal(0, 0.1, 32000)
    soundfile.write(path, np.stack((samples, -samples), 1), 16000)
    soundfile.write(alone, samples, 16000)
    bundle = bundle_of("sequence_classification", ("batch", "labels"), sequence_classification.Options())
    assert main(["classify", path, "-m", bundle, *NULL]) == 0
    assert "opposite polarity" in (err := capsys.readouterr().err) and "choose with --channel" not in err
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options(threshold=-0.5))
    assert main(["verify", alone, path, "-m", bundle, *NULL]) == 2
    assert "it is silent, no sample is above -80 dB; its 2 channels are of opposite polarity" in capsys.readouterr().err
    assert main(["verify", alone, path, "-m", bundle, *NULL, "--channel", "left"]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not UTF-8")
def test_a_name_that_is_not_utf8_loses_no_embedding(
    bundle_of: Make, clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.wav")
    shutil.copy(clips[0][0], odd)
    bundle = bundle_of("xvector", ("batch", "embedding"), xvector.Options())
    written = tmp_path / "e.jsonl"
    assert main(["embed", odd, str(clips[1][0]), "-m", bundle, *NULL, "-o", str(written)]) == 0
    names = [json.loads(line)["audio"] for line in written.read_text("utf-8").splitlines()]
    assert names[0].endswith("odd\ufffd.wav") and names[1] == str(clips[1][0])
    bundle = bundle_of("sequence_classification", ("batch", "labels"), sequence_classification.Options())
    assert main(["classify", odd, "-m", bundle, *NULL, "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"]


def test_the_form_of_json_follows_the_recordings_not_the_arguments(
    bundle_of: Make, clips: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clips[0][0], tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(b"")
    bundle = bundle_of("sequence_classification", ("batch", "labels"), sequence_classification.Options())
    assert main(["classify", str(tmp_path / "?.wav"), "-m", bundle, *NULL, "-f", "json"]) == 2
    assert len(json.loads(capsys.readouterr().out)) == 1

"""What the judge counts, and what it refuses to judge on."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wav2edge.calibration.build import NAMES, planned
from wav2edge.calibration.clips import Clips, dev_clips
from wav2edge.calibration.judge import Judge, engine_for
from wav2edge.cli import main
from wav2edge.measure.manifest import Row
from wav2edge.measure.tasks import gapless
from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle, Variant
from wav2edge.runtime.bundle.spec import OUTPUT_LENGTHS, ModelSpec, Tokenizer
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.model import Model
from wav2edge.runtime.text.transcript import Word

CHARACTERS = ("<pad>", "你", "好", "世", "界", "是")


class Clock:
    """A clock that only runs while a session does."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Speaks:
    """A session that answers every clip with one text; its first run takes ten times as long as the others."""

    inputs: tuple[str, ...] = ("input_values", "input_lengths")
    outputs: tuple[str, ...] = ("logits", OUTPUT_LENGTHS)

    def __init__(self, spec: ModelSpec, text: str, clock: Clock | None = None, seconds: float = 0.0) -> None:
        self.spec, self.path = spec, [label for name in text for label in (spec.labels.index(name), 0)]
        self.clock, self.seconds, self.first = clock or Clock(), seconds, True

    def run(self, feeds: Arrays) -> Arrays:
        self.clock.now += self.seconds * (10 if self.first else 1)
        self.first = False
        frames = self.spec.frames(int(feeds["input_lengths"][0]))
        path = [*self.path, *[0] * (frames - len(self.path))]
        logits = np.eye(len(self.spec.labels), dtype=np.float32)[path][None] * 5
        return {"logits": logits, OUTPUT_LENGTHS: np.array([frames])}

    def close(self) -> None:
        pass


def speaking(bundle: Bundle, session: Speaks) -> Model:
    return Model(bundle, "onnxruntime", "fp32", sessions={"full": session})


MakeJudge = Callable[[ModelSpec, str, str], Judge]


@pytest.fixture
def judge(shapes_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJudge:
    """A judge of two noisy clips with one text, whose fp32 writes another."""

    def make(spec: ModelSpec, said: str, written: str) -> Judge:
        soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
        rows = (Row(tmp_path / "a.wav", said, "c", "c:1"), Row(tmp_path / "a.wav", said, "c", "c:2"))
        monkeypatch.setattr(Judge, "open", lambda self, *_: speaking(self.bundle, Speaks(spec, written)))
        return Judge(dataclasses.replace(shapes_bundle, spec=spec), Clips(rows, spec, 10.0), None)

    return make


@pytest.fixture
def characters(ctc_spec: ModelSpec) -> ModelSpec:
    return dataclasses.replace(ctc_spec, labels=CHARACTERS, delimiter=None, language="zh")


def test_text_without_gaps_is_judged_by_characters(judge: MakeJudge, characters: ModelSpec) -> None:
    """With spaces between them no word ever fits its reference, and nothing that INT8 does changes the rate."""
    made = judge(characters, "你好世界", "你好世界")
    run = made.reference.run
    assert [item.answer for item in run.items()] == ["你好世界"] * 2 and run.estimates()[0].value == 0
    other = made.transcribe(speaking(made.bundle, Speaks(characters, "你是世界")), "judging")
    measured = made.compare("onnxruntime", other)
    assert measured.change.value == pytest.approx(0.25) and measured.unit == "characters"


@pytest.mark.parametrize(
    ("delimiter", "tokenizer"), [(None, "char"), ("|", "char"), (None, "piece"), (None, "phoneme")]
)
def test_what_has_no_gaps_is_what_is_joined_without(
    ctc_spec: ModelSpec, delimiter: str | None, tokenizer: Tokenizer
) -> None:
    spec = dataclasses.replace(ctc_spec, delimiter=delimiter, tokenizer=tokenizer)
    assert gapless(spec) is (ctc.joined([Word("a", 0, 1, 1), Word("b", 1, 2, 1)], spec) == "ab")


def test_characters_are_enough_where_there_are_no_words(tmp_path: Path, characters: ModelSpec) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(16000, 0.1), 16000)
    (tmp_path / "rows.jsonl").write_text('{"path": "a.wav", "text": "' + "你好世界" * 5 + '"}', "utf-8")
    clips = dev_clips(tmp_path / "rows.jsonl", characters, longest=10.0)
    assert (clips.amount, clips.task.unit) == (20, "characters")
    with pytest.raises(InputError, match="1 words to judge on"):
        dev_clips(tmp_path / "rows.jsonl", dataclasses.replace(characters, delimiter="|"), longest=10.0)


def test_fp32_that_writes_nothing_cannot_judge(judge: MakeJudge, ctc_spec: ModelSpec) -> None:
    """All blank, or gaps alone: whatever a variant writes, no word is lost."""
    for written in ("", "|"):
        with pytest.raises(InputError, match="writes nothing on any of the 2 clips"):
            judge(ctc_spec, "some words", written)


def test_a_long_recording_is_judged_in_the_chunks_that_transcribing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(embedded.bundle_path())
    clip, _ = soundfile.read(embedded.clips_manifest().parent / "librispeech-5339.flac", dtype="float32")
    soundfile.write(tmp_path / "long.wav", np.resize(clip, 65 * 16000), 16000)
    lengths: list[int] = []
    logits = Model.logits

    def noted(self: Model, clips: Sequence[np.ndarray], options: engines.EngineOptions | None = None) -> list[Any]:
        lengths.extend(len(samples) for samples in clips)
        return logits(self, clips, options)

    monkeypatch.setattr(Model, "logits", noted)
    judge = Judge(bundle, Clips((Row(tmp_path / "long.wav", "a b", "c", "c:1"),), bundle.spec, 10.0), 1)
    assert bundle.spec.trained_seconds == 18 and len(lengths) == 5 and max(lengths) <= 18 * 16000
    assert len(judge.reference.logits[0]) == bundle.spec.frames(65 * 16000)


def test_every_variant_has_an_engine_somewhere(ctc_spec: ModelSpec) -> None:
    for name in NAMES:
        variant = planned(name)
        made_for = variant.preferred_by or ("onnxruntime",)
        for engine in set(made_for) - {"openvino"}:  # whether it takes bfloat16 depends on the processor
            assert engines.get(engine).refuses(ctc_spec, variant) is None, (name, engine)
    assert planned("bf16").preferred_by


def test_a_variant_without_an_engine_is_refused_before_the_work(
    own_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in planned("bf16").preferred_by:
        monkeypatch.setattr(engines.get(name), "unavailable", lambda: "not here")
    monkeypatch.setattr("wav2edge.calibration.quantize.choose_speech", lambda *_, **__: pytest.fail("it began"))
    assert main(["quantize", str(own_bundle.path), "--variants", "fp16,bf16"]) == 3
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "bf16: no engine" in said and "leave it out of the variants" in said
    assert "onnxruntime: its CPU kernels have no bfloat16" in said and "tensorrt: not here" in said
    monkeypatch.setattr(engines.get("onnxruntime-cuda"), "unavailable", lambda: None)
    assert engine_for(own_bundle, planned("bf16")) == "onnxruntime-cuda"
    with pytest.raises(InputError, match="int8-u9s9"):
        planned("int8-u9s9")
    with pytest.raises(EngineError):
        engine_for(own_bundle, dataclasses.replace(planned("bf16"), preferred_by=()))


@pytest.fixture
def broken_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation of OpenVINO that is found and fails when it is imported, as after a removed system library."""
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text('raise ImportError("libtbb.so.12: cannot open shared object")')
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("broken_openvino")
def test_an_engine_whose_library_breaks_is_an_engine_that_is_missing(
    own_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The judge asked ``unavailable`` alone, which finds the package; loading it ended ``quantize`` in a traceback."""
    for name in ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda"):
        monkeypatch.setattr(engines.get(name), "unavailable", lambda: "not here")
    assert engine_for(own_bundle, planned("int8-s8s8")) == "onnxruntime"
    assert main(["quantize", str(own_bundle.path), "--variants", "bf16"]) == 3
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "bf16: no engine" in said and "libtbb.so.12: cannot open shared object" in said


def test_time_is_compared_on_the_same_engine(
    judge: MakeJudge, ctc_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each contender takes what its session takes, the first run not counted: 4 ms are a fifth of fp32's 20 ms."""
    made, clock = judge(ctc_spec, "some words", "some"), Clock()
    asked: list[str] = []

    def opened(_: Judge, bundle: Bundle, variant: Variant, engine: str) -> Model:
        asked.append(engine)
        return speaking(made.bundle, Speaks(ctc_spec, "a", clock, 0.02 if variant.name == "fp32" else 0.004))

    monkeypatch.setattr(Judge, "open", opened)
    monkeypatch.setattr(time, "perf_counter", clock)
    ratio, milliseconds = made.latency_ratio(made.bundle, planned("int8-dynamic"), 1.0)
    assert asked == ["onnxruntime"] * 2
    assert ratio == pytest.approx(0.2) and milliseconds == pytest.approx(4.0)

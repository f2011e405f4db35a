"""The public face: every name is there, documented, and its example runs."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wav2edge
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.recordings import transcriber

NAMES = [name for name in wav2edge.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(wav2edge, name)
    assert inspect.getdoc(found)
    assert name in dir(wav2edge)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'transcribe'"):
        _ = wav2edge.transcribe


def test_the_examples_of_the_public_functions_run() -> None:
    pytest.importorskip("onnxruntime", reason="the examples run the embedded model")
    from wav2edge import api, runners

    results = [doctest.testmod(module) for module in (api, runners)]
    assert sum(result.attempted for result in results) >= 6 and not any(result.failed for result in results)


def test_the_callable_package_stays_callable_and_a_package() -> None:
    """An import of a submodule binds ``wav2edge.export`` to the package: both uses must go on working."""
    script = (
        "import wav2edge, wav2edge.export.families\n"
        "assert callable(wav2edge.export) and wav2edge.export.families.__name__ == 'wav2edge.export.families'\n"
        "try: wav2edge.export('/nowhere', '/nowhere/else')\n"
        "except wav2edge.errors.CheckpointError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert "/nowhere" in done.stdout


def test_evaluate_compares_models_on_the_same_recordings(clips: list[tuple[Path, str]]) -> None:
    pytest.importorskip("onnxruntime", reason="it runs the embedded model")
    pytest.importorskip("jiwer", reason="it counts word errors")
    manifest = clips[0][0].parent / "manifest.jsonl"
    done: list[int] = []
    found = wav2edge.evaluate(
        manifest,
        wav2edge.open(engine="onnxruntime", variant="fp32"),
        wav2edge.open(engine="onnxruntime", variant="int8-u8s8"),
        progress=done.append,
    )
    assert [one.system.variant for one in found.hypotheses] == ["fp32", "int8-u8s8"]
    assert done == [*range(1, len(clips) + 1)] * 2 and len(found.rows) == len(clips)


def test_evaluate_leaves_models_open_and_names_the_decoder(clips: list[tuple[Path, str]]) -> None:
    """It closed the caller's model, so that the same one given twice failed; beam search was reported as greedy."""
    pytest.importorskip("onnxruntime", reason="it runs the embedded model")
    pytest.importorskip("jiwer", reason="it counts word errors")
    manifest = clips[0][0].parent / "manifest.jsonl"
    with wav2edge.open(engine="onnxruntime", variant="fp32") as model:
        found = wav2edge.evaluate(manifest, model, model, decoder=wav2edge.BeamDecoder(model.spec))
        assert [one.system.decoding for one in found.hypotheses] == ["beam", "beam"]
        assert found.texts[0] == found.texts[1]


def test_one_name_is_a_list_of_one(shapes_bundle: Bundle, tmp_path: Path) -> None:
    """A text was taken for a list of letters."""
    report = wav2edge.bench(shapes_bundle, engines="null", variants="fp32", threads=1, lengths=[0.5], runs=2)
    assert [result.name for result in report.results] == ["null/fp32"]
    with pytest.raises(wav2edge.errors.InputError, match="'int9'"):
        wav2edge.quantize(shapes_bundle, tmp_path, variants="int9")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"lengths": [0]}, "lengths="),
        ({"lengths": []}, "lengths="),
        ({"runs": 0}, "runs=0"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_bench_refuses_what_cannot_be_measured(shapes_bundle: Bundle, named: dict[str, object], reason: str) -> None:
    """Zero meant the default, and a length of zero an engine that fails."""
    with pytest.raises(wav2edge.errors.InputError, match=reason):
        wav2edge.bench(shapes_bundle, engines="null", **named)  # type: ignore[arg-type]


def test_bench_measures_what_is_named(shapes_bundle: Bundle) -> None:
    report = wav2edge.bench(shapes_bundle, engines=["null"], threads=1, lengths=[0.5], runs=3)
    assert [result.name for result in report.results] == ["null/fp32"]


def test_a_transcriber_takes_every_option_of_the_class_below() -> None:
    """Its options are written out a second time, and one of them was forgotten."""
    below = transcriber.Transcriber.__init__
    for public in (wav2edge.Transcriber.__init__, wav2edge.Transcriber.open):
        assert set(inspect.signature(below).parameters) - {"self"} <= {"model", *inspect.signature(public).parameters}


def test_a_batch_gives_each_recording_its_transcript_or_its_error(
    clips: list[tuple[Path, str]], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="it runs the embedded model")
    good = clips[0][0]
    with wav2edge.Transcriber() as transcribe:
        first, second, third = transcribe.batch([good, tmp_path / "gone.wav", good.read_bytes()])
        assert first.transcript is not None and first.transcript.text == transcribe(good).text
        assert second.error is not None and "gone.wav" in str(second.error)
        assert third.transcript is not None and third.transcript.text == first.transcript.text
        streamed = list(transcribe.stream(good))
        assert tuple(streamed) == first.transcript.segments


def test_a_batch_of_one_recording_is_refused(shapes_bundle: Bundle, clips: list[tuple[Path, str]]) -> None:
    """Each letter of its name, or each sample, was taken for a recording."""
    with wav2edge.Transcriber.open(shapes_bundle.path, "null", threads=1) as transcribe:
        for one in (str(clips[0][0]), clips[0][0], np.zeros(16000, np.float32), {"path": str(clips[0][0])}):
            with pytest.raises(wav2edge.errors.InputError, match="a list of recordings, and this is one"):
                transcribe.batch(one)  # type: ignore[arg-type]
        assert len(transcribe.batch(np.zeros((2, 16000), np.float32))) == 2  # type: ignore[arg-type]
        with pytest.raises(wav2edge.errors.InputError, match="size=0"):
            transcribe.batch([], size=0)
    with pytest.raises(wav2edge.errors.InputError, match="lanes=0"):
        wav2edge.Transcriber.open(shapes_bundle.path, "null", lanes=0)


def test_former_spellings_go_on_working(shapes_bundle: Bundle, clips: list[tuple[Path, str]]) -> None:
    with wav2edge.Transcriber.open(shapes_bundle.path, "null", threads=1) as transcribe:
        assert (transcribe.model.engine, transcribe.options.threads) == ("null", 1)
    with pytest.warns(DeprecationWarning, match="wav2edge.listen"):
        events = wav2edge.live(shapes_bundle.path, file=clips[0][0], fast=True, engine="null")
    with events:
        assert isinstance(list(events)[-1], wav2edge.events.Stats)

"""Recordings in, transcripts out: alone, many at once, and those that cannot be used."""

from __future__ import annotations

import dataclasses
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import Stage
from wav2edge.runtime.engines import Arrays, EngineOptions, Session
from wav2edge.runtime.errors import AudioError, EngineError, InputError
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.batch import Prefetcher, lanes, transcribe_all
from wav2edge.runtime.recordings.chunking import Chunk, Chunking
from wav2edge.runtime.recordings.runner import Outputs
from wav2edge.runtime.recordings.transcriber import Transcriber
from wav2edge.runtime.text.transcript import Segment

Spell = Callable[[str], "np.ndarray[Any, np.dtype[np.float32]]"]


def write(path: Path, samples: np.ndarray[Any, Any]) -> Path:
    soundfile.write(path, samples, 16000, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def test_a_file_and_its_samples_give_the_same_transcript(
    level_transcriber: Transcriber, spell: Spell, tmp_path: Path
) -> None:
    samples = spell("hello there")
    from_file = level_transcriber(write(tmp_path / "a.wav", samples))
    assert from_file == level_transcriber(samples)
    assert from_file.text == "hello there"
    assert from_file.language == "en"
    assert from_file.seconds == pytest.approx(len(samples) / 16000)


def test_each_channel_has_its_transcript(level_transcriber: Transcriber, spell: Spell, tmp_path: Path) -> None:
    first, second = spell("hello"), spell("there")
    samples = np.zeros((max(len(first), len(second)), 2), np.float32)
    samples[: len(first), 0], samples[: len(second), 1] = first, second
    found = level_transcriber(write(tmp_path / "call.wav", samples), channel="each")
    assert [one.text for one in found] == ["hello", "there"]
    assert [one.text for one in level_transcriber(samples, 16000, channel="each")] == ["hello", "there"]


@pytest.mark.parametrize("count", [0, 1, 399])
def test_too_short_for_the_model(level_transcriber: Transcriber, count: int) -> None:
    with pytest.raises(AudioError, match="no samples" if count == 0 else f"{count} samples at 16000 Hz.*at least 400"):
        level_transcriber(np.zeros(count, np.float32))


def test_the_shortest_clip(level_transcriber: Transcriber) -> None:
    found = level_transcriber(np.zeros(400, np.float32))
    assert (found.text, found.words, found.segments, found.seconds) == ("", (), (), 0.025)


def test_the_null_engine_runs_the_whole_path(shapes_bundle: Bundle) -> None:
    with Transcriber(Model(shapes_bundle, "null", "fp32")) as transcriber:
        assert transcriber(np.zeros(16000 * 70, np.float32)).text == ""
        assert [len(rows) for rows in transcriber.logits([np.zeros(16000, np.float32), np.zeros(400, np.float32)])] == [
            49,
            1,
        ]


def test_many_recordings_come_in_order_and_bad_ones_do_not_stop_the_others(
    level_transcriber: Transcriber, spell: Spell, tmp_path: Path
) -> None:
    good = [write(tmp_path / f"{n}.wav", spell(word)) for n, word in enumerate(("one", "two", "three"))]
    (tmp_path / "text.wav").write_text("no sound")
    half = write(tmp_path / "half.flac", np.random.default_rng(0).normal(0, 0.1, 160000))
    half.write_bytes(half.read_bytes()[:100000])
    sources = [good[0], tmp_path / "gone.wav", good[1], tmp_path / "text.wav", half, tmp_path, good[2]]
    results = list(transcribe_all(level_transcriber, sources))
    assert [result.source for result in results] == sources
    texts = [result.transcript.text if result.transcript else None for result in results]
    assert texts[:4] == ["one", None, "two", None] and texts[5:] == [None, "three"]
    cut = results[4].transcript
    assert cut is not None and not cut.complete and 0 < cut.seconds < 10
    assert len(cut.warnings) == 1 and cut.warnings[0].startswith("it breaks off after")
    for source, result in zip(sources, results):
        assert (result.error is None) == (source in good or source == half)
        assert result.transcript is None or result.transcript.complete == (source in good)
        assert result.error is None or str(source) in str(result.error)


def test_a_stream_raises_after_the_segments_of_a_recording_that_breaks_off(
    level_transcriber: Transcriber, spell: Spell, tmp_path: Path
) -> None:
    """Nothing told it from a whole one."""
    path = write(tmp_path / "half.wav", spell("hello there " + "_" * 400))
    assert [segment.text for segment in level_transcriber.stream(path)] == ["hello there"]
    path.write_bytes(path.read_bytes()[: -4 * 16000])
    found: list[Segment] = []
    with pytest.raises(AudioError, match=r"half\.wav: it breaks off after"):
        for segment in level_transcriber.stream(path):
            found.append(segment)
    assert found == list(level_transcriber(path).segments) and found[0].text == "hello there"


def test_one_recording_is_no_batch(level_transcriber: Transcriber, spell: Spell, tmp_path: Path) -> None:
    """Each number of a list, and each line of an open file, was a recording, and an array of names was refused."""
    samples, path = spell("hello"), tmp_path / "a.wav"
    write(path, samples)
    for one in (samples, samples.tolist(), path, path.read_bytes(), bytearray(path.read_bytes()), path.open("rb")):
        with pytest.raises(InputError, match="this is one"):
            level_transcriber.batch(one)  # type: ignore[arg-type]
    for several in ([samples, str(path)], np.array([str(path)] * 2), np.stack([samples] * 2), (path, path)):
        found = level_transcriber.batch(several)  # type: ignore[arg-type]
        assert [result.transcript and result.transcript.text for result in found] == ["hello", "hello"]


@pytest.mark.parametrize("batch", [2, 3, 16])
def test_batches_change_nothing(level_transcriber: Transcriber, spell: Spell, tmp_path: Path, batch: int) -> None:
    words = ("a", "bc", "bd", "long word" * 9, "be", "bf", "g " + "_" * 700 + "h")
    sources = [write(tmp_path / f"{n}.wav", spell(word)) for n, word in enumerate(words)]
    sources.insert(2, tmp_path / "gone.wav")
    level_transcriber.chunking = Chunking(length=4.0, context=0.5)
    alone = list(transcribe_all(level_transcriber, sources))
    runs: list[int] = []
    outputs = level_transcriber.outputs

    def counted(chunks: Sequence[Chunk]) -> list[Outputs]:
        runs.append(len(chunks))
        return outputs(chunks)

    level_transcriber.outputs = counted  # type: ignore[method-assign]
    together = list(transcribe_all(level_transcriber, sources, batch=batch))
    assert [(r.source, r.transcript) for r in together] == [(r.source, r.transcript) for r in alone]
    assert 1 < max(runs) <= batch


def test_segments_and_progress_are_reported_as_they_come(
    level_transcriber: Transcriber, spell: Spell, tmp_path: Path
) -> None:
    path = write(tmp_path / "long.wav", spell(("word " + "_" * 60) * 40))
    level_transcriber.chunking = Chunking(length=8.0, context=1.0)
    told: list[tuple[str, float]] = []
    done: list[float] = []

    def segment(_: Any, found: Segment) -> None:
        told.append((found.text, done[-1] if done else 0.0))

    def progress(_: Any, seconds: float, total: float | None) -> None:
        assert total == pytest.approx(40 * (5 * 3 + 60) * 0.02, abs=0.1)
        done.append(seconds)

    (result,) = transcribe_all(level_transcriber, [path], on_segment=segment, on_progress=progress)
    assert result.transcript is not None
    assert [text for text, _ in told] == ["word"] * 40 == [s.text for s in result.transcript.segments]
    assert told[1][1] < done[1], "the first segments come long before the end"
    assert done == sorted(done) and done[-1] == pytest.approx(result.transcript.seconds)


def test_chunked_and_whole_agree(level_transcriber: Transcriber, spell: Spell) -> None:
    samples = spell("_" * 15 + " ".join(f"{a}{b}" for a in "abcdefgh" for b in "klmnopq") + "_" * 15)
    whole = level_transcriber(samples)
    level_transcriber.chunking = Chunking(length=3.0, context=0.5)
    assert level_transcriber(samples) == whole


def test_an_engine_that_fails_is_not_mistaken_for_a_bad_recording(
    level_transcriber: Transcriber, spell: Spell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(feeds: Any) -> Any:
        raise EngineError("the engine failed")

    monkeypatch.setattr(level_transcriber.model.session(), "run", fail)
    with pytest.raises(EngineError):
        list(transcribe_all(level_transcriber, [write(tmp_path / "a.wav", spell("a"))]))


def test_reading_ahead_is_bounded_and_ends_with_its_reader() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    with Prefetcher(numbers(), 3) as items:
        assert [next(iterator) for iterator in [iter(items)] * 5] == [0, 1, 2, 3, 4]
    thread = items._thread
    assert not thread.is_alive() and len(made) <= 5 + 3 + 3

    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("from the other thread")

    with Prefetcher(broken(), 3) as items, pytest.raises(ValueError, match="from the other thread"):
        list(items)


class TwoAtOnce:
    """A session that answers a run only while another one is under way, and remembers how many there were."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs, self.outputs = session.inputs, session.outputs
        self.together = threading.Barrier(2, timeout=10)

    def run(self, feeds: Arrays) -> Arrays:
        self.together.wait()
        return self.session.run(feeds)  # type: ignore[no-any-return]

    def close(self) -> None:
        pass


def test_lanes_run_windows_side_by_side_and_change_nothing(
    level_transcriber: Transcriber, spell: Spell, tmp_path: Path
) -> None:
    words = ("a", "b", "long word" * 9, "c", "d")
    sources = [write(tmp_path / f"{n}.wav", spell(word)) for n, word in enumerate(words)]
    sources.insert(2, tmp_path / "gone.wav")
    level_transcriber.chunking = Chunking(length=4.0, context=0.5)
    count = sum(
        1 for path in sources if path.exists() for _ in level_transcriber.chunks(level_transcriber.open_recording(path))
    )
    assert count == 6  # an even number, of which two are of one recording
    alone = list(transcribe_all(level_transcriber, sources))
    sessions: dict[Stage, Session] = {"full": TwoAtOnce(level_transcriber.model.session())}
    model = Model(level_transcriber.model.bundle, "null", "fp32", EngineOptions(threads=2), sessions=sessions)
    in_lanes = Transcriber(model, chunking=level_transcriber.chunking, lanes=2)
    assert in_lanes.lanes == 2
    together = list(transcribe_all(in_lanes, sources))
    assert [(r.source, r.transcript) for r in together] == [(r.source, r.transcript) for r in alone]


def test_an_engine_that_fails_in_a_lane_ends_the_run(
    level_transcriber: Transcriber, spell: Spell, tmp_path: Path
) -> None:
    level_transcriber.lanes = 2
    others = set(threading.enumerate())  # such as those of a server that other tests share

    def broken(_: Any) -> Any:
        raise EngineError("out of memory")

    level_transcriber.model.session().run = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(EngineError, match="out of memory"):
        list(transcribe_all(level_transcriber, [write(tmp_path / f"{n}.wav", spell("a")) for n in range(20)]))
    assert not [thread for thread in set(threading.enumerate()) - others if thread.name.startswith("wav2edge")]


def test_lanes_share_the_threads_where_one_session_can_be_shared(shapes_bundle: Bundle) -> None:
    with Transcriber(Model(shapes_bundle, "null", "fp32", EngineOptions(threads=5)), lanes=2) as transcriber:
        assert (transcriber.lanes, transcriber.options.threads) == (2, 2)
    with Transcriber(Model(shapes_bundle, "null", "fp32", EngineOptions(threads=1)), lanes=2) as transcriber:
        assert (transcriber.lanes, transcriber.options.threads) == (1, 1)


def test_lanes_are_for_small_models_and_more_than_two_windows(
    shapes_bundle: Bundle, spell: Spell, tmp_path: Path
) -> None:
    small = dataclasses.replace(shapes_bundle.variants[0], sizes={"fp32.onnx": 4_000_000})
    short = write(tmp_path / "short.wav", spell("a"))
    long = write(tmp_path / "long.wav", np.zeros(16000 * 61, np.float32))
    os.mkfifo(tmp_path / "pipe")
    assert lanes("null", small, [short, short]) == lanes("null", small, [long]) == 2
    for sources in ([], [short], [tmp_path / "gone.wav"], [tmp_path], [tmp_path / "pipe"], [io.BytesIO()]):
        assert lanes("null", small, sources) == 1
    assert lanes("openvino", small, [long, long]) == 1
    assert lanes("null", dataclasses.replace(small, sizes={"fp32.onnx": 119_000_000}), [long, long]) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_numbers_become_no_text(
    level_transcriber: Transcriber, level_session: Any, spell: Spell, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    """A variant that overflows gave a transcript made of NaN, and exit code 0."""
    run = level_session.run

    def overflow(feeds: Any) -> Any:
        outputs = run(feeds)
        outputs["logits"][0, 1, 2] = bad
        return outputs

    monkeypatch.setattr(level_session, "run", overflow)
    with pytest.raises(EngineError, match="NaN or infinite numbers"):
        level_transcriber(spell("hello"))

"""Windows of a long recording are normalised by the recording, not each by itself."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.devices.open import open_model
from wav2edge.runtime.audio.loudness import Meter, measure
from wav2edge.runtime.audio.read import AudioSource
from wav2edge.runtime.recordings.chunking import Chunk, Chunking
from wav2edge.runtime.recordings.transcriber import Transcriber

RATE = 16000


@pytest.fixture(scope="module")
def transcriber() -> Iterator[Transcriber]:
    with Transcriber(open_model(None, "onnxruntime", "fp32"), chunking=Chunking(4.0, 0.5)) as opened:
        yield opened


@pytest.fixture(scope="module")
def louder_and_louder() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0.01, 1.0, 10 * RATE) * np.geomspace(0.001, 0.2, 10 * RATE)
    return noise.astype(np.float32)


def test_loudness_is_that_of_all_samples_in_any_blocks(louder_and_louder: np.ndarray) -> None:
    whole = measure([louder_and_louder])
    pieces = measure(np.array_split(louder_and_louder, 17))
    assert pieces.mean == pytest.approx(whole.mean) and pieces.scale == pytest.approx(whole.scale)
    normalized = whole.normalized(louder_and_louder)
    assert normalized.mean() == pytest.approx(0, abs=1e-4)
    assert normalized.std() == pytest.approx(1, abs=1e-4)
    assert np.isfinite(measure([np.zeros(100, np.float32)]).normalized(np.zeros(100, np.float32))).all()
    assert Meter().loudness().mean == 0


def chunks_of(transcriber: Transcriber, source: AudioSource) -> list[Chunk]:
    return list(transcriber.chunks(transcriber.open_recording(source)))


def test_all_chunks_of_a_file_have_its_loudness(
    transcriber: Transcriber, louder_and_louder: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, louder_and_louder, RATE, subtype="FLOAT")
    chunks = chunks_of(transcriber, path)
    assert len(chunks) > 2
    assert {chunk.loudness for chunk in chunks} == {measure([louder_and_louder])}
    assert [chunk.loudness for chunk in chunks_of(transcriber, louder_and_louder)] == [w.loudness for w in chunks]


def test_a_streams_chunks_have_the_loudness_of_all_of_it(
    transcriber: Transcriber, louder_and_louder: np.ndarray, tmp_path: Path
) -> None:
    """Whatever a recording comes from, it is normalised alike: an open file and a named pipe, too."""
    held = io.BytesIO()
    soundfile.write(held, louder_and_louder, RATE, format="WAV", subtype="FLOAT")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(held.getvalue(),))
    writer.start()
    held.seek(0)
    for source in (held, pipe):
        chunks = chunks_of(transcriber, source)
        assert len(chunks) > 2
        assert {chunk.loudness for chunk in chunks} == {measure([louder_and_louder])}
    writer.join()


def test_a_short_recording_is_left_to_the_graph(transcriber: Transcriber, louder_and_louder: np.ndarray) -> None:
    (chunk,) = chunks_of(transcriber, louder_and_louder[: 3 * RATE])
    assert chunk.loudness is None


def test_what_is_normalised_here_runs_as_if_the_graph_had_done_it(
    transcriber: Transcriber, louder_and_louder: np.ndarray
) -> None:
    clips = louder_and_louder[: 3 * RATE], louder_and_louder[4 * RATE : 6 * RATE]
    ours = transcriber.run([Chunk(clip, 0, None, measure([clip])) for clip in clips])
    for found, clip in zip(ours, clips):
        np.testing.assert_allclose(found, transcriber.logits([clip])[0], atol=2e-3)


def test_chunks_that_cannot_be_run_in_stages_are_left_to_the_graph(
    level_transcriber: Transcriber, louder_and_louder: np.ndarray
) -> None:
    level_transcriber.chunking = Chunking(4.0, 0.5)
    chunks = chunks_of(level_transcriber, louder_and_louder)
    assert len(chunks) > 2 and all(chunk.loudness is None for chunk in chunks)


def test_loudness_does_not_depend_on_the_blocks(louder_and_louder: np.ndarray) -> None:
    """The loudness of a stream of blocks was that of the whole only up to rounding."""
    whole = measure([louder_and_louder])
    for size in (320, 1600, 8192, 50_000):
        blocks = [louder_and_louder[at : at + size] for at in range(0, len(louder_and_louder), size)]
        assert measure(blocks) == whole, size

"""Sources of sound: files at their pace or at once, pipes, simulated clocks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.runtime.errors import AudioError
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.sources import FileSource, PiecesSource, SkippingClock, as_int16, on_grid, pieces


def test_a_file_comes_in_order_at_once_or_paced(tmp_path: Path) -> None:
    samples = on_grid(np.random.default_rng(1).uniform(-1, 1, 12_345).astype(np.float32))
    soundfile.write(tmp_path / "x.wav", samples, 16000, subtype="PCM_16")
    for fast in (True, False):
        source = FileSource(tmp_path / "x.wav", fast)
        blocks: list[Block] = []
        began = time.monotonic()
        while (items := source.read(0.1)) is not None:
            assert fast or all(item.end <= source.present() + 1 for item in items if isinstance(item, Block))
            blocks += [item for item in items if isinstance(item, Block)]
        took = time.monotonic() - began
        assert took < 0.3 if fast else 0.75 < took < 2
        assert [block.start for block in blocks] == list(np.cumsum([0] + [len(b.samples) for b in blocks[:-1]]))
        np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), samples)


def test_a_skipping_clock_gives_real_times_at_once() -> None:
    clock = SkippingClock()
    source = PiecesSource(pieces([np.zeros(160_000, np.float32)]), clock)
    began = time.monotonic()
    source.read(0.5)
    time.sleep(0.3)  # a slow reader finds a backlog, as with a microphone
    assert sum(len(item.samples) for item in source.read(0.5) or [] if isinstance(item, Block)) >= 0.2 * 16000
    while source.read(0.5) is not None:
        pass
    assert time.monotonic() - began < 1.5
    assert source.present() >= 160_000


@pytest.mark.parametrize("content", [None, b"", b"this is no sound, it is text that says so"])
def test_a_bad_file_is_refused_at_once(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError):
        FileSource(path)


def test_floats_above_one_are_not_clipped_and_integers_in_floats_are_refused(tmp_path: Path) -> None:
    """Both were clipped without a word, and read as other words than ``transcribe`` gives."""
    samples = np.random.default_rng(1).uniform(-1, 1, 16000).astype(np.float32)
    soundfile.write(tmp_path / "loud.wav", samples * 4, 16000, subtype="FLOAT")
    source = FileSource(tmp_path / "loud.wav", fast=True)
    blocks: list[Block] = []
    while (items := source.read(0.1)) is not None:
        blocks += [item for item in items if isinstance(item, Block)]
    read = np.concatenate([block.samples for block in blocks])
    np.testing.assert_allclose(read, samples * 4, atol=1e-4)
    assert as_int16(read).max() == 32767 and as_int16(read).min() == -32768
    soundfile.write(tmp_path / "integers.wav", samples * 32768, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"integers\.wav: floating-point samples up to"):
        source = FileSource(tmp_path / "integers.wav", fast=True)
        while source.read(0.1) is not None:
            pass


def test_channels_that_cancel_each_other_are_said(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 16000).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", np.stack((samples, -samples), 1), 16000)
    source = FileSource(tmp_path / "x.wav", fast=True)
    while source.read(0.1) is not None:
        pass
    assert len(source.warnings) == 1 and "opposite polarity" in source.warnings[0]

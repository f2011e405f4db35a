"""The backlog between the sound card and the decoder: bounded, oldest sound first out."""

from __future__ import annotations

import threading
import time

from wav2edge.runtime.live.backlog import Backlog, CapturedFrames


def raw(first: int, frames: int = 100) -> CapturedFrames:
    return CapturedFrames(1, first, frames, 16000, b"\0" * 2 * frames, 0.0)


def test_the_backlog_drops_the_oldest_sound_and_no_notice() -> None:
    backlog = Backlog(limit=250 / 16000)
    backlog.put("lost")
    for number in range(5):
        backlog.put(raw(100 * number))
    items = backlog.take()
    assert items[0] == "lost"
    assert [item.first for item in items if isinstance(item, CapturedFrames)] == [300, 400]
    assert backlog.take(timeout=0) == []


def test_the_backlog_wakes_its_reader() -> None:
    backlog = Backlog(limit=1.0)
    threading.Timer(0.1, backlog.put, [raw(0)]).start()
    began = time.monotonic()
    assert len(backlog.take(timeout=5)) == 1
    assert time.monotonic() - began < 2

"""A microphone over weeks: its clock runs off, it comes back under another number, PortAudio fails, no one reads."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pytest

from wav2edge.runtime import remedies
from wav2edge.runtime.errors import EngineError
from wav2edge.runtime.live import portaudio
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.capture import CaptureSettings, Microphone
from wav2edge.runtime.live.events import Dropped, SourceBack, SourceLost

Listen = Callable[..., Microphone]
RATE = 16000
SECOND = np.random.default_rng(0).integers(-3000, 3000, RATE).astype(np.int16).tobytes()


class PortAudioError(Exception):
    """What sounddevice raises."""


@dataclass
class Opened:
    """An input stream as sounddevice opens it."""

    device: int
    callback: Callable[[bytes, int, None, None], None]
    finished_callback: Callable[[], None]
    running: bool = True
    broken: bool = False

    @property
    def active(self) -> bool:
        if self.broken:
            raise PortAudioError("Invalid stream pointer")
        return self.running

    def start(self) -> None: ...

    def abort(self, ignore_errors: bool) -> None: ...

    def close(self, ignore_errors: bool) -> None: ...


class Cards(ModuleType):
    """Sound cards that are plugged in and out, in place of the module sounddevice; one clock for all stamps."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        """Begin with one card."""
        super().__init__("sounddevice")
        self.names = ["Card (hw:2,0)"]
        self.now = 100.0
        self.streams: list[Opened] = []
        self.failures: list[str] = []
        self.looked = 0

    def query_devices(self, kind: str | None = None) -> list[dict[str, object]] | dict[str, object]:
        found: list[dict[str, object]] = [
            {"index": i, "name": name, "max_input_channels": 1, "default_samplerate": RATE}
            for i, name in enumerate(self.names)
        ]
        return found[0] if kind else found

    def _terminate(self) -> None:
        self.looked += 1

    def _initialize(self) -> None:
        if self.failures:
            raise PortAudioError(self.failures.pop())

    def RawInputStream(
        self,
        *,
        device: int,
        callback: Callable[[bytes, int, None, None], None],
        finished_callback: Callable[[], None],
        **given: object,
    ) -> Opened:
        self.streams.append(Opened(device, callback, finished_callback))
        return self.streams[-1]

    def play(self, seconds: int, skew: float = 0.0) -> None:
        """Bring seconds of sound to the stream that was opened last."""
        for _ in range(seconds):
            self.now += 1.0 + skew
            self.streams[-1].callback(SECOND, RATE, None, None)

    def unplug(self) -> None:
        self.streams[-1].running = False
        self.streams[-1].finished_callback()


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    made = Cards()
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


@pytest.fixture
def listen(cards: Cards) -> Iterator[Listen]:
    opened: list[Microphone] = []

    def make(settings: CaptureSettings | None = None) -> Microphone:
        settings = replace(settings or CaptureSettings(), watchdog=1e9, backoff=(0.01, 0.02))
        opened.append(Microphone(settings, clock=lambda: cards.now))
        return opened[-1]

    yield make
    for microphone in opened:
        microphone.close()


def wait_until(true: Callable[[], bool], timeout: float = 10.0) -> None:
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "it did not come back"
        time.sleep(0.005)


@pytest.mark.parametrize("skew", [300e-6, -300e-6])
def test_a_clock_that_runs_off_for_hours_is_no_lag(cards: Cards, listen: Listen, skew: float) -> None:
    """Three hours at 300 ppm are 3 s, from which on partials would be skipped for ever."""
    microphone = listen()
    end, lags, faults = 0, [], []
    for _ in range(3 * 3600):
        cards.play(1, skew)
        for item in microphone.read(0):
            if isinstance(item, Block):
                end = item.end
            else:
                faults.append(item)
        lags.append(microphone.present() - end)
    assert max(lags) / RATE < 0.2
    assert faults == []
    # What follows a gap is placed by the machine's clock from where the sound was.
    cards.unplug()
    wait_until(lambda: len(cards.streams) == 2)
    cards.now += 4.0
    cards.play(1)
    [back] = [item for item in microphone.read(0) if isinstance(item, SourceBack)]
    assert back.away == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("wanted", ["card", "0", None])
def test_a_card_that_comes_back_under_another_number_is_found(cards: Cards, listen: Listen, wanted: str | None) -> None:
    microphone = listen(CaptureSettings(device=wanted))
    cards.names = ["Other (hw:0,0)", "Card (hw:3,0)"] if wanted else ["Card (hw:3,0)"]
    cards.unplug()
    wait_until(lambda: len(cards.streams) == 2)
    wait_until(lambda: microphone.connected)
    assert cards.streams[-1].device == (1 if wanted else 0)
    assert microphone.name == "Card (hw:3,0)"


def test_a_card_that_was_chosen_is_not_replaced_by_another(cards: Cards, listen: Listen) -> None:
    listen(CaptureSettings(device=0))
    cards.names = ["Other (hw:2,0)"]
    cards.unplug()
    looked = cards.looked
    wait_until(lambda: cards.looked >= looked + 3)
    assert len(cards.streams) == 1


def test_portaudio_that_fails_is_tried_again(cards: Cards, listen: Listen) -> None:
    microphone = listen()
    cards.failures = ["Unanticipated host error"] * 3
    cards.unplug()
    wait_until(lambda: len(cards.streams) == 2)
    cards.play(1)
    items = list(microphone.read(1.0))
    assert [type(item) for item in items] == [SourceLost, SourceBack, Block]


def test_a_stream_that_cannot_be_asked_is_lost(cards: Cards, listen: Listen) -> None:
    microphone = listen()

    cards.streams[-1].broken = True
    cards.streams[-1].finished_callback()
    [lost] = microphone.read(5.0)
    assert isinstance(lost, SourceLost) and lost.cause == "unplugged"
    wait_until(lambda: len(cards.streams) == 2)


def test_another_microphone_of_the_process_is_left_alone(cards: Cards, listen: Listen) -> None:
    cards.names = ["One", "Two"]
    listen(CaptureSettings(device="One"))
    listen(CaptureSettings(device="Two"))
    cards.unplug()
    wait_until(lambda: len(cards.streams) == 3)
    assert cards.looked == 0, "PortAudio was ended under a stream that ran"


def test_what_a_slow_reader_lost_across_an_unplugging_is_told(cards: Cards, listen: Listen) -> None:
    microphone = listen(CaptureSettings(backlog=4.0))
    cards.play(1)
    assert isinstance(microphone.read(0)[0], Block)
    cards.play(10)
    cards.unplug()
    wait_until(lambda: len(cards.streams) == 2)
    cards.now += 5.0
    cards.play(30)
    dropped, lost, back, again, *blocks = microphone.read(0)
    assert dropped == Dropped(11.0, 10.0)
    assert isinstance(lost, SourceLost) and lost.time == 11.0
    assert back == SourceBack(16.0, 5.0)
    assert again == Dropped(42.0, 26.0)
    assert [(block.start / RATE, block.end / RATE) for block in blocks if isinstance(block, Block)] == [
        (42.0 + second, 43.0 + second) for second in range(4)
    ]
    assert microphone.present() == 46 * RATE


def test_a_first_second_that_nobody_read_is_told(cards: Cards, listen: Listen) -> None:
    microphone = listen(CaptureSettings(backlog=4.0))
    cards.play(9)
    dropped, first, *_ = microphone.read(0)
    assert dropped == Dropped(5.0, 5.0)
    assert isinstance(first, Block) and first.start == 5 * RATE
    assert microphone.present() == 9 * RATE


def test_portaudio_that_cannot_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = Cards()
    cards.failures = ["Host API not found"]
    monkeypatch.setitem(sys.modules, "sounddevice", cards)
    with pytest.raises(EngineError, match="PortAudio does not start: Host API not found"):
        portaudio.refresh()


def test_a_missing_sounddevice_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(EngineError, match=re.escape(f"needs sounddevice; install it with `{remedies.install('mic')}`")):
        portaudio.inputs()

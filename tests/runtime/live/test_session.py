"""A session: a source in, an engine between, events out; and the numeric claims on a real graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from wav2edge.devices.open import open_model
from wav2edge.runtime.audio import read as audio
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import AudioError
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.events import Dropped, Event, Final, Partial, SourceBack, SourceLost, Stats
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.sources import FileSource, Item, PiecesSource, on_grid, pieces
from wav2edge.runtime.live.transcriber import LiveTranscriber

if TYPE_CHECKING:
    from tests.runtime.live.conftest import Booth

RATE = 16000


def test_a_session_tells_everything(booth: Booth, live: LiveTranscriber) -> None:
    sound = np.concatenate((booth.quiet(0.5), booth.speak("hello there"), booth.nothing(2.5)))
    recorded: list[Block] = []
    session = live.session(booth.played(booth.in_blocks(sound)), recorded.append)
    events = list(session)
    finals = [event for event in events if isinstance(event, Final)]
    stats = [event for event in events if isinstance(event, Stats)]
    assert [final.text for final in finals] == ["hello there"]
    assert session.words == 2
    assert session.seconds == pytest.approx(len(sound) / RATE)
    assert len(stats) == int(session.seconds) + 1
    assert stats[0].level > -60 and stats[-1].level == -120
    assert stats[-1].time == pytest.approx(session.seconds, abs=0.001)
    np.testing.assert_array_equal(np.concatenate([block.samples for block in recorded]), sound)


def test_a_lost_source_loses_nothing_that_was_received(booth: Booth, live: LiveTranscriber) -> None:
    said = booth.speak("half a sen")
    items: list[Item] = booth.in_blocks(said)
    lost, back = SourceLost(len(said) / RATE, "unplugged", "gone"), SourceBack(10.0, 7.0)
    items += [lost, back, *booth.in_blocks(np.concatenate((booth.speak("tence"), booth.quiet(2))), start=160_000)]
    events = list(live.session(booth.played(items)))
    kinds = [event for event in events if not isinstance(event, (Stats, Partial))]
    assert [type(event).__name__ for event in kinds] == ["Final", "SourceLost", "SourceBack", "Final", "Silence"]
    finals = [event for event in events if isinstance(event, Final)]
    assert [(final.text, final.reason) for final in finals] == [("half a sen", "gap"), ("tence", "silence")]
    assert finals[1].words[0].start == pytest.approx(10.0, abs=0.03)


def test_the_end_of_the_source_ends_the_utterance(booth: Booth, live: LiveTranscriber) -> None:
    events = list(live.session(booth.played(booth.in_blocks(booth.speak("no pause at the end")))))
    [final] = [event for event in events if isinstance(event, Final)]
    assert (final.text, final.reason) == ("no pause at the end", "end")


def test_a_damaged_recording_is_captioned_up_to_the_damage(booth: Booth, live: LiveTranscriber) -> None:
    """The last words before the damage were lost with the error."""

    def damaged() -> Iterator[NDArray[np.float32]]:
        yield booth.speak("as far as it goes")
        raise AudioError("x.wav: it breaks off")

    events: list[Event] = []
    with pytest.raises(AudioError, match="breaks off"):
        for event in live.session(PiecesSource(pieces(damaged()), None)):
            events.append(event)
    assert [event.text for event in events if isinstance(event, Final)] == ["as far as it goes"]


def test_stop_ends_in_order(booth: Booth, live: LiveTranscriber) -> None:
    session = live.session(booth.played(booth.in_blocks(booth.speak("one two three four five six"))))
    events = []
    for event in session:
        events.append(event)
        if isinstance(event, Partial) and "two" in event.text:
            session.stop()
    [final] = [event for event in events if isinstance(event, Final)]
    assert final.text.startswith("one two")
    assert final.reason == "end"


class Waiting:
    """A source of which every read gives all that has arrived: the first block, then everything else."""

    def __init__(self, items: list[Item], damage: bool = False) -> None:
        self.reads: list[list[Item]] = [items[:12], items[12:]]
        self.damage = damage
        self.timeouts: list[float] = []

    def read(self, timeout: float) -> list[Item]:
        self.timeouts.append(timeout)
        if self.damage and len(self.timeouts) > 1:
            raise AudioError("x.wav: it breaks off")
        return self.reads.pop(0) if self.reads else []

    def present(self) -> int | None:
        return None

    def close(self) -> None: ...


def test_sound_that_arrived_before_the_stop_is_decoded(booth: Booth, live: LiveTranscriber) -> None:
    """It waited in the source while a window ran, and was dropped."""
    source = Waiting(booth.in_blocks(booth.speak("one two three four five six")))
    session = live.session(source)
    events: list[Event] = []
    for event in session:
        events.append(event)
        session.stop()
    assert [event.text for event in events if isinstance(event, Final)] == ["one two three four five six"]
    assert len(source.timeouts) == 2 and source.timeouts[1] == 0.0, "the last read waits, or is not the last"


def test_what_is_missing_after_the_stop_is_no_error(booth: Booth, live: LiveTranscriber) -> None:
    source = Waiting(booth.in_blocks(booth.speak("one two three")), damage=True)
    session = live.session(source)
    events: list[Event] = []
    for event in session:
        events.append(event)
        session.stop()
    assert len([event for event in events if isinstance(event, Final)]) == 1 and len(source.timeouts) == 2


def test_far_behind_only_finals_are_computed(booth: Booth, live: LiveTranscriber) -> None:
    sound = np.concatenate((booth.speak("too slow for partials"), booth.quiet(2)))
    events = list(live.session(booth.played(booth.in_blocks(sound), lag=5.0)))
    assert not [event for event in events if isinstance(event, Partial)]
    assert [event.text for event in events if isinstance(event, Final)] == ["too slow for partials"]


def test_dropped_sound_is_counted_and_ends_the_utterance(booth: Booth, live: LiveTranscriber) -> None:
    said = booth.speak("before")
    items: list[Item] = [*booth.in_blocks(said), Dropped(5.0, 3.5)]
    items += booth.in_blocks(np.concatenate((booth.speak("after"), booth.quiet(2))), start=80_000)
    session = live.session(booth.played(items))
    events = list(session)
    assert [event.text for event in events if isinstance(event, Final)] == ["before", "after"]
    assert session.dropped == 3.5
    assert [event for event in events if isinstance(event, Stats)][-1].dropped == 3.5


def test_the_null_engine_is_enough_to_listen(shapes_bundle: Bundle, clips: list[tuple[Path, str]]) -> None:
    with LiveTranscriber(open_model(shapes_bundle, "null")) as live:
        session = live.session(FileSource(clips[0][0], fast=True))
        events = list(session)
    assert events and all(isinstance(event, Stats) for event in events)
    assert session.seconds > 3


def embedded(settings: LiveSettings | None = None) -> LiveTranscriber:
    return LiveTranscriber(open_model(), settings)


def embedded_finals(path: Path, settings: LiveSettings | None = None) -> tuple[list[Event], NDArray[np.float32]]:
    with embedded(settings) as live:
        transcriber = live.transcriber()
        events = list(live.session(FileSource(path, fast=True)))
        samples = on_grid(audio.load(path, RATE))
        for event in events:
            if isinstance(event, Final):
                cut = samples[round(event.start * RATE) : round(event.end * RATE)]
                assert event.text == transcriber(cut).text
    return events, samples


def test_finals_of_real_speech_equal_transcribe(clips: list[tuple[Path, str]]) -> None:
    for path, _ in clips[:3]:
        events, _ = embedded_finals(path)
        assert [event for event in events if isinstance(event, Final) and event.text]


def test_the_same_sound_gives_the_same_events_at_any_block_size(
    booth: Booth, clips: list[tuple[Path, str]], tmp_path: Path
) -> None:
    samples = on_grid(audio.load(clips[1][0], RATE))
    soundfile.write(tmp_path / "x.wav", samples, RATE, subtype="PCM_16")
    with embedded() as live:
        one = [e for e in live.session(FileSource(tmp_path / "x.wav", fast=True)) if isinstance(e, Final)]
        two = [e for e in live.session(booth.played(booth.in_blocks(samples, size=4321))) if isinstance(e, Final)]
    # Stable words come from partials, which may fall elsewhere; what was said does not.
    assert [replace(final, revised=0) for final in one] == [replace(final, revised=0) for final in two]

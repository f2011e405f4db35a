"""A stream cut into utterances: pauses, gaps, digital silence, voices without words, and bounded memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime.live.endpoint import EndpointRules
from wav2edge.runtime.live.events import Event, Final, Partial, Silence
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.window import Window

if TYPE_CHECKING:
    from tests.runtime.live.conftest import Booth

PLAIN = LiveSettings(keep_features=False)
EARLY = replace(PLAIN, post_roll=0.8)


def finals_of(events: list[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def test_a_long_utterance_is_cut_at_a_pause_and_loses_nothing(booth: Booth) -> None:
    rules = EndpointRules(longest_utterance=6.0)
    said = [f"{a}{b}" for a in "abcdef" for b in "ghijkl"]
    text = ".......... ".join(" ".join(said[i : i + 6]) for i in range(0, 36, 6))
    decoder = booth.decoder(replace(PLAIN, endpoint=rules))
    model = booth.model(booth.spec())
    events = booth.listen(decoder, model, np.concatenate((booth.speak(text), booth.quiet(2))))
    finals = finals_of(events)
    assert len(finals) >= 2
    assert {final.reason for final in finals[:-1]} == {"length"}
    assert " ".join(final.text for final in finals).split() == said
    for before, after in pairwise(finals):
        assert before.end == after.start
        assert before.end - before.start <= 6.5
    assert sum(final.revised for final in finals) == 0


@pytest.mark.parametrize("every", [1, 3, 40, None], ids=["each hop", "each third", "rarely", "finals alone"])
def test_finals_do_not_depend_on_when_partials_are_run(booth: Booth, every: int | None) -> None:
    """A busy server delays partials or leaves them out; long speech must be cut where it is cut by ``listen``."""
    said = " ".join(f"{a}{b}" for a in "abcdefgh" for b in "ghijkl")
    stream = np.concatenate((booth.speak(said), booth.quiet(2)))
    rules = replace(PLAIN, endpoint=EndpointRules(longest_utterance=5.0))

    decoder, model = booth.decoder(rules), booth.model(booth.spec())
    expected = finals_of(booth.listen(decoder, model, stream))
    assert [final.reason for final in expected[:2]] == ["length", "length"]

    decoder, model = booth.decoder(rules), booth.model(booth.spec())
    events: list[Event] = []
    for i, at in enumerate(range(0, len(stream), 800)):
        events += decoder.push(stream[at : at + 800], at)
        events += booth.drain(decoder, model, finals_only=every is None or i % every != 0)
    assert [(f.start, f.end, f.text) for f in finals_of(events)] == [(f.start, f.end, f.text) for f in expected]


def test_an_utterance_reaches_up_to_digital_silence_and_not_into_it(booth: Booth) -> None:
    """A player's zeros around a recording changed its loudness, and so its words; a room's quiet belongs to it."""
    sound = np.concatenate((booth.quiet(0.3), booth.speak("one two"), booth.quiet(0.25)))
    stream = np.concatenate((booth.nothing(3.001), sound, booth.nothing(2.5), sound, booth.quiet(2)))
    for piece in (160, 800, 16000):
        decoder, model = booth.decoder(), booth.model(booth.spec())
        first, second = finals_of(booth.listen(decoder, model, stream, piece=piece))
        assert (first.text, first.reason) == (second.text, second.reason) == ("one two", "silence")
        assert round(first.start * 16000) == round(3.001 * 16000)
        assert round((first.end - first.start) * 16000) == len(sound)
        assert round((second.start - first.end) * 16000) == len(booth.nothing(2.5))
        assert second.end - second.start > len(sound) / 16000 + 0.5


def test_silence_too_short_to_be_a_gap_stays_inside(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = (booth.quiet(0.5), booth.speak("one"), booth.nothing(0.06), booth.quiet(0.3), booth.nothing(0.5))
    stream = np.concatenate((*sound, booth.speak("two"), booth.nothing(2)))
    [final] = finals_of(booth.listen(decoder, model, stream))
    assert final.text.replace(" ", "") == "onetwo", "an utterance continues after silence shorter than its endpoint's"
    assert final.start == 0.0
    assert round(final.end * 16000) == len(stream) - 2 * 16000


def test_a_gap_ends_the_utterance_and_times_go_on(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    first = np.concatenate((booth.quiet(0.5), booth.speak("before the gap")))
    events = booth.listen(decoder, model, first)
    events += booth.listen(decoder, model, np.concatenate((booth.speak("after"), booth.quiet(2))), start=160_000)
    one, two = finals_of(events)
    assert (one.text, one.reason, one.utterance) == ("before the gap", "gap", 1)
    assert (two.text, two.utterance) == ("after", 2)
    assert two.start == 10.0
    assert two.words[0].start == pytest.approx(10.0, abs=0.02)


def test_sound_pushed_twice_counts_once(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = np.concatenate((booth.quiet(0.5), booth.speak("only once"), booth.quiet(2)))
    events = booth.listen(decoder, model, sound[:8000])
    events += booth.listen(decoder, model, sound[4000:], start=4000)
    assert [final.text for final in finals_of(events)] == ["only once"]


def test_noise_without_text_gives_no_event_and_no_number(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = np.concatenate(
        (booth.quiet(0.5), booth.speak("_" * 400), booth.quiet(3), booth.speak("yes"), booth.quiet(2))
    )
    events = booth.listen(decoder, model, sound)
    [final] = finals_of(events)
    assert (final.text, final.utterance) == ("yes", 1)


def test_voice_without_labels_ends_an_utterance(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = np.concatenate((booth.speak("words"), booth.speak("_" * 200), booth.speak("more"), booth.quiet(2)))
    first, second = finals_of(booth.listen(decoder, model, sound))
    assert (first.text, first.reason) == ("words", "blank")
    assert (second.text, second.reason) == ("more", "silence")


def test_words_that_short_windows_cannot_show_are_kept(booth: Booth) -> None:
    """The partials of `listen --hop 0.05 --left-context 0.1` found no words, and the utterance was discarded."""

    def no_words_in_partials(window: Window, logits: NDArray[np.float32]) -> None:
        if window.purpose == "partial":
            logits[...] = 0
            logits[..., 0] = 10

    settings = replace(PLAIN, hop=0.05, left_context=0.1, kept_context=0.1)
    decoder, model = booth.decoder(settings), booth.model(booth.spec(), change=no_words_in_partials)
    said = " ".join(f"{a}{b}" for a in "abcdef" for b in "ghi")
    events = booth.listen(decoder, model, np.concatenate((booth.speak(said), booth.quiet(3))))
    assert [(final.text, final.reason) for final in finals_of(events)] == [(said, "silence")]


def test_quiet_after_a_voice_without_labels_is_reported(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = np.concatenate((booth.speak("words"), booth.speak("_" * 200), booth.quiet(6)))
    events = [event for event in booth.listen(decoder, model, sound) if not isinstance(event, Partial)]
    assert [type(event).__name__ for event in events] == ["Final", "Silence"]
    assert isinstance(events[1], Silence)
    assert events[1].start == pytest.approx((len(sound) - len(booth.quiet(6))) / 16000, abs=0.1)


def test_endpoint_silence_is_what_was_asked_for(booth: Booth) -> None:
    for wanted in (0.5, 1.2):
        decoder = booth.decoder(replace(PLAIN, endpoint=EndpointRules(silence_after_text=wanted)))
        model = booth.model(booth.spec())
        sound = np.concatenate((booth.speak("short"), booth.quiet(3)))
        spoken = len(booth.speak("short"))
        for at in range(0, len(sound), 160):
            if finals_of(decoder.push(sound[at : at + 160], at) + booth.drain(decoder, model)):
                break
        assert (at + 160 - spoken) / 16000 == pytest.approx(wanted, abs=0.05)


def test_memory_is_bounded_by_the_longest_utterance(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = np.concatenate((booth.speak("some words " * 8), booth.quiet(1.5)))
    for turn in range(40):
        booth.listen(decoder, model, sound, start=turn * len(sound), piece=4000)
    assert 0 < decoder.capacity <= 2 * 22 * 16000
    assert decoder.pending == 0


@pytest.mark.parametrize("said", ["some words " * 40, "_" * 1200], ids=["speech", "voice without a word"])
def test_memory_is_bounded_where_a_voice_never_pauses(booth: Booth, said: str) -> None:
    """A radio in the room: utterances are cut and end as blank, and the detector never says that it is quiet."""
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = booth.speak(said)
    for turn in range(120 * 16000 // len(sound) + 1):
        booth.listen(decoder, model, sound, start=turn * len(sound), piece=4000)
    assert decoder.utterance is not None
    assert decoder.held <= 21 * 16000
    assert decoder.capacity <= 2 * 22 * 16000

"""The live decoder on a model whose sound is its text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wav2edge.runtime.errors import AudioError, BundleError, EngineError, InputError
from wav2edge.runtime.live.decoder import LiveDecoder
from wav2edge.runtime.live.events import Event, Final, Partial, Silence
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.window import Window
from wav2edge.runtime.recordings.segmentation import Segmentation
from wav2edge.runtime.text.transcript import Transcript

if TYPE_CHECKING:
    from tests.runtime.live.conftest import Booth

PLAIN = LiveSettings(keep_features=False)
EARLY = replace(PLAIN, post_roll=0.8)


def finals_of(events: list[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def partials_of(events: list[Event], utterance: int) -> list[Partial]:
    return [event for event in events if isinstance(event, Partial) and event.utterance == utterance]


def assert_stable_grows(events: list[Event]) -> None:
    stable: dict[int, str] = {}
    closed: set[int] = set()
    for event in events:
        if isinstance(event, Partial):
            assert event.utterance not in closed, "a finalised utterance reopened"
            before = stable.get(event.utterance, "")
            assert event.stable == before or event.stable.startswith(before + " ") or not before
            stable[event.utterance] = event.stable
        elif isinstance(event, Final):
            assert event.utterance not in closed
            closed.add(event.utterance)


def test_an_utterance_becomes_partials_and_one_final(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    said = "turn the light off in the kitchen"
    sound = np.concatenate((booth.quiet(2.0), booth.speak(said), booth.quiet(2.0)))
    events = booth.listen(decoder, model, sound)
    [final] = finals_of(events)
    assert final.text == said
    assert final.revised == 0
    assert final.utterance == 1
    assert final.reason == "silence"
    assert isinstance(events[-1], Silence)
    partials = partials_of(events, 1)
    assert len(partials) > 5
    assert partials[-1].text == said
    assert_stable_grows(events)
    # The first word starts two seconds in; times are those of the stream.
    assert final.words[0].text == "turn"
    assert final.words[0].start == pytest.approx(2.0, abs=0.03)
    assert final.start == pytest.approx(2.0 - PLAIN.pre_roll, abs=0.04)
    assert partials[0].end - final.words[0].start <= 0.5


def test_scores_that_do_not_fit_the_labels_are_refused(booth: Booth) -> None:
    """Without the last labels captions were wrong without an error, and with one label alone it was an internal one."""
    spec, sound = booth.spec(), np.concatenate((booth.speak("hello"), booth.quiet(2.0)))
    for count in (1, 24):
        decoder = LiveDecoder(replace(spec, labels=spec.labels[:count], delimiter=None), booth.vad(), PLAIN)
        with pytest.raises(BundleError, match=f"gives 28 scores for {count} labels"):
            booth.listen(decoder, booth.model(spec), sound)


def test_the_final_is_decoded_from_exactly_the_samples_it_names(booth: Booth) -> None:
    """A program that recorded the stream can cut [start, end) out of it and transcribe that to the same text."""
    seen: list[NDArray[np.float32]] = []

    def finish(samples: NDArray[np.float32], logits: NDArray[np.float32]) -> Transcript:
        seen.append(samples.copy())
        return booth.decoder().finish(samples, logits)

    decoder = booth.decoder(finish=finish)
    sound = np.concatenate([booth.quiet(0.7), booth.speak("one"), booth.quiet(2), booth.speak("two"), booth.quiet(2)])
    events = booth.listen(decoder, booth.model(booth.spec()), sound, start=123)
    assert [final.text for final in finals_of(events)] == ["one", "two"]
    for final, samples in zip(finals_of(events), seen):
        first, last = round(final.start * 16000) - 123, round(final.end * 16000) - 123
        np.testing.assert_array_equal(sound[first:last], samples)


@pytest.mark.parametrize("piece", [1, 160, 777, 16000, 100_000])
def test_finals_do_not_depend_on_how_sound_arrives(booth: Booth, piece: int) -> None:
    sound = np.concatenate([booth.quiet(0.5), booth.speak("hello you"), booth.quiet(2), booth.speak("bye")])
    sound = np.concatenate((sound, booth.quiet(2)))
    if piece == 1:
        sound = sound[: 3 * 16000]
    decoder, model = booth.decoder(), booth.model(booth.spec())
    events = booth.listen(decoder, model, sound, piece=piece)
    events += decoder.close()
    events += booth.drain(decoder, model)
    expected = ["hello you"] if piece == 1 else ["hello you", "bye"]
    assert [final.text for final in finals_of(events)] == expected


@given(
    words=st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=12),
    blind=st.integers(0, 12),
    keep=st.booleans(),
    piece=st.sampled_from([400, 800, 1600, 5000]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stable_text_never_changes(booth: Booth, words: list[str], blind: int, keep: bool, piece: int) -> None:

    decoder = LiveDecoder(booth.spec(), booth.vad(), LiveSettings(keep_features=keep))
    model = booth.model(booth.spec(), blind=blind)
    sound = np.concatenate((booth.quiet(0.3), booth.speak(" ".join(words)), booth.quiet(1.5)))
    events = booth.listen(decoder, model, sound, piece=piece)
    assert_stable_grows(events)
    assert [final.text for final in finals_of(events)] == [" ".join(words)]
    assert finals_of(events)[0].revised == 0


def test_kept_features_give_the_same_events_and_compute_each_frame_once(booth: Booth) -> None:
    said = "the quick brown fox jumps over the lazy dog and then some more of it until it is long enough"
    sound = np.concatenate((booth.quiet(0.5), booth.speak(said), booth.quiet(2)))
    events, runs = [], []
    for keep in (False, True):
        model = booth.model(booth.spec(), blind=5)
        decoder = booth.decoder(replace(PLAIN, keep_features=keep, kept_context=PLAIN.left_context))
        events.append(booth.listen(decoder, model, sound))
        runs.append(model.runs)
    assert events[0] == events[1]
    computed = sum(frames for what, frames in runs[1] if what == "features frontend")
    final = finals_of(events[1])[0]
    assert computed <= (final.end - final.start + PLAIN.hop) * 50, "some frame was computed twice"
    assert all(frames <= 200 for what, frames in runs[1] if what.startswith("partial")), "the window must be bounded"


def test_the_hop_gets_longer_once_every_partial_costs_a_whole_window(booth: Booth) -> None:
    said = "the quick brown fox jumps over the lazy dog and then some more of it until it is long enough for this"
    said = f"{said} and then the same words again until the last one has been said"
    sound = np.concatenate((booth.quiet(0.5), booth.speak(said), booth.quiet(2)))
    frames = {}
    for hop, long_hop in ((0.5, 0.5), (0.5, 1.0), (2.0, 1.0)):
        decoder = booth.decoder(replace(PLAIN, hop=hop, long_hop=long_hop))
        model = booth.model(booth.spec())
        events = booth.listen(decoder, model, sound)
        assert [final.text for final in finals_of(events)] == [said] and finals_of(events)[0].revised == 0
        assert_stable_grows(events)
        ends = [event.end for event in events if isinstance(event, Partial)]
        start = finals_of(events)[0].start
        late = [end for end in ends if end > start + 5.0 + hop]
        steps = np.diff(late)
        assert len(steps) and np.median(steps) == pytest.approx(max(hop, long_hop)), steps
        frames[hop, long_hop] = sum(count for what, count in model.runs if what.startswith("partial"))
    assert frames[0.5, 1.0] < 0.7 * frames[0.5, 0.5]


def test_a_short_window_keeps_the_hop_short(booth: Booth) -> None:
    """A hop longer than the window would leave sound between two windows that no partial covers."""
    said = "one two three four five six seven eight nine ten eleven twelve"
    sound = np.concatenate((booth.quiet(0.5), booth.speak(said), booth.quiet(2)))
    model = booth.model(booth.spec())
    events = booth.listen(booth.decoder(replace(PLAIN, left_context=0.7, edge=0.0)), model, sound)
    ends = [event.end for event in events if isinstance(event, Partial)]
    assert max(np.diff(ends)) <= 0.75
    assert [final.text for final in finals_of(events)] == [said]


@pytest.mark.parametrize(("gap", "text"), [(0.5, "lat can"), (2.0, "latcan")])
def test_a_word_does_not_span_a_long_pause(booth: Booth, gap: float, text: str) -> None:
    """The model wrote no delimiter into a pause, and the captions held one word from before it to after it."""
    decoder = LiveDecoder(booth.spec(), booth.vad(), PLAIN, segmentation=Segmentation(word_gap=gap))
    sound = np.concatenate((booth.speak("lat"), booth.speak("_" * 60), booth.speak("can"), booth.quiet(2)))
    events = booth.listen(decoder, booth.model(booth.spec()), sound)
    assert [event.text for event in events if isinstance(event, Partial)][-1] == text
    [final] = finals_of(events)
    assert final.text == text
    if gap == 0.5:
        assert all(word.end - word.start < 0.5 for word in final.words)


def test_behind_schedule_partials_are_skipped_and_finals_are_not(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = np.concatenate((booth.quiet(0.5), booth.speak("much too slow"), booth.quiet(2)))
    events: list[Event] = []
    for at in range(0, len(sound), 800):
        events += decoder.push(sound[at : at + 800], at)
        events += booth.drain(decoder, model, finals_only=True)
    assert [final.text for final in finals_of(events)] == ["much too slow"]
    assert {what for what, _ in model.runs} == {"final full"}


def test_a_backlog_costs_one_partial(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    sound = np.concatenate((booth.quiet(0.5), booth.speak("a long line that was all spoken before anybody looked")))
    decoder.push(sound, 0)
    booth.drain(decoder, model)
    assert [what for what, _ in model.runs] == ["partial full"]


def test_the_final_is_decoded_while_the_endpoint_still_waits(booth: Booth) -> None:
    """On a slow machine the final came seconds after the endpoint, because its pass began only then."""
    decoder, model = booth.decoder(EARLY), booth.model(booth.spec())
    sound = np.concatenate((booth.speak("turn it off"), booth.quiet(2)))
    spoken = len(booth.speak("turn it off"))
    for at in range(0, len(sound), 800):
        events = decoder.push(sound[at : at + 800], at)
        if finals_of(events):
            break
        booth.drain(decoder, model)
        decoded = [what for what, _ in model.runs].count("final full")
        silence = (at + 800 - spoken) / 16000
        if silence < PLAIN.endpoint.silence_after_text - PLAIN.ahead:
            assert decoded == 0, "too early: pauses inside an utterance would cost a pass each"
        elif silence > PLAIN.endpoint.silence_after_text - PLAIN.ahead + 0.1:
            assert decoded == 1
    [final] = finals_of(events)
    assert final.text == "turn it off"
    assert booth.drain(decoder, model) == [], "the pass ran once"


def test_a_final_decoded_ahead_is_dropped_when_speech_continues(booth: Booth) -> None:
    said = booth.speak("turn it"), booth.quiet(1.05), booth.speak("off"), booth.quiet(2)
    decoder, model = booth.decoder(EARLY), booth.model(booth.spec())
    [final] = finals_of(booth.listen(decoder, model, np.concatenate(said)))
    assert final.text.replace(" ", "") == "turnitoff"
    assert [what for what, _ in model.runs].count("final full") == 2
    never, plain = booth.decoder(replace(EARLY, ahead=0.0)), booth.model(booth.spec())
    assert finals_of(booth.listen(never, plain, np.concatenate(said))) == [final]
    assert [what for what, _ in plain.runs].count("final full") == 1


def test_a_pass_that_was_not_run_ahead_is_due_as_a_final_once_its_utterance_is_over(booth: Booth) -> None:
    decoder, model = booth.decoder(EARLY), booth.model(booth.spec())
    sound = np.concatenate((booth.speak("yes"), booth.quiet(1.05)))
    decoder.push(sound, 0)
    partial = decoder.window()
    assert partial is not None and decoder.due() == "ahead"
    decoder.push(booth.quiet(1.5), len(sound))
    assert decoder.due() == "final"
    decoder.accept(partial, model.run(partial))
    assert [final.text for final in finals_of(booth.drain(decoder, model))] == ["yes"]


def test_a_pass_ahead_may_still_run_when_its_utterance_ends_or_goes_on(booth: Booth) -> None:
    """A server runs windows of many streams at once; what returns late must be assigned to its utterance or dropped."""
    for rest, expected in ((booth.quiet(1.5), ["yes"]), (np.concatenate((booth.speak("no"), booth.quiet(2))), None)):
        decoder, model = booth.decoder(EARLY), booth.model(booth.spec())
        sound = np.concatenate((booth.speak("yes"), booth.quiet(1.05)))
        decoder.push(sound, 0)
        partial = decoder.window()
        assert partial is not None and partial.purpose == "partial" and decoder.due() == "ahead"
        whole = decoder.window()
        assert whole is not None and whole.purpose == "final" and decoder.due() is None
        events = decoder.push(rest, len(sound))
        assert finals_of(events) == []
        late = decoder.accept(whole, model.run(whole))
        if expected is None:
            assert late == []
            assert len(finals_of(booth.drain(decoder, model))) == 1
        else:
            assert [final.text for final in finals_of(late)] == expected
            assert finals_of(booth.drain(decoder, model)) == []


def test_partials_of_a_model_without_spaces_read_as_its_finals(booth: Booth) -> None:
    spec = replace(booth.spec(), delimiter=None)
    decoder, model = LiveDecoder(spec, booth.vad(), replace(PLAIN, agreement=2)), booth.model(spec)
    events = booth.listen(decoder, model, np.concatenate((booth.speak("abcdefghijklmnopqrst"), booth.quiet(3))))
    [final] = finals_of(events)
    assert final.text == "abcdefghijklmnopqrst"
    partials = partials_of(events, final.utterance)
    assert any(partial.stable and partial.tentative for partial in partials)
    assert all(final.text.startswith(partial.text) for partial in partials)


def test_words_that_only_the_whole_pass_recognises_end_the_utterance_as_soon_as_others(booth: Booth) -> None:
    """Without text in partials the endpoint waited for 2.4 s instead of 1.2, and then gave a final with words."""

    def blanks_in_partials(window: Window, logits: NDArray[np.float32]) -> None:
        if window.purpose == "partial":
            logits[...] = 0
            logits[..., 0] = 10

    decoder, model = booth.decoder(), booth.model(booth.spec(), change=blanks_in_partials)
    sound = np.concatenate((booth.speak("short"), booth.quiet(3)))
    events: list[Event] = []
    at = 0
    while not finals_of(events):
        events = decoder.push(sound[at : at + 800], at) + booth.drain(decoder, model)
        at += 800
    assert [final.text for final in finals_of(events)] == ["short"]
    assert (at - len(booth.speak("short"))) / 16000 == pytest.approx(1.2, abs=0.1)


def test_revised_counts_the_stable_words_that_the_final_changed(booth: Booth) -> None:
    spec = booth.spec()

    def b_becomes_z(window: Window, logits: NDArray[np.float32]) -> None:
        if window.purpose == "final":  # once everything is known
            swapped = spec.labels.index("b"), spec.labels.index("z")
            logits[..., swapped] = logits[..., swapped[::-1]]

    decoder = booth.decoder(replace(PLAIN, agreement=2))
    sound = np.concatenate((booth.speak("aa bb cc bb dd ee ff gg"), booth.quiet(2)))
    [final] = finals_of(booth.listen(decoder, booth.model(spec, change=b_becomes_z), sound))
    assert final.text == "aa zz cc zz dd ee ff gg"
    assert final.revised == 2


def test_a_window_whose_utterance_ended_is_ignored(booth: Booth) -> None:
    decoder, model = booth.decoder(), booth.model(booth.spec())
    decoder.push(booth.speak("hello there"), 0)
    late = decoder.window()
    assert late is not None and late.purpose == "partial"
    decoder.close()
    assert decoder.accept(late, model.run(late)) == []
    assert [final.text for final in finals_of(booth.drain(decoder, model))] == ["hello there"]


def test_models_that_do_not_transcribe_are_refused(booth: Booth) -> None:
    with pytest.raises(InputError, match="transcribes"):
        LiveDecoder(replace(booth.spec(), head="xvector"), booth.vad())
    with pytest.raises(InputError, match="16000"):
        LiveDecoder(replace(booth.spec(), sample_rate=8000), booth.vad())


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_samples_that_are_not_sound_are_refused(booth: Booth, bad: float) -> None:
    """NaN went into the loudness and the network, and infinite levels into JSON, which has no such number."""
    sound = booth.quiet(0.5)
    sound[100] = bad
    with pytest.raises(AudioError, match=r"NaN or infinite|must be in \[-1, 1\]"):
        booth.decoder().push(sound, 0)


def test_outputs_that_are_not_numbers_become_no_caption(booth: Booth) -> None:
    def overflow(window: Window, logits: NDArray[np.float32]) -> None:
        logits[0, 0, 0] = np.nan

    model = booth.model(booth.spec(), change=overflow)
    with pytest.raises(EngineError, match="NaN or infinite numbers"):
        booth.listen(booth.decoder(), model, booth.speak("turn the light off"))


def test_what_was_shown_gets_a_final_even_if_almost_nothing_is_left_of_it(booth: Booth) -> None:
    """An utterance that was cut to less than a frame had partials and no Final."""
    decoder = booth.decoder()
    found: list[Event] = []
    segmenter = decoder._utterances
    found += booth.listen(decoder, booth.model(booth.spec()), np.concatenate((booth.quiet(2), booth.speak("turn on"))))
    [utterance] = {event.utterance for event in found if isinstance(event, Partial)}
    assert segmenter.running is not None
    segmenter._end(segmenter.running, segmenter.running.start - 10, "length", quiet=None)
    [final] = finals_of(decoder.push(booth.quiet(0.1), decoder.received))
    assert (final.utterance, final.text, final.start) == (utterance, "", final.end)


@pytest.mark.parametrize("keep", [False, True])
def test_a_partial_that_waited_has_less_context_and_the_final_does_not_change(booth: Booth, keep: bool) -> None:
    settings = LiveSettings(keep_features=keep, behind_context=1.0)
    sound = np.concatenate((booth.speak("turn the light off in the kitchen " * 3), booth.quiet(2)))

    def played(behind: bool) -> tuple[list[float], list[Final]]:
        decoder, model, seconds, events = (
            booth.decoder(settings),
            booth.model(booth.spec()),
            list[float](),
            list[Event](),
        )
        for at in range(0, len(sound), 800):
            events += decoder.push(sound[at : at + 800], at)
            while (window := decoder.window(behind=behind)) is not None:
                if window.purpose == "partial":
                    seconds.append((window.end - window.start) / 16_000)
                events += decoder.accept(window, model.run(window))
        return seconds, finals_of(events)

    (short, finals), (long, usual) = played(True), played(False)
    assert max(short) == pytest.approx(1.5, abs=0.03) and max(long) > 3.0
    assert [final.text for final in finals] == [final.text for final in usual] != [""]


def test_delays_of_partials_do_not_add_up(booth: Booth) -> None:
    """A partial that came 0.2 s late made the next one due 0.2 s later, until the captions were a whole hop late."""
    sound = np.concatenate((booth.quiet(2.0), booth.speak("turn the light off in the kitchen " * 5), booth.quiet(0.3)))

    def ends(wait: int) -> list[float]:
        """Where the windows of partials end that are run ``wait`` blocks of 50 ms after they are due."""
        decoder, model = booth.decoder(replace(PLAIN, long_hop=1.0)), booth.model(booth.spec())
        found, waited = list[float](), 0
        for at in range(0, len(sound), 800):
            decoder.push(sound[at : at + 800], at)
            waited = waited + 1 if decoder.due() == "partial" else 0
            if waited > wait and (window := decoder.window()) is not None:
                found.append(window.end / 16_000)
                decoder.accept(window, model.run(window))
                waited = 0
        return found

    late, prompt = ends(4)[1:], ends(0)
    hops = np.diff(late).round(3).tolist()
    assert len(hops) > 12
    assert hops == [0.5] * 4 + [1.0] * (len(hops) - 4)
    assert {round(end - 0.2, 3) for end in late} <= {round(end, 3) for end in prompt}, "late, but at the same places"

"""The parts around the decoder: backlog, clock arithmetic, agreement, endpoints, tape, detector, sources, savers."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
import wave
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2edge.measure.live_quality import Timed, Utterances
from wav2edge.runtime.errors import AudioError, InputError
from wav2edge.runtime.live import events
from wav2edge.runtime.live.agreement import Agreement, revised
from wav2edge.runtime.live.backlog import Backlog, Block, CapturedFrames
from wav2edge.runtime.live.endpoint import EndpointRules, best_cut
from wav2edge.runtime.live.energy_gate import EnergyGate, EnergyGateSettings
from wav2edge.runtime.live.sample_buffer import SampleBuffer
from wav2edge.runtime.live.saving import CaptionFile, SoundRecorder
from wav2edge.runtime.live.silero import Silero
from wav2edge.runtime.live.sources import FileSource, PiecesSource, RawSource, SkippingClock, on_grid, pieces
from wav2edge.runtime.live.stream_clock import LossWatch, Timeline
from wav2edge.runtime.live.vad import VAD_WINDOW, SpeechDetector, VadSettings
from wav2edge.runtime.text.transcript import Word


def word(text: str, start: float, end: float | None = None) -> Word:
    return Word(text, start, start + 0.2 if end is None else end, 0.9)


# Backlog


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


# Clock arithmetic


def test_sound_lost_by_the_system_is_found_and_late_sound_is_not() -> None:
    watch = LossWatch(16000)
    losses, received, stamp = [], 0, 100.0
    for number in range(2000):
        stamp += 0.05
        received += 800
        late = 1.5 if 400 <= number < 420 else 0.0  # a backlog that arrives late loses nothing
        if number == 1000:
            stamp += 3.0  # the process stood still and the system's buffer ran over
        losses.append(watch.update(stamp + late, received))
    assert sum(losses) == pytest.approx(3.0, abs=0.05)
    assert sum(value > 0 for value in losses) == 1


@settings(max_examples=10, deadline=None)
@given(st.floats(-300e-6, 300e-6))
def test_a_clock_that_runs_off_loses_nothing(skew: float) -> None:
    watch = LossWatch(48000)
    for number in range(1, 2000):
        assert watch.update(number * 0.5 * (1 + skew), number * 24000) == 0.0


def test_the_timeline_follows_the_clock_between_openings() -> None:
    timeline = Timeline()
    assert timeline.begin(stamp=10.05, frames=800, rate=16000) == 0
    timeline.next = 16000
    assert timeline.begin(stamp=15.05, frames=2205, rate=44100) == 80_000
    timeline.skip(0.5)
    assert timeline.next == 88_000
    assert timeline.at(20.0) == 160_000


# Agreement and endpoints


def test_words_become_stable_when_two_hypotheses_agree() -> None:
    agreement = Agreement(settle=0.4, tolerance=0.1)
    agreement.update([word("turn", 0.1), word("of", 0.5)], float("-inf"), 0.8)
    assert agreement.stable == []
    agreement.update([word("turn", 0.12), word("off", 0.5, 0.8), word("the", 0.9)], float("-inf"), 1.3)
    assert [w.text for w in agreement.stable] == ["turn"]
    assert [w.text for w in agreement.tentative] == ["off", "the"]
    agreement.update([word("tern", 0.1), word("off", 0.52, 0.8), word("the", 0.9)], float("-inf"), 1.8)
    assert [w.text for w in agreement.stable] == ["turn", "off", "the"], "what was heard already is not heard again"


def shown(agreement: Agreement) -> str:
    return " ".join(word.text for word in agreement.shown.words)


def test_a_word_in_doubt_holds_back_itself_and_what_follows_until_hypotheses_agree() -> None:
    agreement = Agreement(settle=5.0, tolerance=0.1, wanted=4, confirm=3)
    words = [word("the", 0.0), Word("ship", 0.4, 0.6, 0.5), word("sails", 0.8)]
    shown = []
    for hop in range(3):
        agreement.update(words, float("-inf"), 1.0 + 0.5 * hop)
        shown.append([w.text for w in agreement.confident(0.8)])
    assert shown == [["the"], ["the"], ["the", "ship", "sails"]]
    agreement.update([words[0], replace(words[1], text="sheep"), words[2]], float("-inf"), 3.0)
    assert [w.text for w in agreement.confident(0.8)] != ["the", "sheep", "sails"]
    assert [w.text for w in agreement.confident(0.0)] == [w.text for w in agreement.shown.words]


def test_a_correction_is_shown_once_two_hypotheses_in_a_row_have_it() -> None:
    agreement = Agreement(settle=0.4, tolerance=0.1, wanted=9, confirm=2)
    for end, heard, expected in [
        (1.0, ["turn", "of"], "turn of"),
        (1.5, ["turn", "off", "the"], "turn off the"),  # it was the last word, still being spoken
        (2.0, ["turn", "oft", "the", "lie"], "turn off the lie"),  # a whim
        (2.5, ["turn", "off", "the", "light"], "turn off the light"),
        (3.0, ["tern", "off", "light"], "turn off the light"),
        (3.5, ["tern", "off", "light"], "tern off light"),  # corrected, and one was left out
    ]:
        places = {"turn": 0.1, "tern": 0.1, "of": 0.5, "off": 0.5, "oft": 0.5, "the": 0.9, "lie": 1.3, "light": 1.3}
        agreement.update([word(text, places[text]) for text in heard], float("-inf"), end)
        assert shown(agreement) == expected


def test_what_wavers_on_is_let_go_and_what_is_stable_is_not_shown_twice() -> None:
    agreement = Agreement(settle=0.1, tolerance=0.1, wanted=2, confirm=2)
    for number, text in enumerate(["one", "won", "wan", "when"]):
        agreement.update([word(text, 0.1), word(f"x{number}", 0.5)], float("-inf"), 0.6)
    assert shown(agreement).split()[0] != "one"
    for _ in range(2):
        agreement.update([word("when", 0.1), word("so", 0.5)], float("-inf"), 2.0)
    assert [w.text for w in agreement.stable] == ["when", "so"]
    assert shown(agreement) == ""


def test_the_same_text_elsewhere_is_no_agreement() -> None:
    agreement = Agreement(settle=0.1, tolerance=0.1)
    agreement.update([word("no", 0.1)], float("-inf"), 1.0)
    agreement.update([word("no", 0.5)], float("-inf"), 1.5)
    assert agreement.stable == []


def test_a_word_that_leaves_the_window_is_stable() -> None:
    agreement = Agreement(settle=0.4, tolerance=0.1)
    agreement.update([word("early", 0.1), word("late", 3.0)], float("-inf"), 3.4)
    agreement.update([word("rly", 1.1), word("later", 3.0)], 1.5, 5.0)
    assert [w.text for w in agreement.words] == ["early", "later"]


def test_revised_counts_what_the_final_lacks() -> None:
    stable = [word(text, i) for i, text in enumerate(["a", "b", "c", "d"])]
    assert revised(stable, stable) == 0
    assert revised(stable, [word(text, i) for i, text in enumerate(["a", "x", "b", "d"])]) == 1
    assert revised(stable, []) == 4
    assert revised([], stable) == 0


@pytest.mark.parametrize(
    ("silence", "blank", "length", "text", "reason"),
    [
        (1.3, 0.0, 5.0, True, "silence"),
        (1.3, 0.0, 5.0, False, None),
        (2.5, 0.0, 5.0, False, "silence"),
        (0.0, 2.5, 5.0, True, "blank"),
        (0.0, 0.0, 20.0, True, "length"),
        (0.0, 1.3, 19.0, True, None),
    ],
)
def test_endpoint_rules(silence: float, blank: float, length: float, text: bool, reason: str | None) -> None:
    assert EndpointRules().ended(silence, blank, length, text) == reason


def test_the_best_cut_is_the_longest_pause() -> None:
    said = [word("a", 10.0, 11.0), word("b", 11.2, 13.0), word("c", 14.0, 15.0), word("d", 15.1, 19.5)]
    assert best_cut(said, 11.0, 19.6) == 13.5
    assert best_cut([], 11.0, 19.6) == 19.6
    assert best_cut([word("endless", 1.0, 30.0)], 11.0, 19.6) in (11.0, 19.6)


# SampleBuffer and detector


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 40_000)), max_size=12))
def test_the_tape_keeps_what_was_not_forgotten(steps: list[tuple[int, int]]) -> None:
    tape, everything = SampleBuffer(1000), np.zeros(0, np.float32)
    for count, forget in steps:
        new = np.random.default_rng(count).standard_normal(count).astype(np.float32)
        tape.append(new)
        everything = np.concatenate((everything, new))
        tape.drop(tape.start + forget)
        assert tape.end == 1000 + len(everything)
        np.testing.assert_array_equal(tape.read(0, tape.end + 5), everything[tape.start - 1000 :])


def test_hysteresis_holds_through_a_dip_and_ignores_a_click() -> None:
    script = [0.0, 0.9, 0.1, 0.0, 0.9, 0.9, 0.4, 0.9, 0.3, 0.9]

    class Scripted:
        def __init__(self) -> None:
            self.left = list(script)

        def __call__(self, window: Any) -> float:
            return self.left.pop(0)

        def reset(self) -> None: ...

    detector = SpeechDetector(Scripted(), VadSettings(onset=0.06))
    detector.reset(5000)
    turns = detector.push(np.zeros(VAD_WINDOW * len(script), np.float32))
    assert [turn.speaking for turn in turns] == [False] * 5 + [True] * 3 + [False] * 2
    assert turns[5].onset == 5000 + 4 * VAD_WINDOW


def test_silero_hears_speech_and_not_noise(clips: list[tuple[Path, str]]) -> None:
    samples, _ = soundfile.read(clips[0][0], dtype="float32")
    detector = SpeechDetector(Silero())
    spoken = [turn.speaking for turn in detector.push(samples)]
    assert 0.2 < np.mean(spoken) < 0.95
    noise = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 0.05
    detector.reset(0)
    assert not any(turn.speaking for turn in detector.push(noise))
    detector.reset(0)
    again = [turn.probability for turn in detector.push(samples)]
    detector.reset(0)
    halves = [turn.probability for half in (samples[:10_001], samples[10_001:]) for turn in detector.push(half)]
    assert again == halves


# Sources


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


def test_a_pipe_may_cut_samples_in_half() -> None:
    samples = np.arange(-3000, 3000, dtype="<i2")
    reader, writer = os.pipe()
    source, data = RawSource(reader), samples.tobytes()
    blocks: list[Any] = []
    for at in range(0, len(data), 777):
        os.write(writer, data[at : at + 777])
        blocks += source.read(1.0) or []
    os.close(writer)
    assert source.read(1.0) is None
    os.close(reader)
    heard = np.concatenate([block.samples for block in blocks if isinstance(block, Block)])
    np.testing.assert_array_equal((heard * 32768).astype(int), samples)


# Events


EXAMPLES: list[events.Event] = [
    events.Partial(1, 0.5, 1.5, "turn the", "light"),
    events.Final(
        1, 0.5, 2.5, "turn the light", (word("turn", 0.6), word("the", 0.9), word("light", 1.2)), 1, "silence"
    ),
    events.Silence(2.1),
    events.SourceLost(3.0, "unplugged", "the stream ended"),
    events.SourceBack(8.0, 5.0),
    events.Dropped(9.0, 0.5),
    events.Stats(10.0, 0.1, 0.02, 0.05, -42.0, 0.5),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: str(event.kind))
def test_every_event_fits_the_schema_and_comes_back(event: events.Event) -> None:
    line = events.to_line(event)
    assert "\n" not in line
    jsonschema.validate(json.loads(line), events.schema())
    assert events.from_json({**json.loads(line), "later": "unknown"}) == event


def test_the_schema_refuses_what_is_no_event() -> None:
    jsonschema.Draft202012Validator.check_schema(events.schema())
    for wrong in ({"event": "party"}, {"event": "silence"}, {"event": "dropped", "time": 1.0, "seconds": -1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, events.schema())
    with pytest.raises(ValueError, match="party"):
        events.from_json({"event": "party"})


# Savers


def final(number: int, text: str, start: float) -> events.Final:
    words = tuple(word(part, start + 0.3 * i) for i, part in enumerate(text.split()))
    return events.Final(number, start, start + 5, text, words, 0, "silence")


def test_captions_are_on_the_disk_line_by_line(tmp_path: Path) -> None:
    paths = [tmp_path / f"x{suffix}" for suffix in (".srt", ".vtt", ".jsonl")]
    keepers = [CaptionFile(path) for path in paths]
    said = ["first < words & more", "then a very long line that cannot be shown at once " * 3, "", "and the last"]
    for number, text in enumerate(said):
        for keep in keepers:
            keep(events.Partial(number, 0.0, 1.0, "not", "kept"))
            keep(final(number, text.strip(), 100.0 * number))
    # Not closed: what a power cut would leave.
    cues = list(srt.parse(paths[0].read_text("utf-8"), ignore_errors=False))
    captions = webvtt.read(str(paths[1])).captions
    lines = [json.loads(line) for line in paths[2].read_text("utf-8").splitlines()]
    spoken = " ".join(text.strip() for text in said if text).split()
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    assert " ".join(cue.content for cue in cues).split() == spoken
    assert " ".join(caption.text for caption in captions).replace("&lt;", "<").replace("&amp;", "&").split() == spoken
    assert [line["text"].split() for line in lines] == [text.split() for text in said if text]
    assert all(before.end <= after.start for before, after in pairwise(cues))
    for keep in keepers:
        keep.close()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.srt").write_text("yesterday")
    (tmp_path / "x.flac").write_text("yesterday")
    with pytest.raises(InputError, match="exists"):
        CaptionFile(tmp_path / "x.srt")
    with pytest.raises(InputError, match="exists"):
        SoundRecorder(tmp_path / "x.flac")
    with pytest.raises(InputError, match=r"\.srt"):
        CaptionFile(tmp_path / "x.doc")
    with pytest.raises(InputError, match=r"\.flac"):
        SoundRecorder(tmp_path / "x.mp3")
    assert (tmp_path / "x.srt").read_text() == "yesterday"


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_a_killed_recording_can_be_read(tmp_path: Path, suffix: str) -> None:
    """A FLAC file that libsndfile did not close says it is 2^36 samples long, and soundfile cannot read it."""
    path = tmp_path / f"x{suffix}"
    sound = on_grid(np.random.default_rng(2).uniform(-0.5, 0.5, 7 * 16000).astype(np.float32))
    child = os.fork()
    if child == 0:
        recording = SoundRecorder(path)
        for at in range(0, len(sound), 800):
            recording(Block(at, sound[at : at + 800]))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    kept, _ = soundfile.read(path, dtype="float32")
    assert len(kept) >= 5.5 * 16000
    np.testing.assert_array_equal(kept, sound[: len(kept)])


def test_a_killed_wav_says_how_long_it_is(tmp_path: Path) -> None:
    """Readers that trust the header (Python's own among them) found an empty file."""
    recording = SoundRecorder(tmp_path / "x.wav")
    recording(Block(0, np.full(3 * 16000, 0.5, np.float32)))
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert file.getnframes() == 3 * 16000
    recording.close()
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert file.getnframes() == 3 * 16000


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_a_full_disk_is_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    sound = on_grid(np.random.default_rng(2).uniform(-0.5, 0.5, 16000).astype(np.float32))
    recording = SoundRecorder(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(InputError, match="is the disk full"):
            for second in range(60):
                recording(Block(second * 16000, sound))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.stat().st_size > 100_000


def test_a_recording_keeps_step_with_the_events(tmp_path: Path) -> None:
    recording = SoundRecorder(tmp_path / "x.flac")
    sound = on_grid(np.random.default_rng(3).uniform(-0.5, 0.5, 1600).astype(np.float32))
    recording(Block(0, sound))
    recording(Block(40_000, sound))
    recording(Block(40_800, sound))  # half of it was there already
    recording.close()
    kept, rate = soundfile.read(tmp_path / "x.flac", dtype="float32")
    assert rate == 16000
    np.testing.assert_array_equal(kept[:1600], sound)
    assert not kept[1600:40_000].any()
    np.testing.assert_array_equal(kept[40_000:], np.concatenate((sound, sound[800:])))


# A quiet room


class Counted:
    """Silero, and how often it was asked."""

    def __init__(self) -> None:
        self.detector = Silero()
        self.asked = 0

    def reset(self) -> None:
        self.detector.reset()

    def __call__(self, window: Any) -> float:
        self.asked += 1
        return self.detector(window)


def room(seconds: float, level: float, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).standard_normal(round(seconds * 16000)) * 10 ** (level / 20)).astype(np.float32)


def verdicts(detector: Any, sound: Any) -> list[tuple[int, bool]]:
    return [(turn.start, turn.speaking) for turn in SpeechDetector(detector).push(sound)]


def test_a_quiet_room_hardly_asks_the_network() -> None:
    counted = Counted()
    assert not any(speaking for _, speaking in verdicts(EnergyGate(counted), room(20, -60)))
    assert counted.asked < 0.25 * 20 * 16000 / VAD_WINDOW


def test_a_detector_that_rested_hears_what_another_hears(clips: list[tuple[Path, str]]) -> None:
    """It hears faint speech sooner, even: minutes of noise make the network's memory numb."""
    from wav2edge.runtime.audio import read

    for path, _ in clips[:1]:
        speech = read.load(path)[: 4 * 16000]
        sound = np.concatenate((room(4, -60), speech, room(5, -60, 1), 0.1 * speech, room(2, -60, 2)))
        sound[: len(sound) // VAD_WINDOW * VAD_WINDOW] += room(len(sound) // VAD_WINDOW * VAD_WINDOW / 16000, -62, 3)
        rested, awake = verdicts(EnergyGate(Silero()), sound), verdicts(Silero(), sound)
        onsets = [next(start for start, speaking in found if speaking) for found in (rested, awake)]
        assert abs(onsets[0] - onsets[1]) <= 2 * VAD_WINDOW
        missed = sum(heard and not hears for (_, hears), (_, heard) in zip(rested, awake))
        assert missed <= 3, "no more than a window at an onset"


def test_sound_that_rises_slowly_wakes_it() -> None:
    counted = Counted()
    gate = EnergyGate(counted, EnergyGateSettings(longest_closed=10_000))
    ramp = room(10, 0) * np.geomspace(1e-3, 1e-1, 160_000).astype(np.float32)
    verdicts(gate, np.concatenate((room(3, -60), ramp)))
    assert counted.asked > 0.5 * 10 * 16000 / VAD_WINDOW


# Measures


def test_measures_of_a_session() -> None:
    found = Utterances()
    said = (word("turn", 0.5, 0.8), word("off", 0.9, 1.2), word("lights", 1.3, 1.8))
    timed: list[tuple[events.Event, float]] = [
        (events.Partial(1, 0.3, 1.0, "", "turn"), 1.1),
        (events.Partial(1, 0.3, 1.5, "", "turn of li"), 1.6),  # "of" is followed, and later changes
        (events.Partial(1, 0.3, 2.0, "turn", "off lights"), 2.1),
        (events.Final(1, 0.3, 2.3, "turn off lights", said, 0), 3.1),
        (events.Silence(1.9), 3.1),
    ]
    for event, at in timed:
        found.add(Timed(event, at))
    assert found.first_text == [(0.3, 1.1)]
    assert found.emissions == pytest.approx([0.3, 0.9, 0.3])
    assert found.finalisations == pytest.approx([1.2])
    assert (found.changed, found.completed, found.stable_changed) == (1, 3, 0)

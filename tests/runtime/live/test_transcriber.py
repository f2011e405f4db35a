"""A model ready to caption: its settings, its sessions, samples that the caller pushes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

import wav2edge
from wav2edge.devices.open import open_model
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle, Variant
from wav2edge.runtime.bundle.spec import Stage
from wav2edge.runtime.engines import EngineOptions, Session
from wav2edge.runtime.errors import AudioError, InputError
from wav2edge.runtime.live import transcriber
from wav2edge.runtime.live.endpoint import EndpointRules
from wav2edge.runtime.live.events import Event, Final, Stats
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.sources import FileSource
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.chunking import Chunking

if TYPE_CHECKING:
    from tests.runtime.live.conftest import Booth

RATE = 16000


def test_settings_that_cannot_hold_are_refused(booth: Booth, live: LiveTranscriber) -> None:
    with pytest.raises(InputError, match="frontend"):
        LiveTranscriber(live.model, LiveSettings(keep_features=True), vad=booth.vad)
    with pytest.raises(InputError, match="one pass"):
        long = LiveSettings(endpoint=EndpointRules(longest_utterance=40))
        LiveTranscriber(live.model, long, vad=booth.vad)
    with pytest.raises(InputError, match=r"must be 3\.4 s or more"):
        short = LiveSettings(endpoint=EndpointRules(longest_utterance=0.3))
        LiveTranscriber(live.model, short, vad=booth.vad)
    LiveTranscriber(live.model, long, vad=booth.vad, chunking=Chunking(length=60.0))


def test_streams_of_one_model_share_no_speech_detector(booth: Booth, live: LiveTranscriber) -> None:
    one, two = live.decoder(), live.decoder()
    assert one.vad is not two.vad


@pytest.mark.parametrize(("threads", "for_partials"), [(1, 1), (2, 1), (4, 2), (5, 2), (None, None)])
def test_partials_leave_half_of_the_threads_alone(
    live: LiveTranscriber, threads: int | None, for_partials: int | None
) -> None:
    live.model.options = replace(live.model.options, threads=threads)
    assert live.options("encoder").threads == for_partials
    assert live.options("full").threads == threads


@pytest.mark.parametrize(
    ("engine", "variant", "small", "shared"),
    [
        ("onnxruntime", "int8-u8s8", True, False),
        ("onnxruntime", "int8-u8s8", False, True),
        ("openvino", "int8-s8s8", True, True),
    ],
)
def test_large_models_have_their_sessions_once(
    monkeypatch: pytest.MonkeyPatch, engine: str, variant: str, small: bool, shared: bool
) -> None:
    """Base shape took 366 MB in ONNX Runtime and 979 in OpenVINO: partials and finals had each their own sessions."""
    if not small:
        monkeypatch.setattr(transcriber, "SMALL_BYTES", 1)
    loaded: list[tuple[str, int | None]] = []
    load = engines.load

    def noted(bundle: Bundle, chosen: Variant, name: str, stage: Stage, options: EngineOptions) -> Session:
        loaded.append((stage, options.threads))
        return load(bundle, chosen, name, stage, options)

    monkeypatch.setattr(engines, "load", noted)
    with LiveTranscriber(open_model(None, engine, variant, threads=4)) as live:
        live.push(np.zeros(32000, np.float32))
        live.finish()
    everything = [("frontend", 4), ("encoder", 4)]
    assert sorted(loaded) == sorted(everything if shared else [*everything, ("frontend", 2), ("encoder", 2)])


def test_closing_closes_every_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """``close`` closed the sessions that it had made, and left two of its transcriber open."""
    open_now: list[object] = []
    load = engines.load

    def counted(*given: Any, **named: Any) -> Session:
        session = load(*given, **named)
        close = session.close

        def closing() -> None:
            open_now.remove(session)
            close()

        session.close = closing  # type: ignore[method-assign]
        open_now.append(session)
        return session

    monkeypatch.setattr(engines, "load", counted)
    with LiveTranscriber(open_model(engine="null")) as live:
        live.transcriber()(np.zeros(40 * 16000, np.float32) + 0.01)
        assert len(open_now) >= 3, "the whole graph, and both stages"
    assert open_now == []


def test_what_holds_a_model_is_pickled_with_it(tmp_path: Path) -> None:
    """A lock, a session or a resampler could not be sent to another process; a running stream still cannot."""
    sound = np.zeros(32000, np.float32)
    with LiveTranscriber(open_model(engine="null")) as live, pickle.loads(pickle.dumps(live.transcriber())) as other:
        assert (other.model.engine, other(sound).text) == ("null", live.transcriber()(sound).text)
        live.push(sound, 44100)
        with pytest.raises(InputError, match=r"a stream is running, .*; call finish\(\) first"):
            pickle.dumps(live)
        live.finish()
        with pickle.loads(pickle.dumps(live)) as sent:
            assert sent.settings == live.settings and sent.model is not live.model
            assert [event.kind for event in (*sent.push(sound), *sent.finish())][-1] == "stats"
    path = tmp_path / "silence.wav"
    soundfile.write(path, sound, 16000)
    refused = pytest.raises(InputError, match="events of a live source cannot be copied or pickled; call listen")
    with wav2edge.listen(open_model(engine="null"), FileSource(path, fast=True)) as events, refused:
        pickle.dumps(events)


def test_samples_of_a_loop_of_ones_own_give_the_events_of_a_source(booth: Booth, live: LiveTranscriber) -> None:
    sound = np.concatenate((booth.quiet(0.5), booth.speak("hello there"), booth.quiet(2.0), booth.speak("bye")))
    expected = list(live.session(booth.played(booth.in_blocks(sound))))
    for _ in range(2):  # the second stream begins anew
        events: list[Event] = []
        for at in range(0, len(sound), 800):
            events += live.push(sound[at : at + 800])
        events += live.finish()
        kept = [event for event in events if not isinstance(event, Stats)]
        assert kept == [event for event in expected if not isinstance(event, Stats)]
        assert len(events) - len(kept) == int(len(sound) / 16000) + 1
        assert [event.text for event in kept if isinstance(event, Final)] == ["hello there", "bye"]
    assert live.finish() == []


def test_pushed_samples_of_other_types_rates_and_channels_are_taken(booth: Booth, live: LiveTranscriber) -> None:
    sound = np.concatenate((booth.speak("hello there"), booth.quiet(2.0)))
    stereo = np.stack([sound, sound])
    for samples, rate in (
        ((sound * 32768).astype(np.int16), 16000),
        (stereo, None),
        (stereo.T, 16000.0),
        (sound.tolist(), None),
        (np.repeat(sound, 3), 48000),
    ):
        events = live.push(samples, rate) + live.push([], rate) + live.finish()  # type: ignore[arg-type]
        assert [event.text for event in events if isinstance(event, Final)] == ["hello there"], rate
    blocks = [*np.array_split(stereo.T[:-20], 50), stereo.T[-20:]]  # 20 samples of 2 channels, or the other way round
    events = [event for block in blocks for event in live.push(block)] + live.finish()
    assert [event.text for event in events if isinstance(event, Final)] == ["hello there"]
    with pytest.raises(AudioError, match="both could be the channels"):
        live.push(stereo.T[:20])
    live.push(sound)
    with pytest.raises(InputError, match="8000 Hz after 16000 Hz"):
        live.push(sound, 8000)
    with pytest.raises(AudioError, match=r"\[-1, 1\]"):
        live.push(sound * 32768)


def test_a_model_that_does_not_transcribe_is_refused(shapes_bundle: Bundle) -> None:
    bundle = replace(shapes_bundle, spec=replace(shapes_bundle.spec, head="xvector"))
    with pytest.raises(InputError, match="does not transcribe"):
        LiveTranscriber(Model(bundle, "null", "fp32"))

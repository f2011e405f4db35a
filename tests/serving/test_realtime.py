"""OpenAI's realtime protocol beyond its client: what the client commits or clears, pauses, limits and refusals."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray
from tests.serving.conftest import Running, blocks_of
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import wav2edge
from wav2edge.runtime.audio import read
from wav2edge.serving.limits import Limits
from wav2edge.serving.models import Catalogue
from wav2edge.serving.server import ServerOptions
from wav2edge.serving.sockets import Feed
from wav2edge.serving.streams import CaptionStream

Json = Mapping[str, object]
_COMPLETED = "conversation.item.input_audio_transcription.completed"


def pcm(samples: NDArray[np.float32]) -> bytes:
    """Samples at 16 kHz as 16-bit PCM at 24 kHz."""
    resampled: NDArray[np.float32] = soxr.resample(samples, 16000, 24000)
    return (np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def speech(recordings: list[Path]) -> bytes:
    """Two seconds of speech without a pause at their end."""
    return pcm(np.concatenate(blocks_of(recordings[0]))[: 2 * 16000])


@contextlib.contextmanager
def opened(server: Running) -> Iterator[ClientConnection]:
    """A session, whose first event was read."""
    with connect(f"{server.url.replace('http', 'ws')}/v1/realtime") as socket:
        assert said(socket)["type"] == "session.created"
        yield socket


@pytest.fixture
def session(server: Running) -> Iterator[ClientConnection]:
    with opened(server) as socket:
        yield socket


def said(socket: ClientConnection) -> dict[str, object]:
    """The next event."""
    found: dict[str, object] = json.loads(socket.recv(timeout=30))
    return found


def send(socket: ClientConnection, kind: str, **values: object) -> None:
    socket.send(json.dumps({"type": kind, **values}))


def append(socket: ClientConnection, data: bytes, size: int = 4800) -> None:
    for at in range(0, len(data), size):
        send(socket, "input_audio_buffer.append", audio=base64.b64encode(data[at : at + size]).decode())


def until(socket: ClientConnection, kind: str) -> list[dict[str, object]]:
    """The events up to one of a kind."""
    found = [said(socket)]
    while found[-1]["type"] != kind:
        assert found[-1]["type"] != "error", found[-1]
        found.append(said(socket))
    return found


def update(socket: ClientConnection, given: Json, **session: object) -> dict[str, object]:
    """What follows from other settings of the session."""
    send(socket, "session.update", session={"type": "transcription", "audio": {"input": given}, **session})
    return said(socket)


def error_of(event: dict[str, object]) -> dict[str, object]:
    assert event["type"] == "error"
    error = event["error"]
    assert isinstance(error, dict) and "\n" not in error["message"]
    return error


def test_a_commit_ends_the_utterance_that_turn_detection_has_begun(session: ClientConnection, speech: bytes) -> None:
    """It was refused, so that push-to-talk clients had no way to end an utterance. The session goes on after it."""
    append(session, speech)
    send(session, "input_audio_buffer.commit")
    first = until(session, _COMPLETED)
    append(session, speech)
    send(session, "input_audio_buffer.commit")
    second = until(session, _COMPLETED)
    for events in (first, second):
        kinds = [event["type"] for event in events]
        assert kinds.index("input_audio_buffer.committed") < len(kinds) - 1 and events[-1]["transcript"]
    assert first[-1]["item_id"] != second[-1]["item_id"]
    began = next(event["audio_start_ms"] for event in second if event["type"] == "input_audio_buffer.speech_started")
    assert isinstance(began, int) and 1990 <= began <= 3000, "times go on where the first utterance was committed"
    assert [event["previous_item_id"] for event in second if event["type"] == "input_audio_buffer.committed"] == [
        first[-1]["item_id"]
    ]


def test_a_commit_without_speech_is_an_item_without_text_and_one_without_sound_an_error(
    session: ClientConnection,
) -> None:
    append(session, bytes(48_000))
    send(session, "input_audio_buffer.commit")
    assert until(session, _COMPLETED)[-1]["transcript"] == ""
    send(session, "input_audio_buffer.commit")
    assert error_of(said(session))["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize("heard", [True, False], ids=["after its first words", "at once"])
def test_a_clear_discards_the_running_utterance(
    session: ClientConnection, speech: bytes, recordings: list[Path], heard: bool
) -> None:
    """``cleared`` was answered, and the speech came as completed all the same."""
    append(session, speech)
    if heard:
        until(session, "input_audio_buffer.speech_started")
    send(session, "input_audio_buffer.clear")
    before = until(session, "input_audio_buffer.cleared")
    append(session, bytes(96_000))
    append(session, pcm(read.load(recordings[1], 16000)))
    send(session, "input_audio_buffer.commit")
    after = until(session, _COMPLETED)
    kinds = [event["type"] for event in before + after]
    assert kinds.count(_COMPLETED) == 1 and kinds.count("input_audio_buffer.committed") == 1
    began = next(event["audio_start_ms"] for event in after if event["type"] == "input_audio_buffer.speech_started")
    assert isinstance(began, int) and began > 2000


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(idle_seconds=1.0), "nothing came for 1 s; the stream is over"),
        (Limits(stream_seconds=1.8), "a stream may last 0.0005 hours; what came after that is not in the text"),
    ],
    ids=["stops sending", "sends too much"],
)
def test_a_client_whose_sound_ends_by_a_limit_gets_its_utterance_completed_and_then_the_error(
    catalogue: Catalogue, speech: bytes, limits: Limits, message: str
) -> None:
    """The utterance was lost, or the client was told that all was well, although sound was left out."""
    with Running(catalogue, ServerOptions(port=0), limits) as server, opened(server) as socket:
        append(socket, speech)
        assert until(socket, _COMPLETED)[-1]["transcript"]
        assert error_of(said(socket))["message"] == message
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, message)


def test_settings_without_effect_are_refused_or_answered_as_they_are(
    session: ClientConnection, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were accepted; a silence of 0 ms was confirmed, and 200 ms were used."""
    model = catalogue.models[0].model
    monkeypatch.setattr(model, "spec", dataclasses.replace(model.spec, language="en-GB"))
    refused = error_of(update(session, {"transcription": {"language": "de"}}))
    assert refused["param"] == "language" and "transcribes en-GB, not 'de'" in str(refused["message"])
    assert update(session, {"transcription": {"language": "en-US", "prompt": "x"}})["type"] == "session.updated"
    refused = error_of(update(session, {}, include=["item.input_audio_transcription.logprobs"]))
    assert refused["param"] == "include"
    found = update(session, {"turn_detection": {"type": "server_vad", "silence_duration_ms": 0}})
    assert found["session"]["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200  # type: ignore[index]


def test_one_append_of_minutes_is_transcribed_and_no_more_of_it_waits_than_is_promised(
    catalogue: Catalogue, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """29 s in one append broke the connection; sound in one message would have waited without a bound."""
    waiting: list[float] = []
    offer = CaptionStream.offer

    def note(stream: CaptionStream, samples: NDArray[np.float32]) -> None:
        offer(stream, samples)
        waiting.append(stream.waiting)

    monkeypatch.setattr(CaptionStream, "offer", note)
    sound = np.resize(np.concatenate([read.load(each, 16000) for each in recordings]), 40 * 16000)
    with Running(catalogue, ServerOptions(port=0), Limits(backlog_seconds=6.0)) as server, opened(server) as socket:
        append(socket, pcm(sound), size=1 << 30)
        send(socket, "input_audio_buffer.commit")
        send(socket, "input_audio_buffer.commit")
        events = [said(socket)]
        while events[-1]["type"] != "error":
            events.append(said(socket))
        assert server.service.metrics.dropped_seconds == 0
    texts = [str(event["transcript"]) for event in events if event["type"] == _COMPLETED]
    assert len(" ".join(texts).split()) > 20 and max(waiting) <= 4.5
    assert error_of(events[-1])["code"] == "input_audio_buffer_commit_empty"


def test_an_append_beyond_the_limit_is_said_and_the_session_goes_on(session: ClientConnection) -> None:
    append(session, bytes((15 << 20) + 2), size=1 << 30)
    assert "15 MiB" in str(error_of(said(session))["message"])
    update(session, {"format": {"type": "audio/pcmu"}, "turn_detection": None})
    append(session, bytes(15 << 20), size=1 << 30)
    assert "more than 600 s without a commit" in str(error_of(said(session))["message"])


def test_minutes_in_one_append_are_one_item_where_the_client_commits(
    session: ClientConnection, recordings: list[Path]
) -> None:
    sound = np.concatenate([read.load(each, 16000) for each in recordings])
    update(session, {"turn_detection": None})
    append(session, pcm(sound), size=1 << 30)
    send(session, "input_audio_buffer.commit")
    with wav2edge.Transcriber() as transcribe:
        expected = transcribe(sound, 16000).text.split()
    found = str(until(session, _COMPLETED)[-1]["transcript"]).split()
    assert abs(len(found) - len(expected)) <= 2 and len(found) > 20


def test_sound_in_one_message_is_pushed_by_the_second(monkeypatch: pytest.MonkeyPatch, server: Running) -> None:
    sizes: list[int] = []
    offer = Feed._offer

    def note(feed: Feed, samples: NDArray[np.float32]) -> None:
        sizes.append(len(samples))
        offer(feed, samples)

    monkeypatch.setattr(Feed, "_offer", note)
    with connect(f"{server.url.replace('http', 'ws')}/v1/listen") as socket:
        socket.send(bytes(2 * 16000 * 5))
        socket.send('{"type": "finish"}')
        assert json.loads(list(socket)[-1]) == {"event": "end"}
    assert [size for size in sizes if size] == [16000] * 5

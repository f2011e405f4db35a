"""Sound from a connection: none of it overtakes what came before, none is lost, and what is wrong is said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.websockets import WebSocket
from tests.serving.conftest import Running, blocks_of
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from wav2edge.serving import captions
from wav2edge.serving.limits import Limits
from wav2edge.serving.models import Catalogue
from wav2edge.serving.server import ServerOptions
from wav2edge.serving.sockets import Feed, send
from wav2edge.serving.streams import CaptionStream


@pytest.mark.parametrize("odd", [0, 3], ids=["whole frames", "cut inside a sample"])
def test_sound_faster_than_it_is_decoded_keeps_its_order(
    catalogue: Catalogue, recordings: list[Path], listened: dict[Path, str], monkeypatch: pytest.MonkeyPatch, odd: int
) -> None:
    """With 1 s that may wait, messages alternate between the direct way and the queue."""
    offered: list[NDArray[np.float32]] = []
    direct: list[bool] = []
    offer, take = CaptionStream.offer, Feed.take

    def note(stream: CaptionStream, samples: NDArray[np.float32]) -> None:
        offered.append(samples)
        offer(stream, samples)

    def note_way(feed: Feed, data: bytes) -> bool:
        direct.append(take(feed, data))
        return direct[-1]

    monkeypatch.setattr(CaptionStream, "offer", note)
    monkeypatch.setattr(Feed, "take", note_way)
    sound = np.concatenate(blocks_of(recordings[0]))
    data, size = sound.astype("<f4").tobytes(), 6400 + odd
    with (
        Running(catalogue, ServerOptions(port=0), Limits(backlog_seconds=1.0)) as server,
        connect(f"{server.url.replace('http', 'ws')}/v1/listen?encoding=f32le") as socket,
    ):
        for at in range(0, len(data), size):
            socket.send(data[at : at + size])
        socket.send(json.dumps({"type": "finish"}))
        events = [json.loads(line) for line in socket]
    np.testing.assert_array_equal(np.concatenate(offered), sound)
    assert True in direct and False in direct
    assert " ".join(event["text"] for event in events if event["event"] == "final") == listened[recordings[0]]


def test_a_client_that_takes_events_slowly_gets_all_of_them(
    catalogue: Catalogue, recordings: list[Path], listened: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came while a message was being sent, with the end, was never sent."""

    async def slow(socket: WebSocket, text: str, limits: Limits) -> None:
        await send(socket, text, limits)
        await asyncio.sleep(0.3)

    monkeypatch.setattr(captions, "send", slow)
    with (
        Running(catalogue, ServerOptions(port=0)) as server,
        connect(f"{server.url.replace('http', 'ws')}/v1/listen?encoding=f32le") as socket,
    ):
        for block in blocks_of(recordings[0]):
            socket.send(block.astype("<f4").tobytes())
        socket.send(json.dumps({"type": "finish"}))
        events = [json.loads(line) for line in socket]
    assert " ".join(event["text"] for event in events if event["event"] == "final") == listened[recordings[0]]
    assert events[-1]["event"] == "end"


def test_a_client_that_stops_sending_gets_the_final_of_its_utterance_and_then_the_error(
    catalogue: Catalogue, recordings: list[Path]
) -> None:
    """The words before a microphone was muted were lost: the error came in place of them."""
    sound = np.concatenate(blocks_of(recordings[0]))[: 2 * 16000].astype("<f4").tobytes()
    with (
        Running(catalogue, ServerOptions(port=0), Limits(idle_seconds=1.0)) as server,
        connect(f"{server.url.replace('http', 'ws')}/v1/listen?encoding=f32le") as socket,
    ):
        for at in range(0, len(sound), 6400):
            socket.send(sound[at : at + 6400])
        events = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                events.append(json.loads(socket.recv(timeout=20)))
        assert server.service.metrics.cut_clients == 0
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
    assert [event["text"] for event in events if event["event"] == "final"] != []
    assert events[-1] == {"event": "error", "message": "nothing came for 1 s; the stream is over"}


@pytest.mark.parametrize("rate", ["%C2%B2", "%D9%A1%D9%A6%D9%A0%D9%A0%D9%A0", "9" * 5000, "-16000", "1e4", ""])
def test_a_rate_that_is_no_number_in_ascii_is_refused_in_one_line(server: Running, rate: str) -> None:
    """A superscript two is a digit to str.isdigit; int refused it with a traceback."""
    with connect(f"{server.url.replace('http', 'ws')}/v1/listen?sample_rate={rate}") as socket:
        said = json.loads(socket.recv())
    assert said["event"] == "error" and "give Hz from 4000 to 192000" in said["message"]

"""Clients that take nothing, go away or come at the end: what they cost is bounded, and no other client notices."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.serving.conftest import Running, blocks_of
from tests.serving.test_guard import FORM, asked, form
from websockets.sync.client import connect

from wav2edge.runtime.audio import read
from wav2edge.runtime.live.events import Final
from wav2edge.serving.guard import JsonLines
from wav2edge.serving.limits import Limits
from wav2edge.serving.models import Catalogue
from wav2edge.serving.server import ServerOptions


def place(running: Running) -> tuple[str, int]:
    host, port = running.url.removeprefix("http://").split(":")
    return host, int(port)


def status(running: Running) -> dict[str, float]:
    found: dict[str, float] = json.loads(asked(running.url + "/v1/status")[1])
    return found


def until(holds: Callable[[], bool]) -> bool:
    """Whether something comes true within a generous time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def deaf(running: Running) -> socket.socket:
    """A client of the captions that sends sound for as long as it can, and never reads from its socket."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect(place(running))
    client.sendall(
        b"GET /v1/listen HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )

    def send() -> None:
        frame = b"\x82\xfe" + (3200).to_bytes(2, "big") + b"\0\0\0\0" + b"\1\0" * 1600
        try:
            while True:
                client.sendall(frame)
                time.sleep(0.02)
        except OSError:
            pass  # cut

    threading.Thread(target=send, daemon=True).start()
    return client


def test_a_socket_that_is_never_read_is_cut_and_another_stream_keeps_its_pace(
    catalogue: Catalogue, recordings: list[Path]
) -> None:
    """The healthy client sends a second only when the server has taken all but one of those before."""
    with Running(catalogue, ServerOptions(port=0), Limits(stalled_seconds=0.5)) as running:
        client = deaf(running)
        assert until(lambda: status(running)["streams"] == 1)
        with connect(running.url.replace("http", "ws") + "/v1/listen?encoding=f32le") as healthy:
            healthy.recv()
            sent, taken = 0, 0.0
            for second in blocks_of(recordings[2], 1.0) * 2:
                while sent - taken > 1:
                    event = json.loads(healthy.recv(timeout=60))
                    taken = max(taken, event["time"]) if event["event"] == "stats" else taken
                healthy.send(second.astype("<f4").tobytes())
                sent += 1 if len(second) == 16000 else 0
            assert until(lambda: status(running)["streams"] == 1), "the one that takes nothing is cut"
            healthy.send('{"type": "finish"}')
            events = [json.loads(line) for line in healthy]
        assert events[-1] == {"event": "end"} and not any(event["event"] == "dropped" for event in events)
        client.close()


def is_ended(client: socket.socket, more: bytes) -> bool:
    """Whether the server ends the connection of a client that sends for as long as it can, and never reads."""
    client.settimeout(0.5)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            client.sendall(more)
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


UPGRADE = (
    b"GET /v1/listen HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING = b"\x89\xfd" + bytes(4) + bytes(125)


@pytest.mark.parametrize(
    ("first", "more"), [(b"", b"GET /docs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100), (UPGRADE, PING * 100)]
)
def test_a_connection_whose_client_takes_nothing_is_ended(catalogue: Catalogue, first: bytes, more: bytes) -> None:
    """A connection that was closed with unsent answers waited for its client for as long as that stayed."""
    with Running(catalogue, ServerOptions(port=0), Limits(stalled_seconds=0.5)) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(place(running))
        client.sendall(first)
        assert is_ended(client, more)


@pytest.mark.parametrize(("size", "refused"), [(1, True), (400, False)])
def test_an_upload_that_comes_in_drops_gives_its_place_back(catalogue: Catalogue, size: int, refused: bool) -> None:
    """A byte every 25 s kept a place among the recordings for as long as its client liked; 256 of them kept all."""
    body = form("a.wav", bytes(4000))
    head = "POST /v1/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Content-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
    limits = Limits(idle_seconds=1.0, files=1)
    with Running(catalogue, ServerOptions(port=0), limits) as running, socket.socket() as client:
        client.connect(place(running))
        client.sendall(head.encode() + body[:200])
        client.setblocking(False)
        sent, answer, deadline = 200, b"", time.monotonic() + 20
        while not answer and time.monotonic() < deadline:
            assert running.service.files_now <= 1
            client.sendall(body[sent : sent + size])
            sent += size
            time.sleep(0.2)
            with contextlib.suppress(BlockingIOError):
                answer = client.recv(4096)
        assert (b" 408 " in answer) == refused and (b"less than 1000 bytes a second" in answer) == refused
        assert b"HTTP/1.1 " in answer and until(lambda: running.service.files_now == 0)


def test_a_connection_whose_client_is_slow_goes_on(catalogue: Catalogue) -> None:
    """It takes something in each third of the time in which it must."""
    with Running(catalogue, ServerOptions(port=0), Limits(stalled_seconds=0.6)) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(place(running))
        asks, taken = 60, b""
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * asks)
        began = time.monotonic()
        while taken.count(b"HTTP/1.1 200") < asks:
            piece = client.recv(1 << 20 if time.monotonic() - began > 4 else 30_000)
            assert piece, "it was ended"
            taken += piece
            time.sleep(0.2 if time.monotonic() - began < 4 else 0)


def test_a_watcher_of_a_stream_that_takes_nothing_is_cut(catalogue: Catalogue) -> None:
    """It had its place among the stream's subscribers for as long as it stayed connected."""
    with (
        Running(catalogue, ServerOptions(port=0), Limits(stalled_seconds=0.5)) as running,
        connect(running.url.replace("http", "ws") + "/v1/listen") as stream,
        socket.socket() as client,
    ):
        name = json.loads(stream.recv())["stream"]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(place(running))
        client.sendall(f"GET /v1/streams/{name}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        subscribers = running.service.subscribers[name]
        assert until(lambda: len(subscribers) == 1)
        for number in range(200):  # more than the system's buffers and the connection's
            for each in list(subscribers):
                each.emit((Final(number, 0.0, 1.0, "x" * 50_000),))
            time.sleep(0.005)
        assert until(lambda: not subscribers)


def speech(recordings: list[Path], folder: Path, seconds: int) -> Path:
    """Speech of some length as one recording."""
    once = np.concatenate([read.load(each, 16000) for each in recordings])
    soundfile.write(folder / "long.flac", np.resize(once, seconds * 16000), 16000)
    return folder / "long.flac"


@pytest.mark.parametrize("way", ["/v1/recordings", "/v1/audio/transcriptions"])
def test_an_upload_whose_client_goes_away_is_computed_no_further(
    catalogue: Catalogue, recordings: list[Path], tmp_path: Path, way: str
) -> None:
    body = form("long.flac", speech(recordings, tmp_path, 300).read_bytes())
    head = f"POST {way} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
    with Running(catalogue, ServerOptions(port=0)) as running:

        def run() -> float:
            text = asked(running.url + "/metrics")[1]
            return float(text.split("\nwav2edge_run_seconds_total ")[1].split()[0])

        with socket.create_connection(place(running)) as client:
            client.sendall(head.encode() + body)
            assert until(lambda: run() > 0)
        assert until(lambda: status(running)["files"] == 0)
        assert until(lambda: status(running)["queue_chunks"] == 0)
        assert run() < 200, "ten chunks of 30 s"


def test_a_client_that_goes_away_while_it_sends_is_no_error(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    """The log had a traceback for each: 118 in half a minute of benchmarks/serving.py --attack."""
    with caplog.at_level(logging.INFO, "wav2edge.serving"):
        with socket.create_connection(place(server)) as client:
            client.sendall(
                f"POST /v1/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n"
                f"Content-Length: 5000\r\n\r\n--xx".encode()
            )
            assert until(lambda: status(server)["files"] == 1)
        assert until(lambda: any("/v1/recordings" in JsonLines().format(record) for record in caplog.records))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_server_that_stops_finishes_the_recording_it_has(
    catalogue: Catalogue, recordings: list[Path], tmp_path: Path
) -> None:
    found: list[tuple[int, str]] = []
    recording = speech(recordings, tmp_path, 35)
    with Running(catalogue, ServerOptions(port=0)) as running:
        body = form("long.flac", recording.read_bytes())
        url = running.url + "/v1/audio/transcriptions"
        sending = threading.Thread(target=lambda: found.append(asked(url, body, Content_Type=FORM)))
        sending.start()
        assert until(lambda: status(running)["files"] == 1)
    sending.join(60)
    code, text = found[0]
    transcriber = catalogue.models[0].transcriber
    expected = transcriber.result(transcriber.open_recording(recording)).text
    assert code == 200 and json.loads(text)["text"] == expected


def test_the_log_has_words_only_where_it_was_asked_for(
    catalogue: Catalogue, recordings: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    def logged() -> list[tuple[str, str]]:
        lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
        return [(line["kind"], line["text"]) for line in lines if line["event"] == "text"]

    body = form("a.opus", recordings[0].read_bytes())
    with Running(catalogue, ServerOptions(port=0, log_text=True)) as running, caplog.at_level(logging.INFO):
        text = json.loads(asked(running.url + "/v1/audio/transcriptions", body, Content_Type=FORM)[1])["text"]
        assert logged() == [("file", text)] and text
        with connect(running.url.replace("http", "ws") + "/v1/listen?encoding=f32le") as ws:
            for block in blocks_of(recordings[1]):
                ws.send(block.astype("<f4").tobytes())
            ws.send('{"type": "finish"}')
            finals = [json.loads(line) for line in ws]
        said = [("stream", event["text"]) for event in finals if event["event"] == "final"]
        assert logged()[1:] == said != []

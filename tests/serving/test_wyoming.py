"""The client of the package ``wyoming`` against the server, as Home Assistant uses it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.serving.conftest import blocks_of
from tests.serving.test_slow_clients import is_ended
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from wav2edge.runtime.errors import InputError
from wav2edge.serving.limits import Limits
from wav2edge.serving.models import Catalogue
from wav2edge.serving.server import Server, ServerOptions
from wav2edge.serving.wyoming import WyomingServer


@pytest.fixture(scope="module")
def port(catalogue: Catalogue) -> Iterator[int]:
    wyoming = WyomingServer("127.0.0.1", 0)
    server = Server(catalogue, ServerOptions(port=0), Limits(idle_seconds=2.0))
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set, (wyoming.serve,)), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield wyoming.port
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


async def answer_of(client: AsyncTcpClient) -> tuple[list[str], str]:
    """The chunks of a transcript, and the whole."""
    texts, whole = [], ""
    while (event := await client.read_event()) is not None and not TranscriptStop.is_type(event.type):
        if TranscriptChunk.is_type(event.type):
            texts.append(TranscriptChunk.from_event(event).text)
        elif Transcript.is_type(event.type):
            whole = Transcript.from_event(event).text
        else:
            assert TranscriptStart.is_type(event.type), event
    return texts, whole


def test_a_recording_gets_the_text_of_listen_in_chunks_and_whole(
    port: int, recordings: list[Path], listened: dict[Path, str]
) -> None:
    async def talk() -> tuple[Info, list[str], str]:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Describe().event())
            event = await client.read_event()
            assert event is not None
            info = Info.from_event(event)
            for _ in range(2):  # Home Assistant keeps a connection for several
                await client.write_event(Transcribe(name="wav2edge-demo", language="en").event())
                await client.write_event(AudioStart(16000, 2, 1).event())
                for block in blocks_of(recordings[0]):
                    audio = (np.clip(block, -1, 1) * 32767).astype("<i2").tobytes()
                    await client.write_event(AudioChunk(16000, 2, 1, audio).event())
                await client.write_event(AudioStop().event())
                texts, whole = await answer_of(client)
            return info, texts, whole

    info, chunks, whole = asyncio.run(talk())
    [program] = info.asr
    assert program.supports_transcript_streaming and program.models[0].name == "wav2edge-demo"
    assert "".join(chunks) == whole == listened[recordings[0]]


def test_a_chunk_of_another_form_than_the_start_is_taken_by_its_own(
    port: int, recordings: list[Path], listened: dict[Path, str]
) -> None:
    """Samples of two channels at 32 kHz were read as one at 16 kHz: other words, and no error."""

    async def talk() -> str:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(AudioStart(16000, 2, 1).event())
            for block in blocks_of(recordings[0]):
                audio = np.repeat((np.clip(block, -1, 1) * 32767).astype("<i2"), 4).tobytes()
                await client.write_event(AudioChunk(32000, 2, 2, audio).event())
            await client.write_event(AudioStop().event())
            _, whole = await answer_of(client)
            return whole

    assert asyncio.run(talk()) == listened[recordings[0]]


def test_a_second_start_begins_a_new_recording(port: int, recordings: list[Path], listened: dict[Path, str]) -> None:
    """It was ignored, so that the transcript began with what an earlier recording without an end had said."""

    async def talk() -> str:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            for recording in (recordings[1], recordings[0]):
                await client.write_event(AudioStart(16000, 2, 1).event())
                for block in blocks_of(recording):
                    audio = (np.clip(block, -1, 1) * 32767).astype("<i2").tobytes()
                    await client.write_event(AudioChunk(16000, 2, 1, audio).event())
            await client.write_event(AudioStop().event())
            _, whole = await answer_of(client)
            return whole

    assert asyncio.run(talk()) == listened[recordings[0]]


def started(catalogue: Catalogue, limits: Limits | None = None) -> tuple[WyomingServer, Server, threading.Thread]:
    """A server of both protocols, and the thread that runs it."""
    wyoming = WyomingServer("127.0.0.1", 0)
    server = Server(catalogue, ServerOptions(port=0), limits)
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set, (wyoming.serve,)), daemon=True)
    thread.start()
    assert ready.wait(20)
    return wyoming, server, thread


def test_a_client_that_stays_does_not_keep_the_server_from_ending(
    catalogue: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    """From Python 3.12 on the server waited for it; before, a traceback was printed."""
    wyoming, server, thread = started(catalogue)

    async def stay() -> None:
        async with AsyncTcpClient("127.0.0.1", wyoming.port) as client:
            await client.write_event(Describe().event())
            assert await client.read_event() is not None
            server.stop()
            while thread.is_alive():
                await asyncio.sleep(0.05)
            assert await asyncio.wait_for(client.read_event(), 5) is None

    asyncio.run(asyncio.wait_for(stay(), 20))
    assert "Traceback" not in caplog.text and "Exception" not in caplog.text


def test_connections_are_bounded(catalogue: Catalogue) -> None:
    wyoming, server, thread = started(catalogue, Limits(connections=2))

    def answer(client: socket.socket) -> bytes:
        with contextlib.suppress(ConnectionError):
            client.sendall(b'{"type": "ping"}\n')
            return client.recv(100)
        return b""

    try:
        with contextlib.ExitStack() as stack:
            place = ("127.0.0.1", wyoming.port)
            clients = [stack.enter_context(socket.create_connection(place, timeout=20)) for _ in range(3)]
            assert [b"pong" in answer(client) for client in clients] == [True, True, False]
    finally:
        server.stop()
        thread.join(20)


def test_a_connection_whose_client_takes_nothing_is_ended(catalogue: Catalogue) -> None:
    """The server gave it up and then waited until what it had sent was taken: for as long as the client stayed."""
    wyoming, server, thread = started(catalogue, Limits(stalled_seconds=0.5))
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", wyoming.port))
            assert is_ended(client, b'{"type": "describe"}\n' * 200)
    finally:
        server.stop()
        thread.join(20)


def test_the_stop_of_a_recording_that_was_as_long_as_may_be_is_no_error(catalogue: Catalogue) -> None:
    wyoming, server, thread = started(catalogue, Limits(stream_seconds=1.0))

    async def talk() -> list[str]:
        kinds = []
        async with AsyncTcpClient("127.0.0.1", wyoming.port) as client:
            await client.write_event(AudioStart(16000, 2, 1).event())
            await client.write_event(AudioChunk(16000, 2, 1, bytes(2 * 24000)).event())
            await client.write_event(AudioStop().event())
            await client.write_event(Ping(text="on").event())
            while (event := await client.read_event()) is not None:
                kinds.append(event.type)
                if Pong.is_type(event.type) or Error.is_type(event.type):
                    break
        return kinds

    assert asyncio.run(talk()) == ["transcript-start", "transcript", "transcript-stop", "pong"]
    server.stop()
    thread.join(20)


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        (["start", "other"], "asks for second in the middle of a recording for wav2edge-demo; send it before"),
        (["start", "chunk", "other"], "asks for second in the middle of a recording for wav2edge-demo; send it before"),
        (["start", "chunk", "other", "start"], ""),
        (["other", "start", "chunk", "other"], ""),
    ],
)
def test_another_model_is_for_the_next_recording(catalogue: Catalogue, order: list[str], answer: str) -> None:
    """In the middle of one it had the text of the model before, joined and named as the other's."""
    [first] = catalogue.models
    both = Catalogue((first, dataclasses.replace(first, name="second")), catalogue.settings)
    wyoming, server, thread = started(both, Limits())
    sent = {
        "start": AudioStart(16000, 2, 1).event(),
        "chunk": AudioChunk(16000, 2, 1, bytes(2 * 8000)).event(),
        "other": Transcribe(name="second").event(),
    }

    async def talk() -> Event | None:
        async with AsyncTcpClient("127.0.0.1", wyoming.port) as client:
            for name in (*order, "chunk"):
                await client.write_event(sent[name])
            await client.write_event(AudioStop().event())
            event: Event | None = await client.read_event()
            while event is not None and not (Transcript.is_type(event.type) or Error.is_type(event.type)):
                event = await client.read_event()
            return event

    event = asyncio.run(talk())
    server.stop()
    thread.join(20)
    assert event is not None and Error.is_type(event.type) == bool(answer)
    assert answer in str(event.data.get("text"))


def spoken(recording: Path) -> list[Event]:
    """The events of a recording that does not stop, as Home Assistant sends them."""
    audio = [(np.clip(block, -1, 1) * 32767).astype("<i2").tobytes() for block in blocks_of(recording)]
    return [AudioStart(16000, 2, 1).event(), *(AudioChunk(16000, 2, 1, each).event() for each in audio)]


def test_a_recording_gets_its_transcript_when_the_server_stops(
    catalogue: Catalogue, recordings: list[Path], listened: dict[Path, str]
) -> None:
    """It got none, and the server waited for its client for 30 s."""
    wyoming, server, thread = started(catalogue)

    async def talk() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", wyoming.port) as client:
            for event in spoken(recordings[0]):
                await client.write_event(event)
            await client.write_event(Ping().event())
            found = [await client.read_event()]
            while found[-1] is not None and not Pong.is_type(found[-1].type):  # then the server has all of the sound
                found.append(await client.read_event())
            server.stop()
            for _ in range(20):  # the client goes on sending
                await client.write_event(AudioChunk(16000, 2, 1, bytes(3200)).event())
            while found[-1] is not None:
                found.append(await client.read_event())
            return [event for event in found if event is not None]

    events = asyncio.run(asyncio.wait_for(talk(), 20))
    thread.join(10)
    assert not thread.is_alive()
    [text] = [Transcript.from_event(event).text for event in events if Transcript.is_type(event.type)]
    assert text == listened[recordings[0]] != ""


def test_a_client_that_stops_sending_gets_its_transcript_and_then_the_error(
    port: int, recordings: list[Path], listened: dict[Path, str]
) -> None:
    async def talk() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            for event in spoken(recordings[0]):
                await client.write_event(event)
            found = []
            while (event := await client.read_event()) is not None:
                found.append(event)
            return found

    events = asyncio.run(asyncio.wait_for(talk(), 20))
    [text] = [Transcript.from_event(event).text for event in events if Transcript.is_type(event.type)]
    assert text == listened[recordings[0]]
    assert Error.is_type(events[-1].type) and "nothing came for 2 s" in Error.from_event(events[-1]).text


@pytest.mark.parametrize("refused", ["width", "model"])
def test_a_client_that_is_still_sending_gets_the_error(port: int, recordings: list[Path], refused: str) -> None:
    """The connection was closed with sound unread, so that the system answered with a reset in place of it."""

    async def talk() -> Event | None:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            if refused == "model":
                await client.write_event(Transcribe(name="none").event())
            width = 3 if refused == "width" else 2
            await client.write_event(AudioStart(16000, width, 1).event())
            for _ in range(50):
                await client.write_event(AudioChunk(16000, width, 1, bytes(3200)).event())
                await asyncio.sleep(0.002)
            await client.write_event(AudioStop().event())
            event: Event | None = await client.read_event()
            return event

    for _ in range(3):
        event = asyncio.run(asyncio.wait_for(talk(), 20))
        assert event is not None and Error.is_type(event.type)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"nonsense\n", "JSON"),
        (b"[]\n", "one JSON object"),
        (b'{"type": "audio-stop"}\n', "without audio-start"),
        (b'{"type": "x", "payload_length": -1}\n', "payload_length"),
        (b'{"type": "audio-start", "data": {"rate": 16000, "width": 4, "channels": 1}}\n', "width 2"),
        (b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n', "nothing came for 2 s"),
        (b'{"type": "transcribe", "data": {"name": "none"}}\n', "no model"),
        (b"x" * 70000 + b"\n", "64 KB"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_ends_the_connection(port: int, sent: bytes, message: str) -> None:
    async def ask() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        data = await reader.read()
        writer.close()
        return data.decode()

    lines = asyncio.run(ask())
    head, _, rest = lines[lines.index('{"type": "error"') :].partition("\n")
    assert Error.is_type(json.loads(head)["type"])
    text = json.loads(rest)["text"]
    assert message in text and "\n" not in text


def test_servers_are_announced_until_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser of the same machine finds their ports, and loses them when the servers stop.

    Two on one machine had one name, and the second was not found. Its name may be as long as a host's.
    """
    zeroconf = pytest.importorskip("zeroconf", reason="needs the extra [zeroconf]")
    from wav2edge.serving import announcement
    from wav2edge.serving.announcement import KIND, Announcement

    monkeypatch.setattr(announcement, "_addresses", lambda host: [host])
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 63)
    found: asyncio.Queue[int | None] = asyncio.Queue()

    class Browser(zeroconf.ServiceListener):  # type: ignore[misc, name-defined]
        def add_service(self, browsing: object, kind: str, name: str) -> None:
            port = browsing.get_service_info(kind, name).port  # type: ignore[attr-defined]
            loop.call_soon_threadsafe(found.put_nowait, port)

        def remove_service(self, browsing: object, kind: str, name: str) -> None:
            loop.call_soon_threadsafe(found.put_nowait, None)

        def update_service(self, browsing: object, kind: str, name: str) -> None:
            pass

    loop = asyncio.new_event_loop()

    async def run() -> None:
        serving = [asyncio.ensure_future(Announcement("127.0.0.1", port).serve()) for port in (10_398, 10_399)]
        browsing = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
        zeroconf.ServiceBrowser(browsing, KIND, Browser())
        try:
            assert {await asyncio.wait_for(found.get(), 30) for _ in serving} == {10_398, 10_399}
            for each in serving:
                each.cancel()
            assert {await asyncio.wait_for(found.get(), 30) for _ in serving} == {None}
            await asyncio.gather(*serving, return_exceptions=True)
        finally:
            await asyncio.to_thread(browsing.close)

    loop.run_until_complete(run())
    loop.close()


def test_an_address_that_cannot_be_announced_is_said_first() -> None:
    pytest.importorskip("zeroconf", reason="needs the extra [zeroconf]")
    from wav2edge.serving.announcement import Announcement

    with pytest.raises(InputError, match="::1 has no address of IPv4"):
        Announcement("::1", 10_400)
    for host in ("127.0.0.1", "localhost"):  # --announce without --host
        with pytest.raises(InputError, match=f"no other device reaches {host}, so .* give --host"):
            Announcement(host, 10_400)

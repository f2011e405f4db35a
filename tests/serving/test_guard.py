"""Safety: tokens, hosts, origins, limits with their status and sentence, clients that are slow or disconnect."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib import request as urls
from urllib.error import HTTPError

import numpy as np
import pytest
import soundfile
from tests.serving.conftest import Running, blocks_of
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from wav2edge.runtime.errors import InputError
from wav2edge.serving.guard import JsonLines
from wav2edge.serving.limits import Limits
from wav2edge.serving.models import Catalogue
from wav2edge.serving.refusals import Refused
from wav2edge.serving.server import Server, ServerOptions
from wav2edge.serving.uploads import Cancelled, Decoders, Spool

FORM = "multipart/form-data; boundary=xx"


def asked(url: str, data: bytes | None = None, **headers: str) -> tuple[int, str]:
    """The status and the body of a response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urls.urlopen(urls.Request(url, data, named), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def form(name: str, data: bytes, **fields: str) -> bytes:
    """The body of an upload."""
    parts = [f'--xx\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    head = f'--xx\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return b"".join(parts) + head + data + b"\r\n--xx--\r\n"


def message_of(body: str) -> str:
    """The sentence of an error."""
    message = json.loads(body)["error"]["message"]
    assert isinstance(message, str) and "\n" not in message
    return message


@pytest.fixture(scope="module")
def guarded(catalogue: Catalogue) -> Iterator[Running]:
    """A server with a token and small limits."""
    limits = Limits(
        upload_bytes=1_000_000, recording_seconds=20.0, streams=3, streams_per_client=2, idle_seconds=1.0,
        stalled_seconds=1.0, files=2,
    )  # fmt: skip
    with Running(catalogue, ServerOptions(port=0, token="secret", origins=("https://ours.example",)), limits) as made:
        yield made


def test_other_machines_need_a_token(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="token"):
        ServerOptions(host="0.0.0.0")
    with pytest.raises(InputError, match="no such file"):
        ServerOptions(certificate=tmp_path / "none.pem")
    assert ServerOptions(host="::1").token is None


def test_a_taken_port_and_a_wrong_certificate_are_one_line(catalogue: Catalogue, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is taken"):
            Server(catalogue, ServerOptions(port=port))
    (tmp_path / "wrong.pem").write_text("no certificate")
    with pytest.raises(InputError, match=r"wrong\.pem: not a certificate"):
        Server(catalogue, ServerOptions(port=0, certificate=tmp_path / "wrong.pem"))


def test_the_token_opens_everything_but_health_page_and_docs(guarded: Running) -> None:
    for path in ("/healthz", "/readyz", "/", "/page/style.css", "/docs", "/openapi.json"):
        assert asked(guarded.url + path)[0] == 200, path
    for path in ("/v1/models", "/metrics", "/v1/status"):
        status, body = asked(guarded.url + path)
        assert status == 401 and "requires its token" in message_of(body), path
        assert asked(guarded.url + path, Authorization="Bearer wrong")[0] == 401
        assert asked(guarded.url + path, Authorization="Bearer secret")[0] == 200
    address = guarded.url.replace("http", "ws") + "/v1/listen"
    with pytest.raises(InvalidStatus) as refused:
        connect(address)
    assert refused.value.response.status_code == 401
    with connect(address, subprotocols=[Subprotocol("wav2edge"), Subprotocol("openai-insecure-api-key.secret")]) as ws:
        assert json.loads(ws.recv())["event"] == "begin"


def test_requests_of_other_sites_pages_are_refused(server: Running, guarded: Running) -> None:
    """Without a token only the Origin and the Host tell a page of this server from one that a browser has open."""
    assert asked(server.url + "/v1/models", Origin="https://evil.example")[0] == 403
    status, body = asked(server.url + "/v1/models", Host="evil.example:8000")
    assert status == 421 and "own name" in message_of(body)
    with pytest.raises(InvalidStatus):
        connect(server.url.replace("http", "ws") + "/v1/listen", origin=Origin("https://evil.example"))
    assert asked(server.url + "/v1/models", Origin=server.url)[0] == 200
    ours = urls.Request(
        guarded.url + "/v1/models", headers={"Origin": "https://ours.example", "Authorization": "Bearer secret"}
    )
    with urls.urlopen(ours) as answer:
        assert answer.headers["access-control-allow-origin"] == "https://ours.example"
    with urls.urlopen(server.url + "/v1/models") as answer:
        assert "access-control-allow-origin" not in answer.headers


def test_uploads_are_bounded_in_bytes_and_seconds(guarded: Running, tmp_path: Path) -> None:
    url = guarded.url + "/v1/audio/transcriptions"
    headers = {"Content-Type": FORM, "Authorization": "Bearer secret"}
    status, body = asked(url, form("a.wav", b"0" * 1_000_000), **headers)
    assert status == 413 and "larger than 1 MB" in message_of(body)
    soundfile.write(tmp_path / "long.ogg", np.zeros(16000 * 21), 16000)
    status, body = asked(url, form("long.ogg", (tmp_path / "long.ogg").read_bytes()), **headers)
    assert status == 413 and "long.ogg: longer than the 0.333333 minutes" in message_of(body)
    status, body = asked(url, b"{}", Content_Type="application/json", Authorization="Bearer secret")
    assert status == 415 and "multipart/form-data" in message_of(body)
    status, body = asked(url, b"--yy", Content_Type=FORM, Authorization="Bearer secret")
    assert status == 400, body
    assert guarded_files(guarded) == 0


@pytest.fixture(scope="module")
def small(catalogue: Catalogue) -> Iterator[Running]:
    """A server with room for one upload of 400 kB."""
    with Running(catalogue, ServerOptions(port=0), Limits(spool_bytes=600_000, idle_seconds=20.0)) as running:
        yield running


@pytest.mark.parametrize("declared", [True, False])
def test_uploads_count_while_they_arrive(small: Running, declared: bool) -> None:
    """Only those that had come in whole were counted, so that any number could arrive at once."""
    place = small.url.removeprefix("http://").split(":")
    body = form("a.wav", bytes(400_000))
    how = f"Content-Length: {len(body)}" if declared else "Transfer-Encoding: chunked"
    with socket.create_connection((place[0], int(place[1]))) as client:
        sent = body[:350_000] if not declared else body[:200]
        client.sendall(
            f"POST /v1/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n{how}\r\n\r\n".encode()
            + (sent if declared else f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
        )
        service = small.service
        assert _becomes(lambda: service.files.spool.held >= 300_000)
        status, answer = asked(small.url + "/v1/audio/transcriptions", form("b.wav", bytes(300_000)), Content_Type=FORM)
        assert status == 503 and "try again later" in message_of(answer)
    assert _becomes(lambda: service.files.spool.held == 0)


def test_a_large_upload_for_which_there_is_no_room_gets_its_answer(small: Running) -> None:
    """The connection would be closed while the client still sends."""
    url = small.url + "/v1/audio/transcriptions"
    status, answer = asked(url, form("b.wav", bytes(20_000_000)), Content_Type=FORM)
    assert status == 503 and "try again later" in message_of(answer)


def test_an_upload_counts_once_when_it_is_there_once(
    small: Running, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    service = small.service
    decode = Decoders.decode

    def decoded(self: Decoders, *words: object) -> object:
        held.append(service.files.spool.held)
        return decode(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoders, "decode", decoded)
    data = recordings[0].read_bytes()
    status, _ = asked(small.url + "/v1/audio/transcriptions", form("a.opus", data), Content_Type=FORM)
    assert (status, held) == (200, [len(data)])
    assert _becomes(lambda: service.files.spool.held == 0)


def test_a_full_disk_is_said_and_the_decoder_goes_on(recordings: list[Path], tmp_path: Path) -> None:
    decoders = Decoders(1, 60.0)
    try:
        with pytest.raises(Refused, match="the server's disk is full; try again later") as refused:
            decoders.decode(recordings[0], "a.opus", Path("/dev/full"), 16000, threading.Event())
        assert refused.value.status == 503 and refused.value.retry and decoders.lost == 0
        assert decoders.decode(recordings[0], "a.opus", tmp_path / "a.f32", 16000, threading.Event()).seconds > 1
    finally:
        decoders.close()


def test_a_disk_that_is_full_while_an_upload_is_stored_is_said(
    server: Running, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    body = form("a.opus", recordings[0].read_bytes())
    status, answer = asked(server.url + "/v1/audio/transcriptions", body, Content_Type=FORM)
    assert status == 503 and message_of(answer) == "the server's disk is full; try again later"


def _becomes(holds: Callable[[], bool]) -> bool:
    """Whether something comes true within some seconds."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def guarded_files(guarded: Running) -> int:
    """Recordings that the server believes to be at work on."""
    return int(json.loads(asked(guarded.url + "/v1/status", Authorization="Bearer secret")[1])["files"])


def test_an_upload_that_stops_halfway_is_ended(guarded: Running) -> None:
    host, port = guarded.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(
            f"POST /v1/recordings HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer secret\r\n"
            f"Content-Type: {FORM}\r\nContent-Length: 5000\r\n\r\n--xx".encode()
        )
        answer = b""
        while not answer.endswith(b"}}"):
            answer += client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408") and b"nothing was sent for 1 s" in answer
    assert guarded_files(guarded) == 0


def test_streams_are_bounded_in_number_and_idle_time(guarded: Running) -> None:
    address = guarded.url.replace("http", "ws") + "/v1/listen"
    headers = {"Authorization": "Bearer secret"}
    with connect(address, additional_headers=headers) as first, connect(address, additional_headers=headers) as second:
        assert json.loads(first.recv())["event"] == json.loads(second.recv())["event"] == "begin"
        with connect(address, additional_headers=headers) as third:
            assert "has 2 live streams already" in json.loads(third.recv())["message"]
            with pytest.raises(ConnectionClosed) as closed:
                third.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        said = json.loads(first.recv(timeout=5))
        assert said["event"] == "error" and "nothing came for 1 s" in said["message"]


@pytest.mark.parametrize("path", ["/v1/listen", "/v1/realtime"])
def test_a_socket_is_closed_with_its_code_whatever_was_asked_for(server: Running, path: str) -> None:
    """A reason of more than 123 bytes cannot be sent: the connection broke instead."""
    with connect(f"{server.url.replace('http', 'ws')}{path}?model={'%C3%A9' * 100}") as socket:
        assert "no model" in str(socket.recv(timeout=10))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason.startswith("no model")


def test_a_token_of_bytes_that_are_no_text_is_taken(catalogue: Catalogue) -> None:
    """The environment of a process holds bytes; such a token ended the server in an internal error."""
    with Running(catalogue, ServerOptions(port=0, token="\udcff\udcfe")) as running:
        assert asked(running.url + "/v1/models", Authorization="Bearer \xff\xfe")[0] == 200
        assert asked(running.url + "/v1/models", Authorization="Bearer \xff")[0] == 401


def test_headers_must_come_soon_and_a_stream_outlives_that_bound(catalogue: Catalogue) -> None:
    """Every socket was closed 20 s after its connection: the bound on headers went on counting after the upgrade."""
    with Running(catalogue, ServerOptions(port=0), Limits(header_seconds=0.5)) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with connect(running.url.replace("http", "ws") + "/v1/listen") as ws:
            ws.recv()
            with socket.create_connection((host, int(port)), timeout=10) as slow:
                slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0")
                assert slow.recv(100) == b"", "closed"
            time.sleep(0.6)
            ws.send(b"\0" * 32000)
            ws.send('{"type": "finish"}')
            assert json.loads(list(ws)[-1]) == {"event": "end"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?encoding=mp3", "choose from"),
        ("?sample_rate=1", "4000"),
        ("?model=none", "no model"),
        ("?rate=48000", "no parameter 'rate'; there are encoding, model, sample_rate"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_in_one_line(server: Running, query: str, message: str) -> None:
    """A misspelled parameter was ignored: sound of 48 kHz was captioned as of 16 kHz, in wrong words."""
    with connect(server.url.replace("http", "ws") + "/v1/listen" + query) as ws:
        said = json.loads(ws.recv())
        assert said["event"] == "error" and message in said["message"]


def test_nonsense_on_a_socket_is_refused_in_one_line(server: Running) -> None:
    for sent in ("hello", '{"type": "other"}', np.full(100, np.nan, "<f4").tobytes()):
        with connect(server.url.replace("http", "ws") + "/v1/listen?encoding=f32le") as ws:
            ws.recv()
            ws.send(sent)
            said = json.loads(ws.recv())
            assert said["event"] == "error" and "\n" not in said["message"]


def test_captions_over_a_socket_are_those_of_listen(
    server: Running, recordings: list[Path], listened: dict[Path, str]
) -> None:
    with connect(server.url.replace("http", "ws") + "/v1/listen?encoding=f32le") as ws:
        name = json.loads(ws.recv())["stream"]
        watched: list[str] = []
        watcher = threading.Thread(target=_watch, args=(f"{server.url}/v1/streams/{name}/events", watched))
        watcher.start()
        while not watched:
            time.sleep(0.01)
        for block in blocks_of(recordings[1]):
            ws.send(block.astype("<f4").tobytes())
        ws.send('{"type": "finish"}')
        events = [json.loads(line) for line in ws]
        watcher.join(20)
    assert events[-1] == {"event": "end"}
    assert " ".join(each["text"] for each in events if each["event"] == "final") == listened[recordings[1]]
    seen = [json.loads(line[6:]) for line in watched if line.startswith("data: ")]
    assert [each for each in seen if each["event"] == "final"] == [each for each in events if each["event"] == "final"]
    assert asked(f"{server.url}/v1/streams/{name}/events")[0] == 404


def test_those_who_watch_a_stream_are_told_why_it_ended(catalogue: Catalogue, recordings: list[Path]) -> None:
    """They were told that a stream ended well that was too long, or whose engine failed."""
    sound = np.concatenate(list(blocks_of(recordings[1])))
    watched: list[str] = []
    with (
        Running(catalogue, ServerOptions(port=0), Limits(stream_seconds=len(sound) / 16000 - 1)) as running,
        connect(running.url.replace("http", "ws") + "/v1/listen?encoding=f32le") as ws,
    ):
        name = json.loads(ws.recv())["stream"]
        watcher = threading.Thread(target=_watch, args=(f"{running.url}/v1/streams/{name}/events", watched))
        watcher.start()
        subscribers, deadline = running.service.subscribers[name], time.monotonic() + 20
        while not subscribers and time.monotonic() < deadline:
            time.sleep(0.01)
        for at in range(0, len(sound), 1600):
            ws.send(sound[at : at + 1600].astype("<f4").tobytes())
        with pytest.raises(ConnectionClosedError) as closed:
            while True:
                ws.recv(30)
        watcher.join(20)
    assert closed.value.rcvd is not None
    end = json.loads([line[6:] for line in watched if line.startswith("data: ")][-1])
    assert end == {"event": "end", "message": closed.value.rcvd.reason} and "a stream may last" in end["message"]


def test_a_stream_that_is_too_long_ends_with_the_text_that_was_said(
    catalogue: Catalogue, recordings: list[Path]
) -> None:
    """Its running utterance was lost; and its client was told that all was well, although sound was left out."""
    sound = np.concatenate(list(blocks_of(recordings[1])))
    with (
        Running(catalogue, ServerOptions(port=0), Limits(stream_seconds=len(sound) / 16000 - 1)) as running,
        connect(running.url.replace("http", "ws") + "/v1/listen?encoding=f32le") as ws,
    ):
        for at in range(0, len(sound), 1600):
            ws.send(sound[at : at + 1600].astype("<f4").tobytes())
        events = []
        with pytest.raises(ConnectionClosedError) as closed:
            while True:
                events.append(json.loads(ws.recv(30)))
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
    assert events[-1] == {"event": "error", "message": closed.value.rcvd.reason}
    assert "a stream may last" in events[-1]["message"]
    assert [each["event"] for each in events].count("final") >= 1


def _watch(url: str, lines: list[str]) -> None:
    with urls.urlopen(url, timeout=30) as answer:
        lines.extend(line.decode().strip() for line in answer)


def test_a_client_that_takes_no_events_is_cut_and_the_others_go_on(
    catalogue: Catalogue, recordings: list[Path], listened: dict[Path, str]
) -> None:
    limits = Limits(events=4, stalled_seconds=0.5)
    with Running(catalogue, ServerOptions(port=0), limits) as running:
        address = running.url.replace("http", "ws") + "/v1/listen?encoding=f32le"
        with connect(address, max_queue=1) as stalled, connect(address) as healthy:
            stalled.recv()
            for block in blocks_of(recordings[0]):
                healthy.send(block.astype("<f4").tobytes())
                stalled.send(block.astype("<f4").tobytes())
            healthy.send('{"type": "finish"}')
            events = [json.loads(line) for line in healthy]
        assert " ".join(each["text"] for each in events if each["event"] == "final") == listened[recordings[0]]


def test_a_client_that_disconnects_leaves_nothing(server: Running, recordings: list[Path]) -> None:
    with connect(server.url.replace("http", "ws") + "/v1/listen?encoding=f32le") as ws:
        for block in blocks_of(recordings[0])[:10]:
            ws.send(block.astype("<f4").tobytes())
        ws.socket.shutdown(socket.SHUT_RDWR)
    host, port = server.url.removeprefix("http://").split(":")
    body = form("a.opus", recordings[0].read_bytes())
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            f"POST /v1/recordings HTTP/1.1\r\nHost: {host}\r\nContent-Type: {FORM}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = json.loads(asked(server.url + "/v1/status")[1])
        if status["streams"] == status["files"] == 0:
            break
        time.sleep(0.05)
    assert status["streams"] == status["files"] == 0
    assert not list(server.service.files.spool.path.iterdir())


_KILLED = """
import sys, time
from wav2edge.serving.limits import Limits
from wav2edge.serving.uploads import Spool
spool = Spool(Limits())
(spool.path / "1.wav").write_bytes(b"private")
print(spool.path, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_uploads_of_a_server_that_was_killed_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What users had uploaded lay in /tmp for ever after `kill -9`."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", _KILLED], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    try:
        paths = [Path(each.stdout.readline().strip()) for each in running if each.stdout is not None]
        assert [(path / "1.wav").read_bytes() for path in paths] == [b"private"] * 2
        running[0].kill()
        running[0].wait(20)
        assert paths[0].exists()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        spool = Spool(Limits())
        assert not paths[0].exists()
        assert (paths[1] / "1.wav").exists(), "that server still runs"
        assert spool.path.parent == tmp_path and spool.path.stat().st_mode & 0o777 == 0o700
        spool.close()
        assert list(tmp_path.iterdir()) == [paths[1]]
    finally:
        for each in running:
            each.kill()
            each.communicate()


def test_a_decoder_that_dies_costs_its_own_request_only(clips: list[tuple[Path, str]], tmp_path: Path) -> None:
    decoders = Decoders(1, 60.0)
    cancelled = threading.Event()
    try:
        found = decoders.decode(clips[0][0], "a.opus", tmp_path / "a.f32", 16000, cancelled)
        process = decoders._idle.get()
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        decoders._idle.put(process)
        threading.Timer(0.3, os.kill, (process.pid, signal.SIGKILL)).start()
        with pytest.raises(Exception, match=r"b\.opus: decoding it failed"):
            decoders.decode(clips[0][0], "b.opus", tmp_path / "b.f32", 16000, cancelled)
        assert decoders.lost == 1
        again = decoders.decode(clips[0][0], "c.opus", tmp_path / "c.f32", 16000, cancelled)
        assert again.path.read_bytes() == found.path.read_bytes()
        cancelled.set()
        with pytest.raises(Cancelled):
            decoders.decode(clips[0][0], "d.opus", tmp_path / "d.f32", 16000, cancelled)
    finally:
        decoders.close()


def test_the_log_has_no_words_and_metrics_count(
    server: Running, recordings: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "wav2edge.serving"):
        status, body = asked(
            server.url + "/v1/audio/transcriptions", form("a.opus", recordings[0].read_bytes()), Content_Type=FORM
        )
        for _ in range(100):  # the line follows the answer
            if any("/v1/audio/transcriptions" in JsonLines().format(record) for record in caplog.records):
                break
            time.sleep(0.05)
    assert status == 200
    lines = [JsonLines().format(record) for record in caplog.records]
    assert any(json.loads(line).get("path") == "/v1/audio/transcriptions" for line in lines)
    words = json.loads(body)["text"].split()
    assert words and not any(word in line for line in lines for word in words if len(word) > 4)
    text = asked(server.url + "/metrics")[1]
    assert 'wav2edge_requests_total{path="/v1/audio/transcriptions",status="200"}' in text
    for name in ("streams", "queue_seconds", "batch_size_count", "rtf", "lag_seconds", "dropped_seconds_total"):
        assert f"wav2edge_{name}" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_server_that_is_told_to_stop_finishes_what_it_was_sent(
    recordings: list[Path], listened: dict[Path, str], tmp_path: Path, number: signal.Signals
) -> None:
    """A terminal that was closed (SIGHUP) ended it at once, and its folder of uploads stayed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wav2edge", "serve", "--port", "0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
    )  # fmt: skip
    assert process.stderr is not None
    address = next(line.split("at http")[1].split(";")[0] for line in process.stderr if " at http" in line)
    with connect(f"ws{address}/v1/listen?encoding=f32le") as ws:
        for block in blocks_of(recordings[2]):
            ws.send(block.astype("<f4").tobytes())
        while json.loads(ws.recv(timeout=20))["event"] != "stats":
            pass
        assert os.listdir(tmp_path) != []
        for _ in range(2 if number == signal.SIGHUP else 1):  # the system and the shell may both send it
            process.send_signal(number)
        events = [json.loads(line) for line in ws]
    finals = " ".join(each["text"] for each in events if each["event"] == "final")
    assert finals and listened[recordings[2]].startswith(finals.split()[0])
    assert events[-1] == {"event": "end"}
    assert process.wait(30) == 0
    assert "stopped" in process.stderr.read() and os.listdir(tmp_path) == []

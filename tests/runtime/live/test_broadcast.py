"""Events on a local socket: whole lines to whoever reads, and a slow reader does not slow captions down."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from wav2edge.runtime.errors import InputError
from wav2edge.runtime.live.broadcast import EventSocket
from wav2edge.runtime.live.events import Dropped, to_line

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("this system has no local sockets", allow_module_level=True)

EVENT = Dropped(time=1.0, seconds=0.5)


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    client.settimeout(10)
    return client


def test_everyone_gets_every_event_from_the_moment_they_came(tmp_path: Path) -> None:
    path = tmp_path / "e.sock"
    events = EventSocket(path)
    assert path.stat().st_mode & 0o777 == 0o600, "what is said in a room is for its user"
    events(EVENT)
    with connect(path) as one:
        events(EVENT)
        with connect(path) as two:
            events(EVENT)
            events.close()
            line = to_line(EVENT) + "\n"
            assert b"".join(iter(lambda: one.recv(1000), b"")).decode() == line * 2
            assert b"".join(iter(lambda: two.recv(1000), b"")).decode() == line
    assert not path.exists()


def test_a_client_that_does_not_read_is_disconnected_and_one_that_left_is_forgotten(tmp_path: Path) -> None:
    events = EventSocket(tmp_path / "e.sock")
    sleeper, gone = connect(tmp_path / "e.sock"), connect(tmp_path / "e.sock")
    events(EVENT)
    gone.close()
    for _ in range(50_000):
        events(EVENT)
    received = b"".join(iter(lambda: sleeper.recv(1 << 20), b""))
    assert 0 < len(received) < 50_000 * len(to_line(EVENT)), "the end comes, before the last event"
    with connect(tmp_path / "e.sock") as late:
        events(EVENT)
        assert late.recv(1000).decode() == to_line(EVENT) + "\n"
    sleeper.close()
    events.close()


def test_a_dead_processs_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "e.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    events = EventSocket(path)
    with pytest.raises(InputError, match="another program gives its events there"):
        EventSocket(path)
    events.close()
    path.write_text("mine")
    with pytest.raises(InputError, match="is not a socket"):
        EventSocket(path)
    assert path.read_text() == "mine"


def test_a_name_that_no_socket_can_have(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "e.sock", tmp_path / ("x" * 200 + ".sock")):
        with pytest.raises(InputError, match="no socket can be made there"):
            EventSocket(path)

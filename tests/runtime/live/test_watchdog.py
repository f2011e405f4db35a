"""The service manager is told that the loop turns, by the real command, and not told when it does not."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from wav2edge.devices import profile
from wav2edge.devices.board.install import BoardPackage, service_unit
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.live.sources import Item
from wav2edge.runtime.live.watchdog import Watchdog, WatchedSource

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("systemd is on Linux", allow_module_level=True)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens with."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(tmp_path / "notify"))
        found.setblocking(False)
        yield found


def told(manager: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(100).decode())
        except BlockingIOError:
            return messages


class Endless:
    """A source that never has anything."""

    def read(self, timeout: float) -> Sequence[Item]:
        return ()

    def present(self) -> int | None:
        return None

    def close(self) -> None:
        """Nothing is held."""


def test_each_turn_of_the_loop_reports_and_a_loop_that_stopped_does_not(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    watchdog = Watchdog.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000"})
    source = WatchedSource(Endless(), watchdog)
    watchdog.ready()
    for _ in range(30):  # a turn each second
        now += 1
        source.read(0.5)
    assert told(manager) == ["READY=1", *["WATCHDOG=1"] * 6], "each half of 10 s"
    now += 60  # the model hangs: nothing is read
    assert told(manager) == []
    watchdog.stopping()
    watchdog.close()
    assert told(manager) == ["STOPPING=1"]


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "1000"}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    watchdog = Watchdog.from_environment(environment)
    watchdog.ready()
    watchdog.beat()
    watchdog.close()


def test_a_watchdog_of_another_process_is_not_fed(manager: socket.socket, tmp_path: Path) -> None:
    """Systemd's variables are inherited by what a service starts (sd_watchdog_enabled(3))."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    Watchdog.from_environment(environment).beat()
    assert told(manager) == []


def test_a_manager_that_does_not_read_stops_nothing(manager: socket.socket, tmp_path: Path) -> None:
    """Its queue holds a few messages; the next one blocked the loop for ever."""
    watchdog = Watchdog(str(tmp_path / "notify"), 0)
    for _ in range(1000):
        watchdog.ready()
    assert 0 < len(told(manager)) < 1000


def test_an_abstract_socket(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("Linux alone has abstract sockets")
    name = f"wav2edge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.setblocking(False)
        Watchdog(f"@{name}", 0).ready()
        assert told(manager) == ["READY=1"]


def unit_of_pack() -> str:
    """The unit of a package that is called captions, with the bundle my-model."""
    wheel = Path("wav2edge-0-py3-none-any.whl")
    return service_unit(
        BoardPackage("captions", "my-model", profile.load("raspberry-pi-5"), wheel, (), (), True, bytes=0)
    )


@pytest.mark.slow
def test_listen_reports_to_the_manager_and_to_the_socket(
    manager: socket.socket, tmp_path: Path, clips: list[tuple[Path, str]]
) -> None:
    """The line of the unit of `pack --service` itself, with a recording for the microphone."""
    unit = dict(line.split("=", 1) for line in unit_of_pack().splitlines() if "=" in line)
    assert unit["Type"] == "notify" and unit["NotifyAccess"] == "main"
    program, *words = shlex.split(unit["ExecStart"].replace("@FOLDER@", str(tmp_path)).replace("%t", str(tmp_path)))
    assert program == str(tmp_path / "current/env/bin/wav2edge")
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "my-model").symlink_to(embedded.bundle_path())
    events = tmp_path / "captions.sock"
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
    command = [sys.executable, "-m", "wav2edge", *words, "--file", str(clips[0][0])]
    received: list[bytes] = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        manager.setblocking(True)
        manager.settimeout(120)
        assert manager.recv(100) == b"READY=1"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(events))
            reader = threading.Thread(target=lambda: received.extend(iter(lambda: client.recv(65536), b"")))
            reader.start()
            messages = list(iter(lambda: manager.recv(100).decode(), "STOPPING=1"))
            reader.join()
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert len(messages) >= 2 and set(messages) == {"WATCHDOG=1"}
    lines = b"".join(received).decode().splitlines()
    assert lines and all(line.startswith("{") and line.endswith("}") for line in lines)
    assert any('"final"' in line for line in lines)
    assert out.decode().strip(), "the text of each utterance is printed as well"
    assert not events.exists()

"""Names that lead to no file: pipes are read, devices, sockets and files of the system are refused, and all in time."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.runtime.audio import named, read
from wav2edge.runtime.audio.raw import RawFormat
from wav2edge.runtime.errors import AudioError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="devices, /proc and named pipes as Linux has them")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/dev/zero", "is a device"),
        ("/dev/null", "is a device"),
        ("/proc/self/mem", "is a file of the system"),
        ("/proc/version", "is a file of the system"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "is a file of the system|no such file"),
        ("/dev", "is a directory"),
    ],
)
@pytest.mark.parametrize("link", [False, True])
def test_devices_and_files_of_the_system_are_refused(tmp_path: Path, name: str, reason: str, link: bool) -> None:
    """/dev/zero was copied to the temporary directory until that was full."""
    path = tmp_path / "x.wav" if link else Path(name)
    if link:
        path.symlink_to(name)
    with pytest.raises(AudioError, match=reason):
        read.open_recording(path)


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(AudioError, match="is a socket"):
            read.open_recording(tmp_path / "s")


def test_a_named_pipe_without_a_writer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input 2308 of the kind raw, seed 20261126, was the name of such a pipe: opening it never returned."""
    monkeypatch.setattr(named, "PIPE_WAIT", 0.2)
    os.mkfifo(tmp_path / "pipe")
    threads = threading.active_count()
    with pytest.raises(AudioError, match="a named pipe that no program writes into"):
        read.open_recording(tmp_path / "pipe")
    assert threading.active_count() == threads
    handles = len(os.listdir("/proc/self/fd"))
    with pytest.raises(AudioError, match="a named pipe"):
        read.open_recording(str(tmp_path / "pipe"))
    assert len(os.listdir("/proc/self/fd")) == handles


def test_a_writer_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(16000, 0.25), 16000)
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        time.sleep(0.3)
        (tmp_path / "pipe").write_bytes((tmp_path / "a.wav").read_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    assert len(read.load(tmp_path / "pipe")) == 16000
    writer.join()


def test_a_pipe_of_the_shell_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(16000, 0.25), 16000)
    script = "import sys; from wav2edge.runtime.audio import read; print(len(read.load(sys.argv[1])))"
    for name in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"):
        with subprocess.Popen(["cat", str(tmp_path / "a.wav")], stdout=subprocess.PIPE) as cat:
            command = [sys.executable, "-c", script, name]
            done = subprocess.run(command, stdin=cat.stdout, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == "16000\n", done.stderr


def test_a_stream_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "MOST_PIPED", 1 << 20)

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, count: int = -1) -> bytes:
            return bytes(count)

    with pytest.raises(AudioError, match=re.escape("GiB and no end")):
        read.open_recording(Endless())  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_numbers_that_cannot_be_averaged_bring_one_line(value: float) -> None:
    """Numpy's warnings came before it."""
    data = np.full((1000, 3), value, np.float32).tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AudioError) as caught:
            recording = read.open_recording(data, raw=RawFormat("f32le", 16000, 3))
            list(recording.blocks)
    assert "\n" not in str(caught.value)

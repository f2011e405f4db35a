"""One model shared by threads, closed while it runs, and left running at exit, on every CPU engine."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import wav2edge
from wav2edge.runtime import engines
from wav2edge.runtime.errors import EngineError

ENGINES = [name for name in engines.DEFAULT_ORDER if engines.missing(name) is None]


@pytest.mark.parametrize("engine", ENGINES)
def test_eight_threads_share_a_transcriber(engine: str, clips: list[tuple[Path, str]]) -> None:
    """OpenVINO's one inference request was busy in 59 of 64 calls."""
    path = min((path for path, _ in clips), key=lambda path: path.stat().st_size)
    with wav2edge.Transcriber(wav2edge.open(engine=engine, threads=1)) as transcribe:
        expected = transcribe(path)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: transcribe(path), range(64)))
    assert found.count(expected) == 64


@pytest.mark.parametrize("engine", ENGINES)
def test_closing_a_model_while_it_runs_is_one_error(engine: str, clips: list[tuple[Path, str]]) -> None:
    path = clips[0][0]
    transcribe = wav2edge.Transcriber(wav2edge.open(engine=engine, threads=1))
    started = threading.Event()
    errors: list[BaseException] = []

    def go() -> None:
        try:
            while True:
                transcribe(path)
                started.set()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    assert started.wait(60)
    transcribe.close()
    thread.join(60)
    assert len(errors) == 1 and isinstance(errors[0], EngineError) and "closed" in str(errors[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_interpreter_ends_while_a_thread_transcribes(engine: str, clips: list[tuple[Path, str]]) -> None:
    """It aborted: 'terminate called without an active exception'; then the thread ended with a traceback."""
    script = f"""
        import threading, wav2edge
        transcribe = wav2edge.Transcriber(wav2edge.open(engine={engine!r}, threads=1))
        started = threading.Event()
        def go():
            while True:
                transcribe({str(clips[0][0])!r}); started.set()
        threading.Thread(target=go, daemon=True).start()
        started.wait(60)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("engine", ENGINES)
def test_no_engine_reports_to_anyone(engine: str, clips: list[tuple[Path, str]], tmp_path: Path) -> None:
    """OpenVINO looked an analytics host up and wrote into the home directory; ONNX Runtime queued events in files."""
    home, temporary, cache = tmp_path / "home", tmp_path / "tmp", tmp_path / "cache"
    for folder in (home, temporary, cache):
        folder.mkdir()
    script = f"""
        import socket
        asked = []
        real = socket.getaddrinfo
        socket.getaddrinfo = lambda *a, **k: (asked.append(a[0]), real(*a, **k))[1]
        import wav2edge
        with wav2edge.Transcriber(wav2edge.open(engine={engine!r}, threads=1)) as transcribe:
            print(transcribe({str(clips[0][0])!r}).text)
        import sys
        assert not asked, asked
        assert "openvino_telemetry" not in sys.modules
    """
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(home), "TMPDIR": str(temporary), "WAV2EDGE_CACHE": str(cache)}
    environment.pop("XDG_CACHE_HOME", None)
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, timeout=120, check=True)
    left = [path for folder in (home, temporary) for path in folder.rglob("*")]
    assert left == []

"""A server and clients for benchmarks/serving.py: speech played in real time, its lags, and many kinds of files."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from _kit import RATE, command_options, open_model
from numpy.typing import NDArray
from websockets.asyncio.client import connect

import wav2edge
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.live import events
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.events import Event, Final, Partial
from wav2edge.runtime.live.sources import Item

BLOCK = RATE // 10
QUIET = 1.5
"""Seconds of silence before the speech: a process of its own is ready when it has taken them."""

Samples = NDArray[np.float32]


class Unhurried:
    """Samples as a source without a clock."""

    def __init__(self, samples: Samples) -> None:
        """samples: at 16 kHz."""
        self._blocks = [Block(at, samples[at : at + BLOCK]) for at in range(0, len(samples), BLOCK)]

    def read(self, timeout: float) -> list[Item] | None:
        """One block after the other."""
        return [self._blocks.pop(0)] if self._blocks else None

    def present(self) -> int | None:
        """None: there is no clock."""
        return None

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Speech:
    """What every stream plays, and what ``listen`` makes of it without a clock: its text and its partials."""

    samples: Samples
    text: str
    partials: Sequence[Partial]

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / RATE

    @classmethod
    def of(cls, arguments: argparse.Namespace, seconds: float, begins: int = 1) -> list[Speech]:
        """The clips that ship with a second between them, repeated, each after QUIET seconds of silence.

        begins: places in them at which one begins, so that utterances of several streams end at different times.
        """
        paths = sorted(path for path in embedded.clips_manifest().parent.iterdir() if path.suffix in (".opus", ".flac"))
        pause, quiet = np.zeros(RATE, np.float32), np.zeros(round(QUIET * RATE), np.float32)
        once = np.concatenate([part for path in paths for part in (read.load(path, RATE), pause)])
        made = []
        for number in range(begins):
            turned = np.roll(once, -(len(once) * number // begins))
            samples = np.concatenate((quiet, np.resize(turned, round(seconds * RATE))))
            with wav2edge.listen(open_model(arguments), Unhurried(samples)) as found:
                said = list(found)
            text = " ".join(event.text for event in said if isinstance(event, Final))
            made.append(cls(samples, text, [event for event in said if isinstance(event, Partial)]))
        return made


@dataclass
class Played:
    """What came of one stream: each event with the time of its arrival, in seconds of the stream."""

    speech: Speech
    arrived: list[tuple[float, Event]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of all finals."""
        return " ".join(event.text for _, event in self.arrived if isinstance(event, Final))

    @property
    def right(self) -> bool:
        """Whether the text is that of ``listen``."""
        return self.text == self.speech.text

    def lags(self) -> list[float]:
        """For each partial of ``listen``: from its last sample until an event came that covers it.

        So a server that skips partials gains nothing by it.
        """
        found: list[float] = []
        said = iter([(at, each) for at, each in self.arrived if isinstance(each, (Partial, Final))])
        current = next(said, None)
        for wanted in self.speech.partials:
            while current is not None and not _covers(current[1], wanted):
                current = next(said, None)
            if current is None:
                break
            found.append(current[0] - wanted.end)
        return found


def _covers(event: Event, wanted: Partial) -> bool:
    assert isinstance(event, (Partial, Final))
    if event.utterance != wanted.utterance:
        return event.utterance > wanted.utterance
    return isinstance(event, Final) or event.end >= wanted.end - 1e-3


@dataclass(frozen=True)
class Server:
    """A running server: its address, its process, and the file that its log goes to."""

    address: str
    process: int
    log: Path

    def cpu(self) -> float:
        """Seconds of all its threads so far."""
        return cpu_of(self.process)

    def status(self) -> Mapping[str, object]:
        """What it says of itself."""
        with urllib.request.urlopen(f"{self.address}/v1/status", timeout=60) as answer:
            found: dict[str, object] = json.load(answer)
        return found

    def peak(self) -> int:
        """Its largest resident memory so far, in bytes."""
        return int(_field(self.process, "VmHWM")) * 1024


def cpu_of(process: int) -> float:
    """Seconds that all threads of a process ran."""
    words = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(process: int) -> int:
    """Bytes of memory, of pages that several processes share the process's part (proportional set size)."""
    return int(_field(process, "Pss", "smaps_rollup")) * 1024


def held_by(process: int) -> dict[str, int]:
    """Resident bytes, threads and open files of a process."""
    return {
        "memory": int(_field(process, "VmRSS")) * 1024,
        "threads": int(_field(process, "Threads")),
        "files": len(os.listdir(f"/proc/{process}/fd")),
    }


def _field(process: int, name: str, file: str = "status") -> str:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{process}/{file}").read_text(), re.M)
    assert found is not None
    return found[1]


@contextlib.contextmanager
def served(arguments: argparse.Namespace, log: Path, *words: str) -> Iterator[Server]:
    """A server of the model; ``words``: options besides."""
    options = words or ("--max-streams", "100000", "--max-streams-per-client", "100000")
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "wav2edge", "serve", "--port", "0", "--log", *options,
             *command_options(arguments, "model", "engine", "variant", "threads")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
        try:
            while (found := re.search(r" at (http\S+);", log.read_text("utf-8"))) is None:
                if process.poll() is not None:
                    raise SystemExit(log.read_text("utf-8"))
                time.sleep(0.1)
            yield Server(found[1], process.pid, log)
        finally:
            process.terminate()
            process.wait(60)


async def play(address: str, speech: Speech, delay: float) -> Played:
    """Play speech to a stream of a server in real time."""
    await asyncio.sleep(delay)
    played = Played(speech)
    url = f"{address.replace('http', 'ws')}/v1/listen?encoding=f32le"
    async with connect(url, max_size=None, open_timeout=60, ping_interval=None) as socket:
        await socket.recv()
        began = time.perf_counter()

        async def send() -> None:
            for at in range(0, len(speech.samples), BLOCK):
                await asyncio.sleep(max(0.0, began + (at + BLOCK) / RATE - time.perf_counter()))
                await socket.send(speech.samples[at : at + BLOCK].astype("<f4").tobytes())
            await socket.send('{"type": "finish"}')

        sending = asyncio.ensure_future(send())
        async for line in socket:
            _note(played, str(line), time.perf_counter() - began)
        await sending
    return played


def _note(played: Played, line: str, now: float) -> None:
    values = json.loads(line)
    if values["event"] in ("partial", "final"):
        played.arrived.append((now, events.from_json(values)))


async def together(server: Server, speeches: Sequence[Speech], count: int) -> list[Played]:
    """Play speech on several streams of a server, which begin one after the other within a second."""
    each = zip(range(count), itertools.cycle(speeches))
    return list(await asyncio.gather(*(play(server.address, speech, n * 0.37 % 1) for n, speech in each)))


async def apart(
    arguments: argparse.Namespace, speeches: Sequence[Speech], count: int
) -> tuple[list[Played], float, float]:
    """The same with a process of ``wav2edge listen`` for each stream; also its CPU seconds per second and its bytes."""
    words = ["listen", "--stdin", "--raw-format", "f32le", "--json"]
    words += command_options(arguments, "model", "engine", "variant")
    ready, go = [asyncio.Event() for _ in range(count)], asyncio.Event()

    async def one(number: int) -> tuple[Played, float, int]:
        speech = speeches[number % len(speeches)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wav2edge", *words, "--threads", "1",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        quiet = round(QUIET * RATE) // BLOCK * BLOCK
        process.stdin.write(speech.samples[:quiet].astype("<f4").tobytes())
        await process.stdout.readline()
        ready[number].set()
        await go.wait()
        await asyncio.sleep(number * 0.37 % 1)
        before, began, played = cpu_of(process.pid), time.perf_counter() - quiet / RATE, Played(speech)

        async def send() -> tuple[float, int]:
            assert process.stdin is not None
            for at in range(quiet, len(speech.samples), BLOCK):
                await asyncio.sleep(max(0.0, began + (at + BLOCK) / RATE - time.perf_counter()))
                process.stdin.write(speech.samples[at : at + BLOCK].astype("<f4").tobytes())
            spent, held = cpu_of(process.pid) - before, memory_of(process.pid)
            process.stdin.close()
            return spent, held

        sending = asyncio.ensure_future(send())
        async for line in process.stdout:
            _note(played, line.decode(), time.perf_counter() - began)
        await process.wait()
        return played, *await sending

    running = [asyncio.ensure_future(one(number)) for number in range(count)]
    for each in ready:
        await each.wait()
    go.set()
    played, spent, held = zip(*await asyncio.gather(*running))
    return list(played), sum(spent) / count / (speeches[0].seconds - QUIET), sum(held) / count


def files_of(folder: Path, count: int) -> list[Path]:
    """Recordings of mixed length and format, none like another; m4a and webm where PyAV is installed."""
    clips = [read.load(path, RATE) for path in sorted(embedded.clips_manifest().parent.glob("*.opus"))]
    kinds = ["wav", "flac", "mp3", "ogg", "opus"]
    with contextlib.suppress(ImportError):
        import av  # noqa: F401

        kinds += ["m4a", "webm"]
    made = []
    for number, kind in zip(range(count), itertools.cycle(kinds)):
        parts = [clips[(number + each) % len(clips)] for each in range(1 + number % 6)]
        path = folder / f"{number:03}.{kind}"
        _write(path, np.concatenate(parts))
        made.append(path)
    return made


def _write(path: Path, samples: Samples) -> None:
    kind = path.suffix[1:]
    if kind not in ("m4a", "webm"):
        form, subtype = {"opus": ("OGG", "OPUS"), "ogg": ("OGG", "VORBIS")}.get(kind, (kind.upper(), None))
        soundfile.write(path, samples, RATE, format=form, subtype=subtype)
        return
    import av

    codec, rate = ("aac", RATE) if kind == "m4a" else ("libopus", 48_000)
    with av.open(str(path), "w", format="mp4" if kind == "m4a" else "webm") as container:
        stream = container.add_stream(codec, rate=rate)
        frame = av.AudioFrame.from_ndarray((samples[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = RATE
        form = "fltp" if codec == "aac" else "s16"
        resampler = av.AudioResampler(form, "mono", rate, frame_size=1024 if codec == "aac" else 960)
        for each in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(each))
        container.mux(stream.encode(None))


def upload(address: str, path: Path) -> str:
    """The text of one uploaded recording."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'.encode()
    body = head + path.read_bytes() + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{address}/v1/audio/transcriptions", body, headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return str(json.load(answer)["text"])

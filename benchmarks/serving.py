"""A server under load: live streams in real time, many uploads, clients that are slow or disconnect, malformed data.

    python benchmarks/serving.py --streams 1 8 16 24 --seconds 60      # lag of each stream, text against `listen`
    python benchmarks/serving.py --uploads 100                         # throughput against `transcribe`
    python benchmarks/serving.py --attack 600                          # malformed requests and frames

Every stream plays real speech at the pace at which it was spoken. A partial's lag is the time from sending the last
sample that it covers to its arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _kit import RATE, Output, add_model, command_options, open_model, parser
from websockets.asyncio.client import connect

import wav2edge
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.events import Final
from wav2edge.runtime.live.sources import Item
from wav2edge.runtime.recordings.transcriber import Transcriber

BLOCK = RATE // 10
TARGET = 0.7  # s of lag, p95


class Samples:
    """Samples as a source without a clock."""

    def __init__(self, samples: np.ndarray) -> None:
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


@contextlib.contextmanager
def served(arguments: argparse.Namespace) -> Iterator[str]:
    """A server of the model, by its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wav2edge", "serve", "--port", "0",
         *("--max-streams", "100000", "--max-streams-per-client", "100000"),
         *command_options(arguments, "model", "engine", "variant", "threads")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        yield next(found[1] for line in process.stderr if (found := re.search(r" at (http\S+);", line)))
    finally:
        process.terminate()
        process.wait(60)


def status(address: str) -> dict[str, object]:
    """The status that the server reports."""
    with urllib.request.urlopen(f"{address}/v1/status") as answer:
        found: dict[str, object] = json.load(answer)
    return found


async def play(address: str, samples: np.ndarray, delay: float, lags: list[float]) -> str:
    """Play samples to a stream in real time, and return the text of its finals."""
    await asyncio.sleep(delay)
    texts: list[str] = []
    async with connect(f"{address.replace('http', 'ws')}/v1/listen?encoding=f32le", max_size=None) as socket:
        await socket.recv()
        began = time.perf_counter()

        async def send() -> None:
            for at in range(0, len(samples), BLOCK):
                await asyncio.sleep(max(0.0, began + (at + BLOCK) / RATE - time.perf_counter()))
                await socket.send(samples[at : at + BLOCK].astype("<f4").tobytes())
            await socket.send('{"type": "finish"}')

        sending = asyncio.ensure_future(send())
        async for line in socket:
            event = json.loads(line)
            if event["event"] == "partial":
                lags.append(time.perf_counter() - began - event["end"])
            elif event["event"] == "final":
                texts.append(event["text"])
        await sending
    return " ".join(texts)


def streams(arguments: argparse.Namespace, output: Output) -> None:
    """The lag and the texts of growing numbers of streams."""
    clips = [read.load(path, RATE) for path in sorted(embedded.clips_manifest().parent.glob("*.opus"))]
    pause = np.zeros(RATE, np.float32)
    once = np.concatenate([part for clip in clips for part in (clip, pause)])
    samples = np.resize(once, round(arguments.seconds * RATE))
    with wav2edge.listen(open_model(arguments), Samples(samples)) as events:
        expected = " ".join(event.text for event in events if isinstance(event, Final))
    output.say(
        f"{'streams':>8}{'lag p50':>10}{'lag p95':>10}{'computed':>10}{'same text':>11}  (target p95 ≤ {TARGET} s)"
    )
    with served(arguments) as address:
        for count in arguments.streams:
            lags: list[float] = []
            before = cpu_of(address)

            async def together(count: int = count, lags: list[float] = lags) -> list[str]:
                return list(await asyncio.gather(*(play(address, samples, n * 0.37 % 1, lags) for n in range(count))))

            texts = asyncio.run(together())
            spent = (cpu_of(address) - before) / (count * arguments.seconds)
            p50, p95 = np.quantile(lags, (0.5, 0.95))
            same = sum(text == expected for text in texts)
            output.say(f"{count:8}{p50:10.2f}{p95:10.2f}{spent:10.4f}{same:7} of {count}")
    output.say("computed: seconds of running the model for each second of one stream")


def cpu_of(address: str) -> float:
    """Seconds that the server's model has run."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text = answer.read().decode()
    return float(text.split("\nwav2edge_computed_seconds_total ")[1].split()[0])


def upload(address: str, path: Path) -> str:
    """The text of one uploaded recording."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'.encode()
    body = head + path.read_bytes() + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{address}/v1/audio/transcriptions", body, headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return str(json.load(answer)["text"])


def uploads(arguments: argparse.Namespace, output: Output) -> None:
    """Many uploads at once against ``transcribe`` on the same recordings."""
    clips = sorted(embedded.clips_manifest().parent.glob("*.opus"))
    chosen = [clips[n % len(clips)] for n in range(arguments.uploads)]
    with Transcriber(open_model(arguments), lanes=2) as transcribe:
        transcribe(chosen[0])
        began = time.perf_counter()
        expected = [result.transcript.text if result.transcript else "" for result in transcribe.batch(chosen)]
        alone = time.perf_counter() - began
    with served(arguments) as address:
        upload(address, chosen[0])

        async def together() -> list[str]:
            return list(await asyncio.gather(*(asyncio.to_thread(upload, address, path) for path in chosen)))

        began = time.perf_counter()
        texts = asyncio.run(together())
        here = time.perf_counter() - began
        memory = status(address)["memory_bytes"]
    wrong = sum(text != other for text, other in zip(texts, expected))
    output.say(f"{len(chosen)} uploads: {wrong} with another text, {here:.1f} s; transcribe {alone:.1f} s; ratio "
               f"{alone / here:.2f}; resident {int(str(memory)) / 1e6:.0f} MB")  # fmt: skip


async def nonsense(address: str, seconds: float, seed: int) -> int:
    """Send random requests and frames for a while; how many."""
    random.seed(seed)
    host, port = address.split("//")[1].split(":")
    count, until = 0, time.monotonic() + seconds
    heads = (b"POST /v1/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"GET /v1/listen HTTP/1.1\r\nHost: 127.0.0.1\r\n",
             b"GET /%s HTTP/1.1\r\n", b"")  # fmt: skip
    while time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(random.choice(heads) + random.randbytes(random.randrange(400)) + b"\r\n\r\n")
            if random.random() < 0.5:
                answer = await asyncio.wait_for(reader.read(2000), 0.2)
                assert b"Traceback" not in answer
            writer.close()
        with contextlib.suppress(Exception):
            async with connect(f"{address.replace('http', 'ws')}/v1/listen") as socket:
                await socket.send(random.choice((random.randbytes(500), "x" * random.randrange(100), "{}")))
                if random.random() < 0.5:
                    socket.transport.abort()
        count += 2
    return count


def attack(arguments: argparse.Namespace, output: Output) -> None:
    """The lag of a stream while malformed requests are sent, and the server's memory before and after."""
    clip = np.concatenate([read.load(p, RATE) for p in sorted(embedded.clips_manifest().parent.glob("*.opus"))])
    samples = np.resize(clip, round(arguments.attack * RATE))
    lags: list[float] = []

    with served(arguments) as address:
        before = status(address)["memory_bytes"]

        async def together() -> int:
            attackers = [asyncio.ensure_future(nonsense(address, arguments.attack, n)) for n in range(8)]
            await play(address, samples, 0, lags)
            return sum(await asyncio.gather(*attackers))

        count = asyncio.run(together())
        after = status(address)
    output.say(f"{count} malformed requests and frames beside one stream: lag p95 {np.quantile(lags, 0.95):.2f} s, "
               f"streams left {after['streams']}, files left {after['files']}, resident "
               f"{int(str(before)) / 1e6:.0f} → {int(str(after['memory_bytes'])) / 1e6:.0f} MB")  # fmt: skip


def main() -> None:
    """Run the chosen measurements."""
    made = parser(__doc__)
    add_model(made)
    made.add_argument("--streams", type=int, nargs="+", default=[], metavar="N", help="numbers of live streams")
    made.add_argument("--seconds", type=float, default=30.0, help="of speech that each plays (default: 30)")
    made.add_argument("--uploads", type=int, metavar="N", help="uploads at once")
    made.add_argument("--attack", type=float, metavar="S", help="seconds of nonsense beside a healthy stream")
    arguments = made.parse_args()
    with Output(arguments) as output:
        if arguments.streams:
            streams(arguments, output)
        if arguments.uploads:
            uploads(arguments, output)
        if arguments.attack:
            attack(arguments, output)


if __name__ == "__main__":
    main()

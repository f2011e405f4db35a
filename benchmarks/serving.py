"""A server under load, each result beside what is asked of it: live streams, uploads, an attack.

    python benchmarks/serving.py --all --docs docs/figures/serving.md      # everything, under 20 minutes
    python benchmarks/serving.py --streams                                 # how many live streams keep the lag
    python benchmarks/serving.py --uploads 100                             # throughput against `transcribe`
    python benchmarks/serving.py --base                                    # live streams of a base shape in INT8
    python benchmarks/serving.py --attack 60 --docs docs/figures/serving-attack.md      # an hour of it

Every stream plays real speech at the pace at which it was spoken. The lag is taken for each partial that `listen`
makes without a clock: the time from sending its last sample to the arrival of the first event that covers it. So a
partial that is skipped under load counts as late. The clients run on the same machine and cores.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import math
import multiprocessing
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from _attack import Tally, attacked
from _kit import Output, add_model, open_model, parser
from _serving import Played, Server, Speech, apart, files_of, held_by, memory_of, play, served, together, upload

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.recordings.transcriber import Transcriber

TARGET = 0.7  # s of lag, p95
_BEGINS = 16  # places in the clips at which streams begin, so that utterances end at different moments
_TURNS = 5  # of the uploads, alternating with `transcribe`
_TRIALS = 8  # numbers of streams that are tried at most

Trial = Callable[[int], float]


def most(trial: Trial, first: int) -> int:
    """The most streams whose lag is within TARGET: from ``first`` up or down by a quarter, then halving the gap.

    A number whose lag is near TARGET is tried three times, and the median counts: other load on the machine moves it.
    """
    good, bad, count = 0, 0, max(1, first)
    for _ in range(_TRIALS):
        lag = trial(count)
        if TARGET / 2 < lag < 2 * TARGET:
            lag = median([lag, trial(count), trial(count)])
        if lag <= TARGET:
            good = count
            count = max(count + 1, round(count * 1.25)) if not bad else (good + bad) // 2
        else:
            bad = count
            count = max(1, min(count - 1, round(count * 0.75))) if not good else (good + bad) // 2
        if count in (good, bad):
            break
    return good


def verdict(value: float, bar: float, least: bool = True) -> str:
    """A value beside its bar."""
    return f"{value:.2f} (bar {'≥' if least else '≤'} {bar:g}: {'met' if (value >= bar) == least else 'missed'})"


def p95(played: list[Played]) -> float:
    """The 95th percentile of all lags; infinite where a stream ended early."""
    lags = [lag for each in played for lag in each.lags()]
    missing = sum(len(each.speech.partials) for each in played) - len(lags)
    return float(np.quantile([*lags, *[math.inf] * missing], 0.95, method="lower")) if lags else math.inf


def streams(arguments: argparse.Namespace, output: Output, processes: bool = True) -> None:
    """How many streams of one server keep the lag, against the cost of one alone and against processes."""
    speeches, cores = Speech.of(arguments, arguments.seconds, _BEGINS), len(os.sched_getaffinity(0))
    seconds = speeches[0].seconds
    memory: dict[int, float] = {}  # bytes for each stream of a server
    with tempfile.TemporaryDirectory() as folder, served(arguments, Path(folder) / "log") as server:

        def trial(count: int) -> tuple[float, float]:
            before, mine = server.cpu(), time.process_time()
            played = asyncio.run(together(server, speeches, count))
            spent, mine = server.cpu() - before, time.process_time() - mine
            lag, same = p95(played), sum(each.right for each in played)
            each, memory[count] = spent / count / seconds, memory_of(server.process) / count
            output.say(f"| server | {count} | {lag:.2f} | {each:.4f} | {memory[count] / 1e6:.0f} "
                       f"| {mine / seconds:.2f} | {same} of {count} |")  # fmt: skip
            return lag, each

        output.say("| | streams | lag p95, s | CPU-s per stream and s | MB per stream | CPU of the clients "
                   "| texts of `listen` |",
                   "|---|---|---|---|---|---|---|")  # fmt: skip
        alone = trial(1)[1]
        bar = max(1, math.floor(0.8 * cores / alone))
        reached = most(lambda count: trial(count)[0], bar)
    apart_reached, apart_memory = 0, 0.0
    if processes:

        def process_trial(count: int) -> float:
            nonlocal apart_memory
            played, each, apart_memory = asyncio.run(apart(arguments, speeches, count))
            lag = p95(played)
            output.say(f"| processes | {count} | {lag:.2f} | {each:.4f} | {apart_memory / 1e6:.0f} | | |")
            return lag

        apart_reached = most(process_trial, bar)
    output.say("", f"* {reached} live streams at p95 lag ≤ {TARGET} s; one alone costs {alone:.4f} CPU-s per s, so "
               f"0.8 × {cores} cores allow {bar}: ratio {verdict(reached / bar, 1.0)}")  # fmt: skip
    if processes:
        output.say(f"* a process for each stream reaches {apart_reached}: ratio "
                   f"{verdict(reached / max(1, apart_reached), 1.5)}",
                   f"* a stream takes {memory.get(reached, 0.0) / 1e6:.0f} MB in the server and "
                   f"{apart_memory / 1e6:.0f} in a process of its own "
                   "(pages that processes share are divided among them)")  # fmt: skip
    output.say("")


def uploads(arguments: argparse.Namespace, output: Output) -> None:
    """Many uploads at once against ``transcribe`` on the same recordings."""
    alone: list[float] = []
    here: list[float] = []
    texts: list[str | BaseException] = []
    expected: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        chosen = files_of(Path(folder), arguments.uploads)
        kinds = ", ".join(sorted({path.suffix[1:] for path in chosen}))

        async def all_of_them(address: str) -> list[str | BaseException]:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(len(chosen)))
            jobs = (asyncio.to_thread(upload, address, path) for path in chosen)
            return list(await asyncio.gather(*jobs, return_exceptions=True))

        with (
            served(arguments, Path(folder) / "log") as server,
            Transcriber(open_model(arguments), lanes=2) as transcribe,
        ):
            transcribe(chosen[0])
            upload(server.address, chosen[0])
            warm = server.peak()
            for _ in range(_TURNS):
                began = time.perf_counter()
                results = transcribe.batch(chosen)
                alone.append(time.perf_counter() - began)
                expected += [result.transcript.text if result.transcript else "" for result in results]
                began = time.perf_counter()
                texts += asyncio.run(all_of_them(server.address))
                here.append(time.perf_counter() - began)
            peak = server.peak()
    lost = sum(isinstance(text, BaseException) for text in texts)
    wrong = sum(text != other for text, other in zip(texts, expected)) - lost
    output.say(
        f"* {len(chosen)} uploads at once ({kinds}; 3 to 40 s each), {_TURNS} times: {lost} lost, "
        f"{wrong} with another text than `transcribe` (bar 0 and 0: {'met' if not lost + wrong else 'missed'})",
        f"* {median(here):.1f} s against {median(alone):.1f} s of `transcribe` (medians of turns that alternate): "
        f"throughput ratio {verdict(median(alone) / median(here), 0.9)}",
        f"* resident memory {warm / 1e6:.0f} MB after one upload, {peak / 1e6:.0f} MB at most with {len(chosen)}",
        "",
    )


def attack(arguments: argparse.Namespace, output: Output) -> None:
    """Healthy streams beside everything else; what the server holds before and after."""
    seconds = arguments.attack * 60
    (speech,) = Speech.of(arguments, seconds)
    sound = min(embedded.clips_manifest().parent.glob("*.opus"))
    held: list[Mapping[str, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        options = ("--max-streams", "80", "--max-streams-per-client", "80")
        with served(arguments, log, *options) as server:
            with ThreadPoolExecutor(24) as pool:  # so that every thread that a server ever has is there
                list(pool.map(lambda path: upload(server.address, path), [sound] * 48))
            before = _settled(server)
            stop = threading.Event()
            watcher = threading.Thread(target=_watch, args=(server, held, stop), daemon=True)
            watcher.start()
            wanted = seconds, sound.read_bytes(), arguments.slow, arguments.vanish, arguments.malformed

            async def all_of_it() -> tuple[list[Played], Tally]:
                healthy = [asyncio.ensure_future(play(server.address, speech, n * 0.4)) for n in range(2)]
                await asyncio.sleep(2.0)  # they have their places before the others come
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    job = asyncio.get_running_loop().run_in_executor(pool, attacked, server.address, *wanted)
                    tally = await job
                found = await asyncio.gather(*healthy, return_exceptions=True)
                for each in found:
                    if isinstance(each, BaseException):
                        output.say(f"* a healthy stream was cut: {each}")
                return [each for each in found if isinstance(each, Played)], tally

            played, tally = asyncio.run(all_of_it())
            stop.set()
            watcher.join()
            after = _settled(server)
        lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
    _told(output, arguments, tally, p95(played), before, after, held)
    same = sum(each.right for each in played)
    errors = Counter(str(line["error"]).strip().splitlines()[-1][:100] for line in lines if "error" in line)
    failed = errors.total()
    output.say(
        f"* healthy streams with the text of `listen`: {same} of 2",
        f"* errors with a traceback in the server's log: {failed} (bar 0: {'missed' if failed else 'met'})",
        *(f"    * {count} × `{error}`" for error, count in errors.most_common(10)),
    )


def _told(
    output: Output, arguments: argparse.Namespace, tally: Tally, lag: float, before: Mapping[str, int],
    after: Mapping[str, int], held: list[Mapping[str, int]],
) -> None:  # fmt: skip
    done = tally.done
    output.say(
        f"* {arguments.attack:g} minutes: {arguments.slow} slow clients at a time ({done['slow']} in all), "
        f"{done['vanished']} that vanished, {done['malformed']} malformed requests and frames",
        f"* tracebacks to clients: {tally.tracebacks} (bar 0: {'missed' if tally.tracebacks else 'met'})",
        f"* lag p95 of two healthy streams: {verdict(lag, TARGET, least=False)}",
    )
    half = held[len(held) // 2 :]
    for name in ("memory", "threads", "files", "tasks"):
        scale, unit = (1e6, " MB") if name == "memory" else (1, "")
        peak = max(each[name] for each in half) if half else 0
        allowed = before[name] * 1.1 + 30e6 if name == "memory" else before[name] + 2
        fine = "met" if after[name] <= allowed else "missed"
        output.say(f"* {name}: {before[name] / scale:.0f}{unit} before, at most {peak / scale:.0f} in its second half, "
                   f"{after[name] / scale:.0f} after (bar: as before: {fine})")  # fmt: skip


def _settled(server: Server) -> dict[str, int]:
    """What a server holds when no client is connected."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        status = server.status()
        if status["streams"] == status["files"] == 0:
            break
        time.sleep(0.5)
    time.sleep(16)  # connections that are kept alive are closed
    return {**held_by(server.process), "tasks": int(str(server.status()["tasks"]))}


def _watch(server: Server, held: list[Mapping[str, int]], stop: threading.Event) -> None:
    while not stop.wait(5.0):
        try:
            held.append({**held_by(server.process), "tasks": int(str(server.status()["tasks"]))})
        except OSError as error:
            print(f"no status: {error}", flush=True)


def base(arguments: argparse.Namespace, output: Output) -> None:
    """Live streams of a base shape in INT8, with random weights."""
    import _shapes

    made = copy.copy(arguments)
    made.model, made.variant = str(_shapes.bundle("base", "layer", ("int8-u8s8",)).path), "int8-u8s8"
    output.say("Base shape (94 M parameters, layer norm, random weights), INT8:", "")
    streams(made, output, processes=False)


def main() -> None:
    """Measure what is asked for."""
    made = parser(__doc__)
    add_model(made)
    made.add_argument("--all", action="store_true", help="streams, 100 uploads, a base shape, an attack of 1 minute")
    made.add_argument("--streams", action="store_true", help="numbers of live streams")
    made.add_argument("--seconds", type=float, default=25.0, help="of speech that each plays (default: 25)")
    made.add_argument("--uploads", type=int, metavar="N", help="uploads at once")
    made.add_argument("--base", action="store_true", help="live streams of a base shape; needs [export,calibrate]")
    made.add_argument("--attack", type=float, metavar="MIN", help="minutes of slow, vanishing and malformed clients")
    made.add_argument("--slow", type=int, default=1000, metavar="N", help="slow clients at a time (default: 1000)")
    made.add_argument("--vanish", type=int, default=200, metavar="N", help="clients that vanish (default: 200)")
    made.add_argument("--malformed", type=int, default=10_000, metavar="N", help="malformed ones (default: 10 000)")
    arguments = made.parse_args()
    if arguments.all:
        arguments.streams = arguments.base = True
        arguments.uploads, arguments.attack = arguments.uploads or 100, arguments.attack or 1.0
    with Output(arguments, markdown=True) as output:
        if arguments.uploads:
            uploads(arguments, output)
        if arguments.streams:
            streams(arguments, output)
        if arguments.base:
            base(arguments, output)
        if arguments.attack:
            attack(arguments, output)


if __name__ == "__main__":
    main()

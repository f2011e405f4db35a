"""CPU time of ``wav2edge listen`` at the noise floor: a microphone with faint noise.

    python benchmarks/live_idle.py [-m BUNDLE] [--engine E] [--seconds 60] [--player 'paplay --latency-msec=200']

The player, if named, plays faint noise into the (virtual) microphone meanwhile. CPU time hardly depends on other load,
so that the figure is valid on a busy machine too; the threads that cost most are listed below it.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _kit
import numpy as np

RATE = 16000


def cpu(process: int) -> dict[str, float]:
    """CPU-seconds of each thread of a process, to the nanosecond."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        name = (task / "comm").read_text("utf-8").strip()
        found[f"{name} {task.name}"] = int((task / "schedstat").read_text("ascii").split()[0]) / 1e9
    return found


def end(process: subprocess.Popen[Any]) -> None:
    """End a process."""
    process.terminate()
    process.wait()


def main() -> None:
    """Print the share of one core."""
    import soundfile

    parser = _kit.parser(__doc__)
    parser.add_argument("-m", "--model", metavar="BUNDLE")
    parser.add_argument("--engine")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--level", type=float, default=-60.0, help="loudness of the noise, dBFS")
    parser.add_argument("--player")
    options = parser.parse_args()
    command = [sys.executable, "-m", "wav2edge", "listen", "--json"]
    command += _kit.command_options(options, "model", "engine")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "room.wav"
        noise = np.random.default_rng(0).standard_normal(int((options.seconds + 20) * RATE)) * 10 ** (
            options.level / 20
        )
        soundfile.write(path, noise.astype(np.float32), RATE, subtype="PCM_16")
        with contextlib.ExitStack() as processes:
            if options.player:
                processes.callback(end, subprocess.Popen([*shlex.split(options.player), str(path)]))
            listener = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            processes.callback(end, listener)
            assert listener.stdout is not None
            if not listener.stdout.readline():  # the first event: it has begun
                sys.exit(f"wav2edge listen ended with code {listener.wait()}; is there a microphone?")
            time.sleep(3)
            before, began = cpu(listener.pid), time.monotonic()
            time.sleep(options.seconds)
            after, seconds = cpu(listener.pid), time.monotonic() - began
    shares = {name: (value - before.get(name, 0.0)) / seconds for name, value in after.items()}
    total = sum(shares.values())
    with _kit.Output(options) as output:
        output.say(f"{100 * total:.2f} % of one core over {options.seconds:g} s at {options.level:g} dBFS")
        for name, share in sorted(shares.items(), key=lambda item: -item[1])[:4]:
            output.say(f"  {100 * share:5.2f} %  {name}")


if __name__ == "__main__":
    main()

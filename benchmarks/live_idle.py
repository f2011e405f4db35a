"""What listening to a quiet room costs: CPU time of ``wav2edge listen`` on a microphone with faint noise.

    python benchmarks/live_idle.py [-m BUNDLE] [--engine E] [--seconds 60] [--player 'paplay --latency-msec=200']

The player, if named, plays faint noise into the (virtual) microphone meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE = 16000


def cpu(process: int) -> float:
    """CPU-seconds of a process, all threads."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the share of one core."""
    import soundfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-m", "--model", metavar="BUNDLE")
    parser.add_argument("--engine")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--level", type=float, default=-60.0, help="loudness of the noise, dBFS")
    parser.add_argument("--player")
    options = parser.parse_args()
    command = [sys.executable, "-m", "wav2edge", "listen", "--json"]
    command += ["-m", options.model] if options.model else []
    command += ["--engine", options.engine] if options.engine else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "room.wav"
        noise = np.random.default_rng(0).standard_normal(int((options.seconds + 20) * RATE)) * 10 ** (
            options.level / 20
        )
        soundfile.write(path, noise.astype(np.float32), RATE, subtype="PCM_16")
        player = subprocess.Popen([*shlex.split(options.player), str(path)]) if options.player else None
        listener = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert listener.stdout is not None
        listener.stdout.readline()  # it has begun
        time.sleep(3)
        before, began = cpu(listener.pid), time.monotonic()
        time.sleep(options.seconds)
        share = (cpu(listener.pid) - before) / (time.monotonic() - began)
        for process in (listener, player):
            if process is not None:
                process.terminate()
                process.wait()
    print(f"{100 * share:.2f} % of one core over {options.seconds:g} s at {options.level:g} dBFS")


if __name__ == "__main__":
    main()

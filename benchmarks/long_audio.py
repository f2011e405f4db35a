"""Peak memory and speed of ``wav2edge transcribe`` on one and on two hours of speech.

    python benchmarks/long_audio.py SPEECH [-m BUNDLE] [--hours 1 2] [--engine E] [--variant V] [--format flac]

SPEECH is a manifest or a folder of recordings; they are put end to end until the file is long enough. Peak memory is
the resident set of the whole process as the kernel counts it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _kit
import numpy as np
import soundfile

from wav2edge.measure import manifest
from wav2edge.runtime.audio import read


def main() -> None:
    """Print the table."""
    parser = _kit.parser(__doc__)
    parser.add_argument("speech")
    _kit.add_model(parser, threads=2)
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--format", default="flac", help="of the long file, as soundfile names it")
    arguments = parser.parse_args()
    rows = manifest.scan(arguments.speech, need=None)[0]
    options = _kit.command_options(arguments, "model", "engine", "variant", "threads")
    with tempfile.TemporaryDirectory() as folder, _kit.Output(arguments) as output:
        output.say(f"{'audio':>8} {'peak':>9} {'time':>8} {'× real time':>12} {'words':>8} {'segments':>9}")
        for hours in arguments.hours:
            path = Path(folder) / f"long.{arguments.format}"
            write(rows, path, 3600 * hours)
            peak, elapsed, document = transcribe(path, options)
            output.say(
                f"{hours:6.2g} h {peak / 1e6:6.0f} MB {elapsed:6.1f} s {3600 * hours / elapsed:12.1f} "
                f"{len(document['words']):8} {len(document['segments']):9}"
            )


def write(rows: tuple[manifest.Row, ...], path: Path, seconds: float) -> None:
    """Put recordings end to end, again from the first when they run out."""
    left = int(16000 * seconds)
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        while left > 0:
            for row in rows:
                samples = read.load(row.audio)[:left]
                file.write(np.concatenate((samples, np.zeros(4800, np.float32)))[:left])
                left -= min(left, len(samples) + 4800)
                if left <= 0:
                    break


def transcribe(path: Path, options: list[str]) -> tuple[int, float, dict[str, list[object]]]:
    """Run the command; returns its peak resident bytes, its seconds, and its JSON."""
    command = [sys.executable, "-m", "wav2edge", "transcribe", str(path), "-f", "json", *options]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - started
        if status != 0:
            raise SystemExit(f"wav2edge transcribe failed ({os.waitstatus_to_exitcode(status)})")
        output.seek(0)
        return usage.ru_maxrss * 1024, elapsed, json.load(output)


if __name__ == "__main__":
    main()

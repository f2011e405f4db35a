"""Live captions of real speech through a microphone: delay, corrections, and finals against ``transcribe``.

    python benchmarks/live_microphone.py MANIFEST [-m BUNDLE] [--corpus C …] [--limit N] [--player 'paplay']

Each clip is played in real time to the default microphone, as `wav2edge listen --measure --player` does, whose table is
printed. tests/live/virtual_mic.sh makes a microphone on a machine without a sound card.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import _kit


def main() -> None:
    """Play the clips and print the table of ``wav2edge listen``."""
    parser = _kit.parser(__doc__)
    parser.add_argument("manifest")
    _kit.add_model(parser)
    parser.add_argument("--corpus", action="append", default=[], help="only this corpus (may be given again)")
    parser.add_argument("--limit", type=int, default=40, help="clips of each corpus (default: 40)")
    parser.add_argument("--player", default="paplay --latency-msec=200", help="plays the file that is added to it")
    options = parser.parse_args()
    corpora = options.corpus or sorted({row.corpus for row in _kit.rows_of(options.manifest)})
    rows = [row for name in corpora for row in _kit.rows_of(options.manifest, corpora=[name], limit=options.limit)]
    with _kit.Output(options) as output, tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "clips.jsonl"
        lines = []
        for row in rows:
            part = {"path": str(row.path.resolve()), "offset": row.offset, "seconds": row.seconds}
            lines.append(json.dumps({**part, "text": row.text, "corpus": row.corpus}))
        chosen.write_text("\n".join(lines) + "\n", "utf-8")
        command = [sys.executable, "-m", "wav2edge", "listen", "--measure", str(chosen), "--player", options.player]
        command += _kit.command_options(options, "model", "engine", "variant", "threads")
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.returncode)
        output.say(*done.stdout.splitlines())


if __name__ == "__main__":
    main()

"""Lists of recordings: JSON Lines, tables, folders, pairs, and who speaks when."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator

from wav2edge.measure import manifest, trial_list
from wav2edge.measure.figures import diarization

from ..mutation import NAMES, TEXTS, damaged, edited, pick, value

ROW = {
    "path": "a.wav", "text": "hello there", "corpus": "x", "seconds": 1.0, "language": "en", "speaker": "s",
    "split": "test",
    "label": "yes", "rttm": "a.rttm", "values": {"arousal": 0.4}, "first": "a.wav", "second": "b.wav", "same": True,
}  # fmt: skip
RTTM = "SPEAKER a 1 0.50 1.25 <NA> <NA> anna <NA> <NA>\nSPEAKER a 1 1.75 0.25 <NA> <NA> ben <NA> <NA>\n"
NEEDS = ("text", "label", "rttm", "values", None)


class Inputs:
    """A folder with two recordings and a manifest."""

    def __init__(self, scratch: Path) -> None:
        """Encode the recordings once."""
        file = io.BytesIO()
        soundfile.write(file, np.zeros(1600), 16000, format="WAV")
        self.recording = file.getvalue()

    def __call__(self, random: Generator, folder: Path) -> str:
        """Read the manifest, all of it or what can be used, and the turns that its rows name."""
        for name in ("a.wav", "b.wav"):
            (folder / name).write_bytes(self.recording)
        (folder / "a.rttm").write_bytes(RTTM.encode())
        way, need = int(random.integers(5)), pick(random, NEEDS)
        if way == 4:
            return _turns(random, folder)
        path = self._manifest(random, folder, way)
        if random.random() < 0.2:
            return f"{len(trial_list.read(path)) > 0}"
        if random.random() < 0.5:
            manifest.read(path, need=need)  # type: ignore[arg-type]
            return "all rows"
        rows, problems = manifest.scan(path, split=pick(random, (None, None, "test", "\0")), need=need)  # type: ignore[arg-type]
        assert rows and not any("\n" in problem for problem in problems)
        return "some rows" if problems else "all rows"

    def _manifest(self, random: Generator, folder: Path, way: int) -> Path:
        rows = [edited(random, ROW, int(random.integers(0, 3))) for _ in range(int(random.integers(1, 5)))]
        if way == 0:
            path, data = folder / "m.jsonl", "\n".join(json.dumps(row) for row in rows).encode()
        elif way == 1:
            path = folder / pick(random, ("m.tsv", "m.csv", "m.txt", "m"))
            mark = "\t" if path.suffix == ".tsv" else ","
            keys = pick(random, (list(ROW), ["path", "text"], ["file_name", "transcription"], [*ROW, *ROW]))
            lines = [mark.join(keys)]
            lines += [
                mark.join(str(row.get(key, "")) if isinstance(row, dict) else str(pick(random, TEXTS)) for key in keys)
                for row in rows
            ]
            data = "\n".join(lines).encode("utf-8", "surrogatepass")
        elif way == 2:
            path, data = folder / "pairs.txt", b"1 a.wav b.wav\n0 a.wav a.wav\n"
        else:
            (folder / "a.txt").write_bytes(damaged(random, b"hello there"))
            (folder / "b.txt").write_bytes(str(value(random)).encode("utf-8", "surrogatepass"))
            (folder / "c.wav").symlink_to(pick(random, ("../secret.fifo", "c.wav", ".", "/dev/zero")))
            return folder if random.random() < 0.9 else folder / "a.txt"
        if random.random() < 0.3:
            data = damaged(random, data, str(pick(random, NAMES)).encode("utf-8", "surrogatepass"))
        path.write_bytes(data)
        return path


def _turns(random: Generator, folder: Path) -> str:
    lines = [line.split() for line in RTTM.splitlines()]
    for line in lines:
        if random.random() < 0.7:
            line[int(random.integers(len(line)))] = str(value(random))[:2000]
    data = "\n".join(" ".join(line) for line in lines).encode("utf-8", "surrogatepass")
    file = folder / "x.rttm"
    file.write_bytes(damaged(random, data) if random.random() < 0.5 else data)
    for turns in diarization.read_rttm(file).values():
        found = diarization.errors(turns, diarization.read_rttm(folder / "a.rttm")["a"])
        assert found.errors >= 0 and found.speech >= 0
    return "turns"

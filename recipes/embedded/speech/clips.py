"""A folder of clips in one growing int16 file with an index: append-only, safe to interrupt."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from ..frames import RATE

LONGEST = 29.0
"""Seconds of the longest clip that the teacher takes whole."""


def store_folder(text: str) -> Path:
    """Return the folder of a store that is there; raises argparse.ArgumentTypeError for another."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a clip store; make it first")
    return Path(text)


class ClipStore:
    """Clips of 16 kHz speech: `samples.i16` holds them end to end, `index.jsonl` says where each begins."""

    def __init__(self, folder: Path) -> None:
        """Open a store, or begin one."""
        folder.mkdir(parents=True, exist_ok=True)
        self._samples, self._index = folder / "samples.i16", folder / "index.jsonl"
        self.rows: list[dict[str, object]] = []
        self._end, self._repaired = 0, False
        self.refresh()

    def refresh(self) -> None:
        """Read rows that another process appended meanwhile; an unfinished last line is left for later."""
        if not self._index.exists():
            return
        lines = self._index.read_bytes().split(b"\n")[:-1]
        self.rows += [json.loads(line) for line in lines[len(self.rows) :]]
        if self.rows:
            self._end = int(str(self.rows[-1]["start"])) + int(str(self.rows[-1]["samples"]))

    @property
    def seconds(self) -> float:
        """Speech in the store, in seconds."""
        return self._end / RATE

    def __len__(self) -> int:
        return len(self.rows)

    def append(self, samples: np.ndarray, text: str, speaker: str, corpus: str, key: str | None = None) -> None:
        """Add one clip (float samples in [-1, 1] at 16 kHz); samples reach the disk before their row does.

        `key` says which recording it is, where a store is made of a manifest.

        The first time, an index line that an interruption left unfinished is cut off.
        """
        if not self._repaired and self._index.exists():
            os.truncate(self._index, self._index.read_bytes().rfind(b"\n") + 1)
        self._repaired = True
        data = np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16)
        with open(self._samples, "r+b" if self._samples.exists() else "w+b") as file:
            file.seek(2 * self._end)
            file.write(data.tobytes())
        row = {"start": self._end, "samples": len(data), "text": text, "speaker": speaker, "corpus": corpus}
        row |= {} if key is None else {"key": key}
        with open(self._index, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        self._end += len(data)

    def audio(self) -> np.ndarray:
        """Return all samples as one read-only int16 memory map."""
        if not self._end:
            return np.zeros(0, np.int16)
        return np.memmap(self._samples, np.int16, "r", shape=(self._end,))

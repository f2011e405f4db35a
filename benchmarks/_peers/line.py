"""A peer as a process of its own, driven by lines of JSON: what each program of this folder has in common.

``python -m _peers.NAME prepare CHECKPOINT TARGET VARIANT CLIPS`` converts a checkpoint as the peer's users would.
``python -m _peers.NAME serve TARGET VARIANT THREADS`` loads it and answers every line on its input with one line:
``{"run": "clip.f32"}`` with seconds and text, ``{"memory": true}`` with bytes; the end of its input ends it. A file
holds float32 samples at 16 kHz. Time is from samples in memory to text. Only numpy is needed here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 16000
Samples = NDArray[np.float32]
Recognizer = Callable[[Samples], str]
"""From samples to text."""
Prepare = Callable[[Path, Path, str, Sequence[Samples]], None]
"""Converts: the checkpoint's folder, an empty folder for the result, the variant, and clips to calibrate on."""
Load = Callable[[Path, str, int], Recognizer]
"""Loads what was prepared: its folder, the variant, and the number of threads."""


def main(prepare: Prepare, load: Load) -> None:
    """What a peer's program does with its arguments; what it imports before counts as its bare start."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not be read as an answer
    order, *words = sys.argv[1:]
    try:
        if order == "prepare":
            checkpoint, target, variant, clips = words
            prepare(Path(checkpoint), Path(target), variant, [samples(path) for path in sorted(Path(clips).iterdir())])
            return
        bare = status("VmRSS")
        target, variant, threads = words
        recognize = load(Path(target), variant, int(threads))
        answers.write(json.dumps({"ready": True}) + "\n")
        for line in sys.stdin:
            answers.write(json.dumps(_answer(json.loads(line), recognize, bare)) + "\n")
    except Exception as error:
        answers.write(json.dumps({"error": in_one_line(error)}) + "\n")
        sys.exit(1)


def _answer(asked: Mapping[str, str], recognize: Recognizer, bare: int) -> dict[str, float | str]:
    if "run" not in asked:
        peak = status("VmHWM")
        return {"above": peak - bare, "peak": peak}
    clip = samples(Path(asked["run"]))
    started = time.perf_counter()
    text = recognize(clip)
    return {"seconds": time.perf_counter() - started, "text": text}


def nothing_to_prepare(checkpoint: Path, target: Path, variant: str, clips: Sequence[Samples]) -> None:
    """For a peer that reads the checkpoint itself: a link to it."""
    (target / "checkpoint").symlink_to(checkpoint.resolve())


def in_one_line(error: BaseException) -> str:
    """An error's kind and the first line of what it says."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def samples(path: Path) -> Samples:
    """The samples of a file."""
    return np.fromfile(path, dtype=np.float32)


def normalized(clip: Samples) -> Samples:
    """A clip [1, samples] as transformers' feature extractor gives it with ``do_normalize``."""
    return np.asarray((clip - clip.mean()) / np.sqrt(clip.var() + 1e-7), dtype=np.float32)[None]


class Greedy:
    """Greedy CTC by a checkpoint's vocab.json, for peers that give logits."""

    def __init__(self, checkpoint: Path) -> None:
        """Read the vocabulary and the blank."""
        labels: dict[str, int] = json.loads((checkpoint / "vocab.json").read_text("utf-8"))
        config: dict[str, int] = json.loads((checkpoint / "config.json").read_text("utf-8"))
        self._blank = config["pad_token_id"]
        silent = ("<s>", "</s>", "<unk>", "<pad>")
        self._labels = {index: "" if label in silent else label for label, index in labels.items()}

    def __call__(self, logits: NDArray[np.float32]) -> str:
        """The text of logits [frames, labels]."""
        best = logits.argmax(-1)
        kept = best[np.flatnonzero(np.diff(best, prepend=-1))]
        return "".join(self._labels[index] for index in kept.tolist() if index != self._blank).replace("|", " ").strip()


def status(field: str) -> int:
    """A field of the status of this process, in bytes."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith(f"{field}:"):
            return int(text.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}")

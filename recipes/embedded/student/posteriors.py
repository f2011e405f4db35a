"""Posteriors of a trained student for stores without the teacher's features; `teacher.constrain` makes them spell.

    python -m recipes.embedded.student.posteriors CHECKPOINT STORE…

The teacher takes about twenty times as long for an hour of speech as the student does. Where there is a transcript,
`teacher.constrain` takes the letters from it, so the student gives their timing alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from ..frames import EDGE
from ..labels import BLANK, LABELS
from ..speech.clips import ClipStore, store_folder
from ..speech.dataset import Dataset
from ..speech.targets import FREE_POSTERIORS, POSTERIORS, frame_starts, write_rows
from .decode import label_scores
from .model import Student, open_checkpoint


def write_posteriors(student: Student, folder: Path) -> None:
    """Write `posteriors.f16` [frames, labels] of a store; frames at the edges of a clip are blank."""
    table = np.zeros((int(frame_starts(ClipStore(folder))[-1]), len(LABELS)), np.float16)
    table[:, BLANK] = 1
    for clip, scores in label_scores(student, Dataset([folder], targets=False, longest=60.0), exact=False):
        inside = slice(clip.frame + EDGE, clip.frame + EDGE + len(scores))
        table[inside] = torch.from_numpy(scores).softmax(-1).numpy()
    (folder / FREE_POSTERIORS).unlink(missing_ok=True)  # those of other weights, which constrain would keep
    write_rows(folder / POSTERIORS, table)


def main() -> None:
    """Write the posteriors of every store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("stores", type=store_folder, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    student = Student(open_checkpoint(options.checkpoint)).eval()
    for folder in options.stores:
        write_posteriors(student, folder)


if __name__ == "__main__":
    main()

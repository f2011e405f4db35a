"""Untranscribed speech of many actors: the dialogue of a game whose licence lets anyone copy and change it.

    python dialogue.py queen.1c STORE

`queen.1c` is the data file of Flight of the Amazon Queen as Debian ships it (package flight-of-the-amazon-queen, in
main: `apt-get download`, then `dpkg-deb -x`). Its table of contents: a 16-bit count at byte 13, then rows of a
12-byte name, a byte, a 32-bit offset and a 32-bit size, all big-endian; names that end in .SB are MP3 speech. Nothing
of it is shipped: the teacher listens to it, and the small model learns what the teacher heard.
"""

from __future__ import annotations

import argparse
import io
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from clips import RATE, ClipStore

CORPUS = "amazon-queen-dialogue"
SHORTEST, LONGEST = 0.8, 17.0


def lines(archive: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the 16 kHz samples of every spoken line."""
    data = archive.read_bytes()
    (count,) = struct.unpack_from(">H", data, 13)
    for row in range(15, 15 + 21 * count, 21):
        name = data[row : row + 12].split(b"\0")[0].decode("latin-1")
        offset, size = struct.unpack_from(">II", data, row + 13)
        if not name.endswith(".SB") or size < 500:
            continue
        audio, rate = soundfile.read(io.BytesIO(data[offset : offset + size]), dtype="float32", always_2d=True)
        yield name[:-3], soxr.resample(audio.mean(1), rate, RATE)


def trim(samples: np.ndarray, margin: float = 0.15) -> np.ndarray:
    """Cut the silence at both ends down to `margin` seconds."""
    hop = RATE // 50
    level = np.sqrt((samples[: len(samples) // hop * hop].reshape(-1, hop) ** 2).mean(1))
    loud = np.flatnonzero(level > max(0.03 * float(level.max(initial=0)), 1e-4))
    if not len(loud):
        return samples[:0]
    edge = int(margin * RATE)
    return samples[max(0, loud[0] * hop - edge) : (loud[-1] + 1) * hop + edge]


def main() -> None:
    """Fill a clip store, in a random order, without transcripts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("store", type=Path)
    options = parser.parse_args()
    store = ClipStore(options.store)
    found = [(name, trim(samples)) for name, samples in lines(options.archive)]
    found = [(name, clip) for name, clip in found if SHORTEST * RATE <= len(clip) <= LONGEST * RATE]
    random.Random(1).shuffle(found)
    for _, clip in found[len(store) :]:
        store.append(clip, "", "unknown", CORPUS)
    print(f"{len(store)} clips, {store.seconds / 3600:.2f} h")


if __name__ == "__main__":
    main()

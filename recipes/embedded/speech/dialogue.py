"""Untranscribed speech of many actors: the dialogue of games whose licences let anyone copy and change them.

    python -m recipes.embedded.speech.dialogue queen.1c STORE
    python -m recipes.embedded.speech.dialogue sky.dsk STORE

Both files come with Debian's packages of the games, in main (`apt-get download`, then `dpkg-deb -x`):

 * `queen.1c`, flight-of-the-amazon-queen. Its table of contents: a 16-bit count at byte 13, then rows of a 12-byte
   name, a byte, a 32-bit offset and a 32-bit size, all big-endian; names that end in .SB are MP3 speech.
 * `sky.dsk`, beneath-a-steel-sky, and its table of contents `sky.dnr` in the same folder: a 32-bit count, then rows of
   a 16-bit number, a 24-bit offset (sixteenths where the highest bit says so) and a 24-bit size with two flags, all
   little-endian. Speech has numbers from 50000: 22 bytes of header, then 8-bit samples at 11025 Hz, most of them packed
   as RNC, which Debian's `ancient` unpacks.

Nothing of them is shipped: the teacher computes targets from them, which the student learns.
"""

from __future__ import annotations

import argparse
import io
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..frames import RATE
from .clips import ClipStore

SHORTEST, LONGEST = 0.8, 17.0


def queen_lines(archive: Path) -> Iterator[np.ndarray]:
    """Yield the 16 kHz samples of every spoken line of Flight of the Amazon Queen."""
    data = archive.read_bytes()
    (count,) = struct.unpack_from(">H", data, 13)
    for row in range(15, 15 + 21 * count, 21):
        name = data[row : row + 12].split(b"\0")[0].decode("latin-1")
        offset, size = struct.unpack_from(">II", data, row + 13)
        if not name.endswith(".SB") or size < 500:
            continue
        audio, rate = soundfile.read(io.BytesIO(data[offset : offset + size]), dtype="float32", always_2d=True)
        yield soxr.resample(audio.mean(1), rate, RATE)


def sky_lines(archive: Path) -> Iterator[np.ndarray]:
    """Yield the 16 kHz samples of every packed line of Beneath a Steel Sky."""
    if not shutil.which("ancient"):
        sys.exit("error: the speech in sky.dsk is packed: install Debian's ancient first (apt install ancient)")
    data, table = archive.read_bytes(), archive.with_suffix(".dnr").read_bytes()
    (count,) = struct.unpack_from("<I", table)
    with tempfile.TemporaryDirectory() as folder:
        packed, raw = Path(folder, "packed"), Path(folder, "raw")
        for row in range(4, 4 + 8 * count, 8):
            (number,) = struct.unpack_from("<H", table, row)
            place, size = (int.from_bytes(table[row + at : row + at + 3], "little") for at in (2, 5))
            offset = (place & 0x7FFFFF) << (4 if place >> 23 else 0)
            body = data[offset + 22 : offset + (size & 0x3FFFFF)]
            if number < 50000 or not body.startswith(b"RNC"):
                continue
            packed.write_bytes(body)
            subprocess.run(["ancient", "decompress", packed, raw], capture_output=True, check=True)
            samples = (np.frombuffer(raw.read_bytes(), np.uint8).astype(np.float32) - 128) / 128
            yield soxr.resample(samples, 11025, RATE)


SOURCES = {"queen.1c": ("amazon-queen-dialogue", queen_lines), "sky.dsk": ("steel-sky-dialogue", sky_lines)}


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
    if options.archive.name not in SOURCES:
        sys.exit(f"error: {options.archive} is not one of the known archives: {', '.join(SOURCES)}")
    corpus, lines = SOURCES[options.archive.name]
    store = ClipStore(options.store)
    found = [clip for clip in map(trim, lines(options.archive)) if SHORTEST * RATE <= len(clip) <= LONGEST * RATE]
    random.Random(1).shuffle(found)
    for clip in found[len(store) :]:
        store.append(clip, "", "unknown", corpus)
    print(f"{len(store)} clips, {store.seconds / 3600:.2f} h")


if __name__ == "__main__":
    main()

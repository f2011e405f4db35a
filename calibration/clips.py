"""The speech that a calibration sees: read one clip at a time, at the lengths that the device will see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime import audio, embedded, manifest
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.manifest import Row
from wav2edge.runtime.scoring import normalize
from wav2edge.runtime.spec import ModelSpec

BUILT_IN = "built-in"
"""What a user names to calibrate on the clips that ship with the package."""
MIN_WORDS = 20
"""Below this a word error rate says nothing."""
SILENCE = 1e-4
"""A clip whose loudest sample is below this (-80 dB) holds no speech."""

CLOSED = frozenset({"eval", "test"})
"""Splits that no search may look at."""

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Clips:
    """Recordings to run, in order, and how they are cut.

    rows: the recordings. spec: the model's rate and shortest clip. longest: seconds; longer recordings are cut into
    pieces of this length when they calibrate (they are judged whole).
    """

    rows: tuple[Row, ...]
    spec: ModelSpec
    longest: float

    def whole(self) -> Iterator[tuple[Row, Samples]]:
        """Each recording whole; raises AudioError for one that cannot be read."""
        for row in self.rows:
            samples = audio.load(row.path, self.spec.sample_rate)
            if len(samples) < self.spec.min_samples:
                samples = np.pad(samples, (0, self.spec.min_samples - len(samples)))
            yield row, samples

    def pieces(self) -> Iterator[Samples]:
        """Every recording in pieces of at most ``longest`` seconds; a rest of under half a second joins no one."""
        size = max(int(self.longest * self.spec.sample_rate), self.spec.min_samples)
        rest = max(self.spec.sample_rate // 2, self.spec.min_samples)
        for _, samples in self.whole():
            for start in range(0, len(samples), size):
                piece = samples[start : start + size]
                if start == 0 or len(piece) >= rest:
                    yield piece

    @property
    def digest(self) -> str:
        """The SHA-256 over the recordings' bytes and texts: the same clips in the same order, the same digest."""
        total = hashlib.sha256()
        for row in self.rows:
            total.update(hashlib.sha256(row.path.read_bytes()).digest())
            total.update(row.text.encode() + b"\0")
        return total.hexdigest()

    @property
    def words(self) -> int:
        """How many words their references hold."""
        return sum(len(normalize(row.text).split()) for row in self.rows)


def calibration_clips(source: str | Path, spec: ModelSpec, *, longest: float, limit: int | None = None) -> Clips:
    """The clips to calibrate on: a manifest, a folder, or ``built-in``; no text is needed.

    limit: at most so many, spread evenly over the manifest. Raises InputError where there are none, or none that
    is more than silence.
    """
    rows = _rows(source)
    clips = Clips(_spread(rows, limit), spec, longest)
    if not any(float(np.abs(samples).max()) > SILENCE for _, samples in clips.whole()):
        raise InputError(f"{source}: silence only; calibrate on speech as the device will hear it")
    return clips


def dev_clips(source: str | Path, spec: ModelSpec, *, longest: float) -> Clips:
    """The clips to judge on: each with its text; raises InputError where text is missing or under 20 words."""
    rows = _rows(source)
    wordless = [row for row in rows if not row.text.strip()]
    if len(wordless) == len(rows):
        raise InputError(f"{source}: no text; --dev needs what is said in each recording, to count words")
    return _enough(Clips(tuple(row for row in rows if row.text.strip()), spec, longest), str(source))


def hold_out(clips: Clips, source: str) -> tuple[Clips, Clips]:
    """Every second clip with text to judge on, the others to calibrate on; for a user who named no dev set."""
    texts = [row for row in clips.rows if row.text.strip()]
    dev = texts[1::2]
    if not dev:
        raise InputError(f"{source}: no text to judge on; name a --dev manifest with recordings and their text")
    held = {id(row) for row in dev}
    rest = tuple(row for row in clips.rows if id(row) not in held)
    return Clips(rest, clips.spec, clips.longest), _enough(Clips(tuple(dev), clips.spec, clips.longest), source)


def _enough(clips: Clips, source: str) -> Clips:
    if clips.words < MIN_WORDS:
        raise InputError(f"{source}: {clips.words} words to judge on; a word error rate needs {MIN_WORDS} or more")
    return clips


def _rows(source: str | Path) -> tuple[Row, ...]:
    if str(source) == BUILT_IN:
        source = embedded.clips_manifest()
    rows = manifest.read(source, need_text=False)
    # What a manifest sets aside to measure on is neither calibrated nor searched on, unless it holds nothing else.
    return tuple(row for row in rows if row.split not in CLOSED) or rows


def _spread(rows: Sequence[Row], limit: int | None) -> tuple[Row, ...]:
    if limit is None or limit >= len(rows):
        return tuple(rows)
    return tuple(rows[int(index)] for index in np.linspace(0, len(rows) - 1, limit).round())

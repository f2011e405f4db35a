"""The speech that a calibration sees: read one clip at a time, at the lengths that the device will see."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2edge.measure import manifest
from wav2edge.measure.manifest import Row
from wav2edge.measure.scoring import normalize
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError

BUILT_IN = "built-in"
"""What a user names to calibrate on the clips that ship with the package."""
MIN_WORDS = 20
"""Below this a word error rate says nothing (words; characters for a model whose text has no gaps)."""
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
            samples = read.load(row.path, self.spec.sample_rate)
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
        """How many words their references hold; characters where the model writes no gap between words."""
        if gapless(self.spec):
            return sum(len(normalize(row.text)) for row in self.rows)
        return sum(len(normalize(row.text).split()) for row in self.rows)

    @property
    def unit(self) -> str:
        """What is counted: words, or characters where the model writes no gap between words."""
        return "characters" if gapless(self.spec) else "words"

    def limited(self, limit: int | None) -> Clips:
        """At most ``limit`` of them, spread evenly; all where it is None. Raises InputError where only silence stays.

        A check before this one has seen all of them, not those that are left.
        """
        return self if limit is None else _audible(dataclasses.replace(self, rows=_spread(self.rows, limit)))


def rate_name(unit: str) -> str:
    """What the error rate of a unit is called."""
    return "CER" if unit == "characters" else "WER"


def gapless(spec: ModelSpec) -> bool:
    """Whether a model's text has no gaps (``ctc.joined``): a whole clip is one word, and characters must count."""
    return spec.delimiter is None and spec.tokenizer == "char"


def calibration_clips(source: str | Path, spec: ModelSpec, *, longest: float, limit: int | None = None) -> Clips:
    """The clips to calibrate on: a manifest, a folder, or ``built-in``; no text is needed.

    limit: at most so many, spread evenly over the manifest. Raises InputError where there are none, or none that
    is more than silence.
    """
    return _audible(Clips(_spread(_rows(source), limit), spec, longest), str(source))


def dev_clips(source: str | Path, spec: ModelSpec, *, longest: float) -> Clips:
    """The clips to judge on: each with its text.

    Raises InputError where text is missing or under 20 words, and where every clip is silence: nothing could be lost.
    """
    rows = _rows(source)
    wordless = [row for row in rows if not row.text.strip()]
    if len(wordless) == len(rows):
        raise InputError(f"{source}: no text; --dev needs what is said in each recording, to count words")
    return _enough(Clips(tuple(row for row in rows if row.text.strip()), spec, longest), str(source))


def hold_out(clips: Clips, source: str) -> tuple[Clips, Clips]:
    """Every second recording with text to judge on, the others to calibrate on; for a user who named no dev set.

    Rows of one recording stay together. Raises InputError where too few words or only silence falls to either side.
    """
    texts = [row for row in clips.rows if row.text.strip()]
    recordings = list(dict.fromkeys(row.path.resolve() for row in texts))
    if not recordings:
        raise InputError(f"{source}: no text to judge on; name a --dev manifest with recordings and their text")
    if len(recordings) == 1:
        raise InputError(
            f"{source}: one recording with text cannot both calibrate and judge; name a --dev manifest with others"
        )
    held = set(recordings[1::2])
    dev = tuple(row for row in texts if row.path.resolve() in held)
    rest = tuple(row for row in clips.rows if row.path.resolve() not in held)
    judged = _enough(dataclasses.replace(clips, rows=dev), f"{source}, every second recording")
    return _audible(dataclasses.replace(clips, rows=rest), source), judged


def apart(clips: Clips, dev: Clips) -> Clips:
    """The clips to calibrate on without the recordings of ``dev``: what calibrated must not judge.

    Recordings are compared by their path, symbolic links resolved. Raises InputError where all of ``dev`` calibrates,
    where nothing else is left to calibrate on, or only silence.
    """
    judging = {row.path.resolve() for row in dev.rows}
    heard = {row.path.resolve() for row in clips.rows}
    if judging <= heard:
        raise InputError(
            "every recording of --dev is in --speech too, so it would judge what it calibrated on; "
            "name other recordings, or leave --dev out to hold out every second one"
        )
    if heard <= judging:
        raise InputError("every recording of --speech is in --dev too; name other recordings to calibrate on")
    if not judging & heard:
        return clips
    rest = tuple(row for row in clips.rows if row.path.resolve() not in judging)
    return _audible(dataclasses.replace(clips, rows=rest))


def _enough(clips: Clips, source: str) -> Clips:
    if clips.words < MIN_WORDS:
        raise InputError(f"{source}: {clips.words} {clips.unit} to judge on; an error rate needs {MIN_WORDS} or more")
    return _audible(clips, source, "judge")


def _audible(clips: Clips, source: str = "--speech", verb: str = "calibrate") -> Clips:
    if not any(float(np.abs(samples).max()) > SILENCE for _, samples in clips.whole()):
        raise InputError(f"{source}: silence only; {verb} on speech as the device will hear it")
    return clips


def _rows(source: str | Path) -> tuple[Row, ...]:
    if str(source) == BUILT_IN:
        source = embedded.clips_manifest()
    rows = manifest.read(source, need=None)
    # What a manifest sets aside to measure on is neither calibrated nor searched on, unless it holds nothing else.
    return tuple(row for row in rows if row.split not in CLOSED) or rows


def _spread(rows: Sequence[Row], limit: int | None) -> tuple[Row, ...]:
    if limit is None or limit >= len(rows):
        return tuple(rows)
    return tuple(rows[int(index)] for index in np.linspace(0, len(rows) - 1, limit).round())

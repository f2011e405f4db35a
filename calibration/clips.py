"""The speech of a calibration: which recordings calibrate and which judge, read one clip at a time."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wav2edge.measure import manifest, trial_list, trials
from wav2edge.measure.manifest import Row
from wav2edge.measure.task import Task
from wav2edge.measure.tasks import task_of
from wav2edge.measure.trial_list import Trial
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError

BUILT_IN = "built-in"
"""The name of the clips that ship with the package."""
MIN_AMOUNT = 20
"""The fewest words, characters, labels or the like to judge on: with fewer, a single error is more than 5 points of
the rate."""
SILENCE = 1e-4
"""A clip whose loudest sample is below this (-80 dBFS, three steps of 16-bit audio) holds no speech."""
SHORTEST_REST = 0.5
"""Seconds: a shorter rest of a recording is left out; a word takes about as long (150 words a minute are 0.4 s
each)."""

Samples: TypeAlias = NDArray[np.float32]
Verb: TypeAlias = Literal["calibrate", "judge"]


@dataclass(frozen=True)
class Clips:
    """Recordings to run, in order, and how they are cut."""

    rows: tuple[Row, ...]
    """The recordings."""
    spec: ModelSpec
    """The model's, for its sample rate, its shortest clip and its text."""
    longest: float
    """Seconds; longer recordings calibrate in pieces of this length (they are judged whole)."""
    pairs: tuple[Trial, ...] = ()
    """The listed pairs, for a speaker model; empty: all pairs of recordings with named speakers."""

    def whole(self) -> Iterator[tuple[Row, Samples]]:
        """Each recording, or part that a row is of, whole; raises AudioError for one that cannot be read."""
        for row in self.rows:
            samples = read.load(row.audio, self.spec.sample_rate)
            if len(samples) < self.spec.min_samples:
                samples = np.pad(samples, (0, self.spec.min_samples - len(samples)))
            yield row, samples

    def pieces(self) -> Iterator[Samples]:
        """Every recording in pieces of at most ``longest`` seconds; a rest under ``SHORTEST_REST`` is left out."""
        size = max(int(self.longest * self.spec.sample_rate), self.spec.min_samples)
        shortest = max(int(SHORTEST_REST * self.spec.sample_rate), self.spec.min_samples)
        for _, samples in self.whole():
            for start in range(0, len(samples), size):
                piece = samples[start : start + size]
                if start == 0 or len(piece) >= shortest:
                    yield piece

    @property
    def digest(self) -> str:
        """The SHA-256 over the recordings' bytes and texts: the same clips in the same order, the same digest."""
        total = hashlib.sha256()
        of = {path: hashlib.sha256(path.read_bytes()).digest() for path in {row.path for row in self.rows}}
        for row in self.rows:
            total.update(of[row.path] + row.audio.place.encode())
            total.update(self._reference(row).encode() + b"\0")
        return total.hexdigest()

    def _reference(self, row: Row) -> str:
        """What a recording is judged by: a change of it changes the digest."""
        return row.text if self.spec.head == "ctc" else f"{row.label or ''}{row.speaker or ''}{row.values or ''}"

    @property
    def task(self) -> Task:
        """How answers are judged; raises InputError for a head that cannot be."""
        return task_of(self.spec, self.pairs)

    @property
    def amount(self) -> int:
        """How many words, characters, labels or the like there are to judge on."""
        return self.task.amount(self.rows)

    @property
    def seconds(self) -> float:
        """Their length together, by their headers; a recording whose header has no length counts as ``longest``."""
        known = (row.seconds or read.open_recording(row.audio, self.spec.sample_rate).seconds for row in self.rows)
        return sum(self.longest if seconds is None else seconds for seconds in known)

    def limited(self, limit: int | None, source: str = "speech", verb: Verb = "calibrate") -> Clips:
        """At most ``limit`` of them, spread evenly; all where it is None. Those that judge a speaker model go by pairs.

        source and verb: for the message of the InputError where all chosen ones are silent.
        """
        if limit is None or limit >= len(self.rows):
            return self
        by_pairs = verb == "judge" and self.spec.head == "xvector"
        rows = trials.fewer(self.rows, self.pairs, limit) if by_pairs else _spread(self.rows, limit)
        return _audible(dataclasses.replace(self, rows=rows), source, verb)

    @property
    def halved(self) -> str:
        """Which of them are held out to judge on, in words."""
        return f"every second {'pair' if self.spec.head == 'xvector' else 'recording'}"


@dataclass(frozen=True)
class Speech:
    """The speech of a run."""

    calibrating: Clips
    judging: Clips
    recordings: int
    """How many there were of both kinds before any limit."""


def choose_speech(
    spec: ModelSpec,
    speech: str | Path,
    dev: str | Path | None,
    longest: float,
    limit: int | None = None,
    dev_limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Speech:
    """Read the clips to calibrate on and those to judge on (``dev`` None: those that ``hold_out`` takes of ``speech``).

    limit, dev_limit: the most of each, spread evenly (None: all). say: called with one line for recordings left out
    because they judge. Raises InputError where either side has nothing to use.
    """
    clips = calibration_clips(speech, spec, longest=longest)
    if dev is None:
        source = f"{speech}, {clips.halved}"
        clips, judged = hold_out(clips, str(speech))
    else:
        source = str(dev)
        judged = dev_clips(dev, spec, longest=longest)
        rest = without_dev(clips, judged)
        if left_out := len(clips.rows) - len(rest.rows):
            say(f"{left_out} of {len(clips.rows)} recordings of {speech} are in {dev} too: not calibrated on")
        clips = rest
    few = judged.limited(dev_limit, source, "judge")
    if few is not judged:
        source = f"{source}, {len(few.rows)} of {len(judged.rows)} recordings by dev_limit"
    return Speech(clips.limited(limit, str(speech)), enough_to_judge(few, source), len(clips.rows) + len(judged.rows))


def calibration_clips(source: str | Path, spec: ModelSpec, *, longest: float, limit: int | None = None) -> Clips:
    """The clips to calibrate on: a manifest, a folder, or ``built-in``; no text is needed.

    limit: the most, spread evenly over the manifest (None: all). Raises InputError where there are none, or only
    silence.
    """
    rows, pairs = _rows_or_pairs(source, spec)
    return _audible(Clips(_spread(rows, limit), spec, longest, pairs), str(source))


def dev_clips(source: str | Path, spec: ModelSpec, *, longest: float) -> Clips:
    """The clips to judge on: those of a manifest with text, or with a label for a model that classifies.

    Raises InputError where they are too few (``MIN_AMOUNT``), or only silence, on which no loss would show.
    """
    every, pairs = _rows_or_pairs(source, spec)
    task = task_of(spec, pairs)
    rows = tuple(row for row in every if task.reference(row))
    if not rows:
        raise InputError(
            f"{source}: no {task.needs}; dev needs the {task.needs} of each recording, to count {task.unit}"
        )
    return enough_to_judge(Clips(rows, spec, longest, pairs), str(source))


def hold_out(clips: Clips, source: str) -> tuple[Clips, Clips]:
    """Every second recording with its text or label to judge on, the others to calibrate on; where no dev set is named.

    Of a speaker model every second pair judges (without a list, every second two recordings of a speaker). Rows of one
    recording stay together. Raises InputError where either side has too little or only silence.
    """
    task = clips.task
    known = [row for row in clips.rows if task.reference(row)]
    recordings = list(dict.fromkeys(row.path.resolve() for row in known))
    if not recordings:
        raise InputError(
            f"{source}: no {task.needs} to judge on; name a dev manifest with recordings and their {task.needs}"
        )
    if len(recordings) == 1:
        raise InputError(
            f"{source}: one recording with {task.needs} cannot both calibrate and judge; "
            "name a dev manifest with others"
        )
    held = trials.half(known, clips.pairs) if clips.spec.head == "xvector" else frozenset(recordings[1::2])
    dev = tuple(row for row in known if row.path.resolve() in held)
    rest = tuple(row for row in clips.rows if row.path.resolve() not in held)
    judged = enough_to_judge(dataclasses.replace(clips, rows=dev), f"{source}, {clips.halved}")
    return _audible(dataclasses.replace(clips, rows=rest), source), judged


def without_dev(clips: Clips, dev: Clips) -> Clips:
    """The clips to calibrate on without the recordings of ``dev``: none may both calibrate and judge.

    Recordings are compared by their path, symbolic links resolved. Raises InputError where all of ``dev`` calibrates,
    where nothing else is left to calibrate on, or only silence.
    """
    judging = {row.path.resolve() for row in dev.rows}
    calibrating = {row.path.resolve() for row in clips.rows}
    if judging <= calibrating:
        raise InputError(
            "every recording of dev is in speech too, so it would judge what it calibrated on; "
            "name other recordings, or leave dev out to hold out every second one"
        )
    if calibrating <= judging:
        raise InputError("every recording of speech is in dev too; name other recordings to calibrate on")
    if not judging & calibrating:
        return clips
    rest = tuple(row for row in clips.rows if row.path.resolve() not in judging)
    return _audible(dataclasses.replace(clips, rows=rest))


def enough_to_judge(clips: Clips, source: str) -> Clips:
    """The clips, checked for judging; raises InputError where they are too few or only silence."""
    amount = clips.amount
    if amount < MIN_AMOUNT:
        counted = f"{clips.task.unit} of each kind" if clips.task.unit == "pairs" else clips.task.unit
        figure = "an error rate" if clips.task.figure.better == "lower" else clips.task.figure.title
        raise InputError(f"{source}: {amount} {counted} to judge on; {figure} needs {MIN_AMOUNT} or more")
    return _audible(clips, source, "judge")


def _audible(clips: Clips, source: str = "speech", verb: Verb = "calibrate") -> Clips:
    if not any(float(np.abs(samples).max()) > SILENCE for _, samples in clips.whole()):
        raise InputError(f"{source}: silence only; {verb} on speech as the device will record it")
    return clips


def _rows(source: str | Path, spec: ModelSpec) -> tuple[Row, ...]:
    if str(source) == BUILT_IN:
        source = embedded.clips_manifest()
    # The folder that a recording is in is its label only where labels are asked for. The rows of other manifests need
    # none: those without one calibrate.
    labelled = Path(source).is_dir() and task_of(spec).needs == "label"
    rows = manifest.read(source, need="label" if labelled else None)
    # The test split of a manifest neither calibrates nor judges, unless the manifest holds nothing else.
    return tuple(row for row in rows if manifest.part_of(row.split or "") != "test") or rows


def _rows_or_pairs(source: str | Path, spec: ModelSpec) -> tuple[tuple[Row, ...], tuple[Trial, ...]]:
    """The recordings of a manifest, and the pairs of a list of pairs."""
    if spec.head == "xvector" and str(source) != BUILT_IN and trial_list.lists_pairs(source):
        return trials.read(source)
    return _rows(source, spec), ()


def _spread(rows: Sequence[Row], limit: int | None) -> tuple[Row, ...]:
    if limit is None or limit >= len(rows):
        return tuple(rows)
    return tuple(rows[int(index)] for index in np.linspace(0, len(rows) - 1, limit).round())

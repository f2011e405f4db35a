"""Read a list of pairs of recordings: ``first``, ``second`` and ``same`` in JSON Lines, .tsv or .csv; or VoxCeleb's.

The latter is a .txt file of lines such as ``1 speaker/a.wav speaker/b.wav``. Paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..runtime.audio.parts import RecordingPart
from ..runtime.errors import InputError
from . import records
from .manifest import AUDIO_SUFFIXES, PATH
from .records import Record, Refuse

_FIRST, _SECOND, _SAME = ("first", "enroll", "path1"), ("second", "test", "path2"), ("same", "label", "target")
_PAIR = "`first`, `second` and `same`"
_YES, _NO = ("1", "true", "target", "same"), ("0", "false", "nontarget", "different")


@dataclass(frozen=True)
class Trial:
    """Two recordings, and whether the same person speaks in both. source: the row's place."""

    first: RecordingPart
    second: RecordingPart
    same: bool
    source: str


def read(path: str | Path) -> tuple[Trial, ...]:
    """Every pair of a list, in order.

    Raises InputError, naming the line, for a pair that is broken or whose recording is missing.
    """
    return _trials(path, records.strict)


def scan(path: str | Path) -> tuple[tuple[Trial, ...], tuple[str, ...]]:
    """The pairs of a list that can be used, and one line for each that cannot.

    Raises InputError only where nothing is left: no such list, or no usable pair.
    """
    return records.scanned(lambda refuse: _trials(path, refuse))


def lists_pairs(path: str | Path) -> bool:
    """Whether a manifest is a list of pairs, by its first line; raises InputError where there is none."""
    manifest = records.existing(path)
    if manifest.is_dir() or manifest.suffix.lower() in AUDIO_SUFFIXES:
        return False
    if manifest.suffix.lower() == ".txt":
        return True
    for _, values in records.entries(manifest, lambda problem: None, (*_FIRST, *PATH), "`first` and `second`"):
        return not any(name in values for name in PATH) and any(name in values for name in _FIRST)
    return False


def _trials(path: str | Path, refuse: Refuse) -> tuple[Trial, ...]:
    manifest = records.existing(path)
    listed = manifest.suffix.lower() == ".txt"
    entries = _list(manifest, refuse) if listed else records.entries(manifest, refuse, _FIRST, _PAIR)
    trials = []
    for source, values in entries:
        try:
            trials.append(_trial(manifest, source, values))
        except InputError as error:
            refuse(str(error))
    if not trials:
        raise InputError(f"{path}: no pairs; each needs {_PAIR}")
    return tuple(trials)


def _trial(manifest: Path, source: str, values: Mapping[str, object]) -> Trial:
    first, second = (records.file_of(values, names, source, manifest.parent) for names in (_FIRST, _SECOND))
    same = (records.word_of(values, _SAME, source) or "").lower()
    if first is None or second is None or same not in (*_YES, *_NO):
        raise InputError(f"{source}: a pair needs {_PAIR}, which is true or false")
    return Trial(RecordingPart(first), RecordingPart(second), same in _YES, source)


def _list(path: Path, refuse: Refuse) -> Iterator[Record]:
    for number, line in enumerate(records.read_text(path).split("\n"), 1):
        fields = line.split()
        if len(fields) == 3:
            yield f"{path}:{number}", dict(zip(("same", "first", "second"), fields))
        elif fields:
            refuse(f"{path}:{number}: a pair is `1 first.wav second.wav` (1: the same speaker, 0: not)")

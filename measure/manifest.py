"""Read MANIFEST: recordings with their text, speaker or class.

JSON Lines with at least ``path`` (relative to the file) and ``text``; a .tsv or .csv with a header line that names the
same columns; or a folder of audio with a .txt of the same name beside each recording. The names that NeMo
(``audio_filepath``), Hugging Face audio folders (``file_name``, ``transcription``) and Common Voice (``sentence``) use
are understood too, and NeMo's ``offset`` and ``duration`` of a part of a recording. A classifier's manifest has
``label`` in place of ``text``, a diarizer's ``rttm``, a regression's ``values`` such as ``{"arousal": 0.4}``; a speaker
model's ``speaker``, or it is a list of pairs (``trial_list``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..runtime.audio import media
from ..runtime.audio.parts import RecordingPart
from ..runtime.errors import InputError
from ..runtime.escape import one_line
from . import records
from .records import Record, Refuse

AUDIO_SUFFIXES = media.SUFFIXES | frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64"}
)
"""Endings of audio files in a folder; other files there are ignored."""

Need = Literal["text", "label", "rttm", "values", "speaker"]
"""What each row must have besides its recording."""

Part = Literal["train", "dev", "test"]
"""What a split is for: to learn from, to choose by, or only to be measured."""
_PARTS: Mapping[str, Part] = {
    "train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test", "eval": "test"
}  # fmt: skip
"""The word that a split's name begins with, in small letters, and what the split is for."""

PATH = ("path", "audio_filepath", "file_name")
"""Names of the column with the recording; the first is ours."""
TEXT = ("text", "sentence", "transcription")
_SECONDS = ("seconds", "duration")


@dataclass(frozen=True)
class Row:
    """One recording and its references."""

    path: Path
    """The audio file."""
    text: str
    """The text that is spoken; empty where nothing is, or where the manifest has no text."""
    corpus: str
    """The corpus to report it under: the row's ``corpus``, else the manifest's name."""
    source: str
    """The row's place, such as ``test.jsonl:12``."""
    seconds: float | None = None
    """Its length where the manifest gives it."""
    language: str | None = None
    speaker: str | None = None
    split: str | None = None
    label: str | None = None
    """Its class, for a classifier."""
    rttm: Path | None = None
    """Who speaks when, for a diarizer."""
    values: Mapping[str, float] | None = None
    """A number for each label, for a regression."""
    offset: float | None = None
    """Where the part of the recording begins that it is of; None where only its length is given, or nothing."""

    @property
    def audio(self) -> RecordingPart:
        """What of its recording it is of, to be read."""
        return RecordingPart(self.path, self.offset, self.seconds)


def part_of(split: str) -> Part | None:
    """What a split is for by the word that its name begins with (``Test``, ``dev-clean``); None for another word."""
    return _PARTS.get(re.split(r"[^a-z]", split.lower(), maxsplit=1)[0])


def read(path: str | Path, *, split: str | None = None, need: Need | None = "text") -> tuple[Row, ...]:
    """Every row of a manifest, in order; only those of one ``split`` when it is named.

    need: what each row must have (None: a recording is enough). Raises InputError, naming the line, for the first row
    that is broken or whose recording is missing, and for a manifest without rows.
    """
    return _rows(path, split, need, records.strict)


def scan(
    path: str | Path, *, split: str | None = None, need: Need | None = "text"
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The rows of a manifest that can be used, and one line for each that cannot.

    Raises InputError only where nothing is left: no such manifest, or no usable row.
    """
    return records.scanned(lambda refuse: _rows(path, split, need, refuse))


def recordings(path: str | Path, refuse: Refuse) -> Iterator[tuple[str, str, RecordingPart]]:
    """The place and the name of each recording of a manifest, there or not, and what of it to read.

    No other field is needed. A line that does not begin with ``{`` is a name, so that a list of names is a manifest
    too. refuse: called with one line for each row that names no recording. Raises InputError where the manifest cannot
    be read.
    """
    manifest = records.existing(path)
    if manifest.is_dir():
        for found in _audio(manifest):
            yield str(found), str(found.relative_to(manifest)), RecordingPart(found)
        return
    _check_no_recording(manifest)
    is_table = manifest.suffix.lower() in records.TABLES
    entries = records.table(manifest, refuse, PATH, "`path`") if is_table else _lines(manifest, refuse)
    for source, values in entries:
        try:
            name = _name(source, values)
            yield source, name, RecordingPart(manifest.parent / name, *_part(source, values))
        except InputError as error:
            refuse(str(error))


def _rows(path: str | Path, split: str | None, need: Need | None, refuse: Refuse) -> tuple[Row, ...]:
    manifest = records.existing(path)
    if manifest.is_dir():
        entries = _folder(manifest, need, refuse)
    else:
        _check_no_recording(manifest)
        entries = records.entries(manifest, refuse, PATH, "`path` and `text`")
    rows = []
    for source, values in entries:
        try:
            if split is not None and records.word_of(values, ["split"], source) != split:
                continue  # its recording may not have been copied
            rows.append(_row(manifest, source, values, need))
        except InputError as error:
            refuse(str(error))
    if not rows:
        which = f" of split {split!r}" if split is not None else ""
        raise InputError(f"{manifest}: no usable row{which}; it needs recordings with `path` and `{need or 'text'}`")
    return tuple(rows)


def _check_no_recording(manifest: Path) -> None:
    if manifest.suffix.lower() in AUDIO_SUFFIXES:
        raise InputError(f"{manifest}: is a recording; a manifest is JSON Lines, .tsv, .csv or a folder")


def _lines(manifest: Path, refuse: Refuse) -> Iterator[Record]:
    """Lines of JSON or of names."""
    for number, line in enumerate(records.read_text(manifest).split("\n"), 1):
        source, name = f"{manifest}:{number}", line.strip()
        if not name:
            continue
        try:
            yield source, records.json_object(line) if name.startswith("{") else {PATH[0]: name}
        except InputError as error:
            refuse(f"{source}: {error}")


def _name(source: str, values: Mapping[str, object]) -> str:
    _, name = records.first(values, PATH)
    if not isinstance(name, str) or not name:
        raise InputError(f"{source}: no `path` of a recording")
    try:
        possible = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise InputError(f"{source}: {one_line(name)[:80]}: not a possible file name")
    return name


def _part(source: str, values: Mapping[str, object]) -> tuple[float | None, float | None]:
    """Where the part of a recording begins that a row is of, and its length; both None: all of the recording.

    NeMo reads no more of a file than the row's ``duration``, and all of it where that is 0.
    """
    offset = records.seconds_of(values, ["offset"], source)
    seconds = records.seconds_of(values, _SECONDS, source) or None
    if values.get("channel"):
        raise InputError(f"{source}: `channel` names one channel of a recording; write it to a file of its own")
    return (offset or None if seconds is None else offset), seconds


def _row(manifest: Path, source: str, values: Mapping[str, object], need: Need | None) -> Row:
    folder = manifest if manifest.is_dir() else manifest.parent
    wanted = f"each row needs `path` and `{need or 'text'}`"
    if not records.text_of(values, PATH, source):
        raise InputError(f"{source}: no `path`; {wanted}")
    text, label = records.text_of(values, TEXT, source), records.word_of(values, ["label"], source)
    if (need == "text" and text is None) or (need == "label" and label is None):
        raise InputError(f"{source}: no `{need}`; {wanted}")
    path = records.file_of(values, PATH, source, folder)
    rttm = records.file_of(values, ["rttm"], source, folder)
    numbers = records.numbers_of(values, "values", source)
    speaker = records.word_of(values, ["speaker"], source)
    if (need == "rttm" and rttm is None) or (need == "values" and not numbers) or (need == "speaker" and not speaker):
        raise InputError(f"{source}: no `{need}`; {wanted}")
    assert path is not None
    name = manifest.name if manifest.is_dir() else manifest.stem
    corpus = records.word_of(values, ["corpus"], source) or name
    offset, seconds = _part(source, values)
    language, split = (records.word_of(values, [key], source) for key in ("language", "split"))
    return Row(path, text or "", corpus, source, seconds, language, speaker, split, label, rttm, numbers, offset)


def _audio(folder: Path) -> Iterator[Path]:
    """The recordings of a folder and of the folders in it, in order."""
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())


def _folder(folder: Path, need: Need | None, refuse: Refuse) -> Iterator[Record]:
    for path in _audio(folder):
        beside, rttm = path.with_suffix(".txt"), path.with_suffix(".rttm")
        values: dict[str, object] = {"path": str(path.relative_to(folder))}
        if rttm.is_file():
            values["rttm"] = str(rttm.relative_to(folder))
        if need == "label":  # as Hugging Face audio folders: a folder for each class
            values["label"] = path.parent.name
        if beside.is_file():
            try:
                values["text"] = " ".join(records.read_text(beside, records.MAX_LINE).split())
            except InputError as error:
                refuse(str(error))
                continue
        elif need == "text":
            refuse(f"{path}: no {beside.name} beside it with what is said")
            continue
        yield str(path), values

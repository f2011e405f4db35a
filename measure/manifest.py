"""Read MANIFEST: which recordings there are and what is said in them.

JSON Lines with at least ``path`` (relative to the file) and ``text``; a .tsv or .csv with a header line that names the
same columns; or a folder of audio with a .txt of the same name beside each recording. The names that NeMo
(``audio_filepath``), Hugging Face audio folders (``file_name``, ``transcription``) and Common Voice (``sentence``) use
are understood too.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.audio import media
from ..runtime.errors import InputError

AUDIO_SUFFIXES = media.SUFFIXES | frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64"}
)
"""What counts as audio in a folder; anything else there is left alone."""

_PATH = ("path", "audio_filepath", "file_name")
_TEXT = ("text", "sentence", "transcription")
_SECONDS = ("seconds", "duration")


@dataclass(frozen=True)
class Row:
    """One recording and its text.

    path: where it lies. text: what is said (empty: nothing is). corpus: what to report it under; the manifest's name
    where it names none. seconds: its length where known. source: where this row stands, such as ``test.jsonl:12``.
    """

    path: Path
    text: str
    corpus: str
    source: str
    seconds: float | None = None
    language: str | None = None
    speaker: str | None = None
    split: str | None = None


def read(path: str | Path, *, split: str | None = None, need_text: bool = True) -> tuple[Row, ...]:
    """Every row of a manifest, in order; only those of one ``split`` when it is named.

    Raises InputError, naming the line, for the first row that is broken or whose recording is missing, and for a
    manifest without rows.
    """

    def refuse(problem: str) -> None:
        raise InputError(problem)

    return _rows(path, split, need_text, refuse)


def scan(
    path: str | Path, *, split: str | None = None, need_text: bool = True
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The rows of a manifest that can be used, and one line for each that cannot.

    Raises InputError only where nothing is left: no such manifest, or no usable row.
    """
    problems: list[str] = []
    try:
        return _rows(path, split, need_text, problems.append), tuple(problems)
    except InputError as error:
        raise InputError("; ".join([*problems[:3], str(error)])) from None


def _rows(path: str | Path, split: str | None, need_text: bool, refuse: Callable[[str], None]) -> tuple[Row, ...]:
    manifest = Path(path)
    if not manifest.exists():
        raise InputError(f"{manifest}: no such manifest")
    if manifest.is_dir():
        entries = _folder(manifest, need_text, refuse)
    elif manifest.suffix.lower() in (".tsv", ".csv"):
        entries = _table(manifest, refuse)
    elif manifest.suffix.lower() in AUDIO_SUFFIXES:
        raise InputError(f"{manifest}: is a recording; a manifest is JSON Lines, .tsv, .csv or a folder")
    else:
        entries = _json_lines(manifest, refuse)
    rows = []
    for source, values in entries:
        if split is not None and _optional(values, "split") != split:
            continue  # its recording may not have been copied
        try:
            row = _row(manifest, source, values, need_text)
        except InputError as error:
            refuse(str(error))
            continue
        rows.append(row)
    if not rows:
        which = f" of split {split!r}" if split is not None else ""
        raise InputError(f"{manifest}: no usable row{which}; it needs recordings with `path` and `text`")
    return tuple(rows)


def _row(manifest: Path, source: str, values: Mapping[str, Any], need_text: bool) -> Row:
    name = _first(values, _PATH)
    if not isinstance(name, str) or not name:
        raise InputError(f"{source}: no `path`; each row needs `path` and `text`")
    text = _first(values, _TEXT)
    if text is None and need_text:
        raise InputError(f"{source}: no `text`; each row needs `path` and `text`")
    if not isinstance(text or "", str):
        raise InputError(f"{source}: `text` must be a string, it is {json.dumps(text)[:40]}")
    base = manifest if manifest.is_dir() else manifest.parent
    path = base / name
    if not path.is_file():
        kind = "is a directory" if path.is_dir() else "no such file"
        raise InputError(f"{source}: {path}: {kind}; paths are relative to the manifest")
    seconds = _first(values, _SECONDS)
    try:
        length = float(seconds) if seconds not in (None, "") else None
    except (TypeError, ValueError):
        raise InputError(f"{source}: `seconds` must be a number, it is {json.dumps(seconds)[:40]}") from None
    corpus = str(values.get("corpus") or (manifest.name if manifest.is_dir() else manifest.stem))
    language, speaker, split = (_optional(values, key) for key in ("language", "speaker", "split"))
    return Row(path, text or "", corpus, source, length, language, speaker, split)


def _optional(values: Mapping[str, Any], key: str) -> str | None:
    return str(values[key]) if values.get(key) not in (None, "") else None


def _first(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _text(manifest: Path) -> str:
    try:
        return manifest.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{manifest}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{manifest}: cannot be read ({error.strerror or error})") from error


def _json_lines(manifest: Path, refuse: Callable[[str], None]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(_text(manifest).split("\n"), 1):
        if not line.strip():
            continue
        source = f"{manifest}:{number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            refuse(f"{source}: broken JSON ({error.msg} at column {error.colno}); each line is one JSON object")
            continue
        if not isinstance(values, dict):
            refuse(f"{source}: not a JSON object; each line is one, with `path` and `text`")
            continue
        yield source, values


def _table(manifest: Path, refuse: Callable[[str], None]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    lines = io.StringIO(_text(manifest))
    if manifest.suffix.lower() == ".tsv":  # a quote mark is text there, as in Common Voice's files
        table = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        table = csv.reader(lines)
    header = next(_cells(manifest, table), [])
    if not set(header) & set(_PATH):
        raise InputError(f"{manifest}:1: no header that names the columns `path` and `text`")
    before = table.line_num
    for cells in _cells(manifest, table):
        number, before = before + 1, table.line_num
        if not cells:
            continue
        if len(cells) != len(header):
            refuse(f"{manifest}:{number}: {len(cells)} columns where the header names {len(header)}")
            continue
        yield f"{manifest}:{number}", dict(zip(header, cells))


def _cells(manifest: Path, table: Any) -> Iterator[list[str]]:
    try:
        yield from table
    except csv.Error as error:
        raise InputError(f"{manifest}:{table.line_num}: cannot be read ({error}; a quote too many?)") from None


def _folder(folder: Path, need_text: bool, refuse: Callable[[str], None]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in AUDIO_SUFFIXES or not path.is_file():
            continue
        beside = path.with_suffix(".txt")
        text: str | None = None
        if beside.is_file():
            try:
                text = " ".join(_text(beside).split())
            except InputError as error:
                refuse(str(error))
                continue
        elif need_text:
            refuse(f"{path}: no {beside.name} beside it with what is said")
            continue
        yield str(path), {"path": str(path.relative_to(folder)), "text": text}

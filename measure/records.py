"""Files of records that people write by hand or by script: JSON Lines and tables, read within bounds.

A record is a mapping of names to values, with its place, such as ``test.jsonl:12``. Damaged and malicious files raise
InputError and nothing else.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..runtime.errors import InputError
from ..runtime.escape import one_line

if TYPE_CHECKING:
    from _csv import Reader

MAX_BYTES = 256 * 2**20
"""Largest file: a million rows have about 200 MB."""
MAX_LINE = 2**20
"""Longest line, in characters: the text of an hour of speech has about 60 000."""
MAX_DEPTH = 20
"""Deepest nesting of a JSON line: a manifest needs one level."""

Record = tuple[str, Mapping[str, object]]
Refuse = Callable[[str], None]
"""Called with one line for each record that cannot be used; it may raise."""
Found = TypeVar("Found")
TABLES = (".tsv", ".csv")
"""Endings of tables; other files are JSON Lines."""


def strict(problem: str) -> None:
    """A ``Refuse`` that raises InputError."""
    raise InputError(problem)


def scanned(read: Callable[[Refuse], Found]) -> tuple[Found, tuple[str, ...]]:
    """What ``read`` gives, and a line for each record that it refused; its own InputError begins with three of them."""
    problems: list[str] = []
    try:
        return read(problems.append), tuple(problems)
    except InputError as error:
        raise InputError("; ".join([*problems[:3], str(error)])) from None


def existing(path: str | Path) -> Path:
    """The path of a manifest; raises InputError where there is none."""
    manifest = Path(path)
    try:
        there = manifest.exists()
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError(f"{manifest}: no such manifest")
    return manifest


def entries(manifest: Path, refuse: Refuse, needed: tuple[str, ...], named: str) -> Iterator[Record]:
    """The records of a table or of JSON Lines, by the file's ending; see ``table`` for the arguments."""
    if manifest.suffix.lower() in TABLES:
        return table(manifest, refuse, needed, named)
    return json_lines(manifest, refuse)


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """A UTF-8 file, with or without a byte order mark; raises InputError."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > max_bytes:
        raise InputError(f"{path}: more than {max_bytes / 2**20:g} MB; split it")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def json_lines(path: Path, refuse: Refuse) -> Iterator[Record]:
    """The objects of a JSON Lines file."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        source = f"{path}:{number}"
        try:
            yield source, json_object(line)
        except InputError as error:
            refuse(f"{source}: {error}")


def json_object(line: str) -> Mapping[str, object]:
    """The object in a line of JSON; raises InputError."""
    if len(line) > MAX_LINE:
        raise InputError(f"{len(line)} characters in a line; at most {MAX_LINE} are read")
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"broken JSON ({error.msg} at column {error.colno}); each line is one JSON object") from None
    except RecursionError:
        raise InputError("nested too deeply; each line is one JSON object") from None
    except ValueError as error:  # a number of too many digits
        raise InputError(f"broken JSON ({one_line(str(error))[:80]})") from None
    if not isinstance(values, dict):
        raise InputError("not a JSON object; each line is one")
    if _depth(values) > MAX_DEPTH:
        raise InputError(f"nested more than {MAX_DEPTH} deep; each line is one JSON object")
    return values


def _depth(values: object) -> int:
    """Levels of lists and objects, counted one past the limit at most."""
    depth, level = 0, [values]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
            if isinstance(inner, (dict, list))
        ]
    return depth


def table(path: Path, refuse: Refuse, needed: Sequence[str], named: str) -> Iterator[Record]:
    """The rows of a .tsv or .csv whose first line names the columns.

    needed: names of which the header has at least one; named: how to say which columns there should be.
    """
    lines = io.StringIO(read_text(path))
    if path.suffix.lower() == ".tsv":  # a quote mark is text there, as in Common Voice's files
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines)
    rows = _rows(path, reader)
    _, header = next(rows, (0, []))
    if not set(header) & set(needed):
        raise InputError(f"{path}:1: no header that names the columns {named}")
    before = reader.line_num
    for line_number, cells in rows:
        number, before = before + 1, line_number
        if not cells:
            continue
        if len(cells) != len(header):
            refuse(f"{path}:{number}: {len(cells)} columns where the header names {len(header)}")
            continue
        yield f"{path}:{number}", dict(zip(header, cells))


def _rows(path: Path, reader: Reader) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their last line."""
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path}:{reader.line_num}: cannot be read ({error}; a quote too many?)") from None
        if cells is None:
            return
        yield reader.line_num, cells


def text_of(values: Mapping[str, object], names: Sequence[str], source: str) -> str | None:
    """The text under the first of the names that has a value; None without; raises InputError for another type."""
    name, value = first(values, names)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{source}: `{name}` must be a string, it is {_shown(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value) or "\0" in value:
        raise InputError(f"{source}: `{name}` is not valid text (lone surrogates or zero bytes)")
    return value


def word_of(values: Mapping[str, object], names: Sequence[str], source: str) -> str | None:
    """As ``text_of``, but numbers and booleans are accepted too, and an empty string is not a value."""
    name, value = first(values, names)
    if isinstance(value, (bool, int, float)):
        return str(value)
    return text_of({name: value}, [name], source) or None


def seconds_of(values: Mapping[str, object], names: Sequence[str], source: str) -> float | None:
    """The number of seconds under the first of the names that has a value; raises InputError for anything else."""
    name, value = first(values, names)
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, (int, float, str)) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise InputError(f"{source}: `{name}` must be a number of seconds, it is {_shown(value)}")
    return number


def numbers_of(values: Mapping[str, object], name: str, source: str) -> dict[str, float] | None:
    """The object of finite numbers under a name; None without; raises InputError for anything else."""
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InputError(f"{source}: `{name}` must be an object of numbers, it is {_shown(value)}")
    numbers: dict[str, float] = {}
    for key, number in value.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) < 1e300:
            raise InputError(
                f"{source}: `{name}` of {one_line(str(key))[:40]} must be a number, it is {_shown(number)}"
            )
        numbers[str(key)] = float(number)
    return numbers


def file_of(values: Mapping[str, object], names: Sequence[str], source: str, folder: Path) -> Path | None:
    """The file under the first of the names that has a value, relative to ``folder``; raises InputError."""
    name = text_of(values, names, source)
    if not name:
        return None
    path = folder / name
    try:
        there, kind = path.is_file(), "is a directory" if path.is_dir() else "no such file"
    except (OSError, ValueError):  # too long, or with characters that the system does not allow
        raise InputError(f"{source}: {one_line(name)[:80]}…: not a possible file name") from None
    if not there:
        raise InputError(f"{source}: {one_line(str(path))}: {kind}; paths are relative to the manifest")
    return path


def first(values: Mapping[str, object], names: Sequence[str]) -> tuple[str, object]:
    """The first of the names that has a value, and the value; the first name and None where none has."""
    return next(((name, values[name]) for name in names if values.get(name) is not None), (names[0], None))


def _shown(value: object) -> str:
    try:
        return json.dumps(value)[:40]
    except ValueError:  # an integer of too many digits
        return type(value).__name__

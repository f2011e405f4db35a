"""JSON documents as types: read them with checks, and write a JSON Schema of them.

A document is a TypedDict. ``check`` takes one that came from outside: a value of another type is an InputError that
names the field, so no later code has to check. Fields that the type does not have are ignored.
"""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from .errors import InputError, first_line

Document = TypeVar("Document")
Built = TypeVar("Built")

MAX_BYTES = 64 * 2**20
"""Largest file that is read: a benchmark of 1 000 configurations at 4 lengths has about 10 MB."""
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


def read(
    path: Path, kind: type[Document], what: str, *, max_bytes: int = MAX_BYTES, error: type[InputError] = InputError
) -> Document:
    """The document in a file; raises ``error``, which says that the file is not ``what``."""
    return check(read_json(path, what, max_bytes=max_bytes, error=error), kind, f"{path}: not {what}", error=error)


def read_json(path: Path, what: str, *, max_bytes: int = MAX_BYTES, error: type[InputError] = InputError) -> object:
    """A file's JSON value, within bounds; raises ``error``, which says that the file is not ``what``."""
    return json_of(read_bytes(path, what, max_bytes=max_bytes, error=error), path, what, error=error)


def read_bytes(path: Path, what: str, *, max_bytes: int, error: type[InputError] = InputError) -> bytes:
    """A document's bytes, within bounds; raises ``error`` as ``read_json``."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as reason:
        why = reason.strerror or first_line(reason)
        raise error(f"{path}: cannot be read as JSON ({why}), so it is not {what}") from reason
    if len(content) > max_bytes:
        raise error(f"{path}: more than {max_bytes >> 20} MB, so it is not {what}")
    return content


def json_of(content: bytes, path: Path, what: str, *, error: type[InputError] = InputError) -> object:
    """The JSON value in the bytes of a file at ``path``; raises ``error`` as ``read_json``."""
    try:
        return cast(object, json.loads(content.decode("utf-8-sig")))
    except (ValueError, RecursionError) as reason:
        raise error(f"{path}: cannot be read as JSON ({first_line(reason)}), so it is not {what}") from reason


def check(
    value: object, kind: type[Document], where: str, *, path: str = "", error: type[InputError] = InputError
) -> Document:
    """A value as the type it should have; raises ``error`` with the path of the first field that has another.

    kind: a TypedDict, or a dataclass whose fields the value may hold. path: where the value is in its document.
    """
    try:
        _check(value, kind, where, path)
    except InputError as refusal:
        raise error(str(refusal)) from None
    return cast(Document, value)


def build(kind: type[Built], values: Mapping[str, object]) -> Built:
    """A dataclass from a checked document: keys that it has no field for are ignored, and lists become tuples.

    Lists of a dataclass of their own become tuples of it.
    """
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is not a dataclass")
    known = {field.name for field in fields(kind)}
    make = cast("Callable[..., Built]", kind)
    given = {name: value for name, value in values.items() if name in known}
    inner = {name: _item_of(hint) for name, hint in _hints(kind).items() if name in given}
    return make(**{name: _built(value, inner[name]) for name, value in given.items()})


@functools.cache
def _hints(kind: object) -> dict[str, object]:
    """The types of a class's fields, which take a while to evaluate; every document of a kind asks for them."""
    return get_type_hints(kind)


def _item_of(kind: object) -> type | None:
    """The dataclass that a tuple has items of; None where it has others."""
    item = get_args(kind)[0] if get_origin(kind) is tuple and get_args(kind) else None
    return item if isinstance(item, type) and is_dataclass(item) else None


def _built(value: object, kind: type | None) -> object:
    if kind is None or not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return _frozen(value)
    return tuple(build(kind, item) for item in value)


def _frozen(value: object) -> object:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _check(value: object, kind: object, where: str, path: str) -> None:
    origin = get_origin(kind)
    if kind is object:
        return
    if origin in (Union, types.UnionType):
        _check_union(value, get_args(kind), where, path)
    elif origin is Literal:
        if value not in get_args(kind):
            _refuse(where, path, f"one of {', '.join(map(str, get_args(kind)))}", value)
    elif origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            _refuse(where, path, "a list", value)
        for number, item in enumerate(cast("list[object]", value)):
            _check(item, get_args(kind)[0], where, f"{path}[{number}]")
    elif origin is dict or is_typeddict(kind) or is_dataclass(kind):
        _check_object(value, kind, where, path)
    elif not _is_a(value, kind):
        _refuse(where, path, _name(kind), value)


def _check_union(value: object, kinds: tuple[object, ...], where: str, path: str) -> None:
    if value is None and type(None) in kinds:
        return
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        _check(value, others[0], where, path)
    elif not any(_is_a(value, kind) for kind in others):
        _refuse(where, path, " or ".join(_name(kind) for kind in others), value)


def _check_object(value: object, kind: object, where: str, path: str) -> None:
    if not isinstance(value, dict):
        _refuse(where, path, "an object", value)
    found = cast("dict[str, object]", value)
    if get_origin(kind) is dict:
        keys, values = get_args(kind)
        for key, item in found.items():
            _check(key, keys, where, f"{path}.{key}, the name")
            _check(item, values, where, f"{path}.{key}")
        return
    required = _required(kind)
    for name, inner in _hints(kind).items():
        if name in found:
            _check(found[name], inner, where, f"{path}.{name}")
        elif name in required:
            _refuse(where, f"{path}.{name}", "a value", None)


def _required(kind: object) -> frozenset[str]:
    """The fields that a TypedDict must have, and those of a dataclass that have no default."""
    if isinstance(kind, type) and is_dataclass(kind):
        return frozenset(
            field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
        )
    return frozenset(getattr(kind, "__required_keys__", ()))


def _name(kind: object) -> str:
    return _NAMES[kind] if isinstance(kind, type) else str(kind)


def _is_a(value: object, kind: object) -> bool:
    assert isinstance(kind, type)
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int) and abs(value) >= 2**63:  # no size, count or time; arithmetic with it would overflow
        return False
    return isinstance(value, (int, float)) if kind is float else isinstance(value, kind)


def _refuse(where: str, path: str, wanted: str, value: object) -> None:
    shown = json.dumps(value, default=repr) if not isinstance(value, (dict, list)) else type(value).__name__
    raise InputError(f"{where} ({path.lstrip('.') or 'the document'} must be {wanted}, it is {shown[:40]})")


def schema(kind: object) -> dict[str, object]:
    """A JSON Schema (draft 2020-12) of a document's type, for readers in other languages."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema(kind)}


def _schema(kind: object) -> dict[str, object]:
    origin = get_origin(kind)
    if kind is object:
        return {}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(inner) for inner in get_args(kind)]}
    if origin is Literal:
        return {"enum": list(get_args(kind))}
    if origin is list:
        return {"type": "array", "items": _schema(get_args(kind)[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(get_args(kind)[1])}
    if is_typeddict(kind):
        properties = {name: _schema(inner) for name, inner in _hints(kind).items()}
        return {"type": "object", "properties": properties, "required": sorted(_required(kind))}
    names = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    assert isinstance(kind, type)
    return {"type": names[kind]}

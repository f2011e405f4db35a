"""Damage, as disks, networks, editors and attackers do it: to bytes, to JSON values, to names."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from numpy.random import Generator

Json = object
Choice = TypeVar("Choice")

NAMES: tuple[str, ...] = (
    "", ".", "..", "../secret.fifo", "../victim.txt", "/etc/passwd", "/dev/zero", "/proc/self/mem", "a" * 300,
    "x/" * 3000,
    "\0", "a\0b", "\n", "\x1b[2J", "\ud800", "CON", "a\\b", "C:\\x", "~", "~root/x", "file://../victim.txt",
    "x%00y", " ", "a b",
    "bundle.json", "fp32.data", "vocab.json", "é", "e\u0301", "\u202egnp", "-rf", "--help",
)  # fmt: skip
"""File names that lead elsewhere, or nowhere."""

NUMBERS: tuple[object, ...] = (
    0, 1, -1, 2, 3, 7, 255, 256, 65_536, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**18, 10**30, 10**400,
    0.5, -0.0, 1e-320,
    1e300, float("nan"), float("inf"), float("-inf"), True, False,
)  # fmt: skip

_MARKS = (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80")
"""Sizes and counts that parsers stumble over."""

TEXTS: tuple[str, ...] = (
    "", " ", "0", "1", "-1", "1e9", "nan", "true", "null", "०", "９", "٣", "a", "<pad>", "|", "▁", "\ufeff",
    "\u2028", "ﬀ", "İ",
    "ß", "x" * 5000, "%s%n", "{0}", "(a+)+$", "[", "*", "\\", "=1+1", "@x", "<b>", "&lt;", "```", "\r\n", "-->",
)  # fmt: skip


def pick(random: Generator, choices: Sequence[Choice]) -> Choice:
    """One of some choices."""
    return choices[int(random.integers(len(choices)))]


def value(random: Generator, depth: int = 0) -> Json:
    """Any JSON value, mostly an unpleasant one."""
    ways: list[Callable[[], Json]] = [
        lambda: pick(random, NUMBERS),
        lambda: pick(random, TEXTS),
        lambda: pick(random, NAMES),
        lambda: None,
        lambda: int(random.integers(-10, 1000)),
        lambda: float(random.normal(0, 100)),
        lambda: "".join(chr(int(code)) for code in random.integers(1, 0x2FF, int(random.integers(0, 20)))),
    ]
    if depth < 3:
        ways += [
            lambda: [value(random, depth + 1) for _ in range(int(random.integers(0, 4)))],
            lambda: {str(pick(random, TEXTS)): value(random, depth + 1) for _ in range(int(random.integers(0, 4)))},
            lambda: nested(int(random.integers(2, 300)), random.random() < 0.5),
            lambda: [pick(random, NUMBERS)] * int(random.integers(1, 3000)),
        ]
    return pick(random, ways)()


def nested(depth: int, lists: bool) -> Json:
    """Lists in lists, or objects in objects."""
    inner: Json = 0
    for _ in range(depth):
        inner = [inner] if lists else {"a": inner}
    return inner


def edited(random: Generator, document: Json, times: int = 1) -> Json:
    """A copy of a JSON document with so many places changed, removed, doubled or renamed."""
    copy: Json = json.loads(json.dumps(document))
    for _ in range(times):
        if not isinstance(copy, (dict, list)) or not copy:
            return copy
        _edit(random, copy)
    return copy


def _edit(random: Generator, place: Json) -> None:
    """Change one place below a list or an object."""
    while isinstance(place, (dict, list)) and place:
        key = pick(random, list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and random.random() < 0.75:
            place = inner
            continue
        way = int(random.integers(8))
        if way == 0:
            del place[key]
        elif way == 1 and isinstance(place, dict):
            place[pick(random, TEXTS + NAMES)] = place.pop(key)
        elif way == 2 and isinstance(place, list):
            place.append(inner)
        elif way == 3 and isinstance(place, dict):
            place[pick(random, TEXTS + NAMES)] = value(random)
        elif way == 4 and isinstance(inner, (int, float)) and not isinstance(inner, bool) and abs(inner) < 10**300:
            place[key] = pick(random, (inner + 1, -inner, inner * 2, inner * 1000, 0, str(inner), float(inner)))
        elif way == 5 and isinstance(inner, str):
            place[key] = pick(random, (inner + "x", inner.upper(), "", inner[::-1], [inner], inner * 50))
        else:
            place[key] = value(random)
        return


def written(random: Generator, document: Json) -> bytes:
    """A document as text, now and then with another encoding, doubled keys, or damage."""
    text = json.dumps(document, ensure_ascii=random.random() < 0.7)
    data = text.encode("utf-8", "surrogatepass")
    way = int(random.integers(12))
    if way == 0:
        return b"\xef\xbb\xbf" + data
    if way == 1:
        return text.encode("utf-16", "surrogatepass")
    if way == 2:
        return damaged(random, data)
    if way == 4 and random.random() < 0.3:
        return pick(random, (b"[" * 100_000, b'{"a":' * 50_000, b"1" * 6000, b'{"format": 1e999}', b"\0", b""))
    if way == 3 and data.startswith(b"{") and len(data) > 2:
        return data[:-1] + b"," + data[1:]  # every key twice
    return data


def damaged(random: Generator, data: bytes, other: bytes = b"") -> bytes:
    """Bytes with a few places cut, overwritten, repeated, or replaced by those of another file."""
    for _ in range(int(random.integers(1, 4))):
        if len(data) < 2:
            break
        start, end = sorted(int(place) for place in random.integers(0, len(data), 2))
        head = int(random.integers(0, min(200, len(data))))
        first, last = data[:start], data[end:]
        noise, mark = random.bytes(4), pick(random, _MARKS)
        data = pick(
            random,
            (
                data[:head] + noise[:1] + data[head + 1 :],
                data[:head] + noise + data[head + 4 :],
                data[:head] + mark + data[head + 4 :],
                data[:end],
                first + last,
                first + random.bytes(end - start) + last,
                first + bytes(end - start) + last,
                first + (other or data)[:end] + data[start:],
                data + (other or data),
                first + bytes([data[start] ^ 1 << int(random.integers(8))]) + data[start + 1 :],
                noise * int(random.integers(1, 10)) + data,
            ),
        )
    return data

"""Plans in the cache directory: found by what they were made from, used only when whole and tested.

A file is a mark, one header line of JSON, then the plan. Graph, stage, profiles and GPU are in the file's name; the
versions of library and driver are in the header, so that the reason for a rebuild can be stated. Files appear by
rename, under a lock that the system releases when the process ends.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ... import cache
from ...bundle.spec import Stage
from .._profiles import ShapeProfile

_MARK = b"wav2edge engine 1\n"


@dataclass(frozen=True)
class Key:
    """What a plan was made from.

    graph: SHA-256 of the ONNX file and of each weight file. gpu, capability, driver: None for a portable plan.
    """

    graph: tuple[str, ...]
    stage: Stage
    library: str
    version: str
    profiles: tuple[ShapeProfile, ...]
    gpu: str | None = None
    capability: str | None = None
    driver: str | None = None

    def to_json(self) -> dict[str, object]:
        """The key as plain JSON values."""
        document: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(self)))
        return document

    @property
    def path(self) -> Path:
        """The plan's file, whether or not it exists, in a folder that others cannot write to.

        Raises InputError as ``cache.directory``: a plan is code that is run.
        """
        same = {name: value for name, value in self.to_json().items() if name not in ("version", "driver")}
        return cache.directory("engines") / f"{self.library}-{cache.key(same)}.engine"


@dataclass(frozen=True)
class Found:
    """What the cache holds for a key.

    plan: the engine, None where it has to be built. proven: whether it passed the selftest on a GPU.
    reason: why a file that is there is not used.
    """

    plan: bytes | None = None
    proven: bool = False
    reason: str | None = None


def read(key: Key) -> Found:
    """Look a plan up; a truncated, outdated or unrelated file is never used, and the reason is returned.

    Raises InputError for a cache that others may write to.
    """
    try:
        content = key.path.read_bytes()
    except FileNotFoundError:
        return Found()
    except OSError as error:
        return Found(reason=f"the cached engine cannot be read ({error.strerror})")
    mark, _, rest = content.partition(b"\n")
    header, separator, plan = rest.partition(b"\n")
    if mark + b"\n" != _MARK or not separator:
        return Found(reason="the cached file is not an engine of wav2edge")
    try:
        values = json.loads(header)
        made_of, size, digest = values["key"], int(values["bytes"]), str(values["sha256"])
        proven = bool(values["proven"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Found(reason="the cached engine's header is damaged")
    if changed := _changes(made_of, key.to_json()):
        return Found(reason=f"the cached engine was made with {changed}")
    if len(plan) != size:
        return Found(reason=f"the cached engine is truncated ({len(plan)} of {size} bytes)")
    if hashlib.sha256(plan).hexdigest() != digest:
        return Found(reason="the cached engine is damaged (wrong SHA-256)")
    return Found(plan, proven)


def write(key: Key, plan: bytes, *, proven: bool) -> None:
    """Keep a plan; raises InputError where the cache cannot be written, or others may write to it."""
    header = {
        "key": key.to_json(),
        "bytes": len(plan),
        "sha256": hashlib.sha256(plan).hexdigest(),
        "proven": proven,
    }
    cache.atomic_write(key.path, _MARK + json.dumps(header).encode("ascii") + b"\n" + plan)


def _changes(old: object, new: Mapping[str, object]) -> str:
    if not isinstance(old, dict):
        return "another key"
    differences = [name for name in new if old.get(name) != new[name]]
    return ", ".join(f"{name} {old.get(name)}, here it is {new[name]}" for name in differences)

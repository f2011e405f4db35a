"""A corpus in shards: one output for each recording, resumed where it stopped, failures listed and not fatal.

Which shard a recording belongs to follows from its name alone, so shards can run anywhere in any order. A recording
that has its output is not run again; one that failed before is tried again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict, cast

from ..measure import records
from ..runtime.audio.channels import Channel
from ..runtime.audio.raw import RawFormat
from ..runtime.audio.read import AudioSource, Recording
from ..runtime.errors import InputError
from ..runtime.files import write_whole
from ..runtime.recordings.batch import transcribe_all
from ..runtime.recordings.transcriber import Transcriber
from ..runtime.text import formats
from ..runtime.text.formats import CaptionLayout
from ..runtime.text.transcript import Transcript

RESULTS = "results"
"""The folder of the lists with the status of each recording, inside the output folder; one list for each shard."""

MANIFEST = "results.jsonl"
"""The same of the whole corpus, one line for each recording, in the corpus's order."""


class CorpusOutcome(TypedDict):
    """The status of one recording."""

    path: str
    output: str | None
    status: Literal["done", "in part", "failed"]
    seconds: float
    message: str


@dataclass(frozen=True)
class Shard:
    """One of several parts: ``number`` from 1 to ``of``."""

    number: int = 1
    of: int = 1

    @classmethod
    def parsed(cls, text: str) -> Shard:
        """``3/16`` as a shard; raises InputError for anything else."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise InputError(f"shard {text}: write N/M, such as 3/16, with N from 1 to M")
        return cls(int(number), int(of))

    def holds(self, name: str) -> bool:
        """Whether a recording belongs to it."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}-of-{self.of}"


@dataclass(frozen=True)
class Reading:
    """How the recordings of a corpus are read, and their captions laid out."""

    channel: Channel = "mix"
    """What is taken of several channels."""

    raw: RawFormat | None = None
    """How samples without a header are written; None for files that have one."""

    layout: CaptionLayout = field(default_factory=CaptionLayout)


@dataclass(frozen=True)
class CorpusItem:
    """A recording of a corpus: its name as the manifest has it, where it is, and where its output goes."""

    name: str
    path: Path
    output: Path


def items(manifest: Path, output: Path, suffix: str) -> list[CorpusItem]:
    """The recordings of a JSON Lines manifest (``path``, relative to it) or of a list of names, one a line.

    Raises InputError where it cannot be read, a line names no recording, or two name the same.
    """
    lines = records.read_text(manifest).split("\n")
    found: dict[Path, CorpusItem] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = _name(line, f"{manifest}:{number}")
        path = manifest.parent / name  # `a.wav` and `./a.wav` are one recording
        if path in found:
            raise InputError(f"{manifest}:{number}: {name} occurs twice")
        found[path] = CorpusItem(name, path, output / _output(name, suffix))
    if not found:
        raise InputError(f"{manifest}: it names no recording")
    return list(found.values())


def pending(all_items: Iterable[CorpusItem], shard: Shard, output: Path) -> list[CorpusItem]:
    """The recordings of a shard that have no output yet, or that no list names (a run was killed between the two)."""
    listed = {outcome["path"] for outcome in outcomes(output)}
    return [item for item in all_items if shard.holds(item.name) and not (item.name in listed and item.output.exists())]


def run(
    transcriber: Transcriber,
    chosen: Sequence[CorpusItem],
    results: Path,
    form: str = "json",
    *,
    batch: int = 1,
    reading: Reading | None = None,
) -> Iterator[CorpusOutcome]:
    """Transcribe recordings, write their outputs, and add a line for each to ``results``; raises EngineError."""
    how = reading or Reading()

    def opened(source: AudioSource) -> tuple[Recording]:
        return (transcriber.open_recording(source, channel=how.channel, raw=how.raw),)

    by_path = {str(item.path): item for item in chosen}
    for result in transcribe_all(transcriber, [str(item.path) for item in chosen], batch=batch, opened=opened):
        item = by_path[str(result.source)]
        outcome = outcome_of(item, result.transcript, str(result.error or ""), form, how.layout)
        note(results, outcome)
        yield outcome


def note(results: Path, outcome: CorpusOutcome) -> None:
    """Add a line to a list, which only one process writes."""
    add_line(results, json.dumps(outcome))


def add_line(path: Path, line: str) -> None:
    """Add a line to a file; one that a killed process left without its end stays a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
            file.write(b"\n")
        file.write(line.encode("utf-8") + b"\n")


def outcome_of(
    item: CorpusItem, transcript: Transcript | None, error: str, form: str, layout: CaptionLayout | None = None
) -> CorpusOutcome:
    """Write a recording's output, whole or not at all, and return its status."""
    if transcript is None:
        return CorpusOutcome(path=item.name, output=None, status="failed", seconds=0.0, message=error)
    item.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(item.output, formats.get(form).render(transcript, item.name, layout or CaptionLayout()))
    return CorpusOutcome(
        path=item.name,
        output=item.output.name,
        status="done" if transcript.complete else "in part",
        seconds=round(transcript.seconds, 3),
        message="; ".join(transcript.warnings),
    )


def outcomes(output: Path) -> list[CorpusOutcome]:
    """The last status of every recording so far, from the lists of all shards."""
    last: dict[str, CorpusOutcome] = {}
    for path in sorted((output / RESULTS).glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            try:
                values = json.loads(line)
            except ValueError:
                continue  # a shard that was killed while it wrote
            outcome = cast(CorpusOutcome, values)
            if last.get(outcome["path"], outcome)["status"] == "failed" or outcome["status"] != "failed":
                last[outcome["path"]] = outcome
    return list(last.values())


def write_manifest(output: Path, all_items: Iterable[CorpusItem]) -> Path:
    """Write the last outcome of each recording that has one, as one list; returns its file."""
    known = {outcome["path"]: outcome for outcome in outcomes(output)}
    lines = [json.dumps(known[item.name]) + "\n" for item in all_items if item.name in known]
    write_whole(output / MANIFEST, "".join(lines))
    return output / MANIFEST


def _name(line: str, where: str) -> str:
    if not line.lstrip().startswith("{"):
        return line.strip()
    try:
        values = json.loads(line)
    except ValueError:
        raise InputError(f"{where}: not one JSON object") from None
    name = values.get("path")
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}: it has no path")
    return name


def _output(name: str, suffix: str) -> Path:
    """The name of a recording's output: the recording's, and a digest, so that no two are equal."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return Path(f"{Path(name).stem[:80]}-{digest}{suffix}")

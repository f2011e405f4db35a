"""A corpus in shards: one output for each recording, resumed where it stopped, failures listed and not fatal.

Which shard a recording belongs to follows from its name alone, so shards can run anywhere in any order. A recording
that has its output is not run again; one that failed before is tried again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Literal, TypedDict, cast

from ..measure.manifest import recordings
from ..measure.records import Refuse, scanned, strict
from ..runtime.audio.channels import Channel
from ..runtime.audio.parts import RecordingPart
from ..runtime.audio.raw import RawFormat
from ..runtime.audio.read import AudioSource, Recording
from ..runtime.cache import read_json
from ..runtime.errors import InputError
from ..runtime.files import write_output, write_whole
from ..runtime.recordings.batch import transcribe_all
from ..runtime.recordings.transcriber import Transcriber
from ..runtime.text import formats
from ..runtime.text.formats import CaptionLayout
from ..runtime.text.transcript import Transcript

RESULTS = "results"
"""The folder of the lists with the status of each recording, inside the output folder; one list for each shard."""

MANIFEST = "results.jsonl"
"""The same of the whole corpus, one line for each recording, in the corpus's order."""


CONTENTS = "contents"
"""The name among a folder's settings under which is what others of them stand for."""


class CorpusOutcome(TypedDict):
    """The status of one recording."""

    path: str
    output: str | None
    status: Literal["done", "in part", "failed"]
    seconds: float
    message: str
    time: float
    """When it was so, in seconds since 1970."""


_STEM_CHARACTERS = 80
_NAME_BYTES = 255  # of a name, in the file systems of Linux (path_resolution(7), NAME_MAX)

_FIELDS: Mapping[str, tuple[type, ...]] = {
    "path": (str,),
    "output": (str, NoneType),
    "status": (str,),
    "seconds": (int, float),
    "message": (str,),
    "time": (int, float),
}


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
    """A recording of a corpus: its name, what of it is read, and where its output goes.

    name: as the manifest has it; of a part with its place, such as ``talk.wav#t=12.5,20``.
    """

    name: str
    audio: RecordingPart
    output: Path


def items(manifest: Path, output: Path, suffix: str) -> list[CorpusItem]:
    """The recordings of a manifest (``measure.manifest``) or of a list of names, one a line.

    Raises InputError where it cannot be read, a row names no recording, or two name the same.
    """
    return _items(manifest, output, suffix, strict)


def scan_items(manifest: Path, output: Path, suffix: str) -> tuple[list[CorpusItem], tuple[str, ...]]:
    """As ``items``, but with one line for each row that names no recording.

    Raises InputError where nothing is left, and where two rows name the same recording.
    """
    return scanned(lambda refuse: _items(manifest, output, suffix, refuse))


def pending(all_items: Iterable[CorpusItem], shard: Shard, output: Path) -> list[CorpusItem]:
    """The recordings of a shard that have no output yet, or that no list names (a run was killed between the two)."""
    mine = [item for item in all_items if shard.holds(item.name)]
    written = {outcome["path"] for outcome in outcomes(output, mine) if outcome["status"] != "failed"}
    return [item for item in mine if item.name not in written]


def other_settings(
    output: Path, form: str, settings: Mapping[str, object], all_items: Iterable[CorpusItem]
) -> tuple[str, ...]:
    """The names of the settings with which the transcripts in a folder were made otherwise; empty where none were.

    settings: JSON values that decide what transcripts hold; they are kept in the folder for later runs where no
    transcript contradicts them. Under ``CONTENTS`` is, by their names, what some of them stand for, such as the lines
    of a file: it is compared in place of the file's name, except with a folder that has none, of an older version.
    form: of the outputs, each of which has its own settings.
    """
    path = output / RESULTS / f"settings-{form}.json"
    wanted = json.loads(json.dumps(settings))
    before = read_json(path) or {}
    changed = tuple(name for name in wanted if name != CONTENTS and _differs(name, wanted, before))
    if changed and any(outcome["status"] != "failed" for outcome in outcomes(output, all_items)):
        return changed
    if wanted != before:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(wanted, indent=1) + "\n")
    return ()


def _differs(name: str, wanted: Mapping[str, object], before: Mapping[str, object]) -> bool:
    then, now = before.get(CONTENTS), wanted.get(CONTENTS)
    if isinstance(then, dict) and isinstance(now, dict) and name in then and name in now:
        return bool(then[name] != now[name])
    return before.get(name, wanted[name]) != wanted[name]


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

    of = {item.audio: item for item in chosen}
    for result in transcribe_all(transcriber, list(of), batch=batch, opened=opened):
        assert isinstance(result.source, RecordingPart)
        item = of[result.source]
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
    """Write a recording's output, whole or not at all, and return its status.

    Raises OSError where the outputs of other recordings cannot be written either, such as on a full disk.
    """
    if transcript is not None:
        # A line of jsonl names its recording for readers who do not know the folder of the corpus.
        name = str(item.audio.path) if form == "jsonl" else item.name
        text = formats.get(form).render(transcript, name, layout or CaptionLayout())
        item.output.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_output(item.output, text, str(item.audio.path))
        except InputError as problem:
            error = str(problem)
    if transcript is None or error:
        return CorpusOutcome(
            path=item.name, output=None, status="failed", seconds=0.0, message=error, time=round(time.time(), 3)
        )
    return CorpusOutcome(
        path=item.name,
        output=item.output.name,
        status="done" if transcript.complete else "in part",
        seconds=round(transcript.seconds, 3),
        message="; ".join(transcript.warnings),
        time=round(time.time(), 3),
    )


def outcomes(output: Path, all_items: Iterable[CorpusItem]) -> list[CorpusOutcome]:
    """The status of each recording that has one, in the corpus's order, from the lists of all shards.

    It is that of the last transcript while its output exists, else the last failure.
    """
    listed = _listed(output)
    found = (_status(item, listed.get(item.name, ())) for item in all_items)
    return [outcome for outcome in found if outcome is not None]


def write_manifest(output: Path, all_items: Iterable[CorpusItem]) -> Path:
    """Write the status of each recording that has one, as one list; returns its file."""
    write_whole(output / MANIFEST, "".join(json.dumps(outcome) + "\n" for outcome in outcomes(output, all_items)))
    return output / MANIFEST


def _status(item: CorpusItem, tries: Sequence[CorpusOutcome]) -> CorpusOutcome | None:
    """tries: what the lists say of the recording, oldest first."""
    written = [outcome for outcome in tries if outcome["output"] == item.output.name]
    if written and os.path.isfile(item.output):
        return written[-1]
    of_this_output = [outcome for outcome in tries if outcome["output"] in (None, item.output.name)]
    return of_this_output[-1] if of_this_output and of_this_output[-1]["status"] == "failed" else None


def _listed(output: Path) -> dict[str, list[CorpusOutcome]]:
    """The lines of all lists by recording, oldest first."""
    lines: list[tuple[float, CorpusOutcome]] = []
    for path in sorted((output / RESULTS).glob("*.jsonl")):
        when = 0.0
        for line in path.read_text("utf-8", errors="replace").splitlines():
            outcome = _outcome(line)
            if outcome is not None:
                when = max(when, outcome["time"])  # in one list the order is that of the lines, whatever the clock did
                lines.append((when, outcome))
    found: dict[str, list[CorpusOutcome]] = {}
    for _, outcome in sorted(lines, key=lambda each: each[0]):
        found.setdefault(outcome["path"], []).append(outcome)
    return found


def _outcome(line: str) -> CorpusOutcome | None:
    """A line of a list; None for a damaged one, such as that of a shard which was killed while it wrote."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    values.setdefault("time", 0.0)  # a list without times counts as the oldest
    for name, kinds in _FIELDS.items():
        if not isinstance(values.get(name), kinds):
            return None
    return cast(CorpusOutcome, values)


def _items(manifest: Path, output: Path, suffix: str, refuse: Refuse) -> list[CorpusItem]:
    found: dict[Path, CorpusItem] = {}
    for source, name, audio in recordings(manifest, refuse):
        stem, name = Path(name).stem[:_STEM_CHARACTERS] + audio.place, name + audio.place
        path = Path(str(audio))  # `a.wav` and `./a.wav` are one recording
        if path in found:
            raise InputError(f"{source}: {name} occurs twice")
        found[path] = CorpusItem(name, audio, output / _output(stem, name, suffix))
    if not found:
        raise InputError(f"{manifest}: it names no recording")
    return list(found.values())


def _output(stem: str, name: str, suffix: str) -> Path:
    """The name of a recording's output: the recording's stem, and a digest, so that no two are equal."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    end = f"-{digest}{suffix}"
    while len(os.fsencode(stem + end)) > _NAME_BYTES:
        stem = stem[:-1]
    return Path(stem + end)

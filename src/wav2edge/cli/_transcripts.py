"""Write transcripts to standard output or to a file for each recording; and expand the names of recordings."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime import escape, files
from wav2edge.runtime.errors import InputError

from . import _options, _terminal

if TYPE_CHECKING:
    from wav2edge.runtime.audio.read import AudioSource as Source
    from wav2edge.runtime.recordings.batch import Result
    from wav2edge.runtime.text.formats import CaptionLayout, Format
    from wav2edge.runtime.text.transcript import Segment

_REFERENCES = (".txt", ".rttm")
"""Endings of what is said in a recording, and of who speaks when (``measure.manifest``)."""


def inputs(names: Sequence[str]) -> list[Source]:
    """The recordings that the arguments name, in order: patterns expanded, ``-`` as standard input.

    A pattern that fits nothing stays as it is, and is then reported as a missing file. Raises InputError where ``-``
    comes twice.
    """
    found: list[Source] = []
    if list(names).count("-") > 1:
        raise InputError("-: standard input is named twice, and can be read once")
    for name in names:
        if name == "-":
            if sys.stdin is None:
                raise InputError("-: standard input is closed; pipe a recording in")
            found.append(sys.stdin.buffer)
        elif glob.has_magic(name) and not os.path.exists(name):
            found += sorted(glob.glob(name, recursive=True)) or [name]
        else:
            found.append(name)
    return found


def named(source: Source) -> str:
    """A recording's name as the user gave it."""
    return str(source) if isinstance(source, (str, Path)) else "-"


class Printer:
    """Prints transcripts: text as it comes, everything else when a recording is done."""

    def __init__(self, format_name: str, layout: CaptionLayout, several: bool, each_channel: bool) -> None:
        """Prepare to print on standard output; with several recordings each line of text names its own.

        Of several channels the text comes one channel after the other, each line with its channel's number.
        """
        from wav2edge.runtime.text import formats

        self._format = formats.get(format_name)
        self._text = format_name == "text"
        self._json = format_name in ("json", "jsonl")
        self._array = (several or each_channel) and format_name == "json"
        self._layout = layout
        self._several = several
        self._each_channel = each_channel
        self._count = 0

    def segment(self, source: Source, segment: Segment) -> None:
        """Print a segment of text."""
        if self._text and not self._each_channel:
            name = f"{escape.one_line(named(source))}: " if self._several else ""
            _terminal.out(f"{name}{escape.one_line(segment.text)}")

    def result(self, result: Result) -> None:
        """Print a whole transcript; several JSON documents become one array."""
        if result.transcript is None:
            return
        if self._text:
            self._channel(result)
            return
        text = self._format.render(result.transcript, named(result.source), self._layout)
        if self._array:
            text = ("[\n" if self._count == 0 else ",\n") + text.rstrip("\n")
        self._count += 1
        _terminal.out(text, end="", as_json=self._json)

    def _channel(self, result: Result) -> None:
        if self._each_channel and result.transcript is not None:
            name = f"{escape.one_line(named(result.source))}, " if self._several else ""
            for segment in result.transcript.segments:
                _terminal.out(f"{name}channel {result.channel}: {escape.one_line(segment.text)}")

    def __enter__(self) -> Printer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._array:
            _terminal.out("\n]" if self._count else "[]")


class TranscriptFiles:
    """Writes a file for each recording, whole or not at all."""

    def __init__(
        self, directory: Path, form: Format, layout: CaptionLayout, sources: Sequence[Source], each_channel: bool
    ) -> None:
        """Make the directory; raises InputError where it cannot be written.

        Of several channels each has its file: ``talk.ch1.srt``, ``talk.ch2.srt``.
        """
        self._each_channel = each_channel
        self._directory = directory
        self._format = form
        self._layout = layout
        self._names = output_names([named(source) for source in sources], form.SUFFIX)
        check_references(self._names, directory)
        _options.make_folder(str(directory))

    def segment(self, source: Source, segment: Segment) -> None:
        """Nothing: files are written whole."""

    def result(self, result: Result) -> None:
        """Write a recording's file.

        Raises InputError where it cannot be written, and OSError where the files of the others cannot be either.
        """
        if result.transcript is None:
            return
        path = self._directory / self._names[named(result.source)]
        if self._each_channel:
            path = path.with_name(f"{path.name.removesuffix(self._format.SUFFIX)}.ch{result.channel}{path.suffix}")
        text = self._format.render(result.transcript, named(result.source), self._layout)
        files.write_output(path, text, named(result.source))

    def __enter__(self) -> TranscriptFiles:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""


def writer(
    format: str, output: str | None, layout: CaptionLayout, sources: Sequence[Source], each_channel: bool
) -> Printer | TranscriptFiles:
    """A Printer or TranscriptFiles for the options; raises InputError where they contradict each other."""
    from wav2edge.runtime.text import formats

    if format == "jsonl" and any(named(source) == "-" for source in sources):
        raise InputError(
            "standard input as jsonl: a line of a manifest names its recording; name a file, or use -f json"
        )
    if output is not None:
        return TranscriptFiles(Path(output), formats.get(format), layout, sources, each_channel)
    if (len(sources) > 1 or each_channel) and format in ("srt", "vtt", "tsv"):
        what = f"{len(sources)} recordings" if len(sources) > 1 else "each channel"
        raise InputError(f"{what} as {format}: add -o DIR, one file is written for each")
    return Printer(format, layout, len(sources) > 1, each_channel)


def check_references(names: Mapping[str, str], directory: Path) -> None:
    """Raise InputError where a file to be written is the reference beside its recording, as in a folder of data.

    names: of the files in ``directory``, by recording (``output_names``).
    """
    for name, file in names.items():
        path, beside = directory / file, Path(name).with_suffix(Path(file).suffix)
        if beside.suffix in _REFERENCES and path.exists() and os.path.realpath(path) == os.path.realpath(beside):
            raise InputError(f"{path}: exists beside its recording; choose another folder, or move it away")


def output_names(names: Sequence[str], suffix: str) -> dict[str, str]:
    """A file name for each recording: its stem, or more of its name where two share a stem."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        path = Path("stdin" if name == "-" else name)
        parts = [part for part in path.parts if part != path.anchor]
        candidates = [path.stem, path.name, *("-".join(parts[-n:]) for n in range(2, len(parts) + 1))]
        candidates += [f"{path.stem}-{number}" for number in range(2, len(names) + 2)]
        shared = sum(Path(other).stem == path.stem for other in dict.fromkeys(names)) > 1
        chosen = next(stem for stem in candidates[1 if shared else 0 :] if stem + suffix not in taken)
        taken.add(chosen + suffix)
        result[name] = chosen + suffix
    return result

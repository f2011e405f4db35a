"""``wav2edge transcribe AUDIO…``: transcribe recordings of any length and format."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime import escape
from wav2edge.runtime.errors import InputError

from . import _decoding, _foreign, _options, _terminal
from ._command import COUNT, Choice, Number, argument, command, gathered, option
from ._decoding import Cut, Words
from ._options import OUTPUT, One
from ._progress import Progress

if TYPE_CHECKING:
    from wav2edge.runtime.audio.read import AudioSource as Source
    from wav2edge.runtime.recordings.batch import Result
    from wav2edge.runtime.text.formats import Format, Layout
    from wav2edge.runtime.text.transcript import Segment

_SUBTITLES = "Segments and subtitles"


@dataclass(frozen=True)
class Lines:
    """How words become segments and lines."""

    pause: float
    max_line_width: int
    max_line_count: int
    max_words_per_cue: int | None


def _formats() -> tuple[str, ...]:
    from wav2edge.runtime.text import formats

    return formats.names()


@command(
    "wav2edge transcribe talk.wav",
    "wav2edge transcribe talk.mp3 -m my-bundle",
    "wav2edge transcribe talks/*.flac -m my-bundle -f srt -o subtitles  # a subtitle file for each",
    "wav2edge transcribe call.wav -f json --hotwords 'espresso,oat milk'",
)
@argument(
    "audio",
    "recordings; patterns such as 'talks/*.mp3' too; - for standard input",
    metavar="AUDIO…",
    nargs=-1,
    required=True,
    type=_options.FILE,
)
@option("-f", "--format", "output format (default: text)", group=OUTPUT, type=Choice(_formats), default="text")
@option(
    "-o",
    "--output",
    "write DIR/<recording>.<format> instead of printing",
    group=OUTPUT,
    metavar="DIR",
    type=_options.FILE,
)
@_options.model()
@_options.one_engine
@option(
    "--batch",
    "chunks run at once as one batch; for GPUs (default: 1)",
    group=_options.MODEL,
    metavar="N",
    type=COUNT,
    default=1,
)
@gathered(
    Lines,
    "lines",
    option(
        "--pause",
        "silence that ends a segment, in seconds (default: 0.6)",
        group=_SUBTITLES,
        metavar="S",
        type=Number(float, 0, 600, "seconds", above=True),
        default=0.6,
    ),
    option(
        "--max-line-width", "characters in a line (default: 42)", group=_SUBTITLES, metavar="N", type=COUNT, default=42
    ),
    option("--max-line-count", "lines in a cue (default: 2)", group=_SUBTITLES, metavar="N", type=COUNT, default=2),
    option(
        "--max-words-per-cue", "words in a cue (default: as many as fit)", group=_SUBTITLES, metavar="N", type=COUNT
    ),
)
@_decoding.cut
@_decoding.words
def run(
    audio: tuple[str, ...],
    format: str,
    output: str | None,
    model: str | None,
    one: One,
    batch: int,
    lines: Lines,
    cut: Cut,
    words: Words,
) -> int:
    """Transcribe recordings of any length and format.

    Prints the text as it comes, or writes subtitles (srt, vtt), tables (tsv) or JSON with a time for each word.
    A recording that cannot be used is named in one line, the others are transcribed, and the exit code is 2. So it is
    where a recording is damaged or cut short: it is transcribed as far as it can be decoded.
    """
    from wav2edge.runtime.model import SMALL_BYTES
    from wav2edge.runtime.recordings.batch import lanes, transcribe_all
    from wav2edge.runtime.recordings.segmentation import Segmentation
    from wav2edge.runtime.recordings.transcriber import Transcriber
    from wav2edge.runtime.text import formats

    from ._memory import give_back_large_blocks

    chunking, segmentation = cut.chunking(), Segmentation(lines.pause)
    layout = formats.Layout(lines.max_line_width, lines.max_line_count, lines.max_words_per_cue)
    sources = inputs(audio)
    if len(sources) > 1 and output is None and format in ("srt", "vtt", "tsv"):
        raise InputError(f"{len(sources)} recordings as {format}: add -o DIR, one file is written for each")
    bundle = _options.open_bundle(model)
    opened = _options.open_model(one, bundle)
    writer: Printer | Files
    if output is None:
        writer = Printer(format, layout, len(sources) > 1)
    else:
        writer = Files(Path(output), formats.get(format), layout, sources)
    failed = in_part = 0
    with contextlib.ExitStack() as stack:
        if any(_may_be_mp3(source) for source in sources):
            stack.enter_context(_foreign.without_lines(_foreign.MP3_DECODER))
        at_once = lanes(opened.engine, opened.variant, sources, chunking) if batch == 1 else 1
        if opened.variant.bytes <= SMALL_BYTES:  # the engine keeps no pool of its own for it
            give_back_large_blocks()
        transcriber = stack.enter_context(
            Transcriber(
                opened,
                decoder=words.decoder(bundle),
                chunking=chunking,
                segmentation=segmentation,
                lanes=at_once,
            )
        )
        progress = stack.enter_context(Progress())
        stack.enter_context(writer)
        results = transcribe_all(
            transcriber,
            sources,
            batch=batch,
            on_segment=writer.segment,
            on_progress=lambda source, done, total: progress.update(
                f"{sources.index(source) + 1}/{len(sources)} {os.path.basename(named(source))}", done, total, "seconds"
            ),
        )
        for result in results:
            progress.clear()
            if result.error is not None:
                failed += 1
                _terminal.note(str(result.error))
            else:
                writer.result(result)
            if result.transcript is not None:
                for line in result.transcript.warnings:
                    _terminal.note(f"{named(result.source)}: {line}")
                in_part += not result.transcript.complete
    if (failed or in_part) and len(sources) > 1:
        counts = [f"{len(sources) - failed - in_part} of {len(sources)} recordings transcribed"]
        counts += [f"{in_part} only in part"] if in_part else []
        counts += [f"{failed} could not be used"] if failed else []
        _terminal.note(", ".join(counts))
    return 2 if failed or in_part else 0


def _may_be_mp3(source: Source) -> bool:
    return not isinstance(source, (str, Path)) or str(source).lower().endswith((".mp3", ".mp2", ".mpga"))


def inputs(names: Sequence[str]) -> list[Source]:
    """The recordings that the arguments name, in order: patterns expanded, ``-`` as standard input.

    A pattern that fits nothing stays as it is, and is then reported as a missing file.
    """
    found: list[Source] = []
    for name in names:
        if name == "-":
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

    def __init__(self, format_name: str, layout: Layout, several: bool) -> None:
        """Prepare to print on standard output; with several recordings each line of text names its own."""
        from wav2edge.runtime.text import formats

        self._format = formats.get(format_name)
        self._text = format_name == "text"
        self._array = several and format_name == "json"
        self._layout = layout
        self._several = several
        self._count = 0

    def segment(self, source: Source, segment: Segment) -> None:
        """Print a segment of text."""
        if self._text:
            name = f"{escape.one_line(named(source))}: " if self._several else ""
            _terminal.out(f"{name}{escape.one_line(segment.text)}")

    def result(self, result: Result) -> None:
        """Print a whole transcript; several JSON documents become one array."""
        if self._text or result.transcript is None:
            return
        text = self._format.render(result.transcript, named(result.source), self._layout)
        if self._array:
            text = ("[\n" if self._count == 0 else ",\n") + text.rstrip("\n")
        self._count += 1
        _terminal.out(text, end="")

    def __enter__(self) -> Printer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._array:
            _terminal.out("\n]" if self._count else "[]")


class Files:
    """Writes a file for each recording, whole or not at all."""

    def __init__(self, directory: Path, form: Format, layout: Layout, sources: Sequence[Source]) -> None:
        """Make the directory; raises InputError where it cannot be written."""
        self._directory = directory
        self._format = form
        self._layout = layout
        self._names = output_names([named(source) for source in sources], form.SUFFIX)
        for source in sources:  # the reference beside a recording of a folder of data
            path = directory / self._names[named(source)]
            if form.SUFFIX == ".txt" and path == Path(named(source)).with_suffix(".txt") and path.exists():
                raise InputError(f"{path}: exists beside its recording; choose another folder, or move it away")
        _options.make_folder(str(directory))

    def segment(self, source: Source, segment: Segment) -> None:
        """Nothing: files are written whole."""

    def result(self, result: Result) -> None:
        """Write a recording's file."""
        if result.transcript is None:
            return
        from wav2edge.runtime import files

        path = self._directory / self._names[named(result.source)]
        files.write_whole(path, self._format.render(result.transcript, named(result.source), self._layout))

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""


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

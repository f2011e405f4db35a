"""``wav2edge transcribe AUDIO…``: recordings in, text, subtitles or JSON out."""

from __future__ import annotations

import argparse
import glob
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from wav2edge.cli import _decoding, _options
from wav2edge.cli._progress import Progress

if TYPE_CHECKING:
    from wav2edge.runtime.audio.read import AudioSource as Source
    from wav2edge.runtime.recordings.batch import Result
    from wav2edge.runtime.text.formats import Format, Layout
    from wav2edge.runtime.text.transcript import Segment

HELP = "transcribe recordings: any length, any format"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    from wav2edge.runtime.text import formats

    parser.add_argument(
        "audio", nargs="+", metavar="AUDIO", help="recordings; patterns such as 'talks/*.mp3' too; - for standard input"
    )
    _options.add_model(parser)
    parser.add_argument("-f", "--format", choices=formats.names(), default="text", help="output format (default: text)")
    parser.add_argument("-o", "--output", metavar="DIR", help="write DIR/<recording>.<format> instead of printing")
    _options.add_engine(parser)
    parser.add_argument(
        "--batch", type=_options.positive, default=1, metavar="N", help="windows run at once, for GPUs (default: 1)"
    )
    group = parser.add_argument_group("segments and subtitles")
    group.add_argument(
        "--pause", type=float, default=0.6, metavar="S", help="silence that ends a segment (default: 0.6)"
    )
    group.add_argument(
        "--max-line-width", type=_options.positive, default=42, metavar="N", help="default: 42 characters"
    )
    group.add_argument(
        "--max-line-count", type=_options.positive, default=2, metavar="N", help="lines a cue (default: 2)"
    )
    group.add_argument("--max-words-per-cue", type=_options.positive, metavar="N", help="default: as many as fit")
    _decoding.add_chunking(parser)
    _decoding.add_language_model(parser)


def run(arguments: argparse.Namespace) -> int:
    """Transcribe each recording; those that cannot be used are named, and make the exit code 2."""
    from wav2edge.cli._memory import give_back_large_blocks
    from wav2edge.cli._quiet import QuietTranscriber, without_decoder_lines
    from wav2edge.runtime.errors import InputError
    from wav2edge.runtime.model import SMALL_BYTES
    from wav2edge.runtime.recordings.batch import lanes, transcribe_all
    from wav2edge.runtime.recordings.chunking import Chunking
    from wav2edge.runtime.recordings.segmentation import Segmentation
    from wav2edge.runtime.text import formats

    chunking, segmentation = Chunking(arguments.window, arguments.context), Segmentation(arguments.pause)
    layout = formats.Layout(arguments.max_line_width, arguments.max_line_count, arguments.max_words_per_cue)
    sources = inputs(arguments.audio)
    if len(sources) > 1 and arguments.output is None and arguments.format in ("srt", "vtt", "tsv"):
        raise InputError(f"{len(sources)} recordings as {arguments.format}: add -o DIR, one file is written for each")
    bundle = _options.open_bundle(arguments.model)
    model = _options.open_model(arguments, bundle)
    progress = Progress()
    writer: Printer | Files
    if arguments.output is None:
        writer = Printer(arguments.format, layout, len(sources) > 1, progress)
    else:
        writer = Files(Path(arguments.output), formats.get(arguments.format), layout, sources)
    with without_decoder_lines():
        at_once = lanes(model.engine, model.variant, sources, chunking) if arguments.batch == 1 else 1
    if model.variant.bytes <= SMALL_BYTES:  # the engine keeps no pool of its own for it
        give_back_large_blocks()
    failed = 0
    with (
        QuietTranscriber(
            model,
            decoder=_decoding.decoder(arguments, bundle),
            chunking=chunking,
            segmentation=segmentation,
            lanes=at_once,
        ) as transcriber,
        writer,
    ):
        results = transcribe_all(
            transcriber,
            sources,
            batch=arguments.batch,
            on_segment=writer.segment,
            on_progress=lambda source, done, total: progress.update(
                f"{sources.index(source) + 1}/{len(sources)} {os.path.basename(named(source))}", done, total
            ),
        )
        for result in results:
            progress.clear()
            if result.error is not None:
                failed += 1
                progress.say(str(result.error))
            else:
                writer.result(result)
    if failed and len(sources) > 1:
        progress.say(f"{len(sources) - failed} of {len(sources)} recordings transcribed, {failed} could not be used")
    return 2 if failed else 0


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

    def __init__(self, format_name: str, layout: Layout, several: bool, progress: Progress) -> None:
        """Prepare to print on standard output; with several recordings each line of text names its own."""
        from wav2edge.runtime.text import formats

        self._format = formats.get(format_name)
        self._text = format_name == "text"
        self._array = several and format_name == "json"
        self._layout = layout
        self._several = several
        self._progress = progress
        self._count = 0

    def segment(self, source: Source, segment: Segment) -> None:
        """Print a segment of text."""
        if self._text:
            self._progress.clear()
            print(f"{named(source)}: {segment.text}" if self._several else segment.text, flush=True)

    def result(self, result: Result) -> None:
        """Print a whole transcript; several JSON documents become one array."""
        if self._text or result.transcript is None:
            return
        text = self._format.render(result.transcript, named(result.source), self._layout)
        if self._array:
            text = ("[\n" if self._count == 0 else ",\n") + text.rstrip("\n")
        self._count += 1
        sys.stdout.write(text)
        sys.stdout.flush()

    def __enter__(self) -> Printer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._array:
            sys.stdout.write("\n]\n" if self._count else "[]\n")


class Files:
    """Writes a file for each recording, whole or not at all."""

    def __init__(self, directory: Path, form: Format, layout: Layout, sources: Sequence[Source]) -> None:
        """Make the directory; raises InputError where it cannot be written."""
        from wav2edge.runtime.errors import InputError

        self._directory = directory
        self._format = form
        self._layout = layout
        self._names = output_names([named(source) for source in sources], form.SUFFIX)
        for source in sources:  # the reference beside a recording of a folder of data
            path = directory / self._names[named(source)]
            if form.SUFFIX == ".txt" and path == Path(named(source)).with_suffix(".txt") and path.exists():
                raise InputError(f"{path}: exists beside its recording; choose another folder, or move it away")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise InputError(f"{directory}: cannot be written ({error.strerror}); choose a writable place") from error

    def segment(self, source: Source, segment: Segment) -> None:
        """Nothing: files are written whole."""

    def result(self, result: Result) -> None:
        """Write a recording's file."""
        if result.transcript is None:
            return
        path = self._directory / self._names[named(result.source)]
        write_whole(path, self._format.render(result.transcript, named(result.source), self._layout))

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


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        file: TextIO
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

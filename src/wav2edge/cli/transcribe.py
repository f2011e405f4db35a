"""``wav2edge transcribe AUDIO…``: transcribe recordings of any length and format."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime.errors import InputError

from . import _corpus, _decoding, _each, _foreign, _options, _sound, _terminal, _transcripts
from ._command import command, gathered, option
from ._corpus import CorpusOptions
from ._decoding import Cut, Words
from ._options import OUTPUT, One
from ._progress import Progress
from ._sound import Held
from ._transcripts import Printer, TranscriptFiles, inputs, named
from ._values import COUNT, Number, OneOf

if TYPE_CHECKING:
    from wav2edge.runtime.audio.read import AudioSource as Source
    from wav2edge.runtime.recordings.batch import Result
    from wav2edge.runtime.text.formats import CaptionLayout

_SUBTITLES = "Segments and subtitles"


@dataclass(frozen=True)
class LineOptions:
    """How words become segments and lines."""

    pause: float
    max_line_width: int | None
    max_line_count: int | None
    max_words_per_cue: int | None

    def layout(self, form: str) -> CaptionLayout:
        """How subtitles are laid out; raises InputError for options that another format has no use for."""
        from wav2edge.runtime.text.formats import CaptionLayout

        names = ("max_line_width", "max_line_count", "max_words_per_cue")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if form not in ("srt", "vtt"):
            for name in given:
                raise InputError(f"--{name.replace('_', '-')} is for subtitles; add -f srt or -f vtt")
        return CaptionLayout(**given)


def _formats() -> tuple[str, ...]:
    from wav2edge.runtime.text import formats

    return formats.names()


@command(
    "wav2edge transcribe talk.wav",
    "wav2edge transcribe talk.mp3 -m my-bundle",
    "wav2edge transcribe talks/*.flac -m my-bundle -f srt -o subtitles  # a subtitle file for each",
    "wav2edge transcribe call.wav --channel each -f json  # a telephone call, one transcript per party",
    "wav2edge transcribe order.wav --hotwords 'espresso,oat milk'",
    "wav2edge transcribe --manifest corpus.jsonl --shard 3/16 -f json -o out  # one job of 16",
    "wav2edge transcribe --manifest corpus.jsonl --on ray -f json -o out  # on a Ray cluster",
)
@_options.recordings("talks/*.mp3", required=False)
@option(
    "-f",
    "--format",
    "text, JSON, subtitles (srt, vtt) or a table (tsv) (default: text)",
    group=OUTPUT,
    type=OneOf(_formats, "text|json|jsonl|srt|vtt|tsv"),
    default="text",
)
@option(
    "-o",
    "--output",
    "write DIR/<recording>.<format> instead of printing",
    group=OUTPUT,
    metavar="DIR",
    type=_options.WRITTEN,
)
@_corpus.corpus
@_options.model()
@_options.one_engine
@option(
    "--batch",
    "chunks that are run together as one batch; more than 1 pays on GPUs (default: 1)",
    group=_options.MODEL,
    metavar="N",
    type=COUNT,
    default=1,
)
@_sound.held(each=True)
@gathered(
    LineOptions,
    "lines",
    option(
        "--pause",
        "seconds of silence that end a segment (default: 0.6)",
        group=_SUBTITLES,
        metavar="S",
        type=Number(float, 0, 600, "seconds", above=True),
        default=0.6,
    ),
    option(
        "--max-line-width",
        "characters in a line of subtitles, Chinese, Japanese and Korean ones as two (default: 42)",
        group=_SUBTITLES,
        metavar="N",
        type=COUNT,
    ),
    option("--max-line-count", "lines in a subtitle (default: 2)", group=_SUBTITLES, metavar="N", type=COUNT),
    option(
        "--max-words-per-cue",
        "words in a subtitle (default: as many as fit)",
        group=_SUBTITLES,
        metavar="N",
        type=COUNT,
    ),
)
@_decoding.cut
@_decoding.skip_silence
@_decoding.words
def run(
    audio: tuple[str, ...],
    format: str,
    output: str | None,
    corpus: CorpusOptions,
    model: str | None,
    one: One,
    batch: int,
    held: Held,
    lines: LineOptions,
    cut: Cut,
    skip_silence: bool,
    words: Words,
) -> int:
    """Transcribe recordings of any length and format.

    Prints the text as it comes, or writes subtitles (srt, vtt), tables (tsv) or JSON with a time for each word.
    A recording that cannot be used is named in one line, and the others are transcribed. One that is damaged or cut
    short is transcribed as far as it can be decoded. In both cases the exit code is 2.

    For a corpus (--manifest) DIR gets a file for each recording, and a list with the status of each in DIR/results.
    """
    from wav2edge.runtime.audio.channels import checked_channel
    from wav2edge.runtime.model import SMALL_BYTES
    from wav2edge.runtime.recordings.batch import LANES, lanes, transcribe_all
    from wav2edge.runtime.recordings.segmentation import Segmentation
    from wav2edge.runtime.recordings.transcriber import Transcriber

    from ._memory import give_back_large_blocks

    segmentation, raw = Segmentation(lines.pause, word_gap=words.word_gap), held.raw()
    corpus.check(audio, output, held.channel == "each")
    layout = lines.layout(format)
    if corpus.asked and output is not None:

        def transcriber_of(count: int, threads: int | None) -> Transcriber:
            bundle = _options.open_bundle(model)
            opened = _options.open_model(dataclasses.replace(one, threads=threads), bundle)
            at_once = LANES if batch == 1 and count > 1 and opened.variant.bytes <= SMALL_BYTES else 1
            decoder = words.decoder(bundle)
            return Transcriber(
                opened,
                decoder=decoder,
                chunking=cut.chunking(bundle.spec),
                segmentation=segmentation,
                lanes=at_once,
                skip_silence=skip_silence,
            )

        if corpus.on is not None:  # what is wrong with the bundle is said here, not by each worker
            cut.chunking(_options.open_bundle(model).spec)
        from wav2edge.serving.corpus import Reading

        reading = Reading(checked_channel(held.channel, "--channel"), raw, layout)
        settings = functools.partial(_settings, model, one.variant, skip_silence, held, lines, cut, words)
        return _corpus.run(corpus, output, format, batch, transcriber_of, one.threads, reading, settings)
    sources = inputs(audio)
    writer = _transcripts.writer(format, output, layout, sources, held.channel == "each")
    bundle = _options.open_bundle(model)
    chunking = cut.chunking(bundle.spec)
    opened = _options.open_model(one, bundle)
    with contextlib.ExitStack() as stack:
        if any(_may_be_mp3(source) for source in sources):
            stack.enter_context(_foreign.without_lines(_foreign.MP3_DECODER))
        at_once = lanes(opened.engine, opened.variant, sources, chunking) if batch == 1 else 1
        if opened.variant.bytes <= SMALL_BYTES:  # the engine gives its memory back after each run
            give_back_large_blocks()
        transcriber = stack.enter_context(
            Transcriber(
                opened,
                decoder=words.decoder(bundle),
                chunking=chunking,
                segmentation=segmentation,
                lanes=at_once,
                skip_silence=skip_silence,
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
            opened=lambda source: _each.recordings(transcriber, source, held),
        )
        return _deliver(results, writer, len(sources))


def _settings(
    model: str | None, variant: str | None, skip_silence: bool, *options: Held | LineOptions | Cut | Words
) -> dict[str, object]:
    """What decides which words a corpus gets, and how they are written; the model by the files of its first variant.

    ``contents`` has what options name by a file, see ``corpus.other_settings``.
    """
    from wav2edge.runtime import cache
    from wav2edge.runtime.bundle import embedded
    from wav2edge.serving.corpus import CONTENTS

    bundle = embedded.resolve(model)
    given: dict[str, object] = {
        "model": next((cache.key(dict(each.sha256)) for each in bundle.variants), ""),
        "variant": variant,
        "skip_silence": skip_silence,
    }
    for group in options:
        chosen = group.chunking(bundle.spec) if isinstance(group, Cut) else group
        given |= dataclasses.asdict(chosen)
        if isinstance(group, Words):
            given[CONTENTS] = group.contents(bundle)
    return given


def _deliver(results: Iterable[Result], writer: Printer | TranscriptFiles, count: int) -> int:
    """Write each result and its warnings; returns the exit code."""
    failed, in_part, warned = set[int](), set[int](), set[str]()
    number, last = -1, object()
    for result in results:
        number, last = number + (result.source is not last), result.source
        if result.error is not None:
            failed.add(number)
            _terminal.note(_sound.with_flags(str(result.error)))
        if result.transcript is not None:
            try:
                writer.result(result)
            except InputError as error:  # its file cannot be written
                failed.add(number)
                _terminal.note(str(error))
            for line in result.transcript.warnings:
                warning = f"{named(result.source)}: {_sound.with_flags(line)}"
                if warning not in warned:  # all channels of a file have it
                    _terminal.note(warning)
                warned.add(warning)
            in_part |= set() if result.transcript.complete else {number}
    in_part -= failed
    if (failed or in_part) and count > 1:
        counts = [f"{count - len(failed) - len(in_part)} of {count} recordings transcribed"]
        counts += [f"{len(in_part)} only in part"] if in_part else []
        counts += [f"{len(failed)} could not be used"] if failed else []
        _terminal.note(", ".join(counts))
    return 2 if failed or in_part else 0


def _may_be_mp3(source: Source) -> bool:
    return not isinstance(source, (str, Path)) or str(source).lower().endswith((".mp3", ".mp2", ".mpga"))

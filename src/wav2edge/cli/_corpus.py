"""``wav2edge transcribe --manifest``: a corpus in shards, resumed where it stopped, on this machine or on Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime.errors import InputError

from . import _options, _terminal
from ._command import gathered, option
from ._progress import Progress

if TYPE_CHECKING:
    from wav2edge.runtime.recordings.transcriber import Transcriber
    from wav2edge.serving.corpus import CorpusOutcome

_GROUP = "A corpus"


@dataclass(frozen=True)
class CorpusOptions:
    """A corpus and the part of it that is run here."""

    manifest: str | None
    shard: str | None

    @property
    def asked(self) -> bool:
        """Whether a corpus is meant, and not recordings by name."""
        return self.manifest is not None

    def check(self, audio: tuple[str, ...], output: str | None, each: bool) -> None:
        """Raise InputError for options that make no sense together."""
        if self.manifest is None:
            if self.shard is not None:
                raise InputError("--shard is for --manifest")
            if not audio:
                raise InputError("AUDIO is missing (see: wav2edge transcribe --help), or a corpus with --manifest")
            return
        if audio:
            raise InputError("give recordings or --manifest, not both")
        if output is None:
            raise InputError("a corpus needs -o DIR, where each recording has its own file")
        if each:
            raise InputError("--channel each is for recordings by name; a corpus has one transcript for each")


corpus = gathered(
    CorpusOptions,
    "corpus",
    option(
        "--manifest",
        "recordings of a JSON Lines file with `path`, or of a list of names; those that have their file in DIR "
        "already are left out, so that it can be stopped and started again",
        group=_GROUP,
        metavar="FILE",
        type=_options.FILE,
    ),
    option("--shard", "only part N of M, such as 3/16, for a job of a batch queue", group=_GROUP, metavar="N/M"),
)


def run(
    options: CorpusOptions,
    output: str,
    form: str,
    batch: int,
    opened: Callable[[int], Transcriber],
) -> int:
    """Transcribe what is left of a shard; opened: gives the transcriber for a number of recordings; the exit code."""
    from wav2edge.runtime.text import formats
    from wav2edge.serving import corpus

    shard = corpus.Shard.parsed(options.shard) if options.shard else corpus.Shard()
    folder = Path(output)
    everything = corpus.items(Path(options.manifest or ""), folder, formats.get(form).SUFFIX)
    mine = [item for item in everything if shard.holds(item.name)]
    left = corpus.pending(everything, shard)
    _options.make_folder(output)
    _terminal.note(f"{len(mine)} recordings in shard {shard}, {len(mine) - len(left)} of them done before")
    if not left:
        return 0
    failed = 0
    with opened(len(left)) as transcriber, Progress() as progress:
        results = folder / corpus.RESULTS / f"{shard}.jsonl"
        for number, outcome in enumerate(corpus.run(transcriber, left, results, form, batch=batch), 1):
            failed += _said(outcome)
            progress.update(outcome["path"], number, len(left))
    done = len(left) - failed
    _terminal.note(f"{done} of {len(left)} recordings transcribed in full; {results} lists them all")
    return 2 if failed else 0


def _said(outcome: CorpusOutcome) -> bool:
    if outcome["status"] == "done":
        return False
    message = outcome["message"]
    _terminal.note(message if outcome["status"] == "failed" else f"{outcome['path']}: {message}")
    return True

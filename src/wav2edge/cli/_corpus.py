"""``wav2edge transcribe --manifest``: a corpus in shards, resumed where it stopped, on this machine or on Ray."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime.errors import InputError

from . import _options, _terminal
from ._command import gathered, option
from ._progress import Progress
from ._values import COUNT, Number, OneOf

if TYPE_CHECKING:
    from wav2edge.runtime.recordings.transcriber import Transcriber
    from wav2edge.serving.corpus import CorpusOutcome, Reading

    Opened = Callable[[int, int | None], Transcriber]

_GROUP = "A corpus"


@dataclass(frozen=True)
class CorpusOptions:
    """A corpus and the part of it that is run here."""

    manifest: str | None
    shard: str | None
    on: str | None
    workers: int | None
    worker_gpus: float | None

    @property
    def asked(self) -> bool:
        """Whether the command names a corpus, not single recordings."""
        return self.manifest is not None

    def check(self, audio: tuple[str, ...], output: str | None, each: bool) -> None:
        """Raise InputError for options that contradict each other."""
        if self.manifest is None:
            given = {
                "--shard": self.shard,
                "--on": self.on,
                "--workers": self.workers,
                "--worker-gpus": self.worker_gpus,
            }
            for name in (name for name, value in given.items() if value is not None):
                raise InputError(f"{name} is for --manifest")
            if not audio:
                raise InputError("AUDIO is missing (see: wav2edge transcribe --help), or a corpus with --manifest")
            return
        if audio:
            raise InputError("give recordings or --manifest, not both")
        if output is None:
            raise InputError("a corpus needs -o DIR, where each recording has its own file")
        if each:
            raise InputError("--channel each is for recordings by name; a corpus has one transcript for each")
        if self.on is None and (self.workers is not None or self.worker_gpus is not None):
            raise InputError("--workers and --worker-gpus are for --on ray")


corpus = gathered(
    CorpusOptions,
    "corpus",
    option(
        "--manifest",
        "recordings of a manifest (JSON Lines, .tsv, .csv or a folder; no text is needed) or of a list of names; those "
        "that have their file in DIR already are left out, so that it can be stopped and started again",
        group=_GROUP,
        metavar="FILE",
        type=_options.FILE,
    ),
    option("--shard", "only part N of M, such as 3/16, for a job of a batch queue", group=_GROUP, metavar="N/M"),
    option(
        "--on",
        "run it on a Ray cluster: that of RAY_ADDRESS, else the one that runs here, else on this machine",
        group=_GROUP,
        type=OneOf(lambda: ("ray",)),
    ),
    option("--workers", "workers on the cluster at most (default: as many as fit)", group=_GROUP, metavar="N",
           type=COUNT),
    option("--worker-gpus", "GPUs, or the share of one, that each worker uses (default: none)", group=_GROUP,
           metavar="X", type=Number(float, 0, 64, "GPUs", above=True)),
)  # fmt: skip


def run(
    options: CorpusOptions,
    output: str,
    form: str,
    batch: int,
    opened: Opened,
    threads: int | None,
    reading: Reading,
    settings: Callable[[], Mapping[str, object]],
) -> int:
    """Transcribe what is left of a corpus or shard; the exit code.

    opened: gives the transcriber for a number of recordings and of threads (None: what suits the machine). reading: how
    recordings are read. settings: gives the options that decide what transcripts hold, by their names. Raises
    InputError where the folder has transcripts that were made with others.
    """
    from wav2edge.runtime.text import formats
    from wav2edge.serving import corpus

    shard = corpus.Shard.parsed(options.shard) if options.shard else corpus.Shard()
    folder = Path(output)
    everything, problems = corpus.scan_items(Path(options.manifest or ""), folder, formats.get(form).SUFFIX)
    mine = [item for item in everything if shard.holds(item.name)]
    _options.make_folder(output)
    if changed := corpus.other_settings(folder, form, settings(), everything):
        names = ", ".join("-m" if name == "model" else f"--{name.replace('_', '-')}" for name in changed)
        raise InputError(f"{folder}: its transcripts were made with another {names}; give another folder, or empty it")
    left = corpus.pending(everything, shard, folder)
    _terminal.note(f"{len(mine)} recordings in shard {shard}, {len(mine) - len(left)} of them done before")
    for problem in problems:
        _terminal.note(problem)
    code = _before(corpus.outcomes(folder, mine), len(mine))
    code = 2 if problems else code
    if not left:
        if shard.of == 1:
            corpus.write_manifest(folder, everything)
        return code
    failed = 0
    with contextlib.ExitStack() as stack:
        if options.on is None:
            transcriber = stack.enter_context(opened(len(left), threads))
            results = folder / corpus.RESULTS / f"{shard}.jsonl"
            found = corpus.run(transcriber, left, results, form, batch=batch, reading=reading)
        else:
            from wav2edge.serving import ray_corpus

            cpus = threads or 1
            opening = functools.partial(opened, len(left), cpus)
            job = ray_corpus.CorpusJob(opening, os.getcwd(), folder, form, batch, reading)
            spread = ray_corpus.RayOptions(options.workers, cpus, options.worker_gpus or 0.0)
            found = ray_corpus.run(job, left, spread)
        progress = stack.enter_context(Progress())
        for number, outcome in enumerate(found, 1):
            failed += _said(outcome)
            progress.update(outcome["path"], number, len(left))
    listed = folder / corpus.RESULTS
    if shard.of == 1:
        listed = corpus.write_manifest(folder, everything)
    _terminal.note(f"{len(left) - failed} of {len(left)} recordings transcribed in full; {listed} lists them all")
    return 2 if failed else code


def _before(outcomes: Sequence[CorpusOutcome], count: int) -> int:
    """The exit code for the recordings that are not run again: 2 where a transcript is only in part.

    count: recordings of the shard.
    """
    in_part = [each["path"] for each in outcomes if each["status"] == "in part"]
    if in_part:
        _terminal.note(f"{len(in_part)} of {count} recordings were transcribed in part before, such as {in_part[0]}")
    return 2 if in_part else 0


def _said(outcome: CorpusOutcome) -> bool:
    if outcome["status"] == "done":
        return False
    message = outcome["message"]
    _terminal.note(message if outcome["status"] == "failed" else f"{outcome['path']}: {message}")
    return True

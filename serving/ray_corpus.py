"""A corpus on a Ray cluster: the outputs and the lists are those of shards; needs the extra [ray].

Ray Data gives names of recordings to a pool of workers. Each opens the model once, reads and decodes its recordings,
and writes their outputs and its list to the shared folder (``corpus.run``); only names and outcomes are sent. The work
of a lost worker or node is started again on another: recordings that are written and listed are not run again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..runtime import remedies
from ..runtime.audio.parts import RecordingPart
from ..runtime.errors import EngineError, Wav2EdgeError, first_line
from . import corpus
from .corpus import CorpusItem, CorpusOutcome

if TYPE_CHECKING:
    from ..runtime.recordings.transcriber import Transcriber

_MOST_BLOCKS = 2000  # the driver holds a reference for each
_BEGUN = "begun"
_LOSSES = 2  # workers that a recording may cost when it is run alone


@dataclass(frozen=True)
class RayOptions:
    """How a corpus is spread over a cluster."""

    workers: int | None = None
    """Workers at most; default as many as fit on the cluster."""

    cpus: int = 1
    """CPUs that a worker uses, and threads of its engine; default 1."""

    gpus: float = 0.0
    """GPUs that a worker uses; default 0. With a fraction, several workers share one."""

    block: int = 8
    """Recordings that a worker gets at once; more in a corpus of over 16 000. Default 8."""


@dataclass(frozen=True)
class CorpusJob:
    """The settings of every worker.

    opened: opens the transcriber, in the worker. folder: where relative names begin. output: the shared folder.
    form: of the outputs. batch: chunks that are run together. reading: how recordings are read.
    """

    opened: Callable[[], Transcriber]
    folder: str
    output: Path
    form: str
    batch: int
    reading: corpus.Reading = field(default_factory=corpus.Reading)


def run(
    job: CorpusJob, chosen: Sequence[CorpusItem], options: RayOptions | None = None, address: str | None = None
) -> Iterator[CorpusOutcome]:
    """Transcribe recordings on a cluster, and yield the status of each, in no order.

    address: of the cluster (None: RAY_ADDRESS, else the one that runs here, else one that is started for this run).
    Raises EngineError where ray is missing or the cluster cannot run the model.
    """
    options = options or RayOptions()
    begun = job.output / corpus.RESULTS / _BEGUN
    shutil.rmtree(begun, ignore_errors=True)
    with _connected(address):
        from ray import data

        blocks = min(math.ceil(len(chosen) / options.block), _MOST_BLOCKS)
        rows = data.from_items([{"item": _row(item)} for item in chosen], override_num_blocks=blocks)
        found = rows.map_batches(
            CorpusWorker,
            fn_constructor_args=(job,),
            batch_size=None,
            compute=data.ActorPoolStrategy(min_size=1, max_size=options.workers),
            num_cpus=options.cpus,
            num_gpus=options.gpus or None,
        )
        try:
            for row in found.iter_rows():
                yield _outcome(row)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"Ray failed: {first_line(error)}") from error
    shutil.rmtree(begun, ignore_errors=True)


class CorpusWorker:
    """Transcribes the recordings that it gets; one runs on each CPU (or share of a GPU) of the cluster."""

    def __init__(self, job: CorpusJob) -> None:
        """Open the model."""
        import ray

        with contextlib.suppress(OSError):
            os.chdir(job.folder)
        self._job = job
        self._transcriber: Transcriber | Wav2EdgeError
        try:
            self._transcriber = job.opened()
        except Wav2EdgeError as error:  # raised here, Ray would pass it on as a traceback
            self._transcriber = error
        actor = ray.get_runtime_context().get_actor_id() or "task"
        self._list = job.output / corpus.RESULTS / f"ray-{actor[:16]}-{os.getpid()}.jsonl"

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """The outcomes of some recordings, as lines of JSON."""
        if isinstance(self._transcriber, Wav2EdgeError):
            return {"outcome": [json.dumps({"engine": str(self._transcriber)})]}
        items = [_item(str(row)) for row in batch["item"]]
        try:
            return {"outcome": [json.dumps(outcome) for outcome in self._outcomes(items)]}
        except EngineError as error:  # if it were raised, Ray would run the block again
            return {"outcome": [json.dumps({"engine": str(error)})]}

    def _outcomes(self, items: Sequence[CorpusItem]) -> Iterator[CorpusOutcome]:
        begun = _Begun(self._job.output / corpus.RESULTS / _BEGUN, items)
        if not begun.before:
            begun.note("")
            yield from self._run(items)
        else:
            yield from self._again(items, begun)
        begun.end()

    def _again(self, items: Sequence[CorpusItem], begun: _Begun) -> Iterator[CorpusOutcome]:
        """Run what a lost worker left, one at a time, so that a recording which kills workers affects no other."""
        listed = corpus.outcomes(self._job.output, items)
        written = {outcome["path"]: outcome for outcome in listed if outcome["status"] != "failed"}
        for item in items:
            if item.name in written:
                yield written[item.name]
            elif begun.before[item.name] >= _LOSSES:
                message = f"{item.audio}: the worker that ran it was lost {_LOSSES + 1} times"
                outcome = corpus.outcome_of(item, None, message, self._job.form)
                corpus.note(self._list, outcome)
                yield outcome
            else:
                begun.note(item.name)
                yield from self._run([item])

    def _run(self, items: Sequence[CorpusItem]) -> Iterator[CorpusOutcome]:
        assert not isinstance(self._transcriber, Wav2EdgeError)
        job = self._job
        return corpus.run(self._transcriber, items, self._list, job.form, batch=job.batch, reading=job.reading)


class _Begun:
    """Which recordings of a block were begun, in a file that exists while the block runs, also when its worker is lost.

    before: how often the block was begun as a whole (``""``), and each recording alone, before now.
    """

    def __init__(self, folder: Path, items: Sequence[CorpusItem]) -> None:
        names = json.dumps([item.name for item in items])
        self._path = folder / hashlib.sha256(names.encode()).hexdigest()[:16]
        self.before: Counter[str] = Counter()
        with contextlib.suppress(OSError, ValueError):
            self.before.update(json.loads(line) for line in self._path.read_text("utf-8").splitlines())

    def note(self, name: str) -> None:
        corpus.add_line(self._path, json.dumps(name))

    def end(self) -> None:
        self._path.unlink(missing_ok=True)


def _row(item: CorpusItem) -> str:
    """A recording as a line of ASCII, because its name may have bytes that are no Unicode."""
    audio = item.audio
    return json.dumps([item.name, str(audio.path), audio.offset, audio.seconds, str(item.output)])


def _item(row: str) -> CorpusItem:
    name, path, offset, seconds, output = json.loads(row)
    return CorpusItem(name, RecordingPart(Path(path), offset, seconds), Path(output))


def _outcome(row: Mapping[str, str]) -> CorpusOutcome:
    found: dict[str, str] = json.loads(row["outcome"])
    if "engine" in found:
        raise EngineError(found["engine"])
    return cast(CorpusOutcome, found)


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """A connection to a cluster, which ends with the block unless it was there before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its files have the rest; errors are raised
    try:
        import ray
        from ray import data
    except ImportError as error:
        raise EngineError(f"ray is missing; {remedies.install('ray')}") from error
    before = ray.is_initialized()
    quiet: dict[str, object] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not before:
        try:
            ray.init(address=address or os.environ.get("RAY_ADDRESS") or "auto", **quiet)
        except ConnectionError as error:
            if address or os.environ.get("RAY_ADDRESS"):
                raise EngineError(f"the Ray cluster cannot be reached: {first_line(error)}") from error
            ray.init(address="local", include_dashboard=False, **quiet)
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if not before:
            ray.shutdown()

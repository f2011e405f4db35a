"""Where the work of a run is kept, and which run it belongs to.

A run is identified by what decides its results: the fp32 graph, the settings, the recordings, the versions of tools
and the machine, whose processor decides which instructions the engines use.
Its folder in the cache is removed when the run is over, and after ``KEPT_DAYS`` without a run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from wav2edge.devices.detect import detect
from wav2edge.runtime import cache
from wav2edge.runtime.bundle.read import Bundle, sha256
from wav2edge.runtime.errors import Wav2EdgeError

from .clips import Speech
from .options import Options
from .record import tool_versions
from .work import Work

KEPT_DAYS = 30
"""Days after which what an interrupted run left is removed by the next run of any model."""
_PLACE = "quantize"
_LOCK = "lock"


@contextlib.contextmanager
def kept_work(
    bundle: Bundle, speech: Speech, options: Options, say: Callable[[str], None] = lambda line: None
) -> Iterator[Work]:
    """The work of this run, with the parts that an interrupted one kept; removed when the block ends without an error.

    say: called with one line where an interrupted run kept some. Where another process runs the same, or the cache
    cannot be written, nothing is kept.
    """
    with contextlib.ExitStack() as held:
        work = Work(_folder(bundle, speech, options, held))
        if work.begun:
            say(f"goes on where an interrupted run of the same command stopped: its work is in {work.folder}")
        yield work
        if work.folder is not None:
            shutil.rmtree(work.folder, ignore_errors=True)


def _folder(bundle: Bundle, speech: Speech, options: Options, held: contextlib.ExitStack) -> Path | None:
    try:
        folder = cache.directory(_PLACE) / run_key(bundle, speech, options)
        _remove_old(folder.parent)
        held.enter_context(cache.lock(folder / _LOCK, timeout=0.0))
    except (Wav2EdgeError, TimeoutError):
        return None
    return folder


def run_key(bundle: Bundle, speech: Speech, options: Options) -> str:
    """A name for the run: a digest of what decides its results."""
    clips = (speech.calibrating, speech.judging)
    return cache.key(
        {
            "fp32": dict(bundle.variant("fp32").sha256),
            "spec": repr(bundle.spec),
            "options": json.dumps(dataclasses.asdict(options), sort_keys=True),
            "clips": [each.digest for each in clips],
            "pairs": [repr(each.pairs) for each in clips],
            "turns": [sha256(row.rttm) for each in clips for row in each.rows if row.rttm is not None],
            "tools": tool_versions(),
            "machine": detect().identity,
        }
    )


def _remove_old(place: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86400
    for folder in place.iterdir():
        with contextlib.suppress(OSError):
            if max(path.lstat().st_mtime for path in (folder, *folder.iterdir())) < oldest:
                shutil.rmtree(folder)

"""A process that decodes recordings, started by ``uploads``: one request a line on standard input, one answer a line.

A damaged or malicious file may crash a decoder or take all memory it can get; then only this process is lost. It reads
only the files that it is given, and never loads a model.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TypedDict

import numpy as np

from wav2edge.runtime.audio import read
from wav2edge.runtime.audio.channels import checked_channel
from wav2edge.runtime.errors import InputError
from wav2edge.serving.refusals import FULL, FULL_DISK

MEMORY = 3_000_000_000
"""Bytes of address space that a decoder may take."""


class Request(TypedDict):
    """path: the upload. name: its name in messages. output: where float32 samples go. rate: Hz. longest: s."""

    path: str
    name: str
    output: str
    rate: int
    longest: float
    channel: str


class Answer(TypedDict):
    """samples: how many were written. error: one line, empty where it worked; status: of HTTP for it."""

    samples: int
    complete: bool
    warnings: list[str]
    channels: int
    error: str
    status: int


def main() -> None:
    """Answer requests until standard input ends."""
    _bound_memory()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a decoder prints is not an answer
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


def _bound_memory() -> None:
    """Bound this process's memory, and write no core files; Windows has no such bounds."""
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(ValueError, OSError):
        _, limit = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def answer(request: Request) -> Answer:
    """Decode one recording."""
    name, samples = request["name"], 0
    most = round(request["longest"] * request["rate"])
    try:
        channel = checked_channel(request["channel"], name)
        recording = read.open_recording(request["path"], request["rate"], channel=channel)
        with open(request["output"], "wb") as file:
            for block in recording.blocks:
                samples += len(block)
                if samples > most:
                    longest = f"{request['longest'] / 60:g} minutes"
                    return _failed(f"{name}: longer than the {longest} that this server takes; cut it into parts", 413)
                file.write(np.ascontiguousarray(block, "<f4").tobytes())
    except InputError as error:
        return _failed(str(error).replace(request["path"], name), 400)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return _failed(FULL_DISK, 503)
    except MemoryError:
        return _failed(f"{name}: decoding it needs more memory than this server allows", 413)
    return Answer(
        samples=samples,
        complete=recording.complete,
        warnings=list(recording.warnings),
        channels=recording.channels,
        error="",
        status=0,
    )


def _failed(error: str, status: int) -> Answer:
    return Answer(samples=0, complete=False, warnings=[], channels=1, error=error, status=status)


if __name__ == "__main__":
    main()

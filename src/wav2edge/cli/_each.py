"""One result for each recording of the command line, for the commands whose model does not transcribe."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict, TypeVar

from wav2edge.runtime.errors import AudioError, InputError

from . import _foreign, _options, _sound, _terminal
from ._options import One
from ._progress import Progress
from ._sound import Held
from ._transcripts import named

if TYPE_CHECKING:
    from wav2edge.runtime.audio.read import AudioSource, Channel, RawFormat
    from wav2edge.runtime.model import Model
    from wav2edge.runtime.recordings.runner import Runner

Result = TypeVar("Result")


def open_named(model: str | None, one: One, what: str) -> Model:
    """The model of ``-m``, which these commands need: the embedded one transcribes. Raises InputError without it."""
    from wav2edge.runtime.bundle.read import Bundle
    from wav2edge.runtime.bundle.shipped import NAMES

    if model is None:
        raise InputError(
            f"name the bundle of {what} with -m BUNDLE ({' and '.join(NAMES)} ship with wav2edge); "
            "the embedded demo model transcribes"
        )
    return _options.open_model(one, Bundle.open(model))


def of_channels(
    runner: Runner[Result], sources: Sequence[AudioSource], held: Held, failed: list[str]
) -> Iterator[tuple[str, int | None, Result]]:
    """Each recording, the number of its channel with ``--channel each``, and its result; else as ``results``."""
    if held.channel != "each":
        for name, found in results(sources, lambda source: runner(source, **sound_of(held, source)), failed):
            yield name, None, found
        return
    raw = held.raw()
    for name, several in results(sources, lambda source: runner(source, channel="each", raw=raw), failed):
        for number, found in enumerate(several, 1):
            yield name, number, found
        if not all(getattr(found, "complete", True) for found in several):
            _in_part(name, failed)


def results(
    sources: Sequence[AudioSource], run: Callable[[AudioSource], Result], failed: list[str]
) -> Iterator[tuple[str, Result]]:
    """Each recording and its result, in order; one that cannot be used gives one line, and its name to ``failed``."""
    with Progress() as progress, _foreign.without_lines(_foreign.MP3_DECODER):
        for number, source in enumerate(sources, 1):
            name = named(source)
            progress.update(os.path.basename(name), number - 1, len(sources))
            try:
                result = run(source)
            except AudioError as error:
                failed.append(name)
                _terminal.note(_sound.with_flags(str(error)))
                continue
            yield name, result
            if not getattr(result, "complete", True):
                _in_part(name, failed)
    if failed and len(sources) > 1:
        _terminal.note(f"{len(sources) - len(failed)} of {len(sources)} recordings could be used in full")


def _in_part(name: str, failed: list[str]) -> None:
    failed.append(name)
    _terminal.note(f"{name}: cut short or damaged; the result is of what could be decoded")


class SoundArguments(TypedDict):
    """Keyword arguments of a Runner's call."""

    channel: Channel
    raw: RawFormat | None


def sound_of(held: Held, source: AudioSource) -> SoundArguments:
    """The options about a recording, as the keyword arguments of a Runner's call. Raises InputError."""
    from wav2edge.runtime.audio.channels import checked_channel

    return {"channel": checked_channel(held.channel, named(source)), "raw": held.raw()}

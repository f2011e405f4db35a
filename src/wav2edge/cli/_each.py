"""One result for each recording of the command line, for the commands whose model does not transcribe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from wav2edge.runtime.errors import AudioError, InputError

from . import _foreign, _options, _sound, _terminal
from ._options import One
from ._progress import Progress
from ._sound import Held
from ._transcripts import named

if TYPE_CHECKING:
    from wav2edge.runtime.audio.read import AudioSource, Recording
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
    """Each recording, the number of its channel with ``--channel each`` (else None), and its result, in order.

    One that cannot be used gives one line, and its name to ``failed``; so does one of which something is missing, after
    its result.
    """
    with Progress() as progress, _foreign.without_lines(_foreign.MP3_DECODER):
        for number, source in enumerate(sources, 1):
            name = named(source)
            progress.update(os.path.basename(name), number - 1, len(sources))
            try:
                opened = recordings(runner, source, held)
                found = results(runner, opened)
            except AudioError as error:
                failed.append(name)
                _terminal.note(_sound.with_flags(str(error)))
                continue
            for channel, result in found:
                yield name, channel if held.channel == "each" else None, result
            if not note_warnings(opened) or len(found) < len(opened):
                failed.append(name)
    if failed and len(sources) > 1:
        _terminal.note(f"{len(sources) - len(failed)} of {len(sources)} recordings could be used in full")


def recordings(runner: Runner[Result], source: AudioSource, held: Held) -> tuple[Recording, ...]:
    """A recording as the options say, or each of its channels; raises InputError, and AudioError as opening it does."""
    from wav2edge.runtime.audio import read
    from wav2edge.runtime.audio.channels import checked_channel

    if held.channel == "each":
        return read.open_channels(source, runner.spec.sample_rate, raw=held.raw())
    channel = checked_channel(held.channel, named(source))
    return (runner.open_recording(source, channel=channel, raw=held.raw()),)


def results(runner: Runner[Result], opened: Sequence[Recording]) -> list[tuple[int, Result]]:
    """The number of each channel and its result; one that cannot be used gives one line, if another can.

    Raises AudioError where none can.
    """
    found: list[tuple[int, Result]] = []
    unusable: list[tuple[int, AudioError]] = []
    for number, recording in enumerate(opened, 1):
        try:
            found.append((number, runner.result(recording)))
        except AudioError as error:
            unusable.append((number, error))
    if unusable and not found:
        raise unusable[0][1]
    for number, reason in unusable:
        _terminal.note(_sound.with_flags(f"channel {number} of {reason}"))
    return found


def note_warnings(opened: Sequence[Recording]) -> bool:
    """Print, after their results, what is missing or doubtful in recordings; whether nothing is missing."""
    lines = dict.fromkeys(f"{recording.name}: {line}" for recording in opened for line in recording.warnings)
    for line in lines:
        _terminal.note(_sound.with_flags(line))
    return all(recording.complete for recording in opened)

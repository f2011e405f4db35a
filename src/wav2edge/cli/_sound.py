"""Options about recordings: which channel is used, and how samples without a header are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from wav2edge.runtime.errors import InputError

from ._command import gathered, option
from ._values import Number, OneOf, Suggested

if TYPE_CHECKING:
    from wav2edge.runtime.audio.raw import Encoding, RawFormat

SOUND = "What the recordings hold"
_FLAGS = {
    "their raw format: encoding, rate and channels": "--raw-format, --raw-rate and --raw-channels",
    "choose one channel (left, right, a number, loudest), or transcribe each": "choose with --channel (left, right, a "
    "number, loudest, each)",
    "it is at its end, seek(0) first": "it was read to its end before",
}


@dataclass(frozen=True)
class Held:
    """Channel and raw format of recordings."""

    channel: str
    raw_format: str | None
    raw_rate: int | None
    raw_channels: int | None

    def raw(self) -> RawFormat | None:
        """How samples without a header are written; None for files that have one. Raises InputError."""
        from wav2edge.runtime.audio.raw import RawFormat

        if self.raw_format is None:
            for name, value in (("rate", self.raw_rate), ("channels", self.raw_channels)):
                if value is not None:
                    raise InputError(f"--raw-{name} is for samples without a header; add --raw-format")
            return None
        return RawFormat(cast("Encoding", self.raw_format), self.raw_rate or 16_000, self.raw_channels or 1)


def with_flags(message: str) -> str:
    """A library's message about a recording, with its arguments replaced by the options."""
    for words, flags in _FLAGS.items():
        message = message.replace(words, flags)
    return message


def _encodings() -> tuple[str, ...]:
    from typing import get_args

    from wav2edge.runtime.audio.raw import Encoding

    return get_args(Encoding)


def held(each: bool, group: str = SOUND) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Declare ``--channel`` and ``--raw-…``, as ``held``; ``each``: whether the channel ``each`` is allowed."""
    words = ("mix", "left", "right", "loudest", *(("each",) if each else ()))
    several = "; each: one result per channel" if each else ""
    return gathered(
        Held,
        "held",
        option(
            "--channel",
            f"which channel: their average (mix), left, right, a number from 1 on, or the loudest{several} "
            "(default: mix)",
            group=group,
            metavar="CHANNEL",
            type=Suggested(lambda: words),
            default="mix",
        ),
        option(
            "--raw-format",
            "read samples without a header, written as 16-bit integers (s16le), 32-bit floats (f32le), or as in "
            "telephony (mulaw, alaw)",
            group=group,
            type=OneOf(_encodings, "s16le|f32le|mulaw|alaw"),
        ),
        option(
            "--raw-rate",
            "their rate in Hz (default: 16000)",
            group=group,
            metavar="HZ",
            type=Number(int, 1000, 1_000_000, "a rate in Hz"),
        ),
        option(
            "--raw-channels",
            "how many channels they have, interleaved (default: 1)",
            group=group,
            metavar="N",
            type=Number(int, 1, 32, "a whole number"),
        ),
    )

"""When an utterance is over, by the rules that sherpa-onnx's users know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .bounds import LONGEST, check

Endpoint = Literal["silence", "blank", "length"]
"""Which rule ended an utterance."""


@dataclass(frozen=True)
class EndpointRules:
    """How long silence and utterances may last, in seconds of sound.

    The defaults are those of sherpa-onnx's endpoint rules.
    """

    silence_without_text: float = 2.4
    """Seconds of silence that end an utterance without text; also of blanks in a row while the voice activity model
    still finds a voice (noise, music, another language). Default 2.4."""

    silence_after_text: float = 1.2
    """Seconds of silence that end an utterance with text; default 1.2."""

    longest_utterance: float = 20.0
    """Seconds after which an utterance is cut where the voice was weakest of late; default 20. It bounds
    memory and the computing of the final pass."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of bounds."""
        time = (0.01, LONGEST)
        check(self, silence_without_text=time, silence_after_text=time, longest_utterance=time)

    def ended(self, silence: float, blank: float, length: float, has_text: bool) -> Endpoint | None:
        """Which rule ends an utterance, or None.

        silence: seconds since the last voice. blank: seconds from the last decoded label to where decoding has got.
        length: seconds so far.
        """
        if silence >= (self.silence_after_text if has_text else self.silence_without_text):
            return "silence"
        if blank >= self.silence_without_text:
            return "blank"
        if length >= self.longest_utterance:
            return "length"
        return None

"""The commands that use a bundle on a board, by its head."""

from __future__ import annotations

from ...runtime.bundle.spec import ModelSpec

LISTEN = "listen"
COMMANDS: dict[str, tuple[str, ...]] = {
    "ctc": ("transcribe talk.wav", LISTEN),
    "sequence_classification": ("classify talk.wav", LISTEN),
    "regression": ("classify talk.wav",),
    "frame_classification": ("diarize talk.wav",),
    "xvector": ("embed talk.wav", "verify a.wav b.wav"),
    "encoder": ("embed talk.wav",),
}
"""For each head the commands that run it, those for recordings first, with example recordings and without the model."""
_LIVE_RATE = 16000  # Hz


def commands_of(spec: ModelSpec) -> tuple[str, ...]:
    """The commands that run a model, without its bundle; none for a head that no command runs."""
    commands = COMMANDS.get(spec.head, ())
    return tuple(command for command in commands if command != LISTEN or spec.sample_rate == _LIVE_RATE)

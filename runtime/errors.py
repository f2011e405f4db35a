"""Every error that wav2edge raises on purpose: one line for the user, and an exit code for the shell.

    Wav2EdgeError
    ├── InputError(ValueError)            2  wrong usage or input
    │   ├── AudioError                    2  a recording that cannot be used
    │   ├── BundleError                   2  a bundle that is missing, damaged or too new
    │   └── CheckpointError               2  a checkpoint that cannot be exported
    ├── GateRefused(RuntimeError)         1  parity, words or selftest: the result was not good enough
    └── EngineError(RuntimeError)         3  an engine or a device is missing or failed
        └── DeviceError                   3  a device that an engine does not have here

A message says what is wrong and, after a semicolon or in a second sentence, what to do. It is one line: line breaks and
control characters in names and other quoted text are written as escapes.
Errors of other libraries are translated once, where the library is called.
"""

from __future__ import annotations

from .escape import one_line


class Wav2EdgeError(Exception):
    """The base of all errors; ``exit_code`` is what the command line returns."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        """message: what is wrong and what to do; made one line."""
        super().__init__(one_line(message))


class InputError(Wav2EdgeError, ValueError):
    """Wrong usage or input (exit code 2)."""


class AudioError(InputError):
    """A recording that cannot be used: missing, empty, not audio, NaN, too short."""


class BundleError(InputError):
    """A bundle that is missing, damaged, incomplete or of a newer format."""


class CheckpointError(InputError):
    """A checkpoint that cannot be exported: missing, damaged, unsafe, or not of this family."""


class GateRefused(Wav2EdgeError, RuntimeError):
    """A result that was not good enough to keep: parity, words or selftest (exit code 1)."""

    exit_code = 1


class EngineError(Wav2EdgeError, RuntimeError):
    """An engine or a device that is missing or failed (exit code 3)."""

    exit_code = 3


class DeviceError(EngineError):
    """A device that an engine does not have on this machine."""


def first_line(error: BaseException) -> str:
    """The first line of another library's error, or the error's class where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__

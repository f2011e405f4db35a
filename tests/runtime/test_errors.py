"""Errors are one line, whatever they quote."""

from __future__ import annotations

import pickle

import pytest

from wav2edge.runtime.errors import AudioError, EngineError, GateRefused, InputError, Wav2EdgeError


@pytest.mark.parametrize("kind", [AudioError, EngineError, GateRefused, InputError])
def test_a_message_is_one_line(kind: type[Wav2EdgeError]) -> None:
    """A file's name may hold a line break or an escape sequence, and both reached programs that printed the error."""
    error = kind("a\nb\x1b[2J: no such file\n")
    assert str(error) == "a b\\x1b[2J: no such file"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(kind(str(error))) == str(error)

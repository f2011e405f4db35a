"""Captions and sound on disk as they come: a power cut loses at most the last line, or two seconds of sound."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, first_line
from ..files import flush
from ..text.cues import cues, timestamp
from ..text.formats import CaptionLayout
from ..text.transcript import Segment, Transcript
from .backlog import Block
from .events import Event, Final, Label, to_line
from .sources import RATE, as_int16

_LAYOUT = CaptionLayout()
_FLAC_BLOCK = 4096
_WAV_HEADER = 44  # bytes before the samples, the last four of them their size


class CaptionFile:
    """Finals as .srt or .vtt cues or .jsonl lines, each on the disk before the next event is taken."""

    def __init__(self, path: Path) -> None:
        """Create the file; raises InputError when it exists or its name has another suffix."""
        renderers: dict[str, Callable[[Final], str]] = {".srt": self._srt, ".vtt": self._vtt, ".jsonl": self._jsonl}
        self.check(path)
        self._path = path
        self._render = renderers[path.suffix.lower()]
        self._cues = 0
        self._file: IO[str] = _create(path)
        if path.suffix.lower() == ".vtt":
            self._write("WEBVTT\n")

    @staticmethod
    def check(path: Path) -> None:
        """Raise InputError when the file could not be created."""
        if path.suffix.lower() not in (".srt", ".vtt", ".jsonl"):
            raise InputError(f"{path}: captions are saved as .srt, .vtt or .jsonl")
        _check_new(path)

    def __call__(self, event: Event) -> None:
        """Write a Final with text, and in .jsonl a Label; others are ignored. Raises InputError on a full disk."""
        if isinstance(event, Label) and self._path.suffix.lower() == ".jsonl":
            self._write(to_line(event) + "\n")
        if isinstance(event, Final) and event.text:
            self._write(self._render(event))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what a full disk refused was reported
            self._file.close()

    def _write(self, text: str) -> None:
        with writing(self._path, "captions"):
            self._file.write(text)
            self._file.flush()
            os.fsync(self._file.fileno())

    def _srt(self, final: Final) -> str:
        text = ""
        for cue in cues(_transcript(final), _LAYOUT):
            gap = "\n" if self._cues else ""
            self._cues += 1
            times = f"{timestamp(cue.start, ',')} --> {timestamp(cue.end, ',')}"
            text += f"{gap}{self._cues}\n{times}\n" + "".join(f"{line}\n" for line in cue.lines)
        return text

    def _vtt(self, final: Final) -> str:
        from ..text.formats import vtt

        return vtt.render(_transcript(final), "", _LAYOUT).removeprefix("WEBVTT\n")

    def _jsonl(self, final: Final) -> str:
        return to_line(final) + "\n"


class _SoundFile(Protocol):
    """What is used of ``soundfile.SoundFile``, which has no types."""

    def write(self, data: NDArray[np.int16]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class SoundRecorder:
    """The sound as 16-bit FLAC or WAV, in step with the events' times: lost sound is zeros."""

    def __init__(self, path: Path) -> None:
        """Create the file; raises InputError when it exists or its name has another suffix."""
        import soundfile

        self.check(path)
        _create(path).close()
        self._path = path
        with writing(path, "sound"):
            self._file: _SoundFile = soundfile.SoundFile(os.fsencode(path), "w", RATE, 1, "PCM_16")
        self._flac = path.suffix.lower() == ".flac"
        self._next = 0
        self._marked = 0

    @staticmethod
    def check(path: Path) -> None:
        """Raise InputError when the file could not be created."""
        if path.suffix.lower() not in (".flac", ".wav"):
            raise InputError(f"{path}: sound is recorded as .flac or .wav")
        _check_new(path)

    def __call__(self, block: Block) -> None:
        """Add a block, and zeros for what is missing before it; raises InputError when the disk is full."""
        missing = block.start - self._next
        with writing(self._path, "sound"):
            while missing > 0:
                step = min(missing, RATE)
                self._add(np.zeros(step, np.int16))
                missing -= step
            self._add(as_int16(block.samples[max(0, -missing) :]))
            if self._next - self._marked >= RATE:
                self._mark()

    def close(self) -> None:
        """Finish the file; raises InputError when the disk is full."""
        with writing(self._path, "sound"):
            self._file.close()

    def _add(self, samples: NDArray[np.int16]) -> None:
        self._file.write(samples)
        self._next += len(samples)

    def _mark(self) -> None:
        """Update the file's header, so that everything written so far can be read after a power cut."""
        self._marked = self._next
        self._file.flush()
        descriptor = os.open(self._path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            if self._flac:
                # The last 36 of these 40 bits of STREAMINFO (RFC 9639, 8.2) count the samples; libFLAC writes them
                # when it closes the file and holds back up to two blocks until then.
                whole = max(0, self._next // _FLAC_BLOCK - 2) * _FLAC_BLOCK
                os.lseek(descriptor, 21, os.SEEK_SET)
                before = os.read(descriptor, 5)
                count = bytes([before[0] & 0xF0 | whole >> 32]) + (whole & 0xFFFFFFFF).to_bytes(4, "big")
                _write_at(descriptor, 21, count)
            else:
                # The two sizes of a RIFF file, in bytes; libsndfile writes them when it closes the file.
                size = min(os.fstat(descriptor).st_size, 2**32 - 1)
                _write_at(descriptor, 4, struct.pack("<I", size - 8))
                _write_at(descriptor, _WAV_HEADER - 4, struct.pack("<I", size - _WAV_HEADER))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_at(descriptor: int, place: int, content: bytes) -> None:
    """Windows has no pwrite; this descriptor is used by nothing else."""
    os.lseek(descriptor, place, os.SEEK_SET)
    os.write(descriptor, content)


def _check_new(path: Path) -> None:
    try:
        exists, folder = os.path.lexists(path), path.absolute().parent.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be created ({first_line(error)})") from error
    if exists:
        raise InputError(f"{path}: exists already; choose another name or move it away")
    if not folder:
        raise InputError(f"{path}: there is no such folder")


def _create(path: Path) -> IO[str]:
    """A new file, whose name is on the disk before anything is written to it."""
    try:
        file = path.open("x", encoding="utf-8")
        flush(path.absolute().parent)
    except FileExistsError as error:
        raise InputError(f"{path}: exists already; choose another name or move it away") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be created ({getattr(error, 'strerror', None) or error})") from error
    return file


@contextmanager
def writing(path: Path, what: str) -> Iterator[None]:
    """Raise InputError, which names the file, in place of the errors of writing."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
        raise InputError(
            f"{path}: the {what} cannot be written ({first_line(error).rstrip('.')}); is the disk full?"
        ) from error


def _transcript(final: Final) -> Transcript:
    segment = Segment(final.text, final.start, final.end, final.words)
    return Transcript(final.text, final.end, final.words, (segment,))

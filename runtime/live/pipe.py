"""Sound from a pipe: raw samples, or a WAV file as recorders write it, decoded while it arrives."""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..audio import text
from ..audio.arrays import checked_samples
from ..audio.channels import Channel, ChannelComparison, averaged, checked_channel, index_of
from ..audio.containers.riff import SLACK
from ..audio.files import container_of
from ..audio.raw import Encoding, RawFormat
from ..audio.tracks import BREAKS_OFF
from ..errors import AudioError, first_line
from .backlog import Block
from .portaudio import Resampler
from .sources import RATE, Item, on_grid

_HEAD = 12  # bytes of a RIFF header, by which containers with a signature are recognised
_LONGEST_HEAD = 4096  # bytes by which text and compressed streams are told from samples
_LONGEST_HEADER = 1 << 20  # bytes before a WAV file's samples; recorders write 44 to a few thousand
_READ = 1 << 16
_UNKNOWN_SIZES = (
    range(1),  # filled in at the end by writers that can seek
    range(0x7FFF_0000, 0x8000_0001),  # sox, with whole samples: 0x7FFFEFFC to 0x7FFFF000; arecord: 0x80000000
    range(0xFFFF_0000, 0x1_0000_0000),  # ffmpeg: 0xFFFFFFFF
    range(1 << 48, 1 << 64),  # RF64
)
"""Bytes of samples that writers state where they do not know how many come: such a stream ends with its pipe."""

_ENCODINGS: dict[tuple[int, int], Encoding] = {
    (1, 16): "s16le",
    (3, 32): "f32le",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
"""WAV format tags and bits per sample (RFC 2361)."""


@dataclass(frozen=True)
class WavHeader:
    """What comes before the samples of a WAV file: their format, where they begin, how many bytes they are."""

    format: RawFormat
    offset: int
    size: int | None


class PipeSource:
    """A file descriptor as a Source: raw samples such as ``ffmpeg … -f s16le -``, or a WAV file such as arecord's.

    Raises AudioError, in ``read``, for other containers, for WAV files whose samples are neither 16-bit integers,
    32-bit floats nor G.711 codes, for a pipe that ends without a sample, and, after all sound that came, for a
    descriptor that cannot be read and for a WAV file of which less came than its header states.
    """

    def __init__(
        self,
        descriptor: int,
        raw: RawFormat | None = None,
        name: str = "standard input",
        channel: Channel = "mix",
    ) -> None:
        """Read from an open descriptor, which the caller closes.

        raw: how samples without a header are written (None: 16-bit, 16 kHz, mono, or what a WAV header says). channel:
        what is taken of several channels. Raises AudioError for the loudest one, known only at the end of a pipe.
        """
        self._channel = checked_channel(channel, name)
        if self._channel == "loudest":
            raise AudioError(f"{name}: the loudest channel is known at its end only; choose left, right or a number")
        self._comparison = ChannelComparison()
        self._descriptor = descriptor
        self._raw = raw
        self._name = name
        self._format: RawFormat | None = None
        self._resampler: Resampler | None = None
        self._left: int | None = None  # bytes of samples still to come; None: until the pipe is closed
        self._frames = 0  # samples of each channel that came
        self._bytes = b""
        self._next = 0
        self._over = False

    def read(self, timeout: float) -> Sequence[Item] | None:
        """The sound that has arrived, at most 64 KiB of it."""
        if not self._over:
            data = self._arrived(timeout)
            if data is None:
                return []
            self._bytes += data
            self._over = not data
            if self._format is None and not self._begin():
                return []
            blocks = self._samples()
            if blocks or not self._over:
                return blocks
        self._check_end()
        return None

    def present(self) -> None:
        """A pipe has no clock."""
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What averaging its channels lost so far, in a line; nothing where it lost nothing."""
        line = self._comparison.warning()
        return () if line is None else (line,)

    def close(self) -> None:
        """Nothing: the descriptor belongs to the caller."""

    def _arrived(self, timeout: float) -> bytes | None:
        """Bytes that have arrived, none at the end of the pipe; None where nothing comes in ``timeout`` seconds."""
        try:
            if not select.select([self._descriptor], [], [], timeout)[0]:
                return None
            return os.read(self._descriptor, _READ)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise AudioError(f"{self._name}: cannot be read ({reason})") from error

    def _begin(self) -> bool:
        """Find out what arrives; False as long as too few bytes are there."""
        if len(self._bytes) < _HEAD and not self._over:
            return False
        head = self._bytes[:_LONGEST_HEAD]
        container, words = container_of(head), text.kind_in_place_of_samples(head)
        if container is None and len(head) < _LONGEST_HEAD and not self._over and _doubtful(head):
            return False
        if words is not None:
            raise AudioError(f"{self._name}: {words}")
        if container is None:
            self._start(self._raw or RawFormat())
            return True
        if self._raw is not None:
            raise AudioError(f"{self._name}: it is {container}, with a header of its own; leave the raw format out")
        if not self._bytes.startswith((b"RIFF", b"RF64")):
            raise AudioError(
                f"{self._name}: it is {container}, which cannot be decoded while it arrives; pipe WAV or raw samples "
                "(ffmpeg -i - -f s16le -ar 16000 -ac 1 -)"
            )
        header = wav_header(self._bytes, self._name)
        if header is None:
            if self._over:
                raise AudioError(f"{self._name}: the WAV file ends before its samples")
            return False
        self._bytes = self._bytes[header.offset :]
        self._left = header.size
        self._start(header.format)
        return True

    def _start(self, found: RawFormat) -> None:
        self._format = found
        self._resampler = Resampler(found.rate, RATE)

    def _samples(self) -> list[Item]:
        """The whole frames among the bytes that have arrived, and at the end what the resampler still holds."""
        assert self._format is not None and self._resampler is not None
        width = self._format.frame_bytes
        count = len(self._bytes) if self._left is None else min(len(self._bytes), self._left)
        whole = count // width * width
        frames = self._format.decode(self._bytes[:whole])
        index = index_of(self._channel, frames.shape[1], self._name)
        if index is None:
            self._comparison.add(frames)
        decoded = averaged(frames) if index is None else frames[:, index]
        samples = self._resampler(checked_samples(decoded, self._name))
        self._frames += len(frames)
        self._bytes = self._bytes[whole:]
        if self._left is not None:
            self._left -= whole
            self._over = self._over or self._left < width  # what follows the samples (tags) is not sound
        if self._over:
            samples = np.concatenate((samples, self._resampler.flush()))
        if not len(samples):
            return []
        block = Block(self._next, on_grid(samples))
        self._next = block.end
        return [block]

    def _check_end(self) -> None:
        """Raise AudioError where less came than the header states, or nothing."""
        assert self._format is not None
        width, rate = self._format.frame_bytes, self._format.rate
        left = self._left or 0
        if left >= width and left > SLACK:
            came, missing = self._frames / rate, left / width / rate
            whole = f" of {came + missing:.1f} s" if missing > BREAKS_OFF else ""
            raise AudioError(f"{self._name}: it breaks off after {came:.1f} s{whole}; copy or convert it again")
        if not self._frames:
            raise AudioError(f"{self._name}: no sound came; check the program that writes into the pipe")


def _doubtful(head: bytes) -> bool:
    """Whether it takes more bytes to say that these are samples: they may be text, or a header of MPEG audio or AAC."""
    return head[:1] == b"\xff" or text.kind_of(head) is not None


def wav_header(data: bytes, name: str) -> WavHeader | None:
    """The header of a WAV file that begins with these bytes; None as long as they are too few.

    Raises AudioError for a file without samples in its first MiB, or with samples of another kind.
    """
    at, found, wide = _HEAD, None, 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind == b"data":
            if found is None:
                raise AudioError(f"{name}: the WAV file has samples before their format")
            return WavHeader(found, at + 8, _stated(size, wide))
        chunk = data[at + 8 : at + 8 + size]
        if kind in (b"fmt ", b"ds64") and len(chunk) < size:
            break
        if kind == b"fmt ":
            found = _format(chunk, name)
        elif kind == b"ds64" and size >= 16:
            (wide,) = struct.unpack_from("<Q", chunk, 8)
        at += 8 + size + size % 2
    if max(at, len(data)) > _LONGEST_HEADER:
        raise AudioError(f"{name}: a WAV file without samples in its first MiB")
    return None


def _stated(size: int, wide: int) -> int | None:
    """Bytes of samples by a data chunk's size and by an RF64 file's 64-bit one (0: none); None where it is unknown."""
    size = wide or size if size == 0xFFFF_FFFF else size
    return None if any(size in unknown for unknown in _UNKNOWN_SIZES) else size


def _format(chunk: bytes, name: str) -> RawFormat:
    if len(chunk) < 16:
        raise AudioError(f"{name}: the WAV file's format is cut short")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == 0xFFFE and len(chunk) >= 26:  # WAVE_FORMAT_EXTENSIBLE: the tag begins its GUID
        (tag,) = struct.unpack_from("<H", chunk, 24)
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None:
        raise AudioError(
            f"{name}: a WAV file of {bits}-bit samples of format {tag}; pipe 16-bit integers or 32-bit floats"
        )
    return RawFormat(encoding, rate, channels)

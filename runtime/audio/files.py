"""Files of sound: every recording in them, decoded one after the other, and what is missing."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from . import containers, media, text
from .arrays import checked_rate
from .containers import Parsed, Part
from .raw import RawFormat
from .source import Source, Stretch, View
from .tracks import BREAKS_OFF, LONGEST_GAP, Piece, Problems, Track

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCK_SECONDS = 5.0
"""How much is decoded at a time."""

_MOST_FAILURES = 1000
"""Holes after which the rest of a recording is not decoded."""

_HEADERS = (
    (b"RIFF", "a RIFF (WAV) file"),
    (b"RIFX", "a RIFX (WAV) file"),
    (b"RF64", "an RF64 (WAV) file"),
    (b"fLaC", "a FLAC file"),
    (b"OggS", "an Ogg file"),
    (b"FORM", "an AIFF file"),
    (b"ID3", "an MP3 file"),
    (b"caff", "a CAF file"),
    (b".snd", "an AU file"),
    (b"\x1a\x45\xdf\xa3", "a Matroska (WebM) file"),
    (b"riff\x2e\x91\xcf\x11", "a W64 file"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "an ASF (WMA) file"),
    (b"#!AMR", "an AMR file"),
    (b"NIST_1A", "a NIST SPHERE file"),
    (b"Creative Voice File", "a VOC file"),
)
_UNCHECKED = "whether it was cut short is not known: {} files are not checked for that"
_MPEG_NAMES = frozenset({".mp3", ".mp2", ".mp1", ".mpga", ".mpa"})
_RAW_NAMES = frozenset({".raw", ".pcm", ".ulaw", ".ul", ".mulaw", ".alaw", ".al", ".sw", ".s16", ".f32", ".g711"})


def container_of(head: bytes) -> str | None:
    """The kind of file that begins with these bytes (4 kB are enough), in words; None where it is not recognised.

    Only what samples do not show by chance counts: a signature, or three headers of MPEG audio or AAC, each where the
    one before says.
    """
    if head[4:8] == b"ftyp":
        return "an MP4 (M4A) file"
    signed = next((words for signature, words in _HEADERS if head.startswith(signature)), None)
    return signed or containers.stream_of(head)


def open_track(source: Source) -> Track:
    """A file's sound; raises AudioError where it is not a recording that can be decoded."""
    suffix = Path(source.name).suffix.lower()
    with source.opened() as view:
        words = text.kind_of(view.at(0, 4096))
        parsed = Parsed([], 0) if words else containers.parse(view, suffix in _MPEG_NAMES)
        known = parsed
        if not parsed.parts and not words:
            parsed = Parsed([Part(((0, view.size),))], view.size)
        opened, reason = _forms(view, parsed)
    if words is not None:
        raise AudioError(f"{source.name}: not a recording that can be read (Format not recognised): {words}")
    if not opened:
        why = f"not a recording that can be read ({reason})"
        if suffix in _RAW_NAMES:
            why += "; samples without a header need their raw format: encoding, rate and channels"
        return media.open_track(source, why, known)
    for form in opened:
        checked_rate(form.rate, source.name)
    if not known.parts:
        parsed = replace(parsed, notes=(_UNCHECKED.format(opened[0].kind),))
    announced = [form.seconds for form in opened]
    return Track(
        opened[0].rate,
        max(form.channels for form in opened),
        None if any(seconds is None for seconds in announced) else sum(s for s in announced if s is not None),
        lambda problems: _Decoding(source, parsed, problems).pieces(),
        lambda problems, start: _Decoding(source, parsed, problems, start).pieces(),
    )


def raw_track(source: Source, raw: RawFormat) -> Track:
    """Samples without a header; raises AudioError where there is one, and where it is text."""
    with source.opened() as view:
        head = view.at(0, 4096)
        if words := text.kind_in_place_of_samples(head):
            raise AudioError(f"{source.name}: {words}")
        if container := container_of(head):
            raise AudioError(f"{source.name}: it is {container}, with a header of its own; leave the raw format out")

    def pieces(problems: Problems) -> Iterator[Piece]:
        size = int(BLOCK_SECONDS * raw.rate) * raw.frame_bytes
        with source.opened() as view:
            for start in range(0, view.size, size):
                data = view.at(start, size)
                yield Piece(raw.rate, raw.decode(data))
                if len(data) < min(size, view.size - start):  # the file became shorter meanwhile
                    seconds = (start + len(data)) // raw.frame_bytes / raw.rate
                    problems.lost(f"it breaks off after {seconds:.1f} s; copy or convert it again")
                    return

    return Track(raw.rate, raw.channels, source.size // raw.frame_bytes / raw.rate, pieces)


class SoundFile(Protocol):
    """What is used of ``soundfile.SoundFile``, which has no types."""

    samplerate: int
    channels: int
    frames: int
    format: str
    subtype: str

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    def seek(self, frames: int) -> int:
        """Go to a sample; raises LibsndfileError where that is not possible."""

    def read(self, *, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fill ``out`` [samples, channels]; returns the part of it that was filled."""


@dataclass(frozen=True)
class _Form:
    """Rate, channels and length of a part, as its decoder reports them."""

    rate: int
    channels: int
    seconds: float | None
    kind: str
    """Of file, such as MAT5."""


def _forms(view: View, parsed: Parsed) -> tuple[list[_Form], str]:
    """The parts that can be decoded, and why the first of the others cannot."""
    forms: list[_Form] = []
    reason = ""
    for part in parsed.parts:
        try:
            with _sound_file(view, part) as file:
                frames = _frames(file)
                if part.announced is not None and not part.continues:
                    frames = max(part.announced, frames or 0)
                seconds = None if frames is None else frames / max(1, file.samplerate)
                forms.append(_Form(file.samplerate, file.channels, seconds, file.format))
        except _unreadable() as error:
            reason = reason or _reason(error)
    return forms, reason


class _Decoding:
    """One pass over a file's parts, from a second on."""

    def __init__(self, source: Source, parsed: Parsed, problems: Problems, start: float = 0.0) -> None:
        self._source = source
        self._parsed = parsed
        self._problems = problems
        self._start = start
        self._seconds = 0.0
        self._begun = 0.0  # where the present recording began
        self._origin = 0.0  # what its container calls this second
        self._failures = 0

    def pieces(self) -> Iterator[Piece]:
        """Everything after the start that can be decoded."""
        parts = self._parsed.parts
        with self._source.opened() as view:
            for index, part in enumerate(parts):
                following = parts[index + 1] if index + 1 < len(parts) else None
                current: Part | None = part
                while current is not None:
                    last = following is None or not following.continues
                    current = yield from self._part(view, current, last)
        for line in self._parsed.missing:
            self._problems.lost(line)
        for line in self._parsed.notes:
            self._problems.note(line)

    def _part(self, view: View, part: Part, last: bool) -> Generator[Piece, None, Part | None]:
        """One part; returns what of it follows a failure."""
        with contextlib.ExitStack() as stack:
            try:
                file, read = self._opened(view, part, stack)
            except _unreadable() as error:
                self._problems.lost(
                    f"it is damaged at {self._seconds:.1f} s ({_reason(error)}); copy or convert it again"
                )
                return None
            yield from self._gap(part, file)
            self._seconds += read / file.samplerate
            failed = False
            while not failed:
                samples, failed = _block(file)
                read += len(samples)
                if len(samples) == 0:
                    break
                yield from self._piece(file.samplerate, samples)
            return self._ended(view, part, file, read, failed, last)

    def _opened(self, view: View, part: Part, stack: contextlib.ExitStack) -> tuple[SoundFile, int]:
        """A part's decoder, and the samples before its place."""
        file = stack.enter_context(_sound_file(view, part))
        sample = round(self._start * file.samplerate)
        if sample and self._parsed.parts == [part] and _seeks(file):
            try:
                return file, file.seek(sample)
            except _unreadable():  # damaged, or beyond its end: reading on finds out
                file = stack.enter_context(_sound_file(view, part))
        return file, 0

    def _piece(self, rate: int, samples: NDArray[np.float32]) -> Iterator[Piece]:
        """The next samples [samples, channels], without those before the start."""
        self._seconds += len(samples) / rate
        left = min(len(samples), round((self._seconds - self._start) * rate))
        if left > 0:
            yield Piece(rate, samples[len(samples) - left :])

    def _gap(self, part: Part, file: SoundFile) -> Iterator[Piece]:
        """The silence before a part that follows a hole, where its length is known."""
        begins = part.begins_at
        frames = _frames(file)
        if begins is None and part.ends_at is not None and frames is not None:
            begins = part.ends_at - frames / file.samplerate
        if not part.continues:
            self._begun, self._origin = self._seconds, begins or 0.0
        if part.damage is None:
            return
        missing = 0.0 if begins is None else begins - self._origin - (self._seconds - self._begun)
        missing = missing if 0 < missing <= LONGEST_GAP else 0.0
        length = f", {missing:.1f} s are missing" if missing >= 0.05 else ""
        self._damaged(f"{part.damage}{length}")
        count = round(missing * file.samplerate)
        block = round(BLOCK_SECONDS * file.samplerate)
        for start in range(0, count, block):
            size = min(block, count - start)
            yield from self._piece(file.samplerate, np.zeros((size, file.channels), np.float32))

    def _ended(self, view: View, part: Part, file: SoundFile, read: int, failed: bool, last: bool) -> Part | None:
        """Judge the end of a part, and find what follows it."""
        announced = part.announced if part.announced is not None else _frames(file)
        missing = 0 if announced is None else (announced - read) / file.samplerate
        short = failed or missing > BREAKS_OFF
        self._failures += short
        if short and part.resume is not None and self._failures < _MOST_FAILURES:
            later = part.resume(view, read)
            if later is not None:
                return later
        if last and (short or part.cut):
            whole = f" of {self._seconds + missing:.1f} s" if missing > BREAKS_OFF else ""
            self._problems.lost(f"it breaks off after {self._seconds:.1f} s{whole}; copy or convert it again")
        elif failed:
            self._damaged("it cannot be decoded")
        return None

    def _damaged(self, how: str) -> None:
        self._problems.lost(f"it is damaged at {self._seconds:.1f} s ({how}); copy or convert it again")


def _sound_file(view: View, part: Part) -> SoundFile:
    return _forward_only()(Stretch(view, part.segments))


@functools.cache
def _forward_only() -> Callable[[Stretch], SoundFile]:
    """Soundfile's class without its seeking after every block: libsndfile fails there where the file is damaged."""
    import soundfile

    class ForwardOnly(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return cast("Callable[[Stretch], SoundFile]", ForwardOnly)


def _frames(file: SoundFile) -> int | None:
    """Samples of each channel, None where the file does not say."""
    return file.frames if 0 <= file.frames < 1 << 35 else None


def _seeks(file: SoundFile) -> bool:
    """Whether decoding from a sample on gives the same samples: libsndfile 1.2.2 does not for Vorbis.

    For MP3 it does, but libmpg123 then prints errors about the frames before.
    """
    return file.format != "OGG" and file.subtype.startswith(("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW"))


def _unreadable() -> tuple[type[Exception], ...]:
    import soundfile

    return soundfile.LibsndfileError, RuntimeError, TypeError, OSError


def _block(file: SoundFile) -> tuple[NDArray[np.float32], bool]:
    """The next samples [samples, channels], and whether decoding failed after them.

    libsndfile reports a failure without the number of samples before it, so the block is filled with NaN first.
    """
    out = np.full((int(BLOCK_SECONDS * file.samplerate), file.channels), np.nan, dtype=np.float32)
    try:
        return file.read(out=out), False
    except _unreadable():
        missing = np.flatnonzero(np.isnan(out[:, 0]))
        return out[: int(missing[0]) if len(missing) else len(out)], True


def _reason(error: BaseException) -> str:
    lines = str(getattr(error, "error_string", error)).strip().splitlines()  # libsndfile's text, without the name
    return lines[-1].rstrip(".") if lines else type(error).__name__

"""M4A, WebM, video: recordings that soundfile does not read, decoded by PyAV (FFmpeg's libraries; extra [media])."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import remedies
from ..errors import AudioError, first_line
from .arrays import checked_rate
from .containers import Parsed, films
from .containers.films import Joined
from .source import Source, Stretch, View
from .tracks import BREAKS_OFF, LONGEST_GAP, Piece, Problems, Track

SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".mka", ".avi", ".aac", ".wma", ".ac3", ".amr"}
)
"""Files that need PyAV: the message for a user without it names the package."""

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler
    from av.container import InputContainer

_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,g722,gsm,ircam,latm,loas,matroska,mov,mp3,"
    "mpc,mpc8,mpeg,mpegts,nut,ogg,oma,qcp,rm,shn,sox,spx,tak,truehd,tta,voc,w64,wav,wv"
)
"""The formats that FFmpeg may recognise. Playlists (HLS, DASH, concat), image sequences and devices open other files,
and are left out."""

_MOST_FAILURES = 10_000
"""Packets that cannot be decoded, after which the rest of a recording is not decoded."""

_TIMED = frozenset({"mov", "matroska", "asf", "avi", "flv", "caf", "wav", "w64", "aiff", "au", "ape", "wv", "tta"})
"""Formats that state their length in seconds."""

_SPARSE = frozenset({"matroska", "ogg"})
"""Formats whose encoders leave out silence (Opus in WebM): shorter pauses between their frames are not damage."""

_LONGEST_JUMP = 0.1
"""Seconds between two frames that are not damage in the other formats, whose frames follow each other."""

_LONGEST_JITTER = 0.06
"""Seconds by which the sound may be behind its times before silence is inserted: times are rounded, and recorders of
live streams write the times of arrival."""

_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
"""No other file and no address is ever opened from within one."""


def available() -> bool:
    """Whether the extra [media] (PyAV) is installed."""
    return importlib.util.find_spec("av") is not None


def open_track(source: Source, why: str, parsed: Parsed) -> Track:
    """The first sound track of a file.

    why: what to say where PyAV cannot read it either. parsed: what is known of its structure: FFmpeg does not
    report for every codec where a recording is cut short or damaged.

    Raises AudioError where it is not a medium, has no sound or sound that nothing decodes, and where PyAV is missing
    and the name says that it is needed.
    """
    name = source.name
    if not available():
        remedy = (
            f"; reading it needs PyAV: `{remedies.install('media')}`" if Path(name).suffix.lower() in SUFFIXES else ""
        )
        raise AudioError(f"{name}: {why}{remedy}")
    with source.opened() as view:
        stretches, forms = _joined(view, source, why, parsed)
    seconds = [form.seconds for form in forms]
    return Track(
        forms[0].rate,
        max(form.channels for form in forms),
        None if any(length is None for length in seconds) else sum(length for length in seconds if length is not None),
        lambda problems: _Decoding(source, why, problems, parsed).pieces(stretches),
    )


def _joined(view: View, source: Source, why: str, parsed: Parsed) -> tuple[list[Joined], list[_Form]]:
    """The recordings in a file and what each of them is; raises AudioError where FFmpeg cannot read them."""
    found = films.stretches(view, parsed)
    try:
        return found, [_form(view, source, why, each.place) for each in found]
    except AudioError:  # one of them cannot be opened alone: FFmpeg may still find its way from the beginning
        if len(found) == 1 or not parsed.parts:
            raise
    damage = next((each.damage for each in found if each.damage is not None), None)
    whole = Joined((0, view.size), any(each.cut for each in found), damage)
    return [whole], [_form(view, source, why, whole.place)]


@dataclass(frozen=True)
class _Form:
    rate: int
    channels: int
    lead: float
    """Seconds from the recording's beginning to its sound's, where a picture comes first."""

    seconds: float | None
    """Of the sound, the lead before it included."""

    trusted: bool
    """Whether its seconds were written, not guessed from its bytes."""

    tracks: int


def _form(view: View, source: Source, why: str, stretch: tuple[int, int]) -> _Form:
    with _opened(view, source, why, stretch) as container:
        return _described(container, source.name)


def _described(container: InputContainer, name: str) -> _Form:
    import av

    stream = container.streams.audio[0]
    context = stream.codec_context
    rate = getattr(context, "sample_rate", 0) or 0
    if context is None or not rate:
        raise AudioError(f"{name}: its sound is of a kind that cannot be decoded; convert it to WAV or FLAC")
    begin = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
    lead = begin - (container.start_time or 0) / av.time_base
    lead = lead if _LONGEST_JITTER < lead <= LONGEST_GAP else 0.0
    seconds = _length(container, begin)
    if seconds is not None:
        seconds += lead
    trusted = bool(_TIMED & set(container.format.name.split(",")))
    rate, channels = checked_rate(rate, name), max(1, context.channels)
    return _Form(rate, channels, lead, seconds, trusted, _tracks(container))


def _tracks(container: InputContainer) -> int:
    """How many tracks of sound there are: FLV has one, and FFmpeg finds another where such a file breaks off."""
    return 1 if container.format.name == "flv" else len(container.streams.audio)


def _length(container: InputContainer, begin: float) -> float | None:
    """Seconds of the first sound track, which begins at ``begin``; None where only the longest track's are stated."""
    import av

    stream = container.streams.audio[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska states where each track ends, 00:00:09.088000000, where its writer can go back to the beginning.
    parts = stream.metadata.get("DURATION", "").split(":")
    with contextlib.suppress(ValueError):
        hours, minutes, rest = map(float, parts)
        return max(0.0, 3600 * hours + 60 * minutes + rest - begin)
    others = len(container.streams) - len(container.streams.audio)
    if container.duration and not others and _tracks(container) == 1:
        return container.duration / av.time_base
    return None


def _container(stretch: Stretch) -> InputContainer:
    """Open it whatever bytes its tags hold: PyAV must be told so before release 19, which does it by itself."""
    import av

    if int(av.__version__.partition(".")[0]) < 19:
        return av.open(stretch, "r", metadata_errors="ignore", options=dict(_OPTIONS))
    return av.open(stretch, "r", options=dict(_OPTIONS))


@contextlib.contextmanager
def _opened(view: View, source: Source, why: str, stretch: tuple[int, int]) -> Iterator[InputContainer]:
    try:
        container = _container(Stretch(view, (stretch,)))
    except Exception as error:  # PyAV raises of many families, by what a file holds
        if view.at(stretch[0] + 4, 4) == b"ftyp" and not films.has_index(view, *stretch):
            raise AudioError(
                f"{source.name}: it is an MP4 file without its index (moov), as one that was cut short; "
                "nothing of it can be read, copy it again"
            ) from error
        raise AudioError(f"{source.name}: {why}") from error
    with container:
        if not container.streams.audio:
            raise AudioError(f"{source.name}: it has no sound track")
        yield container


class _Decoding:
    """One pass over a file's sound."""

    def __init__(self, source: Source, why: str, problems: Problems, parsed: Parsed) -> None:
        self._source = source
        self._why = why
        self._problems = problems
        self._parsed = parsed
        self._seconds = 0.0
        self._damaged = False
        self._behind = 0.0  # seconds by which the present file's times are ahead of its sound
        self._lost_at = -BREAKS_OFF  # seconds, of the last damage that was noted

    def pieces(self, stretches: Sequence[Joined]) -> Iterator[Piece]:
        """Everything that can be decoded, of each of the joined files."""
        with self._source.opened() as view:
            for stretch in stretches:
                with _opened(view, self._source, self._why, stretch.place) as container:
                    yield from self._stretch(view, stretch, container)
        for line in self._parsed.missing:
            self._problems.lost(line)
        for line in self._parsed.notes:
            self._problems.note(line)

    def _stretch(self, view: View, stretch: Joined, container: InputContainer) -> Iterator[Piece]:
        """One of the joined files."""
        import av

        begun, noted = self._seconds, len(self._problems.lines)
        try:
            yield from self._file(container, films.avi_seconds(view, *stretch.place), stretch.cut)
        except (av.FFmpegError, OverflowError, MemoryError) as error:
            self._problems.lost(f"it cannot be decoded after {self._seconds:.1f} s ({first_line(error)})")
        if "aac" in container.format.name.split(","):  # FFmpeg passes over what is between ADTS frames
            for seconds in films.adts_holes(view, *stretch.place):
                self._lost(begun + seconds, 0.0)
        if stretch.damage is not None and len(self._problems.lines) == noted:
            self._problems.lost(f"it is damaged after {begun:.1f} s ({stretch.damage}); copy or convert it again")

    def _file(self, container: InputContainer, announced: float, cut: bool) -> Iterator[Piece]:
        """A file's sound; announced: seconds by its AVI header; cut: whether it is known to break off."""
        form = _described(container, self._source.name)
        kinds = set(container.format.name.split(","))
        longest = BREAKS_OFF if kinds & _SPARSE else _LONGEST_JUMP
        begun, ended, started = self._seconds, None, False
        self._behind = 0.0
        planar: tuple[object, AudioResampler] | None = None
        for frame in self._frames(container):
            kind = (frame.sample_rate, frame.layout.name, frame.format.name)
            if planar is None or planar[0] != kind:
                yield from self._flushed(planar)
                planar = kind, _planar()
            if not started:
                started = True
                yield from self._silence(frame, form.lead)
            if frame.time is not None:
                yield from self._gap(frame, 0.0 if ended is None else frame.time - ended, longest)
                ended = frame.time + frame.samples / frame.sample_rate
            for part in planar[1].resample(frame):
                yield self._piece(part)
        yield from self._flushed(planar)
        whole = max(form.seconds or 0.0, announced)
        missing = whole - (self._seconds - begun) if form.trusted else 0.0
        noted = self._seconds - self._lost_at < BREAKS_OFF and whole > (form.seconds or 0.0)
        if self._damaged or cut or (missing > BREAKS_OFF and not noted):
            of = f" of {self._seconds + missing:.1f} s" if missing > BREAKS_OFF else ""
            self._problems.lost(f"it breaks off after {self._seconds:.1f} s{of}; copy or convert it again")
        if form.tracks > 1:
            self._problems.note(f"the first of its {form.tracks} sound tracks is transcribed")

    def _frames(self, container: InputContainer) -> Iterator[AudioFrame]:
        """The frames of the first sound track; what cannot be decoded is left out and noted."""
        import av

        failures, progress = 0, True
        while progress:  # an error of the container ends the iteration over its packets, which is then started again
            progress = False
            try:
                for packet in container.demux(container.streams.audio[0]):
                    try:
                        frames = packet.decode()
                    except av.FFmpegError:
                        self._damaged, failures = True, failures + 1
                        if failures > _MOST_FAILURES:
                            return
                        continue
                    self._damaged = self._damaged or packet.is_corrupt
                    progress = progress or packet.size > 0
                    yield from frames
                return
            except (av.FFmpegError, IndexError):  # PyAV's, of a track that FFmpeg finds where an FLV file breaks off
                self._damaged = True

    def _gap(self, frame: AudioFrame, gap: float, longest: float) -> Iterator[Piece]:
        """Silence in place of what is missing before a frame, so that it keeps its time; gap: to the frame before.

        Gaps are added up: many short ones make words as early as a long one does, and after a frame that came late the
        next one seems to overlap it.
        """
        if gap > -BREAKS_OFF:  # else times began anew
            self._behind += gap
        if min(gap, self._behind) > longest or self._damaged:
            self._lost(self._seconds, self._behind)
            self._damaged = False
        if self._behind > _LONGEST_JITTER:
            yield from self._silence(frame, self._behind)
            self._behind = 0.0

    def _silence(self, frame: AudioFrame, seconds: float) -> Iterator[Piece]:
        """Silence before a frame, of the frame's form."""
        if _LONGEST_JITTER < seconds <= LONGEST_GAP:
            self._seconds += seconds
            channels = len(frame.layout.channels)
            yield Piece(frame.sample_rate, np.zeros((round(seconds * frame.sample_rate), channels), np.float32))

    def _lost(self, seconds: float, missing: float) -> None:
        self._lost_at = seconds
        length = f" ({missing:.1f} s are missing)" if missing > 0.05 else ""
        self._problems.lost(f"it is damaged at {seconds:.1f} s{length}; copy or convert it again")

    def _flushed(self, planar: tuple[object, AudioResampler] | None) -> Iterator[Piece]:
        if planar is not None:
            for part in planar[1].resample(None):
                yield self._piece(part)

    def _piece(self, part: AudioFrame) -> Piece:
        samples = np.ascontiguousarray(part.to_ndarray().T, dtype=np.float32)
        self._seconds += len(samples) / part.sample_rate
        return Piece(part.sample_rate, samples)


def _planar() -> AudioResampler:
    """A resampler that changes only the form of samples; layout and rate stay."""
    import av

    return av.AudioResampler(format="fltp")

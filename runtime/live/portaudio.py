"""The edge to PortAudio (sounddevice): devices, one int16 input stream, its errors translated."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from .. import remedies
from ..errors import EngineError
from . import sound_server

if TYPE_CHECKING:
    from typing_extensions import Buffer

_CARD = re.compile(r" \(hw:\d+,\d+\)$")  # how ALSA numbers a card, which changes when it is plugged in again
_BLOCK_SECONDS = 0.1  # partials end on tenths of a second; shorter blocks would only wake more threads


@dataclass(frozen=True)
class PortAudioDevice:
    """An input device as PortAudio lists it; rate: its own, Hz."""

    index: int
    name: str
    channels: int
    rate: int


class _Open:
    """How many streams this process has open: PortAudio cannot list devices anew while there are any."""

    lock = threading.RLock()
    count = 0


class _InputStream(Protocol):
    """What is used of ``sounddevice.RawInputStream``."""

    @property
    def active(self) -> bool: ...
    def abort(self, ignore_errors: bool = ...) -> None: ...
    def close(self, ignore_errors: bool = ...) -> None: ...


class _ResampleStream(Protocol):
    """What is used of ``soxr.ResampleStream``."""

    def resample_chunk(self, x: NDArray[np.float32], last: bool = ...) -> NDArray[np.generic]: ...


class _DeviceInfo(TypedDict):
    """What is used of a device of ``sounddevice.query_devices``."""

    index: int
    name: str
    max_input_channels: int
    default_samplerate: float


@dataclass
class InputStream:
    """An open input stream; ``active`` turns False when the device goes away."""

    raw: _InputStream
    rate: int
    closed: bool = False

    def __post_init__(self) -> None:
        with _Open.lock:
            _Open.count += 1

    @property
    def active(self) -> bool:
        """Whether it is still running."""
        try:
            return bool(self.raw.active)
        except _sounddevice().PortAudioError:
            return False

    def close(self) -> None:
        """Stop and close; a device that is gone is not an error."""
        if self.closed:
            return
        self.closed = True
        with _Open.lock:
            _Open.count -= 1
            try:
                self.raw.abort(ignore_errors=True)
                self.raw.close(ignore_errors=True)
            except _sounddevice().PortAudioError:
                return


class Resampler:
    """A stream of mono samples from one rate to another, kept in step: output n is input n × target / rate."""

    def __init__(self, rate: int, target: int) -> None:
        """Rates in Hz."""
        self._stream: _ResampleStream | None = None
        if rate != target:
            import soxr

            self._stream = soxr.ResampleStream(rate, target, 1, "float32")

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output that is complete after these samples [samples]."""
        return samples if self._stream is None else np.asarray(self._stream.resample_chunk(samples), np.float32)

    def flush(self) -> NDArray[np.float32]:
        """The rest of the output; the stream is over."""
        nothing = np.zeros(0, np.float32)
        return (
            nothing if self._stream is None else np.asarray(self._stream.resample_chunk(nothing, last=True), np.float32)
        )


def mono(data: bytes, frames: int) -> NDArray[np.float32]:
    """Interleaved int16 frames as mono float32 [frames] in [-1, 1)."""
    samples = np.frombuffer(data, np.int16).reshape(frames, -1).astype(np.float32)
    mixed: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32) / np.float32(32768)
    return mixed


def inputs() -> list[PortAudioDevice]:
    """All input devices; raises EngineError without PortAudio."""
    with _translated("the devices cannot be listed"):
        found = _sounddevice().query_devices()
    return [_device(values) for values in found if values["max_input_channels"] > 0]


def find(wanted: str | int | None) -> PortAudioDevice:
    """The device with that index, or whose name contains ``wanted`` (an exact name wins); None: the default device.

    Raises EngineError, naming the devices, when none matches.
    """
    sd = _sounddevice()
    have = inputs()
    if not have:
        raise EngineError("no microphone found; plug one in, or caption a file or a pipe instead")
    if wanted is None:
        try:
            return _device(sd.query_devices(kind="input"))
        except (sd.PortAudioError, ValueError):
            return have[0]
    if isinstance(wanted, int) or wanted.isdecimal():
        matches = [device for device in have if device.index == int(wanted)]
    else:
        matches = [device for device in have if device.name == wanted]
        matches = matches or [device for device in have if wanted.lower() in device.name.lower()]
    if not matches:
        listed = ", ".join(f"{device.index} {device.name!r}" for device in have)
        raise EngineError(f"no microphone {wanted!r}; there are {listed}")
    return matches[0]


def find_again(wanted: str | int | None, name: str) -> PortAudioDevice:
    """The device that had the name ``name`` when it was found as ``wanted``, on whatever port; else as ``find``.

    Raises EngineError when it is not connected.
    """
    if wanted is None:
        return find(None)
    have = inputs()
    for same in (lambda other: other == name, lambda other: _CARD.sub("", other) == _CARD.sub("", name)):
        for device in have:
            if same(device.name):
                return device
    if isinstance(wanted, int) or wanted.isdecimal():
        raise EngineError(f"microphone {name!r} is gone")  # another may have its index now
    return find(wanted)


def refresh() -> None:
    """List the devices anew (PortAudio keeps its first list), unless a stream of this process is open.

    Raises EngineError when PortAudio does not start again.
    """
    sd = _sounddevice()
    with _Open.lock:
        if _Open.count:
            return
        with _translated("PortAudio does not start"):
            try:
                sd._terminate()
            finally:
                sound_server.keep_out_of_home()  # a server may have started
                sd._initialize()


def refresh_if_empty() -> None:
    """List the devices anew when there is no input: the sound server may have started after the import."""
    if not inputs():
        refresh()


def open_stream(
    device: PortAudioDevice, rate: int | None, captured: Callable[[bytes, int, int], None], finished: Callable[[], None]
) -> InputStream:
    """Open an int16 input stream at ``rate`` or the device's own, mono where it can; raises EngineError.

    ``captured(data, frames, rate)`` and ``finished()`` are called on PortAudio's thread.
    """
    with _Open.lock:
        return _open_stream(device, rate, captured, finished)


def _open_stream(
    device: PortAudioDevice, rate: int | None, captured: Callable[[bytes, int, int], None], finished: Callable[[], None]
) -> InputStream:
    sd = _sounddevice()

    reason: Exception | None = None
    for channels in dict.fromkeys((1, min(2, device.channels), min(8, device.channels))):
        for hertz in dict.fromkeys((rate or device.rate,) if rate else (device.rate, 48000, 44100, 16000)):

            def callback(data: Buffer, frames: int, stamps: object, status: object, hertz: int = hertz) -> None:
                captured(bytes(data), frames, hertz)

            try:
                stream = sd.RawInputStream(
                    samplerate=hertz,
                    blocksize=int(hertz * _BLOCK_SECONDS),
                    device=device.index,
                    channels=channels,
                    dtype="int16",
                    callback=callback,
                    finished_callback=finished,
                )
                stream.start()
                return InputStream(stream, hertz)
            except sd.PortAudioError as error:
                reason = error
                if error.args[1:2] not in ((-9997,), (-9998,)):  # neither the rate nor the number of channels
                    raise EngineError(f"microphone {device.name!r} cannot be opened: {_line(error)}") from error
    raise EngineError(
        f"microphone {device.name!r} cannot be opened: {_line(reason)}; another rate may work"
    ) from reason


def _device(values: _DeviceInfo) -> PortAudioDevice:
    rate = round(values["default_samplerate"])
    return PortAudioDevice(int(values["index"]), str(values["name"]), int(values["max_input_channels"]), rate)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except _sounddevice().PortAudioError as error:
        raise EngineError(f"{what}: {_line(error)}") from error


def _line(error: Exception | None) -> str:
    return str(error.args[0] if error and error.args else error).strip().splitlines()[0]


def _sounddevice() -> ModuleType:
    if "sounddevice" not in sys.modules:  # its import starts PortAudio
        sound_server.keep_out_of_home()
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        if error.name != "sounddevice":
            raise
        message = f"the microphone needs sounddevice; install it with `{remedies.install('mic')}`"
        raise EngineError(message) from error
    except OSError as error:
        raise EngineError("PortAudio is not installed; install it with `apt-get install libportaudio2`") from error
    except Exception as error:  # its PortAudioError, which cannot be imported then
        raise EngineError(f"PortAudio does not start: {_line(error)}") from error
    module: ModuleType = sounddevice
    return module

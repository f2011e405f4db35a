"""The edge to PortAudio (sounddevice): devices, one int16 input stream, its errors translated."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError

_BLOCK_SECONDS = 0.1  # partials end on tenths of a second; shorter blocks would only wake more threads


@dataclass(frozen=True)
class Device:
    """An input device; rate: its own, Hz."""

    index: int
    name: str
    channels: int
    rate: int


@dataclass
class Stream:
    """An open input stream; ``active`` turns False when the device goes away."""

    raw: Any
    rate: int

    @property
    def active(self) -> bool:
        """Whether it still runs."""
        return bool(self.raw.active)

    def close(self) -> None:
        """Stop and close; a device that is gone is no error."""
        try:
            self.raw.abort(ignore_errors=True)
            self.raw.close(ignore_errors=True)
        except _sounddevice().PortAudioError:
            return


class Resampler:
    """A stream of mono samples from one rate to another, kept in step: output n is input n × target / rate."""

    def __init__(self, rate: int, target: int) -> None:
        """Rates in Hz."""
        self._stream: Any = None
        if rate != target:
            import soxr

            self._stream = soxr.ResampleStream(rate, target, 1, "float32")

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after these samples [samples]."""
        return samples if self._stream is None else np.asarray(self._stream.resample_chunk(samples), np.float32)

    def flush(self) -> NDArray[np.float32]:
        """What is left; the stream ends."""
        nothing = np.zeros(0, np.float32)
        return (
            nothing if self._stream is None else np.asarray(self._stream.resample_chunk(nothing, last=True), np.float32)
        )


def mono(data: bytes, frames: int) -> NDArray[np.float32]:
    """Interleaved int16 frames as mono float32 [frames] in [-1, 1)."""
    samples = np.frombuffer(data, np.int16).reshape(frames, -1).astype(np.float32)
    mixed: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32) / np.float32(32768)
    return mixed


def inputs() -> list[Device]:
    """The input devices there are; raises EngineError without PortAudio."""
    found = _sounddevice().query_devices()
    return [_device(values) for values in found if values["max_input_channels"] > 0]


def find(wanted: str | int | None) -> Device:
    """The device of that index, or whose name has that in it (an exact name wins), or the default one.

    Raises EngineError naming those there are.
    """
    sd = _sounddevice()
    have = inputs()
    if not have:
        raise EngineError("no microphone found; plug one in, or use --file or --stdin")
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


def refresh() -> None:
    """Look for devices again (PortAudio keeps its first list); every stream of the process must be closed."""
    sd = _sounddevice()
    try:
        sd._terminate()
    finally:
        sd._initialize()


def refresh_if_empty() -> None:
    """Look again when there is no input: the sound server may have started after the import."""
    if not inputs():
        refresh()


def open_stream(
    device: Device, rate: int | None, heard: Callable[[bytes, int, int], None], finished: Callable[[], None]
) -> Stream:
    """Open an int16 input stream at ``rate`` or the device's own, mono where it can; raises EngineError.

    ``heard(data, frames, rate)`` and ``finished()`` are called on PortAudio's thread.
    """
    sd = _sounddevice()

    reason: Exception | None = None
    for channels in dict.fromkeys((1, min(2, device.channels), min(8, device.channels))):
        for hertz in dict.fromkeys((rate or device.rate,) if rate else (device.rate, 48000, 44100, 16000)):

            def callback(data: Any, frames: int, stamps: Any, status: Any, hertz: int = hertz) -> None:
                heard(bytes(data), frames, hertz)

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
                return Stream(stream, hertz)
            except sd.PortAudioError as error:
                reason = error
                if error.args[1:2] not in ((-9997,), (-9998,)):  # neither the rate nor the number of channels
                    raise EngineError(f"microphone {device.name!r} cannot be opened: {_line(error)}") from error
    raise EngineError(f"microphone {device.name!r} cannot be opened: {_line(reason)}; try --rate") from reason


def _device(values: Any) -> Device:
    rate = round(values["default_samplerate"])
    return Device(int(values["index"]), str(values["name"]), int(values["max_input_channels"]), rate)


def _line(error: Exception | None) -> str:
    return str(error.args[0] if error and error.args else error).strip().splitlines()[0]


def _sounddevice() -> Any:
    if importlib.util.find_spec("sounddevice") is None:
        raise EngineError('the microphone needs sounddevice; install it with `pip install "wav2edge[mic]"`')
    try:
        import sounddevice
    except OSError as error:
        raise EngineError("PortAudio is not installed; install it with `apt-get install libportaudio2`") from error
    return sounddevice

"""``wav2edge.live``: captions in one line of Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..bundle.read import Bundle
from .capture import CaptureSettings, Microphone
from .events import Event
from .settings import LiveSettings
from .sources import FileSource, Source
from .transcriber import LiveTranscriber


def live(
    bundle: str | Path | Bundle | None = None,
    *,
    file: str | Path | None = None,
    fast: bool = False,
    device: str | int | None = None,
    engine: str | None = None,
    variant: str | None = None,
    threads: int | None = None,
    settings: LiveSettings | None = None,
) -> Iterator[Event]:
    """Events of a microphone (or of a file, paced in real time unless ``fast``), as they happen.

    bundle: None means the embedded one. device: a part of the microphone's name or its index. The model is loaded and
    the microphone opened before this returns. Raises what LiveTranscriber.open and Microphone raise.
    """
    transcriber = LiveTranscriber.open(bundle, engine, variant, threads=threads, settings=settings)
    try:
        source: Source = FileSource(file, fast) if file is not None else Microphone(CaptureSettings(device=device))
    except BaseException:
        transcriber.close()
        raise
    return _events(transcriber, source)


def _events(transcriber: LiveTranscriber, source: Source) -> Iterator[Event]:
    try:
        yield from transcriber.session(source)
    finally:
        source.close()
        transcriber.close()

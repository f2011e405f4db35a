"""MP3s without the lines that their decoder writes to stderr by itself.

libmpg123, inside soundfile's libsndfile, tells of a file that is cut short or damaged in lines of its own, beside the
one line that this program prints, and soundfile has no option against it. So the process's stderr leads to a temporary
file while an MP3 is opened and while a block of it is decoded. What else arrives there meanwhile is passed on. The
library does no such thing: only a command owns its process.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from wav2edge.runtime.audio.read import AudioSource, Recording, Samples
from wav2edge.runtime.recordings.transcriber import Transcriber

_DECODERS_OWN = re.compile(rb"^(?:\[src/libmpg123/|Note: |Warning: ).*\n?", re.MULTILINE)


class QuietTranscriber(Transcriber):
    """The runtime's transcriber, whose MP3s are read in silence."""

    def open_recording(self, source: AudioSource, *parameters: Any, **named: Any) -> Recording:
        """As the runtime's; raises AudioError."""
        if isinstance(source, (str, Path)) and not str(source).lower().endswith((".mp3", ".mp2", ".mpga")):
            return super().open_recording(source, *parameters, **named)
        with without_decoder_lines():
            recording = super().open_recording(source, *parameters, **named)
        return replace(recording, blocks=_silently(recording.blocks))


@contextlib.contextmanager
def without_decoder_lines() -> Iterator[None]:
    """Drop libmpg123's lines from the process's stderr; everything else appears at the end."""
    with tempfile.TemporaryFile() as spool:
        kept = os.dup(2)
        os.dup2(spool.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            spool.seek(0)
            if rest := _DECODERS_OWN.sub(b"", spool.read()):
                with contextlib.suppress(OSError):  # nobody reads stderr any more
                    os.write(kept, rest)
            os.close(kept)


def _silently(blocks: Iterator[Samples]) -> Iterator[Samples]:
    while True:
        with without_decoder_lines():
            block = next(blocks, None)
        if block is None:
            return
        yield block

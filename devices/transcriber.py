"""``wav2edge.Transcriber``: the runtime's, opened with what suits this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.bundle import embedded
from ..runtime.bundle.read import Bundle
from ..runtime.recordings import transcriber
from ..runtime.recordings.chunking import Chunking
from ..runtime.recordings.segmentation import Segmentation
from ..runtime.recordings.transcriber import WordDecoder
from . import choice

if TYPE_CHECKING:
    from typing_extensions import Self


class Transcriber(transcriber.Transcriber):
    """A loaded model that turns recordings into transcripts; use it as a context manager or call ``close``."""

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle | None = None,
        engine: str | None = None,
        variant: str | None = None,
        *,
        threads: int | None = None,
        decoder: WordDecoder | None = None,
        chunking: Chunking | None = None,
        segmentation: Segmentation | None = None,
        lanes: int = 1,
    ) -> Self:
        """Load a bundle (None: the embedded one) with the engine, variant and threads that suit this machine.

        What is named wins, then what ``wav2edge bench --tune`` measured here, then the board's profile, as on the
        command line. The other parameters and the errors are those of ``runtime.transcriber.Transcriber.open``.
        """
        bundle = embedded.resolve(bundle)
        if bundle.spec.head == "ctc":  # else the runtime says that the head does not transcribe
            chosen = choice.choose(bundle, engine, variant, threads)
            engine, variant, threads = chosen.engine, chosen.variant.name, chosen.threads
        return super().open(
            bundle,
            engine,
            variant,
            threads=threads,
            decoder=decoder,
            chunking=chunking,
            segmentation=segmentation,
            lanes=lanes,
        )

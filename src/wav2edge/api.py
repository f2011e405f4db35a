"""The public face: what ``import wav2edge`` offers beside its types. Everything heavy is imported on first use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.devices.open import open_model
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings import transcriber
from wav2edge.runtime.recordings.chunking import Chunking
from wav2edge.runtime.recordings.decoding import WordDecoder
from wav2edge.runtime.recordings.segmentation import Segmentation

if TYPE_CHECKING:
    ModelOrPath = Model | Bundle | str | Path | None


def open(
    bundle: str | Path | Bundle | None = None,
    *,
    engine: str | None = None,
    variant: str | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Model:
    """Open a bundle's model with the engine, variant and threads that suit this machine.

    What is named wins, then what ``bench`` measured here, then the board's profile. bundle: None means the embedded
    demo model. Use the model as a context manager, or close it. Raises BundleError, InputError, EngineError.

    >>> with wav2edge.open() as model:
    ...     print(model.engine, model.variant.name)
    onnxruntime int8-u8s8
    """
    return open_model(bundle, engine, variant, threads=threads, device=device)


class Transcriber(transcriber.Transcriber):
    """Turns recordings into transcripts.

    >>> with wav2edge.Transcriber("my-bundle") as transcribe:
    ...     print(transcribe("talk.flac").to_srt())
    """

    def __init__(
        self,
        model: ModelOrPath = None,
        *,
        decoder: WordDecoder | None = None,
        chunking: Chunking | None = None,
        segmentation: Segmentation | None = None,
        lanes: int = 1,
    ) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does (None: the embedded demo model).

        The other parameters and the errors are those of ``runtime.recordings.transcriber.Transcriber``.
        """
        super().__init__(as_model(model), decoder=decoder, chunking=chunking, segmentation=segmentation, lanes=lanes)


def as_model(model: ModelOrPath) -> Model:
    """A model as it is; a bundle or its path opened as ``wav2edge.open`` does."""
    return model if isinstance(model, Model) else open_model(model)

"""Public classes that run a model on recordings and on live sound, and ``listen``, the loop for live sound."""

from __future__ import annotations

from pathlib import Path

from wav2edge.devices.open import live_settings, open_model
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import frame_classification
from wav2edge.runtime.live import labels
from wav2edge.runtime.live import transcriber as live_transcriber
from wav2edge.runtime.live.labels import LabelSettings
from wav2edge.runtime.live.listening import Events, open_source
from wav2edge.runtime.live.model import LiveModel
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.sources import LiveSource
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings import heads, transcriber
from wav2edge.runtime.recordings.chunking import Chunking
from wav2edge.runtime.recordings.decoding import WordDecoder
from wav2edge.runtime.recordings.segmentation import Segmentation

ModelOrPath = Model | Bundle | str | Path | None
"""A model, an open bundle, a bundle's path, or None for the embedded demo model."""


class Transcriber(transcriber.Transcriber):
    """Turns recordings into transcripts.

    >>> import wav2edge
    >>> with wav2edge.Transcriber() as transcribe:
    ...     transcript = transcribe([0.0] * 16000)
    >>> (transcript.text, transcript.seconds)
    ('', 1.0)
    """

    def __init__(
        self,
        model: ModelOrPath = None,
        *,
        decoder: WordDecoder | None = None,
        chunking: Chunking | None = None,
        segmentation: Segmentation | None = None,
        lanes: int = 1,
        skip_silence: bool = False,
    ) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does (None: the embedded demo model).

        decoder: how logits become words: greedy by default, a BeamDecoder with a language model. chunking: how long
        recordings are cut; segmentation: where segments end. lanes: chunks that ``batch`` runs at once on a CPU.
        skip_silence: do not run the pauses of recordings longer than one chunk.
        Raises InputError for a head that does not transcribe, EngineError and BundleError as ``wav2edge.open`` does.
        """
        super().__init__(
            as_model(model),
            decoder=decoder,
            chunking=chunking,
            segmentation=segmentation,
            lanes=lanes,
            skip_silence=skip_silence,
        )

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
        skip_silence: bool = False,
    ) -> Transcriber:
        """The same as ``Transcriber(wav2edge.open(bundle, engine=…, variant=…, threads=…), …)``."""
        model = open_model(bundle, engine, variant, threads=threads)
        return cls(
            model,
            decoder=decoder,
            chunking=chunking,
            segmentation=segmentation,
            lanes=lanes,
            skip_silence=skip_silence,
        )


class Classifier(heads.Classifier):
    """Labels recordings, with a bundle whose head is sequence classification.

    >>> import wav2edge
    >>> with wav2edge.Classifier("emotion") as classify:  # doctest: +SKIP
    ...     print(classify("call.wav").label)
    """

    def __init__(self, model: ModelOrPath, *, chunking: Chunking | None = None) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does; errors as of a Transcriber."""
        super().__init__(as_model(model), chunking)


class Regressor(heads.Regressor):
    """Gives a number for each label of a recording, with a bundle whose head is regression.

    >>> import wav2edge
    >>> with wav2edge.Regressor("dimensional-emotion") as regress:  # doctest: +SKIP
    ...     print(regress("call.wav").values)
    """

    def __init__(self, model: ModelOrPath, *, chunking: Chunking | None = None) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does; errors as of a Transcriber."""
        super().__init__(as_model(model), chunking)


class FrameClassifier(heads.FrameClassifier):
    """Says which labels hold when (speakers, voice), with a bundle whose head is frame classification.

    >>> import wav2edge
    >>> with wav2edge.FrameClassifier("diarizer") as turns_of:  # doctest: +SKIP
    ...     print(turns_of("meeting.flac").turns)
    """

    def __init__(
        self,
        model: ModelOrPath,
        *,
        chunking: Chunking | None = None,
        options: frame_classification.Options | None = None,
    ) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does; errors as of a Transcriber.

        options: how probabilities become turns (None: as the bundle says).
        """
        super().__init__(as_model(model), chunking, options)


class Embedder(heads.Embedder):
    """Embeds recordings and compares speakers, with a bundle whose head is an x-vector or that is a bare encoder.

    >>> import wav2edge
    >>> with wav2edge.Embedder("speakers") as embed:  # doctest: +SKIP
    ...     print(embed.verify("a.wav", "b.wav").same)
    """

    def __init__(self, model: ModelOrPath, *, chunking: Chunking | None = None) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does; errors as of a Transcriber."""
        super().__init__(as_model(model), chunking)


class LiveTranscriber(live_transcriber.LiveTranscriber):
    """Captions speech in an audio loop of your own; ``listen`` has a loop for microphones and files.

    >>> import wav2edge
    >>> with wav2edge.LiveTranscriber() as captions:
    ...     for _ in range(20):  # 0.1 s at a time, as a sound card gives it
    ...         events = captions.push([0.0] * 1600, sample_rate=16000)
    ...     last = captions.finish()
    >>> [event.kind for event in last]
    ['stats']
    """

    def __init__(
        self,
        model: ModelOrPath = None,
        settings: LiveSettings | None = None,
        *,
        decoder: WordDecoder | None = None,
        segmentation: Segmentation | None = None,
    ) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does (None: the embedded demo model).

        settings: None takes those that suit this machine. The other parameters and the errors are those of
        ``runtime.live.transcriber.LiveTranscriber``.
        """
        settings = settings or live_settings()
        super().__init__(as_model(model), settings, decoder=decoder, segmentation=segmentation)


class LiveClassifier(labels.LiveClassifier):
    """Labels sound while it comes, in an audio loop of your own, with a model that classifies clips.

    It is used as LiveTranscriber is; its events are ``events.Label``, such as a keyword, once it was said.
    """

    def __init__(self, model: ModelOrPath, settings: LabelSettings | None = None) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does.

        Raises InputError for a head that does not classify clips, and what ``wav2edge.open`` raises.
        """
        super().__init__(as_model(model), settings)


def listen(
    model: ModelOrPath = None,
    source: LiveSource | str | Path | None = None,
    settings: LiveSettings | LabelSettings | None = None,
    *,
    decoder: WordDecoder | None = None,
) -> Events:
    """Caption a microphone, a recording or another source: an iterator of events, as ``wav2edge listen`` shows them.

    With a model that classifies clips, such as a keyword spotter, the events are Labels.

    source: None is the default microphone, a path a recording in real time; FileSource, PipeSource and Microphone of
    ``wav2edge.runtime.live`` have more options. settings: None takes those that suit this machine. It works in ``for``,
    ``async for`` and ``with``; closing it closes the source and the model. Raises AudioError for a recording that
    cannot be read, EngineError without a microphone, and what ``wav2edge.open`` raises.

    >>> import wav2edge
    >>> from wav2edge.runtime.bundle import embedded
    >>> from wav2edge.runtime.live.sources import FileSource
    >>> recording = embedded.clips_manifest().parent / "coffee-latte.opus"
    >>> with wav2edge.listen(source=FileSource(recording, fast=True)) as captions:
    ...     texts = [event.text for event in captions if isinstance(event, wav2edge.events.Final)]
    >>> len(texts)
    1
    """
    opened = open_source(source)
    try:
        return Events(_live_model(as_model(model), settings, decoder), opened)
    except BaseException:
        opened.close()
        raise


def _live_model(model: Model, settings: LiveSettings | LabelSettings | None, decoder: WordDecoder | None) -> LiveModel:
    """The model ready for live sound, by its head."""
    if model.spec.head == "ctc":
        if isinstance(settings, LabelSettings):
            raise InputError(f"{model.bundle.path}: it transcribes; give LiveSettings")
        return LiveTranscriber(model, settings, decoder=decoder)
    if isinstance(settings, LiveSettings):
        raise InputError(f"{model.bundle.path}: its head is {model.spec.head}; give LabelSettings")
    return LiveClassifier(model, settings)


def as_model(model: ModelOrPath) -> Model:
    """A model as it is; a bundle or its path opened as ``wav2edge.open`` does."""
    return model if isinstance(model, Model) else open_model(model)


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
) -> Events:
    """Caption a microphone or a recording live; deprecated, use ``listen``.

    file: a recording instead of a microphone, in real time unless ``fast``; device: a microphone's number or a part of
    its name. The other parameters and the errors are those of ``listen`` and ``wav2edge.open``.
    """
    import warnings

    from wav2edge.runtime.live.capture import CaptureSettings, Microphone
    from wav2edge.runtime.live.sources import FileSource

    warnings.warn("wav2edge.live is now wav2edge.listen(model, source, settings)", DeprecationWarning, stacklevel=2)
    source: LiveSource = FileSource(file, fast) if file is not None else Microphone(CaptureSettings(device=device))
    try:
        return listen(open_model(bundle, engine, variant, threads=threads), source, settings)
    except BaseException:
        source.close()
        raise

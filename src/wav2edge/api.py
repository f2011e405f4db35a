"""The public face: the functions and classes behind ``import wav2edge``; what is heavy is imported when it is used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.devices.open import live_settings, open_model
from wav2edge.runtime.bundle import embedded
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

if TYPE_CHECKING:
    from wav2edge.calibration.options import Options
    from wav2edge.calibration.quantize import Calibration
    from wav2edge.measure.bench.report import BenchReport
    from wav2edge.measure.evaluation import Evaluation
    from wav2edge.measure.scoring import Normalization
    from wav2edge.runtime.selftest import SelftestResult

ModelOrPath = Model | Bundle | str | Path | None
"""A model, an open bundle, a bundle's path, or None for the embedded demo model."""


def open(
    bundle: str | Path | Bundle | None = None,
    *,
    engine: str | None = None,
    variant: str | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Model:
    """Open a bundle's model with the engine, variant and threads that suit this machine.

    What is named wins, then what ``bench`` measured and kept here, then the board's profile. bundle: None means the
    embedded demo model. device: an engine's device by its own name, such as ``cuda:0``. Use the model as a context
    manager, or close it. Raises BundleError, InputError, EngineError.

    >>> import wav2edge
    >>> with wav2edge.open(engine="onnxruntime", variant="fp32") as model:
    ...     print(model.engine, model.variant.name, model.spec.head)
    onnxruntime fp32 ctc
    """
    return open_model(bundle, engine, variant, threads=threads, device=device)


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
    ) -> None:
        """Take a model, or open a bundle by its path as ``wav2edge.open`` does (None: the embedded demo model).

        decoder: how logits become words: greedy by default, a BeamDecoder with a language model. chunking: how long
        recordings are cut; segmentation: where segments end. lanes: chunks that ``batch`` runs at once on a CPU.
        Raises InputError for a head that does not transcribe, EngineError and BundleError as ``wav2edge.open`` does.
        """
        super().__init__(as_model(model), decoder=decoder, chunking=chunking, segmentation=segmentation, lanes=lanes)

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
    ) -> Transcriber:
        """The same as ``Transcriber(wav2edge.open(bundle, engine=…, variant=…, threads=…), …)``."""
        model = open_model(bundle, engine, variant, threads=threads)
        return cls(model, decoder=decoder, chunking=chunking, segmentation=segmentation, lanes=lanes)


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
    """Caption a microphone or a recording live: the former name of ``listen``.

    file: a recording instead of a microphone, played at its own pace unless ``fast``; device: a microphone's number or
    a part of its name. The other parameters and the errors are those of ``listen`` and ``wav2edge.open``.
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


def export(
    checkpoint: str | Path,
    bundle: str | Path,
    *,
    normalize: bool | None = None,
    revision: str | None = None,
    language: str | None = None,
    ignore_weights: Sequence[str] = (),
    vocab: str | Path | None = None,
    label_groups: Sequence[int] = (),
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Bundle:
    """Export a trained checkpoint to a bundle whose outputs are proven equal to torch's.

    checkpoint: a Hugging Face directory (a LoRA adapter too), the name of one on the hub, a weight file of fairseq or
    torchaudio, or an ONNX file of optimum or transformers.js; revision: its branch, tag or commit on the hub.
    normalize: whether clips are brought to zero mean and unit variance, where the checkpoint does not say it. language:
    one of several that the checkpoint holds. ignore_weights: shell-style patterns of weights that may stay unused.
    vocab: a vocab.json or fairseq's dictionary, where the checkpoint has no labels. label_groups: sizes of consecutive
    groups of a classifier's labels, of which one holds each. overwrite: replace a bundle that exists. progress: called
    with each step, in words.

    Raises CheckpointError for a checkpoint that cannot be exported, GateRefused where parity fails (then no bundle is
    written), InputError where the bundle exists or cannot be written. Needs the extra [export].

    >>> import wav2edge
    >>> bundle = wav2edge.export("my-checkpoint", "my-bundle")  # doctest: +SKIP
    """
    from wav2edge.export.opening import export_checkpoint, open_checkpoint

    opened = open_checkpoint(
        str(checkpoint),
        normalize,
        revision,
        language,
        ignore_weights=list(ignore_weights),
        vocab=vocab,
        label_groups=label_groups,
    )
    return export_checkpoint(opened, Path(bundle), overwrite=overwrite, progress=progress or (lambda step: None))


def quantize(
    bundle: str | Path | Bundle,
    speech: str | Path,
    dev: str | Path | None = None,
    *,
    variants: Sequence[str] | None = None,
    max_wer_rise: float | None = None,
    threads: int | None = None,
    options: Options | None = None,
    say: Callable[[str], None] | None = None,
) -> Calibration:
    """Add INT8 and FP16 variants that keep the words of fp32 to a bundle.

    speech: manifest to calibrate on; dev: manifest to judge on (None: every second clip of ``speech``). variants: their
    names, such as ``int8-u8s8`` (None: those that suit the CPUs and GPUs of today). max_wer_rise: points of word error
    rate above fp32 that the gate allows. threads: CPU threads. options: these and all others, which the named ones
    replace. say: called with lines on what happens.

    Where the gate refuses every variant, the bundle is as it was and the result's ``refused`` says why. Raises
    BundleError, InputError, EngineError. Needs the extra [calibrate].

    >>> import wav2edge
    >>> made = wav2edge.quantize("my-bundle", speech="calibration.jsonl")  # doctest: +SKIP
    """
    from wav2edge.calibration.options import Options
    from wav2edge.calibration.quantize import quantize as run

    chosen = options or Options()
    if variants is not None:
        chosen = dataclasses.replace(chosen, variants=tuple(variants))
    if max_wer_rise is not None:
        chosen = dataclasses.replace(chosen, budget=dataclasses.replace(chosen.budget, max_wer_rise=max_wer_rise))
    if threads is not None:
        chosen = dataclasses.replace(chosen, threads=threads)
    return run(embedded.resolve(bundle), speech, dev, chosen, say=say or (lambda line: None))


def evaluate(
    manifest: str | Path,
    *models: ModelOrPath,
    split: str | None = None,
    normalization: Normalization | None = None,
    decoder: WordDecoder | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Measure word and character error rates of models on the same recordings, with 95 % intervals.

    manifest: JSON Lines, .tsv or .csv with ``path`` and ``text``, or a folder of audio with a .txt beside each file.
    models: the first is what the others are compared with (none: the embedded demo model). split: only rows of it.
    normalization: how texts are made comparable, see ``measure.scoring``. decoder: as of a Transcriber.
    progress: called with the number of recordings that a model has done. Raises InputError for a manifest that cannot
    be used. Needs the extra [eval].

    >>> import wav2edge
    >>> found = wav2edge.evaluate("test.jsonl", "my-bundle", "its-small-variant")  # doctest: +SKIP
    >>> print(found.lines[0].scores.wer)  # doctest: +SKIP
    """
    from wav2edge.measure import evaluation, scoring
    from wav2edge.measure import manifest as manifests

    rows, broken = manifests.scan(manifest, split=split)
    hypotheses = []
    for model in models or (None,):
        with Transcriber(model, decoder=decoder) as transcribe:
            opened = transcribe.model
            system = evaluation.System(str(opened.bundle.path), opened.engine, opened.variant.name)
            hypotheses.append(evaluation.transcribe_rows(transcribe, system, rows, progress))
    found = evaluation.evaluate(rows, hypotheses, normalization or scoring.DEFAULT_NORMALIZATION)
    return dataclasses.replace(found, problems=(*broken, *found.problems))


def bench(
    *bundles: str | Path | Bundle | None,
    engines: Sequence[str] = (),
    variants: Sequence[str] = (),
    threads: int | None = None,
    lengths: Sequence[float] | None = None,
    runs: int | None = None,
    manifest: str | Path | None = None,
    baseline: str | None = None,
    quick: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> BenchReport:
    """Measure every engine and variant that this machine has, side by side in turns.

    bundles: none means the embedded demo model. engines, variants: only these. threads: CPU threads (None: one per
    core that may be used). lengths: seconds of audio. runs: of each configuration at each length. manifest: recordings
    with text, for WER. baseline: what ratios are against, such as ``onnxruntime/fp32``. quick: fewer lengths and
    runs, where they are not named. progress: called with the share that is done and what is under way.

    Raises InputError and BundleError for names that do not exist, EngineError where nothing could be measured.

    >>> import wav2edge
    >>> report = wav2edge.bench("my-bundle")  # doctest: +SKIP
    """
    from wav2edge.devices.detect import detect
    from wav2edge.measure.bench import plan as plans
    from wav2edge.measure.bench.run import QUICK_LENGTHS, QUICK_LIMIT, QUICK_RUNS, measure

    opened = [embedded.resolve(bundle) for bundle in bundles or (None,)]
    chosen, skipped = plans.configurations(
        opened, threads or detect().cpu.threads, only_engines=engines, only_variants=variants
    )
    plan = plans.BenchPlan(
        tuple(chosen),
        tuple(skipped),
        lengths=tuple(lengths or (QUICK_LENGTHS if quick else plans.LENGTHS)),
        runs=runs or (QUICK_RUNS if quick else plans.BenchPlan.runs),
        limit=QUICK_LIMIT if quick else plans.BenchPlan.limit,
        manifest=None if manifest is None else Path(manifest),
        baseline=baseline,
    )
    return measure(plan, progress or (lambda share, text: None))


def selftest(
    bundle: str | Path | Bundle | None = None,
    engine: str | None = None,
    variant: str | None = None,
    *,
    threads: int | None = None,
) -> list[SelftestResult]:
    """Check that the engines here compute what the bundle's author saw: every engine × variant, or the named ones.

    Raises BundleError where the bundle has no selftest, InputError and EngineError for a named engine that does not
    exist or is missing here.

    >>> import wav2edge
    >>> [result.status for result in wav2edge.selftest(engine="onnxruntime", variant="fp32")]
    ['passed']
    """
    from wav2edge.runtime.selftest import run

    return list(run(embedded.resolve(bundle), engine, variant, threads))


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

        settings: what suits this machine where they are omitted. The other parameters and the errors are those of
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

    source: None is the default microphone, a path a recording at the pace at which it was spoken; FileSource,
    PipeSource and Microphone of ``wav2edge.runtime.live`` have more to choose. settings: what suits this machine where
    they are omitted. It works in ``for``, ``async for`` and ``with``; closing it closes the source and the model.
    Raises AudioError for a recording that cannot be read, EngineError without a microphone, and what ``wav2edge.open``
    raises.

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

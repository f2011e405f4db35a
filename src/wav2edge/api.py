"""Public functions: from a checkpoint to a bundle and its variants, and the measurement of both.

Large packages are imported on use. The classes that run models are in ``wav2edge.runners``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.devices.open import open_model
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.decoding import WordDecoder

from .runners import ModelOrPath, Transcriber, as_model

if TYPE_CHECKING:
    from wav2edge.calibration.options import Options
    from wav2edge.calibration.quantize import Calibration
    from wav2edge.measure.bench.report import BenchReport
    from wav2edge.measure.evaluation import Evaluation
    from wav2edge.measure.scoring import Normalization
    from wav2edge.runtime.selftest import SelftestResult

Names = str | Sequence[str]
"""One name, or several."""


def open(
    bundle: str | Path | Bundle | None = None,
    *,
    engine: str | None = None,
    variant: str | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Model:
    """Open a bundle's model with the engine, variant and threads that suit this machine.

    An engine or variant that is named is used; else the choice that ``bench --tune`` kept here, else the board's
    profile. bundle: None means the embedded demo model. device: the engine's name of a device, such as ``cuda:0``. Use
    the model as a context manager, or close it. Raises BundleError, InputError, EngineError.

    >>> import wav2edge
    >>> with wav2edge.open(engine="onnxruntime", variant="fp32") as model:
    ...     print(model.engine, model.variant.name, model.spec.head)
    onnxruntime fp32 ctc
    """
    return open_model(bundle, engine, variant, threads=threads, device=device)


def export(
    checkpoint: str | Path,
    bundle: str | Path,
    *,
    normalize: bool | None = None,
    revision: str | None = None,
    language: str | None = None,
    ignore_weights: Names = (),
    vocab: str | Path | None = None,
    label_groups: Sequence[int] = (),
    trained_seconds: float | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Bundle:
    """Export a trained checkpoint to a bundle, whose outputs are compared with torch's.

    checkpoint: a Hugging Face directory (a LoRA adapter too), the name of one on the hub, a weight file of fairseq or
    torchaudio, or an ONNX file of optimum or transformers.js; revision: its branch, tag or commit on the hub.
    normalize: whether clips are brought to zero mean and unit variance, where the checkpoint does not say so. language:
    one of several that the checkpoint holds. ignore_weights: shell-style patterns of weights that may stay unused.
    vocab: a vocab.json or fairseq's dictionary, where the checkpoint has no labels. label_groups: sizes of consecutive
    groups of a classifier's labels, one label of each of which holds. trained_seconds: the longest clip that the model
    was trained on: longer recordings are cut to it. overwrite: replace a bundle that exists. progress: called with each
    step, in words.

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
        ignore_weights=_several(ignore_weights),
        vocab=vocab,
        label_groups=label_groups,
    )
    return export_checkpoint(
        opened,
        Path(bundle),
        trained_seconds=trained_seconds,
        overwrite=overwrite,
        progress=progress or (lambda step: None),
    )


def quantize(
    bundle: str | Path | Bundle,
    speech: str | Path,
    dev: str | Path | None = None,
    *,
    variants: Names | None = None,
    max_wer_rise: float | None = None,
    threads: int | None = None,
    options: Options | None = None,
    say: Callable[[str], None] | None = None,
) -> Calibration:
    """Add INT8 and FP16 variants that keep the words of fp32 to a bundle.

    speech: manifest to calibrate on; dev: manifest to judge on (None: every second clip of ``speech``). variants: their
    names, such as ``int8-u8s8`` (None: those that suit the CPUs and GPUs of today). max_wer_rise: points of word error
    rate above fp32 that the gate allows. threads: CPU threads. options: all options; the named ones above override
    them. say: called with lines that report the progress.

    Where the gate refuses every variant, the bundle is as it was and the result's ``refused`` says why. Raises
    BundleError, InputError, EngineError. Needs the extra [calibrate].

    >>> import wav2edge
    >>> made = wav2edge.quantize("my-bundle", speech="calibration.jsonl")  # doctest: +SKIP
    """
    from wav2edge.calibration.options import Options
    from wav2edge.calibration.quantize import quantize as run

    chosen = options or Options()
    if variants is not None:
        chosen = dataclasses.replace(chosen, variants=_several(variants))
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
    models: the others are compared with the first (none: the embedded demo model). split: only rows of that split.
    normalization: how texts are made comparable, see ``measure.scoring``. decoder: as for ``Transcriber``.
    progress: called with the number of recordings that a model has done. A Model stays open. Raises InputError for a
    manifest that cannot be used. Needs the extra [eval].

    >>> import wav2edge
    >>> result = wav2edge.evaluate("test.jsonl", "my-bundle", "its-small-variant")  # doctest: +SKIP
    >>> print(result.lines[0].scores.wer)  # doctest: +SKIP
    """
    from wav2edge.measure import evaluation, scoring
    from wav2edge.measure import manifest as manifests

    rows, broken = manifests.scan(manifest, split=split)
    hypotheses = []
    decoding: evaluation.DecodingName = "greedy" if decoder is None or isinstance(decoder, ctc.Greedy) else "beam"
    for model in models or (None,):
        opened = as_model(model)
        with contextlib.ExitStack() as stack:
            if opened is not model:
                stack.enter_context(opened)
            transcribe = Transcriber(opened, decoder=decoder)
            system = evaluation.System(str(opened.bundle.path), opened.engine, opened.variant.name, decoding)
            hypotheses.append(evaluation.transcribe_rows(transcribe, system, rows, progress))
    result = evaluation.evaluate(rows, hypotheses, normalization or scoring.DEFAULT_NORMALIZATION)
    return dataclasses.replace(result, problems=(*broken, *result.problems))


def bench(
    *bundles: str | Path | Bundle | None,
    engines: Names = (),
    variants: Names = (),
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
    with text, for WER, or for another head's figure; rows that cannot be used are in the report's ``problems``, and the
    figures are of the recordings that every engine and variant could use. baseline: the configuration that ratios are
    to, such as ``onnxruntime/fp32``. quick: fewer lengths and runs, where they are not named. progress: called with the
    share that is done and the name of the step.

    Raises InputError and BundleError for names that do not exist and numbers that cannot be measured, EngineError where
    nothing could be measured.

    >>> import wav2edge
    >>> report = wav2edge.bench("my-bundle")  # doctest: +SKIP
    """
    from wav2edge.devices.detect import detect
    from wav2edge.measure.bench import plan as plans
    from wav2edge.measure.bench.run import QUICK_LENGTHS, QUICK_LIMIT, QUICK_RUNS, measure

    opened = [embedded.resolve(bundle) for bundle in bundles or (None,)]
    chosen, skipped = plans.configurations(
        opened,
        detect().cpu.threads if threads is None else threads,
        only_engines=_several(engines),
        only_variants=_several(variants),
    )
    plan = plans.BenchPlan(
        tuple(chosen),
        tuple(skipped),
        lengths=(QUICK_LENGTHS if quick else plans.LENGTHS) if lengths is None else tuple(lengths),
        runs=(QUICK_RUNS if quick else plans.BenchPlan.runs) if runs is None else runs,
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
    """Compare the engines here with the bundle's reference outputs: every engine × variant, or the named ones.

    Raises BundleError where the bundle has no selftest, InputError and EngineError for a named engine that does not
    exist or is missing here.

    >>> import wav2edge
    >>> [result.status for result in wav2edge.selftest(engine="onnxruntime", variant="fp32")]
    ['passed']
    """
    from wav2edge.runtime.selftest import run

    return list(run(embedded.resolve(bundle), engine, variant, threads))


def _several(names: Names) -> tuple[str, ...]:
    """The names, of which there may be one alone."""
    return (names,) if isinstance(names, str) else tuple(names)

"""``wav2edge export CHECKPOINT BUNDLE``: export a checkpoint as a bundle, and compare it with torch."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.measure import tables
from wav2edge.runtime import remedies
from wav2edge.runtime.errors import EngineError

from . import _options, _terminal
from ._command import argument, command, option
from ._memory import give_back_large_blocks
from ._values import COUNT, Listed, Number, OneOf

if TYPE_CHECKING:
    from wav2edge.export.checkpoint import Checkpoint
    from wav2edge.export.onnx_files import OnnxCheckpoint
    from wav2edge.runtime.bundle.documents import ParityPointJson
    from wav2edge.runtime.bundle.read import Bundle

_CHECKPOINT = "The checkpoint"


@command(
    "wav2edge export my-finetuned-wav2vec2 my-bundle",
    "wav2edge export facebook/wav2vec2-base-960h my-bundle  # from the Hugging Face hub",
)
@argument(
    "checkpoint",
    "a Hugging Face directory (a LoRA adapter too), OWNER/MODEL on the hub, a fairseq or torchaudio .pt file, or an "
    ".onnx file of optimum or transformers.js",
    metavar="CHECKPOINT",
    type=_options.FILE,
)
@argument("bundle", "directory to write", metavar="BUNDLE", type=_options.BUNDLE)
@option(
    "--normalize",
    "whether clips are brought to zero mean and unit variance (default: what preprocessor_config.json says)",
    group=_CHECKPOINT,
    type=OneOf(lambda: ("yes", "no")),
)
@option("--revision", "branch, tag or commit of a checkpoint on the hub", group=_CHECKPOINT, metavar="REVISION")
@option(
    "--language",
    "language to export, such as tur, where the checkpoint holds several: its vocabulary and its weights",
    group=_CHECKPOINT,
    metavar="CODE",
)
@option(
    "--ignore-weights",
    "go on although weights of the file that match this shell-style pattern are unused; may be repeated",
    group=_CHECKPOINT,
    metavar="PATTERN",
    multiple=True,
)
@option(
    "--vocab",
    "labels, where the checkpoint has none: a vocab.json, or a dictionary of fairseq (dict.ltr.txt)",
    group=_CHECKPOINT,
    metavar="FILE",
    type=_options.FILE,
)
@option(
    "--label-groups",
    "sizes of groups of a classifier's labels, of which one holds each (default: recognised by the labels' names)",
    group=_CHECKPOINT,
    metavar="N,N…",
    type=Listed(COUNT),
)
@option(
    "--trained-seconds",
    "the longest clip that the model was trained on: longer recordings are cut to it (default: not known, 30 is used)",
    group=_CHECKPOINT,
    metavar="S",
    type=Number(float, 0, 3600, "seconds", above=True),
)
@option("--overwrite", "replace a bundle that exists", is_flag=True)
def run(
    checkpoint: str,
    bundle: str,
    normalize: str | None,
    revision: str | None,
    language: str | None,
    ignore_weights: tuple[str, ...],
    vocab: str | None,
    label_groups: tuple[float, ...] | None,
    trained_seconds: float | None,
    overwrite: bool,
) -> None:
    """Export a checkpoint as a bundle and check it against torch.

    A bundle is one directory with everything that a device needs: the model as ONNX graphs, its labels, and two test
    clips. Its outputs are compared with those of torch on several lengths and batches; where one differs nothing is
    written and the exit code is 1. For an ONNX file of another exporter the bundle is compared with that file; without
    an attention mask it takes one clip at a time.
    """
    from wav2edge.export.opening import export_checkpoint, needed, open_checkpoint

    missing = [name for name in needed(checkpoint) if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(f"export needs {', '.join(missing)}; install it with `{remedies.install('export')}`")
    import logging

    # transformers' warnings are about settings that the export sets on purpose.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    give_back_large_blocks()
    started = time.monotonic()
    normalized = None if normalize is None else normalize == "yes"
    groups = [int(size) for size in label_groups or ()]
    opened = open_checkpoint(
        checkpoint, normalized, revision, language, ignore_weights=ignore_weights, vocab=vocab, label_groups=groups
    )
    _print_found(opened)

    def progress(step: str) -> None:
        _terminal.note(step, prefix=f"[{time.monotonic() - started:5.1f} s] ")

    written = export_checkpoint(
        opened,
        Path(bundle),
        trained_seconds=trained_seconds,
        overwrite=overwrite,
        progress=progress,
        on_parity=_print_parity,
    )
    _print_written(written, time.monotonic() - started)


def _print_found(checkpoint: Checkpoint | OnnxCheckpoint) -> None:
    config, labels = checkpoint.config, checkpoint.labels
    _terminal.out(f"checkpoint  {checkpoint.name}")
    _terminal.out(f"model       {checkpoint.family.name}, head {checkpoint.head.name}")
    _terminal.out(
        f"shape       {config.get('num_hidden_layers', 12)} layers of {config.get('hidden_size', 768)}, "
        f"{config.get('feat_extract_norm', 'group')}-norm front end, "
        f"clips {'normalised' if checkpoint.normalize else 'as they are'}, {checkpoint.sample_rate} Hz"
    )
    if labels.blank is not None:
        delimiter = "none" if labels.delimiter is None else repr(labels.delimiter)
        _terminal.out(
            f"labels      {len(labels.names)}, blank {labels.names[labels.blank]!r} (index {labels.blank}), "
            f"delimiter {delimiter}"
        )
    elif labels.names:
        _terminal.out(
            f"labels      {len(labels.names)}: {', '.join(labels.names[:6])}{' …' if len(labels.names) > 6 else ''}"
        )
    if labels.groups:
        _terminal.out(
            f"groups      {len(labels.groups)}, of {', '.join(map(str, labels.groups))} labels: one of each holds"
        )


def _print_parity(points: tuple[ParityPointJson, ...]) -> None:
    rows = [
        (
            point["name"],
            str(point["batch"]),
            f"{point['seconds']:.2f}",
            str(point["frames"]),
            f"{point['difference']:.1e}",
            f"{point['limit']:.1e}",
            "–" if point["tokens"] is None else f"{point['tokens']:.1%}",
            "ok" if point["passed"] else "MISMATCH",
        )
        for point in points
    ]
    _terminal.out("\nparity on each clip alone")
    _terminal.out(tables.table(("point", "batch", "s", "frames", "max|Δ|", "allowed", "tokens", ""), rows))


def _print_written(bundle: Bundle, seconds: float) -> None:
    total = sum(variant.bytes for variant in bundle.variants)
    parameters = bundle.provenance["parameters"]
    _terminal.out(
        f"\nwrote {bundle.path}: {parameters / 1e6:.1f} M parameters, {tables.size(total)}, in {seconds:.0f} s"
    )
    if bundle.spec.head == "ctc":
        _terminal.out(f"next: wav2edge transcribe AUDIO -m {bundle.path}")
        _terminal.out(f"      wav2edge quantize {bundle.path} --speech MANIFEST")
    else:
        _terminal.out(f"next: wav2edge selftest {bundle.path}")

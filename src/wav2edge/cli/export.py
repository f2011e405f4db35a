"""``wav2edge export CHECKPOINT BUNDLE``: a checkpoint in, a proven bundle out."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.cli import _tables
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from wav2edge.export.checkpoint import Checkpoint
    from wav2edge.export.parity import Point

HELP = "export a checkpoint as a bundle, proven against torch"
_FLAGS = {
    "normalize=True": "--normalize yes",
    "normalize=False": "--normalize no",
    "language=": "--language ",
    "ignore_weights=": "--ignore-weights ",
}
"""The arguments that the library's messages name, as this command spells them."""
_NEEDED = ("torch", "transformers", "onnx", "safetensors", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="Hugging Face directory, or OWNER/MODEL on the hub")
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="directory to write")
    parser.add_argument(
        "--normalize",
        choices=("yes", "no"),
        help="whether clips are brought to zero mean and unit variance (default: what preprocessor_config.json says)",
    )
    parser.add_argument("--revision", metavar="REVISION", help="branch, tag or commit of a checkpoint on the hub")
    parser.add_argument(
        "--language",
        metavar="CODE",
        help="language to export, such as tur, where the checkpoint holds several: its vocabulary and its weights",
    )
    parser.add_argument(
        "--ignore-weights",
        metavar="PATTERN",
        action="append",
        default=[],
        help="go on although weights of the file that match this shell-style pattern are unused; may be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that exists")


def run(arguments: argparse.Namespace) -> int:
    """Export, with each step on stderr and the result on stdout; messages name this command's options."""
    try:
        return _run(arguments)
    except CheckpointError as error:
        message = str(error)
        for argument, flag in _FLAGS.items():
            message = message.replace(argument, flag)
        raise CheckpointError(message) from error


def _run(arguments: argparse.Namespace) -> int:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f'export needs {", ".join(missing)}; install it with `pip install "wav2edge[export]"`')
    # transformers warns of much that a converter does on purpose.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    from wav2edge.export.checkpoint import Checkpoint
    from wav2edge.export.pipeline import export

    started = time.monotonic()
    normalize = None if arguments.normalize is None else arguments.normalize == "yes"
    checkpoint = Checkpoint.open(
        arguments.checkpoint,
        normalize,
        arguments.revision,
        arguments.language,
        ignore_weights=arguments.ignore_weights,
    )
    _print_found(checkpoint)

    def progress(step: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {step}", file=sys.stderr, flush=True)

    bundle = export(
        checkpoint, arguments.bundle, overwrite=arguments.overwrite, progress=progress, on_parity=_print_parity
    )
    _print_written(bundle, time.monotonic() - started)
    return 0


def _print_found(checkpoint: Checkpoint) -> None:
    config, labels = checkpoint.config, checkpoint.labels
    print(f"checkpoint  {checkpoint.name}")
    print(f"model       {checkpoint.family.name}, head {checkpoint.head.name}")
    print(
        f"shape       {config.get('num_hidden_layers', 12)} layers of {config.get('hidden_size', 768)}, "
        f"{config.get('feat_extract_norm', 'group')}-norm front end, "
        f"clips {'normalised' if checkpoint.normalize else 'as they are'}, {checkpoint.sample_rate} Hz"
    )
    if labels.blank is not None:
        delimiter = "none" if labels.delimiter is None else repr(labels.delimiter)
        print(
            f"labels      {len(labels.names)}, blank {labels.names[labels.blank]!r} (index {labels.blank}), "
            f"delimiter {delimiter}"
        )
    elif labels.names:
        print(f"labels      {len(labels.names)}: {', '.join(labels.names[:6])}{' …' if len(labels.names) > 6 else ''}")
    sys.stdout.flush()


def _print_parity(points: tuple[Point, ...]) -> None:
    rows = [
        (
            point.name,
            str(point.batch),
            f"{point.seconds:.2f}",
            str(point.frames),
            f"{point.difference:.1e}",
            f"{point.limit:.1e}",
            "–" if point.tokens is None else f"{point.tokens:.1%}",
            "ok" if point.passed else "MISMATCH",
        )
        for point in points
    ]
    print("\nparity with torch on each clip alone")
    print(_tables.table(("point", "batch", "s", "frames", "max|Δ|", "allowed", "tokens", ""), rows), flush=True)


def _print_written(bundle: Bundle, seconds: float) -> None:
    total = sum(variant.bytes for variant in bundle.variants)
    parameters = bundle.provenance["parameters"]
    print(f"\nwrote {bundle.path}: {parameters / 1e6:.1f} M parameters, {_tables.size(total)}, in {seconds:.0f} s")
    if bundle.spec.head == "ctc":
        print(f"next: wav2edge transcribe AUDIO -m {bundle.path}")
        print(f"      wav2edge quantize {bundle.path} --speech MANIFEST")
    else:
        print(f"next: wav2edge selftest {bundle.path}")

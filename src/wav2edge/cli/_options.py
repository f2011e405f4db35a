"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle

if TYPE_CHECKING:
    from wav2edge.runtime.model import Model


def add_model(parser: argparse.ArgumentParser) -> None:
    """``-m BUNDLE``; left out, it means the embedded bundle."""
    parser.add_argument("-m", "--model", metavar="BUNDLE", help="bundle to use (default: the embedded demo model)")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """``--engine``, ``--variant`` and ``--threads``: everywhere an engine runs."""
    parser.add_argument("--engine", metavar="ENGINE", help="engine to run (default: the best one here)")
    parser.add_argument(
        "--variant", metavar="VARIANT", help="variant of the bundle (default: the best for this machine)"
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads (default: one a core, as the device profile says)"
    )


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def open_bundle(model: str | None) -> Bundle:
    """The bundle that ``-m`` names; the embedded one is announced on stderr, once, with what it is worth."""
    if model is not None:
        return Bundle.open(model)
    bundle = Bundle.open(embedded.bundle_path())
    wer = bundle.provenance.get("wer")
    worth = f" (word error rate: {', '.join(f'{k} {v} %' for k, v in wer.items())})" if isinstance(wer, dict) else ""
    print(f"wav2edge: using the small embedded demo model{worth}; for real work name your own with -m", file=sys.stderr)
    return bundle


def open_model(arguments: argparse.Namespace, bundle: Bundle) -> Model:
    """The model with what ``add_engine``'s options name; this machine decides what they leave open."""
    from wav2edge.devices.open import open_model

    return open_model(bundle, arguments.engine, arguments.variant, threads=arguments.threads)


def write_json(value: object, path: Path | None = None) -> None:
    """Print JSON, or write it to a file."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    if path is None:
        print(text)
    else:
        path.write_text(text + "\n", encoding="utf-8")

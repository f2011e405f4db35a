"""Options of how recordings become words, shared by transcribe, evaluate and listen."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wav2edge.runtime.bundle.read import Bundle
    from wav2edge.runtime.recordings.decoding import WordDecoder

_OWN = "bundle"


def add_language_model(parser: argparse.ArgumentParser) -> None:
    """``--lm``, ``--hotwords`` and their weights."""
    group = parser.add_argument_group("language model and hotwords", "beam search instead of greedy decoding")
    group.add_argument(
        "--lm",
        nargs="?",
        const=_OWN,
        metavar="LM",
        help="ARPA or KenLM file, or its directory; without a value the one that the bundle brings",
    )
    group.add_argument("--lm-alpha", type=float, metavar="X", help="weight of the language model (its own, else 0.5)")
    group.add_argument("--lm-beta", type=float, metavar="X", help="bonus for each word (its own, else 1.5)")
    group.add_argument("--hotwords", metavar="LIST", help="words or phrases to favour, with commas, or @FILE")
    group.add_argument(
        "--hotword-weight", type=float, default=10.0, metavar="X", help="how much (default: %(default)s)"
    )
    group.add_argument("--beam-width", type=_width, default=100, metavar="N", help="hypotheses (default: %(default)s)")


def add_chunking(parser: argparse.ArgumentParser) -> None:
    """``--window`` and ``--context``."""
    from wav2edge.runtime.recordings.chunking import Chunking

    group = parser.add_argument_group("long recordings")
    group.add_argument(
        "--window",
        type=float,
        default=Chunking.length,
        metavar="S",
        help="seconds given to the model at once; longer recordings are cut and stitched (default: %(default)g)",
    )
    group.add_argument(
        "--context",
        type=float,
        default=Chunking.context,
        metavar="S",
        help="seconds at each inner end of a window that are context only (default: %(default)g)",
    )


def decoder(arguments: argparse.Namespace, bundle: Bundle) -> WordDecoder | None:
    """The beam search that the arguments ask for; None for greedy decoding.

    Raises InputError for a language model or hotwords that cannot be used, EngineError without the extra [lm].
    """
    import dataclasses

    from wav2edge.runtime.errors import InputError

    words = _hotwords(arguments.hotwords) if arguments.hotwords else ()
    if arguments.hotwords and not words:
        raise InputError(f"--hotwords {arguments.hotwords}: it names no word")
    if arguments.lm is None and not words:
        return None
    from wav2edge.measure.manifest import AUDIO_SUFFIXES
    from wav2edge.runtime.text.language_model import BeamDecoder, open_language_model

    model = None
    if arguments.lm is not None:
        if Path(arguments.lm).suffix.lower() in AUDIO_SUFFIXES:
            raise InputError(f"--lm took {arguments.lm}, a recording; put --lm last, or write --lm=FILE.arpa")
        model = open_language_model(arguments.lm, bundle)
        weights = {"alpha": arguments.lm_alpha, "beta": arguments.lm_beta}
        model = dataclasses.replace(model, **{key: value for key, value in weights.items() if value is not None})
    with _hushed():
        return BeamDecoder(
            bundle.spec, model, hotwords=words, hotword_weight=arguments.hotword_weight, beam_width=arguments.beam_width
        )


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep KenLM's own progress bar, which it draws into any stderr, out of ours; its errors are exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _hotwords(value: str) -> tuple[str, ...]:
    if value.startswith("@"):
        from wav2edge.runtime.errors import InputError

        try:
            value = Path(value[1:]).read_text("utf-8").replace("\n", ",")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{value[1:]}: no list of hotwords that can be read ({error})") from error
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _width(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number

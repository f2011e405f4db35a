"""``wav2edge transcribe AUDIO…``: recordings in, text out."""

from __future__ import annotations

import argparse
import dataclasses
import json

from wav2edge.cli import _options

HELP = "transcribe recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="recordings to transcribe")
    parser.add_argument("-f", "--format", choices=("text", "json"), default="text", help="output format")
    _options.add_model(parser)
    _options.add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Transcribe each recording."""
    from wav2edge.runtime.transcriber import Transcriber

    bundle = _options.open_bundle(arguments.model)
    with Transcriber.open(bundle, arguments.engine, arguments.variant, threads=arguments.threads) as transcriber:
        for name in arguments.audio:
            transcript = transcriber(name)
            if arguments.format == "json":
                print(json.dumps(dataclasses.asdict(transcript), ensure_ascii=False))
            else:
                print(transcript.text)
    return 0

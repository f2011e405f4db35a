"""The ``wav2edge`` command. A file in this folder is a subcommand; only the one that is called is imported.

A subcommand offers ``HELP`` (one line), ``add_arguments(parser)`` and ``run(arguments) -> int``. Exit codes: 0 done,
1 a gate refused, 2 wrong usage or input, 3 engine or device missing; one line on stderr says what and the remedy.
"""

from __future__ import annotations

import argparse
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module

from wav2edge import __version__
from wav2edge.runtime.errors import Wav2EdgeError

_ORDER = (
    "export",
    "quantize",
    "evaluate",
    "transcribe",
    "listen",
    "bench",
    "devices",
    "build",
    "selftest",
    "pack",
    "inspect",
    "demo",
)


def commands() -> tuple[str, ...]:
    """The subcommands in the order of a model's way to the device."""
    found = {module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")}
    return tuple(name for name in _ORDER if name in found) + tuple(sorted(found - set(_ORDER)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="wav2edge",
        description="Take a trained Wav2Vec 2.0 family checkpoint to a device, and prove every step.",
    )
    parser.add_argument("--version", action="version", version=f"wav2edge {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = next((word for word in words if not word.startswith("-")), None)
    for name in (named,) if named in commands() else commands():
        module = import_module(f"{__name__}.{name}")
        module.add_arguments(subparsers.add_parser(name, help=module.HELP, description=module.HELP))
    parsed = parser.parse_args(words)
    for stream in (sys.stdout, sys.stderr):  # a file's name, or a terminal, may know other characters than we do
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = int(import_module(f"{__name__}.{parsed.command}").run(parsed))
        sys.stdout.flush()
        return code
    except Wav2EdgeError as error:
        print(f"wav2edge: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("wav2edge: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"wav2edge: {place}{error.strerror or error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("wav2edge: out of memory; use shorter audio, smaller batches or a smaller variant", file=sys.stderr)
        return 2

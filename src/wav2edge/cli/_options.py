"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wav2edge.runtime.errors import InputError
from wav2edge.runtime.threads import MAX_THREADS

from . import _terminal
from ._command import Function, argument, gathered, listed, option, single
from ._values import Folder, Number, Suggested, Written

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wav2edge.runtime.bundle.read import Bundle
    from wav2edge.runtime.model import Model

MODEL = "Model and engine"
OUTPUT = "What comes out"
BUNDLE = Folder()
FILE = click.Path()
WRITTEN = Written(folder=True)
WRITTEN_FILE = Written(folder=False)
THREADS = Number(int, 1, MAX_THREADS, "a whole number")
THREADS_HELP = "CPU threads (default: one per fast core, or what the board's profile or `bench --tune` found better)"


@dataclass(frozen=True)
class One:
    """One engine and variant to run; None is chosen for this machine."""

    engine: str | None
    variant: str | None
    threads: int | None
    device: str | None


@dataclass(frozen=True)
class Several:
    """Engines and variants to run; an empty tuple means all that run here."""

    engine: tuple[str, ...]
    variant: tuple[str, ...]
    threads: int | None
    device: str | None


def _engines() -> tuple[str, ...]:
    from wav2edge.runtime import engines

    return engines.names()


class _Variant(Suggested):
    """A variant of the bundle that the command line names so far."""

    def __init__(self) -> None:
        super().__init__(tuple)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from wav2edge.runtime.bundle import embedded
        from wav2edge.runtime.bundle.read import Bundle

        given = ctx.params.get("model") or ctx.params.get("bundle")
        path = (given[0] if isinstance(given, tuple) else given) or embedded.bundle_path()
        try:
            names = [variant.name for variant in Bundle.open(path).variants]
        except InputError:
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


ENGINE = Suggested(_engines)
VARIANT = _Variant()


def model(text: str = "bundle to use", embedded: bool = True) -> Callable[[Function], Function]:
    """Declare ``-m BUNDLE``; ``embedded``: whether it may be left out, for the embedded bundle."""
    shown = f"{text} (default: the embedded demo model)" if embedded else f"{text} (must be given)"
    return option("-m", "--model", shown, group=MODEL, metavar="BUNDLE", type=BUNDLE)


def models(text: str) -> Callable[[Function], Function]:
    """Declare ``-m BUNDLE``, which may be given again."""
    shown = f"{text}; may be repeated (default: the embedded demo model)"
    return option("-m", "--model", shown, group=MODEL, metavar="BUNDLE", type=BUNDLE, multiple=True)


def one_engine(function: Callable[..., object]) -> Callable[..., object]:
    """Declare ``--engine``, ``--variant`` and ``--threads`` of a command that runs one of each, as ``one``."""
    return gathered(
        One,
        "one",
        single("--engine", "engine to run (default: the best one here)", group=MODEL, metavar="ENGINE", type=ENGINE),
        single(
            "--variant",
            "variant of the bundle (default: the best for this machine)",
            group=MODEL,
            metavar="VARIANT",
            type=VARIANT,
        ),
        threads,
        device,
    )(function)


def several_engines(engines: str, variants: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Declare ``--engine``, ``--variant`` and ``--threads`` of a command that compares, as ``several``."""
    return gathered(
        Several,
        "several",
        listed("--engine", engines, group=MODEL, metavar="E[,E]", type=ENGINE),
        listed("--variant", variants, group=MODEL, metavar="V[,V]", type=VARIANT),
        threads,
        device,
    )


def threads(function: Function) -> Function:
    """Declare ``--threads``."""
    return option("--threads", THREADS_HELP, group=MODEL, metavar="N", type=THREADS)(function)


def device(function: Function) -> Function:
    """Declare ``--device``."""
    text = "the engine's device, such as cuda:0 or GPU (default: the engine's own)"
    return option("--device", text, group=MODEL, metavar="DEVICE")(function)


def check_device(several: Several) -> None:
    """Raise InputError for a device without the engine whose device it is."""
    if several.device is not None and not several.engine:
        raise InputError("--device names a device of one engine; add --engine")


def threads_or_default(threads: int | None) -> int:
    """The given threads, else those that suit this machine."""
    from wav2edge.devices.choice import threads_for

    return threads or threads_for()


def json_file(text: str, endings: tuple[str, ...] = (".json",)) -> Callable[[Function], Function]:
    """Declare ``--json [FILE]``: JSON to a file, to standard output without one."""
    return option(
        "--json",
        f"{text}; with FILE{endings[0]}, write that there and print as usual",
        group=OUTPUT,
        metavar=f"[FILE{endings[0]}]",
        is_flag=False,
        flag_value="-",
        endings=endings,
        type=WRITTEN_FILE,
    )


def report(text: str) -> Callable[[Function], Function]:
    """Declare ``--report DIR``; a bundle is refused as the folder."""
    return option("--report", text, group=OUTPUT, metavar="DIR", type=WRITTEN)


def recordings(example: str, required: bool = True) -> Callable[[Function], Function]:
    """Declare the recordings that a command takes, as ``audio``; example: a pattern for the help."""
    return argument(
        "audio",
        f"recordings; patterns such as '{example}' too; - for standard input",
        metavar="AUDIO…",
        nargs=-1,
        required=required,
        type=FILE,
    )


def bundle_argument(text: str, embedded: bool = True) -> Callable[[Function], Function]:
    """Declare the bundle of a command that looks at one: ``BUNDLE``, or ``-m BUNDLE`` as everywhere else."""
    named = argument("bundle", "the same as -m BUNDLE", metavar="[BUNDLE]", required=False, type=BUNDLE)
    return lambda function: named(model(text, embedded)(function))


def which(bundle: str | None, model: str | None) -> str | None:
    """The bundle that the command line names, with or without ``-m``."""
    if bundle is not None and model is not None and bundle != model:
        raise InputError(f"two bundles, {bundle} and {model}; this command takes one")
    return bundle if bundle is not None else model


def named(bundle: str | None, model: str | None) -> Bundle:
    """The bundle that a line must name, to sign it or to check its signature.

    Raises InputError where it names none, or one that ships, whose files are the program's.
    """
    from wav2edge.runtime.bundle import shipped
    from wav2edge.runtime.bundle.read import Bundle

    if (given := which(bundle, model)) is None:
        raise InputError("name the bundle; the embedded one is part of the program")
    if shipped.is_shipped(shipped.directory_of(given)):
        raise InputError(f"{given}: is part of the program, which is neither signed nor verified apart; copy it first")
    return Bundle.open(given, ask_signature=False)


def open_bundle(model: str | None) -> Bundle:
    """The bundle that ``-m`` names; the embedded one is announced on stderr, once, with its word error rates."""
    from wav2edge.runtime.bundle import embedded
    from wav2edge.runtime.bundle.read import Bundle

    if model is not None:
        return Bundle.open(model)
    bundle = Bundle.open(embedded.bundle_path())
    wer = bundle.provenance.get("wer")
    worth = f" (word error rate: {', '.join(f'{k} {v} %' for k, v in wer.items())})" if wer else ""
    _terminal.note(f"using the small embedded demo model{worth}; for real work name your own with -m")
    return bundle


def note_lost_signature(bundle: Bundle) -> None:
    """Say that the signature of a bundle that was changed no longer holds, where it has one."""
    from wav2edge.runtime.bundle import signature

    if (bundle.path / signature.SIGNATURE).exists():
        _terminal.note(f"{bundle.path}: its signature no longer holds; sign it again")


def open_model(one: One, bundle: Bundle) -> Model:
    """The model that the options name; what they leave out is chosen for this machine."""
    from wav2edge.devices.open import open_model

    return open_model(bundle, one.engine, one.variant, threads=one.threads, device=one.device)


def check_folder(*files: str | Path | None) -> None:
    """Raise InputError, before the work, for a file to be written whose folder does not exist."""
    for file in files:
        if file is not None and str(file) != "-" and not Path(file).absolute().parent.is_dir():
            raise InputError(f"{file}: no such folder; make it first")


def check_distinct(*named: tuple[str, str | None]) -> None:
    """Raise InputError where two of what a command reads and writes, each with its option, are the same file."""
    seen: dict[str, str] = {}
    for given, name in named:
        if name in (None, "-"):
            continue
        place = os.path.normcase(os.path.realpath(str(name)))
        if place in seen:
            raise InputError(f"{seen[place]} and {given}: both name {name}; give each a file of its own")
        seen[place] = given


def in_report(report: str | None, *names: str) -> list[tuple[str, str | None]]:
    """The files of a report's folder, for ``check_distinct``."""
    return [] if report is None else [("--report", os.path.join(report, name)) for name in names]


def make_folder(report: str | None) -> Path | None:
    """The folder of ``--report``, made before the work if it does not exist; None without the option."""
    if report is None:
        return None
    import tempfile

    folder = Path(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose a writable place") from error
    return folder

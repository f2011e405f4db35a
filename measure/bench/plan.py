"""What a benchmark will run: which engines, variants and devices, on how many threads, over which lengths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...runtime import engines
from ...runtime.bundle.read import Bundle
from ...runtime.engines import _gpu
from ...runtime.errors import BundleError, InputError
from .report import Skipped
from .worker import WHISPER

LENGTHS = (1.0, 5.0, 10.0, 30.0)
"""Seconds of audio that are timed where the user names none: a command, a sentence, an utterance, Whisper's window."""

_WHISPER_TYPES = ("int8", "fp32")


@dataclass(frozen=True)
class Cell:
    """One engine × variant × device to measure. checkpoint: for torch, the directory of the bundle's checkpoint."""

    bundle: Path
    engine: str
    variant: str
    threads: int
    device: str | None = None
    precision: str = ""
    file_bytes: int | None = None
    checkpoint: str | None = None
    language: str | None = None

    @property
    def name(self) -> str:
        """As ``onnxruntime/fp32``, with the device where one was named."""
        return f"{self.engine}{f'({self.device})' if self.device else ''}/{self.variant}"


@dataclass(frozen=True)
class Plan:
    """What to measure and how long.

    runs, limit: a cell has enough at one length after so many runs, or so many seconds of running, whichever comes
    first. manifest: recordings with text for WER, at most ``clips`` of them. baseline: the cell that ratios are
    against. memory: bytes that workers may fill together; more cells than fit are measured in groups.
    """

    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...] = ()
    lengths: tuple[float, ...] = LENGTHS
    runs: int = 50
    limit: float = 10.0
    manifest: Path | None = None
    clips: int | None = None
    baseline: str | None = None
    memory: int | None = None


def cells(
    bundles: Sequence[Bundle],
    threads: int,
    *,
    only_engines: Sequence[str] = (),
    only_variants: Sequence[str] = (),
    device: str | None = None,
    checkpoints: Sequence[Path] = (),
) -> tuple[list[Cell], list[Skipped]]:
    """Every cell that this machine can run, and what it cannot with the reason and remedy.

    checkpoints: directories for the engine torch; each bundle finds its own by the weights' digest. Raises InputError
    for names that do not exist.
    """
    for name in only_engines:
        engines.get(name)
    for name in only_variants:
        if not any(name == variant.name for bundle in bundles for variant in bundle.variants):
            have = sorted({variant.name for bundle in bundles for variant in bundle.variants})
            raise BundleError(f"no variant {name!r} to measure; there are {', '.join(have)}")
    found: list[Cell] = []
    skipped: list[Skipped] = []
    for name in engines.names():
        if name not in (only_engines or set(engines.names()) - {"null"}):
            continue
        if name == "torch":
            _add_torch(bundles, threads, only_variants, checkpoints, found, skipped)
            continue
        module = engines.get(name)
        if reason := engines.missing(name):
            skipped.append(Skipped(name, reason))
            continue
        for bundle in bundles:
            for variant in bundle.variants:
                if only_variants and variant.name not in only_variants:
                    continue
                if "full" not in variant.graphs:
                    continue
                if reason := module.refuses(bundle.spec, variant):
                    skipped.append(Skipped(f"{name}/{variant.name}", reason))
                    continue
                found.append(
                    Cell(
                        bundle.path,
                        name,
                        variant.name,
                        threads,
                        device if only_engines else None,
                        variant.precision,
                        variant.bytes,
                        language=bundle.spec.language,
                    )
                )
    return found, skipped


def whisper_cells(directory: Path, threads: int, language: str | None) -> list[Cell]:
    """A CTranslate2 Whisper model as a user has it; raises InputError for a directory that holds none."""
    if not (directory / "model.bin").is_file():
        raise InputError(
            f"{directory}: no model.bin; name a Whisper model's directory as faster-whisper takes it (CTranslate2)"
        )
    size = (directory / "model.bin").stat().st_size
    return [
        Cell(directory, WHISPER, kind, threads, precision=kind, file_bytes=size, language=language)
        for kind in _WHISPER_TYPES
    ]


def default_baseline(chosen: Sequence[Cell]) -> str | None:
    """The cell that ratios are against where the user names none: torch, else ONNX Runtime's fp32, else the first."""
    names = [cell.name for cell in chosen]
    return next((name for name in ("torch/fp32", "onnxruntime/fp32") if name in names), names[0] if names else None)


def baseline_of(cell: Cell, chosen: Sequence[Cell], name: str | None) -> Cell | None:
    """The baseline of a cell's bundle, else of the first bundle that has one."""
    named = [other for other in chosen if other.name == name]
    return next((other for other in named if other.bundle == cell.bundle), named[0] if named else None)


def groups(chosen: Sequence[Cell], memory: int | None, baseline: str | None = None) -> list[list[Cell]]:
    """Cells whose workers fit into memory together; one group where they all do.

    Every group has the baselines of its cells, which run between their turns. A worker is estimated at 150 MB of
    libraries, twice its files (weights, and a repacked copy) and 600 MB for the activations of 30 s at base shape.
    """
    result: list[list[Cell]] = [[]]
    for cell in chosen:
        lead = baseline_of(cell, chosen, baseline)
        wanted = [cell] if lead is None or lead is cell else [lead, cell]
        together = [*result[-1], *(item for item in wanted if item not in result[-1])]
        need = sum(750_000_000 + 2 * (item.file_bytes or 0) for item in together)
        if memory is not None and result[-1] and need > memory:
            result.append(wanted)
        else:
            result[-1] = together
    return result


def _add_torch(
    bundles: Sequence[Bundle],
    threads: int,
    only_variants: Sequence[str],
    checkpoints: Sequence[Path],
    found: list[Cell],
    skipped: list[Skipped],
) -> None:
    """Torch fp32 on the CPU; with a GPU also fp32, fp16 and compiled fp16 there."""
    from ...runtime.engines import torch as engine

    if reason := engine.not_installed():
        skipped.append(Skipped("torch", reason))
        return
    named = [*checkpoints, *([Path(os.environ[engine.CHECKPOINT])] if os.environ.get(engine.CHECKPOINT) else [])]
    kinds: list[tuple[str, str | None]] = [("fp32", None)]
    if _gpu.missing() is None:
        kinds += [("fp32", "cuda:0"), ("fp16", "cuda:0"), ("fp16", "cuda:0,compile")]
    for bundle in bundles:
        checkpoint = next((path for path in named if engine.matches(bundle, path)), None)
        if checkpoint is None:
            what = (
                f"none of the checkpoints holds the weights of {bundle.path.name}" if named else "no checkpoint named"
            )
            skipped.append(Skipped("torch", f"{what}; name it with --checkpoint DIR"))
            continue
        have = {variant.name: variant for variant in bundle.variants}
        for name, device in kinds:
            if name not in have or (only_variants and name not in only_variants):
                continue
            if reason := engine.refuses(bundle.spec, have[name]):
                skipped.append(Skipped(f"torch/{name}", reason))
                continue
            found.append(Cell(bundle.path, "torch", name, threads, device, name, checkpoint=str(checkpoint)))

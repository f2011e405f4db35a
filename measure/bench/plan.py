"""The plan of a benchmark: engines, variants, devices, threads and lengths of audio."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...runtime import engines
from ...runtime.bundle.read import Bundle
from ...runtime.engines import Candidate
from ...runtime.errors import BundleError, InputError
from ...runtime.threads import check_threads
from .report import Skipped, configuration_name
from .worker import WHISPER

LENGTHS = (1.0, 5.0, 10.0, 30.0)
"""Seconds of audio that are timed where the user names none: a command, a sentence, an utterance, Whisper's window."""

LONGEST = 3600
"""Most seconds of audio in one run."""
_WHISPER_TYPES = ("int8", "fp32")
_WORKER_BYTES = 750_000_000
"""Memory of a worker besides its model: 150 MB of libraries, and 600 MB for the activations of 30 s at base shape."""


@dataclass(frozen=True)
class Configuration:
    """One engine × variant × device × threads to measure.

    environment: variables that its process needs, such as the reference engine's checkpoint. sample_rate: in Hz, of
    the audio that the model takes.
    """

    bundle: Path
    engine: str
    variant: str
    threads: int
    device: str | None = None
    precision: str = ""
    file_bytes: int | None = None
    environment: tuple[tuple[str, str], ...] = ()
    language: str | None = None
    sample_rate: int = 16000

    @property
    def name(self) -> str:
        """As ``onnxruntime/fp32``, with the device where one was named."""
        return configuration_name(self.engine, self.variant, self.device)


@dataclass(frozen=True)
class BenchPlan:
    """What to measure and how long."""

    configurations: tuple[Configuration, ...]
    """Engines × variants, in the order of the report."""
    skipped: tuple[Skipped, ...] = ()
    """Engines and variants that this machine does not run, with the reasons, for the report."""
    lengths: tuple[float, ...] = LENGTHS
    """Lengths of audio in seconds."""
    runs: int = 50
    """Runs of each configuration at each length: enough for a 95th percentile that has two runs above it."""
    limit: float = 10.0
    """Seconds of running at each length, after which a configuration stops before it has ``runs``."""
    manifest: Path | None = None
    """Recordings with text, for WER; None: no WER."""
    clips: int | None = None
    """The most recordings of the manifest, evenly picked; None: all."""
    baseline: str | None = None
    """Name of the configuration that the others are compared with; None: see ``default_baseline``."""
    memory: int | None = None
    """Bytes that workers may take together; configurations that need more are measured in groups. None: most of the
    available memory."""

    def __post_init__(self) -> None:
        """Raise InputError for lengths and numbers of runs that cannot be measured."""
        if not self.lengths or not all(0 < seconds <= LONGEST for seconds in self.lengths):
            raise InputError(f"lengths={list(self.lengths)}: give seconds of audio above 0, at most {LONGEST}")
        if self.runs < 1:
            raise InputError(f"runs={self.runs}: give 1 or more")


def configurations(
    bundles: Sequence[Bundle],
    threads: int,
    *,
    only_engines: Sequence[str] = (),
    only_variants: Sequence[str] = (),
    device: str | None = None,
    checkpoints: Sequence[Path] = (),
) -> tuple[list[Configuration], list[Skipped]]:
    """Every configuration that this machine can run, and those that it cannot, with the reason and what to do.

    device: for the engines that are named. checkpoints: directories for the reference engine; each bundle uses the one
    whose weights it was made from. Raises InputError for engines and threads, BundleError for variants that cannot be.
    """
    check_threads(threads)
    for name in only_engines:
        engines.get(name)
    _require_variants(bundles, only_variants)
    references = engines.names(("reference",))
    wanted = only_engines or (*engines.names(("inference",)), *references)
    chosen: list[Configuration] = []
    skipped: list[Skipped] = []
    for name in (name for name in engines.names() if name in wanted):
        for bundle in bundles:
            if name in references:
                found = _reference(name, bundle, threads, only_variants, checkpoints)
            else:
                found = _of_bundle(name, bundle, threads, only_variants, device if only_engines else None)
            for item in found:
                if isinstance(item, Skipped):
                    skipped.append(item)
                else:
                    chosen.append(item)
    return chosen, list(dict.fromkeys(skipped))


def _require_variants(bundles: Sequence[Bundle], names: Sequence[str]) -> None:
    have = sorted({variant.name for bundle in bundles for variant in bundle.variants})
    for name in names:
        if name not in have:
            raise BundleError(f"no variant {name!r} to measure; there are {', '.join(have)}")


def _of_bundle(
    engine: str, bundle: Bundle, threads: int, variants: Sequence[str], device: str | None
) -> Iterator[Configuration | Skipped]:
    """The configurations of a bundle on an engine, and the variants that it does not run."""
    names = [variant.name for variant in bundle.variants if not variants or variant.name in variants]
    for candidate in engines.runnable(bundle, [engine], names):
        variant = candidate.variant
        if variant is None or not candidate.runs:
            yield _skipped(candidate)
        elif "full" in variant.graphs:
            yield Configuration(
                bundle.path,
                engine,
                variant.name,
                threads,
                device,
                variant.precision,
                variant.bytes,
                language=bundle.spec.language,
                sample_rate=bundle.spec.sample_rate,
            )


def _skipped(candidate: Candidate) -> Skipped:
    variant = f"/{candidate.variant.name}" if candidate.variant is not None else ""
    return Skipped(f"{candidate.engine}{variant}", candidate.reason)


def _reference(
    name: str, bundle: Bundle, threads: int, variants: Sequence[str], checkpoints: Sequence[Path]
) -> Iterator[Configuration | Skipped]:
    """The configurations of a reference engine for the checkpoint that a bundle was made from."""
    module = engines.reference(name)
    if reason := module.not_installed():
        yield Skipped(name, reason)
        return
    named = [*checkpoints, *([Path(os.environ[module.CHECKPOINT])] if os.environ.get(module.CHECKPOINT) else [])]
    checkpoint = next((path for path in named if module.matches(bundle, path)), None)
    if checkpoint is None:
        what = f"none of the checkpoints has the weights of {bundle.path.name}" if named else "no checkpoint named"
        yield Skipped(name, f"{what}; name the directory that the bundle was exported from")
        return
    have = {variant.name: variant for variant in bundle.variants if not variants or variant.name in variants}
    for variant, device in module.devices():
        if variant not in have:
            continue
        if reason := engines.refusal(bundle, name, have[variant]):
            yield Skipped(f"{name}/{variant}", reason)
        else:
            environment = ((module.CHECKPOINT, str(checkpoint)),)
            yield Configuration(
                bundle.path,
                name,
                variant,
                threads,
                device,
                variant,
                environment=environment,
                sample_rate=bundle.spec.sample_rate,
            )


def whisper_configurations(directory: Path, threads: int, language: str | None) -> list[Configuration]:
    """A CTranslate2 Whisper model as a user has it; raises InputError for a directory without one."""
    if not (directory / "model.bin").is_file():
        raise InputError(
            f"{directory}: no model.bin; name a Whisper model's directory as faster-whisper takes it (CTranslate2)"
        )
    size = (directory / "model.bin").stat().st_size
    return [
        Configuration(directory, WHISPER, kind, threads, precision=kind, file_bytes=size, language=language)
        for kind in _WHISPER_TYPES
    ]


def references() -> tuple[str, ...]:
    """Names of the usual references: the checkpoint itself in fp32, then ONNX Runtime's fp32."""
    return (*(f"{name}/fp32" for name in engines.names(("reference",))), "onnxruntime/fp32")


def default_baseline(chosen: Sequence[Configuration]) -> str | None:
    """The baseline where the user names none: the first of ``references`` that is measured, else the first of all."""
    names = [configuration.name for configuration in chosen]
    return next((name for name in references() if name in names), names[0] if names else None)


def baseline_of(
    configuration: Configuration, chosen: Sequence[Configuration], name: str | None
) -> Configuration | None:
    """The baseline for the configuration's bundle, else that of the first bundle that has one."""
    named = [other for other in chosen if other.name == name]
    return next((other for other in named if other.bundle == configuration.bundle), named[0] if named else None)


def groups(
    chosen: Sequence[Configuration], memory: int | None, baseline: str | None = None
) -> list[list[Configuration]]:
    """Configurations whose workers fit into memory together; one group where they all do.

    Every group has the baselines of its configurations, which run between their turns. A worker is estimated at
    ``_WORKER_BYTES`` and twice its files (weights, and a repacked copy).
    """
    result: list[list[Configuration]] = [[]]
    for configuration in chosen:
        against = baseline_of(configuration, chosen, baseline)
        wanted = [configuration] if against is None or against is configuration else [against, configuration]
        together = [*result[-1], *(item for item in wanted if item not in result[-1])]
        need = sum(_WORKER_BYTES + 2 * (item.file_bytes or 0) for item in together)
        if memory is not None and result[-1] and need > memory:
            result.append(wanted)
        else:
            result[-1] = together
    return result

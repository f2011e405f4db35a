"""Which engine, variant and number of threads to use on this machine; only ``open.open_model`` calls it.

What the user names wins; then what ``bench`` measured and kept here; then the profile of the board; then whatever runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..runtime import engines
from ..runtime.bundle.read import Bundle, Variant
from ..runtime.errors import EngineError
from ..runtime.threads import check_threads
from . import profile as profiles
from . import tuning
from .detect import Machine, detect
from .profile import DeviceProfile
from .tuning import Tuning


@dataclass(frozen=True)
class Choice:
    """What to run, and why."""

    engine: str
    variant: Variant
    threads: int
    """CPU threads."""
    reason: str
    """In words, such as ``profile raspberry-pi-5``."""


def choose(
    bundle: Bundle,
    engine: str | None = None,
    variant: str | None = None,
    threads: int | None = None,
    *,
    device: str | None = None,
    machine: Machine | None = None,
    profile: DeviceProfile | None = None,
) -> Choice:
    """The engine, variant and threads for a bundle; machine, profile: detected when omitted. device: as ``open_model``.

    Variants that were kept against the gate (``Variant.forced``) are used only when named. Raises InputError for an
    engine that does not exist and a number of threads that none takes, BundleError for a variant that the bundle lacks
    and for one without variants, EngineError, saying why, when nothing runs.
    """
    if threads is not None:
        check_threads(threads)
    machine = machine or detect()
    profile = profile or profiles.for_machine(machine)
    default_threads = threads or threads_for(machine, profile)
    for preferred in _preferred(bundle, machine, profile, tuning.load(bundle, machine)):
        if engine not in (None, preferred.engine) or variant not in (None, preferred.variant):
            continue
        found = next((item for item in bundle.variants if item.name == preferred.variant), None)
        if found is None or (found.forced and variant is None):
            continue
        if (engine is None and found.bytes < preferred.fewest_bytes) or not _runs(bundle, preferred.engine, found):
            continue
        reason = "named" if engine is not None and variant is not None else preferred.reason
        return Choice(preferred.engine, found, threads or preferred.threads or default_threads, reason)
    best = bundle.variant(variant).preferred_by if variant is not None else ()
    order = (*(name for name in best if name in profile.engines), *profile.engines, *engines.DEFAULT_ORDER)
    names = (engine,) if engine is not None else tuple(dict.fromkeys(order))
    saturates = machine.cpu.saturates and engines.may_use_cpu(device)
    name, chosen = _first_that_runs(bundle, names, variant, saturates)
    reason = "named" if engine or variant else f"the first that runs; profile {profile.name} lists no other"
    return Choice(name, chosen, default_threads, reason)


@dataclass(frozen=True)
class _Preferred:
    """One engine and variant to try. threads: None for the machine's. fewest_bytes: of a variant that it is for."""

    engine: str
    variant: str
    reason: str
    threads: int | None = None
    fewest_bytes: float = 0.0


def _preferred(bundle: Bundle, machine: Machine, profile: DeviceProfile, tuned: Tuning | None) -> Iterator[_Preferred]:
    if tuned is not None:
        best = tuned.chosen
        yield _Preferred(best.engine, best.variant, f"tuned on this machine on {tuned.date[:10]}", best.threads)
    for preference in profile.order:
        if preference.suits(machine):
            fewest = preference.megabytes * 1e6
            yield _Preferred(preference.engine, preference.variant, f"profile {profile.name}", fewest_bytes=fewest)


def _runs(bundle: Bundle, engine: str, variant: Variant) -> bool:
    """Whether an engine for inference runs a variant here; what a cache file names need not be one."""
    if engine not in engines.names() or engines.get(engine).PURPOSE != "inference":
        return False
    return all(candidate.runs for candidate in engines.runnable(bundle, (engine,), (variant.name,)))


def _first_that_runs(bundle: Bundle, order: Sequence[str], variant: str | None, saturates: bool) -> tuple[str, Variant]:
    """The first engine × variant of an order of engines.

    saturates: whether the processor's sums of INT8 products may saturate; variants with such sums are tried last then.
    Raises BundleError for a bundle without variants, else EngineError with the reason for each that does not run.
    """
    reasons = []
    affected: tuple[str, Variant] | None = None
    names = [name for name in order if len(order) == 1 or name in engines.names()]
    for candidate in engines.runnable(bundle, names, None if variant is None else (variant,)):
        found = candidate.variant
        if found is not None and found.forced and variant is None:
            reasons.append(f"{candidate.engine}: {found.name} was kept by --force; name it with --variant")
            continue
        if found is not None and candidate.runs:
            if not (saturates and variant is None and may_saturate(candidate.engine, found)):
                return candidate.engine, found
            affected = affected or (candidate.engine, found)
            continue
        refused = "" if candidate.variant is None else f" does not run {candidate.variant.name}"
        reasons.append(f"{candidate.engine}{refused}: {candidate.reason}")
    if affected is not None:
        return affected
    raise EngineError("; ".join(reasons) or f"{bundle.path}: no variant for the engines {', '.join(order)}")


def may_saturate(engine: str, variant: Variant) -> bool:
    """Whether sums of a variant's products may need more than 16 bits on a CPU; those of 7-bit weights do not."""
    return engine in engines.DEFAULT_ORDER and variant.precision == "int8" and variant.scheme != "u7s8"


def threads_for(machine: Machine | None = None, profile: DeviceProfile | None = None) -> int:
    """How many CPU threads suit a machine where nothing was tuned; machine, profile: detected when omitted."""
    machine = machine or detect()
    profile = profile or profiles.for_machine(machine)
    usable = machine.cpu.threads
    return usable if profile.threads is None else min(usable, int(profile.threads.value))

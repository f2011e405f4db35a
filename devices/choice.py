"""Which engine, variant and number of threads to use on this machine.

What the user names wins; then what ``bench --tune`` measured here; then the profile of the board; then whatever runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..runtime import choice, engines
from ..runtime.bundle.read import Bundle, Variant
from . import profile as profiles
from . import tuning
from .detect import Machine, detect
from .profile import DeviceProfile
from .tuning import Tuning


@dataclass(frozen=True)
class Choice:
    """What to run. reason: why, in words, such as ``profile raspberry-pi-5``. profile: what suits this machine."""

    engine: str
    variant: Variant
    threads: int
    reason: str
    profile: DeviceProfile


def choose(
    bundle: Bundle,
    engine: str | None = None,
    variant: str | None = None,
    threads: int | None = None,
    *,
    machine: Machine | None = None,
    profile: DeviceProfile | None = None,
) -> Choice:
    """The engine, variant and threads for a bundle; machine, profile: found out when left away.

    Variants that were kept against the gate (``--force``) are used only when named. Raises InputError for an engine
    that does not exist, BundleError for a variant that the bundle lacks, EngineError, saying why, when nothing runs.
    """
    machine = machine or detect()
    profile = profile or profiles.for_machine(machine)
    tuned = tuning.load(bundle, machine)
    for candidate in _candidates(machine, profile, tuned):
        if engine not in (None, candidate.engine) or variant not in (None, candidate.variant):
            continue
        found = next((item for item in bundle.variants if item.name == candidate.variant), None)
        if found is None or (choice.forced(found) and variant is None):
            continue
        if (engine is None and not candidate.pays(found.bytes)) or not _runs(bundle, candidate.engine, found):
            continue
        reason = "named" if engine is not None and variant is not None else candidate.reason
        return Choice(candidate.engine, found, threads or candidate.threads, reason, profile)
    best = bundle.variant(variant).preferred_by if variant is not None else ()
    order = tuple(dict.fromkeys((*(name for name in best if name in profile.engines), *profile.engines, *choice.ORDER)))
    name, chosen = choice.choose(bundle, engine, variant, order)
    reason = "named" if engine or variant else f"the first that runs; profile {profile.name} lists no other"
    return Choice(name, chosen, threads or _threads(machine, profile), reason, profile)


@dataclass(frozen=True)
class _Candidate:
    engine: str
    variant: str
    threads: int
    reason: str
    pays: Callable[[int], bool]


def _candidates(machine: Machine, profile: DeviceProfile, tuned: Tuning | None) -> Iterator[_Candidate]:
    if tuned is not None:
        chosen = tuned.chosen
        reason = f"tuned on this machine on {tuned.date[:10]}"
        yield _Candidate(chosen.engine, chosen.variant, chosen.threads, reason, lambda size: True)
    for preference in profile.order:
        if preference.suits(machine):
            threads, reason = _threads(machine, profile), f"profile {profile.name}"
            yield _Candidate(preference.engine, preference.variant, threads, reason, preference.pays)


def _runs(bundle: Bundle, engine: str, variant: Variant) -> bool:
    if engine not in engines.names():
        return False
    return engines.missing(engine) is None and engines.get(engine).refuses(bundle.spec, variant) is None


def _threads(machine: Machine, profile: DeviceProfile) -> int:
    usable = machine.cpu.threads
    return usable if profile.threads is None else min(usable, int(profile.threads.value))

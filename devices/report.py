"""What ``wav2edge devices`` shows: machine, profile, engines, microphones, energy, and problems with their fixes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ..runtime import engines
from . import energy, profile, software
from . import microphones as sound
from .detect import Machine, detect
from .diagnose import Diagnosis, diagnose
from .microphones import Microphones
from .profile import DeviceProfile
from .software import Software


@dataclass(frozen=True)
class EngineState:
    """One engine here. missing: why it cannot run and what to do, None when it is ready.

    variants: what the profile runs on it, best first.
    """

    name: str
    missing: str | None
    variants: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachineReport:
    """What a machine is and can do. energy: what its meter covers, or why there is none (then metered is False)."""

    machine: Machine
    profile: DeviceProfile
    software: Software
    engines: tuple[EngineState, ...]
    microphones: Microphones
    energy: str
    metered: bool
    diagnoses: tuple[Diagnosis, ...]

    def to_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        environment = self.software.environment
        installed = {
            **dataclasses.asdict(self.software),
            "environment": None if environment is None else str(environment),
            "packages": {name: package.version for name, package in self.software.packages.items()},
        }
        return {
            "machine": self.machine.to_json(),
            "profile": self.profile.name,
            "software": installed,
            "engines": [dataclasses.asdict(state) for state in self.engines],
            "microphones": dataclasses.asdict(self.microphones),
            "energy": {"available": self.metered, "source": self.energy},
            "diagnoses": [dataclasses.asdict(diagnosis) for diagnosis in self.diagnoses],
        }


def make(root: str | Path = "/", microphones: Microphones | None = None) -> MachineReport:
    """Look at the machine below ``root``; microphones: None asks PortAudio, which takes about half a second."""
    machine = detect(root)
    chosen = profile.for_machine(machine)
    installed = software.detect(root)
    inputs = sound.detect() if microphones is None else microphones
    meter = energy.find(root, chosen.rails)
    covered = energy.missing(root) if meter is None else meter.name
    if meter is not None:
        meter.close()
    return MachineReport(
        machine=machine,
        profile=chosen,
        software=installed,
        engines=engine_states(machine, chosen),
        microphones=inputs,
        energy=covered,
        metered=meter is not None,
        diagnoses=diagnose(machine, installed, inputs),
    )


def engine_states(machine: Machine, chosen: DeviceProfile) -> tuple[EngineState, ...]:
    """Every engine that computes, in the profile's order, then by name."""
    suiting = [preference for preference in chosen.order if preference.suits(machine)]
    order = tuple(dict.fromkeys(preference.engine for preference in suiting))
    names = [name for name in order if name in engines.names()]
    names += [name for name in engines.names(("inference", "reference")) if name not in names]
    states = []
    for name in names:
        variants = tuple(preference.variant for preference in suiting if preference.engine == name)
        states.append(EngineState(name, engines.missing(name), variants))
    return tuple(sorted(states, key=lambda state: state.missing is not None))

"""DeviceProfile: what suits a board. A file in profiles/ is a board; its name is what ``pack --for`` takes.

Each number in a profile names its source, or says that it is estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypedDict

from ..runtime import documents
from ..runtime.errors import InputError
from .detect import Machine, detect

_FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Preference:
    """One engine and variant to try. needs: traits of the machine of which it takes at least one (none: any machine).

    megabytes: the size of variant from which the engine gains more than it costs to start (0: any size).
    source: where the place in the order comes from.
    """

    engine: str
    variant: str
    source: str
    needs: tuple[str, ...] = ()
    megabytes: float = 0.0

    def suits(self, machine: Machine) -> bool:
        """Whether the machine has what it needs."""
        return not self.needs or bool(machine.traits.intersection(self.needs))

    def pays(self, size: int) -> bool:
        """Whether the engine is worth starting for a variant of ``size`` bytes."""
        return size >= self.megabytes * 1e6


@dataclass(frozen=True)
class Setting:
    """A number and where it comes from: a page, a measurement, or ``estimated: …``."""

    value: float
    source: str


@dataclass(frozen=True)
class Installation:
    """What makes a machine ready to run bundles; ``pack`` turns it into install.sh."""

    extras: tuple[str, ...] = ("cpu", "mic")
    """The extras of wav2edge to install."""
    requires: tuple[str, ...] = ()
    """More packages, as pip's requirements with markers."""
    system: str = ""
    """The shell line that installs system packages; it needs the network, and is said only where one is missing."""
    python: tuple[str, ...] = ()
    """The Pythons of the systems that the board runs, such as ``3.11``; ``pack --wheels`` gathers wheels for each."""
    platform: str = ""
    """The newest platform tag that its wheels may have, such as ``manylinux_2_36_aarch64``: glibc of its systems."""
    system_site: bool = False
    """Whether the environment must see the system's Python packages (JetPack's TensorRT is one)."""
    commands: tuple[str, ...] = ()
    """The lines to type where install.sh does not run (Windows, macOS); ``{wav2edge}`` stands for the wheel."""


@dataclass(frozen=True)
class DeviceProfile:
    """What suits a board.

    order: engines with variants, best first. threads: CPU threads (None: one for each core that may be used).
    window, hop: seconds of audio that a live partial sees (left context and hop), and seconds between partials.
    rails: power rails that add up to the module. install: what makes the board ready. notes: what its owner should
    know.
    """

    name: str
    title: str
    match: Mapping[str, tuple[str, ...]]
    order: tuple[Preference, ...]
    window: Setting
    hop: Setting
    threads: Setting | None = None
    rails: tuple[str, ...] = ()
    install: Installation = Installation()
    notes: tuple[str, ...] = ()

    @classmethod
    def detect(cls, root: str | Path = "/") -> DeviceProfile:
        """The profile of the machine below ``root``."""
        return for_machine(detect(root))

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines in their order."""
        return tuple(dict.fromkeys(preference.engine for preference in self.order))

    def variants(self, engine: str) -> tuple[str, ...]:
        """The variants for one engine, best first."""
        return tuple(preference.variant for preference in self.order if preference.engine == engine)


class _PreferenceRequired(TypedDict):
    engine: str
    variant: str
    source: str


class PreferenceJson(_PreferenceRequired, total=False):
    """An item of ``order``, see ``Preference``."""

    needs: list[str]
    megabytes: float


class SettingJson(TypedDict):
    """A number with its source, see ``Setting``."""

    value: float
    source: str


class RailsJson(TypedDict):
    """Power rails that add up to the module, with their source."""

    value: list[str]
    source: str


class InstallationJson(TypedDict, total=False):
    """``install`` of a profile, see ``Installation``."""

    extras: list[str]
    requires: list[str]
    system: str
    python: list[str]
    platform: str
    system_site: bool
    commands: list[str]


class _ProfileRequired(TypedDict):
    title: str
    match: dict[str, list[str]]
    order: list[PreferenceJson]
    window: SettingJson
    hop: SettingJson
    install: InstallationJson


class ProfileJson(_ProfileRequired, total=False):
    """A file of profiles/, see ``DeviceProfile``."""

    threads: SettingJson
    rails: RailsJson
    notes: list[str]


def names() -> tuple[str, ...]:
    """The names of all profiles."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def load(name: str) -> DeviceProfile:
    """The profile of that name; raises InputError naming those there are."""
    if name not in names():
        raise InputError(f"no device profile {name!r}; there are {', '.join(names())}")
    return _parse(name, documents.read(_FOLDER / f"{name}.json", ProfileJson, "a device profile"))


def for_machine(machine: Machine) -> DeviceProfile:
    """The profile that fits a machine best: its board, else its kind of processor and GPU."""
    scored = ((_score(profile.match, machine), profile) for profile in map(load, names()))
    fitting = [(score, profile) for score, profile in scored if score is not None]
    return max(fitting, key=lambda pair: pair[0])[1]  # ``generic`` fits every machine


def _score(match: Mapping[str, tuple[str, ...]], machine: Machine) -> tuple[int, int] | None:
    """How specific a match is, more is better; None for no match.

    compatible: patterns for the device tree's names, of which earlier ones are more specific. processor: patterns for
    its name. architecture: one of. traits: at least one of.
    """
    if "architecture" in match and machine.cpu.architecture not in match["architecture"]:
        return None
    if "traits" in match and not machine.traits.intersection(match["traits"]):
        return None
    board = 0
    if "processor" in match:
        if not any(fnmatchcase(machine.cpu.name, pattern) for pattern in match["processor"]):
            return None
        board = 500
    if "compatible" in match:
        places = [
            place
            for place, name in enumerate(machine.compatible)
            if any(fnmatchcase(name, pattern) for pattern in match["compatible"])
        ]
        if not places:
            return None
        board = 1000 - min(places)
    return board, len(match) + ("nvidia-gpu" in match.get("traits", ()))


def _parse(name: str, values: ProfileJson) -> DeviceProfile:
    return DeviceProfile(
        name=name,
        title=values["title"],
        match={key: tuple(found) for key, found in values["match"].items()},
        order=tuple(documents.build(Preference, {**item}) for item in values["order"]),
        window=Setting(**values["window"]),
        hop=Setting(**values["hop"]),
        threads=Setting(**values["threads"]) if "threads" in values else None,
        rails=tuple(values["rails"]["value"]) if "rails" in values else (),
        install=documents.build(Installation, {**values["install"]}),
        notes=tuple(values.get("notes", ())),
    )

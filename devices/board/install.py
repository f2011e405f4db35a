"""install.sh and the systemd unit of a package: the templates beside this file, filled in for one board."""

from __future__ import annotations

import math
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ...runtime.errors import InputError
from ..profile import DeviceProfile
from .commands import COMMANDS, LISTEN

_HERE = Path(__file__).parent
_ENVIRONMENT_MB = 400
"""Megabytes of disk that are asked for where packages come from an index: a limit set by hand. tests/test_packaging.py
holds the environment of the extra cpu to 300 MB; engines other than ONNX Runtime take more."""


_TAKEN = {"wheels", "env", "complete", "install.sh", "README.txt", "SHA256SUMS", "requirements.txt"}
"""Names in an archive, and in an installation, that a bundle's folder cannot have."""


@dataclass(frozen=True)
class BoardPackage:
    """What a package for a board consists of."""

    name: str
    """Of the package and of its service."""
    bundle: str
    """The bundle's folder."""
    profile: DeviceProfile
    """The board."""
    wheel: Path
    """wav2edge's wheel."""
    wheels: tuple[Path, ...]
    """The wheels that go along; empty where the board takes them from an index."""
    python: tuple[str, ...]
    """The Pythons that the wheels are for."""
    service: bool
    """Whether a systemd unit goes along."""
    bytes: int
    """The size of the bundle's variants."""
    commands: tuple[str, ...] = COMMANDS["ctc"]
    """What uses the bundle (``commands_of``); by default what uses a model that transcribes."""


def check_bundle_name(name: str) -> None:
    """Raise InputError for a bundle's folder whose name has another meaning in the archive or where it is installed."""
    taken = name in _TAKEN or name.endswith((".service", ".whl"))
    if taken or not name.isprintable():  # bytes that are not UTF-8 are not printable
        raise InputError(f"{name!a}: a package cannot hold a bundle of this name; rename its folder")


def install_script(package: BoardPackage) -> str:
    """The text of install.sh; raises InputError for a bundle whose name a service cannot have."""
    install = package.profile.install
    offline = bool(package.wheels)
    machine = "aarch64" if install.platform.endswith("aarch64") else "x86_64" if install.platform else "any"
    pythons = package.python if offline else ()
    wanted = f"Python {' or '.join(pythons) or '3.10 or newer'}"
    again = "pack again with the Python that is here: --python 3.N" if offline else (install.system or "install one")
    values = {
        "NAME": package.name,
        "BUNDLE": package.bundle,
        "WHEEL": package.wheel.name,
        "EXTRAS": ",".join(install.extras),
        "OFFLINE": "yes" if offline else "no",
        "PIP": next((path.name for path in package.wheels if path.name.startswith("pip-")), ""),
        "PYTHONS": " ".join(f"python{version}" for version in pythons),
        "PYTHON_FITS": _fits(pythons, machine),
        "PYTHON_WANTED": wanted,
        "PYTHON_REMEDY": again,
        "MACHINE": machine,
        "MEGABYTES": str(_megabytes(package)),
        "SYSTEM": install.system or "install PortAudio",
        "SYSTEM_SITE": "yes" if install.system_site else "no",
        "SERVICE": package.name if package.service else "",
        "USE": package.commands[0] if package.commands else "selftest",
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    return (_HERE / "install.sh").read_text("utf-8").replace("@VALUES@", "\n".join(lines))


def requirements(package: BoardPackage) -> str:
    """requirements.txt: the packages that a board needs beside wav2edge and its extras; empty for none."""
    return "".join(f"{line}\n" for line in package.profile.install.requires)


def service_unit(package: BoardPackage) -> str:
    """The text of the systemd unit, in which install.sh puts the folder of the installation for ``@FOLDER@``.

    Raises InputError for a model that ``listen`` does not run, and for a bundle whose name a unit cannot hold.
    """
    if LISTEN not in package.commands:
        raise InputError(f"{package.bundle}: `listen` does not run a model with this head; leave the service out")
    if package.profile.install.commands:
        raise InputError(f"{package.profile.name}: a service is a systemd unit, which runs on Linux")
    if not package.bundle.isprintable():
        raise InputError(f"{package.bundle!r}: a service cannot name this bundle; rename its folder")
    text = (_HERE / "service.unit").read_text("utf-8")
    return text.replace("@NAME@", package.name).replace("@BUNDLE@", _escaped(package.bundle))


def service_notes(package: BoardPackage) -> tuple[str, ...]:
    """What to type for the service, and where its captions come out."""
    name = package.name
    return (
        f"systemctl --user enable --now {name}      # captions now, and when this user logs in",
        "loginctl enable-linger                     # without a login as well",
        f"journalctl --user -u {name} -f             # the text of each utterance",
        f"nc -U $XDG_RUNTIME_DIR/{name}.sock         # every event as a line of JSON",
        f"systemctl --user edit {name}               # to change it",
    )


def _escaped(text: str) -> str:
    """Text inside the double quotes of a unit's ExecStart (systemd.service(5), systemd.unit(5))."""
    for character, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(character, written)
    return text


def _fits(pythons: tuple[str, ...], machine: str) -> str:
    """Python code that ends with 0 where the packages fit the Python that runs it."""
    version = f"'%d.%d' % sys.version_info[:2] in {pythons!r}" if pythons else "sys.version_info >= (3, 10)"
    same = "True" if machine == "any" else f"platform.machine() in {(machine, machine.upper())!r}"
    return f"import platform, sys, venv; sys.exit(not ({version} and {same} and sys.maxsize > 1 << 32))"


def _megabytes(package: BoardPackage) -> int:
    """Space that an installation takes, in megabytes: the bundle, the program, and the wheels unpacked."""
    largest: dict[str, int] = {}
    for path in package.wheels:
        name = path.name.partition("-")[0]
        largest[name] = max(largest.get(name, 0), _unpacked(path))
    packages = sum(largest.values()) if largest else _ENVIRONMENT_MB * 1_000_000
    own = _unpacked(package.wheel) + package.wheel.stat().st_size
    return math.ceil((packages + own + package.bytes) * 1.1 / 1e6) + 10


def _unpacked(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: not a wheel ({error}); leave it out, and the one that runs is packed") from error

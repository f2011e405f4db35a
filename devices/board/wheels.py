"""The wheels that a board needs, gathered on another machine, so that the board installs them with no network.

pip resolves and downloads for another platform, but looks at this machine's Python where a package asks for others
only on some (``typing-extensions; python_version < "3.11"``; https://github.com/pypa/pip/issues/11664). So what the
wheels ask for is read again for the board, and what is missing there is asked for in another round.
"""

from __future__ import annotations

import email
import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime import children
from ...runtime.errors import EngineError, InputError
from ..profile import Installation

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_OLDEST_GLIBC = 17  # manylinux2014, the oldest that any package here is built for
_ROUNDS = 5


@dataclass(frozen=True)
class Target:
    """A Python on a platform."""

    python: str
    """Such as ``3.11``."""
    platform: str
    """The newest tag its wheels may have, such as ``manylinux_2_36_aarch64``."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The platform tags of wheels that run there, newest first (PEP 600)."""
        if match := re.fullmatch(r"manylinux_2_(\d+)_(\w+)", self.platform):
            newest, machine = int(match[1]), match[2]
            tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
            return (*tags, f"manylinux2014_{machine}", *self._older(machine))
        if match := re.fullmatch(r"macosx_(\d+)_0_(\w+)", self.platform):
            return tuple(
                f"macosx_{n}_0_{kind}" for n in range(int(match[1]), 10, -1) for kind in (match[2], "universal2")
            )
        return (self.platform,)

    @staticmethod
    def _older(machine: str) -> tuple[str, ...]:
        older = ("manylinux_2_12", "manylinux2010", "manylinux_2_5", "manylinux1")
        return tuple(f"{tag}_{machine}" for tag in older) if machine == "x86_64" else ()

    @property
    def environment(self) -> Mapping[str, str]:
        """The values of markers there (PEP 508)."""
        system, name, os_name = ("Linux", "linux", "posix")
        if self.platform.startswith("macosx"):
            system, name = "Darwin", "darwin"
        elif self.platform.startswith("win"):
            system, name, os_name = "Windows", "win32", "nt"
        machine = next((m for m in ("aarch64", "x86_64", "arm64", "amd64") if self.platform.endswith(m)), "")
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "platform_python_implementation": "CPython",
            "platform_machine": machine.upper() if os_name == "nt" else machine,
            "platform_system": system,
            "platform_release": "",
            "platform_version": "",
            "sys_platform": name,
            "os_name": os_name,
        }


def gather(program: Path, install: Installation, target: Target, folder: Path) -> tuple[Path, ...]:
    """Download what wav2edge's wheel needs on a board, and pip itself; returns the files, sorted, without the program.

    Needs pip and a package index. Raises EngineError without pip or packaging, InputError where a package has no wheel
    for the board or the index cannot be reached.
    """
    for name in ("pip", "packaging"):
        if importlib.util.find_spec(name) is None:
            raise EngineError(f"wheels are gathered with {name}, which is not installed; `{sys.executable} -m "
                              f"ensurepip`, then `{sys.executable} -m pip install packaging`")  # fmt: skip
    from packaging.requirements import Requirement

    root = f"{program}[{','.join(install.extras)}]"
    more = [text for text in map(str.strip, install.requires) if _holds(Requirement(text), target)]
    more.append("pip")
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            _download([root, *more], target, Path(place))
            found = {_normal(_metadata(path)["Name"]): path for path in Path(place).glob("*.whl")}
            wanted, missing = _closure(found, install, more, target)
            if not missing:
                kept = folder / f"py{target.python}"
                kept.mkdir(exist_ok=True)
                names = sorted(found[name] for name in wanted if name != "wav2edge")
                return tuple(path.replace(kept / path.name) for path in names)
            more += missing
    raise InputError(f"no set of wheels was found for Python {target.python}; {more[-1]} keeps asking for more")


def _download(requirements: Sequence[str], target: Target, place: Path) -> None:
    command = children.module("pip", "download", "--quiet", "--disable-pip-version-check", "--no-input")
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.python]
    for tag in target.tags:
        command += ["--platform", tag]
    done = subprocess.run(
        [*command, "--dest", str(place), *(_without_marker(text) for text in requirements)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {done.returncode}"
        raise InputError(f"no wheels for Python {target.python} on {target.platform}: {reason}")


def _closure(
    found: Mapping[str, Path], install: Installation, more: Iterable[str], target: Target
) -> tuple[set[str], list[str]]:
    """The names of the packages that the board needs, and the requirements that no downloaded wheel meets."""
    from packaging.requirements import Requirement

    pending = [("wav2edge", frozenset(install.extras))]
    pending += [(_normal(item.name), frozenset(item.extras)) for item in map(Requirement, more)]
    seen: set[tuple[str, frozenset[str]]] = set()
    missing: list[str] = []
    while pending:
        name, extras = pending.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for item in _requirements(found[name], extras, target):
            if _normal(item.name) in found:
                pending.append((_normal(item.name), frozenset(item.extras)))
            else:
                missing.append(str(item))
    return {name for name, _ in seen}, missing


def _requirements(path: Path, extras: Iterable[str], target: Target) -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    for text in _metadata(path).get_all("Requires-Dist") or []:
        item = Requirement(text)
        if any(_holds(item, target, extra) for extra in ("", *extras)):
            item.marker = None
            yield item


def _holds(item: Requirement, target: Target, extra: str = "") -> bool:
    return item.marker is None or item.marker.evaluate({**target.environment, "extra": extra})


def _metadata(path: Path) -> Message:
    with zipfile.ZipFile(path) as archive:
        name = next(entry for entry in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", entry))
        return email.message_from_bytes(archive.read(name))


def _without_marker(text: str) -> str:
    return text.partition(";")[0].strip()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

"""One file to copy to a board: the bundle with the variants that the board uses, the program, and its installer.

NAME.tar
  BUNDLE/          a bundle; its bundle.json lists only what is here
  wav2edge-….whl   the program
  wheels/          what it needs, where asked for: then installing needs no network
  install.sh       installs or updates; the old installation stays in use until the new one passed its selftest
  NAME.service     a systemd unit for live captions, where asked for
  SHA256SUMS       the digest of every file
  README.txt       the lines to type on the board
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..runtime.bundle import signature
from ..runtime.bundle.read import MANIFEST, SELFTEST, Bundle, Variant, sha256, variant_to_json
from ..runtime.errors import BundleError, InputError
from ..runtime.files import occupied, replace_whole
from .board import program
from .board.commands import LISTEN, commands_of
from .board.install import BoardPackage, check_bundle_name, install_script, requirements, service_notes, service_unit
from .board.wheels import Target, gather
from .profile import DeviceProfile

_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_CHECK = (
    "import hashlib; [print(n, h == hashlib.sha256(open(n, 'rb').read()).hexdigest() and 'OK' or 'FAILED') "
    "for h, n in (l.rstrip().split('  ', 1) for l in open('SHA256SUMS', encoding='utf-8'))]"
)
"""Python that compares the files with SHA256SUMS, for Windows, whose ``certutil`` takes one file and compares nothing;
in double quotes neither cmd nor PowerShell changes it."""


@dataclass(frozen=True)
class PackedBundle:
    """What was packed: the variants, and the size of the file in bytes. install: the lines for the board.

    signed: whether the packed bundle is signed.
    """

    path: Path
    variants: tuple[Variant, ...]
    bytes: int
    install: tuple[str, ...]
    signed: bool = False


@dataclass(frozen=True)
class PackOptions:
    """What goes along with the bundle."""

    variants: tuple[str, ...] = ()
    """Variants to pack instead of those that the profile uses."""
    wheel: Path | None = None
    """wav2edge's wheel; None makes the wheel of the wav2edge that runs."""
    wheels: bool = False
    """Whether the wheels of all other packages go along, so that installing needs no network."""
    python: tuple[str, ...] = ()
    """Pythons to gather wheels for, such as ``3.11``, instead of those of the profile."""
    service: bool = False
    """Whether a systemd unit for live captions goes along."""
    key: Path | None = None
    """Private key to sign the packed bundle with; the bundle's own signature does not fit other variants."""


def pack(
    bundle: Bundle,
    profile: DeviceProfile,
    destination: Path,
    options: PackOptions | None = None,
    *,
    overwrite: bool = False,
) -> PackedBundle:
    """Write the file for a board; the same bundle, program and wheels give the same bytes.

    The file is written whole or not at all. Raises InputError for a destination, wheel or option that cannot be used,
    BundleError for a damaged bundle or one that has nothing for the board, EngineError where gathering wheels lacks
    pip.
    """
    chosen = options or PackOptions()
    if not destination.name.endswith(_SUFFIXES):
        raise InputError(f"{destination}: name it {' or '.join(_SUFFIXES)}")
    if destination.exists() and not overwrite:
        raise occupied(destination)
    if chosen.wheel is not None and not program.is_wheel(chosen.wheel):
        raise InputError(f"{chosen.wheel}: not a wheel of wav2edge; leave it out, and the one that runs is packed")
    if chosen.service and LISTEN not in commands_of(bundle.spec):
        raise InputError(
            f"{bundle.path}: `listen` does not run its model ({bundle.spec.head}, {bundle.spec.sample_rate} Hz); "
            "leave the service out"
        )
    check_bundle_name(bundle.directory.resolve().name)
    if not profile.install.commands and SELFTEST not in bundle.files:
        raise BundleError(f"{bundle.path}: it lists no {SELFTEST}, without which no board installs it; export again")
    variants = tuple(bundle.variant(name) for name in chosen.variants) or used(bundle, profile)
    for variant in variants:
        bundle.verify(variant)
    with tempfile.TemporaryDirectory() as folder:
        contents = _contents(bundle, profile, destination, chosen, variants, Path(folder))
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            with replace_whole(destination) as temporary, temporary.open("wb") as file:
                _write(file, destination.suffix != ".tar", contents)
        except OSError as error:
            raise InputError(f"{destination}: cannot be written ({error.strerror or error})") from error
    lines = install_lines(profile, contents.package)
    size = destination.stat().st_size
    return PackedBundle(destination, variants, size, lines, options is not None and options.key is not None)


def used(bundle: Bundle, profile: DeviceProfile) -> tuple[Variant, ...]:
    """The variants that a profile would run: for each engine its best, and those that the board may prefer to it.

    Raises BundleError naming what the profile could use when the bundle has none of it.
    """
    names: dict[str, None] = {}
    for engine in profile.engines:
        for preference in profile.order:
            here = [variant for variant in bundle.variants if variant.name == preference.variant]
            if preference.engine != engine or not here or here[0].forced:
                continue
            names[preference.variant] = None
            if not preference.needs:  # with needs, a board without them takes the next
                break
    if not names:
        wanted = ", ".join(dict.fromkeys(preference.variant for preference in profile.order))
        raise BundleError(f"{bundle.path}: it has no variant for {profile.name}, which uses {wanted}")
    return tuple(bundle.variant(name) for name in names)


def install_lines(profile: DeviceProfile, package: BoardPackage) -> tuple[str, ...]:
    """The shell lines that make a board ready, from the folder that the file was unpacked in."""
    install = profile.install
    if install.commands:
        offline = "--no-index --find-links wheels " if package.wheels else ""
        return tuple(
            line.replace("{wav2edge}", f"./{package.wheel.name}").replace("{options}", offline)
            for line in install.commands
        )
    lines = ["./install.sh"]
    if package.service:
        lines.append(f"systemctl --user enable --now {package.name}")
    return tuple(lines)


@dataclass(frozen=True)
class _Contents:
    """The files of a package by their names in it, in order, and what they are for."""

    package: BoardPackage
    files: tuple[tuple[str, Path | bytes], ...]


def _contents(
    bundle: Bundle,
    profile: DeviceProfile,
    destination: Path,
    options: PackOptions,
    variants: tuple[Variant, ...],
    folder: Path,
) -> _Contents:
    if options.key is not None:  # whoever signs for a board wants it to check
        extras = (*profile.install.extras, "signed")
        profile = dataclasses.replace(profile, install=dataclasses.replace(profile.install, extras=extras))
    wheel = options.wheel or program.wheel(folder)
    gathered: dict[str, Path] = {}
    if options.wheels:
        for target in _targets(profile, options):
            gathered.update({path.name: path for path in gather(wheel, profile.install, target, folder)})
    package = BoardPackage(
        name=_package_name(destination),
        bundle=bundle.directory.resolve().name,
        profile=profile,
        wheel=wheel,
        wheels=tuple(gathered[name] for name in sorted(gathered)),
        python=_pythons(profile, options),
        service=options.service,
        bytes=sum(variant.bytes for variant in variants),
        commands=commands_of(bundle.spec),
    )
    listed = {label: bundle.file(label) for label in bundle.files}
    raw = {entry["name"]: entry for entry in bundle.document["variants"]}  # with what a newer version may have added
    manifest = {**bundle.document, "variants": [{**raw[v.name], **variant_to_json(v)} for v in variants]}
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    files: list[tuple[str, Path | bytes]] = [(f"{package.bundle}/{MANIFEST}", text.encode("utf-8"))]
    paths = sorted({str(path.relative_to(bundle.directory)) for path in listed.values()})
    for relative in [*dict.fromkeys(file for variant in variants for file in variant.files), *paths]:
        files.append((f"{package.bundle}/{relative}", bundle.directory / relative))
    if options.key is not None:
        files.append((f"{package.bundle}/{signature.SIGNATURE}", _signed(files, folder / "signed", options.key)))
    files.append((wheel.name, wheel))
    files += [(f"wheels/{path.name}", path) for path in package.wheels]
    if profile.install.requires:
        files.append(("requirements.txt", requirements(package).encode("utf-8")))
    if not profile.install.commands:
        files.append(("install.sh", install_script(package).encode("utf-8")))
    if package.service:
        files.append((f"{package.name}.service", service_unit(package).encode("utf-8")))
    files.append(("README.txt", _readme(package, variants).encode("utf-8")))
    return _Contents(package, tuple(files))


def _signed(files: Iterable[tuple[str, Path | bytes]], folder: Path, key: Path) -> bytes:
    """The signature of a packed bundle, whose files are copied to a folder for it."""
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)
    (bundle,) = folder.iterdir()
    return signature.sign(Bundle.open(bundle, ask_signature=False), key).read_bytes()


def _targets(profile: DeviceProfile, options: PackOptions) -> list[Target]:
    pythons = _pythons(profile, options)
    if not pythons or not profile.install.platform:
        raise InputError(
            f"{profile.name}: it is not known which wheels it takes; pack for a board, or leave the wheels out"
        )
    for python in pythons:
        if not re.fullmatch(r"3\.\d+", python) or int(python[2:]) < 10:
            raise InputError(f"python={python}: not a Python that wav2edge runs on; such as 3.11, 3.10 at least")
    return [Target(python, profile.install.platform) for python in pythons]


def _pythons(profile: DeviceProfile, options: PackOptions) -> tuple[str, ...]:
    return options.python or profile.install.python


def _package_name(destination: Path) -> str:
    """The file's name without its endings, with nothing that a unit's or folder's name may not hold."""
    stem = destination.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip(".-") or "captions"


def _write(file: IO[bytes], compressed: bool, contents: _Contents) -> None:
    sums: list[tuple[str, str]] = []
    with ExitStack() as stack:
        # Times and owners are left out, so that the same content gives the same file.
        stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0)) if compressed else file
        archive = stack.enter_context(tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT))
        for name, content in contents.files:
            _add(archive, name, content, sums)
        _add(archive, "SHA256SUMS", "".join(f"{digest}  {path}\n" for path, digest in sums).encode("utf-8"), [])


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes, sums: list[tuple[str, str]]) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o755 if name == "install.sh" else 0o644
    if isinstance(content, bytes):
        entry.size = len(content)
        sums.append((name, hashlib.sha256(content).hexdigest()))
        archive.addfile(entry, io.BytesIO(content))
        return
    with content.open("rb") as file:
        entry.size = os.fstat(file.fileno()).st_size
        archive.addfile(entry, file)
    sums.append((name, sha256(content)))


def _check_line(platform: str) -> str:
    """The line that compares the files with SHA256SUMS, by what every system of a platform has."""
    if platform.startswith("win"):
        return f'py -c "{_CHECK}"'
    return "shasum -a 256 -c SHA256SUMS" if platform.startswith("macosx") else "sha256sum -c SHA256SUMS"


def _readme(package: BoardPackage, variants: Iterable[Variant]) -> str:
    profile, name = package.profile, package.bundle
    rows = [f"    {variant.name:<14} {variant.bytes / 1e6:8.1f} MB" for variant in variants]
    place = "" if profile.install.commands else f"~/.local/share/wav2edge/{package.name}/current/"
    program = f"{place}env/bin/wav2edge" if place else "wav2edge"
    named = f"{place}{shlex.quote(name)}"
    parts = [f"{name} for {profile.title}", ""]
    parts += ["Install, or update what is installed:", *(f"    {line}" for line in install_lines(profile, package))]
    if profile.install.commands:
        parts += ["", "Check the copy before:", f"    {_check_line(profile.install.platform)}"]
    if profile.install.system:
        network = "needs the network, once" if package.wheels else "needs the network, as install.sh does"
        parts += ["", f"Where it names a system package that is missing ({network}):", f"    {profile.install.system}"]
    parts += [
        "",
        "Use it:",
        f"    {program} selftest {named}",
        *(f"    {program} {command} -m {named}" for command in package.commands),
    ]
    parts += ["", "Variants:", *rows]
    if package.service:
        parts += ["", "The service:", *(f"    {line}" for line in service_notes(package))]
    parts += ["", "Notes:", *(f"    {note}" for note in profile.notes)] if profile.notes else []
    return "\n".join(parts) + "\n"

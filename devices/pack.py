"""One file to copy to a board: the bundle with the variants that the board uses, checksums, and how to install.

FILE.tar
  NAME/            a bundle; its bundle.json lists only what is here
  SHA256SUMS       `sha256sum -c SHA256SUMS` proves that the copy is whole
  README.txt       the lines to type on the board
  wav2edge-….whl   the program, if it was given
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..runtime.bundle.read import MANIFEST, Bundle, Variant, sha256, variant_to_json
from ..runtime.errors import BundleError, InputError
from ..runtime.files import replace_whole
from .profile import DeviceProfile

LAYOUTS = ("onnx-asr", "sherpa-onnx", "triton")
_SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class PackedBundle:
    """What was packed: the variants, and the size of the file in bytes. install: the lines for the board."""

    path: Path
    variants: tuple[Variant, ...]
    bytes: int
    install: tuple[str, ...]


def pack(
    bundle: Bundle,
    profile: DeviceProfile,
    destination: Path,
    *,
    variants: Sequence[str] = (),
    wheel: Path | None = None,
    overwrite: bool = False,
) -> PackedBundle:
    """Write the file for a board; the same bundle gives the same bytes.

    variants: names to pack instead of those that the profile uses. wheel: wav2edge itself, packed along. The file is
    written whole or not at all. Raises InputError for a destination or wheel that cannot be used, BundleError for a
    damaged bundle or one that has nothing for the board.
    """
    if not destination.name.endswith(_SUFFIXES):
        raise InputError(f"{destination}: name it {' or '.join(_SUFFIXES)}")
    if destination.exists() and not overwrite:
        raise InputError(f"{destination}: already exists; choose another name, or allow to overwrite it")
    if wheel is not None and not (wheel.is_file() and re.fullmatch(r"wav2edge-.+\.whl", wheel.name)):
        raise InputError(f"{wheel}: not a wheel of wav2edge; build one with `pip wheel --no-deps .`")
    chosen = tuple(bundle.variant(name) for name in variants) or used(bundle, profile)
    for variant in chosen:
        bundle.verify(variant)
    name = bundle.path.resolve().name
    lines = install_lines(profile, wheel)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with replace_whole(destination) as temporary, temporary.open("wb") as file:
            _write(file, destination.suffix != ".tar", bundle, chosen, name, profile, lines, wheel)
    except OSError as error:
        raise InputError(f"{destination}: cannot be written ({error.strerror or error})") from error
    return PackedBundle(destination, chosen, destination.stat().st_size, lines)


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


def install_lines(profile: DeviceProfile, wheel: Path | None = None) -> tuple[str, ...]:
    """The shell lines that make a board ready; the wheel is beside README.txt."""
    program = "wav2edge" if wheel is None else f"./{wheel.name}"
    return tuple(line.replace("{wav2edge}", program) for line in profile.install)


def _write(
    file: IO[bytes],
    compressed: bool,
    bundle: Bundle,
    variants: tuple[Variant, ...],
    name: str,
    profile: DeviceProfile,
    lines: tuple[str, ...],
    wheel: Path | None,
) -> None:
    listed = {label: bundle.file(label) for label in bundle.files}
    raw = {entry["name"]: entry for entry in bundle.document["variants"]}  # with what a newer version may have added
    manifest = {**bundle.document, "variants": [{**raw[v.name], **variant_to_json(v)} for v in variants]}
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    sums: list[tuple[str, str]] = []
    with ExitStack() as stack:
        # Times and owners are left out, so that the same bundle gives the same file.
        stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0)) if compressed else file
        archive = stack.enter_context(tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT))
        _add(archive, f"{name}/{MANIFEST}", text.encode("utf-8"), sums)
        paths = sorted({str(path.relative_to(bundle.path)) for path in listed.values()})
        for relative in [*dict.fromkeys(file for variant in variants for file in variant.files), *paths]:
            _add(archive, f"{name}/{relative}", bundle.path / relative, sums)
        if wheel is not None:
            _add(archive, wheel.name, wheel, sums)
        _add(archive, "README.txt", _readme(name, profile, variants, lines).encode("utf-8"), sums)
        _add(archive, "SHA256SUMS", "".join(f"{digest}  {path}\n" for path, digest in sums).encode("utf-8"), [])


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes, sums: list[tuple[str, str]]) -> None:
    entry = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        entry.size = len(content)
        sums.append((name, hashlib.sha256(content).hexdigest()))
        archive.addfile(entry, io.BytesIO(content))
        return
    with content.open("rb") as file:
        entry.size = os.fstat(file.fileno()).st_size
        archive.addfile(entry, file)
    sums.append((name, sha256(content)))


def _readme(name: str, profile: DeviceProfile, variants: Iterable[Variant], lines: tuple[str, ...]) -> str:
    rows = [f"    {variant.name:<14} {variant.bytes / 1e6:8.1f} MB" for variant in variants]
    parts = [
        f"{name} for {profile.title}",
        "",
        "Check the copy:",
        "    sha256sum -c SHA256SUMS",
        "",
        "Install once:",
        *(f"    {line}" for line in lines),
        "",
        "Prove that this board gives the same numbers, then use it:",
        f"    wav2edge selftest {name}",
        f"    wav2edge transcribe talk.wav -m {name}",
        f"    wav2edge listen -m {name}",
        "",
        "Variants:",
        *rows,
    ]
    parts += ["", "Notes:", *(f"    {note}" for note in profile.notes)] if profile.notes else []
    return "\n".join(parts) + "\n"

"""What is packed for a board opens there as a bundle, checks itself, and says how to install."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wav2edge.cli import main
from wav2edge.devices import profile
from wav2edge.devices.board.commands import COMMANDS
from wav2edge.devices.pack import PackOptions, pack, used
from wav2edge.runtime.bundle import shipped
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec, Stage
from wav2edge.runtime.bundle.write import describe_variant, new_bundle, write_manifest
from wav2edge.runtime.errors import BundleError, InputError

Make = Callable[..., Bundle]
ALL = ("fp32", "fp16", "int8-dynamic", "int8-u8s8", "int8-u7s8", "int8-s8s8")


@pytest.fixture
def bundle_of(tmp_path: Path, ctc_spec: ModelSpec) -> Make:
    def make(*names: str) -> Bundle:
        with new_bundle(tmp_path / "my-model", overwrite=True) as directory:
            variants = []
            for number, name in enumerate(names):
                noise = np.random.default_rng(number).bytes(50_000)
                (directory / f"{name}.onnx").write_bytes(noise)
                (directory / f"{name}.data").write_bytes(noise[::-1])
                graphs: dict[Stage, str] = {"full": f"{name}.onnx"}
                variants.append(describe_variant(directory, name, name.split("-")[0], graphs, data=[f"{name}.data"]))
            (directory / "vocab.json").write_text('{"ü": 1}', encoding="utf-8")
            (directory / "language_model").mkdir()
            (directory / "language_model" / "unigrams.txt").write_text("coffee\n")
            (directory / "selftest.npz").write_bytes(b"clips and outputs")
            files = ["vocab.json", "selftest.npz", "language_model/unigrams.txt"]
            write_manifest(directory, ctc_spec, variants, {"checkpoint": "x"}, files, unknown={"later": 1})
        (tmp_path / "my-model" / "leftover.tmp").write_text("not listed")
        return Bundle.open(tmp_path / "my-model")

    return make


@pytest.fixture(scope="session")
def program_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for wav2edge's wheel; test_program.py makes the real one."""
    path = tmp_path_factory.mktemp("wheel") / "wav2edge-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wav2edge/__init__.py", "")
        archive.writestr("wav2edge-0.1.0.dist-info/METADATA", "Name: wav2edge\n")
    return path


@pytest.fixture
def options(program_wheel: Path) -> PackOptions:
    return PackOptions(wheel=program_wheel)


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        ("jetson-orin-nano", {"int8-s8s8", "int8-u8s8"}),
        ("jetson-agx-thor", {"fp16", "int8-u8s8"}),
        ("raspberry-pi-5", {"int8-u8s8"}),
        ("x86-64-vnni", {"int8-s8s8", "int8-u8s8"}),
        ("x86-64", {"int8-u7s8"}),
        # With VNNI or without: unknown until it runs there.
        ("x86-64-nvidia", {"fp16", "int8-s8s8", "int8-u8s8", "int8-u7s8"}),
    ],
)
def test_only_what_the_board_uses(bundle_of: Make, board: str, expected: set[str]) -> None:
    assert {variant.name for variant in used(bundle_of(*ALL), profile.load(board))} == expected


def test_a_bundle_with_fp32_only_goes_everywhere(bundle_of: Make) -> None:
    bundle = bundle_of("fp32")
    for name in profile.names():
        assert [variant.name for variant in used(bundle, profile.load(name))] == ["fp32"]


def test_the_round_trip(
    bundle_of: Make, tmp_path: Path, program_wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packed, unpacked on the board, checked by sha256sum, opened and verified."""
    bundle = bundle_of(*ALL)
    file = tmp_path / "out" / "pi.tar"
    wheel = ["--wheel", str(program_wheel)]
    assert main(["pack", str(bundle.path), "--for", "raspberry-pi-5", str(file), *wheel, "--service"]) == 0
    out = capsys.readouterr().out
    assert "for Raspberry Pi 5, with int8-u8s8 (0.1 MB)" in out
    assert "  ./install.sh\n  systemctl --user enable --now pi\n" in out
    board = tmp_path / "board"
    board.mkdir()
    subprocess.run(["tar", "xf", file], cwd=board, check=True)
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=board, check=True, capture_output=True)
    there = Bundle.open(board / "my-model")
    assert [variant.name for variant in there.variants] == ["int8-u8s8"]
    there.verify(there.variants[0])
    assert there.file("language_model/unigrams.txt").read_text() == "coffee\n"
    assert there.spec == bundle.spec and dict(there.document)["later"] == 1
    every = {str(path.relative_to(board)) for path in board.rglob("*") if path.is_file()}
    summed = {line.split("  ", 1)[1] for line in (board / "SHA256SUMS").read_text().splitlines()}
    assert every == summed | {"SHA256SUMS"}
    assert "my-model/leftover.tmp" not in every and "my-model/fp32.onnx" not in every
    readme = (board / "README.txt").read_text()
    assert "selftest ~/.local/share/wav2edge/pi/current/my-model" in readme and "libportaudio2" in readme
    assert {"install.sh", "pi.service", program_wheel.name} <= every
    assert os.access(board / "install.sh", os.X_OK) and not os.access(board / "pi.service", os.X_OK)


def test_a_bundle_without_a_selftest_is_not_packed_for_install_sh(
    bundle_of: Make, ctc_spec: ModelSpec, tmp_path: Path, options: PackOptions
) -> None:
    """It was packed, and install.sh refused it on every board."""
    bundle = bundle_of("fp32")
    bare = write_manifest(bundle.path, ctc_spec, list(bundle.variants), {}, ["vocab.json"])
    with pytest.raises(BundleError, match=r"lists no selftest\.npz, without which no board installs it"):
        pack(bare, profile.load("x86-64"), tmp_path / "a.tar", options)
    assert not (tmp_path / "a.tar").exists()


def test_names_with_spaces_are_quoted_in_the_lines_to_type(
    bundle_of: Make, tmp_path: Path, program_wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tar xf talk now.tar` looked for two files, and the commands of README.txt for another folder."""
    shutil.move(bundle_of("fp32").path, tmp_path / "my bundle")
    words = ["pack", str(tmp_path / "my bundle"), "--for", "x86-64", str(tmp_path / "talk now.tar")]
    assert main([*words, "--wheel", str(program_wheel)]) == 0
    assert "On the board:\n  tar xf 'talk now.tar'\n" in capsys.readouterr().out
    with tarfile.open(tmp_path / "talk now.tar") as archive:
        readme = archive.extractfile("README.txt")
        assert readme is not None
        lines = [shlex.split(line) for line in readme.read().decode().splitlines() if "my bundle" in line]
    installed = "~/.local/share/wav2edge/talk-now/current"
    program, there = f"{installed}/env/bin/wav2edge", f"{installed}/my bundle"
    assert lines[1:] == [
        [program, "selftest", there],
        [program, "transcribe", "talk.wav", "-m", there],
        [program, "listen", "-m", there],
    ]


def text_of(file: Path, name: str) -> str:
    with tarfile.open(file) as archive:
        member = archive.extractfile(name)
        assert member is not None
        return member.read().decode()


def test_the_lines_to_type_are_for_the_models_head(tmp_path: Path, options: PackOptions) -> None:
    """A model of speakers was said to transcribe and listen, and its service started again and again."""
    speaker, keyword = (Bundle.open(shipped.directory_of(name)) for name in ("speaker", "keyword"))
    pack(speaker, profile.load("raspberry-pi-5"), tmp_path / "a.tar", options)
    readme, script = (text_of(tmp_path / "a.tar", name) for name in ("README.txt", "install.sh"))
    assert "wav2edge embed talk.wav -m " in readme and "wav2edge verify a.wav b.wav -m " in readme
    assert "transcribe" not in readme and "listen" not in readme
    assert "\nUSE='embed talk.wav'\n" in script
    service = dataclasses.replace(options, service=True)
    with pytest.raises(InputError, match=r"`listen` does not run its model .*; leave the service out"):
        pack(speaker, profile.load("raspberry-pi-5"), tmp_path / "b.tar", service)
    assert not (tmp_path / "b.tar").exists()
    pack(keyword, profile.load("raspberry-pi-5"), tmp_path / "c.tar", service)
    readme = text_of(tmp_path / "c.tar", "README.txt")
    assert "wav2edge classify talk.wav -m " in readme and "wav2edge listen -m " in readme


def test_every_head_has_commands_that_exist() -> None:
    heads = {path.stem for path in (Path(__file__).parents[2] / "runtime/heads").glob("[!_]*.py")}
    assert set(COMMANDS) == heads
    commands = {command.split()[0] for each in COMMANDS.values() for command in each}
    assert commands < {path.stem for path in (Path(__file__).parents[2] / "src/wav2edge/cli").glob("[!_]*.py")}


@pytest.mark.parametrize("board", ["snapdragon-x", "apple-silicon"])
def test_the_line_that_checks_a_copy_is_of_the_boards_system(
    bundle_of: Make, tmp_path: Path, options: PackOptions, board: str
) -> None:
    """README.txt had `sha256sum` for Windows and macOS, which do not have it."""
    pack(bundle_of("fp32"), profile.load(board), tmp_path / "a.tar", options)
    lines = text_of(tmp_path / "a.tar", "README.txt").splitlines()
    line = lines[lines.index("Check the copy before:") + 1].strip()
    if board == "apple-silicon":
        assert line == "shasum -a 256 -c SHA256SUMS"
        return
    with tarfile.open(tmp_path / "a.tar") as archive:
        archive.extractall(tmp_path / "there")
    launcher, *words = shlex.split(line)
    assert launcher == "py"
    done = subprocess.run([sys.executable, *words], cwd=tmp_path / "there", capture_output=True, text=True, check=True)
    assert "my-model/fp32.onnx OK" in done.stdout and "FAILED" not in done.stdout
    (tmp_path / "there/my-model/fp32.onnx").write_bytes(b"damaged")
    done = subprocess.run([sys.executable, *words], cwd=tmp_path / "there", capture_output=True, text=True, check=True)
    assert "my-model/fp32.onnx FAILED" in done.stdout


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_the_same_bundle_gives_the_same_bytes(bundle_of: Make, tmp_path: Path, options: PackOptions, name: str) -> None:
    board = profile.load("aarch64")
    first = pack(bundle_of("fp32"), board, tmp_path / name, options)
    digest = hashlib.sha256(first.path.read_bytes()).hexdigest()
    for path in (tmp_path / "my-model").rglob("*"):
        os.utime(path, (1, 1))
    again = pack(Bundle.open(tmp_path / "my-model"), board, tmp_path / name, options, overwrite=True)
    assert hashlib.sha256(again.path.read_bytes()).hexdigest() == digest
    with tarfile.open(again.path) as archive:
        assert "my-model/bundle.json" in archive.getnames()
    assert (again.path.read_bytes()[:2] == b"\x1f\x8b") == (name != "a.tar")
    assert oct(again.path.stat().st_mode)[-3:] == "644"


def test_what_a_board_needs_beside_wheels_is_written_down(
    bundle_of: Make, tmp_path: Path, options: PackOptions
) -> None:
    packed = pack(bundle_of("fp32"), profile.load("jetson-orin-nano"), tmp_path / "a.tar", options)
    with tarfile.open(packed.path) as archive:
        needed = archive.extractfile("requirements.txt")
        script = archive.extractfile("install.sh")
        assert needed is not None and b'cuda-bindings==12.*; python_version < "3.12"' in needed.read()
        assert script is not None and b"\nSYSTEM_SITE=yes\n" in script.read()


def test_named_variants(bundle_of: Make, tmp_path: Path, options: PackOptions) -> None:
    bundle = bundle_of(*ALL)
    two = dataclasses.replace(options, variants=("fp16", "fp32"))
    packed = pack(bundle, profile.load("aarch64"), tmp_path / "a.tar", two)
    assert [variant.name for variant in packed.variants] == ["fp16", "fp32"]
    with pytest.raises(BundleError, match="no variant 'fp8'"):
        pack(bundle, profile.load("aarch64"), tmp_path / "b.tar", PackOptions(variants=("fp8",)))


def test_bad_input_leaves_nothing(bundle_of: Make, tmp_path: Path, options: PackOptions) -> None:
    bundle, board = bundle_of("fp16"), profile.load("raspberry-pi-5")
    with pytest.raises(BundleError, match="no variant for raspberry-pi-5, which uses int8-u8s8, int8-dynamic, fp32"):
        pack(bundle, board, tmp_path / "a.tar")
    bundle = bundle_of("fp32")
    with pytest.raises(InputError, match=r"name it \.tar or \.tar\.gz or \.tgz"):
        pack(bundle, board, tmp_path / "a.zip")
    with pytest.raises(InputError, match="not a wheel of wav2edge"):
        pack(bundle, board, tmp_path / "a.tar", PackOptions(wheel=tmp_path / "other.whl"))
    with pytest.raises(InputError, match="which wheels it takes"):
        pack(bundle, profile.load("generic"), tmp_path / "a.tar", dataclasses.replace(options, wheels=True))
    with pytest.raises(InputError, match=r"python=3\.9: not a Python that wav2edge runs on"):
        pack(bundle, board, tmp_path / "a.tar", dataclasses.replace(options, wheels=True, python=("3.9",)))
    (tmp_path / "a.tar").write_text("mine")
    with pytest.raises(InputError, match="already exists"):
        pack(bundle, board, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_text() == "mine"
    (bundle.path / "fp32.data").write_bytes(b"x" * 50_000)
    with pytest.raises(BundleError, match="wrong SHA-256"):
        pack(bundle, board, tmp_path / "b.tar")
    shutil.rmtree(bundle.path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar"}


def test_a_full_disk_leaves_nothing(
    bundle_of: Make, tmp_path: Path, options: PackOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of("fp32")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"a\.tar: cannot be written \(No space left on device\)"):
        pack(bundle, profile.load("aarch64"), tmp_path / "a.tar", options)
    assert [path.name for path in tmp_path.iterdir()] == ["my-model"]


def test_a_folder_with_an_umlaut_and_what_a_newer_version_added_come_along(
    tmp_path: Path, bundle_of: Make, options: PackOptions
) -> None:
    bundle = bundle_of("int8-u8s8")
    renamed = bundle.path.rename(tmp_path / "modèle")
    manifest = renamed / "bundle.json"
    values = json.loads(manifest.read_text("utf-8"))
    values["variants"][0]["future"] = 7
    manifest.write_text(json.dumps(values))
    package = pack(Bundle.open(renamed), profile.load("raspberry-pi-5"), tmp_path / "x.tar", options)
    with tarfile.open(package.path) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "there", capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert Bundle.open(tmp_path / "there" / "modèle").document["variants"][0].get("future") == 7


@pytest.mark.parametrize("name", ["README.txt", "complete", "env", "wheels", "captions.service", "k\udcff"])
def test_a_bundles_name_that_a_package_cannot_hold(
    bundle_of: Make, tmp_path: Path, options: PackOptions, name: str
) -> None:
    """The archive could not be unpacked, or not be installed."""
    bundle = bundle_of("fp32")
    shutil.copytree(bundle.path, tmp_path / name)
    with pytest.raises(InputError, match="a package cannot hold a bundle of this name; rename its folder"):
        pack(Bundle.open(tmp_path / name), profile.load("raspberry-pi-5"), tmp_path / "a.tar", options)


@pytest.mark.parametrize("content", [b"hello", None])
def test_what_is_no_wheel_of_wav2edge_is_not_packed(bundle_of: Make, tmp_path: Path, content: bytes | None) -> None:
    wheel = tmp_path / "wav2edge-9.whl"
    if content is None:
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("wav2edge/__init__.py", "")
    else:
        wheel.write_bytes(content)
    with pytest.raises(InputError, match="not a wheel of wav2edge"):
        pack(bundle_of("fp32"), profile.load("apple-silicon"), tmp_path / "a.tar", PackOptions(wheel=wheel))

"""Signed bundles: what one side signs the other takes, and nothing that was changed passes."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wav2edge
from wav2edge.cli import main
from wav2edge.devices import profile
from wav2edge.devices.pack import pack
from wav2edge.runtime import documents
from wav2edge.runtime.bundle import embedded, shipped, signature
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.write import set_head_options, write_manifest
from wav2edge.runtime.errors import BundleError, InputError, Wav2EdgeError

pytest.importorskip("model_signing", reason="needs the extra [trust]")

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Keys = tuple[Path, Path]


def make_keys(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> Keys:
    """A private and a public key, as openssl writes them."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"), "team")


@pytest.fixture
def signed(shapes_bundle: Bundle, team: Keys) -> Bundle:
    signature.sign(shapes_bundle, team[0])
    return shapes_bundle


def test_signed_and_verified_by_the_commands(
    shapes_bundle: Bundle, team: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", str(shapes_bundle.path), "--key", str(team[0])]) == 0
    assert main(["verify-bundle", str(shapes_bundle.path), "--key", str(team[1])]) == 0
    assert capsys.readouterr().out.endswith(f"{shapes_bundle.path}: signed by {team[1]}, unchanged\n")
    assert Bundle.open(shapes_bundle.path) == shapes_bundle


def test_signed_again_by_a_relative_path(
    signed: Bundle, team: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signature that was there was signed itself where the path was relative, so that the new one did not fit."""
    monkeypatch.chdir(signed.path.parent)
    assert main(["sign", signed.path.name, "--key", str(team[0])]) == 0
    assert main(["verify-bundle", signed.path.name, "--key", str(team[1])]) == 0
    assert capsys.readouterr().out.endswith(f"{signed.path.name}: signed by {team[1]}, unchanged\n")


def test_a_bundle_is_signed_by_a_link_to_it(
    shapes_bundle: Bundle, team: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every other command took the link; ``sign`` refused it with an error of model-signing."""
    link = tmp_path / "link"
    link.symlink_to(shapes_bundle.path)
    assert main(["sign", str(link), "--key", str(team[0])]) == 0, capsys.readouterr().err
    assert main(["verify-bundle", str(shapes_bundle.path), "--key", str(team[1])]) == 0


def test_a_private_key_inside_the_bundle_is_refused(
    shapes_bundle: Bundle, team: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was signed with the other files, and whoever got the bundle got the key."""
    key = shapes_bundle.path / "team.pem"
    shutil.copyfile(team[0], key)
    assert main(["sign", str(shapes_bundle.path), "--key", str(key)]) == 2
    assert f"{key}: this private key is in the bundle, which others get" in capsys.readouterr().err
    assert not (shapes_bundle.path / "model.sig").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_name_that_is_not_utf8_is_one_line(
    shapes_bundle: Bundle, team: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was an internal error."""
    Path(os.fsdecode(os.fsencode(shapes_bundle.path) + b"/caf\xe9.txt")).write_text("x")
    assert main(["sign", str(shapes_bundle.path), "--key", str(team[0])]) == 2
    error = capsys.readouterr().err
    assert "caf" in error and "its name is not UTF-8" in error and len(error.splitlines()) == 1
    assert not (shapes_bundle.path / "model.sig").exists()


def test_a_bundle_that_ships_is_not_signed_in_place(
    team: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signature was written into the installed package."""
    shutil.copytree(shipped.root() / "keyword", tmp_path / "ships" / "keyword")
    monkeypatch.setattr(shipped, "root", lambda: tmp_path / "ships")
    for given in ("keyword", str(tmp_path / "ships" / "keyword")):
        assert main(["sign", given, "--key", str(team[0])]) == 2
        assert f"{given}: is part of the program" in capsys.readouterr().err
        assert main(["verify-bundle", given, "--key", str(team[1])]) == 2
        assert f"{given}: is part of the program" in capsys.readouterr().err
    assert not (tmp_path / "ships" / "keyword" / "model.sig").exists()


def test_a_file_that_cannot_be_hashed_is_one_line(
    shapes_bundle: Bundle, team: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of model-signing, such as those of a file that another user may read alone, were internal ones."""
    from model_signing import signing

    def sign(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "notes.txt")

    monkeypatch.setattr(signing.Config, "sign", sign)
    with pytest.raises(BundleError, match=r"cannot be signed \(.*Permission denied"):
        signature.sign(shapes_bundle, team[0])


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_every_curve(shapes_bundle: Bundle, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    private, public = make_keys(tmp_path, "key", curve)
    signature.sign(shapes_bundle, private)
    assert signature.verify(shapes_bundle.path, [public]) == public


def test_model_signing_takes_ours_and_we_take_model_signings(
    shapes_bundle: Bundle, signed: Bundle, team: Keys, tmp_path: Path
) -> None:
    """Its own program, as another user has it."""
    command = [sys.executable, "-m", "model_signing"]
    path = signed.path
    where = ["--signature", str(path / "model.sig")]
    verify = [*command, "verify", "key", str(path), "--public_key", str(team[1]), *where]
    assert subprocess.run(verify, capture_output=True, timeout=120).returncode == 0
    (path / "model.sig").unlink()
    sign = [*command, "sign", "key", str(path), "--private_key", str(team[0]), *where]
    subprocess.run(sign, check=True, capture_output=True, timeout=120)
    assert signature.verify(path, [team[1]]) == team[1]


def change_byte(path: Path) -> None:
    content = bytearray((path / "fp32.onnx").read_bytes())
    content[10] ^= 1
    (path / "fp32.onnx").write_bytes(content)


def add_hidden(path: Path) -> None:
    (path / ".git").mkdir()
    (path / ".git" / "config").write_text("x")


def swap_names(path: Path) -> None:
    (path / "vocab.json").rename(path / "x")
    (path / "x").rename(path / "vocab2.json")


def change_signature(path: Path) -> None:
    document = json.loads((path / "model.sig").read_text())
    sig = bytearray(base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"]))
    sig[-1] ^= 1
    document["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(sig).decode()
    (path / "model.sig").write_text(json.dumps(document))


def change_payload(path: Path) -> None:
    document = json.loads((path / "model.sig").read_text())
    payload = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b"vocab.json", b"vocab.JSON")
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (path / "model.sig").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (change_byte, "fp32.onnx: was changed after the bundle was signed"),
        (lambda path: (path / "more.txt").write_text("x"), "more.txt: was added after the bundle was signed"),
        (add_hidden, "config: was added after the bundle was signed"),
        (lambda path: (path / "vocab.json").unlink(), "vocab.json: was signed and is missing"),
        (swap_names, "vocab2.json: was added"),
        (lambda path: (path / "link").symlink_to("/etc/passwd"), "link: is not a plain file"),
        (lambda path: os.mkfifo(path / "pipe"), "pipe: is not a plain file"),
        (change_signature, "it is not signed by"),
        (change_payload, "it is not signed by"),
        (lambda path: (path / "model.sig").write_text("{}"), "not a signature"),
        (lambda path: (path / "model.sig").write_text("[" * 10**5), "not a signature"),
        (lambda path: (path / "model.sig").unlink(), "it is not signed; sign it with"),
    ],
)
def test_what_was_changed_is_named(signed: Bundle, team: Keys, damage: Callable[[Path], object], line: str) -> None:
    damage(signed.path)
    with pytest.raises(BundleError) as caught:
        signature.verify(signed.path, [team[1]])
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_another_key(signed: Bundle, team: Keys, tmp_path: Path) -> None:
    other = make_keys(tmp_path, "other")[1]
    with pytest.raises(BundleError, match="it is not signed by"):
        signature.verify(signed.path, [other])
    assert signature.verify(signed.path, [other, team[1]]) == team[1], "one of several suffices"


def test_keys_that_are_none(shapes_bundle: Bundle, team: Keys, tmp_path: Path) -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "rsa.pem").write_bytes(rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "rsa.pub").write_bytes(public)
    (tmp_path / "text.pem").write_text("hello")
    for name in ("rsa.pem", "text.pem", "none.pem"):
        with pytest.raises(InputError, match="openssl ecparam") as caught:
            signature.sign(shapes_bundle, tmp_path / name)
        assert "\n" not in str(caught.value)
    (tmp_path / "endless.pub").symlink_to("/dev/zero")
    for name in ("rsa.pub", "text.pem", "none.pub", "endless.pub"):
        with pytest.raises(InputError):
            signature.verify(shapes_bundle.path, [tmp_path / name])
    with pytest.raises(InputError, match="not a private key"):
        signature.sign(shapes_bundle, team[1])
    assert not (shapes_bundle.path / "model.sig").exists()


def test_a_damaged_bundle_is_not_signed(shapes_bundle: Bundle, team: Keys) -> None:
    change_byte(shapes_bundle.path)
    with pytest.raises(BundleError, match="wrong SHA-256"):
        signature.sign(shapes_bundle, team[0])


def test_trusted_keys_are_asked_by_open_and_pack(
    signed: Bundle, team: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_keys(other, "other")
    monkeypatch.setenv("WAV2EDGE_TRUSTED_KEYS", os.pathsep.join([str(other), str(team[1])]))
    wav2edge.open(signed.path, engine="null").close()
    wav2edge.open(engine="null").close()  # the embedded bundle is part of the program
    unsigned = tmp_path / "unsigned"
    shutil.copytree(signed.path, unsigned)
    (unsigned / "model.sig").unlink()
    change_byte(signed.path)
    for path, line in ((unsigned, "it is not signed"), (signed.path, "was changed after")):
        with pytest.raises(BundleError, match=line):
            wav2edge.open(path, engine="null")
        with pytest.raises(BundleError, match=line):
            pack(Bundle.open(path), profile.load("generic"), tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()


def test_a_package_is_signed_for_the_board_or_says_that_it_is_not(
    shapes_bundle: Bundle, team: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package holds other variants than the bundle, so the bundle's signature does not fit it."""
    wheel = tmp_path / "wav2edge-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("wav2edge/__init__.py", "")
        archive.writestr("wav2edge-0.1.0.dist-info/METADATA", "Name: wav2edge\n")
    (shapes_bundle.path / "selftest.npz").write_bytes(b"clips and outputs")
    files = [*shapes_bundle.files, "selftest.npz"]
    write_manifest(shapes_bundle.path, shapes_bundle.spec, list(shapes_bundle.variants), {}, files)
    signature.sign(Bundle.open(shapes_bundle.path), team[0])
    words = ["pack", str(shapes_bundle.path), "--for", "aarch64", "--wheel", str(wheel)]
    for name, key in (("with", ["--key", str(team[0])]), ("without", [])):
        assert main([*words, str(tmp_path / f"{name}.tar"), *key]) == 0
        with tarfile.open(tmp_path / f"{name}.tar") as archive:
            archive.extractall(tmp_path / name, filter="data")
    assert "is signed, what was packed of it is not; --key KEY.pem signs it" in capsys.readouterr().err
    assert signature.verify(tmp_path / "with" / "shapes", [team[1]]) == team[1]
    assert "EXTRAS=cpu,mic,signed\n" in (tmp_path / "with" / "install.sh").read_text()
    assert not (tmp_path / "without" / "shapes" / "model.sig").exists()


@pytest.mark.parametrize("value", ["", "empty", "nowhere.pub"])
def test_trusted_keys_that_name_none_refuse_everything(
    signed: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """A variable that names no key must not mean that no key is needed."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("WAV2EDGE_TRUSTED_KEYS", str(tmp_path / value) if value else "")
    with pytest.raises(Wav2EdgeError):
        signature.require_trusted(signed.path, (signed.path / "bundle.json").read_bytes())


def test_a_signed_bundle_s_head_can_be_given_other_options(
    signed: Bundle, team: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change breaks the signature: the caller reports that and does not fail."""

    @dataclasses.dataclass(frozen=True)
    class Known:
        threshold: float = 0.5

    monkeypatch.setenv("WAV2EDGE_TRUSTED_KEYS", str(team[1]))
    set_head_options(signed, Known())
    with pytest.raises(BundleError, match="was changed after the bundle was signed"):
        Bundle.open(signed.path)


def test_verifying_loads_cryptography_and_nothing_heavier(signed: Bundle, team: Keys) -> None:
    code = (
        "import sys, pathlib; from wav2edge.runtime.bundle import signature; "
        "signature.verify(pathlib.Path(sys.argv[1]), [pathlib.Path(sys.argv[2])]); "
        "print([m for m in ('model_signing', 'sigstore', 'google.protobuf', 'pydantic') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(signed.path), str(team[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_the_embedded_bundle_is_recognised_by_its_place() -> None:
    assert shipped.is_shipped(embedded.bundle_path())
    assert not shipped.is_shipped(embedded.bundle_path().parent)


def test_what_a_killed_writer_left_is_not_signed(shapes_bundle: Bundle, team: Keys) -> None:
    """It was signed, and then removed by writing the signature: the signature never held."""
    for name in (".model.sig.ab12cd34.tmp", ".bundle.json.ab12cd34.tmp"):
        (shapes_bundle.path / name).write_text("{")
    signature.sign(shapes_bundle, team[0])
    assert signature.verify(shapes_bundle.path, [team[1]]) == team[1]


def test_the_manifest_that_is_used_is_the_signed_one(
    signed: Bundle, team: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read first and its signature checked on a second read: a file swapped between was trusted."""
    monkeypatch.setenv("WAV2EDGE_TRUSTED_KEYS", str(team[1]))
    manifest = signed.path / "bundle.json"
    good = manifest.read_bytes()
    read_bytes = documents.read_bytes

    def swapped(path: Path, *args: Any, **more: Any) -> bytes:
        if path != manifest:
            return read_bytes(path, *args, **more)
        manifest.write_bytes(good.replace(b'"provenance"', b'"provenence"'))
        try:
            return read_bytes(path, *args, **more)
        finally:
            manifest.write_bytes(good)

    Bundle.open(signed.path)
    monkeypatch.setattr(documents, "read_bytes", swapped)
    with pytest.raises(BundleError, match="was changed while it was opened"):
        Bundle.open(signed.path)

"""With WAV2EDGE_TRUSTED_KEYS every command and function that uses a bundle refuses what none of the keys has signed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wav2edge
from wav2edge.cli import main
from wav2edge.devices import profile
from wav2edge.devices.pack import pack
from wav2edge.export import layouts
from wav2edge.runtime.bundle import embedded, shipped, signature
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import BundleError
from wav2edge.runtime.live.sources import FileSource
from wav2edge.serving.models import open_models

pytest.importorskip("model_signing", reason="needs the extra [trust]")

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

CLIP = str(embedded.clips_manifest().parent / "coffee-mocha.opus")
COMMANDS = {
    "transcribe": ["transcribe", CLIP, "-m", "{}"],
    "listen": ["listen", "--fast", "--file", CLIP, "-m", "{}"],
    "listen --measure": ["listen", "--measure", "{manifest}", "-m", "{}"],
    "evaluate": ["evaluate", "{manifest}", "-m", "{}", "--engine", "onnxruntime", "--variant", "fp32"],
    "bench": ["bench", "-m", "{}", "--quick", "--seconds", "1", "--runs", "1", "--engine", "onnxruntime",
              "--variant", "fp32"],
    "selftest": ["selftest", "{}", "--engine", "onnxruntime"],
    "inspect": ["inspect", "{}"],
    "build": ["build", "{}", "--engine", "tensorrt"],
    "quantize": ["quantize", "{}", "--speech", "{manifest}", "--variant", "int8-u8s8"],
    "quantize --list-layers": ["quantize", "{}", "--list-layers"],
    "pack": ["pack", "{}", "--for", "aarch64", "{out}.tar"],
    "pack for another tool": ["pack", "{}", "--for", "onnx-asr", "{out}"],
    "serve": ["serve", "-m", "{}", "--port", "0"],
    "classify": ["classify", CLIP, "-m", "{}"],
    "embed": ["embed", CLIP, "-m", "{}"],
    "verify": ["verify", CLIP, CLIP, "-m", "{}"],
    "diarize": ["diarize", CLIP, "-m", "{}"],
}  # fmt: skip
NOT_RUN = {"listen --measure", "quantize", "build", "serve", "classify", "embed", "verify", "diarize"}
"""Not run to their end on a signed bundle: long, of another head, or of an engine that needs a GPU."""

FUNCTIONS: dict[str, Callable[[Path, Path], object]] = {
    "open": lambda path, out: wav2edge.open(path),
    "Transcriber": lambda path, out: wav2edge.Transcriber(path),
    "Embedder": lambda path, out: wav2edge.Embedder(path),
    "Classifier": lambda path, out: wav2edge.Classifier(path),
    "listen": lambda path, out: wav2edge.listen(path, FileSource(CLIP, fast=True)),
    "LiveTranscriber": lambda path, out: wav2edge.LiveTranscriber(path),
    "evaluate": lambda path, out: wav2edge.evaluate(str(out / "manifest.jsonl"), path),
    "bench": lambda path, out: wav2edge.bench(path),
    "quantize": lambda path, out: wav2edge.quantize(path, str(out / "manifest.jsonl")),
    "the server": lambda path, out: open_models((path,)),
    "pack": lambda path, out: pack(Bundle.open(path), profile.load("generic"), out / "a.tar"),
    "a layout": lambda path, out: layouts.pack(Bundle.open(path), "onnx-asr", out / "a"),
}
LINES = {
    "unsigned": "it is not signed; sign it with",
    "changed": "was changed after the bundle was signed",
    "added": "was added after the bundle was signed",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A key, and four bundles: signed, unsigned, signed and one byte changed, signed and one file added."""
    folder = tmp_path_factory.mktemp("trusted")
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "team.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    (folder / "team.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    shutil.copytree(embedded.bundle_path(), folder / "unsigned")
    for name in ("signed", "changed", "added"):
        shutil.copytree(folder / "unsigned", folder / name)
        signature.sign(Bundle.open(folder / name), folder / "team.pem")
    weights = bytearray((folder / "changed" / "fp32.data").read_bytes())
    weights[5000] ^= 1
    (folder / "changed" / "fp32.data").write_bytes(weights)
    (folder / "added" / "more.txt").write_text("x")
    (folder / "manifest.jsonl").write_text(
        json.dumps({"path": CLIP, "text": "give me a twelve ounce mocha with soy milk " * 3}) + "\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAV2EDGE_TRUSTED_KEYS", str(folder / "team.pub"))
        yield folder


def words(command: str, places: Path, bundle: str, out: Path) -> list[str]:
    values = {"manifest": places / "manifest.jsonl", "out": out / "made"}
    return [word.format(places / bundle, **values) for word in COMMANDS[command]]


@pytest.mark.parametrize("bundle", LINES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_it_in_a_line(
    places: Path, command: str, bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in (places / bundle).iterdir())
    assert main(words(command, places, bundle, tmp_path)) == 2
    found = capsys.readouterr()
    (line,) = found.err.splitlines()
    assert LINES[bundle] in line and found.out == ""
    assert sorted(path.name for path in (places / bundle).iterdir()) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bundle", LINES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_refuses_it(places: Path, function: str, bundle: str) -> None:
    with pytest.raises(BundleError, match=LINES[bundle]):
        FUNCTIONS[function](places / bundle, places)
    assert not (places / "a").exists() and not (places / "a.tar").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in NOT_RUN])
def test_a_command_takes_a_signed_bundle(places: Path, command: str, tmp_path: Path) -> None:
    assert main(words(command, places, "signed", tmp_path)) == 0


def test_a_signed_bundle_and_those_that_ship_are_taken(places: Path) -> None:
    for bundle in (places / "signed", None, *shipped.NAMES):
        wav2edge.open(bundle, engine="null").close()
    open_models((places / "signed",), engine="null").close()


def test_a_copy_of_a_bundle_that_ships_is_asked_for_a_signature(places: Path, tmp_path: Path) -> None:
    shutil.copytree(shipped.root() / "keyword", tmp_path / "keyword")
    with pytest.raises(BundleError, match=LINES["unsigned"]):
        wav2edge.open(tmp_path / "keyword", engine="null")
    (tmp_path / "link").symlink_to(shipped.root() / "keyword")
    wav2edge.open(tmp_path / "link", engine="null").close()


def test_what_signs_and_checks_opens_any_bundle(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise nothing could be signed where the variable is set."""
    assert main(["verify-bundle", str(places / "unsigned"), "--key", str(places / "team.pub")]) == 2
    assert LINES["unsigned"] in capsys.readouterr().err
    shutil.copytree(places / "unsigned", places / "mine")
    assert main(["sign", str(places / "mine"), "--key", str(places / "team.pem")]) == 0
    wav2edge.open(places / "mine", engine="null").close()


@pytest.mark.slow
def test_quantize_adds_to_a_signed_bundle_which_is_signed_again_then(
    places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(places / "signed", places / "grown")
    line = ["quantize", str(places / "grown"), "--variant", "int8-dynamic", "--limit", "1", "--dev-limit", "3"]
    assert main([*line, "--no-search", "--force"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(places / "grown")]) == 2
    assert "after the bundle was signed" in capsys.readouterr().err
    assert main(["sign", str(places / "grown"), "--key", str(places / "team.pem")]) == 0
    assert main(["inspect", str(places / "grown")]) == 0

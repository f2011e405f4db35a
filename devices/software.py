"""What is installed that decides which engines run: Python and its environment, packages, CUDA, TensorRT."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .tree import Tree

ONNXRUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
    "onnxruntime-silicon",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
)
"""The packages that own the module ``onnxruntime``: no two of them go together."""

PACKAGES = (
    "numpy",
    *ONNXRUNTIMES,
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-bindings",
    "sounddevice",
    "torch",
)
"""The Python packages that matter to engines and microphones."""


@dataclass(frozen=True)
class Package:
    """An installed Python package.

    version: empty where its metadata is missing. tags: the platforms that its wheel was made for, such as
    ``manylinux_2_28_aarch64``.
    """

    name: str
    version: str
    tags: tuple[str, ...] = ()
    location: Path | None = None

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers, for comparison."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version.split("+")[0])[:3])


@dataclass(frozen=True)
class Software:
    """What is installed.

    python: version numbers. environment: the virtual (or conda) environment's folder, None outside one; sees_system:
    whether it sees the system's packages. packages: by name. cuda: the toolkit's release. tensorrt: the system's
    TensorRT library, ``10.3.0``. tensorrt_module: the folder of the system's TensorRT module for Python.
    distribution: ``debian``, ``fedora`` … as in os-release, family names included.
    """

    python: tuple[int, ...]
    environment: Path | None
    sees_system: bool
    packages: Mapping[str, Package]
    cuda: str | None = None
    tensorrt: str | None = None
    tensorrt_module: str | None = None
    distribution: tuple[str, ...] = ()


def detect(
    root: str | Path = "/",
    site: Iterable[str] | None = None,
    python: tuple[int, ...] | None = None,
    environment: Path | None = None,
) -> Software:
    """Read what is installed below ``root`` and in the Python that runs.

    site: the folders to look for packages in (default: ``sys.path``); python, environment: say what they are for a
    recorded machine.
    """
    tree = Tree(root)
    if environment is None and tree.live:
        own = sys.prefix != sys.base_prefix or Path(sys.prefix, "conda-meta").is_dir()
        environment = Path(sys.prefix) if own else None
    dpkg = _dpkg(tree)
    nvinfer = [name for name in dpkg if re.fullmatch(r"libnvinfer\d+", name)]
    nvinfer.sort(key=lambda name: int(name.removeprefix("libnvinfer")))
    return Software(
        python=tuple(sys.version_info[:3]) if python is None else python,
        environment=environment,
        sees_system=environment is None or _sees_system(environment),
        packages=_packages(site),
        cuda=_cuda(tree),
        tensorrt=dpkg[nvinfer[-1]].partition("-")[0] if nvinfer else None,
        tensorrt_module=_tensorrt_module(tree),
        distribution=_distribution(tree),
    )


def _packages(site: Iterable[str] | None) -> dict[str, Package]:
    packages = {}
    paths = list(sys.path if site is None else site)
    for name in PACKAGES:
        for distribution in importlib.metadata.distributions(name=name, path=paths):
            tags = re.findall(r"^Tag:\s*\S+?-\S+?-(\S+)", _text(distribution, "WHEEL"), re.MULTILINE)
            version = _version(distribution)
            packages[name] = Package(name, version, tuple(tags), Path(str(distribution.locate_file(""))))
            if version:  # what an interrupted update left may be beside the package that is used
                break
    return packages


def _version(distribution: importlib.metadata.Distribution) -> str:
    """The version of a package; empty where its metadata is missing or does not say."""
    text = _text(distribution, "METADATA") or _text(distribution, "PKG-INFO")
    match = re.search(r"^Version:[ \t]*(\S+)", text, re.MULTILINE)
    return "" if match is None else match[1]


def _text(distribution: importlib.metadata.Distribution, name: str) -> str:
    """A file of a package's metadata; empty where it is missing or damaged."""
    try:
        return distribution.read_text(name) or ""
    except (OSError, UnicodeDecodeError):
        return ""


def _sees_system(environment: Path) -> bool:
    text = Tree(environment).read("pyvenv.cfg") or ""
    match = re.search(r"^include-system-site-packages\s*=\s*(\w+)", text, re.MULTILINE)
    return match is not None and match[1].lower() == "true"


def _cuda(tree: Tree) -> str | None:
    try:
        release = json.loads(tree.read("/usr/local/cuda/version.json") or "")["cuda"]["version"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(release)


def _tensorrt_module(tree: Tree) -> str | None:
    for name in tree.list("/usr/lib"):
        folder = f"/usr/lib/{name}/dist-packages"
        if re.fullmatch(r"python3(\.\d+)?", name) and tree.exists(f"{folder}/tensorrt"):
            return folder
    return None


def _dpkg(tree: Tree) -> dict[str, str]:
    """NVIDIA's packages that dpkg has installed, with their versions."""
    found = {}
    for block in (tree.read("/var/lib/dpkg/status") or "").split("\n\n"):
        if "nvinfer" not in block and "jetpack" not in block:
            continue
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(" "))
        if fields.get("Status", "").endswith(" installed"):
            found[fields.get("Package", "")] = fields.get("Version", "")
    return found


def _distribution(tree: Tree) -> tuple[str, ...]:
    found = []
    for line in (tree.read("/etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key in ("ID", "ID_LIKE"):
            found += value.strip("\"'").split()
    return tuple(found)

"""What is wrong with an installation, and the line that fixes it.

    1  two packages own the module onnxruntime        5  the environment hides the system's TensorRT
    2  an ONNX Runtime release that leaks             6  no NVIDIA driver, JetPack too old
    3  PyPI's onnxruntime-gpu on a Jetson             7  Python too old
    4  ONNX Runtime's TensorRT provider finds         8  no sounddevice, no PortAudio, no microphone
       another libnvinfer than it was linked with     9  an ONNX Runtime that takes too much memory on SME
                                                     10  a package whose metadata is missing

Each check is a function below, takes what was detected and looks at nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..runtime import remedies
from .detect import Machine
from .microphones import Microphones
from .software import ONNXRUNTIMES, Software

OLDEST_PYTHON = (3, 10)
EXPORT_PYTHON = (3, 11)
_LEAKING = ((1, 24, 1), (1, 26, 0))
_OLDEST_L4T = (36,)


@dataclass(frozen=True)
class Diagnosis:
    """name: of the check. problem: what is wrong, one line. remedy: the shell line that fixes it (or what to do).

    serious: whether something will not work, or work wrongly, until it is fixed.
    """

    name: str
    problem: str
    remedy: str
    serious: bool = True


def diagnose(machine: Machine, software: Software, microphones: Microphones | None = None) -> tuple[Diagnosis, ...]:
    """All that is wrong, serious things first. microphones: None leaves that check out."""
    checks: tuple[Callable[[Machine, Software], Iterator[Diagnosis]], ...] = (
        _python,
        _drivers,
        _damaged,
        _two_onnxruntimes,
        _jetson_wheel,
        _leaking_onnxruntime,
        _kleidiai,
        _wrong_nvinfer,
        _hidden_tensorrt,
    )
    found = [diagnosis for check in checks for diagnosis in check(machine, software)]
    if microphones is not None:
        found += _microphones(software, microphones)
    return tuple(sorted(found, key=lambda diagnosis: not diagnosis.serious))


def _python(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    version = ".".join(map(str, software.python[:2]))
    if software.python[:2] < OLDEST_PYTHON:
        remedy = "sudo apt-get install -y python3.10-venv && python3.10 -m venv wav2edge-env"
        if machine.jetson is not None:
            remedy = "flash JetPack 6 or newer, which brings Python 3.10: https://developer.nvidia.com/embedded/jetpack"
        yield Diagnosis("python", f"Python {version} is too old; wav2edge needs 3.10 or newer", remedy)
    elif software.python[:2] < EXPORT_PYTHON:
        yield Diagnosis(
            "python",
            f"Python {version} runs bundles, but export and quantize need 3.11 or newer",
            "make bundles on another computer and copy them here: `wav2edge pack BUNDLE --for PROFILE FILE.tar`",
            serious=False,
        )


def _drivers(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    if machine.jetson is not None and machine.jetson.l4t is not None:
        if _numbers(machine.jetson.l4t) < _OLDEST_L4T:
            yield Diagnosis(
                "jetpack",
                f"L4T {machine.jetson.l4t} (JetPack 5 or older) has TensorRT 8 and Python 3.8; both are too old",
                "flash JetPack 6 or newer: https://developer.nvidia.com/embedded/jetpack",
            )
        return
    for gpu in machine.gpus:
        if gpu.vendor == "nvidia" and not gpu.usable:
            ubuntu = "ubuntu" in software.distribution
            yield Diagnosis(
                "driver",
                f"{gpu.name} has no NVIDIA driver loaded, so nothing runs on it",
                "sudo ubuntu-drivers install" if ubuntu else "install NVIDIA's driver: https://www.nvidia.com/drivers",
                serious=False,
            )


def _damaged(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    for name, package in software.packages.items():
        if not package.version:
            yield Diagnosis(
                "damaged-package",
                f"the installation of {name} is damaged: its metadata is missing",
                f"{remedies.pip()} install --force-reinstall --no-deps {name}",
            )


def _two_onnxruntimes(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    there = [name for name in ONNXRUNTIMES if name in software.packages]
    if len(there) > 1:
        extra = "gpu" if machine.nvidia is not None and machine.jetson is None else "cpu"
        yield Diagnosis(
            "two-onnxruntimes",
            f"{' and '.join(there)} are installed together and own the same module: the last one installed won, "
            "and removing one breaks the other",
            f"{remedies.pip()} uninstall -y {' '.join(there)} && {remedies.install(extra)}",
        )


def _jetson_wheel(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    package = software.packages.get("onnxruntime-gpu")
    if machine.jetson is None or package is None:
        return
    # Wheels on PyPI carry a manylinux tag; those that NVIDIA and others build on a Jetson say linux_aarch64.
    if any("manylinux" in tag for tag in package.tags):
        sm = machine.jetson.compute_capability.replace(".", "")
        yield Diagnosis(
            "jetson-wheel",
            f"onnxruntime-gpu {package.version} from PyPI has no kernels for {machine.jetson.chip} (sm_{sm}); "
            "TensorRT is the engine for its GPU",
            f"{remedies.pip()} uninstall -y onnxruntime-gpu onnxruntime && {remedies.install('cpu')}",
        )


def _leaking_onnxruntime(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    # Measured release by release in https://github.com/dmarzzz/VoxTerm/pull/166, at one length too.
    for name in ONNXRUNTIMES:
        package = software.packages.get(name)
        if package is not None and _LEAKING[0] <= package.release <= _LEAKING[1]:
            yield Diagnosis(
                "leaking-onnxruntime",
                f"{name} {package.version} leaks about 11 MB a run (1.24.1 to 1.26.0 do)",
                _another_release(name, software),
            )


def _kleidiai(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    # https://github.com/microsoft/onnxruntime/issues/29538: Arm's convolutions of 1.24 on chips with SME.
    for name in ONNXRUNTIMES:
        package = software.packages.get(name)
        if package is not None and package.release[:2] == (1, 24) and "sme" in machine.cpu.features:
            yield Diagnosis(
                "kleidiai-memory",
                f"{name} {package.version} takes many times the memory for convolutions on chips with SME, as this one",
                _another_release(name, software),
            )


def _another_release(name: str, software: Software) -> str:
    newer = software.python[:2] >= EXPORT_PYTHON
    return f'{remedies.pip()} install --upgrade "{name}{">=1.27" if newer else "==1.23.2"}"'


def _wrong_nvinfer(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    package = software.packages.get("onnxruntime-gpu")
    if package is None or package.location is None:
        return
    wanted = _linked_nvinfer(package.location / "onnxruntime" / "capi" / "libonnxruntime_providers_tensorrt.so")
    own = software.packages.get("tensorrt")
    here = own.version if own is not None else software.tensorrt
    if wanted is None or not here or _numbers(here)[:1] == (wanted,):
        return
    yield Diagnosis(
        "wrong-nvinfer",
        f"ONNX Runtime's TensorRT provider is linked with libnvinfer.so.{wanted}, but TensorRT {here} is installed",
        f'{remedies.pip()} install "tensorrt=={wanted}.*", or use the engine tensorrt, which takes {here}',
    )


def _hidden_tensorrt(machine: Machine, software: Software) -> Iterator[Diagnosis]:
    if "tensorrt" in software.packages:
        return
    if software.tensorrt_module is None:
        if machine.jetson is not None:
            yield Diagnosis(
                "no-tensorrt",
                "TensorRT's Python module is not installed, so nothing runs on the GPU",
                "sudo apt-get update && sudo apt-get install -y python3-libnvinfer",
            )
        return
    match = re.search(r"python3\.(\d+)", software.tensorrt_module)
    version = ".".join(map(str, software.python[:2]))
    if match and software.python[:2] != (3, int(match[1])):
        yield Diagnosis(
            "hidden-tensorrt",
            f"the system's TensorRT is for Python 3.{match[1]}, this is Python {version}",
            f"python3.{match[1]} -m venv --system-site-packages wav2edge-env",
        )
    elif not software.sees_system and software.environment is not None:
        config = software.environment / "pyvenv.cfg"
        remedy = f"sed -i 's/^include-system-site-packages = false/include-system-site-packages = true/' {config}"
        if not config.exists():  # conda
            remedy = "/usr/bin/python3 -m venv --system-site-packages wav2edge-env"
        yield Diagnosis(
            "hidden-tensorrt",
            f"the environment {software.environment} hides the system's TensorRT ({software.tensorrt_module})",
            remedy,
        )


def _microphones(software: Software, microphones: Microphones) -> list[Diagnosis]:
    if microphones.problem is None:
        return []
    if microphones.problem == "no sounddevice":
        return [Diagnosis("sounddevice", "the microphone needs sounddevice", remedies.install("mic"), False)]
    if microphones.problem == "no PortAudio":
        return [Diagnosis("portaudio", "the PortAudio library is missing", portaudio_line(software.distribution))]
    if microphones.problem == "no answer":
        problem = "the sound system does not answer"
        return [Diagnosis("microphone", problem, "systemctl --user restart pipewire pipewire-pulse wireplumber", False)]
    return [
        Diagnosis(
            "microphone",
            "no microphone was found",
            "plug one in (`arecord -l` lists them; in a container add `--device /dev/snd`), "
            "or use `wav2edge listen --file X.wav`",
            False,
        )
    ]


def portaudio_line(distribution: tuple[str, ...]) -> str:
    """The shell line that installs PortAudio on a distribution (the names in os-release)."""
    lines = {
        "fedora": "sudo dnf install -y portaudio",
        "rhel": "sudo dnf install -y portaudio",
        "arch": "sudo pacman -S portaudio",
        "alpine": "sudo apk add portaudio",
        "suse": "sudo zypper install -y libportaudio2",
        "opensuse": "sudo zypper install -y libportaudio2",
    }
    return next((lines[name] for name in distribution if name in lines), "sudo apt-get install -y libportaudio2")


def _linked_nvinfer(library: Path) -> int | None:
    """The major release of libnvinfer that a shared object names among what it needs."""
    try:
        match = re.search(rb"libnvinfer\.so\.(\d+)\0", library.read_bytes())
    except OSError:
        return None
    return int(match[1]) if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))

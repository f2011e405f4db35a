"""Each broken installation is named with the line that fixes it; a healthy one has no finding."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from wav2edge.devices import microphones, software
from wav2edge.devices.detect import detect
from wav2edge.devices.diagnose import Diagnosis, diagnose, portaudio_line
from wav2edge.devices.microphones import InputDevice, Microphones
from wav2edge.runtime import remedies

Board = Callable[[str], Path]
ONE = Microphones((InputDevice(0, "USB", 1, 48000, "ALSA", True),))


def install(site: Path, name: str, version: str, tag: str = "py3-none-any") -> None:
    """What pip leaves behind in site-packages: the metadata of a wheel."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")


def found(
    root: Path,
    site: Path,
    python: tuple[int, ...] = (3, 11, 9),
    environment: Path | None = None,
    mics: Microphones = ONE,
) -> dict[str, Diagnosis]:
    installed = software.detect(root, [str(site)], python, environment)
    return {diagnosis.name: diagnosis for diagnosis in diagnose(detect(root), installed, mics)}


def test_a_healthy_laptop(board: Board, tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.32.0", "cp311-cp311-manylinux_2_28_x86_64")
    assert found(board("x86-laptop"), tmp_path) == {}


def test_a_healthy_orin(board: Board, tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.23.2", "cp310-cp310-manylinux_2_28_aarch64")
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.10.12\n")
    problems = found(board("jetson-orin-nano"), tmp_path, (3, 10, 12), tmp_path)
    assert set(problems) == {"python"} and not problems["python"].serious


@pytest.mark.parametrize("content", [None, b"", b"Version: \n\n", b"\xff\xfe"])
def test_a_package_without_metadata(board: Board, tmp_path: Path, content: bytes | None) -> None:
    """`devices`, which is to say what is wrong, ended in a traceback for what an interrupted update had left."""
    install(tmp_path, "onnxruntime", "1.32.0")
    metadata = tmp_path / "onnxruntime-1.32.0.dist-info/METADATA"
    metadata.unlink() if content is None else metadata.write_bytes(content)
    problem = found(board("x86-laptop"), tmp_path)["damaged-package"]
    assert problem.problem == "the installation of onnxruntime is damaged: its metadata is missing" and problem.serious
    assert problem.remedy == f"{remedies.pip()} install --force-reinstall --no-deps onnxruntime"
    install(tmp_path, "onnxruntime", "1.27.0")
    assert found(board("x86-laptop"), tmp_path) == {}, "the other one is whole"


@pytest.mark.parametrize(("name", "extra"), [("x86-laptop", "cpu"), ("x86-desktop-nvidia", "gpu")])
def test_both_onnxruntimes(board: Board, tmp_path: Path, name: str, extra: str) -> None:
    install(tmp_path, "onnxruntime", "1.32.0")
    install(tmp_path, "onnxruntime-gpu", "1.31.1")
    problem = found(board(name), tmp_path)["two-onnxruntimes"]
    assert "own the same module" in problem.problem
    expected = f"{remedies.pip()} uninstall -y onnxruntime onnxruntime-gpu && {remedies.install(extra)}"
    assert problem.remedy == expected and problem.serious


def test_every_pair_of_packages_with_one_module_is_named(board: Board, tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime-directml", "onnxruntime-qnn"):
        install(tmp_path, name, "1.32.0")
    problem = found(board("snapdragon-x"), tmp_path)["two-onnxruntimes"]
    assert problem.problem.startswith("onnxruntime and onnxruntime-directml and onnxruntime-qnn are installed together")
    assert "uninstall -y onnxruntime onnxruntime-directml onnxruntime-qnn && " in problem.remedy


def test_convolutions_that_fill_the_memory_on_chips_with_sme(board: Board, tmp_path: Path) -> None:
    """1.24 on an M4 or another chip with SME: Arm's convolutions take many times the memory of the others."""
    install(tmp_path, "onnxruntime", "1.24.0")
    root = board("apple-m2")
    assert "kleidiai-memory" not in found(root, tmp_path)
    (root / "sysctl" / "hw.optional.arm.FEAT_SME").write_text("1")
    problem = found(root, tmp_path)["kleidiai-memory"]
    assert problem.remedy == f'{remedies.pip()} install --upgrade "onnxruntime>=1.27"' and problem.serious
    root = board("snapdragon-x")
    cpuinfo = root / "proc/cpuinfo"
    cpuinfo.write_text(cpuinfo.read_text().replace(" i8mm ", " i8mm sme "))
    assert "kleidiai-memory" in found(root, tmp_path)


def test_pypis_wheel_on_a_jetson_and_nvidias(board: Board, tmp_path: Path) -> None:
    """PyPI's aarch64 wheel is for servers: on Orin its kernels are missing, with an error only at the first run."""
    install(tmp_path / "pypi", "onnxruntime-gpu", "1.31.1", "cp312-cp312-manylinux_2_34_aarch64")
    problem = found(board("jetson-orin-nano"), tmp_path / "pypi")["jetson-wheel"]
    assert "(sm_87)" in problem.problem and problem.remedy.endswith(remedies.install("cpu"))
    assert "(sm_110)" in found(board("jetson-agx-thor"), tmp_path / "pypi")["jetson-wheel"].problem
    install(tmp_path / "nvidia", "onnxruntime-gpu", "1.23.0", "cp310-cp310-linux_aarch64")
    assert "jetson-wheel" not in found(board("jetson-agx-orin"), tmp_path / "nvidia")


@pytest.mark.parametrize(
    ("version", "python", "remedy"),
    [
        ("1.24.0", (3, 11), None),
        ("1.24.1", (3, 11), f'{remedies.pip()} install --upgrade "onnxruntime>=1.27"'),
        ("1.25.1", (3, 12), f'{remedies.pip()} install --upgrade "onnxruntime>=1.27"'),
        ("1.26.0", (3, 10), f'{remedies.pip()} install --upgrade "onnxruntime==1.23.2"'),
        ("1.26.1", (3, 11), None),
        ("1.23.2", (3, 10), None),
    ],
)
def test_leaking_releases(
    board: Board, tmp_path: Path, version: str, python: tuple[int, ...], remedy: str | None
) -> None:
    install(tmp_path, "onnxruntime", version)
    problem = found(board("x86-laptop"), tmp_path, python).get("leaking-onnxruntime")
    assert (None if problem is None else problem.remedy) == remedy


def test_the_wrong_libnvinfer(board: Board, tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime-gpu", "1.31.1")
    library = tmp_path / "onnxruntime" / "capi" / "libonnxruntime_providers_tensorrt.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\x7fELF\0\0libcudart.so.13\0libnvinfer.so.10\0libnvonnxparser.so.10\0")
    root = board("x86-desktop-nvidia")
    assert "wrong-nvinfer" not in found(root, tmp_path), "none installed: the engine says so itself"
    install(tmp_path, "tensorrt", "11.4.1.7")
    problem = found(root, tmp_path)["wrong-nvinfer"]
    assert "libnvinfer.so.10, but TensorRT 11.4.1.7" in problem.problem
    assert problem.remedy.startswith(f'{remedies.pip()} install "tensorrt==10.*"')
    (tmp_path / "tensorrt-11.4.1.7.dist-info").rename(tmp_path / "gone")
    install(tmp_path, "tensorrt", "10.16.2.1")
    assert "wrong-nvinfer" not in found(root, tmp_path)


def test_an_environment_that_hides_tensorrt(board: Board, tmp_path: Path) -> None:
    root = board("jetson-orin-nano")
    environment = tmp_path / "env"
    environment.mkdir()
    config = environment / "pyvenv.cfg"
    config.write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.10.12\n")
    problem = found(root, tmp_path / "site", (3, 10, 12), environment)["hidden-tensorrt"]
    assert "/usr/lib/python3.10/dist-packages" in problem.problem
    subprocess.run(problem.remedy, shell=True, check=True)  # the line is taken at its word
    assert "hidden-tensorrt" not in found(root, tmp_path / "site", (3, 10, 12), environment)
    assert "include-system-site-packages = true" in config.read_text()


def test_a_conda_environment_hides_tensorrt_for_good(board: Board, tmp_path: Path) -> None:
    problem = found(board("jetson-orin-nano"), tmp_path / "site", (3, 10, 12), tmp_path / "miniforge3")
    assert problem["hidden-tensorrt"].remedy == "/usr/bin/python3 -m venv --system-site-packages wav2edge-env"


def test_another_python_than_the_systems_tensorrt_is_for(board: Board, tmp_path: Path) -> None:
    problem = found(board("jetson-orin-nano"), tmp_path, (3, 12, 1))["hidden-tensorrt"]
    assert "is for Python 3.10, this is Python 3.12" in problem.problem
    assert problem.remedy == "python3.10 -m venv --system-site-packages wav2edge-env"


def test_a_jetson_without_tensorrts_module(board: Board, tmp_path: Path) -> None:
    problem = found(board("jetson-agx-orin"), tmp_path)["no-tensorrt"]
    assert problem.remedy.endswith("apt-get install -y python3-libnvinfer")


def test_python_too_old(board: Board, tmp_path: Path) -> None:
    problem = found(board("x86-laptop"), tmp_path, (3, 8, 10))["python"]
    assert problem.serious and "Python 3.8 is too old" in problem.problem
    assert "JetPack 6" in found(board("jetson-orin-nano"), tmp_path, (3, 8, 10))["python"].remedy


def test_an_old_jetpack(board: Board, tmp_path: Path) -> None:
    root = board("jetson-agx-orin")
    (root / "etc/nv_tegra_release").write_text("# R35 (release), REVISION: 6.0, GCID: 1, BOARD: generic\n")
    assert "35.6.0" in found(root, tmp_path)["jetpack"].problem


def test_a_gpu_without_a_driver(board: Board, tmp_path: Path) -> None:
    root = board("x86-desktop-nvidia")
    (root / "proc/driver/nvidia/version").unlink()
    (root / "sys/bus/pci/devices/0000:01:00.0/uevent").write_text("DRIVER=nouveau\n")
    assert found(root, tmp_path)["driver"].remedy.startswith("install NVIDIA's driver")
    (root / "etc/os-release").write_text("ID=ubuntu\nID_LIKE=debian\n")
    assert found(root, tmp_path)["driver"].remedy == "sudo ubuntu-drivers install"


@pytest.mark.parametrize(
    ("problem", "name", "words"),
    [
        ("no sounddevice", "sounddevice", remedies.install("mic")),
        ("no PortAudio", "portaudio", "sudo apt-get install -y libportaudio2"),
        ("no device", "microphone", "arecord -l"),
        ("no answer", "microphone", "systemctl --user restart"),
    ],
)
def test_microphones(board: Board, tmp_path: Path, problem: str, name: str, words: str) -> None:
    assert words in found(board("x86-laptop"), tmp_path, mics=Microphones(problem=problem))[name].remedy


def test_portaudio_on_other_distributions() -> None:
    assert portaudio_line(("fedora",)) == "sudo dnf install -y portaudio"
    assert portaudio_line(("manjaro", "arch")) == "sudo pacman -S portaudio"
    assert portaudio_line(("ubuntu", "debian")) == "sudo apt-get install -y libportaudio2"


def test_serious_things_come_first(board: Board, tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.25.0")
    installed = software.detect(board("x86-laptop"), [str(tmp_path)], (3, 10, 1))
    order = [d.serious for d in diagnose(detect(board("x86-laptop")), installed, Microphones(problem="no device"))]
    assert order == [True, False, False]


def test_software_of_a_board(board: Board, tmp_path: Path) -> None:
    orin = software.detect(board("jetson-orin-nano"), [str(tmp_path)])
    assert (orin.cuda, orin.tensorrt) == ("12.6.11", "10.3.0.30")
    assert orin.tensorrt_module == "/usr/lib/python3.10/dist-packages"
    assert software.detect(board("raspberry-pi-5"), [str(tmp_path)]).tensorrt is None


def test_the_microphones_of_this_machine_are_asked_for_without_noise(capfd: pytest.CaptureFixture[str]) -> None:
    microphone_report = microphones.detect()
    assert (microphone_report.problem is None) == bool(microphone_report.devices)
    assert capfd.readouterr() == ("", "")
    assert microphones.detect(timeout=0.001).problem == "no answer"

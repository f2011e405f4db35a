"""Every board finds its own profile, and every number in a profile says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from wav2edge.devices import energy, profile
from wav2edge.devices.detect import detect
from wav2edge.devices.tree import Tree
from wav2edge.runtime.errors import InputError

Board = Callable[[str], Path]

ENGINES = {"onnxruntime", "openvino", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx"}
SCHEMES = {"fp32", "fp16", "bf16", "int8-dynamic", "int8-u8s8", "int8-u7s8", "int8-s8s8", "int8-s8s8-bf16"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jetson-orin-nano", "jetson-orin-nano"),
        ("jetson-agx-orin", "jetson-agx-orin"),
        ("jetson-agx-thor", "jetson-agx-thor"),
        ("raspberry-pi-5", "raspberry-pi-5"),
        ("raspberry-pi-4", "raspberry-pi-4"),
        ("orange-pi-5", "orange-pi-5"),
        ("intel-n100", "intel-n100"),
        ("apple-m2", "apple-silicon"),
        ("snapdragon-x", "snapdragon-x"),
        ("x86-laptop", "x86-64-vnni"),
        ("x86-desktop-nvidia", "x86-64-nvidia"),
    ],
)
def test_each_board_finds_its_profile(board: Board, name: str, expected: str) -> None:
    assert profile.DeviceProfile.detect(board(name)).name == expected


def test_a_new_orin_module_gets_an_orin_profile(board: Board) -> None:
    root = board("jetson-orin-nano")
    (root / "proc/device-tree/compatible").write_bytes(b"acme,carrier+p3999\0nvidia,tegra234\0")
    assert profile.DeviceProfile.detect(root).name == "jetson-orin-nx"


def test_other_machines_get_the_profile_of_their_processor(board: Board) -> None:
    root = board("raspberry-pi-5")
    (root / "proc/device-tree/compatible").write_bytes(b"pine64,rockpro64\0rockchip,rk3399\0")
    assert profile.DeviceProfile.detect(root).name == "aarch64"
    root = board("x86-desktop-nvidia")
    (root / "proc/driver/nvidia/version").unlink()
    (root / "sys/bus/pci/devices/0000:01:00.0/uevent").write_text("DRIVER=nouveau\n")
    assert profile.DeviceProfile.detect(root).name == "x86-64", "AVX2 without VNNI, and a driver that computes nothing"


def test_a_machine_of_which_nothing_is_known(tmp_path: Path) -> None:
    assert profile.DeviceProfile.detect(tmp_path).name == "generic"


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no device profile 'jetson'; there are aarch64, apple-silicon, generic, "):
        profile.load("jetson")
    with pytest.raises(InputError):
        profile.load("../profile")


@pytest.mark.parametrize("name", profile.names())
def test_every_number_names_its_source(name: str) -> None:
    found = profile.load(name)
    raw = json.loads((resources.files("wav2edge.devices") / "profiles" / f"{name}.json").read_text("utf-8"))
    settings = [found.window, found.hop, *([found.threads] if found.threads else [])]
    assert all(setting.value > 0 for setting in settings)
    sources = [setting.source for setting in settings] + [preference.source for preference in found.order]
    if found.rails:
        sources.append(raw["rails"]["source"])
    assert all(len(source) > 10 for source in sources)
    numbers = {key for key, value in raw.items() if isinstance(value, (int, float))}
    assert not numbers, "a bare number has no source"


@pytest.mark.parametrize("name", profile.names())
def test_orders_name_real_engines_and_end_where_every_bundle_runs(name: str) -> None:
    found = profile.load(name)
    assert set(found.engines) <= ENGINES
    assert {preference.variant for preference in found.order} <= SCHEMES
    assert ("onnxruntime", "fp32") in {(preference.engine, preference.variant) for preference in found.order}
    assert len({(preference.engine, preference.variant) for preference in found.order}) == len(found.order)
    # TensorRT takes symmetric int8 only; ONNX Runtime's CPU is slow with it (facts of the graphs, not of a board).
    for preference in found.order:
        if preference.variant.startswith("int8"):
            assert preference.variant.startswith("int8-s8s8") == (preference.engine != "onnxruntime")
    assert {"cpu", "mic"} <= set(found.install.extras)
    assert found.install.commands or "libportaudio2" in found.install.system
    assert found.install.platform or name == "generic", "wheels can be gathered for it"


def test_unsaturated_bytes_only_where_the_processor_adds_them_exactly() -> None:
    """u8s8 saturates on x86 without VNNI: 24.8 dB instead of 29.5 dB."""
    assert profile.load("x86-64").variants("onnxruntime")[0] == "int8-u7s8"
    assert "int8-u8s8" not in profile.load("x86-64").variants("onnxruntime")
    assert profile.load("x86-64-vnni").variants("onnxruntime")[0] == "int8-u8s8"


@pytest.mark.parametrize("name", ["jetson-orin-nano", "jetson-agx-orin", "jetson-agx-thor"])
def test_rails_of_a_profile_are_on_its_board(board: Board, name: str) -> None:
    root = board(name)
    rails = profile.DeviceProfile.detect(root).rails
    assert rails and set(rails) <= {rail.label for rail in energy.power_rails(Tree(root))}
    meter = energy.find(root, rails)
    assert meter is not None and meter.name == "+".join(rails)


def test_bfloat16_is_for_processors_that_compute_in_it(board: Board) -> None:
    laptop = detect(board("x86-laptop"))
    bf16 = next(item for item in profile.load("x86-64-vnni").order if item.variant == "bf16")
    assert not bf16.suits(laptop)
    cpuinfo = board("x86-laptop") / "proc/cpuinfo"
    cpuinfo.write_text(cpuinfo.read_text().replace(" avx_vnni ", " avx_vnni amx_bf16 "))
    assert bf16.suits(detect(cpuinfo.parent.parent))

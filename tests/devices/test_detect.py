"""Boards written down are recognised for what they are, and this machine agrees with the operating system."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from wav2edge.devices import jetson, other_systems, tree
from wav2edge.devices.detect import detect

Board = Callable[[str], Path]


def test_orin_nano(board: Board) -> None:
    machine = detect(board("jetson-orin-nano"))
    assert machine.model == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert machine.jetson == jetson.Jetson("Orin", "8.7", "36.4.3", "6.2")
    assert machine.power_mode == "MAXN_SUPER"
    assert (machine.cpu.architecture, machine.cpu.name) == ("aarch64", "Cortex-A78AE")
    assert machine.cpu.features == ("fp16", "dotprod")
    assert (machine.cpu.cores, machine.cpu.threads) == (6, 6)
    assert machine.nvidia is not None and machine.nvidia.compute_capability == "8.7"
    assert machine.memory.usable == 7802740 * 1024
    assert machine.os == "Ubuntu 22.04.5 LTS"


def test_agx_orin_runs_the_cores_its_power_mode_leaves_on(board: Board) -> None:
    root = board("jetson-agx-orin")
    machine = detect(root)
    assert machine.jetson == jetson.Jetson("Orin", "8.7", "36.4.4", "6.2.1")
    assert (machine.cpu.cores, machine.cpu.threads) == (8, 8)
    assert machine.power_mode == "MODE_30W", "no status file: the default of nvpmodel.conf"


def test_thor(board: Board) -> None:
    machine = detect(board("jetson-agx-thor"))
    assert machine.jetson == jetson.Jetson("Thor", "11.0", "38.2.0", "7.0")
    assert machine.power_mode == "MAXN"
    assert machine.cpu.name == "Neoverse-V3AE"
    assert set(machine.cpu.features) == {"fp16", "dotprod", "i8mm", "bf16", "sve", "sve2"}
    assert machine.cpu.threads == 14
    assert machine.nvidia is not None and machine.nvidia.driver == "580.00"


def test_raspberry_pi_with_limits(board: Board) -> None:
    """A service limited to two CPUs and, through its slice, 2 GB."""
    machine = detect(board("raspberry-pi-5"))
    assert machine.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.jetson is None and machine.gpus == ()
    assert (machine.cpu.name, machine.cpu.features) == ("Cortex-A76", ("fp16", "dotprod"))
    assert (machine.cpu.cores, machine.cpu.quota, machine.cpu.threads) == (4, 2.0, 2)
    assert machine.memory.limit == machine.memory.usable == 2 << 30


def test_raspberry_pi_4_has_no_dot_product(board: Board) -> None:
    cpu = detect(board("raspberry-pi-4")).cpu
    assert (cpu.name, cpu.features, cpu.threads) == ("Cortex-A72", (), 4)


def test_orange_pi_runs_its_four_fast_cores(board: Board) -> None:
    machine = detect(board("orange-pi-5"))
    assert machine.cpu.name == "4 × Cortex-A55, 4 × Cortex-A76"
    assert (machine.cpu.cores, machine.cpu.fast, machine.cpu.threads) == (8, 4, 4)


def test_intel_n100(board: Board) -> None:
    cpu = detect(board("intel-n100")).cpu
    assert (cpu.name, cpu.vnni, cpu.threads) == ("Intel(R) N100", True, 4)


def test_a_mac_is_described_by_its_kernels_values(board: Board) -> None:
    machine = detect(board("apple-m2"))
    assert (machine.model, machine.os, machine.memory.total) == ("Mac14,2", "macOS 14.5", 16 << 30)
    assert (machine.cpu.architecture, machine.cpu.name) == ("aarch64", "Apple M2")
    assert machine.cpu.features == ("fp16", "dotprod", "i8mm", "bf16")
    assert (machine.cpu.cores, machine.cpu.threads) == (8, 4)


def on_x86_linux() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.mark.skipif(not on_x86_linux(), reason="compares with /proc/cpuinfo of x86")
def test_windows_on_x86_has_the_instructions_that_linux_tells_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them INT8 that VNNI makes fast was never chosen there."""
    unknown_to_numpy = {"avx-vnni", "amx-int8", "amx-bf16", "amx-fp16"}
    told = set(detect("/").cpu.features) - unknown_to_numpy
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    found = other_systems.cpu(tree.Tree())
    assert found is not None and found["architecture"] == "x86_64"
    assert set(found["features"]) == told and "avx2" in told


@pytest.mark.parametrize("missing", ["module", "table"])
def test_nothing_is_known_without_numpys_table(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def without(name: str) -> ModuleType:
        if missing == "module":
            raise ImportError(name)
        return ModuleType(name)

    monkeypatch.setattr(importlib, "import_module", without)
    assert other_systems.x86_features() == ()


def test_instructions_are_those_that_numpys_table_has(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ModuleType("table")
    table.__cpu_features__ = {"AVX2": True, "AVX512F": True, "AVX512VNNI": True, "AVX512FP16": False}  # type: ignore[attr-defined]
    monkeypatch.setattr(importlib, "import_module", lambda name: table)
    assert other_systems.x86_features() == ("avx2", "avx512", "avx512-vnni")


def test_snapdragon_x(board: Board) -> None:
    machine = detect(board("snapdragon-x"))
    assert (machine.cpu.name, machine.cpu.threads) == ("Qualcomm Oryon", 12)
    assert {"i8mm", "dotprod"} <= set(machine.cpu.features)


def test_hybrid_laptop(board: Board) -> None:
    root = board("x86-laptop")
    machine = detect(root)
    assert machine.model == "LENOVO ThinkPad X1 Carbon Gen 10"
    assert machine.cpu.features == ("avx2", "avx-vnni") and machine.cpu.vnni
    assert (machine.cpu.cores, machine.cpu.logical, machine.cpu.fast) == (10, 12, 2)
    assert machine.cpu.threads == 10, "two fast cores are not worth leaving eight others idle"
    assert [(gpu.vendor, gpu.driver) for gpu in machine.gpus] == [("intel", "i915")]
    assert machine.power_mode == "powersave, on battery"
    (root / "sys/devices/cpu_core/cpus").write_text("0-7")
    assert detect(root).cpu.fast == 6 and detect(root).cpu.threads == 6


def test_desktop_in_a_container(board: Board) -> None:
    machine = detect(board("x86-desktop-nvidia"))
    assert machine.cpu.features == ("avx2",) and not machine.cpu.vnni
    assert (machine.cpu.cores, machine.cpu.logical, machine.cpu.allowed) == (16, 32, 8)
    assert (machine.cpu.quota, machine.cpu.threads) == (5.5, 6)
    assert machine.memory.limit == 8 << 30
    assert [(gpu.name, gpu.driver) for gpu in machine.gpus] == [("NVIDIA GeForce RTX 4070", "580.65.06")]


def test_a_gpu_without_a_driver_is_seen(board: Board) -> None:
    root = board("x86-desktop-nvidia")
    (root / "proc/driver/nvidia/version").unlink()
    (root / "sys/bus/pci/devices/0000:01:00.0/uevent").write_text("PCI_CLASS=30000\n")
    machine = detect(root)
    assert [(gpu.vendor, gpu.driver) for gpu in machine.gpus] == [("nvidia", None)]
    assert machine.nvidia is None and "nvidia-gpu" not in machine.traits


@pytest.mark.parametrize(
    ("line", "release", "jetpack"),
    [
        ("# R36 (release), REVISION: 3.0, GCID: 1, BOARD: generic", "36.3.0", "6.0"),
        ("# R36 (release), REVISION: 4.7, GCID: 1", "36.4.7", "6.2.1"),
        ("# R38 (release), REVISION: 4, GCID: 1", "38.4", "7.1"),
        ("# R39 (release), REVISION: 2.2, GCID: 1", "39.2.2", "7.2.2"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "99.1.0", None),
        ("something else", None, None),
    ],
)
def test_jetpack_of_an_l4t_release(board: Board, line: str, release: str | None, jetpack: str | None) -> None:
    root = board("jetson-orin-nano")
    (root / "etc/nv_tegra_release").write_text(line)
    found = detect(root).jetson
    assert found is not None and (found.l4t, found.jetpack) == (release, jetpack)


def test_an_empty_root_is_a_machine_with_nothing_known(tmp_path: Path) -> None:
    machine = detect(tmp_path)
    assert (machine.model, machine.gpus, machine.jetson, machine.power_mode) == (None, (), None, None)
    assert machine.cpu.threads == 1 and machine.cpu.name == "unknown"


def test_an_emulator_that_shows_its_hosts_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """qemu-user may show the host's /proc/cpuinfo: its instructions are not those of the program that runs."""
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    found = detect().cpu
    assert (found.architecture, found.features) == ("riscv64", ())
    assert found.cores >= 1


def test_garbage_never_stops_detection(board: Board) -> None:
    root = board("x86-laptop")
    for path in root.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff\x00 17-3,x: \n\n:::\n" * 3)
    detect(root)


@pytest.mark.parametrize("text", ["0-3,6", "5", "0,2,4-7"])
def test_cpu_lists(text: str) -> None:
    assert tree.cpu_list_text(tree.cpu_list(text)) == text


def test_this_machine() -> None:
    detect()
    started = time.perf_counter()
    machine = detect()
    assert time.perf_counter() - started < 0.25
    assert machine.cpu.logical == os.cpu_count()
    assert 1 <= machine.cpu.threads <= machine.cpu.logical
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert abs(machine.memory.total - pages) < 0.02 * pages
    assert json.loads(json.dumps(machine.to_json()))["cpu"]["architecture"] == os.uname().machine

"""Energy from power monitors and counters, on boards written down; the clock is the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wav2edge.devices import energy, nvml
from wav2edge.devices.tree import Tree

Board = Callable[[str], Path]


def measured(meter: energy.EnergyMeter | None, seconds: float) -> energy.Energy:
    assert meter is not None
    with meter:
        time.sleep(seconds)
    assert meter.energy is not None
    return meter.energy


def test_orin_nano_measures_the_module(board: Board) -> None:
    found = measured(energy.find(board("jetson-orin-nano"), rails=("VDD_IN",), interval=0.02), 0.2)
    assert found.source == "VDD_IN"
    assert found.watts == pytest.approx(5.016 * 1.2)
    assert found.joules == pytest.approx(5.016 * 1.2 * found.seconds)
    assert 0.2 <= found.seconds < 1.0 and found.samples >= 4


@pytest.mark.parametrize(
    ("name", "source", "watts"),
    [
        ("jetson-orin-nano", "VDD_IN", 5.016 * 1.2),
        # DDR's rail is fed by VIN_SYS_5V0: adding it would count it twice; NC channels do not answer.
        ("jetson-agx-orin", "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0", 19.8 * 0.16 + 19.8 * 0.72 + 4.968),
        # INA238 gives µW itself.
        ("jetson-agx-thor", "VIN", 23.187),
    ],
)
def test_totals_where_no_profile_names_rails(board: Board, name: str, source: str, watts: float) -> None:
    found = measured(energy.find(board(name), interval=0.01), 0.05)
    assert found.source == source
    assert found.watts == pytest.approx(watts)


def test_rails_of_a_profile_that_are_not_there_fall_back(board: Board) -> None:
    meter = energy.find(board("jetson-orin-nano"), rails=("VDD_GPU_SOC", "VDD_CPU_CV"))
    assert meter is not None and meter.name == "VDD_IN"


def test_a_changing_power_is_integrated(board: Board) -> None:
    root = board("jetson-orin-nano")
    rails = energy.Rails(energy.power_rails(Tree(root))[:1])
    current = root / "sys/class/hwmon/hwmon1/curr1_input"
    readings = []
    for at, milliamperes in ((10.0, 0), (11.0, 2000), (13.0, 2000), (14.0, 0)):
        current.write_text(f"{milliamperes}\n")
        readings.append(rails.joules(at))
    assert readings == pytest.approx([0.0, 5.016, 25.08, 30.096])


def test_a_rail_that_stops_answering_gives_no_energy(board: Board) -> None:
    root = board("jetson-orin-nano")
    meter = energy.find(root, interval=0.01)
    assert meter is not None
    meter.start()
    (root / "sys/class/hwmon/hwmon1/curr1_input").unlink()
    time.sleep(0.05)
    assert meter.stop() is None


def test_rapl_adds_packages_and_survives_a_wrap(board: Board) -> None:
    root = board("x86-laptop")
    counter = root / "sys/class/powercap/intel-rapl:0/energy_uj"
    meter = energy.find(root, interval=60)  # the thread must not read a file while it is being rewritten
    assert meter is not None and meter.name == "package-0 (RAPL)", "core is part of it, psys is more"
    counter.write_text("262143328000")
    meter.start()
    counter.write_text("1999150")
    found = meter.stop()
    assert found is not None and found.joules == pytest.approx((262143328850 - 262143328000 + 1999150) / 1e6)
    counter.write_text("2500000")
    meter.start()
    counter.write_text("7500000")
    again = meter.stop()
    assert again is not None and again.joules == pytest.approx(5.0), "a meter is used again from zero"


def test_a_locked_counter_is_named_with_the_line_that_opens_it(board: Board) -> None:
    root = board("x86-desktop-nvidia")
    assert energy.find(root) is None
    assert "sudo chmod a+r /sys/class/powercap" in energy.missing(root)


def test_a_raspberry_pi_has_no_meter(board: Board) -> None:
    root = board("raspberry-pi-5")
    assert energy.find(root) is None
    assert energy.missing(root) == "this machine has no power monitor that Linux reads"


def test_without_a_driver_nvml_answers_nothing() -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver")
    assert nvml.devices() == ()
    assert nvml.energy_counter() is None


# The driver's library with one GPU that uses 2.5 J between two readings; the types are those of nvml.h.
LIBRARY = """
#include <string.h>
static int opened = 0, reads = 0, gpu = 7;
int nvmlInit_v2(void) { opened++; return 0; }
int nvmlShutdown(void) { opened--; return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { *v = 13020; return opened ? 0 : 1; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return opened ? 0 : 1; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = &gpu; return i == 0 ? 0 : 2; }
int nvmlDeviceGetName(void *h, char *name, unsigned n) { strncpy(name, "NVIDIA Test GPU", n); return h != &gpu; }
int nvmlDeviceGetCudaComputeCapability(void *h, int *a, int *b) { *a = 8; *b = 9; return h == &gpu ? 0 : 2; }
int nvmlDeviceGetMemoryInfo(void *h, unsigned long long *m) { m[0] = 12ULL << 30; return h == &gpu ? 0 : 2; }
int nvmlDeviceGetTotalEnergyConsumption(void *h, unsigned long long *e)
{ *e = 5000000000ULL + 2500 * reads++; return h == &gpu ? ENERGY : 2; }
"""

PROGRAM = """
from wav2edge.devices import energy, nvml
print(nvml.devices())
counter = nvml.energy_counter()
if counter is not None:
    meter = energy.EnergyMeter([energy.NvidiaCounter(*counter)], interval=60)
    meter.start()
    print(meter.stop().joules, meter.name)
    meter.close()
"""


@pytest.mark.parametrize(("answer", "expected"), [(0, "2.5 NVIDIA GPU (NVML)"), (3, None)])
def test_nvml_through_a_library_of_its_own(tmp_path: Path, answer: int, expected: str | None) -> None:
    """Jetson boards have the library and one GPU, but power and energy are NOT_SUPPORTED (3)."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a stand-in for NVIDIA's library")
    (tmp_path / "nvml.c").write_text(LIBRARY)
    command = [compiler, "-shared", "-fPIC", f"-DENERGY={answer}", "nvml.c", "-o", "libnvidia-ml.so.1"]
    subprocess.run(command, cwd=tmp_path, check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert (
        lines[0] == f"(NvmlDevice(name='NVIDIA Test GPU', compute_capability='8.9', memory={12 << 30}, cuda='13.2'),)"
    )
    assert lines[1:] == ([] if expected is None else [expected])

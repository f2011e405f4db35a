"""Energy that a machine says it used: Jetson power rails, NVIDIA's counter, Intel's and AMD's RAPL.

    meter = energy.find(rails=profile.rails)
    if meter is not None:
        with meter:
            work()
        print(meter.energy.joules, meter.energy.source)

Rails are powers, sampled by a thread and integrated; the other two are counters, read at the same ticks because RAPL's
wrap around. What a source covers differs (a module, a GPU, a processor package): compare only within one machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import nvml
from .tree import Tree

INTERVAL = 0.1
"""Seconds between samples: reading an INA3221 takes about 1 ms of I2C, and its own average is of about 10 ms."""

# The whole module's input: Orin Nano and NX (VDD_IN), Nano (POM_5V_IN), Thor's board (VIN).
_TOTALS = ("VDD_IN", "POM_5V_IN", "VIN")
# "NC" is a channel that is not connected; DDR's rail is fed by VIN_SYS_5V0 and would count twice.
_LEFT_OUT = ("NC", "VDDQ_VDD2_1V8AO")


@dataclass(frozen=True)
class Energy:
    """Joules used in ``seconds``. source: what was measured, in words. samples: how many times it was read."""

    joules: float
    seconds: float
    source: str
    samples: int

    @property
    def watts(self) -> float:
        """The mean power."""
        return self.joules / self.seconds if self.seconds > 0 else 0.0


class EnergySource(Protocol):
    """Something that measures energy. ``name`` says what it covers."""

    name: str

    def joules(self, now: float) -> float:
        """The joules used since an arbitrary start, at ``now`` (monotonic seconds); raises OSError."""

    def close(self) -> None:
        """Give back what the source holds."""


class Rails:
    """INA3221 and INA238 power monitors: powers, integrated by the trapezoid rule between two readings."""

    def __init__(self, rails: Sequence[Rail]) -> None:
        """Measure the sum of rails."""
        self.name = "+".join(rail.label for rail in rails)
        self._rails = tuple(rails)
        self._last: tuple[float, float] | None = None
        self._sum = 0.0

    def joules(self, now: float) -> float:
        """See ``EnergySource``."""
        watts = sum(rail.watts() for rail in self._rails)
        if self._last is not None:
            self._sum += (now - self._last[0]) * (watts + self._last[1]) / 2
        self._last = (now, watts)
        return self._sum

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True)
class Rail:
    """One channel of a power monitor. power: file in µW, or None; voltage, current: files in mV and mA."""

    label: str
    voltage: Path
    current: Path
    power: Path | None = None

    def watts(self) -> float:
        """The power now; raises OSError."""
        if self.power is not None:
            return _integer(self.power) / 1e6
        return _integer(self.voltage) * _integer(self.current) / 1e6


class Counters:
    """RAPL: counters in µJ that wrap at ``max_energy_range_uj`` (Documentation/power/powercap/powercap.rst)."""

    def __init__(self, name: str, zones: Sequence[tuple[Path, int]]) -> None:
        """Measure the sum of zones: the counter's file and the value at which it wraps."""
        self.name = name
        self._zones = tuple(zones)
        self._last: list[int] | None = None
        self._sum = 0

    def joules(self, now: float) -> float:
        """See ``EnergySource``; called at least once in each turn of the counter (over an hour)."""
        values = [_integer(path) for path, _ in self._zones]
        for value, before, (_, wrap) in zip(values, self._last or values, self._zones):
            self._sum += value - before if value >= before else value + wrap - before
        self._last = values
        return self._sum / 1e6

    def close(self) -> None:
        """Nothing to give back."""


class NvidiaCounter:
    """The driver's energy counter of all NVIDIA GPUs (nvmlDeviceGetTotalEnergyConsumption, Volta and newer)."""

    def __init__(self, read: Callable[[], float | None], close: Callable[[], None]) -> None:
        """Wrap the functions of ``nvml.energy_counter``."""
        self.name = "NVIDIA GPU (NVML)"
        self._read = read
        self.close = close

    def joules(self, now: float) -> float:
        """See ``EnergySource``."""
        value = self._read()
        if value is None:
            raise OSError("NVML no longer reports the GPU's energy")
        return value


class EnergyMeter:
    """Measure between ``start`` and ``stop``, or inside ``with``; it can be used again and again, not nested."""

    def __init__(self, sources: Sequence[EnergySource], interval: float = INTERVAL) -> None:
        """Measure the sum of sources, read every ``interval`` seconds."""
        self.name = " + ".join(source.name for source in sources)
        self.energy: Energy | None = None
        self._sources = tuple(sources)
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._readings: list[tuple[float, float]] = []
        self._failed = False

    def start(self) -> None:
        """Begin to measure."""
        self.energy = None
        self._readings, self._failed = [], False
        self._stop.clear()
        self._sample()
        self._thread = threading.Thread(target=self._loop, name="wav2edge-energy", daemon=True)
        self._thread.start()

    def stop(self) -> Energy | None:
        """End; the energy since ``start``, None when a source failed meanwhile. Also kept as ``energy``."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._sample()
        if not self._failed and len(self._readings) >= 2:
            (first, before), (last, after) = self._readings[0], self._readings[-1]
            self.energy = Energy(after - before, last - first, self.name, len(self._readings))
        return self.energy

    def close(self) -> None:
        """Give back what the sources hold."""
        for source in self._sources:
            source.close()

    def _loop(self) -> None:
        while not self._stop.wait(self._interval):
            self._sample()

    def _sample(self) -> None:
        now = time.monotonic()
        try:
            joules = sum(source.joules(now) for source in self._sources)
        except (OSError, ValueError):  # a rail that was switched off, a driver that was unloaded
            self._failed = True
            return
        self._readings.append((now, joules))

    def __enter__(self) -> EnergyMeter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def find(root: str | Path = "/", rails: Sequence[str] = (), interval: float = INTERVAL) -> EnergyMeter | None:
    """The meter of this machine; None where it reports nothing (``missing`` says why).

    rails: the labels to add up on a board with power monitors (a profile's ``rails``). Where they are not there: the
    input of the whole module, else all rails. Without power monitors: GPU and processor packages together.
    """
    tree = Tree(root)
    if chosen := _choose(power_rails(tree), rails):
        return EnergyMeter((Rails(chosen),), interval)
    sources: list[EnergySource] = []
    if tree.live and (counter := nvml.energy_counter()) is not None:
        sources.append(NvidiaCounter(*counter))
    zones, _ = _rapl(tree)
    if zones:
        names = [name for name, _, _ in zones]
        sources.append(Counters(f"{'+'.join(names)} (RAPL)", [(path, wrap) for _, path, wrap in zones]))
    return EnergyMeter(sources, interval) if sources else None


def missing(root: str | Path = "/") -> str:
    """Why ``find`` gives None here, and what to do where something helps."""
    tree = Tree(root)
    _, locked = _rapl(tree)
    if locked:
        # Root only since CVE-2020-8694: fine readings leak secrets to other users of the machine.
        return (
            "the processor's energy counter is readable by root only; on a machine that is yours alone: "
            "`sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj`"
        )
    return "this machine has no power monitor that Linux reads"


def power_rails(tree: Tree) -> tuple[Rail, ...]:
    """The labelled channels of INA3221 and INA238 monitors that answer."""
    found = []
    for monitor in tree.list("/sys/class/hwmon"):
        base = f"/sys/class/hwmon/{monitor}"
        chip = tree.read(f"{base}/name")
        if chip not in ("ina3221", "ina238"):
            continue
        for channel in (1, 2, 3) if chip == "ina3221" else (1,):
            label = tree.read(f"{base}/in{channel}_label") or (tree.read(f"{base}/label") if channel == 1 else None)
            voltage, current = f"{base}/in{channel}_input", f"{base}/curr{channel}_input"
            power = f"{base}/power{channel}_input"
            answers = tree.number(voltage) is not None and tree.number(current) is not None
            if label and answers:
                file = tree.path(power) if tree.number(power) is not None else None
                found.append(Rail(label, tree.path(voltage), tree.path(current), file))
    return tuple(found)


def _choose(rails: Sequence[Rail], wanted: Sequence[str]) -> tuple[Rail, ...]:
    by_label = {rail.label: rail for rail in rails}
    if wanted and all(label in by_label for label in wanted):
        return tuple(by_label[label] for label in wanted)
    for total in _TOTALS:
        if total in by_label:
            return (by_label[total],)
    return tuple(rail for rail in rails if rail.label not in _LEFT_OUT)


def _rapl(tree: Tree) -> tuple[list[tuple[str, Path, int]], bool]:
    """The zones to add (name, counter, wrap), and whether some are there that this user cannot read."""
    zones, locked = [], False
    for zone in tree.list("/sys/class/powercap"):
        base = f"/sys/class/powercap/{zone}"
        name = tree.read(f"{base}/name") or ""
        # Packages and memory add up; core and uncore are parts of a package, psys is more than the processor.
        if not zone.startswith("intel-rapl:") or not (name.startswith("package") or name == "dram"):
            continue
        wrap = tree.number(f"{base}/max_energy_range_uj")
        if tree.number(f"{base}/energy_uj") is not None and wrap:
            zones.append((name, tree.path(f"{base}/energy_uj"), wrap))
        else:
            locked = True
    return zones, locked


def _integer(path: Path) -> int:
    return int(path.read_text())

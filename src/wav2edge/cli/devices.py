"""``wav2edge devices``: show this machine, its engines and microphones, and how to fix what is missing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import _options, _terminal
from ._command import WIDTH, command, option

if TYPE_CHECKING:
    from wav2edge.devices.report import MachineReport


@command(
    "wav2edge devices",
    "wav2edge devices --profiles  # the boards that `pack --for` takes",
    "wav2edge devices --json machine.json  # everything, to attach to a bug report",
)
@_options.json_file("print everything as JSON instead")
@option("--profiles", "list the boards that `wav2edge pack --for` takes, and stop", is_flag=True)
def run(json: str | None, profiles: bool) -> None:
    """Show this machine, its engines and microphones, and how to fix what is missing.

    An engine is a library that runs models, such as ONNX Runtime. For each that does not run here the reason is shown,
    with a command that fixes it.
    """
    from wav2edge.devices import profile, report

    if profiles:
        titles = {name: profile.load(name).title for name in profile.names()}
        _terminal.write_json([{"name": name, "title": title} for name, title in titles.items()], json)
        if json != "-":
            _terminal.out("\n".join(f"{name:<18}  {title}" for name, title in titles.items()))
        return
    found = report.make()
    _terminal.write_json(found.to_json(), json)
    if json != "-":
        _terminal.out("\n".join(render(found)))


def render(found: MachineReport) -> Iterator[str]:
    """The report as lines of text, made for reading."""
    yield "Machine"
    for name, value in _machine(found):
        yield from _row(name, value)
    yield ""
    yield "Engines, best first"
    for state in found.engines:
        if state.missing is None:
            runs = f"ready; runs {', '.join(state.variants)}" if state.variants else "ready"
            yield from _row(state.name, runs, 22)
        else:
            yield from _row(state.name, f"missing: {state.missing}", 22)
    yield ""
    yield "Microphones"
    for device in found.microphones.devices:
        channels = "1 channel" if device.channels == 1 else f"{device.channels} channels"
        mark = " (default)" if device.default else ""
        yield from _row(
            str(device.index), f"{device.name}: {channels}, {device.sample_rate} Hz, {device.host}{mark}", 4
        )
    if not found.microphones.devices:
        yield "  none"
    yield ""
    if not found.diagnoses:
        yield "Nothing is missing or wrong."
        return
    yield "Problems and fixes"
    for diagnosis in found.diagnoses:
        yield from _row("!" if diagnosis.serious else "-", diagnosis.problem, 2)
        yield f"      {diagnosis.remedy}"


def _machine(found: MachineReport) -> Iterator[tuple[str, str]]:
    machine, installed = found.machine, found.software
    cpu, memory = machine.cpu, machine.memory
    if machine.model:
        yield "model", machine.model
    limits = [f"{cpu.allowed} allowed"] if cpu.allowed != cpu.cores else []
    limits += [f"{cpu.quota:g} CPUs of time"] if cpu.quota is not None else []
    cores = f"{cpu.cores} cores" + (f" ({', '.join(limits)})" if limits else "")
    yield "processor", f"{cpu.name}, {cpu.architecture}, {cores}, {cpu.threads} threads used"
    yield "instructions", ", ".join(cpu.features) or "none that matter"
    free = f", {_gib(memory.available)} free" if memory.available is not None else ""
    limit = f", limited to {_gib(memory.limit)}" if memory.limit is not None else ""
    yield "memory", f"{_gib(memory.total)}{limit}{free}"
    for gpu in machine.gpus:
        details = [f"driver {gpu.driver}" if gpu.driver else "no driver"]
        details += [f"compute capability {gpu.compute_capability}"] if gpu.compute_capability else []
        details += [_gib(gpu.memory)] if gpu.memory is not None else []
        details += [f"runs CUDA up to {gpu.cuda}"] if gpu.cuda else []
        yield "GPU", f"{gpu.name}, {', '.join(details)}"
    if machine.jetson is not None:
        yield "JetPack", f"{machine.jetson.jetpack or 'unknown'} (L4T {machine.jetson.l4t or 'unknown'})"
    if installed.cuda:
        yield "CUDA", installed.cuda
    if installed.tensorrt:
        module = (
            f", Python module in {installed.tensorrt_module}" if installed.tensorrt_module else ", no Python module"
        )
        yield "TensorRT", installed.tensorrt + module
    if machine.power_mode:
        yield "power mode", machine.power_mode
    yield "energy", found.energy
    python = ".".join(map(str, installed.python))
    yield "system", ", ".join(part for part in (machine.os, machine.kernel, f"Python {python}") if part)
    yield "profile", f"{found.profile.name} ({found.profile.title})"


def _row(name: str, value: str, width: int = 14) -> list[str]:
    label = f"  {name:<{width}}"
    return textwrap.wrap(
        value,
        WIDTH,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"

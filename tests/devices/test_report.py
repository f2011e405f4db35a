"""``wav2edge devices`` tells a new user what the machine is, what runs, and what to type where something is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wav2edge.cli import main
from wav2edge.cli.devices import render
from wav2edge.devices import report
from wav2edge.devices.microphones import InputDevice, Microphones
from wav2edge.runtime import engines

Board = Callable[[str], Path]
ONE = Microphones((InputDevice(3, "USB Audio: - (hw:1,0)", 1, 48000, "ALSA", True),))


def test_engines_are_listed_with_reason_and_remedy() -> None:
    states = {state.name: state for state in report.make(microphones=ONE).engines}
    assert set(states) == set(engines.names()) - {"null"}
    for state in states.values():
        assert state.missing == engines.get(state.name).unavailable()
    assert states["onnxruntime"].missing is None and "fp32" in states["onnxruntime"].variants
    ready = [state.missing is None for state in states.values()]
    assert ready == sorted(ready, reverse=True), "ready ones come first"


def test_a_boards_engines_come_in_its_order(board: Board) -> None:
    found = report.make(board("jetson-orin-nano"), ONE)
    tensorrt = next(state for state in found.engines if state.name == "tensorrt")
    assert tensorrt.variants == ("int8-s8s8", "fp16", "fp32")
    assert (found.profile.name, found.energy, found.metered) == ("jetson-orin-nano", "VDD_IN", True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jetson-orin-nano", ["JetPack       6.2 (L4T 36.4.3)", "TensorRT      10.3.0.30, Python module in"]),
        ("jetson-agx-orin", ["8 cores, 8 threads used", "power mode    MODE_30W", "no Python module"]),
        ("jetson-agx-thor", ["compute capability 11.0", "VDD_GPU+VDD_CPU_SOC_MSS+VIN_SYS_5V0"]),
        ("raspberry-pi-5", ["2 CPUs of time", "limited to 2.0 GiB", "no power monitor"]),
        ("x86-laptop", ["avx2, avx-vnni", "powersave, on battery", "package-0 (RAPL)"]),
        ("x86-desktop-nvidia", ["8 allowed", "RTX 4070, driver 580.65.06", "sudo chmod a+r"]),
    ],
)
def test_every_board_as_text(board: Board, name: str, words: list[str]) -> None:
    text = "\n".join(render(report.make(board(name), ONE)))
    for word in words:
        assert word in text
    assert "USB Audio: - (hw:1,0): 1 channel, 48000 Hz, ALSA (default)" in text


def test_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"machine", "profile", "software", "engines", "microphones", "energy", "diagnoses"}
    assert found["machine"]["threads"] >= 1
    assert found["software"]["packages"]["onnxruntime"]
    assert {engine["name"] for engine in found["engines"]} >= {"onnxruntime", "openvino"}
    for diagnosis in found["diagnoses"]:
        assert diagnosis["problem"] and diagnosis["remedy"]


def test_text_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for heading in ("Machine", "Engines, best first", "Microphones"):
        assert f"\n{heading}\n" in f"\n{out}"
    assert "onnxruntime           ready; runs" in out
    for line in out.splitlines():
        assert len(line) <= 100 or line.startswith("      "), "only a line to be copied may be long"


def test_profiles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--profiles"]) == 0
    out = capsys.readouterr().out
    assert "raspberry-pi-5      Raspberry Pi 5\n" in out and "jetson-agx-thor" in out


def test_profiles_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--profiles", "--json", str(tmp_path / "x.json")]) == 0
    listed = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert {"name": "raspberry-pi-5", "title": "Raspberry Pi 5"} in listed
    assert len(capsys.readouterr().out.splitlines()) == len(listed)

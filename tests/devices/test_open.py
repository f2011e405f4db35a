"""``wav2edge.open`` and ``wav2edge.Transcriber`` run what the command line would run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import wav2edge
from wav2edge.cli import main
from wav2edge.devices import choice, tuning
from wav2edge.devices import open as open_module
from wav2edge.devices import profile as profiles
from wav2edge.devices.detect import detect
from wav2edge.devices.tuning import Measurement, Tuning
from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import Arrays, EngineOptions
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.recordings.transcriber import Transcriber


def test_it_follows_what_was_measured_on_this_machine(
    shapes_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engines.get("null"), "PURPOSE", "inference")
    measured = Measurement("null", "fp32", 3, 0.1)
    tuning.save(shapes_bundle, detect(), Tuning(measured, (measured,), "2026-11-23T00:00:00"))
    with wav2edge.Transcriber(shapes_bundle.path) as transcriber:
        assert (transcriber.model.engine, transcriber.options.threads) == ("null", 3)
        assert isinstance(transcriber, Transcriber)
        assert transcriber(np.zeros(16000, np.float32)).text == ""


def test_it_follows_the_profile_and_what_is_named() -> None:
    bundle = Bundle.open(embedded.bundle_path())
    expected = choice.choose(bundle)
    with wav2edge.Transcriber() as transcriber:
        assert (transcriber.model.engine, transcriber.model.variant.name) == (expected.engine, expected.variant.name)
        assert transcriber.options.threads == expected.threads
    with wav2edge.open(variant="fp32", engine="onnxruntime", threads=1) as model:
        assert (model.engine, model.variant.name, model.options.threads) == ("onnxruntime", "fp32", 1)


class Nothing:
    """A session of an engine that this machine does not have."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def run(self, feeds: Arrays) -> Arrays:
        raise EngineError("it is never run")

    def close(self) -> None: ...


@pytest.mark.parametrize("name", ["jetson-orin-nano", "raspberry-pi-5", "x86-laptop"])
def test_listen_does_what_the_command_does(
    board: Callable[[str], Path], clips: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """From Python it tried ONNX Runtime and OpenVINO only, with default windows: a Jetson captioned on its CPU."""
    machine = detect(board(name))
    for module in (choice, open_module):
        monkeypatch.setattr(module, "detect", lambda: machine)
    monkeypatch.setattr(engines, "missing", lambda engine: None)
    loaded: list[tuple[object, ...]] = []
    ready: list[LiveTranscriber] = []

    def load(bundle: Bundle, variant: object, *given: object) -> Nothing:
        loaded.append(given)
        return Nothing()

    monkeypatch.setattr(engines, "load", load)

    def stop(live: LiveTranscriber, *given: object) -> None:
        ready.append(live)
        raise InputError("enough")

    monkeypatch.setattr(LiveTranscriber, "session", stop)
    assert main(["listen", "--file", str(clips[0][0]), "--fast"]) == 2
    by_command, loaded[:] = list(loaded), []
    with pytest.raises(InputError, match="enough"):
        wav2edge.listen(source=clips[0][0])
    assert loaded == by_command
    command, python = ready
    assert (python.model.engine, python.model.variant) == (command.model.engine, command.model.variant)
    assert python.settings == command.settings
    profile = profiles.for_machine(machine)
    assert python.settings.hop == profile.hop.value
    assert python.settings.left_context == profile.window.value - profile.hop.value
    if name.startswith("jetson"):
        assert python.model.engine.startswith("tensorrt")


@pytest.mark.parametrize("threads", [0, -1, 1025, 1.5, True, "2"])
def test_threads_that_no_engine_takes_are_refused(threads: object) -> None:
    """They were given to the engine, which failed without a reason, or took another number."""
    with pytest.raises(InputError, match="give a whole number from 1 to 1024"):
        wav2edge.open(threads=threads)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"threads=.*: give a whole number"):
        EngineOptions(threads=threads)  # type: ignore[arg-type]

"""An interrupted run goes on where it stopped, with the same result; what is damaged or foreign is computed again."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wav2edge.calibration import resume
from wav2edge.calibration.clips import choose_speech
from wav2edge.calibration.gate import Budget
from wav2edge.calibration.quantize import Options, quantize
from wav2edge.calibration.resume import run_key
from wav2edge.calibration.work import Series, Work
from wav2edge.devices.cpu import Cpu
from wav2edge.devices.detect import detect
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle

DEV = embedded.clips_manifest()
ONE = Options(variants=("int8-u8s8",), timed_seconds=1.0, threads=1, limit=2, dev_limit=3)
STRICT = dataclasses.replace(ONE, budget=Budget(50.0, 99.0))
"""With a search of some candidates."""
KILLED = """
import os, signal, sys
from wav2edge.calibration import resume, work
from wav2edge.calibration.quantize import quantize
from wav2edge.runtime.bundle.read import Bundle
from test_work import STRICT, brief
import pytest
brief(pytest.MonkeyPatch())
work.EVERY = 0.0
def progress(stage, done, total):
    if stage == sys.argv[4] and done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
quantize(Bundle.open(sys.argv[1]), sys.argv[2], sys.argv[3], STRICT, progress)
"""


def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of a few seconds."""
    monkeypatch.setattr("wav2edge.calibration.sensitivity.SECONDS", 1.0)
    monkeypatch.setattr("wav2edge.calibration.judge.Judge.latency_ratio", lambda *_: (0.5, 1.0))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without the work of other tests."""
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """The built-in clips under other paths, to calibrate on."""
    shutil.copytree(DEV.parent, tmp_path / "clips")
    return tmp_path / "clips" / DEV.name


def content(bundle: Bundle) -> dict[str, bytes]:
    """The files of the variants that were made."""
    return {path.name: path.read_bytes() for path in bundle.path.glob("int8*")}


def counted(bundle: Bundle, speech: Path, options: Options) -> tuple[Counter[str], list[str], dict[str, bytes]]:
    """Quantise: the steps of each stage, what is said, and what was made."""
    steps: Counter[str] = Counter()
    said: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        steps[stage] += done < total

    made = quantize(bundle, speech, DEV, options, progress, say=said.append)
    assert made.refused is None
    return steps, said, content(made.bundle)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_search_goes_on_with_the_same_result(
    own_bundle: Bundle, twin: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief(monkeypatch)
    shutil.copytree(own_bundle.path, tmp_path / "whole")
    all_steps, said, whole = counted(Bundle.open(tmp_path / "whole"), twin, STRICT)
    assert len(said) == 1 and not list(own_cache.glob("quantize/*")), "what is over is not kept"
    candidates = [stage for stage in all_steps if "candidate" in stage]
    assert len(candidates) > 1, "nothing was searched"
    paths = os.pathsep.join([str(Path(__file__).parent), *(path for path in sys.path if path)])
    command = [sys.executable, "-c", KILLED, str(own_bundle.path), str(twin), str(DEV), candidates[-1]]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, timeout=280, check=False)
    assert done.returncode == -signal.SIGKILL
    steps, said, resumed = counted(own_bundle, twin, STRICT)
    assert said[0].startswith("goes on where an interrupted run of the same command stopped")
    assert resumed == whole
    assert all_steps["calibrating"] == 2 and all_steps["fp32: transcribing the clips that judge"] == 3
    assert +steps == {candidates[-1]: 1}, "more was computed than the one clip that was missing"
    assert not list(own_cache.glob("quantize/*"))


def test_other_settings_recordings_or_weights_are_other_runs(fp32_bundle: Bundle, twin: Path) -> None:
    speech = choose_speech(fp32_bundle.spec, twin, DEV, 10.0, 3, 3)
    other = choose_speech(fp32_bundle.spec, twin, DEV, 10.0, 2, 3)
    fp32 = dataclasses.replace(fp32_bundle.variants[0], sha256={"fp32.onnx": "0"})
    keys = {
        run_key(fp32_bundle, speech, ONE),
        run_key(fp32_bundle, speech, dataclasses.replace(ONE, method="entropy")),
        run_key(fp32_bundle, other, ONE),
        run_key(dataclasses.replace(fp32_bundle, variants=(fp32,)), speech, ONE),
    }
    assert len(keys) == 4
    assert run_key(fp32_bundle, choose_speech(fp32_bundle.spec, twin, DEV, 10.0, 3, 3), ONE) in keys


@pytest.mark.parametrize(
    "change",
    [
        lambda cpu: dataclasses.replace(cpu, name="another"),
        lambda cpu: dataclasses.replace(cpu, features=("avx512-vnni", "another")),
        lambda cpu: dataclasses.replace(cpu, allowed=7, fast=7, quota=None),
    ],
)
def test_another_processor_is_another_run(
    fp32_bundle: Bundle, twin: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Cpu], Cpu]
) -> None:
    """In a home directory on the network the outputs of one processor were taken for those of another."""
    speech = choose_speech(fp32_bundle.spec, twin, DEV, 10.0, 3, 3)
    here = run_key(fp32_bundle, speech, ONE)
    machine = detect()
    other = dataclasses.replace(machine, cpu=change(machine.cpu))
    monkeypatch.setattr(resume, "detect", lambda: other)
    assert run_key(fp32_bundle, speech, ONE) != here
    monkeypatch.undo()
    assert run_key(fp32_bundle, speech, ONE) == here


def test_what_is_damaged_or_of_another_part_is_missing(tmp_path: Path) -> None:
    kept = Work(tmp_path)
    series = Series(kept, "x")
    for value in range(3):
        series.add(np.full((2, 2), value, np.float32))
        series.close()
    assert [int(array[0, 0]) for array in Series(kept, "x").arrays] == [0, 1, 2]
    first, second = kept._file("x 0"), kept._file("x 1")
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    assert [int(array[0, 0]) for array in Series(kept, "x").arrays] == [0]
    first.write_bytes(kept._file("x 2").read_bytes())
    assert Series(kept, "x").arrays == [], "a part under another name was used"
    second.write_bytes(b"")
    assert kept.read("x 1") is None
    series.drop()
    assert not list(tmp_path.iterdir())


def test_two_runs_of_one_kind_do_not_share_their_work(own_bundle: Bundle, twin: Path) -> None:
    speech = choose_speech(own_bundle.spec, twin, DEV, 10.0, 3, 3)
    with resume.kept_work(own_bundle, speech, ONE) as first, resume.kept_work(own_bundle, speech, ONE) as second:
        assert first.folder is not None and second.folder is None
        second.write("x", {})
        assert second.read("x") is None


def test_what_was_never_taken_up_is_removed_in_the_end(own_bundle: Bundle, twin: Path, own_cache: Path) -> None:
    old, new = own_cache / "quantize" / "old", own_cache / "quantize" / "new"
    for folder in (old, new):
        folder.mkdir(parents=True, mode=0o700)
        (folder / "x.npz").touch()
    own_cache.chmod(0o700)
    for path in (old / "x.npz", old):
        os.utime(path, (1, 1))
    with resume.kept_work(own_bundle, choose_speech(own_bundle.spec, twin, DEV, 10.0, 3, 3), ONE):
        assert not old.exists() and new.exists()

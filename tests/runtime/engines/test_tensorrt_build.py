"""Real engines, built by TensorRT for RTX, which parses and builds with no GPU; nothing here runs one.

What a GPU must show is in tests/gpu.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.write import describe_variant
from wav2edge.runtime.engines import EngineOptions, _gpu
from wav2edge.runtime.engines._profiles import ShapeProfile
from wav2edge.runtime.engines._tensorrt import engine, flavor, proof, store
from wav2edge.runtime.errors import EngineError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason='needs `pip install "wav2edge[rtx]"` (x86-64, aarch64)'
    ),
]
_Popen = subprocess.Popen
SHORT = EngineOptions(longest_seconds=1.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(bundle: Bundle, name: str, stage: str = "full", options: EngineOptions = SHORT) -> tuple[Path, list[str]]:
    said: list[str] = []
    module: Any = engines.get("tensorrt-rtx")
    return module.build(bundle, bundle.variant(name), stage, options, said.append), said


@pytest.mark.parametrize("stage", ["full", "frontend", "encoder"])
@pytest.mark.parametrize("name", ["fp32", "fp16", "bf16", "int8-s8s8"])
def test_every_scheme_and_stage_builds(small_bundle: Bundle, name: str, stage: str) -> None:
    path, said = build(small_bundle, name, stage)
    assert path.stat().st_size > 100_000
    assert any("building 1 length range" in line for line in said)
    assert len(list(path.parent.glob("*.engine"))) == 1


def test_a_built_engine_is_found_again_and_unproven_without_a_gpu(small_bundle: Bundle) -> None:
    path, _ = build(small_bundle, "fp32")
    before = path.stat().st_mtime_ns
    again, said = build(small_bundle, "fp32")
    assert (again, said, path.stat().st_mtime_ns) == (path, [], before)
    if _gpu.missing() is not None:
        assert b'"proven": false' in path.read_bytes()[:4000]


def test_several_ranges_and_a_live_window_build(small_bundle: Bundle) -> None:
    _, said = build(small_bundle, "int8-s8s8", options=EngineOptions(longest_seconds=4.0, window_seconds=1.5))
    assert any("building 4 length ranges" in line for line in said)


def test_the_parsers_error_names_the_node(small_bundle: Bundle, tmp_path: Path) -> None:
    write_graph(tmp_path / "spoiled.onnx", spoiled=True)
    variant = describe_variant(tmp_path, "fp32", "fp32", {"full": "spoiled.onnx"})
    bundle = dataclasses.replace(small_bundle, path=tmp_path, variants=(variant,))
    with pytest.raises(EngineError, match=r"cannot parse spoiled.onnx: node strange \(Strange\)"):
        build(bundle, "fp32")
    assert list((tmp_path / "cache" / "engines").glob("*.engine")) == []


def test_a_refused_variant_says_what_to_use(small_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="INT8 only as s8s8, not u8s8; use int8-s8s8"):
        build(small_bundle, "int8-u8s8")


@pytest.mark.parametrize("spoil", ["truncate", "foreign", "version"])
def test_a_spoiled_cache_is_rebuilt_with_the_reason(small_bundle: Bundle, spoil: str) -> None:
    path, _ = build(small_bundle, "fp32")
    whole = path.read_bytes()
    if spoil == "truncate":
        path.write_bytes(whole[: len(whole) // 2])
    elif spoil == "foreign":
        path.write_bytes(b"not an engine at all\n" * 50)
    else:
        version = flavor.version(flavor.RTX).encode()
        assert version in whole[:4000]
        path.write_bytes(whole.replace(b'"version": "' + version, b'"version": "1.0.0.1', 1))
    _, said = build(small_bundle, "fp32")
    words = {"truncate": "truncated", "foreign": "not an engine of wav2edge", "version": "made with version 1.0.0.1"}
    assert any(words[spoil] in line and "building it again" in line for line in said)
    assert store.read(_key(small_bundle)).plan is not None


def test_a_crash_of_the_builder_is_an_error_message(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT's builder has died with SIGSEGV on graphs it did not like; the caller must continue."""
    crash = "import os, signal, sys; sys.stdin.readline(); print('going down', file=sys.stderr, flush=True); "
    _replace_builder(monkeypatch, crash + "os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(EngineError, match=r"was killed by SIGSEGV while building fp32.full.onnx: going down"):
        build(small_bundle, "fp32")
    _replace_builder(monkeypatch, "import sys; sys.exit(4)")
    with pytest.raises(EngineError, match="ended with status 4"):
        build(small_bundle, "fp32")


def test_an_engine_that_fails_the_selftest_is_not_kept(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flavor, "cannot_run", lambda _: None)
    monkeypatch.setattr(engine, "_gpu_facts", lambda _: None)
    monkeypatch.setattr(engine, "_cuda", lambda _: None)
    monkeypatch.setattr(engine, "_open", lambda *_: NaNSession())
    with pytest.raises(EngineError, match="not finite in logits for 16000 steps, so it is not kept"):
        build(small_bundle, "fp32")
    assert not _key(small_bundle).path.exists()


def test_two_processes_build_once(small_bundle: Bundle, own_cache: Path) -> None:
    processes = [_build_in_a_process(small_bundle) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    said = "".join(error for _, error in outputs)
    assert said.count("building 1 length range") == 1
    assert said.count("another process is building it; waiting") == 1
    assert len(list((own_cache / "engines").glob("*.engine"))) == 1


def test_kill_midway_leaves_nothing_that_is_trusted(small_bundle: Bundle, own_cache: Path) -> None:
    process = _build_in_a_process(small_bundle)
    assert process.stderr is not None
    while "Building engine" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert process.stdout is not None
    process.stdout.close()
    assert list((own_cache / "engines").glob("*.engine")) == []
    path, said = build(small_bundle, "fp32")
    assert any("building 1 length range" in line for line in said)
    assert store.read(_key(small_bundle)).plan is not None
    assert list(path.parent.glob(".*")) == [], "what the killed process left was not cleared"


def test_the_builder_dies_with_its_parent(small_bundle: Bundle) -> None:
    process = _build_in_a_process(small_bundle)
    assert process.stderr is not None and process.stdout is not None
    while "Building engine" not in process.stderr.readline():
        pass
    children = _children(process.pid)
    assert children
    process.kill()
    process.wait()
    process.stderr.close()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline, "the builder outlived its parent"
        time.sleep(0.05)


def test_a_fresh_engine_runs_every_range(small_bundle: Bundle) -> None:
    key = dataclasses.replace(_key(small_bundle), profiles=(ShapeProfile(40, 16000), ShapeProfile(16001, 32000)))
    seen: list[int] = []

    class Session(NaNSession):
        def run(self, feeds: Any) -> Any:
            seen.append(feeds["input_values"].shape[1])
            return {}

    session: Any = Session()
    proof.check(session, small_bundle, small_bundle.variant("fp32"), key)
    assert seen == [16000, 32000]


class NaNSession:
    """What a graph that overflows in FP16 looks like."""

    rest = ()

    def run(self, feeds: Any) -> Any:
        import numpy as np

        return {"logits": np.full((1, 5, 8), np.nan, np.float32)}

    def close(self) -> None:
        pass


def write_graph(path: Path, spoiled: bool) -> None:
    """A graph with an operator that no engine knows."""
    import onnx
    from onnx import TensorProto, helper

    values = helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["batch", "samples"])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "samples"])
    kind = "Strange" if spoiled else "Identity"
    node = helper.make_node(kind, ["input_values"], ["logits"], name="strange", domain="org.example")
    graph = helper.make_graph([node], "spoiled", [values], [out])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)


def _key(bundle: Bundle) -> store.Key:
    return engine._key(flavor.RTX, bundle, bundle.variant("fp32"), "full", SHORT, None)


def _replace_builder(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
        return _Popen([sys.executable, "-c", program], **options)

    monkeypatch.setattr("wav2edge.runtime.engines._tensorrt.builder.subprocess.Popen", start)


def _build_in_a_process(bundle: Bundle) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wav2edge", "build", str(bundle.path), "--engine", "tensorrt-rtx"]
    command += ["--variant", "fp32", "--longest", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False

"""OpenVINO: the same numbers, any length, a cache that is used, and errors that say what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wav2edge.devices.cpu import detect
from wav2edge.devices.tree import Tree
from wav2edge.runtime import engines, remedies
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, Stage
from wav2edge.runtime.engines import EngineOptions, _openvino_groups
from wav2edge.runtime.errors import EngineError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason='needs `pip install "wav2edge[openvino]"`'
)


@pytest.fixture(autouse=True)
def cache_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def feeds(samples: int, batch: int = 1) -> dict[str, np.ndarray]:
    values = 0.1 * np.random.default_rng(samples).standard_normal((batch, samples))
    return engines.as_feeds(values.astype(np.float32), np.full(batch, samples, dtype=np.int64))


@pytest.mark.parametrize("name", ["fp32", "fp16", "int8-s8s8", "int8-u8s8"])
def test_gives_onnxruntimes_numbers(small_bundle: Bundle, name: str) -> None:
    ours = engines.load(small_bundle, small_bundle.variant(name), "openvino")
    theirs = engines.load(small_bundle, small_bundle.variant(name), "onnxruntime")
    for samples, batch in ((800, 1), (1600, 3), (805, 2)):
        mine, other = ours.run(feeds(samples, batch)), theirs.run(feeds(samples, batch))
        assert set(mine) == set(other) == {"logits", "output_lengths"}
        assert mine["logits"].shape == other["logits"].shape
        assert mine["output_lengths"].tolist() == other["output_lengths"].tolist()
        scale = float(np.abs(other["logits"]).max())
        step = 0.05 if name.startswith("int8") else 0.01
        assert np.abs(mine["logits"].astype(np.float32) - other["logits"].astype(np.float32)).max() <= step * scale
    ours.close()
    with pytest.raises(EngineError, match="closed"):
        ours.run(feeds(800))


def test_results_stay_valid_after_the_next_run(small_bundle: Bundle) -> None:
    """The request's own buffers are used again; a first result that changed under its owner was the bug to avoid."""
    session = engines.load(small_bundle, small_bundle.variant("fp32"), "openvino")
    first = session.run(feeds(800))["logits"]
    kept = first.copy()
    session.run(feeds(801))
    assert np.array_equal(first, kept)


def test_a_new_length_compiles_nothing(small_bundle: Bundle) -> None:
    session = engines.load(small_bundle, small_bundle.variant("fp32"), "openvino")
    session.run(feeds(800))
    started = time.perf_counter()
    for samples in range(810, 1410, 20):
        session.run(feeds(samples))
    each = (time.perf_counter() - started) / 30
    compiling = time.perf_counter()
    engines.load(small_bundle, small_bundle.variant("int8-s8s8"), "openvino")
    assert each < 0.5 * (time.perf_counter() - compiling)


def test_compiled_models_go_to_the_cache_directory(small_bundle: Bundle, cache_here: Path) -> None:
    before = sorted(path.name for path in small_bundle.path.iterdir())
    engines.load(small_bundle, small_bundle.variant("fp32"), "openvino").close()
    blobs = sorted((cache_here / "openvino").rglob("*.*"))
    assert blobs, "nothing was cached"
    stamps = [path.stat().st_mtime_ns for path in blobs]
    session = engines.load(small_bundle, small_bundle.variant("fp32"), "openvino")
    assert session.run(feeds(800))["logits"].shape[1] == small_bundle.spec.frames(800)
    assert [path.stat().st_mtime_ns for path in sorted((cache_here / "openvino").rglob("*.*"))] == stamps
    assert sorted(path.name for path in small_bundle.path.iterdir()) == before


def test_stages_and_settings_have_folders_of_their_own(small_bundle: Bundle, cache_here: Path) -> None:
    """All were in one, and every load read all of them to check them."""
    for threads in (1, 2):
        for stage in small_bundle.variant("fp32").graphs:
            options = EngineOptions(threads=threads)
            engines.load(small_bundle, small_bundle.variant("fp32"), "openvino", stage, options).close()
    folders = [path.parent for path in (cache_here / "openvino").rglob("*.blob")]
    assert len(folders) == len(set(folders)) == 2 * len(small_bundle.variant("fp32").graphs)


def test_a_candidate_leaves_nothing_in_the_cache(small_bundle: Bundle, cache_here: Path) -> None:
    """A search tries dozens of variants: each left its compiled weights in the user's cache for good."""
    options = EngineOptions(keep_compiled=False)
    engines.load(small_bundle, small_bundle.variant("int8-s8s8"), "openvino", options=options).close()
    assert not list(cache_here.rglob("*.*"))


def test_runs_without_a_cache(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "file"))
    session = engines.load(small_bundle, small_bundle.variant("fp32"), "openvino")
    assert np.isfinite(session.run(feeds(800))["logits"]).all()


def test_options_reach_the_engine(small_bundle: Bundle) -> None:
    variant = small_bundle.variant("fp32")
    session = engines.load(small_bundle, variant, "openvino", options=EngineOptions(threads=1, profiling=True))
    raw = session.raw  # type: ignore[attr-defined]
    assert int(raw.get_property("INFERENCE_NUM_THREADS")) == 1
    assert raw.get_property("PERF_COUNT") in (True, "YES")
    assert "32" in str(raw.get_property("INFERENCE_PRECISION_HINT"))


def test_the_cpu_alone_loads_no_plugin_for_graphics(small_bundle: Bundle) -> None:
    """Asking for the devices that are there loads the plugins for graphics and NPUs: 19 MB for nothing."""
    program = (
        "import sys; from wav2edge.runtime import engines; from wav2edge.runtime.bundle.read import Bundle\n"
        "bundle = Bundle.open(sys.argv[1])\n"
        "engines.load(bundle, bundle.variant('fp32'), 'openvino')\n"
        "print(*{line.split('/')[-1] for line in open('/proc/self/maps') if '_plugin' in line})"
    )
    command = [sys.executable, "-c", program, str(small_bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "libopenvino_intel_cpu_plugin.so" in done.stdout
    assert "gpu" not in done.stdout and "npu" not in done.stdout


def test_what_is_kept_for_lengths_is_bounded(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory grew by 1.2 GB within 200 lengths where features are not padded, as imported graphs' are not."""
    import openvino

    given: list[dict[str, str | int]] = []
    compile_model = openvino.Core.compile_model

    def noted(core: Any, model: Any, device: str, settings: dict[str, str | int]) -> Any:
        given.append(settings)
        return compile_model(core, model, device, settings)

    monkeypatch.setattr(openvino.Core, "compile_model", noted)
    engines.load(small_bundle, small_bundle.variant("fp32"), "openvino")
    assert [settings["CPU_RUNTIME_CACHE_CAPACITY"] for settings in given] == [512]


def resident(folder: Path) -> tuple[int, int]:
    """Bytes of files in a folder that this process maps, and how many of them are in its memory."""
    sizes, here = {"Size": 0, "Rss": 0}, False
    for line in Path("/proc/self/smaps").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            here = str(folder) in line
        elif here and name in sizes:
            sizes[name] += int(value.split()[0]) * 1024
    return sizes["Size"], sizes["Rss"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
@pytest.mark.parametrize("compiled_before", [True, False])
@pytest.mark.parametrize("stage", ["full", "encoder"])
def test_weights_are_in_memory_once(stage: Stage, compiled_before: bool, cache_here: Path) -> None:
    """Packed weights and the pages of the file that they were read from took 86 MB each at base shape.

    That file is the bundle's where the model is compiled, and the cache's from the second start on.
    """
    bundle = embedded.resolve(None)
    read_from = cache_here if compiled_before else bundle.directory.resolve()
    variant, frames = bundle.variant("int8-s8s8"), 200
    rows = np.random.default_rng(0).standard_normal((1, frames, 320)).astype(np.float32)
    inputs = feeds(64000) if stage == "full" else {FEATURES: rows, FEATURE_LENGTHS: np.array([frames])}
    if compiled_before:
        engines.load(bundle, variant, "openvino", stage).close()
    session = engines.load(bundle, variant, "openvino", stage)
    size, _ = resident(read_from)
    first = session.run(inputs)
    assert size > variant.bytes / 4, "the weights are not mapped"
    assert resident(read_from)[1] < size / 2, "what is not packed is read from the file"
    again = session.run(inputs)
    np.testing.assert_array_equal(again["logits"], first["logits"])
    assert again["logits"].shape[1] > 100, "the first run is of the whole, too"


def test_a_device_that_is_not_there_is_named(small_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"no device NPU here; it has .*CPU"):
        engines.load(small_bundle, small_bundle.variant("fp32"), "openvino", options=EngineOptions(device="NPU"))


def test_bfloat16_is_refused_where_the_cpu_has_none(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    module = engines.get("openvino")
    monkeypatch.setattr(module, "_capabilities", lambda device: ["FP32", "INT8"])
    reason = module.refuses(small_bundle.spec, small_bundle.variant("bf16"))
    assert reason is not None and "int8-s8s8" in reason
    monkeypatch.setattr(module, "_capabilities", lambda device: ["FP32", "BF16"])
    assert module.refuses(small_bundle.spec, small_bundle.variant("bf16")) is None


@pytest.mark.skipif("avx512-bf16" not in detect(Tree()).features, reason="this CPU computes no bfloat16")
def test_int8_with_the_rest_in_bfloat16() -> None:
    """The file is the same as without; only what is not quantised is computed in bfloat16."""
    bundle = embedded.resolve(None)
    signed = bundle.variant("int8-s8s8")
    mixed = dataclasses.replace(signed, name="int8-s8s8-bf16", scheme="s8s8-bf16")
    one, other = (engines.load(bundle, each, "openvino") for each in (signed, mixed))
    assert "bf" in str(other.raw.get_property("INFERENCE_PRECISION_HINT"))  # type: ignore[attr-defined]
    first, second = (np.asarray(each.run(feeds(16000))["logits"], np.float64) for each in (one, other))
    assert 0 < np.abs(first - second).max() <= 0.05 * np.abs(first).max()


def test_int8_with_the_rest_in_bfloat16_is_openvinos_alone(
    small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = dataclasses.replace(small_bundle.variant("int8-s8s8"), name="int8-s8s8-bf16", scheme="s8s8-bf16")
    for name in ("onnxruntime", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx"):
        assert engines.get(name).refuses(small_bundle.spec, mixed)
    module = engines.get("openvino")
    monkeypatch.setattr(module, "_capabilities", lambda device: ["FP32", "INT8"])
    assert "int8-s8s8" in str(module.refuses(small_bundle.spec, mixed))
    monkeypatch.setattr(module, "_capabilities", lambda device: ["FP32", "BF16"])
    assert module.refuses(small_bundle.spec, mixed) is None


def test_of_two_int8_variants_the_one_with_bfloat16_is_tried_first(small_bundle: Bundle) -> None:
    signed = dataclasses.replace(small_bundle.variant("int8-s8s8"), preferred_by=("openvino",))
    mixed = dataclasses.replace(signed, name="int8-s8s8-bf16", scheme="s8s8-bf16")
    both = dataclasses.replace(small_bundle, variants=(small_bundle.variant("fp32"), signed, mixed))
    assert [variant.name for variant in both.ranked("openvino")] == ["int8-s8s8-bf16", "int8-s8s8", "fp32"]
    assert [variant.name for variant in both.ranked("onnxruntime")] == ["fp32", "int8-s8s8", "int8-s8s8-bf16"]
    removed = dataclasses.replace(mixed, name="int8-s8s8-bf16-compressed")
    assert dataclasses.replace(both, variants=(signed, removed)).ranked("openvino")[0] is signed


def test_the_cpu_may_be_written_in_any_case(small_bundle: Bundle) -> None:
    """ONNX Runtime took ``--device cpu``; here it was a device that does not exist."""
    session = engines.load(small_bundle, small_bundle.variant("fp32"), "openvino", options=EngineOptions(device="cpu"))
    assert np.isfinite(session.run(feeds(800))["logits"]).all()


@pytest.mark.parametrize(("device", "count"), [("AUTO", 1), ("HETERO:CPU", 1), ("CPU", 1), ("AUTO:GPU", 0)])
def test_what_the_cpu_computes_wrongly_is_rewritten_on_devices_that_use_it(
    device: str, count: int, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AMX, AUTO ran groups of few channels as they are in the file, and their numbers were wrong."""
    joined: list[bool] = []
    monkeypatch.setattr(_openvino_groups, "needed", lambda: True)
    monkeypatch.setattr(_openvino_groups, "join_groups", lambda model, bfloat16: joined.append(bfloat16))
    with contextlib.suppress(EngineError):  # AUTO:GPU where no GPU is
        engines.load(small_bundle, small_bundle.variant("int8-s8s8"), "openvino", options=EngineOptions(device=device))
    assert len(joined) == count


def test_missing_package_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert remedies.install("openvino") in str(engines.get("openvino").unavailable())


def test_a_damaged_graph_is_one_line(small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x00not a graph" * 10)
    monkeypatch.setattr(Bundle, "graph", lambda *_: broken)
    with pytest.raises(EngineError, match=r"openvino cannot load broken\.onnx") as caught:
        engines.get("openvino").load(small_bundle, small_bundle.variant("fp32"), "full", EngineOptions())
    assert "\n" not in str(caught.value)


def test_processes_that_compile_at_once_do_not_read_each_others_half(small_bundle: Bundle, tmp_path: Path) -> None:
    """Each removed what it did not know, also what another was writing: errors, and bus errors."""
    code = (
        "import sys; from wav2edge.runtime import engines; from wav2edge.runtime.bundle.read import Bundle; "
        "b = Bundle.open(sys.argv[1]); engines.load(b, b.variant('fp32'), 'openvino').close()"
    )
    for turn in range(2):
        environment = {**os.environ, "WAV2EDGE_CACHE": str(tmp_path / f"cold-{turn}")}
        running = [
            subprocess.Popen([sys.executable, "-c", code, str(small_bundle.path)], env=environment) for _ in range(5)
        ]
        assert [process.wait(120) for process in running] == [0] * 5

"""ONNX Runtime runs where it was asked to, or says so; and the engine layer costs next to nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime import engines, model
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions, _gpu, _ort
from wav2edge.runtime.errors import DeviceError, EngineError, InputError


def test_runs_every_scheme_it_accepts(small_bundle: Bundle) -> None:
    values = (0.1 * np.random.default_rng(0).standard_normal((2, 800))).astype(np.float32)
    feeds = engines.as_feeds(values, np.array([800, 500]))
    reference: NDArray[np.float32] = np.zeros(0, np.float32)
    for name in ("fp32", "fp16", "int8-s8s8", "int8-u8s8"):
        session = engines.load(small_bundle, small_bundle.variant(name), "onnxruntime")
        outputs = session.run(feeds)
        frames = small_bundle.spec.frames(800)
        assert outputs["logits"].shape == (2, frames, 8)
        assert outputs["output_lengths"].tolist() == [frames, small_bundle.spec.frames(500)]
        if name == "fp32":
            reference = outputs["logits"].astype(np.float32)
        elif name == "fp16":
            assert np.abs(outputs["logits"].astype(np.float32) - reference).max() < 5e-3
        session.close()
        with pytest.raises(EngineError, match="closed"):
            session.run(feeds)


def test_a_provider_that_leaves_the_graph_to_the_cpu_is_an_error(small_bundle: Bundle) -> None:
    """Azure's provider is in every wheel, accepts the session and runs nothing: the purest silent fallback."""
    import onnxruntime as ort

    if "AzureExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this onnxruntime was built without the Azure provider")
    with pytest.raises(EngineError, match=r"leaves .*Conv.* to the CPU"):
        engines.load(small_bundle, small_bundle.variant("fp32"), "onnxruntime", options=EngineOptions(device="Azure"))


def test_threads_do_not_spin_unless_told_to_for_a_moment(small_bundle: Bundle) -> None:
    """For 30 ms, as by default, two virtual processors took up to twice as long: a loop has the time of a worker."""
    for spin, key, value in ((False, "allow_spinning", "0"), (True, "spin_duration_us", "200")):
        options = EngineOptions(spin=spin)
        session = engines.load(small_bundle, small_bundle.variant("fp32"), "onnxruntime", options=options)
        settings = session.raw.get_session_options()  # type: ignore[attr-defined]
        assert settings.get_session_config_entry(f"session.intra_op.{key}") == value


def test_threads_of_versions_that_cannot_limit_it_do_not_spin(
    small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a version knows no key of a duration, and would spin for 30 ms."""
    import onnxruntime as ort

    monkeypatch.setattr(ort, "__version__", "1.23.2")
    options = EngineOptions(spin=True)
    session = engines.load(small_bundle, small_bundle.variant("fp32"), "onnxruntime", options=options)
    settings = session.raw.get_session_options()  # type: ignore[attr-defined]
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(("small_bytes", "large"), [(1, True), (10**9, False)])
def test_large_models_spin_and_keep_their_memory(
    small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, small_bytes: int, large: bool
) -> None:
    monkeypatch.setattr(model, "SMALL_BYTES", small_bytes)
    options = model.options_by_size(small_bundle.variant("fp32"), threads=1)
    assert options == EngineOptions(threads=1, keep_memory=large, spin=large)


@pytest.mark.parametrize(
    ("device", "engine"), [("GPU.7", "openvino"), ("NPU", "openvino"), ("cuda:9", "onnxruntime-cuda and of tensorrt")]
)
def test_another_engines_device_names_that_engine(small_bundle: Bundle, device: str, engine: str) -> None:
    """`--device GPU`, as the help names it, without an engine was a provider that does not exist."""
    with pytest.raises(DeviceError, match=rf"It is a device of {engine}: name the engine too"):
        engines.load(small_bundle, small_bundle.variant("fp32"), "onnxruntime", options=EngineOptions(device=device))


def test_an_unknown_provider_is_named_with_those_there_are(small_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"no provider 'TPU' here; it has .*CPUExecutionProvider"):
        engines.load(small_bundle, small_bundle.variant("fp32"), "onnxruntime", options=EngineOptions(device="TPU"))


def test_shape_work_on_the_cpu_is_no_fallback() -> None:
    class Node:
        def __init__(self, kind: str) -> None:
            self.op_type = kind

    class Part:
        def __init__(self, provider: str, kinds: list[str]) -> None:
            self.ep_name, self._kinds = provider, kinds

        def get_nodes(self) -> list[Node]:
            return [Node(kind) for kind in self._kinds]

    class Session:
        def __init__(self, *parts: Part) -> None:
            self._parts = parts

        def get_provider_graph_assignment_info(self) -> tuple[Part, ...]:
            return self._parts

    gpu = Part("CUDAExecutionProvider", ["Conv", "MatMul"])
    assert _ort.strays_on_cpu(Session(gpu, Part(_ort.CPU, ["Shape", "Gather", "Concat"]))) == []
    assert _ort.strays_on_cpu(Session(gpu, Part(_ort.CPU, ["Shape", "Softmax", "Conv"]))) == ["Conv", "Softmax"]
    assert _ort.strays_on_cpu(object()) == []


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx"])
def test_gpu_engines_say_what_is_missing_where_there_is_no_gpu(small_bundle: Bundle, name: str) -> None:
    if _gpu.missing() is None:
        pytest.skip("this machine has a GPU; tests/gpu runs these engines")
    reason = engines.get(name).unavailable()
    assert reason is not None
    assert any(word in reason for word in ("NVIDIA", "pip install"))
    with pytest.raises(EngineError, match=f"engine {name}:"):
        engines.load(small_bundle, small_bundle.variant("fp32"), name)


def test_integer_variants_are_refused_where_no_integer_kernel_would_run(small_bundle: Bundle) -> None:
    spec, variants = small_bundle.spec, {variant.name: variant for variant in small_bundle.variants}
    assert engines.get("onnxruntime-cuda").refuses(spec, variants["int8-s8s8"]) is not None
    assert engines.get("onnxruntime-cuda").refuses(spec, variants["fp16"]) is None
    for name in ("tensorrt", "tensorrt-rtx", "onnxruntime-tensorrt"):
        assert "s8s8" in str(engines.get(name).refuses(spec, variants["int8-u8s8"]))
        assert engines.get(name).refuses(spec, variants["int8-s8s8"]) is None
    assert "bfloat16" in str(engines.get("onnxruntime").refuses(spec, variants["bf16"]))


def test_an_engine_that_does_not_exist_is_named(small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no engine 'tflite'; there are"):
        engines.get("tflite")


def test_the_engine_layer_adds_little(shapes_bundle: Bundle) -> None:
    """At most 0.3 ms for a call: the null engine on 10 s of audio, median of 1 000."""
    session = engines.load(shapes_bundle, shapes_bundle.variant("fp32"), "null")
    values, lengths = np.zeros((1, 160_000), np.float32), np.array([160_000])
    times = []
    for _ in range(1000):
        started = time.perf_counter()
        session.run(engines.as_feeds(values, lengths))
        times.append(time.perf_counter() - started)
    assert statistics.median(times) <= 0.3e-3


_HELD = """
import sys
import numpy as np
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.model import Model

def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

options = EngineOptions(threads=1, keep_memory=sys.argv[1] == "kept")
with Model(Bundle.open(embedded.bundle_path()), "onnxruntime", "int8-u8s8", options) as model:
    model.logits([np.full(16000, 0.1, np.float32)])
    before = held()
    model.logits([np.resize(np.float32([0.1, -0.1, 0.0]), 480000)])
    model.logits([np.full(16000, 0.1, np.float32)])
    print(held() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_the_memory_of_a_long_run_is_given_back_where_it_is_not_to_be_kept() -> None:
    """A pool without that held 70 MB more after a window of 30 s; no pool at all took three times as long."""

    def megabytes(how: str) -> float:
        return float(subprocess.run([sys.executable, "-c", _HELD, how], check=True, capture_output=True).stdout)

    assert megabytes("given-back") < megabytes("kept") - 30

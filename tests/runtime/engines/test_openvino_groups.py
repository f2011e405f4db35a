"""Groups of a convolution with few channels are joined: the right numbers on every CPU, AMX ones among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.devices.detect import detect  # noqa: E402
from wav2edge.runtime.engines._openvino_groups import join_groups, needed  # noqa: E402
from wav2edge.runtime.errors import EngineError  # noqa: E402

SCALE = 0.03


def model(groups: int, channels: int, taps: int = 16, *, signed: bool = True, quantized: bool = True) -> Any:
    """A positional convolution [1, groups x channels, frames], its input and weights in INT8 or both float."""
    from openvino import opset13 as operators

    random = np.random.default_rng(0)

    def number(value: float) -> Any:
        return operators.constant(np.float32(value))

    x = values = operators.parameter([1, groups * channels, -1], np.float32)
    shape = (groups * channels, channels, taps)
    grouped = operators.constant(np.array([groups, channels, channels, taps]))
    integers = random.integers(-127, 128, shape).astype(np.int8)
    scales = random.uniform(0.001, 0.01, (groups * channels, 1, 1)).astype(np.float32)
    if quantized:
        low = -128.0 if signed else 0.0
        bounds = [number(-128 * SCALE), number(127 * SCALE), number(low), number(low + 255)]
        stored = operators.convert(operators.fake_quantize(x, *bounds, 256), "i8" if signed else "u8")
        centred = operators.subtract(operators.convert(stored, "f32"), number(0 if signed else 128))
        values = operators.multiply(centred, number(SCALE))
        weights = operators.multiply(operators.convert(operators.constant(integers), "f32"), operators.constant(scales))
    else:
        weights = operators.constant(integers * scales)
    weights = operators.reshape(weights, grouped, False)
    pads = [taps // 2], [taps - 1 - taps // 2]
    return openvino.Model([operators.group_convolution(values, weights, [1], *pads, [1])], [x])


def convolved(groups: int, channels: int, taps: int, samples: np.ndarray) -> np.ndarray:
    """What the model of INT8 gives, by numpy, for [1, groups x channels, frames]."""
    random = np.random.default_rng(0)
    weights = random.integers(-127, 128, (groups * channels, channels, taps)).astype(np.int8)
    real = weights * random.uniform(0.001, 0.01, (groups * channels, 1, 1))
    values = np.clip(np.round(samples[0] / SCALE), -128, 127) * SCALE
    padded = np.pad(values, ((0, 0), (taps // 2, taps - 1 - taps // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=1)  # [channels, frames, taps]
    parts = zip(windows.reshape(groups, channels, -1, taps), real.reshape(groups, channels, channels, taps))
    return np.concatenate([np.einsum("cft,oct->of", window, weight) for window, weight in parts])[None]


def run(graph: Any, samples: np.ndarray, precision: str = "f32") -> np.ndarray:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    result: np.ndarray = compiled([samples])[0].copy()
    return result


def noise(groups: int, channels: int, frames: int = 49) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((1, groups * channels, frames)).astype(np.float32)


@pytest.mark.skipif(
    detect().cpu.saturates,
    reason="on x86 without VNNI OpenVINO's sums of INT8 products saturate",
)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize(
    ("groups", "channels", "taps", "joined"),
    [
        (16, 24, 128, True),
        (4, 8, 16, True),
        (4, 16, 8, True),
        (3, 12, 32, True),
        (2, 16, 20, True),
        (2, 40, 31, False),
        (2, 64, 1, False),
        (4, 80, 1, True),
        (8, 72, 1, True),
        (2, 160, 1, True),
        (2, 80, 3, False),
        (2, 128, 1, False),
    ],
)
def test_integers_give_the_right_numbers(groups: int, channels: int, taps: int, joined: bool, signed: bool) -> None:
    graph = model(groups, channels, taps, signed=signed)
    assert join_groups(graph) == joined
    samples = noise(groups, channels)
    expected = convolved(groups, channels, taps, samples)
    np.testing.assert_allclose(run(graph, samples), expected, atol=1e-3 * expected.std())


def test_joins_no_more_groups_than_needed() -> None:
    graph = model(16, 24)
    join_groups(graph)
    [weights] = [node.input_value(1) for node in graph.get_ops() if "Convolution" in node.get_type_name()]
    assert list(weights.get_shape()) == [8, 48, 48, 16]


def test_float_weights_are_joined_for_bfloat16_only() -> None:
    assert join_groups(model(4, 8, quantized=False)) == 0
    assert join_groups(model(2, 72, 1, quantized=False), bfloat16=True) == 0
    graph, samples = model(4, 8, quantized=False), noise(4, 8)
    assert join_groups(graph, bfloat16=True) == 1
    expected = run(model(4, 8, quantized=False), samples)
    np.testing.assert_allclose(run(graph, samples), expected, atol=1e-4 * expected.std())
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        np.testing.assert_allclose(run(graph, samples, "bf16"), expected, atol=0.05 * expected.std())


def test_what_cannot_be_joined_is_refused() -> None:
    with pytest.raises(EngineError, match=r"16 taps and 16 channels .* AMX; use --engine onnxruntime"):
        join_groups(model(1, 16))
    with pytest.raises(EngineError, match=r"1 tap and 72 channels in a group"):
        join_groups(model(2, 72, 1))


def test_needed_on_cpus_with_amx() -> None:
    assert needed(frozenset({"avx512f", "amx_int8", "amx_tile"}))
    assert not needed(frozenset({"avx512f", "avx512_vnni"}))

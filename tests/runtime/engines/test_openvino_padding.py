"""A long convolution's padding before it: the same numbers, from few kernels, and only where it is quantised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.runtime.engines._openvino_padding import pad_before  # noqa: E402

GROUPS, SIZE = 2, 4


def model(taps: int = 16, quantized: bool = True, padded: bool = True) -> Any:
    """A positional convolution [1, 8, frames] in two groups, its input and weights in INT8."""
    from openvino import opset13 as operators

    random = np.random.default_rng(0)

    def number(value: float) -> Any:
        return operators.constant(np.float32(value))

    x = values = operators.parameter([1, GROUPS * SIZE, -1], np.float32)
    if quantized:
        bounds = [number(-3.84), number(3.81), number(-128), number(127)]
        stored = operators.convert(operators.fake_quantize(x, *bounds, 256), "i8")
        values = operators.multiply(operators.convert(stored, "f32"), number(0.03))
    weights = operators.constant(random.integers(-127, 128, (GROUPS, SIZE, SIZE, taps)).astype(np.int8))
    scales = operators.constant(random.uniform(0.001, 0.01, (GROUPS, SIZE, 1, 1)).astype(np.float32))
    real = operators.multiply(operators.convert(weights, "f32"), scales)
    pads = ([taps // 2], [taps - 1 - taps // 2]) if padded else ([0], [0])
    return openvino.Model([operators.group_convolution(values, real, [1], *pads, [1])], [x])


def run(graph: Any, samples: np.ndarray) -> np.ndarray:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result: np.ndarray = compiled([samples])[0].copy()
    return result


@pytest.mark.parametrize("frames", [1, 7, 40])
def test_gives_the_same_numbers(frames: int) -> None:
    samples = np.random.default_rng(1).standard_normal((1, GROUPS * SIZE, frames)).astype(np.float32)
    changed = model()
    assert pad_before(changed) == 1
    padding = [
        node.get_attributes()["pads_begin"] for node in changed.get_ops() if "Convolution" in node.get_type_name()
    ]
    assert padding == [[0]]
    found = run(changed, samples)
    assert found.shape == samples.shape
    np.testing.assert_allclose(found, run(model(), samples), atol=1e-5)


@pytest.mark.parametrize("graph", [model(taps=3), model(quantized=False), model(padded=False)])
def test_other_convolutions_stay_as_they_are(graph: Any) -> None:
    assert pad_before(graph) == 0

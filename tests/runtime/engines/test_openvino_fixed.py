"""Convolutions in place of products for one fixed length: the same numbers, and only where they are known to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.runtime.engines import _openvino_unsigned  # noqa: E402
from wav2edge.runtime.engines._openvino_copies import spare_copies  # noqa: E402
from wav2edge.runtime.engines._openvino_fixed import fix_length, gains  # noqa: E402

CHANNELS, FRAMES = 512, 48


def front_end(
    channels: int = CHANNELS, kernels: tuple[int, ...] = (3, 2, 2), quantized: bool = True, first: str = ""
) -> Any:
    """Frames [batch, frames, channels], given as samples, through products over windows that are 2 apart, with GELU.

    quantized: whether the weights are INT8, as in a bundle. first: the frames are made of windows of single samples,
    each with a one at its end (``one``) or without (``bare``).
    """
    from openvino import opset13 as operators

    random = np.random.default_rng(0)
    samples = operators.parameter([-1, -1], np.float32, "normalized")
    frames: Any = operators.reshape(samples, np.array([0, -1, channels]), True)
    if first:
        rows = windows(operators.unsqueeze(samples, np.array([2])), 1, 3)
        if first == "one":
            rows = operators.pad(rows, np.zeros(3, int), np.array([0, 0, 1]), "constant", np.float32(1))
        weights = random.normal(0, 0.3, (4 if first == "one" else 3, channels)).astype(np.float32)
        frames = operators.gelu(operators.matmul(rows, operators.constant(weights), False, False), "erf")
    bounds = [operators.constant(np.float32(bound)) for bound in (0, 5.1)]
    for kernel in kernels:
        values = random.integers(-90, 90, (kernel * channels, channels)).astype(np.int8)
        scales = operators.constant(random.uniform(1e-4, 3e-4, (1, channels)).astype(np.float32))
        weights = operators.multiply(operators.convert(operators.constant(values), "f32"), scales)
        if not quantized:
            weights = operators.constant(random.normal(0, 0.02, values.shape).astype(np.float32))
        read = operators.fake_quantize(frames, *bounds, *bounds, 256)
        result: Any = operators.matmul(windows(read, channels, kernel), weights, False, False)
        for _ in range(2):
            result = operators.add(result, operators.constant(random.normal(0, 0.3, channels).astype(np.float32)))
        frames = operators.gelu(result, "erf")
    inside = operators.slice(frames, np.array([0]), np.array([4]), np.array([1]), np.array([1]))
    return openvino.Model([inside], [samples])


def windows(frames: Any, channels: int, kernel: int) -> Any:
    from openvino import opset13 as operators

    rows = operators.reshape(frames, np.array([0, -1, 2 * channels]), True)
    if kernel == 2:
        return rows
    start, stop = np.array([1, 0]), np.array([2**62, channels])
    part = operators.slice(rows, start, stop, np.array([1, 1]), np.array([1, 2]))
    padded = operators.pad(part, np.zeros(3, int), np.array([0, 1, 0]), "constant", np.float32(0))
    return operators.concat([rows, padded], 2)


def run(graph: Any, samples: np.ndarray) -> np.ndarray:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([samples])[0])


def operators_of(graph: Any) -> list[str]:
    return [node.get_type_name() for node in graph.get_ordered_ops()]


@pytest.mark.skipif(not _openvino_unsigned.helps(), reason="sessions use it on x86 with VNNI and without AMX alone")
def test_convolutions_give_the_same_numbers() -> None:
    samples = np.random.default_rng(1).uniform(0, 6, (1, FRAMES * CHANNELS)).astype(np.float32)
    fixed = front_end()
    assert gains(fixed)
    assert fix_length(fixed, samples.shape[1]) == 2
    assert operators_of(fixed).count("Convolution") == 2 and operators_of(fixed).count("MatMul") == 1
    spare_copies(fixed)
    found, expected = run(fixed, samples), run(front_end(), samples)
    assert found.shape == expected.shape == (1, 4, CHANNELS) and expected.std() > 0.2
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("first", ["one", "bare"])
def test_windows_of_samples_are_gathered_with_their_one(first: str) -> None:
    samples = np.random.default_rng(2).normal(0, 3, (1, 96)).astype(np.float32)
    fixed = front_end(first=first)
    fix_length(fixed, samples.shape[1])
    assert operators_of(fixed).count("Gather") == operators_of(front_end(first=first)).count("Gather") + 2
    assert "Pad" not in operators_of(fixed)
    found, expected = run(fixed, samples), run(front_end(first=first), samples)
    assert found.shape == expected.shape == (1, 4, CHANNELS) and expected.std() > 0.2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_length_is_fixed() -> None:
    fixed = front_end()
    fix_length(fixed, FRAMES * CHANNELS)
    assert [size.get_length() for size in fixed.output(0).get_partial_shape()] == [1, 4, CHANNELS]


@pytest.mark.parametrize("graph", [front_end(channels=64), front_end(quantized=False), front_end(kernels=(3,))])
def test_others_stay_as_they_are(graph: Any) -> None:
    assert not gains(graph)

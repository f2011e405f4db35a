"""Fewer copies in OpenVINO: the same numbers, and only where they are known to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.runtime.engines._openvino_copies import spare_copies  # noqa: E402

HEADS, SIZE, CHANNELS = 2, 4, 64


def scores(order: tuple[int, ...] = (0, 2, 3, 1), read: bool = False) -> Any:
    """Queries times keys [batch, frames, heads, size]. read: the transposed keys are an output too."""
    from openvino import opset13 as operators

    both = [operators.parameter([-1, -1, HEADS, SIZE], np.float32) for _ in range(2)]
    queries = operators.transpose(both[0], np.array([0, 2, 1, 3]))
    keys = operators.transpose(both[1], np.array(order))
    product = operators.matmul(queries, keys, False, order != (0, 2, 3, 1))
    return openvino.Model([product, keys] if read else [product], both)


def positions(gelu: str = "operator", read: bool = False, convolution: bool = True) -> Any:
    """A convolution over [1, channels, frames], its last frame cut off, then GELU. read: what is left is read too."""
    from openvino import opset13 as operators

    x = operators.parameter([1, CHANNELS, -1], np.float32)
    weights = np.random.default_rng(0).standard_normal((4, 16, 16, 4)).astype(np.float32)
    whole: Any = x
    if convolution:
        filtered = operators.group_convolution(x, operators.constant(weights), [1], [2], [2], [1])
        whole = operators.add(filtered, np.full((1, CHANNELS, 1), 0.1, np.float32))
    frames = operators.gather(operators.shape_of(x), np.array([2]), np.array(0))
    cut = operators.slice(whole, np.array([0]), frames, np.array([1]), np.array([2]))
    if gelu == "operator":
        activated = operators.gelu(cut, "erf")
    else:
        one_and_error = operators.add(operators.erf(operators.divide(cut, np.float32(2**0.5))), np.float32(1))
        activated = operators.multiply(operators.multiply(cut, one_and_error), np.float32(0.5))
    swapped = operators.transpose(activated, np.array([0, 2, 1]))
    return openvino.Model([swapped, operators.relu(cut)] if read else [swapped], [x])


def windows(channels: int = CHANNELS, shift: int = 1, kernel: int = 3) -> Any:
    """Windows of frames [batch, frames, channels], 2 apart, as a product reads them; the last are dropped."""
    from openvino import opset13 as operators

    x = operators.parameter([-1, -1, channels], np.float32)
    rows = operators.reshape(x, np.array([0, -1, 2 * channels]), True)
    parts: list[Any] = [rows]
    for number in range(1, -(-kernel // 2)):
        width = min(kernel - 2 * number, 2) * channels
        start, stop = np.array([number * shift, 0]), np.array([2**62, width])
        part = operators.slice(rows, start, stop, np.array([1, 1]), np.array([1, 2]))
        parts.append(operators.pad(part, np.zeros(3, int), np.array([0, number * shift, 0]), "constant", np.float32(0)))
    joined = operators.concat(parts, 2)
    weights = np.random.default_rng(0).standard_normal((kernel * channels, 8)).astype(np.float32)
    product = operators.matmul(joined, operators.constant(weights), False, False)
    count = np.array([-(-(-kernel // 2) - 1)])
    inside = operators.slice(product, np.array([0]), count, np.array([1]), np.array([1]))
    return openvino.Model([inside], [x])


def run(graph: Any, *inputs: np.ndarray) -> np.ndarray:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(list(inputs))[0])


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 37])
def test_keys_are_transposed_in_the_product(frames: int) -> None:
    queries, keys = noise(2, frames, HEADS, SIZE), noise(2, frames, HEADS, SIZE)
    changed = scores()
    assert spare_copies(changed) == 1
    np.testing.assert_allclose(run(changed, queries, keys), run(scores(), queries, keys), atol=1e-5)


@pytest.mark.parametrize("gelu", ["operator", "written out"])
@pytest.mark.parametrize("frames", [1, 50])
def test_the_activation_is_computed_before_the_cut(frames: int, gelu: str) -> None:
    changed, samples = positions(gelu), noise(1, CHANNELS, frames)
    assert spare_copies(changed) == 1
    cut = next(node for node in changed.get_ordered_ops() if node.get_type_name() == "Slice")
    assert [target.get_node().get_type_name() for target in cut.output(0).get_target_inputs()] == ["Transpose"]
    np.testing.assert_allclose(run(changed, samples), run(positions(gelu), samples), atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize("shape", [(1, 6), (3, 40)])
def test_windows_are_gathered(shape: tuple[int, int], kernel: int) -> None:
    changed, frames = windows(kernel=kernel), noise(*shape, CHANNELS)
    assert spare_copies(changed) == 1
    assert "Concat" not in {node.get_type_name() for node in changed.get_ops()}
    found, expected = run(changed, frames), run(windows(kernel=kernel), frames)
    assert found.shape == expected.shape == (shape[0], shape[1] // 2 - (-(-kernel // 2) - 1), 8)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "graph",
    [
        scores((0, 2, 1, 3)),
        scores(read=True),
        positions(read=True),
        positions(convolution=False),
        windows(channels=8),
        windows(shift=2),
    ],
)
def test_others_stay_as_they_are(graph: Any) -> None:
    assert spare_copies(graph) == 0

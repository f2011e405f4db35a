"""Padding of a computed length in int8: the same numbers, and only where zero is zero in both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.runtime.engines._openvino_moves import move_integers  # noqa: E402

BLOCK, SIZE = 4, 6


def model(computed: bool = True, zero: float = 0.0, value: float = 0.0) -> Any:
    """Blocks of three of [1, frames, 6], padded to whole blocks, times a matrix; the input in INT8."""
    from openvino import opset13 as operators

    def number(value: float) -> Any:
        return operators.constant(np.float32(value))

    x = operators.parameter([1, -1, SIZE], np.float32)
    bounds = [number(-3.84), number(3.81), number(-128), number(127)]
    real: Any = operators.convert(operators.convert(operators.fake_quantize(x, *bounds, 256), "i8"), "f32")
    if zero:
        real = operators.subtract(real, number(zero))
    scaled = operators.multiply(real, number(0.03))
    if computed:
        frames = operators.gather(operators.shape_of(x), np.array([1]), np.array(0))
        missing = operators.floor_mod(operators.subtract(np.array([0]), frames), np.array([BLOCK]))
        end = operators.concat([np.array([0]), operators.add(missing, np.array([BLOCK])), np.array([0])], 0)
    else:
        end = operators.constant(np.array([0, BLOCK, 0]))
    padded = operators.pad(scaled, np.array([0, BLOCK, 0]), end, "constant", number(value))
    rows = operators.reshape(padded, np.array([0, -1, BLOCK, SIZE]), True)
    parts = [
        operators.slice(rows, np.array([first]), np.array([last]), np.array([1]), np.array([1]))
        for first, last in ((0, -2), (1, -1), (2, 2**31 - 1))
    ]
    windows = operators.concat(parts, 2)
    matrix = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)
    product = operators.matmul(windows, operators.constant(matrix), False, False)
    return openvino.Model([product, operators.shape_of(windows)], [x])


def run(graph: Any, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([samples])
    return found[0].copy(), found[1].copy()


@pytest.mark.parametrize("frames", [3, 8, 41])
def test_gives_the_same_numbers(frames: int) -> None:
    samples = np.random.default_rng(1).standard_normal((1, frames, SIZE)).astype(np.float32)
    changed = model()
    assert move_integers(changed) == 1
    moved = [node for node in changed.get_ops() if node.get_type_name() in ("Pad", "Slice", "Concat", "Reshape")]
    kinds = [node.get_output_element_type(0) for node in moved if len(node.get_output_partial_shape(0)) > 1]
    assert len(kinds) == 6 and set(kinds) == {openvino.Type.i8}
    for found, expected in zip(run(changed, samples), run(model(), samples)):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("graph", [model(computed=False), model(zero=3.0), model(value=1.0)])
def test_other_paddings_stay_as_they_are(graph: Any) -> None:
    assert move_integers(graph) == 0


def swapped(value: float = 0.0, channels: int = 1, shared: str = "") -> Any:
    """[1, frames, 6] with its last axes swapped and two paddings, one of a computed length, quantised, convolved.

    value: what is padded with. channels: how many ranges the quantiser has. shared: what is an output too, the
    numbers that are ``padded`` or the ``integers``.
    """
    from openvino import opset13 as operators

    def numbers(value: float) -> Any:
        return operators.constant(np.full((1, channels, 1) if channels > 1 else (), value, np.float32))

    x = operators.parameter([1, -1, SIZE], np.float32)
    turned = operators.transpose(x, np.array([0, 2, 1]))
    frames = operators.gather(operators.shape_of(x), np.array([1]), np.array(0))
    missing = operators.maximum(operators.subtract(np.array([BLOCK]), frames), np.array([0]))
    end = operators.concat([np.array([0, 0]), missing], 0)
    wide = operators.pad(turned, np.array([0, 0, 0]), end, "constant", np.float32(0))
    wide = operators.pad(wide, np.array([0, 0, 2]), np.array([0, 0, 1]), "constant", np.float32(value))
    bounds = [numbers(bound) for bound in (-3.84, 3.81, -128, 127)]
    integers = operators.convert(operators.fake_quantize(wide, *bounds, 256), "i8")
    real = operators.multiply(operators.convert(integers, "f32"), numbers(0.03))
    kernel = np.random.default_rng(0).standard_normal((4, SIZE, 4)).astype(np.float32)
    result = operators.convolution(real, operators.constant(kernel), [1], [0], [0], [1])
    outputs: dict[str, list[Any]] = {"": [result], "padded": [result, wide], "integers": [result, integers]}
    return openvino.Model(outputs[shared], [x])


@pytest.mark.parametrize("frames", [1, 3, 41])
def test_what_is_quantised_after_a_swap_is_quantised_before_it(frames: int) -> None:
    samples = np.random.default_rng(1).standard_normal((1, frames, SIZE)).astype(np.float32)
    changed = swapped()
    assert move_integers(changed) == 1
    order = [node.get_type_name() for node in changed.get_ordered_ops()]
    assert order.index("Pad") < order.index("FakeQuantize") < order.index("Transpose") and order.count("Pad") == 1
    compiled = [openvino.Core().compile_model(graph, "CPU") for graph in (changed, swapped())]
    found, expected = (np.array(each([samples])[0]) for each in compiled)
    assert found.shape == expected.shape == (1, 4, max(frames, BLOCK)) and expected.std() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "graph", [swapped(value=1.0), swapped(channels=SIZE), swapped(shared="padded"), swapped(shared="integers")]
)
def test_other_swaps_stay_as_they_are(graph: Any) -> None:
    assert move_integers(graph) == 0

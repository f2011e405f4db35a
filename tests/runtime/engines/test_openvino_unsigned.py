"""Linear layers that read unsigned numbers: the same result to rounding, and only where nothing else reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.runtime.engines._openvino_unsigned import helps, read_unsigned  # noqa: E402

SCALE = 0.03


def model(other_reader: bool) -> Any:
    """Y = dequantised(x) moved through a slice and a join, times int8 weights; optionally read by a softmax too."""
    from openvino import opset13 as operators

    random = np.random.default_rng(0)

    def number(value: float) -> Any:
        return operators.constant(np.float32(value))

    x = operators.parameter([1, -1, 16], np.float32)
    bounds = [number(-128 * SCALE), number(127 * SCALE), number(-128), number(127)]
    stored = operators.convert(operators.fake_quantize(x, *bounds, 256), "i8")
    real = operators.multiply(operators.convert(stored, "f32"), number(SCALE))
    part = operators.slice(real, *(operators.constant(np.array([value])) for value in (0, 8, 1, 2)))
    joined = operators.concat([real, part], 2)
    weights = operators.constant(random.integers(-127, 128, (24, 5)).astype(np.int8))
    scales = operators.constant(random.uniform(0.001, 0.01, (1, 5)).astype(np.float32))
    product = operators.matmul(joined, operators.multiply(operators.convert(weights, "f32"), scales), False, False)
    results = [operators.add(product, operators.constant(random.standard_normal(5).astype(np.float32)))]
    if other_reader:
        results.append(operators.softmax(real, 2))
    return openvino.Model(results, [x])


def run(graph: Any, samples: np.ndarray) -> np.ndarray:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result: np.ndarray = compiled([samples])[0]
    return result


def test_gives_the_same_numbers() -> None:
    samples = np.random.default_rng(1).standard_normal((1, 7, 16)).astype(np.float32)
    before, changed = model(False), model(False)
    assert read_unsigned(changed) == 1
    np.testing.assert_allclose(run(changed, samples), run(before, samples), atol=1e-4)


def test_a_tensor_that_others_read_stays_signed() -> None:
    assert read_unsigned(model(True)) == 0


def probabilities(scale: float) -> Any:
    """softmax(x), dequantised, times a matrix: as attention reads its values."""
    from openvino import opset13 as operators

    x = operators.parameter([1, -1, 16], np.float32)
    bounds = [operators.constant(np.float32(value)) for value in (-128 * scale, 127 * scale, -128, 127)]
    stored = operators.convert(operators.fake_quantize(operators.softmax(x, 2), *bounds, 256), "i8")
    real = operators.multiply(operators.convert(stored, "f32"), operators.constant(np.float32(scale)))
    values = operators.constant(np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32))
    return openvino.Model([operators.matmul(real, values, False, False)], [x])


def test_what_a_softmax_writes_keeps_its_steps_and_loses_its_empty_half() -> None:
    samples = np.random.default_rng(1).standard_normal((1, 7, 16)).astype(np.float32)
    before, changed = probabilities(1 / 127), probabilities(1 / 127)
    read_unsigned(changed)
    (quantizer,) = (node for node in changed.get_ordered_ops() if node.get_type_name() == "FakeQuantize")
    spans = [float(quantizer.input_value(index).get_node().data) for index in (1, 2, 3, 4)]
    assert spans == pytest.approx([0, 255 / 127, 0, 255 / 127])
    np.testing.assert_allclose(run(changed, samples), run(before, samples), atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx512_vnni"}, True), ({"avx_vnni"}, True), ({"avx2"}, False), ({"avx512_vnni", "amx_int8"}, False)],
)
def test_only_where_unsigned_times_signed_is_the_fast_way(flags: set[str], expected: bool) -> None:
    """Without VNNI unsigned reads saturate; AMX multiplies signed bytes as fast."""
    assert helps(frozenset(flags)) is expected

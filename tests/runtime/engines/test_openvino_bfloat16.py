"""Element-wise kernels that quantise: the same numbers, and only where a conversion would come before a quantiser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.runtime.engines._openvino_bfloat16 import quantize_elementwise  # noqa: E402

WIDTH, CHANNELS = 10, 48


def first_product(appended: float = 1.0, computed: bool = True, read: bool = False) -> Any:
    """Rows with a one at the end times weights with a shift at the end, by each clip's scale, then GELU, quantised.

    read: the product is an output too.
    """
    from openvino import opset13 as operators

    random = np.random.default_rng(0)
    rows = operators.parameter([-1, -1, WIDTH], np.float32, "rows")
    scale = operators.parameter([-1, 1, CHANNELS], np.float32, "scale")
    window = operators.pad(rows, np.zeros(3, int), np.array([0, 0, 1]), "constant", np.float32(appended))
    weights = random.normal(0, 0.3, (1, WIDTH, CHANNELS)).astype(np.float32)
    shift = random.normal(0, 1, (1, 1, CHANNELS)).astype(np.float32)
    both: Any = operators.constant(np.concatenate([weights, shift], 1))
    if computed:
        less: Any = operators.subtract(operators.constant(shift), operators.multiply(scale, np.float32(0.2)))
        both = operators.concat([operators.multiply(weights, scale), less], 1)
    product = operators.matmul(window, both, False, False)
    bounds = [operators.constant(np.float32(value)) for value in (-0.2, 5.0)]
    quantized = operators.fake_quantize(operators.gelu(product, "erf"), *bounds, *bounds, 256)
    return openvino.Model([quantized, product] if read else [quantized], [rows, scale])


def residual(shared: bool = True, padded: bool = False) -> Any:
    """Numbers that are quantised for a product; shared: and added to its result. padded: with a zero before them."""
    from openvino import opset13 as operators

    values = operators.parameter([-1, -1, WIDTH], np.float32, "values")
    rows: Any = operators.multiply(values, np.float32(1.5))
    read = rows
    if padded:
        read = operators.pad(rows, np.array([0, 1, 0]), np.array([0, -1, 0]), "constant", np.float32(0))
    bounds = [operators.constant(np.float32(value)) for value in (-2.0, 1.9)]
    quantized = operators.fake_quantize(read, *bounds, *bounds, 256)
    matrix = np.random.default_rng(0).normal(0, 1, (WIDTH, WIDTH)).astype(np.float32)
    result: Any = operators.matmul(quantized, operators.constant(matrix), False, False)
    return openvino.Model([operators.add(result, rows) if shared else result], [values])


def run(graph: Any, *values: np.ndarray) -> np.ndarray:
    found = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(list(values))[0]
    return np.array(found)


def operators_of(graph: Any) -> list[str]:
    return [node.get_type_name() for node in graph.get_ordered_ops()]


@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (3, 37)])
def test_the_shift_of_the_first_product_is_added_apart(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    rows = random.normal(0, 1, (*shape, WIDTH)).astype(np.float32)
    scale = random.uniform(0.5, 2, (shape[0], 1, CHANNELS)).astype(np.float32)
    changed = first_product()
    assert quantize_elementwise(changed) == 1
    assert "Pad" not in operators_of(changed) and "Concat" not in operators_of(changed)
    found, expected = run(changed, rows, scale), run(first_product(), rows, scale)
    assert len(np.unique(expected)) > 10
    off = np.abs(found - expected) > 1e-5  # a sum between two levels may be rounded to the other one
    assert off.mean() < 1e-3 and np.abs(found - expected).max() < 0.03


@pytest.mark.parametrize(
    "graph", [first_product(appended=2.0), first_product(computed=False), first_product(read=True)]
)
def test_other_products_stay_as_they_are(graph: Any) -> None:
    assert quantize_elementwise(graph) == 0


@pytest.mark.parametrize(("shared", "padded"), [(True, False), (False, True)])
def test_a_quantiser_that_would_need_a_conversion_reads_a_maximum(shared: bool, padded: bool) -> None:
    values = np.random.default_rng(2).normal(0, 2, (2, 17, WIDTH)).astype(np.float32)
    changed = residual(shared, padded)
    assert quantize_elementwise(changed) == 1
    assert "Maximum" in operators_of(changed)
    expected = run(residual(shared, padded), values)
    assert expected.std() > 1
    np.testing.assert_allclose(run(changed, values), expected, atol=1e-5)


def test_a_quantiser_alone_stays_as_it_is() -> None:
    assert quantize_elementwise(residual(shared=False)) == 0

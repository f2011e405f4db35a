"""Weights that count as computed: the same numbers, and only for a small product that a quantiser reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.runtime.bundle.spec import INPUT_LENGTHS  # noqa: E402
from wav2edge.runtime.engines._openvino_first import quantize_apart  # noqa: E402

WIDTH, CHANNELS = 12, 48


def model(width: int = WIDTH, gelu: str | None = "operator", read: bool = False) -> Any:
    """Rows [1, frames, width] times weights, quantised. read: the product is an output too."""
    from openvino import opset13 as operators

    rows = operators.parameter([-1, -1, width], np.float32)
    weights = np.random.default_rng(0).standard_normal((width, CHANNELS)).astype(np.float32)
    product = operators.matmul(rows, operators.constant(weights), False, False)
    activated = product
    if gelu == "operator":
        activated = operators.gelu(product, "erf")
    elif gelu == "written out":
        one_and_error = operators.add(operators.erf(operators.divide(product, np.float32(2**0.5))), np.float32(1))
        activated = operators.multiply(operators.multiply(product, one_and_error), np.float32(0.5))
    bounds = [operators.constant(np.float32(value)) for value in (-0.2, 12.55)]
    quantized = operators.fake_quantize(activated, *bounds, *bounds, 256)
    return openvino.Model([quantized, product] if read else [quantized], [rows])


def run(graph: Any, rows: np.ndarray) -> np.ndarray:
    found = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([rows])[0]
    return np.array(found)


@pytest.mark.parametrize("gelu", ["operator", "written out", None])
@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (3, 37)])
def test_gives_the_same_numbers(shape: tuple[int, int], gelu: str | None) -> None:
    rows = np.random.default_rng(1).standard_normal((*shape, WIDTH)).astype(np.float32)
    changed = model(gelu=gelu)
    assert quantize_apart(changed) == 1
    found, expected = run(changed, rows), run(model(gelu=gelu), rows)
    assert len(np.unique(expected)) > 10
    off = np.abs(found - expected) > 1e-5  # a sum between two levels may be rounded to the other one
    assert off.mean() < 1e-3 and np.abs(found - expected).max() < 0.06


def test_a_clip_without_samples_changes_no_other() -> None:
    """The weights of the whole batch were multiplied by the length of its first clip, at most one: by 0."""
    from openvino import opset13 as operators

    graph = model()
    lengths = operators.parameter([-1], np.int64)
    lengths.output(0).set_names({INPUT_LENGTHS})
    graph.add_parameters([lengths])
    expected_graph = model()
    assert quantize_apart(graph) == 1
    rows = np.random.default_rng(2).standard_normal((2, 40, WIDTH)).astype(np.float32)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for counts in ([0, 40], [40, 0], [1, 40]):
        found = np.array(compiled([rows, np.array(counts, np.int64)])[0])
        assert np.abs(found - run(expected_graph, rows)).max() < 0.06


@pytest.mark.parametrize("graph", [model(width=65), model(read=True), model(gelu="written out", read=True)])
def test_other_products_stay_as_they_are(graph: Any) -> None:
    assert quantize_apart(graph) == 0

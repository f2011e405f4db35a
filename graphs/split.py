"""Cut a variant's full graph at its named values into its stages (``spec.STAGES``), without torch.

All parts refer to the weights of the full graph's data file, so they cost a few hundred kilobytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.bundle.spec import (
    FEATURE_LENGTHS,
    FEATURES,
    INPUT_LENGTHS,
    NORM_MEAN,
    NORM_MEAN_SQUARE,
    NORMALIZED,
    STAGES,
    Stage,
)
from ..runtime.errors import BundleError
from .storage import load_graph, save_graph

if TYPE_CHECKING:
    import onnx


def split_stages(directory: Path, full: str, stem: str) -> dict[Stage, str]:
    """Write ``<stem>.frontend.onnx`` and ``<stem>.encoder.onnx`` beside a full graph; returns the stages' files.

    A graph that names the statistics of its group norm gets ``<stem>.statistics.onnx`` and ``<stem>.tile.onnx`` too.
    Works on every variant whose passes kept the names ``normalized``, ``features`` and ``feature_lengths``; raises
    BundleError naming the one that is missing.
    """
    model = load_graph(directory / full)
    outputs = [value.name for value in model.graph.output]
    files: dict[Stage, str] = {"full": full}
    results: dict[Stage, list[str]] = {"frontend": [FEATURES, FEATURE_LENGTHS], "encoder": outputs}
    if {NORM_MEAN, NORM_MEAN_SQUARE} <= {name for node in model.graph.node for name in node.output}:
        results |= {"statistics": [NORM_MEAN, NORM_MEAN_SQUARE], "tile": [FEATURES]}
    for stage, wanted in results.items():
        files[stage] = f"{stem}.{stage}.onnx"
        save_graph(extract(model, STAGES[stage], wanted), directory / files[stage])
    return files


def extract(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """The part of a graph between named values; an input that the part does not need is left out.

    Raises BundleError when a name is not in the graph, or the part needs another input of the whole graph.
    """
    import onnx

    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    known = {value.name for value in graph.input} | set(producers)
    for name in (*inputs, *outputs):
        if name not in known:
            raise BundleError(f"the graph has no value {name!r}; it cannot be cut, export the model again")
    weights = {tensor.name: tensor for tensor in graph.initializer}
    needed: set[str] = set()
    kept: set[int] = set()
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name in needed or not name:
            continue
        needed.add(name)
        if name in inputs or name in weights:
            continue
        if name not in producers:
            raise BundleError(
                f"the part of the graph after {', '.join(inputs)} also needs {name!r}; export the model again"
            )
        kept.add(id(producers[name]))
        pending.extend(producers[name].input)
    part = onnx.helper.make_graph(
        [node for node in graph.node if id(node) in kept],
        graph.name,
        [_described(model, name) for name in inputs if name in needed],
        [_described(model, name) for name in outputs],
        [tensor for tensor in graph.initializer if tensor.name in needed],
        value_info=[value for value in graph.value_info if value.name in needed],
    )
    return onnx.helper.make_model(
        part, opset_imports=list(model.opset_import), ir_version=model.ir_version, producer_name=model.producer_name
    )


def _described(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """A value's type and shape as the graph states them, or as the contract does where a pass dropped them."""
    import onnx

    graph = model.graph
    stated: dict[str, onnx.ValueInfoProto] = {
        value.name: value for value in (*graph.value_info, *graph.output, *graph.input)
    }
    if name in stated:
        return stated[name]
    shapes: dict[str, tuple[int, tuple[str | None, ...]]] = {
        NORMALIZED: (onnx.TensorProto.FLOAT, ("batch", "samples")),
        INPUT_LENGTHS: (onnx.TensorProto.INT64, ("batch",)),
        FEATURES: (onnx.TensorProto.FLOAT, ("batch", "frames", None)),
        FEATURE_LENGTHS: (onnx.TensorProto.INT64, ("batch",)),
        NORM_MEAN: (onnx.TensorProto.FLOAT, ("batch", None, None)),
        NORM_MEAN_SQUARE: (onnx.TensorProto.FLOAT, ("batch", None, None)),
    }
    if name not in shapes:
        raise BundleError(f"the graph does not say what {name!r} is; it cannot be cut there; export the model again")
    described: onnx.ValueInfoProto = onnx.helper.make_tensor_value_info(name, *shapes[name])
    return described

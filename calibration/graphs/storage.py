"""Graphs with their weights in one data file, which the full, the frontend and the encoder graph share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

THRESHOLD = 1024
"""Tensors of fewer bytes stay in the graph: shapes and scalars must be readable without the data file."""
ALIGNMENT = 64
"""One cache line; mapped weights are used in place."""


def load_graph(path: Path) -> onnx.ModelProto:
    """Read a graph with its weights left where they are: cheap, and what ``split`` needs."""
    import onnx

    return onnx.load(str(path), load_external_data=False)


def load_model(path: Path) -> onnx.ModelProto:
    """Read a graph and all its weights."""
    import onnx

    return onnx.load(str(path), load_external_data=True)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph whose large weights already lie in a data file beside it."""
    path.write_bytes(model.SerializeToString())


def save_model(model: onnx.ModelProto, path: Path, data: str) -> None:
    """Write a graph, and its large weights to the file ``data`` in the same directory.

    The model is changed: its large weights become references. Equal models give equal bytes.
    """
    import onnx

    with (path.parent / data).open("wb") as file:
        for tensor in model.graph.initializer:
            raw = tensor.raw_data or onnx.numpy_helper.to_array(tensor).tobytes()
            if len(raw) < THRESHOLD:
                continue
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            _refer(tensor, data, file.tell(), len(raw))
            file.write(raw)
    save_graph(model, path)


def _refer(tensor: onnx.TensorProto, data: str, offset: int, length: int) -> None:
    import onnx

    name, shape, kind = tensor.name, list(tensor.dims), tensor.data_type
    tensor.Clear()
    tensor.name, tensor.data_type = name, kind
    tensor.dims.extend(shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", data), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value

"""Read and write graphs with their weights in one data file, which all stages of a variant share."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .nodes import Tensor, rename_inputs, rename_outputs

if TYPE_CHECKING:
    import onnx
    from typing_extensions import Self

THRESHOLD = 256
"""Tensors of fewer bytes stay in the graph: shapes and scalars must be readable without the data file. Larger
ones would be stored again in each stage's graph."""
SMALLEST_HALF = 4096
"""Weights of fewer elements stay in float32. From here on fp16 saves 8 kB or more, for some 100 bytes in each graph and
one more node that engines fold."""
ALIGNMENT = 64
"""One cache line; mapped weights are used in place."""


def load_graph(path: Path) -> onnx.ModelProto:
    """Read a graph without its weights, which is fast and all that ``split`` needs."""
    import onnx

    return onnx.load(str(path), load_external_data=False)


def load_model(path: Path) -> onnx.ModelProto:
    """Read a graph and all its weights."""
    import onnx

    return onnx.load(str(path), load_external_data=True)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph whose large weights are already in a data file beside it."""
    path.write_bytes(model.SerializeToString())


class DataFile:
    """The file of a graph's large weights while it is written, one weight after the other; a context manager.

    ``store`` is what ``Graph.to_model`` calls for each weight, so that no second copy of all of them is made.
    """

    def __init__(self, path: Path) -> None:
        """Write to ``path``, beside which the graph will be."""
        self._name = path.name
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def store(self, values: Tensor, name: str) -> onnx.TensorProto:
        """A weight as the graph holds it: a reference to this file, or the values where they are few."""
        import onnx

        if values.nbytes < THRESHOLD:
            return onnx.numpy_helper.from_array(values, name)
        described = onnx.TensorProto(name=name, dims=values.shape)
        described.data_type = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        self.append(described, np.ascontiguousarray(values).data)
        return described

    def append(self, tensor: onnx.TensorProto, raw: bytes | memoryview) -> None:
        """Write a tensor's bytes, and make it a reference to them."""
        self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))
        _refer(tensor, self._name, self._file.tell(), len(raw) if isinstance(raw, bytes) else raw.nbytes)
        self._file.write(raw)


def save_model(model: onnx.ModelProto, path: Path, data: str, compact: bool = False) -> None:
    """Write a graph, and its large weights to the file ``data`` in the same directory.

    compact: store weights that float16 holds exactly (those of a checkpoint saved in float16) in half the bytes, with
    a Cast before their reader, which engines fold when they load. The model is changed: its large weights become
    references. Equal models give equal bytes.
    """
    import onnx

    if compact:
        halve_weights(model)
    with DataFile(path.parent / data) as file:
        for tensor in model.graph.initializer:
            raw = tensor.raw_data or onnx.numpy_helper.to_array(tensor).tobytes()
            if len(raw) >= THRESHOLD:
                file.append(tensor, raw)
    save_graph(model, path)


def exact_half(values: Tensor) -> Tensor | None:
    """The same numbers in float16; None where float16 cannot hold them exactly."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else None


def mapped(tensor: onnx.TensorProto, folder: Path) -> Tensor:
    """A weight whose values are in a file in ``folder``, mapped into memory; a change stays in memory."""
    import onnx

    places = {entry.key: entry.value for entry in tensor.external_data}
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    offset, file = int(places.get("offset", 0)), folder / places["location"]
    if math.prod(tensor.dims) == 0:
        return np.zeros(tuple(tensor.dims), kind)
    return np.asarray(np.memmap(file, kind, "c", offset, tuple(tensor.dims)))


def halve_weights(model: onnx.ModelProto) -> int:
    """Store each large float32 weight that loses nothing as float16, with a Cast after it; returns how many."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or math.prod(tensor.dims) < SMALLEST_HALF:
            continue
        half = exact_half(numpy_helper.to_array(tensor))
        if half is None:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return len(casts)


def shorten_names(model: onnx.ModelProto, kept: Collection[str]) -> None:
    """Give tensors short names, all but the graph's inputs and outputs and those ``kept``; in place.

    With long names the graphs of a small quantised model are a fifth of its bytes, because each stage repeats them.
    Nodes keep their names, except quantisers and the Casts of weights, which are named after their tensors.
    """
    graph = model.graph
    stays = {*kept, "", *(value.name for value in (*graph.input, *graph.output))}
    tensors = [tensor.name for tensor in graph.initializer]
    tensors += [name for node in graph.node for names in (node.input, node.output) for name in names]
    renamed = [name for name in dict.fromkeys(tensors) if name not in stays]
    short = {name: f"t{number}" for number, name in enumerate(renamed)}
    for tensor in graph.initializer:
        tensor.name = short.get(tensor.name, tensor.name)
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            node.name = ""
    rename_inputs(graph.node, short)
    rename_outputs(graph.node, short)
    del graph.value_info[:]


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

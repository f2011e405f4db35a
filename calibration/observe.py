"""Run fp32 over the clips, one at a time, and collect only a histogram of each tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime import remedies
from wav2edge.runtime.engines import as_feeds
from wav2edge.runtime.errors import EngineError

from ..graphs.graph import Graph
from ..graphs.nodes import Tensor
from ..graphs.storage import save_model
from ..runtime.engines import library
from .ranges import Histogram

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)`` before each step; ``total`` is 0 where steps are not counted."""
Samples: TypeAlias = NDArray[np.float32]
"""A clip [samples] at the model's rate, in [-1, 1]."""


def observe(
    graph: Graph,
    tensors: Iterable[str],
    pieces: Iterable[Samples],
    folder: Path,
    threads: int | None = None,
    seen: dict[str, Histogram] | None = None,
) -> dict[str, Histogram]:
    """The histogram of each tensor over all pieces [samples]; ``folder`` holds the graph while it runs.

    seen: the histograms of earlier pieces, to which these are added in place.
    """
    names = tuple(tensors)
    histograms = {name: Histogram() for name in names} if seen is None else seen

    def add(outputs: Mapping[str, Tensor]) -> None:
        for name, values in outputs.items():
            histograms[name].add(name, np.asarray(values, np.float32))

    run_with_outputs(graph, names, pieces, folder, add, threads)
    return histograms


def observe_channels(
    graph: Graph,
    tensors: Iterable[str],
    pieces: Iterable[Samples],
    folder: Path,
    threads: int | None = None,
    seen: dict[str, NDArray[np.float32]] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude in each channel (last axis) of each tensor over all pieces [samples].

    seen: those of earlier pieces, which are updated in place.
    """
    maxima: dict[str, NDArray[np.float32]] = {} if seen is None else seen

    def add(outputs: Mapping[str, Tensor]) -> None:
        for name, values in outputs.items():
            largest = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            maxima[name] = np.maximum(maxima[name], largest) if name in maxima else largest

    run_with_outputs(graph, tuple(tensors), pieces, folder, add, threads)
    return maxima


def run_with_outputs(
    graph: Graph,
    names: tuple[str, ...],
    pieces: Iterable[Samples],
    folder: Path,
    add: Callable[[Mapping[str, Tensor]], None],
    threads: int | None = None,
) -> None:
    """Run a graph over pieces with inner tensors as outputs; ``add`` takes each piece's outputs by name."""
    session = float_session(graph, names, folder, threads)
    wanted = {item.name for item in session.get_inputs()}
    for piece in pieces:
        feeds = as_feeds(piece[None], np.array([len(piece)], dtype=np.int64))
        values = session.run(list(names), {name: value for name, value in feeds.items() if name in wanted})
        add(dict(zip(names, values)))
        del values  # before the next piece runs: they are most of the memory


def float_session(
    graph: Graph, outputs: Iterable[str], folder: Path, threads: int | None = None, qdq: bool = True
) -> InferenceSession:
    """An ONNX Runtime session of a graph with more outputs.

    qdq: let ONNX Runtime fuse quantisers with operators; False computes them as written. Raises EngineError where ONNX
    Runtime is missing.
    """
    import onnx

    try:
        ort = library("onnxruntime")
    except ImportError:
        raise EngineError(f"calibration needs onnxruntime; install it with `{remedies.install('calibrate')}`") from None

    model = graph.to_model()
    have = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in outputs if name not in have)
    path = folder / "observed.onnx"
    save_model(model, path, "observed.data")
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    # The arena would hold the largest clip's tensors twice for the whole pass.
    settings.enable_cpu_mem_arena = False
    if threads is not None:
        settings.intra_op_num_threads = threads
    if not qdq:
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    path.unlink()
    (folder / "observed.data").unlink(missing_ok=True)
    return session

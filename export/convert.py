"""From the torch module to files: trace, tidy, store with the weights in a separate file, cut into stages."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..graphs.graph import Graph
from ..graphs.split import split_stages
from ..graphs.storage import DataFile, save_graph
from ..runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, INPUT_VALUES, NORMALIZED, ModelSpec, Stage
from ..runtime.errors import CheckpointError
from .documents import announced_line
from .marks import DOMAIN
from .passes import tidy

if TYPE_CHECKING:
    import onnx

    from .graph import ContractGraph

OPSET = 17
"""The first with LayerNormalization; every engine here reads it, TensorRT 10.3 included."""
_OPEN_AXES = ("batch", "frames")
_SAMPLES = (16001, 9000)
"""Lengths in samples of the two clips that are traced: odd, unequal, half a second and more. The parity gate checks the
graph at other lengths."""


def write_graphs(
    module: ContractGraph, spec: ModelSpec, directory: Path, stem: str = "fp32", compact: bool = False
) -> dict[Stage, str]:
    """Write the graphs of all stages and their data file into ``directory``; returns the stages' files.

    compact: store what float16 holds exactly in float16. Raises CheckpointError where torch cannot trace the model.
    """
    with tempfile.TemporaryDirectory(dir=directory, prefix=".trace.") as folder:
        graph = trace(module, spec, Path(folder))
        tidy(graph)
        if compact:
            graph.prefer_half()
        with DataFile(directory / f"{stem}.data") as data:
            result = graph.to_model(data.store)
        del graph
    _describe(result, module, spec)
    save_graph(result, directory / f"{stem}.onnx")
    return split_stages(directory, f"{stem}.onnx", stem)


def trace(module: ContractGraph, spec: ModelSpec, folder: Path) -> Graph:
    """The module as torch's tracing exporter writes it into ``folder``, where the weights of a large one stay."""
    import onnx
    import torch

    shortest = spec.min_samples
    lengths = torch.tensor([max(size, shortest) for size in _SAMPLES], dtype=torch.int64)
    waveform = torch.randn((2, int(lengths.max())), generator=torch.Generator().manual_seed(0))
    axes = {output.name: {0: "batch"} for output in spec.outputs}
    for output in spec.outputs:
        axes[output.name].update({i: axis for i, axis in enumerate(output.axes) if axis in _OPEN_AXES})
    file = folder / "traced.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of Python values that become constants; each is a configuration value.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                module,
                (waveform, lengths),
                str(file),
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT_VALUES, INPUT_LENGTHS],
                output_names=list(spec.output_names),
                dynamic_axes={
                    INPUT_VALUES: {0: "batch", 1: "samples"},
                    INPUT_LENGTHS: {0: "batch"},
                    **axes,
                    **{name: {0: "batch"} for name in spec.output_names if name not in axes},
                },
                custom_opsets={DOMAIN: 1},
            )
        except OSError:
            raise
        except Exception as error:  # torch's exporter raises many classes
            raise CheckpointError(f"torch cannot trace this model: {announced_line(error)}") from error
    return Graph(onnx.load(str(file), load_external_data=False), folder)


def _describe(model: onnx.ModelProto, module: ContractGraph, spec: ModelSpec) -> None:
    """State the shapes of outputs and named values, so that cutting needs no shape inference, and the producer."""
    import torch
    from onnx import TensorProto, helper

    with torch.no_grad():
        results = module(torch.zeros(1, spec.min_samples), torch.tensor([spec.min_samples]))
    shapes = dict(zip(spec.output_names, (tuple(result.shape) for result in results)))
    for output in spec.outputs:
        # Other runtimes size their decoders by the label dimension, which must be static.
        sizes = [axis if axis in _OPEN_AXES else size for axis, size in zip(output.axes, shapes[output.name])]
        described = next(value for value in model.graph.output if value.name == output.name)
        described.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, sizes))
    channels = module.feature_extractor.channels
    model.graph.value_info.extend(
        [
            helper.make_tensor_value_info(NORMALIZED, TensorProto.FLOAT, ("batch", "samples")),
            helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ("batch", "frames", channels)),
            helper.make_tensor_value_info(FEATURE_LENGTHS, TensorProto.INT64, ("batch",)),
        ]
    )
    model.graph.name = "wav2edge"
    model.producer_name, model.producer_version = "wav2edge", ""

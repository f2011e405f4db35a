"""ONNX files that other exporters wrote: which one in a directory is the model, and why it may not be usable.

Optimum writes ``model.onnx`` beside config.json; transformers.js keeps ``onnx/model.onnx`` and quantised or float16
forms of it (``model_quantized.onnx`` …) in a folder below. The checks here need only the file:

1. Its inputs are ``input_values`` [batch, samples] in float32, and perhaps ``attention_mask``; both open in length.
2. It has the outputs of the head that config.json names, in float32.
3. Its operators are ONNX's own, of an opset that graphs written around it can use, and none holds quantised weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.bundle.spec import INPUT_VALUES
from ..runtime.bundle.trust import joined_sha256
from ..runtime.errors import CheckpointError
from .documents import ConfigJson, announced_line, is_file
from .families import POOLED, Family, Head, family_of, head_of
from .head_spec import OUTPUTS, THEIRS
from .hub import CONFIG
from .labels import Labels, read_labels
from .onnx_graph import MASK
from .preprocessing import Preprocessing, read_preprocessing
from .sources import read_config

if TYPE_CHECKING:
    import onnx

MODEL = "model.onnx"
FOLDER = "onnx"
OPSETS = (13, 23)
"""The opsets of graphs that can be imported. From the first on Squeeze and others take their axes as inputs, which the
added nodes need; later ones than the last were not tried."""
_TORCH = ("*.safetensors", "pytorch_model*.bin", "adapter_config.json")
"""Weights that torch reads: where there are some, they are exported instead, and compared with torch."""
_QUANTISED = frozenset(
    {
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "ConvInteger",
        "QLinearMatMul",
        "QLinearConv",
        "QuantizeLinear",
        "DequantizeLinear",
    }
)
_OWN = ("", "ai.onnx")
"""ONNX's own domain under its two names."""
_FLOAT16 = (
    "it computes in float16; name the file in float32, and quantize the bundle to fp16, which keeps norms in float32"
)
_AGAIN = "export it again with optimum and no optimisation or quantisation"


@dataclass(frozen=True)
class OnnxCheckpoint:
    """An ONNX file of another exporter, and the small files around it."""

    path: Path
    """The directory with config.json."""
    file: Path
    """The graph."""
    name: str
    """The name under which the user gave it."""
    config: ConfigJson
    """config.json."""
    family: Family
    """Its architecture."""
    head: Head
    """What it predicts."""
    labels: Labels
    """What the label axis means."""
    preprocessing: Preprocessing
    """The settings of its feature extractor, which runs outside the file."""

    @property
    def normalize(self) -> bool:
        """Whether clips are brought to zero mean and unit variance."""
        return self.preprocessing.normalize

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.preprocessing.sample_rate

    @property
    def outputs(self) -> dict[str, str]:
        """The file's name of each output of the bundle, by the bundle's name."""
        return {output.name: THEIRS.get(output.name, output.name) for output in OUTPUTS[self.head.name]}

    @cached_property
    def graph(self) -> onnx.ModelProto:
        """The checked graph, without the weights in other files; raises CheckpointError."""
        import onnx

        try:
            model = onnx.load(str(self.file), load_external_data=False)
        except Exception as error:  # protobuf's DecodeError and onnx's own errors share no public base class
            raise CheckpointError(
                f"{self.file}: not a readable ONNX graph ({announced_line(error)}); download it again"
            ) from error
        for entry in _data_files(model):
            if Path(entry).name != entry or not is_file(self.file.parent / entry):
                raise CheckpointError(
                    f"{self.file}: its weights are in {entry}, which is not beside it; download it too"
                )
        reason = _refusal(model, tuple(self.outputs.values()))
        if reason is not None:
            raise CheckpointError(f"{self.file}: {reason}")
        return model

    def digest(self) -> str:
        """The SHA-256 of the file (of the files' digests, where its weights are in others)."""
        return joined_sha256((self.file, *(self.file.parent / name for name in _data_files(self.graph))))


def open_onnx(
    source: str | Path,
    normalize: bool | None,
    language: str | None,
    vocab: str | Path | None,
    label_groups: Sequence[int],
) -> OnnxCheckpoint | None:
    """The ONNX file that ``source`` names, or the one in that directory where torch's weights are not in it.

    None where there is neither. Raises CheckpointError for files that are incomplete or no model of this family.
    """
    found = find_onnx(Path(source))
    if found is None:
        return None
    path, file = found
    config = read_config(path)
    family = family_of(config, str(path))
    if family.frontend != "waveform":
        raise CheckpointError(
            f"{file}: {family.classes} takes log-mel features, which such a file leaves to its caller; export the "
            "checkpoint that it was made from, whose features are then computed in the graph"
        )
    head = head_of(config, family, str(path))
    if head == POOLED:
        raise CheckpointError(f"{file}: a head of code that comes with a checkpoint is exported from torch's weights")
    labels = read_labels(path, config, head, language, None if vocab is None else Path(vocab), label_groups)
    if labels.adapter is not None:
        raise CheckpointError(f"{file}: holds the weights of one language; export {language!r} from torch's weights")
    return OnnxCheckpoint(
        path, file, str(source), config, family, head, labels, read_preprocessing(path, normalize, "waveform")
    )


def _data_files(model: onnx.ModelProto) -> list[str]:
    """The files beside a graph that hold its weights, in the order of their names."""
    return sorted({e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"})


def find_onnx(source: Path) -> tuple[Path, Path] | None:
    """The directory with config.json and the graph; None where ``source`` is neither of them.

    Raises CheckpointError where a graph has no config.json, and where only quantised forms are there.
    """
    if source.suffix == ".onnx" and is_file(source):
        folder = next((path for path in (source.parent, source.parent.parent) if (path / CONFIG).is_file()), None)
        if folder is None:
            raise CheckpointError(
                f"{source}: no {CONFIG} beside it or in the folder above; put the model's {CONFIG}, "
                "preprocessor_config.json and tokenizer files there"
            )
        return folder, source
    if not is_file(source / CONFIG) or any(list(source.glob(pattern)) for pattern in _TORCH):
        return None
    graphs = [source / MODEL, source / FOLDER / MODEL]
    named = next((path for path in graphs if path.is_file()), None)
    others = sorted([*source.glob("*.onnx"), *(source / FOLDER).glob("*.onnx")])
    if named is None and others:
        raise CheckpointError(
            f"{source}: holds {others[0].name}, but no {MODEL} in float32; download {FOLDER}/{MODEL}, or name a file"
        )
    return None if named is None else (source, named)


def _refusal(model: onnx.ModelProto, outputs: Sequence[str]) -> str | None:
    """Why a graph cannot be imported; None where no check fails."""
    return _operators_refusal(model) or _inputs_refusal(model) or _outputs_refusal(model, outputs)


def _operators_refusal(model: onnx.ModelProto) -> str | None:
    """Rule 3."""
    opset = max((entry.version for entry in model.opset_import if entry.domain in _OWN), default=0)
    quantised = sorted({node.op_type for node in model.graph.node} & _QUANTISED)
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in _OWN})
    if _computes_in_half(model):
        return _FLOAT16
    if quantised:
        return (
            f"its weights are quantised ({', '.join(quantised[:2])}); name the file in float32 and quantize the "
            "bundle, which measures what is lost"
        )
    if foreign:
        return f"it uses operators that only one engine has ({', '.join(foreign[:2])}); {_AGAIN}"
    if not OPSETS[0] <= opset <= OPSETS[1]:
        return f"it is of opset {opset}; {OPSETS[0]} to {OPSETS[1]} can be imported: export it again with opset 17"
    return None


def _computes_in_half(model: onnx.ModelProto) -> bool:
    """Whether values are rounded to 16 bits between inputs and outputs in float32 (converters' ``keep_io_types``).

    Weights that are stored in 16 bits and cast to float32 where they are read compute in float32.
    """
    import onnx

    half = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    stored = {tensor.name for tensor in model.graph.initializer if tensor.data_type in half}
    for node in model.graph.node:
        if node.op_type == "Cast":
            rounds = next((attribute.i for attribute in node.attribute if attribute.name == "to"), 0) in half
            if rounds:
                return True
        elif stored.intersection(node.input):
            return True
    return False


def _inputs_refusal(model: onnx.ModelProto) -> str | None:
    """Rule 1."""
    import onnx

    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value.type.tensor_type for value in model.graph.input if value.name not in weights}
    if "input_features" in inputs:
        return "it takes features that its caller computes; export the checkpoint that it was made from"
    if set(inputs) - {INPUT_VALUES, MASK} or INPUT_VALUES not in inputs:
        return f"its inputs are {', '.join(inputs)}; this family's take {INPUT_VALUES}, and perhaps {MASK}"
    for name, kind in inputs.items():
        shape = [axis.dim_value or axis.dim_param for axis in kind.shape.dim]
        if len(shape) != 2 or isinstance(shape[1], int):
            return f"{name} has the fixed shape {shape}; export it again with the number of samples left open"
    if inputs[INPUT_VALUES].elem_type != onnx.TensorProto.FLOAT:
        return _FLOAT16
    return None


def _outputs_refusal(model: onnx.ModelProto, outputs: Sequence[str]) -> str | None:
    """Rule 2."""
    import onnx

    found = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    missing = [name for name in outputs if name not in found]
    if missing:
        return f"it has no output {missing[0]} (it has {', '.join(found)}), which the head in {CONFIG} gives; {_AGAIN}"
    return _FLOAT16 if {found[name] for name in outputs} != {onnx.TensorProto.FLOAT} else None

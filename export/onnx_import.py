"""An ONNX file of another exporter as a bundle: the contract is put around it, and the result compared with the file.

The file's computation is taken as it is; whether its weights are those of the checkpoint cannot be checked here. The
gate checks that the bundle gives, from raw samples, what the file gives for each clip alone after transformers' feature
extractor, at the same points as an export from torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from ..graphs.graph import Graph
from ..graphs.split import split_stages
from ..graphs.storage import DataFile, save_graph
from ..runtime.audio import loudness
from ..runtime.bundle.documents import BundleJson, ParityPointJson
from ..runtime.bundle.read import SELFTEST, Bundle, Variant
from ..runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_VALUES, NORMALIZED, ModelSpec, Stage
from ..runtime.bundle.write import describe_variant, new_bundle, write_manifest
from ..runtime.engines import library
from ..runtime.errors import CheckpointError, EngineError, first_line
from . import parity
from .head_spec import OUTPUTS, head_options
from .onnx_files import OnnxCheckpoint
from .onnx_graph import MASK, add_contract
from .passes import tidy
from .record import copy_files, provenance
from .selftest_data import write_selftest
from .steps import adapter_steps, feature_steps, front_end_norm, speaker_steps, squeeze_steps

if TYPE_CHECKING:
    import onnx
    from onnxruntime import InferenceSession

_DEFAULTS: dict[str, object] = {
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "tdnn_kernel": (5, 3, 3, 1, 1),
    "tdnn_dilation": (1, 2, 3, 1, 1),
    "adapter_kernel_size": 3,
    "adapter_stride": 2,
    "num_adapter_layers": 3,
}
"""transformers' defaults for keys that config.json may leave out; the file's frames are compared with them."""
_WIDTH = 512
"""transformers' default number of channels of the last convolution."""
_GROUP_NORM_DEFAULT = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "sew", "sew-d")
"""Architectures whose front end has a group norm unless config.json says otherwise."""


def import_onnx(
    checkpoint: OnnxCheckpoint,
    destination: Path,
    *,
    trained_seconds: float | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda step: None,
    on_parity: Callable[[tuple[ParityPointJson, ...]], None] = lambda points: None,
) -> Bundle:
    """Write a bundle around an ONNX file, compared with the file on each clip alone.

    trained_seconds: the longest clip of its training, where known. progress is called with each step, on_parity with
    the gate's table whether it passes or not. Raises CheckpointError for a file that cannot be imported, GateRefused
    for a mismatch; then nothing is written.
    """
    with new_bundle(destination, overwrite) as staged:
        progress("reading the graph")
        spec = replace(onnx_spec(checkpoint), trained_seconds=trained_seconds)
        progress("running the file on each clip")
        reference = OriginalGraph(checkpoint, spec)
        for case in parity.cases(spec):
            for clip in case.clips:
                reference(clip)
        reference.close()
        progress("comparing with the file")
        draft, variant, found = _compared(checkpoint, spec, reference, staged)
        on_parity(found)
        parity.refuse_mismatch(found, "the ONNX file")
        progress("writing the bundle")
        write_selftest(draft, variant, staged / SELFTEST)
        files = (*copy_files(checkpoint.path, checkpoint.labels.vocabulary, staged), SELFTEST)
        parameters = Graph.load(staged / variant.graphs["full"]).parameters
        origin = provenance(checkpoint.name, checkpoint.digest(), parameters, found, "the ONNX file")
        write_manifest(staged, draft.spec, (variant,), origin, files)
    return Bundle.open(destination, ask_signature=False)


def _compared(
    checkpoint: OnnxCheckpoint, spec: ModelSpec, reference: OriginalGraph, staged: Path
) -> tuple[Bundle, Variant, tuple[ParityPointJson, ...]]:
    """The draft with its points: for any batch where the mask is exact at every point, else for one clip at a time."""
    if any(value.name == MASK for value in checkpoint.graph.graph.input):
        draft, variant = _write(checkpoint, spec, None, staged)
        # A graph may have been traced for one size of batch, and fails at others.
        with contextlib.suppress(EngineError):
            points = parity.check(draft, variant, reference)
            if all(point["passed"] for point in points):
                return draft, variant, points
    draft, variant = _write(checkpoint, spec, 1, staged)
    return draft, variant, parity.check(draft, variant, reference)


def onnx_spec(checkpoint: OnnxCheckpoint) -> ModelSpec:
    """What a client must know about the file; raises CheckpointError where labels and outputs do not agree."""
    group = {"feat_extract_norm": "group"} if checkpoint.family.name in _GROUP_NORM_DEFAULT else {}
    config = SimpleNamespace(**{**_DEFAULTS, **group, **checkpoint.config})
    labels, head = checkpoint.labels, checkpoint.head
    name, options = head_options(head, config, labels)
    width = _last_axis(checkpoint)
    if labels.names and width not in (0, len(labels.names)):
        raise CheckpointError(
            f"{checkpoint.file}: gives {width} scores for the {len(labels.names)} labels of the files around it; they "
            "are of another model"
        )
    features = feature_steps(config)
    # An x-vector of the sum of the encoder's layers has nothing of the adapter after them.
    sums_layers = head.name == "xvector" and getattr(config, "use_weighted_layer_sum", False)
    adapter = () if sums_layers else adapter_steps(config)
    after = speaker_steps(config) if head.name == "xvector" else ()
    return ModelSpec(
        architecture=checkpoint.family.name,
        head=name,
        normalize=checkpoint.normalize,
        norm=front_end_norm(config),
        outputs=OUTPUTS[head.name],
        labels=labels.names,
        time=(*features, *squeeze_steps(config), *adapter, *after),
        feature_steps=len(features),
        head_options=options,
        blank=labels.blank,
        delimiter=labels.delimiter,
        tokenizer=labels.tokenizer,
        sample_rate=checkpoint.sample_rate,
        language=labels.language,
    )


class OriginalGraph:
    """The original file on one clip [samples], after transformers' feature extractor; results are kept."""

    def __init__(self, checkpoint: OnnxCheckpoint, spec: ModelSpec) -> None:
        """Load the file in ONNX Runtime; raises CheckpointError where that refuses it."""
        self.checkpoint, self.spec = checkpoint, spec
        self._known: dict[bytes, dict[str, NDArray[np.float32]]] = {}
        ort = library("onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session: InferenceSession | None = ort.InferenceSession(
                str(checkpoint.file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no public base class
            raise CheckpointError(f"{checkpoint.file}: ONNX Runtime refuses it ({first_line(error)})") from error

    def __call__(self, clip: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Outputs by the bundle's names, without the batch axis; raises CheckpointError where the file fails."""
        key = clip.tobytes()
        if key not in self._known:
            self._known[key] = self._run(clip)
        return self._known[key]

    def close(self) -> None:
        """Release the file; outputs of clips that were run are kept."""
        self._session = None

    def _run(self, clip: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        assert self._session is not None
        ready = loudness.measure([clip]).normalized(clip) if self.spec.normalize else clip
        feeds: dict[str, NDArray[np.generic]] = {INPUT_VALUES: ready[None].astype(np.float32)}
        for item in self._session.get_inputs():
            if item.name == MASK:
                kind = {"tensor(int32)": np.int32, "tensor(bool)": np.bool_}.get(item.type, np.int64)
                feeds[MASK] = np.ones((1, len(clip)), kind)
        names = self.checkpoint.outputs
        try:
            values = self._session.run(list(names.values()), feeds)
        except Exception as error:  # ONNX Runtime's errors have no public base class
            raise CheckpointError(
                f"{self.checkpoint.file}: fails on a clip of {len(clip)} samples ({first_line(error)}); export it "
                "again with dynamic axes"
            ) from error
        return {name: np.asarray(value[0]) for name, value in zip(names, values)}


def _write(checkpoint: OnnxCheckpoint, spec: ModelSpec, max_batch: int | None, staged: Path) -> tuple[Bundle, Variant]:
    """Write the graphs with the contract around them; the bundle is a draft without bundle.json."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(checkpoint.graph)
    graph = Graph(model, checkpoint.file.parent)
    spec = replace(spec, max_batch=max_batch)
    stages = add_contract(graph, spec, checkpoint.outputs, checkpoint.family.core, max_batch == 1)
    tidy(graph)
    with DataFile(staged / "fp32.data") as data:
        result = graph.to_model(data.store)
    _describe(result, checkpoint, max_batch)
    save_graph(result, staged / "fp32.onnx")
    graphs: dict[Stage, str] = {"full": "fp32.onnx"}
    if stages:
        graphs = split_stages(staged, "fp32.onnx", "fp32")
    variant = describe_variant(staged, "fp32", "fp32", graphs, data=("fp32.data",))
    return Bundle(path=staged, spec=spec, variants=(variant,), document=cast(BundleJson, {})), variant


def _describe(model: onnx.ModelProto, checkpoint: OnnxCheckpoint, max_batch: int | None) -> None:
    """State the shapes of the named values, so that cutting needs no shape inference."""
    from onnx import TensorProto, helper

    batch = max_batch or "batch"
    widths = checkpoint.config.get("conv_dim") or [_WIDTH]
    model.graph.value_info.extend(
        [
            helper.make_tensor_value_info(NORMALIZED, TensorProto.FLOAT, (batch, "samples")),
            helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, (batch, "frames", widths[-1])),
            helper.make_tensor_value_info(FEATURE_LENGTHS, TensorProto.INT64, (batch,)),
        ]
    )
    model.graph.name = "wav2edge"


def _last_axis(checkpoint: OnnxCheckpoint) -> int:
    """The size of the first output's last axis; 0 where the file leaves it open."""
    theirs = next(iter(checkpoint.outputs.values()))
    value = next(value for value in checkpoint.graph.graph.output if value.name == theirs)
    axes = value.type.tensor_type.shape.dim
    return int(axes[-1].dim_value) if axes else 0

"""The whole export: read, trace, store, compare with torch, and only then write the bundle."""

from __future__ import annotations

import datetime
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..runtime.bundle.documents import BundleJson, ParityPointJson, ProvenanceJson
from ..runtime.bundle.read import SELFTEST, Bundle
from ..runtime.bundle.spec import ModelSpec, Norm
from ..runtime.bundle.write import describe_variant, new_bundle, write_manifest
from . import parity
from .checkpoint import Checkpoint
from .heads import head_module, head_options
from .lengths import adapter_steps, feature_steps, squeeze_steps
from .network import Network
from .vocabulary import VOCABULARY

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

LANGUAGE_MODEL = "language_model"
_TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "numpy")

Progress = Callable[[str], None]


def export(
    checkpoint: Checkpoint,
    destination: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda step: None,
    on_parity: Callable[[tuple[parity.Point, ...]], None] = lambda points: None,
) -> Bundle:
    """Export a checkpoint as a new bundle, compared with torch.

    progress is called with each step, on_parity with the gate's table whether it passes or not. Raises CheckpointError
    for a checkpoint that cannot be exported, GateRefused for a mismatch; then nothing is written.
    """
    with new_bundle(destination, overwrite) as staged:
        _export_into(checkpoint, staged, progress, on_parity)
    return Bundle.open(destination)


def _export_into(
    checkpoint: Checkpoint,
    staged: Path,
    progress: Progress,
    on_parity: Callable[[tuple[parity.Point, ...]], None],
) -> None:
    from .convert import write_graphs
    from .graph import ContractGraph
    from .reference import Reference
    from .selftest_data import write_selftest

    progress("loading the checkpoint")
    model = checkpoint.load()
    spec = model_spec(checkpoint, model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    reference = Reference(model, spec, checkpoint.preprocessing)
    # Torch runs every clip before the model is taken apart: the reference is the untouched checkpoint.
    progress("running torch on each clip")
    points = parity.cases(spec)
    for case in points:
        for clip in case.clips:
            reference(clip)
    progress("tracing the graph")
    head = head_module(checkpoint.head, model)
    module = ContractGraph(model, checkpoint.family, head, checkpoint.preprocessing)
    graphs = write_graphs(module, spec, staged, compact=checkpoint.saved_in_half)
    del model, module
    progress("checking parity")
    variant = describe_variant(staged, "fp32", "fp32", graphs, data=("fp32.data",))
    draft = Bundle(path=staged, spec=spec, variants=(variant,), document=cast(BundleJson, {}))
    found = parity.check(draft, variant, reference)
    on_parity(found)
    parity.refuse_mismatch(found)
    progress("writing the bundle")
    write_selftest(draft, variant, staged / SELFTEST)
    files = (*_copy_files(checkpoint, staged), SELFTEST)
    write_manifest(staged, spec, (variant,), _provenance(checkpoint, parameters, found), files)


def model_spec(checkpoint: Checkpoint, model: Network) -> ModelSpec:
    """What a client must know about a loaded checkpoint."""
    head = head_module(checkpoint.head, model)
    labels, config = checkpoint.labels, model.config
    name, options = head_options(checkpoint.head, config, labels)
    return ModelSpec(
        architecture=checkpoint.family.name,
        head=name,
        normalize=checkpoint.normalize,
        norm=_norm(checkpoint, config),
        frontend=checkpoint.preprocessing.frontend,
        outputs=head.outputs,
        labels=labels.names,
        time=(*feature_steps(config), *squeeze_steps(config), *adapter_steps(config), *head.after),
        head_options=options,
        blank=labels.blank,
        delimiter=labels.delimiter,
        tokenizer=labels.tokenizer,
        sample_rate=checkpoint.sample_rate,
        language=labels.language,
    )


def _norm(checkpoint: Checkpoint, config: PreTrainedConfig) -> Norm:
    """The front end's normalisation: ``group`` where its statistics are those of a whole clip."""
    if checkpoint.preprocessing.frontend == "log-mel":
        return "group"
    # data2vec-audio has layer norms and no setting for them.
    return "group" if getattr(config, "feat_extract_norm", "layer") == "group" else "layer"


def _copy_files(checkpoint: Checkpoint, staged: Path) -> tuple[str, ...]:
    """Vocabulary and language model travel as they are; returns their names inside the bundle."""
    copied = []
    if (checkpoint.path / VOCABULARY).is_file():
        shutil.copyfile(checkpoint.path / VOCABULARY, staged / VOCABULARY)
        copied.append(VOCABULARY)
    folder = checkpoint.path / LANGUAGE_MODEL
    if folder.is_dir():
        for source in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = f"{LANGUAGE_MODEL}/{source.relative_to(folder).as_posix()}"
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, staged / name)
            copied.append(name)
    return tuple(copied)


def _provenance(checkpoint: Checkpoint, parameters: int, points: tuple[parity.Point, ...]) -> ProvenanceJson:
    table = [cast(ParityPointJson, asdict(point)) for point in points]
    return {
        "checkpoint": Path(checkpoint.name).resolve().name if Path(checkpoint.name).exists() else checkpoint.name,
        "weights_sha256": checkpoint.digest(),
        "parameters": parameters,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "tools": {"python": platform.python_version(), **{name: _version(name) for name in ("wav2edge", *_TOOLS)}},
        "parity": {"tolerance": parity.TOLERANCE, "engine": "onnxruntime", "points": table},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

"""The whole export: read, trace, store, compare with torch, and only then write the bundle."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from ..runtime import cache
from ..runtime.bundle.documents import BundleJson, ParityPointJson
from ..runtime.bundle.read import SELFTEST, Bundle
from ..runtime.bundle.spec import ModelSpec
from ..runtime.bundle.write import describe_variant, new_bundle, write_manifest
from . import parity
from .checkpoint import Checkpoint
from .head_spec import head_options
from .heads import head_module
from .network import Network
from .record import copy_files, provenance
from .steps import adapter_steps, feature_steps, front_end_norm, squeeze_steps

Progress = Callable[[str], None]


def export(
    checkpoint: Checkpoint,
    destination: Path,
    *,
    trained_seconds: float | None = None,
    overwrite: bool = False,
    progress: Progress = lambda step: None,
    on_parity: Callable[[tuple[ParityPointJson, ...]], None] = lambda points: None,
) -> Bundle:
    """Export a checkpoint as a new bundle, compared with torch.

    trained_seconds: the longest clip of its training, where known. progress is called with each step, on_parity with
    the gate's table whether it passes or not. Raises CheckpointError for a checkpoint that cannot be exported,
    GateRefused for a mismatch; then nothing is written.
    """
    # torch makes this folder, by default in /tmp, although nothing is compiled here.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache.root() / "torchinductor"))
    with new_bundle(destination, overwrite) as staged:
        _export_into(checkpoint, trained_seconds, staged, progress, on_parity)
    return Bundle.open(destination, ask_signature=False)


def _export_into(
    checkpoint: Checkpoint,
    trained_seconds: float | None,
    staged: Path,
    progress: Progress,
    on_parity: Callable[[tuple[ParityPointJson, ...]], None],
) -> None:
    from .convert import write_graphs
    from .graph import ContractGraph
    from .reference import Reference
    from .selftest_data import write_selftest

    progress("loading the checkpoint")
    model = checkpoint.load()
    spec = replace(model_spec(checkpoint, model), trained_seconds=trained_seconds)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    reference = Reference(model, spec, checkpoint.preprocessing)
    # Torch runs every clip before the modules are rewritten: the reference is the unchanged checkpoint.
    progress("running torch on each clip")
    points = parity.cases(spec)
    for case in points:
        for clip in case.clips:
            reference(clip)
    progress("tracing the graph")
    head = head_module(checkpoint.head, model)
    module = ContractGraph(model, checkpoint.family, head, checkpoint.preprocessing)
    graphs = write_graphs(module, spec, staged, compact=checkpoint.saved_in_half)
    reference.release()
    del model, module, head
    progress("checking parity")
    variant = describe_variant(staged, "fp32", "fp32", graphs, data=("fp32.data",))
    draft = Bundle(path=staged, spec=spec, variants=(variant,), document=cast(BundleJson, {}))
    found = parity.check(draft, variant, reference)
    on_parity(found)
    parity.refuse_mismatch(found)
    progress("writing the bundle")
    write_selftest(draft, variant, staged / SELFTEST)
    files = (*copy_files(checkpoint.path, checkpoint.labels.vocabulary, staged), SELFTEST)
    write_manifest(staged, spec, (variant,), provenance(checkpoint.name, checkpoint.digest(), parameters, found), files)


def model_spec(checkpoint: Checkpoint, model: Network) -> ModelSpec:
    """What a client must know about a loaded checkpoint."""
    head = head_module(checkpoint.head, model)
    labels, config = checkpoint.labels, model.config
    name, options = head_options(checkpoint.head, config, labels)
    features = feature_steps(config)
    adapter = () if head.reads_layers else adapter_steps(config)
    return ModelSpec(
        architecture=checkpoint.family.name,
        head=name,
        normalize=checkpoint.normalize,
        norm=front_end_norm(config),
        frontend=checkpoint.preprocessing.frontend,
        outputs=head.outputs,
        labels=labels.names,
        time=(*features, *squeeze_steps(config), *adapter, *head.after),
        feature_steps=len(features),
        head_options=options,
        blank=labels.blank,
        delimiter=labels.delimiter,
        tokenizer=labels.tokenizer,
        sample_rate=checkpoint.sample_rate,
        language=labels.language,
    )

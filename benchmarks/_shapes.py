"""Bundles of random weights in the shapes that users' checkpoints have: time and memory do not depend on the weights.

They are made once, in a cache folder (``wav2edge/benchmarks`` in the user's cache), and made again when the graphs'
code changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.clips import BUILT_IN, calibration_clips
from wav2edge.calibration.observe import observe
from wav2edge.calibration.passes.qdq import observed
from wav2edge.calibration.sites import find_sites
from wav2edge.calibration.staging import staging
from wav2edge.graphs.graph import Graph
from wav2edge.runtime import cache
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.write import add_variants

Norm = Literal["group", "layer"]
LABELS = ("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz")
SHAPES: Mapping[str, Mapping[str, int]] = {
    "base": {},
    "300m": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
"""Sizes of a wav2vec2-base (94 M parameters) and of an XLS-R 300M (317 M)."""
VARIANTS = ("int8-u8s8", "int8-s8s8", "int8-s8s8-bf16")
_CALIBRATED_ON = 3  # clips: only the form of the graph counts
_MADE_BY = ("export", "graphs", "calibration/passes", "calibration/build.py", "calibration/schemes.py")


def checkpoint(shape: str, norm: Norm, folder: Path) -> Path:
    """A Wav2Vec2ForCTC of random weights with tokenizer and preprocessor, as transformers saves it."""
    import json

    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    layer = norm == "layer"
    sizes: dict[str, object] = {
        "vocab_size": len(LABELS),
        "feat_extract_norm": norm,
        "do_stable_layer_norm": layer,
        "conv_bias": layer,
        "pad_token_id": 0,
        **SHAPES[shape],
    }
    config = Wav2Vec2Config.from_dict(sizes)
    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=layer)  # type: ignore[no-untyped-call]
    extractor.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({label: index for index, label in enumerate(LABELS)}))
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    settings = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": "|", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def bundle(shape: str, norm: Norm, variants: Sequence[str] = VARIANTS) -> Bundle:
    """The bundle of a shape with fp32 and these variants, all layers in INT8; made where it is not there yet."""
    from wav2edge.export.checkpoint import Checkpoint
    from wav2edge.export.pipeline import export

    place = folder() / f"{shape}-{norm}-{_code()}"
    if not (place / "bundle.json").exists():
        export(Checkpoint.open(checkpoint(shape, norm, folder() / f"{shape}-{norm}-checkpoint")), place)
    made = Bundle.open(place)
    missing = [name for name in variants if name not in {variant.name for variant in made.variants}]
    if not missing:
        return made
    clips = calibration_clips(BUILT_IN, made.spec, longest=5.0, limit=_CALIBRATED_ON)
    graph = Graph.load(made.graph(made.variant("fp32"), "full"))
    sites = find_sites(graph)
    with staging(made) as staged:
        histograms = observe(graph, observed(sites), clips.pieces(), staged)
        builder = VariantBuilder(made, graph, sites, histograms, "min-max", staged)
        built = [builder.build(name, frozenset(builder.never_quantized(name))) for name in missing]
        return add_variants(made, staged, built)


def folder() -> Path:
    """Where they are kept."""
    return cache.directory("benchmarks")


def _code() -> str:
    """A digest of the code that makes a bundle."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for name in _MADE_BY:
        for path in [root / name] if name.endswith(".py") else sorted((root / name).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]

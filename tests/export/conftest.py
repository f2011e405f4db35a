"""Random checkpoints of any shape, made by transformers while the tests run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wav2edge.export import parity
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.graph import ContractGraph
from wav2edge.export.heads import head_module
from wav2edge.export.labels import Labels
from wav2edge.export.pipeline import export, model_spec
from wav2edge.export.reference import Reference
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import Convolution, ModelSpec, Output
from wav2edge.runtime.heads import ctc

torch = pytest.importorskip("torch", reason="export needs the extra [export]")
transformers = pytest.importorskip("transformers", reason="export needs the extra [export]")

LABELS = ("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz")
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": len(LABELS),
    "pad_token_id": 0,
    "apply_spec_augment": False,
}
LAYER: dict[str, Any] = {**TINY, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
GROUP: dict[str, Any] = {**TINY, "feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}

TDNN: dict[str, Any] = {"tdnn_dim": (20, 24, 20, 20, 40), "xvector_output_dim": 24}
CONFORMER: dict[str, Any] = {"classes": "Wav2Vec2Conformer", "conv_depthwise_kernel_size": 7}
BERT: dict[str, Any] = {"classes": "Wav2Vec2Bert", "conv_depthwise_kernel_size": 7}
SQUEEZED: dict[str, Any] = {
    "squeeze_factor": 2,
    "conv_dim": (16,) * 7,
    "conv_kernel": (10, 3, 1, 3, 1, 2, 2),
    "conv_stride": (5, 2, 1, 2, 2, 2, 2),
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "hubert": {"classes": "Hubert"},
    "unispeech": {"classes": "UniSpeech", **GROUP},
    "unispeech-sat": {"classes": "UniSpeechSat"},
    "wavlm": {"classes": "WavLM"},
    "wavlm with group norm": {"classes": "WavLM", **GROUP, "num_buckets": 32, "max_bucket_distance": 80},
    "wavlm x-vector of a weighted layer sum": {
        "classes": "WavLM",
        "head": "ForXVector",
        "use_weighted_layer_sum": True,
        **TDNN,
    },
    "data2vec-audio": {"classes": "Data2VecAudio", "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 19},
    "conformer, relative": {**CONFORMER, "position_embeddings_type": "relative"},
    "conformer, rotary": {**CONFORMER, "position_embeddings_type": "rotary"},
    "conformer, no positions": {**CONFORMER, "position_embeddings_type": None},
    "wav2vec2-bert": BERT,
    "wav2vec2-bert with adapter": {**BERT, "add_adapter": True, "use_intermediate_ffn_before_adapter": True},
    "wav2vec2-bert with adapter of another width": {**BERT, "add_adapter": True, "output_hidden_size": 24},
    "wav2vec2-bert, relative": {**BERT, "position_embeddings_type": "relative"},
    "wav2vec2-bert, rotary": {**BERT, "position_embeddings_type": "rotary"},
    "sew": {"classes": "SEW", **SQUEEZED},
    "sew, odd positional kernel": {"classes": "SEW", **SQUEEZED, "num_conv_pos_embeddings": 31},
    "sew-d": {"classes": "SEWD", **SQUEEZED, "max_position_embeddings": 64, "position_buckets": 16},
    "sew-d, keys to positions alone": {
        "classes": "SEWD",
        **SQUEEZED,
        "max_position_embeddings": 64,
        "position_buckets": -1,
        "share_att_key": False,
        "pos_att_type": ("p2c",),
    },
}
"""A configuration of each architecture that is not Wav2Vec2, and of each way in which its forward pass can differ."""

BUILD = """
import sys
import tensorrt_rtx as trt

path, channels, samples, stride = sys.argv[1], *map(int, sys.argv[2:5])
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file(path), [str(parser.get_error(i)) for i in range(parser.num_errors)]
profile = builder.create_optimization_profile()
for index in range(network.num_inputs):
    tensor = network.get_input(index)
    size = samples if tensor.name != "features" else samples // stride
    rank = len(tensor.shape)
    shapes = [(batch, size * scale, channels)[:rank] for batch, scale in ((1, 1), (1, 2), (2, 3))]
    profile.set_shape(tensor.name, *shapes)
config = builder.create_builder_config()
config.add_optimization_profile(profile)
engine = builder.build_serialized_network(network, config)
assert engine is not None and engine.nbytes > 0
print(engine.nbytes)
"""

MakeCheckpoint = Callable[..., Path]
CompareBatch = Callable[..., None]


def write_checkpoint(directory: Path, head: str = "ForCTC", classes: str = "Wav2Vec2", **config: Any) -> Path:
    """A random model of a shape with everything that a checkpoint has; biases and norms are random as well."""
    torch.manual_seed(7)
    settings = {**LAYER, **config}
    model = getattr(transformers, classes + head)(getattr(transformers, f"{classes}Config")(**settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
            elif "norm" in name and parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            elif "layer_weights" in name:
                parameter.normal_(0, 1)
            elif name.startswith(("lm_head", "classifier")):
                parameter.normal_(0, 0.3)
            elif name.startswith(("tdnn", "projector", "feature_extractor.weight")) and parameter.ndim == 2:
                # As drawn by default, seven layers leave nothing of what tells two clips apart.
                parameter.normal_(0, (2 / parameter.shape[1]) ** 0.5)
    model.save_pretrained(directory)
    if head == "ForCTC":
        labels = LABELS[: settings["vocab_size"]]
        write_json(directory / "vocab.json", {label: index for index, label in enumerate(labels)})
        tokenizer = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>", "word_delimiter_token": "|"}
        write_json(directory / "tokenizer_config.json", tokenizer)
    write_json(directory / "preprocessor_config.json", {"do_normalize": True, "sampling_rate": 16000})
    return directory


def spread(reference: Reference) -> float:
    """How far torch's first outputs for two clips of speech are apart: a comparison of what is always equal is none."""
    samples = max(16000, reference.spec.min_samples)
    first, second = (reference(np.resize(clip, samples)) for clip in parity.speech_clips(16000)[:2])
    name = reference.spec.outputs[0].name
    if "frames" in reference.spec.outputs[0].axes:
        return float(np.abs(first[name].mean(0) - second[name].mean(0)).max())
    return float(np.abs(first[name] - second[name]).max())


def export_bundle(checkpoint: Path, destination: Path) -> Bundle:
    return export(Checkpoint.open(checkpoint), destination)


def write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Write a random checkpoint: ``make_checkpoint(head="ForXVector", hidden_size=48)``."""

    def make(**options: Any) -> Path:
        return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), **options)

    return make


def compare_padded_batch(checkpoint_folder: Path, sizes: Sequence[int], shortest_seconds: float = 0.0) -> None:
    """The module before it is traced, on one batch padded with NaN, gives what torch gives for each clip alone.

    sizes: samples of the clips beyond the shortest one. shortest_seconds: the shortest clip of log-mel models.
    """
    checkpoint = Checkpoint.open(checkpoint_folder)
    model: Any = checkpoint.load()
    spec = model_spec(checkpoint, model)
    reference = Reference(model, spec, checkpoint.preprocessing)
    random = np.random.default_rng(3)
    shortest = max(spec.min_samples, int(shortest_seconds * 16000) if spec.frontend == "log-mel" else 0)
    clips = [random.normal(0, 0.1, shortest + size).astype(np.float32) for size in sizes]
    expected = [reference(clip) for clip in clips]
    module = ContractGraph(model, checkpoint.family, head_module(checkpoint.head, model), checkpoint.preprocessing)
    batch = np.full((len(clips), max(map(len, clips))), np.nan, np.float32)
    for row, clip in zip(batch, clips):
        row[: len(clip)] = clip
    lengths = torch.tensor([len(clip) for clip in clips])
    with torch.no_grad():
        outputs = dict(zip(spec.output_names, module(torch.from_numpy(batch), lengths)))
    for index, clip in enumerate(clips):
        for output in spec.outputs:
            ours, wanted = outputs[output.name][index].numpy(), expected[index][output.name]
            if "frames" in output.axes:
                assert int(outputs["output_lengths"][index]) == spec.frames(len(clip)) == len(wanted)
                ours = ours[: len(wanted)]
            limit = parity.TOLERANCE * max(1.0, np.abs(wanted).max())
            np.testing.assert_allclose(ours, wanted, rtol=0, atol=limit)
    assert all(bool(torch.isfinite(values).all()) for values in outputs.values())


@pytest.fixture(scope="session")
def compare_batch() -> CompareBatch:
    """``compare_padded_batch``, for tests."""
    return compare_padded_batch


@pytest.fixture(scope="session")
def shared_checkpoint(make_checkpoint: MakeCheckpoint) -> MakeCheckpoint:
    """As ``make_checkpoint``, but one for all tests that ask for the same: they read it and leave it as it is."""
    made: dict[str, Path] = {}

    def share(**options: Any) -> Path:
        key = shape_key(options)
        if key not in made:
            made[key] = make_checkpoint(**options)
        return made[key]

    return share


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Bundle]:
    """The bundle of a checkpoint, exported once for all tests that ask for it; they leave it as it is."""
    made: dict[Path, Bundle] = {}

    def share(checkpoint: Path) -> Bundle:
        if checkpoint not in made:
            made[checkpoint] = export_bundle(checkpoint, tmp_path_factory.mktemp("bundles") / "bundle")
        return made[checkpoint]

    return share


def shape_key(options: dict[str, Any]) -> str:
    """Options of ``write_checkpoint`` as text; those that it would fill in are."""
    return json.dumps({"head": "ForCTC", "classes": "Wav2Vec2", **LAYER, **options}, sort_keys=True)


@pytest.fixture(params=list(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest, shared_checkpoint: MakeCheckpoint) -> Path:
    """A random checkpoint of each architecture."""
    return shared_checkpoint(**ARCHITECTURES[request.param])


@pytest.fixture(scope="session")
def layer_checkpoint(shared_checkpoint: MakeCheckpoint) -> Path:
    """A small CTC model with a layer-norm front end."""
    return shared_checkpoint(**LAYER)


@pytest.fixture(scope="session")
def group_checkpoint(shared_checkpoint: MakeCheckpoint) -> Path:
    """A small CTC model with a group-norm front end."""
    return shared_checkpoint(**GROUP)


@pytest.fixture(scope="session")
def layer_bundle(layer_checkpoint: Path, bundle_of: Callable[[Path], Bundle]) -> Bundle:
    """The bundle of ``layer_checkpoint``."""
    return bundle_of(layer_checkpoint)


@pytest.fixture(scope="session")
def group_bundle(group_checkpoint: Path, bundle_of: Callable[[Path], Bundle]) -> Bundle:
    """The bundle of ``group_checkpoint``."""
    return bundle_of(group_checkpoint)


def spec_of(labels: Labels) -> ModelSpec:
    return ModelSpec(
        architecture="wav2vec2",
        head="ctc",
        normalize=True,
        norm="layer",
        outputs=(Output("logits", ("batch", "frames", "labels"), "scores"),),
        labels=labels.names,
        time=(Convolution(400, 320, 0),),
        head_options=ctc.Options(silent=labels.silent, lowercase=labels.lowercase),
        blank=labels.blank,
        delimiter=labels.delimiter,
        tokenizer=labels.tokenizer,
    )


def text_of(path: list[int], labels: Labels) -> str:
    logits = np.zeros((len(path), len(labels.names)), dtype=np.float32)
    logits[np.arange(len(path)), path] = 5.0
    spec = spec_of(labels)
    return ctc.joined(ctc.greedy(logits, spec), spec)


@pytest.fixture(scope="session")
def spell() -> Callable[[list[int], Labels], str]:
    """Our text of a path, one label for each frame."""
    return text_of


@pytest.fixture(scope="session")
def build_engine() -> Callable[..., None]:
    """Build a graph in TensorRT for RTX, which needs no GPU: ``build_engine(path, channels=16, stride=320)``."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs the extra [rtx]")

    def build(path: Path, channels: int, stride: int = 320) -> None:
        command = [sys.executable, "-c", BUILD, str(path), str(channels), "8000", str(stride)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert int(done.stdout.split()[-1]) > 10_000

    return build

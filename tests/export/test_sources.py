"""What is not a checkpoint is named, with the remedy; what is one in another place is found."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.opening import export_checkpoint, open_checkpoint
from wav2edge.export.pipeline import model_spec
from wav2edge.export.reference import Reference
from wav2edge.runtime.errors import CheckpointError, InputError

OPTIMUM = Path(__file__).parent / "onnx_files/optimum-group-ctc"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 377667514\n"


@pytest.fixture
def checkpoint(layer_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(layer_checkpoint, tmp_path / "checkpoint"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_git_lfs_pointer(checkpoint: Path, name: str) -> None:
    """A clone without git-lfs was called damaged, or a pickle that would run code."""
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match="is a Git LFS pointer, not the weights; run `git lfs pull`"):
        Checkpoint.open(checkpoint).load()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"config.json": {"speechbrain_interface": "EncoderASR"}}, "SpeechBrain directory"),
        ({"hyperparams.yaml": {}}, "SpeechBrain directory"),
        ({"dict.ltr.txt": {}, "checkpoint_best.pt": {}}, "fairseq"),
        ({"tf_model.h5": {}}, "TensorFlow"),
        ({"states-200000.ckpt": {}}, r"s3prl, SpeechBrain or Lightning; .* put the config"),
        ({"model.onnx": {}}, "an ONNX graph without its configuration; put the model"),
        ({"model.nemo": {}}, r"no config\.json; model\.nemo is a NeMo model"),
        ({"best.pt": {}, "optimizer.pt": {}}, r"best\.pt is a file of fairseq, torchaudio .* name the file itself"),
        ({"model.pth": {}}, r"model\.pth is a file of torchaudio .* name the file itself"),
        ({"pytorch_model.bin": {}, "training_args.bin": {}}, r"pytorch_model\.bin is weights without their config"),
        ({"ggml-base.bin": {}}, r"ggml-base\.bin is a model of whisper\.cpp"),
        ({"model.safetensors": {}}, r"model\.safetensors is weights without their configuration; put the model's"),
        ({"notes.txt": {}, "training_args.bin": {}}, "no config.json; not a Hugging Face checkpoint"),
    ],
)
def test_directories_that_are_not_checkpoints(tmp_path: Path, files: dict[str, object], reason: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=reason):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wav2vec2.bin", r"; if wav2vec2\.bin holds them, rename it to pytorch_model\.bin$"),
        ("fp16.safetensors", r"; if fp16\.safetensors holds them, rename it to model\.safetensors$"),
        ("model.nemo", r"; model\.nemo is a NeMo model, which is of another family$"),
        ("training_args.bin", r"it needs model\.safetensors or pytorch_model\.bin$"),
    ],
)
def test_weights_of_another_name_are_named(checkpoint: Path, name: str, reason: str) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / name)
    with pytest.raises(CheckpointError, match=reason):
        Checkpoint.open(checkpoint)


@pytest.mark.parametrize("name", ["a" * 300, "x/" * 3000, "a\0b", "x" * 5000])
def test_names_that_no_file_can_have(name: str) -> None:
    """Path.is_file raises OSError for a name that is too long; an adapter's settings may name its base so."""
    with pytest.raises(CheckpointError, match="no such directory"):
        Checkpoint.open(name)


def test_weights_of_tensorflow_alone(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "tf_model.h5")
    with pytest.raises(CheckpointError, match=r"weights are of TensorFlow or Flax .*convert"):
        Checkpoint.open(checkpoint)


def test_outer_folder_of_the_hubs_cache(checkpoint: Path, tmp_path: Path) -> None:
    """The folder that a user finds first holds the checkpoint two levels down."""
    outer = tmp_path / "models--someone--wav2vec2"
    (outer / "refs").mkdir(parents=True)
    snapshot = Path(shutil.copytree(checkpoint, outer / "snapshots" / "0123"))
    assert Checkpoint.open(outer).path == snapshot
    shutil.copytree(checkpoint, outer / "snapshots" / "4567")
    with pytest.raises(CheckpointError, match=r"with 2 snapshots; name one, such as .*4567"):
        Checkpoint.open(outer)
    (outer / "refs" / "main").write_text("0123\n")
    assert Checkpoint.open(outer).path == snapshot


@pytest.mark.parametrize("attention", ["flash_attention_2", "flash_attention_3", "sdpa", "made_up"])
def test_attention_that_is_not_installed_does_not_matter(checkpoint: Path, attention: str) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "_attn_implementation": attention}))
    assert Checkpoint.open(checkpoint).load().config._attn_implementation == "eager"


def test_outputs_in_a_tuple_do_not_matter(checkpoint: Path, tmp_path: Path) -> None:
    """Where config.json has ``"return_dict": false``, ``export`` ended in an internal error."""
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "return_dict": False}))
    opened = Checkpoint.open(checkpoint)
    model = opened.load()
    reference = Reference(model, model_spec(opened, model), opened.preprocessing)
    assert reference(np.zeros(16000, np.float32))["logits"].shape == (49, 32)


def test_classes_that_come_with_the_checkpoint_are_never_run(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config.update(architectures=["MyModel"], auto_map={"AutoModelForCTC": "modeling.MyModel"})
    (checkpoint / "config.json").write_text(json.dumps(config))
    (checkpoint / "modeling.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(CheckpointError, match="trust_remote_code"):
        Checkpoint.open(checkpoint)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"..", b"", b"a" * 5000, b"\0"])
def test_a_hub_cache_that_names_no_snapshot(checkpoint: Path, tmp_path: Path, content: bytes) -> None:
    outer = tmp_path / "models--someone--wav2vec2"
    (outer / "refs").mkdir(parents=True)
    snapshot = Path(shutil.copytree(checkpoint, outer / "snapshots" / "0123"))
    (outer / "refs" / "main").write_bytes(content)
    assert Checkpoint.open(outer).path == snapshot


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "tokenizer_config.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_opened(checkpoint: Path, name: str) -> None:
    """Whoever opened it waited for ever."""
    (checkpoint / name).unlink(missing_ok=True)
    os.mkfifo(checkpoint / name)
    with pytest.raises(CheckpointError, match=rf"{name}: not a plain file|no config.json"):
        Checkpoint.open(checkpoint)


@pytest.mark.parametrize("name", ["\n", "x" * 300, "\0", "../model.safetensors"])
def test_shards_with_impossible_names(checkpoint: Path, name: str) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "other.safetensors")
    index = {"weight_map": {"lm_head.weight": name}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="but missing") as caught:
        Checkpoint.open(checkpoint)
    assert "\n" not in str(caught.value)


def test_a_language_whose_name_no_file_can_have(checkpoint: Path) -> None:
    assert Checkpoint.open(checkpoint, language="x" * 300).labels.adapter is None


@pytest.mark.parametrize("container", [None, "Upstream", "state_dict"])
def test_weights_as_speechbrain_and_s3prl_save_them(checkpoint: Path, container: str | None) -> None:
    """A plain state dict of transformers inside their own wrapper and file, beside the model's config.json."""
    state = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    wrapped = {f"model.{name}": value for name, value in state.items()}
    torch.save(wrapped if container is None else {container: wrapped}, checkpoint / "wav2vec2.ckpt")
    torch.save({}, checkpoint / "optimizer.pt")
    model = Checkpoint.open(checkpoint).load()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    shutil.copyfile(checkpoint / "wav2vec2.ckpt", checkpoint / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt and wav2vec2\.ckpt may both be its weights; copy the one"):
        Checkpoint.open(checkpoint)


def test_the_settings_of_the_extractor_that_transformers_reads(checkpoint: Path) -> None:
    """A checkpoint saved again by transformers 5 was normalised as the file says that it had before."""
    (checkpoint / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))
    for key in ("feature_extractor", "audio_processor"):
        settings = {key: {"do_normalize": False, "sampling_rate": 8000}}
        (checkpoint / "processor_config.json").write_text(json.dumps(settings))
        opened = Checkpoint.open(checkpoint)
        assert (opened.normalize, opened.sample_rate) == (False, 8000)
    (checkpoint / "processor_config.json").write_text(json.dumps({"processor_class": "Wav2Vec2Processor"}))
    assert Checkpoint.open(checkpoint).normalize


def test_a_vocabulary_that_is_not_there(checkpoint: Path, tmp_path: Path) -> None:
    """The tokenizer.json of the checkpoint was taken in its place, without a word."""
    table = json.loads((checkpoint / "vocab.json").read_text())
    (checkpoint / "tokenizer.json").write_text(json.dumps({"model": {"vocab": table}}))
    for name in ("vocab.json", "dict.ltr.txt"):
        with pytest.raises(CheckpointError, match=rf"{name}: no such file; name a vocab\.json"):
            Checkpoint.open(checkpoint, vocab=tmp_path / name)


def test_a_revision_is_for_the_hub(checkpoint: Path, tmp_path: Path) -> None:
    """A revision of a weight file or of an ONNX file was ignored."""
    (tmp_path / "model.pt").write_bytes(b"")
    for local, kind in ((checkpoint, "directory"), (tmp_path / "model.pt", "file"), (OPTIMUM, "directory")):
        with pytest.raises(CheckpointError, match=f"revision 'v2' is for a name on the hub; this is a {kind}"):
            open_checkpoint(local, revision="v2")


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_directory_whose_name_is_not_utf8(checkpoint: Path) -> None:
    """It was called truncated or damaged, to be downloaded again."""
    named = os.fsdecode(os.fsencode(checkpoint.parent) + b"/caf\xe9")
    shutil.copytree(checkpoint, named)
    with pytest.raises(CheckpointError, match="this path is not UTF-8"):
        open_checkpoint(named)


@pytest.mark.parametrize("place", [".", ".."])
def test_a_checkpoint_inside_the_bundle_that_it_would_replace(checkpoint: Path, place: str) -> None:
    """``export --overwrite`` removed the checkpoint together with the old bundle."""
    bundle = checkpoint / place
    document = {"format": 1, "spec": {}, "variants": []}
    (bundle / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"the checkpoint .* is in it; choose another"):
        export_checkpoint(open_checkpoint(checkpoint), bundle, overwrite=True)
    assert (checkpoint / "model.safetensors").is_file()

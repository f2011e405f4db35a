"""Files by which folders and repositories of other tools are recognised, with what to do."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

_BESIDE = "the model's config.json, preprocessor_config.json and tokenizer files"
SPEECHBRAIN = "a SpeechBrain directory; save its transformers model with save_pretrained and export that"
_SIGNS = (
    ("hyperparams.yaml", SPEECHBRAIN),
    ("dict.*.txt", "a fairseq directory; name its .pt file, on this machine"),
    ("*.nemo", "a NeMo model, which is of another family"),
    (
        "*.ckpt",
        "a training checkpoint of s3prl, SpeechBrain or Lightning; if it holds a model of transformers, put the "
        "config.json, preprocessor_config.json and tokenizer files of that model beside it",
    ),
    ("*.onnx", f"an ONNX graph without its configuration; put {_BESIDE} beside it"),
    (
        "*.h5",
        "a TensorFlow model without config.json; save it with transformers' save_pretrained and convert it to PyTorch",
    ),
    (
        "*.pt",
        "a file of fairseq, torchaudio or a training loop; name the file itself if it is a fine-tuned model of the "
        f"former two, with dict.ltr.txt beside it, else put {_BESIDE} beside it",
    ),
    (
        "*.pth",
        "a file of torchaudio or a training loop; name the file itself if it is a fine-tuned model of the former, else "
        f"put {_BESIDE} beside it",
    ),
    ("*.gguf", "a model of llama.cpp or whisper.cpp, which is of another family"),
    ("ggml*.bin", "a model of whisper.cpp, which is of another family"),
    ("*.safetensors", f"weights without their configuration; put {_BESIDE} beside it"),
    ("*.bin", f"weights without their configuration, or of another tool; put {_BESIDE} beside it"),
    ("*.tflite", "a model of TensorFlow Lite; export the checkpoint that it was made from"),
    ("*.mlmodel", "a model of Core ML; export the checkpoint that it was made from"),
    ("*.engine", "a plan of TensorRT; export the checkpoint that it was made from"),
    ("*.plan", "a plan of TensorRT; export the checkpoint that it was made from"),
)
_OF_TRAINING = ("training_args.bin", "optimizer.*", "scheduler.*", "scaler.*", "rng_state*", "random_states*")
"""What trainers write beside the weights."""


def found_instead(names: Iterable[str]) -> str | None:
    """What the first known one of some files is, "FILE is …; what to do"; None where none of them is known."""
    known = sorted(name for name in names if not is_of_training(name))
    for pattern, meaning in _SIGNS:
        for name in known:
            if fnmatchcase(_base(name), pattern):
                return f"{name} is {meaning}"
    return None


def is_of_training(name: str) -> bool:
    """Whether a file holds the state of a trainer, not of a model."""
    return any(fnmatchcase(_base(name), pattern) for pattern in _OF_TRAINING)


def _base(name: str) -> str:
    return name.rpartition("/")[2]

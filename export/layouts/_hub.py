"""The small files of a checkpoint as transformers and its relatives read them: settings, feature extractor, tokenizer.

They describe the packed graph, not the checkpoint that it was made from: of the network only its steps in time, which
pipelines use for time stamps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...runtime.errors import InputError
from ...runtime.heads import sequence_classification
from ..families import FAMILIES, HEADS
from ._job import Job

_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def check(job: Job, client: str) -> None:
    """Raise InputError for models that these files cannot describe."""
    job.need(client, "ctc", "sequence_classification", rate=None)
    if job.spec.frontend != "waveform":
        raise InputError(
            f"{job.bundle.path}: {client} itself computes log-mel features for {job.spec.architecture}; the graph "
            "of a bundle takes the waveform"
        )
    if job.spec.head != "sequence_classification":
        return
    options = job.spec.options(sequence_classification.Options)
    if options.multi_label or options.groups:
        raise InputError(f"{job.bundle.path}: several labels hold at once; {client} makes one softmax over all of them")


def write(
    job: Job,
    folder: Path,
    client: str,
    *,
    model_type: str,
    padding: float = 0.0,
    more: Mapping[str, object] | None = None,
    fast_tokenizer: bool = False,
) -> None:
    """Write config.json, preprocessor_config.json and, for CTC, the tokenizer's files.

    model_type: the family in config.json, one that the client knows. padding: the value with which the feature
    extractor pads a batch; it does not normalise, because the graph does. more: further keys of config.json.
    fast_tokenizer: write tokenizer.json too, for transformers.js.
    """
    spec = job.spec
    family = next(family for family in FAMILIES if family.name == model_type)
    head = next(head for head in HEADS if head.name == spec.head)
    config: dict[str, object] = {
        "model_type": model_type,
        "architectures": [family.classes + head.suffix],
        "conv_kernel": [step.kernel for step in spec.time],
        "conv_stride": [step.stride for step in spec.time],
        "conv_dim": [512] * len(spec.time),
        "num_feat_extract_layers": len(spec.time),
        "feat_extract_norm": spec.norm,
        "vocab_size": len(spec.labels),
    }
    if spec.head == "ctc":
        config["pad_token_id"] = spec.blank
    else:
        config["id2label"] = {str(index): label for index, label in enumerate(spec.labels)}
        config["label2id"] = {label: index for index, label in enumerate(spec.labels)}
    _write(folder / "config.json", {**config, **(more or {})})
    _write(
        folder / "preprocessor_config.json",
        {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            **({"processor_class": "Wav2Vec2Processor"} if spec.head == "ctc" else {}),
            "feature_size": 1,
            "sampling_rate": spec.sample_rate,
            "padding_value": padding,
            "do_normalize": False,
            "return_attention_mask": False,
        },
    )
    if spec.head == "ctc":
        _write_tokenizer(job, folder, client, fast_tokenizer)


def _write_tokenizer(job: Job, folder: Path, client: str, fast: bool) -> None:
    spec = job.spec
    assert spec.blank is not None
    # Where the labels have no delimiter, one that is not a label: the tokenizer then joins all, as wav2edge does.
    delimiter = "|" if spec.delimiter is None and "|" not in spec.labels else spec.delimiter or "▁"
    symbols = job.symbols(client, delimiter, pieces=False)
    vocabulary = {text: index for index, text in enumerate(symbols)}
    blank = symbols[spec.blank]
    special = {key: text for key, text in _SPECIAL.items() if text in vocabulary}
    # Tokens that the tokenizer would add after the vocabulary where they are not named.
    missing = {key: None for key in _SPECIAL if key not in special}
    _write(folder / "vocab.json", vocabulary)
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "processor_class": "Wav2Vec2Processor",
            "pad_token": blank,
            **special,
            **missing,
            "word_delimiter_token": delimiter,
            "replace_word_delimiter_char": " ",
            "do_lower_case": False,
            "clean_up_tokenization_spaces": False,
        },
    )
    if fast:
        _write(folder / "tokenizer.json", _fast_tokenizer(vocabulary, blank, delimiter, special))


def _fast_tokenizer(
    vocabulary: Mapping[str, int], blank: str, delimiter: str, special: Mapping[str, str]
) -> dict[str, object]:
    """tokenizer.json with the decoder CTC, for transformers.js.

    Its ``cleanup`` does two things: it writes spaces for delimiters, and removes spaces before ``'s`` and the like,
    which changes words. So it is off, and the delimiter in the vocabulary is a space.
    """
    added = sorted({blank, *special.values()}, key=lambda text: vocabulary[text])
    unknown = special.get("unk_token", blank)
    spaced = {" " if text == delimiter else text: index for text, index in vocabulary.items()}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocabulary[text],
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": text != blank,  # special tokens are dropped before repeats are collapsed
            }
            for text in added
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": " "},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": False},
        "post_processor": None,
        "decoder": {"type": "CTC", "pad_token": blank, "word_delimiter_token": " ", "cleanup": False},
        "model": {"type": "WordLevel", "vocab": spaced, "unk_token": unknown},
    }


def _write(path: Path, values: Mapping[str, object]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

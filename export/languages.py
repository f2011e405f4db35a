"""The language of a checkpoint that is exported: vocabulary and weights are chosen together, or it is refused.

MMS keeps one vocabulary for each language in vocab.json and, in files called ``adapter.fra.safetensors``, the weights
that differ between languages: attention adapters and the output layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import CheckpointError
from .documents import is_file, read_object
from .vocabulary import VOCABULARY
from .weights import tensor_shape

_ADAPTERS = ("adapter.{}.safetensors", "adapter.{}.bin")
_OUTPUT_LAYER = "lm_head.weight"


@dataclass(frozen=True)
class LanguageFiles:
    """Where a checkpoint keeps the weights of single languages."""

    folder: Path
    """Its directory; of a LoRA adapter that of the base model."""
    output_layer: bool = True
    """Whether the output layer in such a file is the model's; a LoRA adapter may bring its own."""

    def find(self, language: str | None) -> Path | None:
        """The file with a language's weights; None where there is none, or no language is asked for."""
        if language is None or Path(language).name != language:
            return None
        files = (self.folder / name.format(language) for name in _ADAPTERS)
        return next((file for file in files if is_file(file)), None)


@dataclass(frozen=True)
class Language:
    """The language that was chosen."""

    code: str | None
    """Such as ``fra``; None where nothing names one."""
    vocabulary: Mapping[str, object] | None
    """Its labels and their indices; None where there is no vocab.json."""
    adapter: Path | None = None
    """Its weights, where they are in a separate file."""
    output_layer: bool = True
    """Whether the output layer in that file is the model's."""

    @property
    def size(self) -> int | None:
        """The size of the adapter's output layer; None where it has none that counts."""
        return tensor_shape(self.adapter, _OUTPUT_LAYER)[0] if self.adapter is not None and self.output_layer else None


def choose_language(
    path: Path, target: str | None, asked: str | None, file: Path, files: LanguageFiles | None = None
) -> Language:
    """The language that the user asks for, else the one that the tokenizer names (``target``), else the only one.

    file: vocab.json. files: where the weights of single languages are; None: in ``path``. Raises CheckpointError where
    there are several and none is named, and where the one that is asked for has no weights.
    """
    if asked is not None and "," in asked:
        first, *rest = asked.split(",")
        raise CheckpointError(
            f"{path}: a bundle has one language, its vocabulary, its test clips and its INT8 ranges with it; export "
            f"{first.strip()!r} and {rest[0].strip()!r} as separate bundles"
        )
    files = files or LanguageFiles(path)
    vocabulary = read_object(file)
    if not vocabulary:
        return Language(_same(path, target, asked, files), None)
    nested = {key: value for key, value in vocabulary.items() if isinstance(value, dict)}
    if not nested:
        code = _same(path, target, asked, files)
        # A LoRA adapter's own vocabulary says nothing of the base model's weights.
        adapter = None if files.folder == path else files.find(asked)
        return Language(code, vocabulary, adapter, files.output_layer)
    place = file
    if len(nested) < len(vocabulary):
        raise CheckpointError(
            f"{place}: holds vocabularies of languages beside single labels; save the tokenizer again"
        )
    have = ", ".join(sorted(nested)[:8]) + (" …" if len(nested) > 8 else "")
    if asked is not None and asked not in nested:
        raise CheckpointError(f"{place}: holds no vocabulary for {asked!r}; it has {have}")
    if len(nested) == 1:
        return Language(*next(iter(nested.items())), files.find(asked), files.output_layer)
    code = asked or (target if target in nested else None)
    if code is None:
        raise CheckpointError(
            f"{place}: holds one vocabulary for each of {len(nested)} languages ({have}); "
            "name the one to export with language=CODE"
        )
    adapter = files.find(asked)
    if adapter is None and asked is not None:
        _check_own_weights(files, asked, target if target in nested else None, nested)
    return Language(code, nested[code], adapter, files.output_layer)


def _same(path: Path, target: str | None, asked: str | None, files: LanguageFiles) -> str | None:
    """The language of a checkpoint that has one vocabulary."""
    if asked is not None and target is not None and asked != target:
        raise CheckpointError(
            f"{path}: its weights are of {target!r}, as tokenizer_config.json says, and {VOCABULARY} holds one "
            f"vocabulary; {asked!r} needs a vocabulary and weights of its own"
        )
    if asked is not None and target is None and files.folder == path and files.find(asked) is not None:
        raise CheckpointError(
            f"{path}: has weights for {asked!r}, but {VOCABULARY} holds one vocabulary without a language; "
            "add the vocabulary of all languages that the checkpoint was published with"
        )
    return asked or target


def _check_own_weights(files: LanguageFiles, asked: str, target: str | None, nested: Mapping[str, object]) -> None:
    """Raise CheckpointError unless the checkpoint's weights are those of a language without an adapter file."""
    if target is not None and asked != target:
        raise CheckpointError(
            f"{files.folder}: its weights are of {target!r}, as tokenizer_config.json says, and there is no "
            f"adapter.{asked}.safetensors; download that file, or save the checkpoint with the adapter of {asked!r}"
        )
    others = [language for language in nested if files.find(language) is None]
    has_adapters = len(others) < len(nested)
    if target is None and has_adapters and len(others) > 1:
        raise CheckpointError(
            f"{files.folder}: there is no adapter.{asked}.safetensors, and nothing says that its own weights are of "
            f"{asked!r} rather than of {next(code for code in others if code != asked)!r}; download that file, or name "
            "the language of the weights as target_lang in tokenizer_config.json"
        )

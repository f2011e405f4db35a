"""Beam search with a language model and hotwords, over the interface of pyctcdecode (extra [lm]).

Two libraries offer it: ctc-beam-decoder (C++, x86-64 Linux, Windows and Apple silicon), and pyctcdecode with KenLM.
The beam search finds the words; their times and confidence come from an alignment with the same logits, so that they
mean what they mean in greedy decoding.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import os
import platform
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from .. import cache, documents, remedies
from ..bundle import trust
from ..bundle.read import Bundle
from ..bundle.spec import ModelSpec
from ..errors import EngineError, InputError, first_line
from ..heads import ctc
from .alphabet import Alphabet
from .transcript import Word

FOLDER = "language_model"
HOTWORD_WEIGHT, BEAM_WIDTH = 10.0, 100
"""The defaults of a search."""

_MODELS = (".arpa", ".bin", ".binary", ".klm", ".arpa.gz")
_MAX_SETTINGS, _MAX_WORDS = 1 << 20, 256 << 20
"""Bytes of attrs.json and of unigrams.txt: 5 million words have about 50 MB."""
_BINARY_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n"
_BINARY_HEADER = struct.Struct("<88x12x?7xQ")
"""Of a KenLM binary: whether it ends with its words, and how many it has."""
_LARGEST_WEIGHT = 10_000
_SETTINGS = "the settings of a language model"


class AttributesJson(TypedDict, total=False):
    """``attrs.json`` as pyctcdecode writes it."""

    alpha: float
    beta: float
    unk_score_offset: float
    score_boundary: bool


@dataclass(frozen=True)
class LanguageModel:
    """An n-gram model in ARPA or KenLM's binary form.

    The defaults are those of pyctcdecode; benchmarks/language_model.py chooses alpha and beta by cross-validation.
    """

    path: Path | None
    """The file; None for hotwords alone."""

    unigrams: tuple[str, ...] | None = None
    """The words that it knows, where they are listed."""

    alpha: float = 0.5
    """Weight of the model's log-probabilities; default 0.5."""

    beta: float = 1.5
    """Bonus for each word, in log-probability; default 1.5."""

    unknown: float = -10.0
    """Score of a word that is not in ``unigrams``; default -10."""

    boundary: bool = True
    """Whether the ends of a segment count as ends of a sentence; default true."""

    def digest(self) -> str:
        """A key of all that decides its scores: the file's bytes, the words and the weights.

        Raises InputError where the file cannot be read.
        """
        parts = {**asdict(self), "path": None if self.path is None else trust.sha256(self.path)}
        return cache.key(parts)


def open_language_model(source: str | Path, bundle: Bundle | None = None) -> LanguageModel:
    """Read a language model: ``bundle`` for the bundle's own, an ARPA or KenLM file, or a directory with one.

    A directory is laid out as Hugging Face's Wav2Vec2ProcessorWithLM lays it: the model, ``unigrams.txt`` and
    ``attrs.json``. Raises InputError where there is none.
    """
    if str(source) == "bundle":
        if bundle is None or not (names := _listed(bundle)):
            where = bundle.path if bundle is not None else "the model"
            raise InputError(f"{where}: it brings no language model; name an ARPA or KenLM file")
        return _from_files([bundle.file(name) for name in names], bundle.directory / FOLDER)
    path = Path(source)
    if path.is_dir():
        folder = path / FOLDER if (path / FOLDER).is_dir() else path
        return _from_files([file for file in sorted(folder.iterdir()) if file.is_file()], folder)
    if not path.is_file():
        raise InputError(f"{path}: no such language model; name an ARPA or KenLM file")
    if not path.name.endswith(_MODELS):
        raise InputError(f"{path}: not a language model; it must be one of {', '.join(_MODELS)}")
    return LanguageModel(path, _unigrams(path))


def unavailable() -> str | None:
    """Why no beam search can run here, and what to install; None when one can."""
    if importlib.util.find_spec("ctc_beam_decoder") is not None:
        return None
    if importlib.util.find_spec("pyctcdecode") is not None:
        return None
    remedy = remedies.install("lm")
    if platform.machine() not in ("x86_64", "AMD64"):
        remedy += " && pip install --no-deps pyctcdecode==0.5.0"  # its numpy<2 pin is out of date, it runs on numpy 2
    return f"language models and hotwords need a beam search; install it with `{remedy}`"


class BeamDecoder:
    """Turns logits into words by beam search; give it to ``Transcriber`` as ``decoder``."""

    def __init__(
        self,
        spec: ModelSpec,
        language_model: LanguageModel | None = None,
        *,
        hotwords: Sequence[str] = (),
        hotword_weight: float = HOTWORD_WEIGHT,
        beam_width: int = BEAM_WIDTH,
        word_gap: float = ctc.WORD_GAP,
    ) -> None:
        """Prepare a search.

        hotwords: words or phrases to favour; hotword_weight: how much. beam_width: hypotheses kept at each frame.
        word_gap: seconds without a label that end a word.
        Raises EngineError when the extra [lm] is missing, InputError for a vocabulary that is not one of single
        characters with a word delimiter, for a damaged language model, for a language model or hotwords that it
        cannot spell, for numbers out of bounds, and for hotwords that are one text.
        """
        if reason := unavailable():
            raise EngineError(reason)
        model = language_model or LanguageModel(None)
        _check_search(model, hotwords, hotword_weight, beam_width)
        ctc.check_gap(word_gap)
        self._alphabet = Alphabet(spec, model.unigrams or ())
        self._hotwords = [self._alphabet.checked(word) for word in hotwords]
        self._hotword_weight = hotword_weight
        self._beam_width = beam_width
        self._word_gap = word_gap
        self._model = model
        self._file = model.path and model.path.absolute()  # for copies, wherever they are made
        self._search = _build(self._alphabet, model)

    def __getstate__(self) -> dict[str, object]:
        """Copies, and decoders that are sent to another process, read the language model's file again."""
        return {**self.__dict__, "_search": None, "_model": replace(self._model, path=self._file)}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Raises InputError where the file is missing or damaged, EngineError without the extra [lm]."""
        self.__dict__.update(state)
        if reason := unavailable():
            raise EngineError(reason)
        self._search = _build(self._alphabet, self._model)

    def __call__(self, logits: NDArray[np.float32], spec: ModelSpec, first_frame: int = 0) -> list[Word]:
        """The words of logits [frames, labels]; times as in ctc.words."""
        if len(logits) == 0:
            return []
        scores = self._alphabet.parted(
            self._alphabet.folded(ctc.log_softmax(logits)), ctc.frames_of(self._word_gap, spec)
        )
        beams = self._search.decode_beams(
            scores,
            beam_width=self._beam_width,
            hotwords=self._hotwords or None,
            hotword_weight=self._hotword_weight,
        )
        if not beams:
            return []
        labels = self._alphabet.labels(beams[0][0])
        assert spec.blank is not None
        return ctc.words(ctc.align(logits, labels, spec.blank), spec, first_frame, self._word_gap)


class _Search(Protocol):
    """The part of the decoders of ctc-beam-decoder and pyctcdecode that is used here."""

    def decode_beams(
        self, logits: NDArray[np.float32], *, beam_width: int, hotwords: list[str] | None, hotword_weight: float
    ) -> Sequence[Sequence[str]]:
        """The best texts of logits [frames, labels], best first, each with its figures after it."""


def _build(alphabet: Alphabet, model: LanguageModel) -> _Search:
    try:
        from ctc_beam_decoder import build_ctcdecoder
    except ImportError:
        build_ctcdecoder = importlib.import_module("pyctcdecode").build_ctcdecoder
        if model.path is not None and importlib.util.find_spec("kenlm") is None:
            raise EngineError(f"language models need KenLM; install it with `{remedies.install('lm')}`") from None
    try:
        search: _Search = build_ctcdecoder(
            alphabet.characters,
            kenlm_model_path=str(model.path) if model.path is not None else None,
            unigrams=list(model.unigrams) if model.unigrams else None,
            alpha=model.alpha,
            beta=model.beta,
            unk_score_offset=model.unknown,
            lm_score_boundary=model.boundary,
        )
        return search
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{model.path}: not a language model that can be read ({first_line(error)[:200]})") from error


def _listed(bundle: Bundle) -> list[str]:
    return sorted(name for name in bundle.files if name.startswith(f"{FOLDER}/"))


def _from_files(files: Sequence[Path], folder: Path) -> LanguageModel:
    models = [file for file in files if file.name.endswith(_MODELS)]
    if len(models) != 1:
        raise InputError(f"{folder}: {len(models)} language models ({', '.join(_MODELS)}) where one is needed")
    unigrams, settings = _unigrams(models[0]), AttributesJson()
    for file in files:
        if file.name == "unigrams.txt":
            unigrams = _listed_words(file)
        elif file.name == "attrs.json":
            settings = documents.read(file, AttributesJson, _SETTINGS, max_bytes=_MAX_SETTINGS)
            _check_weights(settings, file)
    return LanguageModel(
        models[0],
        unigrams,
        settings.get("alpha", LanguageModel.alpha),
        settings.get("beta", LanguageModel.beta),
        settings.get("unk_score_offset", LanguageModel.unknown),
        settings.get("score_boundary", LanguageModel.boundary),
    )


def _listed_words(file: Path) -> tuple[str, ...]:
    """The words of ``unigrams.txt``."""
    with file.open("rb") as opened:
        content = opened.read(_MAX_WORDS + 1)
    if len(content) > _MAX_WORDS:
        raise InputError(f"{file}: more than {_MAX_WORDS >> 20} MB of words")
    try:
        return tuple(content.decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _check_search(model: LanguageModel, hotwords: Sequence[str], hotword_weight: float, beam_width: int) -> None:
    """Raise InputError for what no search can use; one with a weight of NaN finds nothing."""
    if isinstance(hotwords, str):
        raise InputError(f"hotwords are a list, and {hotwords!r} is one text: each of its letters would be a hotword")
    weights = {"alpha": model.alpha, "beta": model.beta, "unknown": model.unknown, "hotword_weight": hotword_weight}
    for name, value in weights.items():
        if not abs(value) <= _LARGEST_WEIGHT:
            raise InputError(f"{name} is {value}; a weight is from -{_LARGEST_WEIGHT} to {_LARGEST_WEIGHT}")
    if not isinstance(beam_width, int) or beam_width < 1:
        raise InputError(f"beam_width={beam_width}: give 1 hypothesis or more")


def _check_weights(settings: AttributesJson, file: Path) -> None:
    """Raise InputError for weights that no search can use."""
    for name, value in settings.items():
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST_WEIGHT:
            raise InputError(f"{file}: {name} is {value}; a weight is from -{_LARGEST_WEIGHT} to {_LARGEST_WEIGHT}")


def _unigrams(path: Path) -> tuple[str, ...] | None:
    """The words that an ARPA file, compressed or not, or a binary lists; None for a binary without them."""
    try:
        if not path.name.endswith((".arpa", ".arpa.gz")):
            return _words_of_binary(path)
        words = _first_grams(path)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: it cannot be read ({first_line(error)})") from error
    if not words:
        raise InputError(f"{path}: not an ARPA file (no \\1-grams: section)")
    return words


def _words_of_binary(path: Path) -> tuple[str, ...] | None:
    """The words at the end of a KenLM binary (lm/binary_format.cc, lm/vocab.cc of KenLM: format 5).

    None for one that was built without them (``build_binary -i``), and for other files, which the search refuses.
    """
    with path.open("rb") as file:
        header = file.read(_BINARY_HEADER.size)
        if not header.startswith(_BINARY_MAGIC) or len(header) < _BINARY_HEADER.size:
            return None
        listed, count = _BINARY_HEADER.unpack(header)
        if not listed or count > _MAX_WORDS:
            return None
        size = file.seek(0, os.SEEK_END)
        for length in (min(size, 16 * count + 64), min(size, _MAX_WORDS)):  # most words are short
            file.seek(size - length)
            _, found, words = file.read(length).rpartition(b"<unk>\0")
            listing = words.split(b"\0")[:-1]
            if found and len(listing) in (count - 1, count):  # KenLM adds <unk> where a model has none
                return tuple(word.decode("utf-8", "replace") for word in listing)
    if size > _MAX_WORDS:  # words of more than that may be whole
        return None
    raise InputError(f"{path}: the words at its end are cut off; copy the file again")


def _first_grams(path: Path) -> tuple[str, ...]:
    words: list[str] = []
    inside = False
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("\\"):
                if inside:
                    break
                inside = line.strip() == "\\1-grams:"
            elif inside and len(fields := line.split("\t")) >= 2:
                words.append(fields[1].strip())
    return tuple(words)

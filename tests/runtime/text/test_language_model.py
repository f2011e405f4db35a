"""Beam search with a language model and hotwords changes the words, in the direction it should."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import importlib.util
import json
import pickle
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wav2edge.runtime import remedies
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.bundle.write import describe_variant, new_bundle, write_manifest
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.recordings.transcriber import Transcriber
from wav2edge.runtime.text import language_model
from wav2edge.runtime.text.language_model import BeamDecoder, LanguageModel, open_language_model

ARPA = """\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-99\t<s>\t-0.3
-2.0\t</s>
-3.0\t<unk>
-1.0\tthe\t-0.3
-1.0\tcat\t-0.3
-1.0\tsat\t-0.3

\\2-grams:
-0.2\t<s> the
-0.2\tthe cat
-0.2\tcat sat
-0.2\tsat </s>

\\end\\
"""

PROBING = (
    "c-qU&O)OBz$yLZGDJihh*U!#KO-##7%}LQq&d=3P&QD2INXswEO)OC;OD!tS%+FIW<zhg9274f}pAks>2Lg}?BUFY7OdhaD7Gs0b"
    "EDWfCjR7~flKk5AM;=EbGnzP8&i9YC#SgMU_UQaM6z$ZgupMM>L7n1W%eGRmo%j63ij%`n-eAQr)!_ih@eB;d4$Yc5b00_m!f&vL"
    "@X=`q;P}Lp(X!E4`0N><eT_wLKh##&w1U{XmNEB9t=hK@#8!x%vaf4`jW&pl%TG3?dD(UhHpM`!4<tf7Tp64lLl}aA7yy<RT-N"
)
TRIE = (
    "c-qU&O)OBz$yLZGDJihh*U!#KO-##7%}LQq&d=3P&QD2INXswEO)OC;OD!tS%+FIW<zhg9274f}pAks>2Lg}?BUFY7Odhajf{KAK"
    "8&r-3$pls?T~MdE*RrjYfh*_x$J*it*;kTZoBqh-Xw><0DB7t}Vf#IQvEt<LlQ$4L9S(pTfZ!iHG;8L}eMm;5$v5l=$upwynb7#m"
    "45)yG0XxV|OZ&8R=FF4Z)6&%BXV08jgCc8FnwM?IU{egl`amMY!<E6=F@zx)hyfIzP6G"
)
WITHOUT_WORDS = (
    "c-qU&O)OBz$yLZGDJihh*U!#KO-##7%}LQq&d=3P&QD2INXswEO)OC;OD!tS%+FIW<zhg9274f}pAks>2Lg}?BUFY7Odhajg7QJ)"
    "Y*01}k_oI(x}Z*RuVq^)16R)XkF~`Qvack+HvN&u(Wvw1P_$E{!uEUqV#UefCvPBhIvfBw0Kq?YXx7Y``;d%AlW*7$l4nHYGokUB"
    "8BhTW19p&`miB4s%$X;*r=_XM&z?E621OPCB!x$i"
)
"""KenLM binaries of ARPA in capitals, compressed by zlib, in Base85; the last was built by `build_binary -i`."""

pytestmark = pytest.mark.skipif(
    language_model.unavailable() is not None, reason="the extra [lm] is not installed on this machine"
)


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "cats.arpa"
    path.write_text(ARPA, "utf-8")
    return path


def logits_as(spec: ModelSpec, text: str, doubts: dict[int, tuple[str, float]]) -> np.ndarray:
    """Logits that say a text, one frame a letter and a blank after it; doubts: place → (other letter, its lead)."""
    rows = []
    for place, letter in enumerate(text):
        row = np.full(len(spec.labels), -4.0, np.float32)
        row[spec.labels.index("|" if letter == " " else letter)] = 4.0
        if place in doubts:
            other, lead = doubts[place]
            row[spec.labels.index(other)] = 4.0 + lead
        blank = np.full(len(spec.labels), -4.0, np.float32)
        blank[0] = 4.0
        rows += [row, blank]
    return np.stack(rows)


def text_of(decoder: Callable[..., Any], logits: np.ndarray, spec: ModelSpec) -> str:
    return " ".join(word.text for word in decoder(logits, spec, 0))


def test_a_language_model_corrects_what_was_misrecognised(arpa: Path, ctc_spec: ModelSpec) -> None:
    logits = logits_as(ctc_spec, "the cat sat", {4: ("k", 0.5), 10: ("d", 0.5)})
    assert text_of(ctc.greedy, logits, ctc_spec) == "the kat sad"
    decoder = BeamDecoder(ctc_spec, open_language_model(arpa))
    assert text_of(decoder, logits, ctc_spec) == "the cat sat"


def test_words_keep_the_times_of_an_alignment(arpa: Path, ctc_spec: ModelSpec) -> None:
    logits = logits_as(ctc_spec, "the cat sat", {})
    beam = BeamDecoder(ctc_spec, open_language_model(arpa))(logits, ctc_spec, 50)
    assert beam == ctc.greedy(logits, ctc_spec, 50)


@pytest.mark.parametrize("name", ["CATS.arpa", "CATS.arpa.gz"])
def test_a_model_in_capitals_fits_a_vocabulary_in_small_letters(tmp_path: Path, ctc_spec: ModelSpec, name: str) -> None:
    path = tmp_path / name
    text = ARPA.replace("the", "THE").replace("cat", "CAT").replace("sat", "SAT").encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    logits = logits_as(ctc_spec, "the cat sat", {4: ("k", 0.5)})
    assert text_of(BeamDecoder(ctc_spec, open_language_model(path)), logits, ctc_spec) == "the cat sat"


@pytest.mark.parametrize("content", [PROBING, TRIE])
def test_a_binary_in_capitals_fits_a_vocabulary_in_small_letters(
    tmp_path: Path, ctc_spec: ModelSpec, content: str
) -> None:
    """Its words were not read, so that none of them was known and each word cost the score of an unknown one."""
    path = tmp_path / "cats.klm"
    path.write_bytes(zlib.decompress(base64.b85decode(content)))
    model = open_language_model(path)
    assert model.unigrams is not None and {"THE", "CAT", "SAT"} <= set(model.unigrams)
    logits = logits_as(ctc_spec, "the bat sat", {4: ("c", -0.1)})
    assert text_of(BeamDecoder(ctc_spec, model), logits, ctc_spec) == "the cat sat"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="the words at its end are cut off; copy the file again"):
        open_language_model(path)


def test_a_binary_without_its_words_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "cats.klm"
    path.write_bytes(zlib.decompress(base64.b85decode(WITHOUT_WORDS)))
    assert open_language_model(path).unigrams is None


def test_a_decoder_is_copied_and_pickled(arpa: Path, ctc_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The beam search holds pointers of a library; it reads the file again, wherever the other process runs."""
    monkeypatch.chdir(arpa.parent)
    decoder = BeamDecoder(ctc_spec, open_language_model(arpa.name), hotwords=["bryan"])
    logits = logits_as(ctc_spec, "the bat sat", {4: ("c", -0.1)})
    monkeypatch.chdir("/")
    sent = pickle.dumps(decoder)
    assert text_of(pickle.loads(sent), logits, ctc_spec) == text_of(decoder, logits, ctc_spec) == "the cat sat"
    arpa.unlink()
    with pytest.raises(InputError, match=r"cats\.arpa: "):
        pickle.loads(sent)


def test_a_model_in_capitals_where_a_letter_has_no_single_capital(tmp_path: Path, ctc_spec: ModelSpec) -> None:
    """With ``ß`` among the letters no word of a model in capitals was known, and the search took the wrong ones."""
    spec = dataclasses.replace(ctc_spec, labels=tuple("ß" if label == "z" else label for label in ctc_spec.labels))
    path = tmp_path / "CATS.arpa"
    path.write_text(ARPA.replace("the", "THE").replace("cat", "CAT").replace("sat", "SAT"))
    logits = logits_as(spec, "the cat sat", {4: ("k", 0.5)})
    assert text_of(BeamDecoder(spec, open_language_model(path)), logits, spec) == "the cat sat"
    assert BeamDecoder(spec, open_language_model(path), hotwords=["straße"])


def test_a_model_of_another_script(tmp_path: Path, ctc_spec: ModelSpec) -> None:
    """Every word was unknown to it, which made the text worse without a word."""
    path = tmp_path / "other.arpa"
    path.write_text(ARPA.replace("the", "это").replace("cat", "кот").replace("sat", "сел"), "utf-8")
    with pytest.raises(InputError, match="vocabulary spells no word of the language model, such as 'это'"):
        BeamDecoder(ctc_spec, open_language_model(path))


def test_hotwords_without_a_language_model(ctc_spec: ModelSpec) -> None:
    logits = logits_as(ctc_spec, "call bryan now", {5: ("p", 1.0)})
    assert text_of(ctc.greedy, logits, ctc_spec) == "call pryan now"
    assert text_of(BeamDecoder(ctc_spec, hotwords=["bryan"]), logits, ctc_spec) == "call bryan now"
    with pytest.raises(InputError, match="vocabulary has no 3"):
        BeamDecoder(ctc_spec, hotwords=["mp3"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hotwords": "cat"}, "'cat' is one text"),
        ({"hotword_weight": float("nan")}, "hotword_weight is nan"),
        ({"hotword_weight": float("inf")}, "hotword_weight is inf"),
        ({"language_model": LanguageModel(None, beta=float("nan"))}, "beta is nan"),
        ({"beam_width": 0}, "beam_width=0"),
        ({"beam_width": 1.5}, "beam_width=1.5"),
        ({"word_gap": 0.0}, "word gap 0 s"),
        ({"word_gap": float("inf")}, "word gap inf s"),
    ],
)
def test_numbers_that_no_search_can_use(ctc_spec: ModelSpec, wrong: dict[str, Any], said: str) -> None:
    """Each letter of one text was a hotword, a weight of NaN found no words, and a gap of 0 s cut words apart.

    Other numbers were an error of the library at the first recording.
    """
    with pytest.raises(InputError, match=re.escape(said)):
        BeamDecoder(ctc_spec, **wrong)


def test_hotwords_may_have_their_accents_apart(ctc_spec: ModelSpec) -> None:
    spec = dataclasses.replace(ctc_spec, labels=tuple("ä" if label == "z" else label for label in ctc_spec.labels))
    apart = "a\N{COMBINING DIAERESIS}hnlich"
    logits = logits_as(spec, "ähnlich", {0: ("o", 1.0)})
    assert text_of(BeamDecoder(spec, hotwords=[apart]), logits, spec) == "ähnlich"


@pytest.mark.parametrize("hotword", ["Bryan", "BRYAN", "bryan"])
@pytest.mark.parametrize("capitals", [False, True])
def test_hotwords_take_the_case_of_the_vocabulary(ctc_spec: ModelSpec, hotword: str, capitals: bool) -> None:
    """``coffee`` against a vocabulary in capitals was refused: "the model's vocabulary has no cofe"."""
    spec = ctc_spec
    if capitals:
        labels = tuple(label.upper() if len(label) == 1 else label for label in ctc_spec.labels)
        spec = dataclasses.replace(ctc_spec, labels=labels)
    logits = logits_as(ctc_spec, "call bryan now", {5: ("p", 1.0)})
    found = text_of(BeamDecoder(spec, hotwords=[hotword]), logits, spec)
    assert found == ("CALL BRYAN NOW" if capitals else "call bryan now")
    with pytest.raises(InputError, match="vocabulary has no 3"):
        BeamDecoder(spec, hotwords=["Mp3"])
    with pytest.raises(InputError, match="a hotword is empty"):
        BeamDecoder(spec, hotwords=[" "])


def test_a_word_does_not_span_a_long_pause(arpa: Path, ctc_spec: ModelSpec) -> None:
    """Neither the language model nor the alignment may join words with seconds of silence between them."""
    blank = np.full((40, len(ctc_spec.labels)), -4.0, np.float32)
    blank[:, 0] = 4.0
    logits = np.concatenate((logits_as(ctc_spec, "the c", {}), blank, logits_as(ctc_spec, "at sat", {})))
    for model in (None, open_language_model(arpa)):
        words = BeamDecoder(ctc_spec, model)(logits, ctc_spec, 0)
        assert [word.end - word.start < 0.5 for word in words] == [True] * 4
        assert text_of(BeamDecoder(ctc_spec, model), logits, ctc_spec) == "the c at sat"
    assert text_of(BeamDecoder(ctc_spec, open_language_model(arpa), word_gap=2.0), logits, ctc_spec) == "the cat sat"


def test_silence_and_labels_that_never_become_text(arpa: Path, ctc_spec: ModelSpec) -> None:
    decoder = BeamDecoder(ctc_spec, open_language_model(arpa))
    silence = np.full((20, len(ctc_spec.labels)), -4.0, np.float32)
    silence[:, 0] = 4.0
    assert decoder(silence, ctc_spec, 0) == []
    silence[5, 0], silence[5, ctc_spec.labels.index("<s>")] = -4.0, 4.0
    assert decoder(silence, ctc_spec, 0) == []


def test_a_bundle_brings_its_own(tmp_path: Path, ctc_spec: ModelSpec, arpa: Path) -> None:
    with new_bundle(tmp_path / "own") as directory:
        (directory / "fp32.onnx").write_bytes(b"no graph")
        (directory / "language_model").mkdir()
        (directory / "language_model/2gram.arpa").write_text(ARPA, "utf-8")
        (directory / "language_model/unigrams.txt").write_text("the\ncat\nsat\n")
        (directory / "language_model/attrs.json").write_text('{"alpha": 0.7, "beta": 2.0, "score_boundary": false}')
        names = [f"language_model/{name}" for name in ("2gram.arpa", "unigrams.txt", "attrs.json")]
        variant = describe_variant(directory, "fp32", "fp32", {"full": "fp32.onnx"})
        write_manifest(directory, ctc_spec, [variant], {}, names)
    bundle = Bundle.open(tmp_path / "own")
    found = open_language_model("bundle", bundle)
    assert found == LanguageModel(
        bundle.path / "language_model/2gram.arpa", ("the", "cat", "sat"), 0.7, 2.0, boundary=False
    )
    assert open_language_model(bundle.path) == found, "a directory that holds language_model/ will do"
    logits = logits_as(ctc_spec, "the cat sat", {4: ("k", 0.5)})
    assert text_of(BeamDecoder(ctc_spec, found), logits, ctc_spec) == "the cat sat"


def test_the_whole_path_with_a_language_model(
    arpa: Path, level_transcriber: Transcriber, spell: Callable[[str], Any], ctc_spec: ModelSpec
) -> None:
    greedy = level_transcriber(spell("the cat sat"))
    level_transcriber.decoder = BeamDecoder(ctc_spec, open_language_model(arpa))
    assert level_transcriber(spell("the cat sat")) == greedy


def test_what_cannot_be_used_says_so(tmp_path: Path, ctc_spec: ModelSpec, shapes_bundle: Bundle) -> None:
    (tmp_path / "x.arpa").write_text("these are words\n")
    (tmp_path / "x.arpa.gz").write_bytes(b"no gzip")
    (tmp_path / "cut.arpa.gz").write_bytes(gzip.compress(ARPA.encode())[:40])
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/x.arpa").write_text(ARPA)
    (tmp_path / "weights/attrs.json").write_text('{"alpha": 99999}')
    (tmp_path / "x.bin").write_bytes(b"no model" * 100)
    (tmp_path / "x.txt").write_text("a")
    (tmp_path / "empty").mkdir()
    for name, says in {
        "gone.arpa": "no such language model",
        "x.txt": "not a language model",
        "x.arpa": "not an ARPA file",
        "empty": "0 language models",
        "x.arpa.gz": "it cannot be read",
        "cut.arpa.gz": "it cannot be read",
        "weights": "a weight is from",
    }.items():
        with pytest.raises(InputError, match=says):
            open_language_model(tmp_path / name)
    with pytest.raises(InputError, match=r"x\.bin: not a language model that can be read") as caught:
        BeamDecoder(ctc_spec, open_language_model(tmp_path / "x.bin"))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="brings no language model"):
        open_language_model("bundle", shapes_bundle)
    for other in (
        dataclasses.replace(ctc_spec, delimiter=None),
        dataclasses.replace(ctc_spec, delimiter="_"),  # which no label is: a ValueError of tuple.index
        dataclasses.replace(ctc_spec, labels=(*ctc_spec.labels, "sch")),
    ):
        with pytest.raises(InputError, match="letters"):
            BeamDecoder(other)


def test_without_the_extra_one_line_names_it(ctc_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=re.escape(remedies.install("lm"))):
        BeamDecoder(ctc_spec)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "pyctcdecode" in str(language_model.unavailable())


@pytest.mark.skipif(importlib.util.find_spec("pyctcdecode") is None, reason="pyctcdecode is not installed")
def test_the_other_library_recognises_the_same(
    arpa: Path, ctc_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On ARM boards ctc-beam-decoder has no wheel; pyctcdecode with KenLM is what runs there."""
    monkeypatch.setitem(sys.modules, "ctc_beam_decoder", None)
    logits = logits_as(ctc_spec, "the cat sat", {4: ("k", 0.5), 10: ("d", 0.5)})
    assert text_of(BeamDecoder(ctc_spec, open_language_model(arpa)), logits, ctc_spec) == "the cat sat"
    logits = logits_as(ctc_spec, "call bryan now", {5: ("p", 1.0)})
    assert text_of(BeamDecoder(ctc_spec, hotwords=["bryan"]), logits, ctc_spec) == "call bryan now"
    assert json.dumps(BeamDecoder(ctc_spec)(logits[:0], ctc_spec, 0)) == "[]"


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"alpha": NaN}',
        '{"beta": true}',
        '{"alpha": 1e300}',
        '{"score_boundary": []}',
        "[]",
        '{"alpha": "1"}',
    ],
)
def test_settings_of_unknown_origin(tmp_path: Path, arpa: Path, content: str) -> None:
    """attrs.json went unchecked into the search, and one that was nested deeply ended in a RecursionError."""
    folder = tmp_path / "language_model"
    folder.mkdir()
    (folder / arpa.name).write_bytes(arpa.read_bytes())
    (folder / "attrs.json").write_text(content)
    with pytest.raises(InputError, match=r"attrs\.json") as caught:
        open_language_model(folder)
    assert "\n" not in str(caught.value)

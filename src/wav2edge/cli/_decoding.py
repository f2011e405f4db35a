"""Options of how recordings become words, shared by transcribe, evaluate and listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime.errors import InputError

from ._command import gathered, option
from ._options import FILE
from ._values import COUNT, Number

if TYPE_CHECKING:
    from wav2edge.runtime.bundle.read import Bundle
    from wav2edge.runtime.bundle.spec import ModelSpec
    from wav2edge.runtime.recordings.chunking import Chunking
    from wav2edge.runtime.recordings.decoding import WordDecoder

_WEIGHT = Number(float, -100, 100, "a number")
_CHUNK = Number(float, 0, 600, "seconds", above=True)
_WORDS = "Language model and hotwords (beam search instead of greedy decoding)"
_LONG = "Long recordings"
_OWN = "bundle"


@dataclass(frozen=True)
class Words:
    """Beam search, if it is asked for."""

    lm: str | None
    lm_alpha: float | None
    lm_beta: float | None
    hotwords: tuple[str, ...]
    hotword_weight: float | None
    beam_width: int | None
    word_gap: float

    @property
    def beam(self) -> bool:
        """Whether beam search is asked for; greedy decoding otherwise."""
        return self.lm is not None or bool(self.hotwords)

    def decoder(self, bundle: Bundle) -> WordDecoder | None:
        """Return the beam search that the options ask for; None for greedy decoding with the default bound on pauses.

        Raises InputError for a language model or hotwords that cannot be used, EngineError without the extra [lm].
        """
        import dataclasses

        from wav2edge.runtime.heads.ctc import WORD_GAP, Greedy

        words = _hotwords(self.hotwords)
        if self.hotwords and not words:
            raise InputError(f"--hotwords {','.join(self.hotwords)}: it names no word")
        self._check()
        if not self.beam:
            return None if self.word_gap == WORD_GAP else Greedy(self.word_gap)
        from wav2edge.measure.manifest import AUDIO_SUFFIXES
        from wav2edge.runtime.text.language_model import BEAM_WIDTH, HOTWORD_WEIGHT, BeamDecoder, open_language_model

        from . import _foreign

        model = None
        if self.lm is not None:
            if Path(self.lm).suffix.lower() in AUDIO_SUFFIXES:
                raise InputError(f"--lm took {self.lm}, a recording; put --lm last, or write --lm=FILE.arpa")
            model = open_language_model(self.lm, bundle)
            alpha = model.alpha if self.lm_alpha is None else self.lm_alpha
            beta = model.beta if self.lm_beta is None else self.lm_beta
            model = dataclasses.replace(model, alpha=alpha, beta=beta)
        with _foreign.without_lines(_foreign.EVERYTHING):  # KenLM's progress bar; its errors are exceptions
            return BeamDecoder(
                bundle.spec,
                model,
                hotwords=words,
                hotword_weight=HOTWORD_WEIGHT if self.hotword_weight is None else self.hotword_weight,
                beam_width=self.beam_width or BEAM_WIDTH,
                word_gap=self.word_gap,
            )

    def given(self) -> dict[str, object]:
        """The options, by their names, whose values are not the defaults."""
        from wav2edge.runtime.heads.ctc import WORD_GAP

        return {
            "--lm": self.lm,
            "--lm-alpha": self.lm_alpha,
            "--lm-beta": self.lm_beta,
            "--hotwords": self.hotwords,
            "--hotword-weight": self.hotword_weight,
            "--beam-width": self.beam_width,
            "--word-gap": self.word_gap if self.word_gap != WORD_GAP else None,
        }

    def contents(self, bundle: Bundle) -> dict[str, object]:
        """What the options name, by their names in Words: the hotwords of files too, and a digest of the model.

        Files keep their names when they change. Raises InputError where one cannot be read.
        """
        from wav2edge.runtime.text.language_model import open_language_model

        found: dict[str, object] = {"hotwords": sorted(set(_hotwords(self.hotwords)))}
        found["lm"] = None if self.lm is None else open_language_model(self.lm, bundle).digest()
        return found

    def _check(self) -> None:
        """Raise InputError for weights without what they weigh."""
        searched = "--lm or --hotwords"
        for name, value, given, wanted in (
            ("--lm-alpha", self.lm_alpha, self.lm, "--lm"),
            ("--lm-beta", self.lm_beta, self.lm, "--lm"),
            ("--hotword-weight", self.hotword_weight, self.hotwords, "--hotwords"),
            ("--beam-width", self.beam_width, self.beam, searched),
        ):
            if value is not None and not given:
                raise InputError(f"{name} is for {wanted}")


def words(function: Callable[..., object]) -> Callable[..., object]:
    """Declare ``--lm``, ``--hotwords`` and their weights, as ``words``."""
    return gathered(
        Words,
        "words",
        option(
            "--lm",
            "language model: an ARPA or KenLM file, or its folder; without a value the one in the bundle",
            group=_WORDS,
            metavar="[LM]",
            is_flag=False,
            flag_value=_OWN,
            type=FILE,
        ),
        option(
            "--lm-alpha",
            "weight of the language model (default: as it was tuned, else 0.5)",
            group=_WORDS,
            metavar="X",
            type=_WEIGHT,
        ),
        option(
            "--lm-beta",
            "bonus for each word (default: as it was tuned, else 1.5)",
            group=_WORDS,
            metavar="X",
            type=_WEIGHT,
        ),
        option(
            "--hotwords",
            "words or phrases to favour: a list with commas, or @FILE; may be repeated",
            group=_WORDS,
            metavar="W[,W]",
            multiple=True,
        ),
        option(
            "--hotword-weight",
            "how much hotwords are favoured (default: 10)",
            group=_WORDS,
            metavar="X",
            type=_WEIGHT,
        ),
        option(
            "--beam-width",
            "hypotheses kept at each step (default: 100)",
            group=_WORDS,
            metavar="N",
            type=COUNT,
        ),
        option(
            "--word-gap",
            "silence that ends a word, in seconds (default: 0.5)",
            group=_WORDS,
            metavar="S",
            type=Number(float, 0, 600, "seconds", above=True),
            default=0.5,
        ),
    )(function)


@dataclass(frozen=True)
class Cut:
    """How long recordings are cut into chunks."""

    chunk: float | None
    context: float | None

    @property
    def given(self) -> bool:
        """Whether one of them is."""
        return self.chunk is not None or self.context is not None

    def chunking(self, spec: ModelSpec) -> Chunking:
        """Return both for a model; raises InputError for lengths that leave nothing to decode."""
        from wav2edge.runtime.recordings.chunking import Chunking

        suited = Chunking.suited(spec)
        length = suited.length if self.chunk is None else self.chunk
        return Chunking(length, suited.context if self.context is None else self.context)


def cut(function: Callable[..., object]) -> Callable[..., object]:
    """Declare ``--chunk`` and ``--context``, as ``cut``."""
    return gathered(
        Cut,
        "cut",
        option(
            "--chunk",
            "seconds given to the model at once; longer recordings are cut and stitched (default: 30, or less where "
            "the model was trained on shorter clips)",
            group=_LONG,
            metavar="S",
            type=_CHUNK,
            old=("--window",),
        ),
        option(
            "--context",
            "seconds of overlap on each side of a cut, as context (default: 2)",
            group=_LONG,
            metavar="S",
            type=_CHUNK,
        ),
    )(function)


def skip_silence(function: Callable[..., object]) -> Callable[..., object]:
    """Declare ``--skip-silence`` and ``--no-skip-silence``."""
    return option(
        "--skip-silence/--no-skip-silence",
        "run recordings without their pauses, which takes less time; times stay right (default: run everything)",
        group=_LONG,
        default=False,
    )(function)


def _hotwords(values: tuple[str, ...]) -> tuple[str, ...]:
    from wav2edge.measure import records

    words: list[str] = []
    for value in values:
        if value.startswith("@"):
            value = records.read_text(Path(value[1:]), records.MAX_LINE).replace("\n", ",")
        words += [word.strip() for word in value.split(",") if word.strip()]
    return tuple(words)

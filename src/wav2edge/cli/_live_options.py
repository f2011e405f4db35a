"""Options of ``wav2edge listen``: where sound comes from, what is kept, how captions are made, what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

from . import _options
from ._command import gathered, option
from ._options import OUTPUT
from ._values import SECONDS, SHARE, Number

if TYPE_CHECKING:
    from wav2edge.runtime.live.labels import LabelSettings
    from wav2edge.runtime.live.settings import LiveSettings

Settings = TypeVar("Settings")

SOUND = "Sound (default: the microphone)"
_RULES = "Captions"
_MEASURE = "Measure"
_OF_LABELS = (
    "; with a classifier, the probability from which a label counts (default: the bundle's threshold, else 0.8)"
)
_RATE = Number(int, 1000, 1_000_000, "a rate in Hz")


@dataclass(frozen=True)
class Sound:
    """Where sound comes from."""

    file: str | None
    stdin: bool
    fast: bool
    microphone: str | None
    rate: int | None


@dataclass(frozen=True)
class Keep:
    """What is printed and kept."""

    json: str | None
    schema: bool
    save: tuple[str, ...]
    record: str | None


@dataclass(frozen=True)
class Rules:
    """How captions are made; None is the default of the library and of the board's profile."""

    hop: float | None
    left_context: float | None
    min_confidence: float | None
    silence_after_text: float | None
    silence_without_text: float | None
    longest_utterance: float | None
    speech_threshold: float | None

    def settings(self) -> LiveSettings:
        """Return the options' settings, and this machine's for those that are not given."""
        from wav2edge.devices.open import live_settings

        settings = live_settings()
        endpoint = _with(
            settings.endpoint,
            silence_after_text=self.silence_after_text,
            silence_without_text=self.silence_without_text,
            longest_utterance=self.longest_utterance,
        )
        vad = _with(settings.vad, threshold=self.speech_threshold)
        if self.left_context is not None:
            settings = replace(settings, left_context=self.left_context, kept_context=self.left_context)
        settings = replace(settings, endpoint=endpoint, vad=vad)
        return _with(settings, hop=self.hop, min_confidence=self.min_confidence)

    def label_settings(self) -> LabelSettings:
        """The defaults of a classifier's labels, with hop, confidence and speech threshold where they were given."""
        from wav2edge.runtime.live.labels import LabelSettings

        settings = _with(LabelSettings(), threshold=self.min_confidence, hop=self.hop)
        return replace(settings, vad=_with(settings.vad, threshold=self.speech_threshold))


def _with(settings: Settings, **given: float | None) -> Settings:
    """Settings with the given values replaced; None was not given."""
    change = cast("Callable[..., Settings]", replace)
    return change(settings, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class Measure:
    """A manifest that is played and measured."""

    measure: str | None
    player: str | None
    plot: str | None


sound = gathered(
    Sound,
    "sound",
    option(
        "--file",
        "a recording instead, in real time, as if it were spoken now",
        group=SOUND,
        metavar="AUDIO",
        type=_options.FILE,
    ),
    option(
        "--stdin",
        "a WAV file or samples on standard input: 16-bit, 16 kHz, mono, unless --raw-format says otherwise",
        group=SOUND,
        is_flag=True,
    ),
    option("--fast", "with --file or --measure: as fast as the machine can", group=SOUND, is_flag=True),
    option(
        "--microphone",
        "a part of the microphone's name, or its number (see `wav2edge devices`)",
        group=SOUND,
        metavar="NAME",
    ),
    option(
        "--rate", "open the microphone at this rate, in Hz (default: its own)", group=SOUND, metavar="HZ", type=_RATE
    ),
)

keep = gathered(
    Keep,
    "keep",
    _options.json_file(
        "print every event as one line of JSON instead; with FILE.sock, give them to every program that connects to "
        "that local socket",
        (".jsonl", ".json", ".sock"),
    ),
    option("--schema", "print the JSON Schema of the events, and stop", group=OUTPUT, is_flag=True),
    option(
        "--save",
        "keep the captions: a .srt, .vtt or .jsonl file; may be repeated",
        group=OUTPUT,
        metavar="FILE",
        multiple=True,
        type=_options.WRITTEN_FILE,
    ),
    option(
        "--record", "keep the sound: a .flac or .wav file", group=OUTPUT, metavar="FILE", type=_options.WRITTEN_FILE
    ),
)


def rules(*, labels: bool) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Declare the options of ``Rules``; labels: whether the command runs classifiers too."""
    return gathered(
        Rules,
        "rules",
        option(
            "--hop",
            "seconds between two partial captions (default: 0.5, or what the board's profile says)",
            group=_RULES,
            metavar="S",
            type=SECONDS,
        ),
        option(
            "--left-context",
            "seconds of earlier sound that a partial caption takes into account (default: 4.5 where "
            "convolution features are kept between partials, else 3, or what the board's profile says)",
            group=_RULES,
            metavar="S",
            type=SECONDS,
        ),
        option(
            "--min-confidence",
            "show a word less certain than this only once three partials in a row had it: steadier "
            f"and later (default: off; try 0.8){_OF_LABELS if labels else ''}",
            group=_RULES,
            metavar="P",
            type=SHARE,
            old=("--doubt",),
        ),
        option(
            "--silence-after-text",
            "seconds of silence that end an utterance (default: 1.2)",
            group=_RULES,
            metavar="S",
            type=SECONDS,
        ),
        option(
            "--silence-without-text",
            "seconds of silence that end an utterance without text (default: 2.4)",
            group=_RULES,
            metavar="S",
            type=SECONDS,
        ),
        option(
            "--longest-utterance",
            "utterances longer than this many seconds are cut at a pause (default: 20)",
            group=_RULES,
            metavar="S",
            type=SECONDS,
        ),
        option(
            "--speech-threshold",
            "probability from which sound counts as speech (default: 0.5)",
            group=_RULES,
            metavar="P",
            type=SHARE,
        ),
    )


measure = gathered(
    Measure,
    "measure",
    option(
        "--measure",
        "caption the recordings of a manifest and print word error rates and delays",
        group=_MEASURE,
        metavar="MANIFEST",
        type=_options.FILE,
    ),
    option(
        "--player",
        "play them into the microphone with this command (a file's name is added)",
        group=_MEASURE,
        metavar="COMMAND",
    ),
    option("--plot", "draw the delays as an image", group=_MEASURE, metavar="FILE", type=_options.WRITTEN_FILE),
)

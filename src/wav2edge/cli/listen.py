"""``wav2edge listen``: caption speech live, from a microphone, a file or a pipe."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wav2edge.runtime.errors import InputError

from . import _decoding, _foreign, _options, _sound, _terminal
from ._command import SECONDS, SHARE, Number, command, gathered, option
from ._decoding import Words
from ._options import OUTPUT, One
from ._sound import Held

if TYPE_CHECKING:
    from wav2edge.runtime.live.backlog import Block
    from wav2edge.runtime.live.events import Event
    from wav2edge.runtime.live.session import LiveSession
    from wav2edge.runtime.live.settings import LiveSettings
    from wav2edge.runtime.live.sources import Source

_SOUND = "Sound (default: the microphone)"
_RULES = "Captions"
_MEASURE = "Measure"
_ENGINES_DEVICE = re.compile(r"(?i)(cpu|cuda|gpu|npu|dla|auto)([.:]\d+)?")
_ENDPOINT = ("silence_after_text", "silence_without_text", "longest_utterance")
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


@dataclass(frozen=True)
class Measure:
    """A manifest that is played and measured."""

    measure: str | None
    player: str | None
    plot: str | None


@command(
    "wav2edge listen",
    "wav2edge listen -m my-bundle --save talk.srt --record talk.flac  # captions, kept as they come",
    "wav2edge listen -m my-bundle --file talk.wav --json  # a recording as if it were spoken now, as events",
    "arecord -t raw -f S16_LE -r 16000 | wav2edge listen --stdin",
)
@gathered(
    Sound,
    "sound",
    option(
        "--file", "a recording, at the speed at which it was spoken", group=_SOUND, metavar="AUDIO", type=_options.FILE
    ),
    option(
        "--stdin",
        "a WAV file or samples on standard input: 16-bit, 16 kHz, mono, unless --raw-format says otherwise",
        group=_SOUND,
        is_flag=True,
    ),
    option("--fast", "with --file or --measure: as fast as the machine can", group=_SOUND, is_flag=True),
    option(
        "--microphone",
        "a part of the microphone's name, or its number (see `wav2edge devices`)",
        group=_SOUND,
        metavar="NAME",
    ),
    option(
        "--rate", "open the microphone at this rate, in Hz (default: its own)", group=_SOUND, metavar="HZ", type=_RATE
    ),
)
@_sound.held(each=False, group=_SOUND)
@gathered(
    Keep,
    "keep",
    _options.json_file("print every event as one line of JSON instead of captions", (".jsonl", ".json")),
    option("--schema", "print the JSON Schema of the events, and stop", group=OUTPUT, is_flag=True),
    option(
        "--save",
        "keep the captions: a .srt, .vtt or .jsonl file; may be repeated",
        group=OUTPUT,
        metavar="FILE",
        multiple=True,
        type=_options.FILE,
    ),
    option("--record", "keep the sound: a .flac or .wav file", group=OUTPUT, metavar="FILE", type=_options.FILE),
)
@_options.model()
@_options.one_engine
@gathered(
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
        "seconds of sound that a partial caption sees before its hop (default: 4.5 for models "
        "with layer norm, else 3, or what the board's profile says)",
        group=_RULES,
        metavar="S",
        type=SECONDS,
    ),
    option(
        "--min-confidence",
        "show a word less certain than this only once three partials in a row had it: steadier "
        "and later (default: off; try 0.8)",
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
        "--silence-without-text", "the same before any text (default: 2.4)", group=_RULES, metavar="S", type=SECONDS
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
@gathered(
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
    option("--plot", "draw the delays into an image", group=_MEASURE, metavar="FILE", type=_options.FILE),
)
@_decoding.words
def run(
    sound: Sound,
    held: Held,
    keep: Keep,
    model: str | None,
    one: One,
    rules: Rules,
    measure: Measure,
    words: Words,
) -> int:
    """Caption speech live, from a microphone, a file or a pipe.

    Words appear as they are spoken: first as partial captions that may still change, then, after a pause, as the final
    text of the utterance. On a terminal the captions rewrite themselves; in a pipe each final is a line. Ctrl-C ends.
    """
    if keep.schema:
        from wav2edge.runtime.live import events

        _terminal.write_json(events.schema())
        return 0
    _check(sound, held, keep, measure, one.device)
    from wav2edge.runtime.live.transcriber import LiveTranscriber

    with ExitStack() as stack:
        # A bad source is found before the model is loaded; files are made when all else is well.
        source = None if measure.measure else _source(sound, held)
        if source is not None:
            stack.callback(source.close)
        bundle = _options.open_bundle(model)
        opened = _options.open_model(one, bundle)
        live = LiveTranscriber(opened, _settings(rules), decoder=words.decoder(bundle))
        stack.callback(live.close)
        if source is None:
            from . import _live_measure

            return _live_measure.run(live, sound, measure, keep.json)
        keepers, record = _keepers(keep, stack)
        return _caption(live.session(source, record), sound, keep.json, keepers)


def _check(sound: Sound, held: Held, keep: Keep, measure: Measure, device: str | None) -> None:
    if device is not None and not _ENGINES_DEVICE.fullmatch(device):
        raise InputError(
            f"--device {device}: that is the engine's device now, such as cuda:0 or GPU; "
            f"choose the microphone with --microphone {device}"
        )
    given = [
        name for name, value in (("file", sound.file), ("stdin", sound.stdin), ("measure", measure.measure)) if value
    ]
    if len(given) > 1:
        raise InputError(f"--{given[0]} and --{given[1]}: give one source of sound")
    if sound.fast and (measure.player or not (sound.file or measure.measure)):
        raise InputError("--fast needs --file or --measure; a microphone and a pipe set their own pace")
    microphone = not given or bool(measure.player)
    held.raw()  # options that make no sense together
    for name, value, fits, wanted in (
        ("player", measure.player, measure.measure, "--measure"),
        ("plot", measure.plot, measure.measure, "--measure"),
        ("save", keep.save, not measure.measure, "captions; --measure gives figures (--json)"),
        ("record", keep.record, not measure.measure, "captions; --measure gives figures (--json)"),
        ("microphone", sound.microphone, microphone, "the microphone"),
        ("rate", sound.rate, microphone, "the microphone"),
        ("channel", held.channel != "mix", sound.file or sound.stdin, "--file and --stdin"),
        ("raw-format", held.raw_format, sound.file or sound.stdin, "--file and --stdin"),
    ):
        if value and not fits:
            raise InputError(f"--{name} is for {wanted}")
    _options.check_folder(keep.json)


def _source(sound: Sound, held: Held) -> Source:
    from wav2edge.runtime.audio.channels import checked_channel
    from wav2edge.runtime.live.sources import FileSource

    if sound.file:
        channel = checked_channel(held.channel, sound.file)
        return FileSource(sound.file, sound.fast, channel=channel, raw=held.raw())
    if sound.stdin:
        if sys.stdin is None:
            raise InputError("--stdin: standard input is closed; pipe sound in")
        if sys.stdin.isatty():
            raise InputError("--stdin expects sound, not a terminal; pipe it in: ffmpeg … -ar 16000 -ac 1 -f s16le -")
        from wav2edge.runtime.live.pipe import PipeSource

        channel = checked_channel(held.channel, "standard input")
        return PipeSource(sys.stdin.fileno(), held.raw(), channel=channel)
    from wav2edge.runtime.live.capture import CaptureSettings, Microphone

    return Microphone(CaptureSettings(device=sound.microphone, rate=sound.rate))


def _settings(rules: Rules) -> LiveSettings:
    from dataclasses import replace

    from wav2edge.devices.open import live_settings

    settings = live_settings()
    endpoint = replace(settings.endpoint, **_given(rules, *_ENDPOINT))
    vad = settings.vad
    if rules.speech_threshold is not None:
        vad = replace(vad, threshold=rules.speech_threshold)
    if rules.left_context is not None:
        settings = replace(settings, left_context=rules.left_context, kept_context=rules.left_context)
    return replace(settings, endpoint=endpoint, vad=vad, **_given(rules, "hop", "min_confidence"))


def _given(rules: Rules, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(rules, name)) is not None}


def _keepers(keep: Keep, stack: ExitStack) -> tuple[list[Callable[[Event], None]], Callable[[Block], None] | None]:
    from wav2edge.runtime.live.saving import CaptionFile, SoundRecorder

    keepers: list[Callable[[Event], None]] = []
    paths = [Path(name) for name in keep.save]
    for path in paths:  # all names are looked at before the first file is made
        CaptionFile.check(path)
    if keep.record:
        SoundRecorder.check(Path(keep.record))
    for path in paths:
        keeper = CaptionFile(path)
        stack.callback(keeper.close)
        keepers.append(keeper)
    if not keep.record:
        return keepers, None
    recording = SoundRecorder(Path(keep.record))
    stack.callback(recording.close)
    return keepers, recording


def _caption(session: LiveSession, sound: Sound, json: str | None, keepers: list[Callable[[Event], None]]) -> int:
    from . import _live_display

    # ALSA and PortAudio write to standard error when a microphone goes.
    quiet = not (sound.file or sound.stdin or os.environ.get("WAV2EDGE_DEBUG"))
    with _foreign.without_lines(_foreign.EVERYTHING) if quiet else nullcontext(), _stops(session):
        display = _live_display.choose(json)
        try:
            for event in session:
                for keep in keepers:
                    keep(event)
                display.show(event)
        finally:
            display.close()
    _terminal.note(_summary(session))
    return 0


def _summary(session: LiveSession) -> str:
    import numpy as np

    parts = [f"{session.seconds:.1f} s heard", f"{session.words} words"]
    if session.lags and session.source.present() is not None:
        median, high = np.percentile(session.lags, (50, 95))
        parts.append(f"lag p50 {median:.2f} s, p95 {high:.2f} s")
    if session.seconds:
        parts.append(f"{session.computed / session.seconds:.3f} s of computing per second")
    parts.append(f"{session.dropped:.1f} s dropped")
    return ", ".join(parts)


@contextmanager
def _stops(session: LiveSession) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the session in order; a second Ctrl-C ends it at once."""

    def stop(number: int, frame: object) -> None:
        session.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

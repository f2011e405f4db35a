"""``wav2edge listen``: caption speech live, from a microphone, a file or a pipe."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime import hang_up
from wav2edge.runtime.errors import InputError

from . import _decoding, _foreign, _live_options, _options, _sound, _terminal
from ._command import command
from ._decoding import Words
from ._live_options import Keep, Measure, Rules, Sound
from ._options import One
from ._sound import Held

if TYPE_CHECKING:
    from wav2edge.runtime.live.backlog import Block
    from wav2edge.runtime.live.events import Event
    from wav2edge.runtime.live.model import LiveModel
    from wav2edge.runtime.live.session import LiveSession
    from wav2edge.runtime.live.sources import LiveSource
    from wav2edge.runtime.live.watchdog import Watchdog
    from wav2edge.runtime.model import Model

_ENGINES_DEVICE = re.compile(r"(?i)(cpu|cuda|gpu|npu|dla|auto)([.:]\d+)?")


@command(
    "wav2edge listen",
    "wav2edge listen -m my-bundle --save talk.srt --record talk.flac  # captions, kept as they come",
    "wav2edge listen -m my-bundle --file talk.wav --json  # a recording as if it were spoken now, as events",
    "arecord -t raw -f S16_LE -r 16000 | wav2edge listen --stdin",
)
@_live_options.sound
@_sound.held(each=False, group=_live_options.SOUND)
@_live_options.keep
@_options.model()
@_options.one_engine
@_live_options.rules(labels=True)
@_live_options.measure
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
    text of the utterance. On a terminal captions are redrawn in place; in a pipe each final is a line. Ctrl-C ends.
    """
    if keep.schema:
        from wav2edge.runtime.live import events

        _terminal.write_json(events.schema())
        return 0
    _check(sound, held, keep, measure, one.device)

    with ExitStack() as stack:
        # The source is checked before the model is loaded; files are made last.
        source = None if measure.measure else _source(sound, held)
        if source is not None:
            stack.callback(source.close)
        from wav2edge.runtime.live.watchdog import WatchedSource

        bundle = _options.open_bundle(model)
        opened = _options.open_model(one, bundle)
        live = _live(opened, rules, words, keep.save)
        stack.callback(live.close)
        if source is None:
            from wav2edge.runtime.live.transcriber import LiveTranscriber

            from . import _live_measure

            if not isinstance(live, LiveTranscriber):
                raise InputError(f"--measure is for models that transcribe; this one's head is {opened.spec.head}")
            return _live_measure.run(live, sound, measure, keep.json)
        keepers, record = _keepers(keep, sound.file, stack)
        watchdog = _watchdog(stack)
        session = live.session(WatchedSource(source, watchdog), record)
        watchdog.ready()
        return _caption(session, sound, keep.json, keepers, opened.spec.head == "ctc")


def _watchdog(stack: ExitStack) -> Watchdog:
    """Reports to the service manager that started this process, if one did; the stack ends it."""
    from wav2edge.runtime.live.watchdog import Watchdog

    watchdog = Watchdog.from_environment()
    stack.callback(watchdog.close)
    stack.callback(watchdog.stopping)
    return watchdog


def _live(model: Model, rules: Rules, words: Words, saved: tuple[str, ...]) -> LiveModel:
    """The model ready for live sound: captions where it transcribes, else labels."""
    if model.spec.head == "ctc":
        from wav2edge.runtime.live.transcriber import LiveTranscriber

        return LiveTranscriber(model, rules.settings(), decoder=words.decoder(model.bundle))
    from wav2edge.runtime.live.labels import LiveClassifier

    given = {
        **words.given(),
        "--left-context": rules.left_context,
        "--silence-after-text": rules.silence_after_text,
        "--silence-without-text": rules.silence_without_text,
        "--longest-utterance": rules.longest_utterance,
        "--save FILE.srt and FILE.vtt": any(not name.lower().endswith(".jsonl") for name in saved),
    }
    for name, value in given.items():
        if value:
            raise InputError(f"{name}: for models that transcribe; this one's head is {model.spec.head}")
    return LiveClassifier(model, rules.label_settings())


def _check(sound: Sound, held: Held, keep: Keep, measure: Measure, device: str | None) -> None:
    if device is not None and not _ENGINES_DEVICE.fullmatch(device):
        raise InputError(
            f"--device {device}: this names the engine's device, such as cuda:0 or GPU; "
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
    held.raw()  # raises for options that contradict each other
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
    if measure.measure:
        _options.check_distinct(("--measure", measure.measure), ("--json", keep.json), ("--plot", measure.plot))


def _source(sound: Sound, held: Held) -> LiveSource:
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


def _keepers(
    keep: Keep, source: str | None, stack: ExitStack
) -> tuple[list[Callable[[Event], None]], Callable[[Block], None] | None]:
    """What takes the events and the sound; source: the file that is read, which must not be written."""
    from wav2edge.runtime.live import broadcast
    from wav2edge.runtime.live.saving import CaptionFile, SoundRecorder

    from . import _live_display

    keepers: list[Callable[[Event], None]] = []
    paths = [Path(name) for name in keep.save]
    for path in paths:  # all names are checked before the first file is made
        CaptionFile.check(path)
    if keep.record:
        SoundRecorder.check(Path(keep.record))
    saved = (("--save", name) for name in keep.save)
    _options.check_distinct(("--file", source), *saved, ("--record", keep.record), ("--json", keep.json))
    if keep.json not in (None, "-"):
        to_file = not keep.json.endswith(broadcast.SUFFIX)
        events = _live_display.JsonFile(Path(keep.json)) if to_file else broadcast.EventSocket(Path(keep.json))
        stack.callback(events.close)
        keepers.append(events)
    for path in paths:
        keeper = CaptionFile(path)
        stack.callback(keeper.close)
        keepers.append(keeper)
    if not keep.record:
        return keepers, None
    recording = SoundRecorder(Path(keep.record))
    stack.callback(recording.close)
    return keepers, recording


def _caption(
    session: LiveSession, sound: Sound, json: str | None, keepers: list[Callable[[Event], None]], transcribes: bool
) -> int:
    from . import _live_display

    # ALSA and PortAudio write to standard error when a microphone is unplugged.
    dropped = _foreign.MP3_DECODER if sound.file or sound.stdin else _foreign.EVERYTHING
    quiet = nullcontext() if os.environ.get("WAV2EDGE_DEBUG") else _foreign.without_lines(dropped)
    with quiet, _stops(session):
        display = _live_display.choose(json)
        try:
            for event in session:
                for keep in keepers:
                    keep(event)
                display.show(event)
        finally:
            display.close()
    for line in getattr(session.source, "warnings", ()):  # a microphone has none
        _terminal.note(f"{sound.file or 'standard input'}: {_sound.with_flags(line)}")
    _terminal.note(_summary(session, transcribes))
    return 0


def _summary(session: LiveSession, transcribes: bool) -> str:
    import numpy as np

    found = _counted(session.words, "word") if transcribes else _counted(session.labels, "label")
    parts = [f"{session.seconds:.1f} s of sound", found]
    if session.lags and session.source.present() is not None:
        median, high = np.percentile(session.lags, (50, 95))
        parts.append(f"lag p50 {median:.2f} s, p95 {high:.2f} s")
    if session.seconds:
        parts.append(f"{session.computed / session.seconds:.3f} s of computing per second")
    parts.append(f"{session.dropped:.1f} s dropped")
    return ", ".join(parts)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@contextmanager
def _stops(session: LiveSession) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal end the session in order; a second Ctrl-C ends it at once."""
    terminals = [number for number in (1, 2) if os.isatty(number)]
    hung_up = hang_up.ending()
    numbers = [signal.SIGINT, signal.SIGTERM, *([] if hung_up is None else [hung_up])]

    def stop(number: int, frame: object) -> None:
        session.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if number == hung_up:
            before[hung_up] = signal.SIG_IGN  # the shell may say again that the terminal is gone
            _silence(terminals)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silence(terminals: list[int]) -> None:
    """Let what is still written to terminals that are gone go nowhere: it would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in terminals:
        os.dup2(nowhere, number)
    os.close(nowhere)

"""``wav2edge listen``: a microphone, a file or a pipe in, live captions out."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wav2edge.cli import _decoding, _options
from wav2edge.runtime.errors import InputError

if TYPE_CHECKING:
    from wav2edge.runtime.live.backlog import Block
    from wav2edge.runtime.live.events import Event
    from wav2edge.runtime.live.session import LiveSession
    from wav2edge.runtime.live.settings import LiveSettings
    from wav2edge.runtime.live.sources import Source

HELP = "caption a microphone, a file or a pipe live"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    source = parser.add_argument_group("sound (default: the microphone)").add_mutually_exclusive_group()
    source.add_argument("--file", metavar="AUDIO", help="a recording, paced in real time")
    source.add_argument("--stdin", action="store_true", help="raw 16 kHz 16-bit mono samples on standard input")
    source.add_argument("--measure", metavar="MANIFEST", help="play a manifest through the live path and measure it")
    sound = parser.add_argument_group("more on sound")
    sound.add_argument("--device", metavar="NAME", help="microphone: a part of its name, or its index (see devices)")
    sound.add_argument("--fast", action="store_true", help="with --file or --measure: as fast as the machine can")
    sound.add_argument("--rate", type=_options.positive, metavar="HZ", help="open the microphone at this rate")
    sound.add_argument(
        "--player", metavar="COMMAND", help="with --measure: play into the microphone by this command and a file's name"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one event a line (schema: --schema)")
    output.add_argument("--schema", action="store_true", help="print the JSON Schema of the events and exit")
    output.add_argument("--save", action="append", default=[], metavar="FILE", help="keep finals: .srt, .vtt or .jsonl")
    output.add_argument("--record", metavar="FILE", help="keep the sound: .flac or .wav")
    output.add_argument("--plot", metavar="FILE", help="with --measure: latencies as an image")
    rules = parser.add_argument_group("captions (seconds)")
    rules.add_argument(
        "--hop", type=seconds, metavar="S", help="between two partials (0.5; the device profile may say more)"
    )
    rules.add_argument(
        "--left-context",
        type=seconds,
        metavar="S",
        help="what a partial sees before its hop (4.5 with layer norm, else 3; the same)",
    )
    rules.add_argument(
        "--min-confidence",
        "--doubt",
        dest="min_confidence",
        type=share,
        metavar="P",
        help="show a word less certain than this only once three hypotheses had it: steadier and later (off; try 0.8)",
    )
    rules.add_argument("--silence-after-text", type=seconds, metavar="S", help="silence that ends an utterance (1.2)")
    rules.add_argument("--silence-without-text", type=seconds, metavar="S", help="the same before any text (2.4)")
    rules.add_argument("--longest-utterance", type=seconds, metavar="S", help="longer ones are cut at a pause (20)")
    rules.add_argument("--speech-threshold", type=share, metavar="P", help="probability of speech that counts (0.5)")
    _options.add_model(parser)
    _options.add_engine(parser)
    _decoding.add_language_model(parser)


def run(arguments: argparse.Namespace) -> int:
    """Caption until the source ends or Ctrl-C; or measure; or print the schema."""
    if arguments.schema:
        from wav2edge.runtime.live import events

        _options.write_json(events.schema())
        return 0
    _check(arguments)
    from wav2edge.runtime.live.transcriber import LiveTranscriber
    from wav2edge.runtime.recordings.transcriber import Transcriber

    with ExitStack() as stack:
        # A bad source is found before the model is loaded; files are made when all else is well.
        source = None if arguments.measure else _source(arguments)
        if source is not None:
            stack.callback(source.close)
        bundle = _options.open_bundle(arguments.model)
        model = _options.open_model(arguments, bundle)
        live = LiveTranscriber(
            Transcriber(model, decoder=_decoding.decoder(arguments, bundle)),
            _settings(arguments),
            threads=model.options.threads,
        )
        stack.callback(live.close)
        if source is None:
            from wav2edge.cli import _live_measure

            return _live_measure.run(live, arguments)
        keepers, record = _keepers(arguments, stack)
        return _caption(live.session(source, record), arguments, keepers)


def seconds(text: str) -> float:
    """A number of seconds above zero, for argparse."""
    number = float(text)
    if not 0 < number < 3600:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return number


def share(text: str) -> float:
    """A number between 0 and 1, for argparse."""
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError("must lie between 0 and 1")
    return number


def _check(arguments: argparse.Namespace) -> None:
    if arguments.fast and (arguments.player or not (arguments.file or arguments.measure)):
        raise InputError("--fast needs --file or --measure; a microphone and a pipe set their own pace")
    microphone = not (arguments.file or arguments.stdin or arguments.measure) or bool(arguments.player)
    for name, fits, wanted in (
        ("player", arguments.measure, "--measure"),
        ("plot", arguments.measure, "--measure"),
        ("save", not arguments.measure, "captions; --measure gives figures (--json)"),
        ("record", not arguments.measure, "captions; --measure gives figures (--json)"),
        ("device", microphone, "the microphone"),
        ("rate", microphone, "the microphone"),
    ):
        if getattr(arguments, name) and not fits:
            raise InputError(f"--{name} is for {wanted}")


def _source(arguments: argparse.Namespace) -> Source:
    from wav2edge.runtime.live.sources import FileSource

    if arguments.file:
        return FileSource(arguments.file, arguments.fast)
    if arguments.stdin:
        if sys.stdin is None:
            raise InputError("--stdin: standard input is closed; pipe sound in")
        if sys.stdin.isatty():
            raise InputError("--stdin expects sound, not a terminal; pipe it in: ffmpeg … -ar 16000 -ac 1 -f s16le -")
        from wav2edge.runtime.live.pipe import PipeSource

        return PipeSource(sys.stdin.fileno())
    from wav2edge.runtime.live.capture import CaptureSettings, Microphone

    return Microphone(CaptureSettings(device=arguments.device, rate=arguments.rate))


def _settings(arguments: argparse.Namespace) -> LiveSettings:
    from dataclasses import replace

    from wav2edge.devices.open import live_settings

    def given(*names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(arguments, name)) is not None}

    default = live_settings()
    if arguments.left_context:
        default = replace(default, left_context=arguments.left_context, kept_context=arguments.left_context)
    rules = given("silence_after_text", "silence_without_text", "longest_utterance")
    endpoint = replace(default.endpoint, **rules)
    vad = default.vad
    if arguments.speech_threshold is not None:
        vad = replace(vad, threshold=arguments.speech_threshold)
    return replace(default, endpoint=endpoint, vad=vad, **given("hop", "min_confidence"))


def _keepers(
    arguments: argparse.Namespace, stack: ExitStack
) -> tuple[list[Callable[[Event], None]], Callable[[Block], None] | None]:
    from wav2edge.runtime.live.saving import CaptionFile, SoundRecorder

    keepers: list[Callable[[Event], None]] = []
    paths = [Path(name) for name in arguments.save]
    for path in paths:  # all names are looked at before the first file is made
        CaptionFile.check(path)
    if arguments.record:
        SoundRecorder.check(Path(arguments.record))
    for path in paths:
        keeper = CaptionFile(path)
        stack.callback(keeper.close)
        keepers.append(keeper)
    if not arguments.record:
        return keepers, None
    recording = SoundRecorder(Path(arguments.record))
    stack.callback(recording.close)
    return keepers, recording


def _caption(session: LiveSession, arguments: argparse.Namespace, keepers: list[Callable[[Event], None]]) -> int:
    from wav2edge.cli import _live_display

    with _quiet_sound_system(arguments), _stops(session):
        display = _live_display.choose(arguments.json)
        try:
            for event in session:
                for keep in keepers:
                    keep(event)
                display.show(event)
        finally:
            display.close()
    print(f"wav2edge: {_summary(session)}", file=sys.stderr)
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


@contextmanager
def _quiet_sound_system(arguments: argparse.Namespace) -> Iterator[None]:
    """ALSA and PortAudio write to file descriptor 2 when a microphone goes; our own stderr keeps its place."""
    if arguments.file or arguments.stdin or os.environ.get("WAV2EDGE_DEBUG"):
        yield
        return
    sys.stderr.flush()
    ours, kept = sys.stderr, os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    finally:
        sys.stderr.close()
        os.dup2(kept, 2)
        os.close(kept)
        sys.stderr = ours

"""``wav2edge diarize AUDIO…``: who speaks when, or which label holds when."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime import escape, files
from wav2edge.runtime.errors import InputError

from . import _each, _options, _sound, _terminal
from ._command import command, gathered, option
from ._options import OUTPUT, One
from ._sound import Held
from ._transcripts import check_references, inputs, named, output_names
from ._values import Number, OneOf

if TYPE_CHECKING:
    from wav2edge.runtime.bundle.spec import ModelSpec
    from wav2edge.runtime.heads.frame_classification import Options, Turns

_TURNS = "Turns"
_ENDINGS = {"text": "txt"}


@dataclasses.dataclass(frozen=True)
class TurnRules:
    """How probabilities become turns; None takes the bundle's."""

    onset: float | None
    offset: float | None
    shortest_turn: float | None
    shortest_pause: float | None

    def options(self, spec: ModelSpec) -> Options | None:
        """The bundle's options with what was given; None where the head has none.

        Raises InputError for an offset above the onset.
        """
        from wav2edge.runtime.heads.frame_classification import Options

        if not isinstance(spec.head_options, Options):
            return None
        if self.offset is not None:
            onset = spec.head_options.onset if self.onset is None else self.onset
            if self.offset > onset:
                raise InputError(f"--offset {self.offset:g}: a turn begins at {onset:g}, so it ends at most there")
        given = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        return dataclasses.replace(spec.head_options, **given)


@command(
    "wav2edge diarize meeting.flac -m diarizer",
    "wav2edge diarize 'meetings/*.flac' -m diarizer -f rttm -o turns  # a file for each recording",
    "wav2edge diarize call.wav -m diarizer --channel each -f rttm  # the parties of a telephone call",
)
@_options.recordings("calls/*.wav")
@option(
    "-f",
    "--format",
    "text, rttm (NIST's rich transcription time marks) or JSON (default: text)",
    group=OUTPUT,
    type=OneOf(lambda: ("text", "rttm", "json"), "text|rttm|json"),
    default="text",
)
@option(
    "-o",
    "--output",
    "write DIR/<recording>.<format> instead of printing",
    group=OUTPUT,
    metavar="DIR",
    type=_options.WRITTEN,
)
@_options.model("bundle of a diarizer", embedded=False)
@_options.one_engine
@gathered(
    TurnRules,
    "rules",
    option(
        "--onset",
        "probability at which a turn begins (default: the bundle's, else 0.5)",
        group=_TURNS,
        metavar="P",
        type=Number(float, 0, 1, "a probability"),
    ),
    option(
        "--offset",
        "probability below which it ends, at most --onset (default: the bundle's, else 0.5)",
        group=_TURNS,
        metavar="P",
        type=Number(float, 0, 1, "a probability"),
    ),
    option(
        "--shortest-turn",
        "seconds below which a turn is dropped (default: the bundle's, else 0)",
        group=_TURNS,
        metavar="S",
        type=Number(float, 0, 600, "seconds"),
    ),
    option(
        "--shortest-pause",
        "seconds below which a pause in a turn is closed (default: the bundle's, else 0)",
        group=_TURNS,
        metavar="S",
        type=Number(float, 0, 600, "seconds"),
    ),
)
@_sound.held(each=True)
def run(
    audio: tuple[str, ...],
    format: str,
    output: str | None,
    model: str | None,
    one: One,
    rules: TurnRules,
    held: Held,
) -> int:
    """Print who speaks when, or the times of a model's other labels; turns may overlap.

    A recording that cannot be used is named in one line, the others are processed, and the exit code is 2.
    """
    from wav2edge.runtime.recordings.heads import FrameClassifier

    opened = _each.open_named(model, one, "a diarizer")
    sources = inputs(audio)
    ending = f".{_ENDINGS.get(format, format)}"
    names = output_names([named(source) for source in sources], ending)
    if output is not None:
        check_references(names, Path(output))
    folder = _options.make_folder(output)
    failed: list[str] = []
    documents = []
    with FrameClassifier(opened, options=rules.options(opened.spec)) as turns_of:
        for name, channel, found in _each.of_channels(turns_of, sources, held, failed):
            stem = names[name].removesuffix(ending)
            if folder is not None:
                file = names[name] if channel is None else f"{stem}.ch{channel}{ending}"
                try:
                    text = "".join(f"{line}\n" for line in _lines(name, stem, channel, found, format))
                    files.write_output(folder / file, text, name)
                except InputError as error:
                    _terminal.note(str(error))
                    if name not in failed:
                        failed.append(name)
            elif format == "json":
                documents.append(_document(name, channel, found))
            else:
                recording = f"{escape.one_line(name)}: " if format == "text" and len(sources) > 1 else ""
                for line in _lines(name, stem, channel, found, format):
                    _terminal.out(f"{recording}{line}")
    if format == "json" and folder is None:
        several = len(sources) > 1 or held.channel == "each" or len(documents) != 1
        _terminal.write_json(documents if several else documents[0])
    return 2 if failed else 0


def _document(name: str, channel: int | None, turns: Turns) -> dict[str, object]:
    from wav2edge.runtime.text.formats import printable

    which = {} if channel is None else {"channel": channel}
    return {"audio": printable(name), **which, **dataclasses.asdict(turns)}


def _lines(name: str, stem: str, channel: int | None, turns: Turns, format: str) -> list[str]:
    """The turns of a recording in a format. stem: its name among those of the other recordings."""
    if format == "json":
        return [json.dumps(_document(name, channel, turns), indent=1, ensure_ascii=False)]
    if format == "rttm":
        # NIST RT-09 evaluation plan, appendix A: type file channel onset duration ortho subtype name score lookahead.
        return [
            f"SPEAKER {escape.rttm_field(stem)} {channel or 1} {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> "
            f"{escape.rttm_field(turn.label)} {turn.score:.3f} <NA>"
            for turn in turns.turns
        ]
    which = "" if channel is None else f"  channel {channel}"
    return [f"{turn.start:9.2f} {turn.end:9.2f}  {turn.label}  {turn.score:.2f}{which}" for turn in turns.turns]

"""``wav2edge classify AUDIO…``: label recordings with a classifier."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, cast

from wav2edge.runtime import escape

from . import _each, _options, _sound, _terminal
from ._command import command, option
from ._options import OUTPUT, One
from ._sound import Held
from ._transcripts import inputs
from ._values import COUNT, OneOf

if TYPE_CHECKING:
    from wav2edge.runtime.bundle.spec import ModelSpec
    from wav2edge.runtime.heads.regression import Regression
    from wav2edge.runtime.heads.sequence_classification import Classification
    from wav2edge.runtime.recordings.runner import Runner


@command(
    "wav2edge classify call.wav -m emotion",
    "wav2edge classify 'calls/*.wav' -m emotion -f jsonl > labels.jsonl",
)
@_options.recordings("calls/*.wav")
@option(
    "-f",
    "--format",
    "text, JSON, or a JSON object on each line (default: text)",
    group=OUTPUT,
    type=OneOf(lambda: ("text", "json", "jsonl"), "text|json|jsonl"),
    default="text",
)
@option(
    "--top",
    "labels to print for each recording, or of each group of labels (default: 1)",
    group=OUTPUT,
    metavar="N",
    type=COUNT,
    default=1,
)
@_options.model("bundle of a classifier", embedded=False)
@_options.one_engine
@_sound.held(each=True)
def run(audio: tuple[str, ...], format: str, top: int, model: str | None, one: One, held: Held) -> int:
    """Label recordings with a classifier: emotion, keyword, language, or numbers such as arousal and valence.

    A recording longer than 30 s is classified in chunks, and the chunks' outputs are averaged by their lengths. One
    that cannot be used is named in one line, the others are labelled, and the exit code is 2.
    """
    from wav2edge.runtime.recordings.heads import Classifier, Regressor
    from wav2edge.runtime.text.formats import printable

    opened = _each.open_named(model, one, "a classifier")
    sources = inputs(audio)
    runner = Regressor if opened.spec.head == "regression" else Classifier
    failed: list[str] = []
    documents = []
    with runner(opened) as labels_of:
        either = cast("Runner[Classification | Regression]", labels_of)
        for name, channel, found in _each.of_channels(either, sources, held, failed):
            if format == "text":
                which = "" if channel is None else f" channel {channel}"
                _terminal.out(f"{escape.one_line(name)}{which}: {_line(found, top, opened.spec)}")
                continue
            of = {"audio": printable(name)} if channel is None else {"audio": printable(name), "channel": channel}
            document = {**of, **dataclasses.asdict(found)}
            if format == "jsonl":
                _terminal.out(json.dumps(document, ensure_ascii=False), as_json=True)
            documents.append(document)
    if format == "json":
        several = len(sources) > 1 or held.channel == "each" or len(documents) != 1
        _terminal.write_json(documents if several else documents[0])
    return 2 if failed else 0


def _line(result: Classification | Regression, top: int, spec: ModelSpec) -> str:
    from wav2edge.runtime.heads.regression import Regression

    if isinstance(result, Regression):
        return ", ".join(f"{value.label} {value.value:g}" for value in result.values)
    shown = result.best if top == 1 else result.top(top, spec)
    return ", ".join(f"{score.label} {score.score:.2f}" for score in shown) or "no label"

"""``wav2edge verify A B``: whether two recordings are of the same speaker."""

from __future__ import annotations

import dataclasses

from . import _each, _foreign, _options, _sound, _terminal
from ._command import argument, command, option
from ._options import OUTPUT, One
from ._sound import Held
from ._transcripts import inputs
from ._values import Number


@command("wav2edge verify alice.wav unknown.wav -m speakers", "wav2edge verify a.wav b.wav -m speakers --threshold 0.8")
@argument("first", "a recording of one speaker", metavar="A", type=_options.FILE)
@argument("second", "the recording to compare it with", metavar="B", type=_options.FILE)
@option(
    "--threshold",
    "cosine, from -1 to 1, from which on they count as the same speaker (default: the bundle's own, else 0.86)",
    group=OUTPUT,
    metavar="X",
    type=Number(float, -1, 1, "a cosine"),
)
@_options.json_file("print the result as JSON instead")
@_options.model("bundle of a speaker model", embedded=False)
@_options.one_engine
@_sound.held(each=False)
def run(
    first: str,
    second: str,
    threshold: float | None,
    json: str | None,
    model: str | None,
    one: One,
    held: Held,
) -> int:
    """Say whether two recordings are of the same speaker, by the cosine of their embeddings.

    The exit code is 0 for the same speaker and 1 for different ones. A threshold suits one kind of recordings
    only: choose it on pairs of your own.
    """
    from wav2edge.runtime.recordings.heads import Embedder

    with (
        Embedder(_each.open_named(model, one, "a speaker model")) as embed,
        _foreign.without_lines(_foreign.MP3_DECODER),
    ):
        pair = [embed(source, **_each.sound_of(held, source)) for source in inputs((first, second))]
        found = embed.compare(pair[0], pair[1], threshold)
    _terminal.write_json(dataclasses.asdict(found), json)
    if json != "-":
        words = "the same speaker" if found.same else "different speakers"
        _terminal.out(f"{words}: cosine {found.score:.3f}, threshold {found.threshold:g}")
    return 0 if found.same else 1

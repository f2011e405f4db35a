"""``wav2edge verify A B``: check whether two recordings are of the same speaker."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from wav2edge.runtime.errors import InputError

from . import _each, _foreign, _options, _sound, _terminal
from ._command import argument, command, gathered, option
from ._options import OUTPUT, One
from ._sound import Held
from ._transcripts import inputs
from ._values import Number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wav2edge.runtime.audio.read import AudioSource as Source
    from wav2edge.runtime.heads.xvector import OperatingPoint, Verification
    from wav2edge.runtime.recordings.heads import Embedder


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The cosine that counts as the same speaker, or the share of different speakers that may be accepted."""

    threshold: float | None
    false_accept_rate: float | None

    def of(self, embed: Embedder) -> tuple[float, OperatingPoint | None]:
        """The cosine, and how often it was wrong where that was measured; raises InputError where it is not known."""
        from wav2edge.runtime.heads.xvector import Options

        options = embed.spec.head_options if isinstance(embed.spec.head_options, Options) else Options()
        variant = embed.model.variant.name
        if self.false_accept_rate is None:
            cosine = options.threshold_of(variant) if self.threshold is None else self.threshold
            return cosine, options.measured(cosine, variant)
        if self.threshold is not None:
            raise InputError("--threshold and --false-accept-rate both choose the threshold; give one")
        point = options.operating_point(self.false_accept_rate, variant)
        return point.threshold, point


@command(
    "wav2edge verify alice.wav unknown.wav -m speakers",
    "wav2edge verify a.wav b.wav -m speakers --threshold 0.8",
    "wav2edge verify alice.wav call.wav -m speakers --channel each  # which party of a call is she",
)
@argument("first", "a recording of one speaker", metavar="A", type=_options.FILE)
@argument("second", "the recording to compare it with", metavar="B", type=_options.FILE)
@gathered(
    Threshold,
    "wanted",
    option(
        "--threshold",
        "cosine, from -1 to 1, from which on they count as the same speaker (default: the bundle's, else 0.86)",
        group=OUTPUT,
        metavar="X",
        type=Number(float, -1, 1, "a cosine"),
    ),
    option(
        "--false-accept-rate",
        "use the threshold that accepts at most this share of pairs of different speakers, measured before by "
        "`evaluate --false-accept-rate R --keep`",
        group=OUTPUT,
        metavar="R",
        type=Number(float, 0, 0.5, "a share", above=True),
    ),
)
@_options.json_file("print the result as JSON instead")
@_options.model("bundle of a speaker model", embedded=False)
@_options.one_engine
@_sound.held(each=True)
def run(
    first: str,
    second: str,
    wanted: Threshold,
    json: str | None,
    model: str | None,
    one: One,
    held: Held,
) -> int:
    """Check whether two recordings are of the same speaker, by the cosine of their embeddings.

    The exit code is 0 for the same speaker, 1 for different ones and 2 where a recording was cut short; with --channel
    each, 0 where a channel of one is the same speaker as a channel of the other. A threshold suits one kind of
    recordings only: choose it on your pairs (wav2edge evaluate PAIRS --false-accept-rate).
    """
    from wav2edge.runtime.recordings.heads import Embedder

    with (
        Embedder(_each.open_named(model, one, "a speaker model")) as embed,
        _foreign.without_lines(_foreign.MP3_DECODER),
    ):
        threshold, point = wanted.of(embed)
        opened = [_each.recordings(embed, source, held) for source in _two(first, second)]
        pair = [_each.results(embed, channels) for channels in opened]
        several = [len(channels) > 1 for channels in opened]
        results = list(_compared(embed, pair, several, threshold))
    documents = [_document(channels, verification, point) for channels, verification in results]
    _terminal.write_json(documents if held.channel == "each" else documents[0], json)
    if json != "-":
        for channels, verification in results:
            _terminal.out(_line(channels, verification))
        if point is not None:
            _terminal.out(f"threshold {threshold:g} {point}")
    if not _each.note_warnings([recording for channels in opened for recording in channels]):
        return 2
    return 0 if any(verification.same for _, verification in results) else 1


def _two(*names: str) -> list[Source]:
    """The two recordings; raises InputError for a pattern that fits several."""
    for name in names:
        if len(found := inputs((name,))) > 1:
            raise InputError(f"{name}: {len(found)} recordings fit this pattern; name one")
    return inputs(names)


def _compared(
    embed: Embedder,
    pair: Sequence[Sequence[tuple[int, NDArray[np.float32]]]],
    several: Sequence[bool],
    threshold: float,
) -> Iterator[tuple[tuple[int, int], Verification]]:
    """Each channel of one recording compared with each of the other, after their numbers; 0 for a mono recording."""
    for (first, one), (second, other) in itertools.product(*pair):
        yield (first * several[0], second * several[1]), embed.compare(one, other, threshold)


def _document(channels: tuple[int, int], result: Verification, point: OperatingPoint | None) -> dict[str, object]:
    which = {name: number for name, number in zip(("first_channel", "second_channel"), channels) if number}
    measured = {} if point is None else {"measured": dataclasses.asdict(point)}
    return {**which, **dataclasses.asdict(result), **measured}


def _line(channels: tuple[int, int], result: Verification) -> str:
    names = [f"channel {number} of {name}" for name, number in zip("AB", channels) if number]
    which = f"{' and '.join(names)}: " if names else ""
    words = "the same speaker" if result.same else "different speakers"
    return f"{which}{words}: cosine {result.score:.4f}, threshold {result.threshold:g}"

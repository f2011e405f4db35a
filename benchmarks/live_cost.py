"""What live captions cost: CPU-seconds of all threads per second of one long utterance, hop by hop.

    python benchmarks/live_cost.py [-m BUNDLE] [--engine E] [--variant V] [--speech FILE …]

Ways over the same sound: the live window with features kept between hops, or computed anew, each with a hop that gets
longer in a long utterance and with one that does not; with ``--whole`` the whole utterance so far at every hop. The
final pass over the whole utterance is part of each. ``passes`` is the whole over the cheapest final, ``windows`` the
sound that the encoder runs over in partials, for each second of speech.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import _kit
import _shapes
import numpy as np
from numpy.typing import NDArray

from wav2edge.devices import open as devices_open
from wav2edge.runtime.live.decoder import LiveDecoder
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.silero import Silero
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.model import Model

RATE = 16000


class AlwaysSpeech:
    """A detector that never finds a pause, so that one utterance lasts as long as the sound."""

    def __call__(self, window: NDArray[np.float32]) -> float:
        """Speech."""
        return 1.0

    def reset(self) -> None:
        """The detector has no state."""


class Cost(NamedTuple):
    """What an utterance costs.

    partials, final: CPU-seconds. slowest: the wall time of the slowest partial, s. number: of partials. encoded: the
    seconds of sound in all their windows.
    """

    partials: float
    final: float
    slowest: float
    number: int
    encoded: float


def play(live: LiveTranscriber, settings: LiveSettings, sound: NDArray[np.float32]) -> Cost:
    """What one utterance costs."""
    decoder = LiveDecoder(live.spec, AlwaysSpeech(), settings)
    cost = {"features": 0.0, "partial": 0.0, "final": 0.0}
    slowest, count, encoded = 0.0, 0, 0

    def drain() -> None:
        nonlocal slowest, count, encoded
        hop = 0.0
        while (window := decoder.window()) is not None:
            cpu, wall = time.process_time(), time.perf_counter()
            decoder.accept(window, live.run(window))
            cost[window.purpose] += time.process_time() - cpu
            hop += time.perf_counter() - wall
            count += window.purpose == "partial"
            encoded += (window.end - window.start) * (window.purpose == "partial")
        slowest = max(slowest, hop if not decoder.pending else 0.0)

    for at in range(0, len(sound), 800):
        decoder.push(sound[at : at + 800], at)
        drain()
    partial_slowest = slowest
    decoder.close()
    drain()
    return Cost(cost["features"] + cost["partial"], cost["final"], partial_slowest, count, encoded / RATE)


def main() -> None:
    """Print a table for each model."""
    parser = _kit.parser(__doc__)
    _kit.add_model(parser)
    parser.add_argument("--shape", choices=_shapes.SHAPES, help="both norms at this shape, random weights")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--hop", type=float, default=LiveSettings.hop)
    parser.add_argument("--long-hop", type=float, default=LiveSettings.long_hop)
    parser.add_argument("--left-context", type=float, default=LiveSettings.kept_context)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--whole", action="store_true", help="the whole utterance at every hop too")
    parser.add_argument("--speech", nargs="*", default=[])
    options = parser.parse_args()
    models: Sequence[str | Path | None] = [options.model]
    if options.shape:
        models = [_shapes.bundle(options.shape, norm).path for norm in ("layer", "group")]
    with _kit.Output(options) as output:
        for model in models:
            table(
                output,
                devices_open.open_model(model, options.engine, options.variant, threads=options.threads),
                options,
            )


def table(output: _kit.Output, model: Model, options: argparse.Namespace) -> None:
    """The ways of one model, in turns; the run of each that took the least."""
    sound = _kit.sound(options.speech, options.seconds)
    context = options.left_context
    base = LiveSettings(
        hop=options.hop, long_hop=options.long_hop, left_context=context, kept_context=context, keep_features=True
    )
    never_blank = replace(base.endpoint, silence_without_text=3600.0, longest_utterance=28.0)
    base = replace(base, endpoint=never_blank)
    ways = {
        "window, features kept": base,
        "the same, hop never longer": replace(base, long_hop=base.hop),
        "window computed anew": replace(base, keep_features=False),
        "the same, hop never longer ": replace(base, keep_features=False, long_hop=base.hop),
    }
    if options.whole:
        ways["whole utterance at every hop"] = replace(ways["window computed anew"], left_context=options.seconds + 1)
    with LiveTranscriber(model, base) as live:
        output.say(
            f"{model.spec.norm} norm, {model.engine} {model.variant.name}, {options.seconds:g} s utterance, "
            f"hop {base.hop:g} s, then {base.long_hop:g} s, left context {base.left_context:g} s"
        )
        output.say(
            f"{'':34} {'CPU-s per s':>11} {'passes':>7} {'partials':>9} {'final':>7} {'partials':>9} "
            f"{'windows, s per s':>17} {'slowest hop ms':>15}"
        )
        runs = [{name: play(live, settings, sound) for name, settings in ways.items()} for _ in range(options.repeat)]
        single = min(run[name][1] for run in runs for name in ways) / options.seconds
        for name in ways:
            cost = min(run[name] for run in runs)
            per = (cost.partials / options.seconds, cost.final / options.seconds)
            output.say(
                f"{name.rstrip():34} {sum(per):11.3f} {sum(per) / single:7.2f} {per[0]:9.3f} {per[1]:7.3f} "
                f"{cost.number:9} {cost.encoded / options.seconds:17.2f} {1000 * cost.slowest:15.0f}"
            )
        detector = Silero()
        began = time.process_time()
        for at in range(0, len(sound) - 512, 512):
            detector(sound[at : at + 512])
        output.say(f"{'speech detector, extra':34} {(time.process_time() - began) / options.seconds:11.4f}", "")


if __name__ == "__main__":
    main()

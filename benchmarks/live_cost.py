"""What live captions cost: CPU-seconds of all threads per second of one long utterance, hop by hop.

    python benchmarks/live_cost.py [-m BUNDLE] [--engine E] [--variant V] [--speech FILE …]

Four ways over the same sound: the live window with features kept between hops, the same with a hop that never gets
longer, the window computed anew, and the whole utterance so far at every hop. The final pass over the whole utterance
is part of each; ``passes`` is the whole over the final.
"""

from __future__ import annotations

import time
from dataclasses import replace

import _kit
import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.live.decoder import LiveDecoder
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.silero import Silero
from wav2edge.runtime.live.transcriber import LiveTranscriber

RATE = 16000


class AlwaysSpeech:
    """A detector that never finds a pause, so that one utterance lasts as long as the sound."""

    def __call__(self, window: NDArray[np.float32]) -> float:
        """Speech."""
        return 1.0

    def reset(self) -> None:
        """The detector has no state."""


def play(live: LiveTranscriber, settings: LiveSettings, sound: NDArray[np.float32]) -> tuple[float, float, float, int]:
    """CPU-seconds of partials and of the final, the slowest partial's wall time, and the number of partials."""
    decoder = LiveDecoder(live.spec, AlwaysSpeech(), settings)
    cost = {"features": 0.0, "partial": 0.0, "final": 0.0}
    slowest, count = 0.0, 0

    def drain() -> None:
        nonlocal slowest, count
        hop = 0.0
        while (window := decoder.window()) is not None:
            cpu, wall = time.process_time(), time.perf_counter()
            decoder.accept(window, live.run(window))
            cost[window.purpose] += time.process_time() - cpu
            hop += time.perf_counter() - wall
            count += window.purpose == "partial"
        slowest = max(slowest, hop if not decoder.pending else 0.0)

    for at in range(0, len(sound), 800):
        decoder.push(sound[at : at + 800], at)
        drain()
    partial_slowest = slowest
    decoder.close()
    drain()
    return cost["features"] + cost["partial"], cost["final"], partial_slowest, count


def main() -> None:
    """Print the table."""
    parser = _kit.parser(__doc__)
    _kit.add_model(parser)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--hop", type=float, default=LiveSettings.hop)
    parser.add_argument("--left-context", type=float)
    parser.add_argument("--long-hop", type=float, default=LiveSettings.long_hop)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--speech", nargs="*", default=[])
    options = parser.parse_args()
    sound = _kit.sound(options.speech, options.seconds)
    model = _kit.open_model(options)
    context = options.left_context or LiveSettings.kept_context
    base = LiveSettings(
        hop=options.hop, long_hop=options.long_hop, left_context=context, kept_context=context, keep_features=True
    )
    never_blank = replace(base.endpoint, silence_without_text=3600.0, longest_utterance=28.0)
    base = replace(base, endpoint=never_blank)
    with LiveTranscriber(model, base) as live, _kit.Output(options) as output:
        output.say(
            f"{model.bundle.path.name} ({model.spec.norm} norm), {model.engine} {model.variant.name}, "
            f"{options.seconds:g} s utterance, hop {base.hop:g} s, then {base.long_hop:g} s, "
            f"left context {base.left_context:g} s"
        )
        output.say(
            f"{'':34} {'CPU-s per s':>11} {'passes':>7} {'partials':>9} {'final':>7} {'partials':>9} "
            f"{'slowest hop ms':>15}"
        )
        detector = Silero()
        ways = {
            "window, features kept": base,
            "the same, hop never longer": replace(base, long_hop=base.hop),
            "window": replace(base, keep_features=False),
            "whole utterance at every hop": replace(base, keep_features=False, left_context=options.seconds + 1),
        }
        totals = {}
        for name, settings in ways.items():
            runs = [play(live, settings, sound) for _ in range(options.repeat)]
            partials, final, slowest, count = min(runs)
            per = (partials / options.seconds, final / options.seconds)
            totals[name] = sum(per)
            output.say(
                f"{name:34} {sum(per):11.3f} {sum(per) / per[1]:7.2f} {per[0]:9.3f} {per[1]:7.3f} {count:9} "
                f"{1000 * slowest:15.0f}"
            )
        began = time.process_time()
        for at in range(0, len(sound) - 512, 512):
            detector(sound[at : at + 512])
        output.say(f"{'speech detector, extra':34} {(time.process_time() - began) / options.seconds:11.4f}")
        kept, _, window, whole = totals.values()
        output.say(
            f"features kept: {window / kept:.2f} times less; whole against window {whole / window:.2f}, "
            f"against window with features kept {whole / kept:.2f}"
        )


if __name__ == "__main__":
    main()

"""What it costs that ONNX Runtime's threads spin for 0.2 ms before they sleep, in time and processor time.

    python benchmarks/spinning.py [--turns 9] [--threads 2] [--docs docs/figures/spinning.md]

The embedded model and base shape (94 M parameters, random weights), in INT8 and fp32. Both ways take turns in one
process, with a rest between runs in which idle threads fall asleep and whose processor time counts; the ratio is the
median of those within a turn.
"""

from __future__ import annotations

import functools
import itertools

import _kit
import _shapes
import numpy as np

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.model import Model

REST = 0.1
"""Seconds after a run."""


def main() -> None:
    """One row for each model, variant and length."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 10.0])
    arguments = parser.parse_args()
    bundles = {
        "embedded": embedded.resolve(None),
        "base, layer norm": _shapes.bundle("base", "layer", ("int8-u8s8",)),
        "base, group norm": _shapes.bundle("base", "group", ("int8-u8s8",)),
    }
    with _kit.Output(arguments, markdown=True) as output:
        output.say("| | variant | s | asleep, ms | spinning, ms | ratio | asleep, CPU ms | spinning, CPU ms |")
        output.say("|---" * 8 + "|")
        for (name, bundle), variant in itertools.product(bundles.items(), ("int8-u8s8", "fp32")):
            for seconds in arguments.seconds:
                options = [EngineOptions(threads=arguments.threads, spin=spin) for spin in (False, True)]
                models = [Model(bundle, "onnxruntime", variant, option) for option in options]
                calls = [functools.partial(model.logits, [_kit.sound((), seconds)]) for model in models]
                taken = _kit.in_turns(calls, arguments.turns, REST)
                for model in models:
                    model.close()
                (wall, other_wall), (cpu, other_cpu) = np.median(taken, 0).T * 1000
                ratio = np.median(taken[:, 1, 0] / taken[:, 0, 0])
                output.say(
                    f"| {name} | {variant} | {seconds:g} | {wall:.0f} | {other_wall:.0f} | {ratio:.2f} | {cpu:.0f} "
                    f"| {other_cpu:.0f} |"
                )


if __name__ == "__main__":
    main()

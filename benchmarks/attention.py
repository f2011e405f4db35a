"""What ONNX Runtime's encoder takes as it is loaded: without a mask, with attention and linear layers as one operator.

    python benchmarks/attention.py [--turns 12] [--seconds 1 10 30] [--threads 2] [--docs docs/figures/attention.md]

The embedded model and base shape (94 M parameters, random weights), in FP32 and INT8. The encoder of the file and the
one that is run where no clip is padded take turns; the ratio is the median of those within a turn. Attention is one
operator where it is in float, as in FP32 and ``int8-u7s8``; a linear layer and its bias are one in INT8.
"""

from __future__ import annotations

import dataclasses
import functools

import _kit
import _shapes
import numpy as np

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.model import Model, options_by_size

REST = 0.05
"""Seconds after a run, in which idle threads fall asleep."""


def main() -> None:
    """One row for each model, variant and length."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 5.0, 10.0, 20.0, 30.0])
    arguments = parser.parse_args()
    bundles = {
        "embedded": (embedded.resolve(None), ("fp32", "int8-u8s8", "int8-u7s8")),
        "base": (_shapes.bundle("base", "layer", ("int8-u8s8", "int8-u7s8")), ("fp32", "int8-u8s8", "int8-u7s8")),
    }
    with _kit.Output(arguments, markdown=True) as output:
        output.say("| | variant | s | of the file, ms | as loaded, ms | ratio |")
        output.say("|---" * 6 + "|")
        for name, (bundle, variants) in bundles.items():
            for variant in variants:
                options = options_by_size(bundle.variant(variant), threads=arguments.threads)
                with (
                    Model(bundle, "onnxruntime", variant, dataclasses.replace(options, keep_graph=True)) as stored,
                    Model(bundle, "onnxruntime", variant, options) as model,
                ):
                    for seconds in arguments.seconds:
                        feeds = features(stored, seconds)
                        calls = [functools.partial(each.run, "encoder", feeds) for each in (stored, model)]
                        taken = _kit.in_turns(calls, arguments.turns, REST)[..., 0]
                        before, now = 1000 * np.median(taken, 0)
                        ratio = np.median(taken[:, 1] / taken[:, 0])
                        output.say(f"| {name} | {variant} | {seconds:g} | {before:.0f} | {now:.0f} | {ratio:.2f} |")


def features(model: Model, seconds: float) -> Arrays:
    """The inputs of the encoder for a clip of speech."""
    sound = _kit.sound((), seconds)
    made = model.run("frontend", {NORMALIZED: sound[None], INPUT_LENGTHS: np.array([len(sound)], np.int64)})
    return {name: made[name] for name in (FEATURES, FEATURE_LENGTHS)}


if __name__ == "__main__":
    main()

"""What merging alike neighbouring frames inside the encoder costs in words, and could save in time.

    python benchmarks/merge_frames.py DEV [--limit N] [--layers 2 4 6] [--likeness 0.99 0.97 0.95 0.9]

In front of one layer of the embedded checkpoint each frame whose cosine with the frame before it is large enough joins
that frame's group; the means of the groups go through the other layers, and each frame then has the result of its group
(as token merging does with the patches of an image; Bolya et al., 2023). Nothing is trained. The words are of
recordings of DEV, in PyTorch. A share of the time is that of a clip of 10 s at base shape (random weights, int8-s8s8 on
OpenVINO) with so many frames from the same part of its layers on, estimated from runs of its encoder on fewer frames.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import _kit
import _shapes
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Wav2Vec2ForCTC

from wav2edge.measure import scoring
from wav2edge.runtime.audio import loudness, read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.model import Model

CHECKPOINT = Path(__file__).resolve().parents[1] / "recipes" / "embedded" / "checkpoint"
SPEC = embedded.resolve(None).spec
SECONDS, FRAMES = 10.0, 499
TIMED = (128, 192, 256, 320, 384, 448, FRAMES)
"""Frames of the timed runs of the encoder."""


def main() -> None:
    """Print a row for each layer and likeness, and the frames of base shape that the time is estimated from."""
    parser = _kit.parser(__doc__)
    parser.add_argument("manifest", metavar="DEV")
    parser.add_argument("--limit", type=int, default=150)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 6])
    parser.add_argument("--likeness", type=float, nargs="+", default=[0.99, 0.97, 0.95, 0.9])
    parser.add_argument("--longest", type=int, default=3, help="frames of a group, at most")
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    rows = _kit.rows_of(arguments.manifest, limit=arguments.limit)
    model = Wav2Vec2ForCTC.from_pretrained(CHECKPOINT, dtype=torch.float32)  # in evaluation mode
    clips = [hidden_of(model, read.load(row.audio, _kit.RATE)) for row in rows]
    references = [row.text for row in rows]
    depth = len(model.wav2vec2.encoder.layers)
    front, encoder = base_times(arguments.turns)
    plain = scoring.score(references, [text_of(model, clip, depth, 2.0, 1)[0] for clip in clips])
    with _kit.Output(arguments, markdown=True) as output:
        output.say(f"{len(rows)} recordings, {plain.wer} WER; groups of at most {arguments.longest} frames.", "")
        output.say("| before layer | cosine above | frames left | WER | rise | share of the time at base shape |")
        output.say("|---" * 6 + "|")
        for layer in arguments.layers:
            for likeness in arguments.likeness:
                found = [text_of(model, clip, layer, likeness, arguments.longest) for clip in clips]
                merged = scoring.score(references, [text for text, _ in found])
                left = float(sum(count for _, count in found) / sum(clip.shape[1] for clip in clips))
                rise = scoring.difference(plain.words, merged.words)
                some = np.interp(left * FRAMES, TIMED, encoder)
                share = (front + layer / depth * encoder[-1] + (1 - layer / depth) * some) / (front + encoder[-1])
                output.say(
                    f"| {layer + 1} of {depth} | {likeness:g} | {left:.0%} | {merged.wer} | {rise} | {share:.2f} |"
                )


@torch.no_grad()
def hidden_of(model: Wav2Vec2ForCTC, samples: NDArray[np.float32]) -> torch.Tensor:
    """What enters the first layer [1, frames, hidden]."""
    normalized = torch.from_numpy(loudness.measure([samples]).normalized(samples))[None]
    features = model.wav2vec2.feature_extractor(normalized).transpose(1, 2)
    projected = model.wav2vec2.feature_projection(features)[0]
    encoder = model.wav2vec2.encoder
    hidden: torch.Tensor = projected + encoder.pos_conv_embed(projected)
    return hidden if model.config.do_stable_layer_norm else encoder.layer_norm(hidden)


@torch.no_grad()
def text_of(model: Wav2Vec2ForCTC, hidden: torch.Tensor, layer: int, likeness: float, longest: int) -> tuple[str, int]:
    """The transcript where frames are merged in front of a layer, and how many frames were left."""
    groups = np.arange(hidden.shape[1])
    for index, block in enumerate(model.wav2vec2.encoder.layers):
        if index == layer:
            groups = groups_of(hidden[0], likeness, longest)
            hidden = means_of(hidden[0], groups)[None]
        hidden = block(hidden)
    if model.config.do_stable_layer_norm:
        hidden = model.wav2vec2.encoder.layer_norm(hidden)
    logits = model.lm_head(hidden)[0].numpy()[groups]
    return ctc.joined(ctc.greedy(logits, SPEC), SPEC), int(groups[-1]) + 1


def groups_of(frames: torch.Tensor, likeness: float, longest: int) -> NDArray[np.int64]:
    """The number of the group of each frame of [frames, hidden]."""
    alike = torch.nn.functional.cosine_similarity(frames[1:], frames[:-1], dim=1).numpy() > likeness
    groups, size = [0], 1
    for joins in alike:
        size = size + 1 if joins and size < longest else 1
        groups.append(groups[-1] + (size == 1))
    return np.array(groups)


def means_of(frames: torch.Tensor, groups: NDArray[np.int64]) -> torch.Tensor:
    """The mean of each group [groups, hidden]."""
    index = torch.from_numpy(groups)
    sums = torch.zeros(int(groups[-1]) + 1, frames.shape[1]).index_add_(0, index, frames)
    return sums / torch.bincount(index)[:, None]


def base_times(turns: int) -> tuple[float, Sequence[float]]:
    """Seconds of the front end on a clip, and of the encoder on each of ``TIMED`` frames, at base shape."""
    bundle = _shapes.bundle("base", "layer", ("int8-s8s8",))
    random = np.random.default_rng(0)
    clip = random.normal(0, 0.1, round(SECONDS * _kit.RATE)).astype(np.float32)
    with Model(bundle, "openvino", "int8-s8s8") as model:
        model.logits([clip])
        session = model.session("encoder")
        feeds = [
            {FEATURES: random.normal(0, 1, (1, frames, 512)).astype(np.float32), FEATURE_LENGTHS: np.array([frames])}
            for frames in TIMED
        ]
        taken = np.zeros((turns + 1, len(feeds) + 1))
        for turn in range(turns + 1):
            for place, each in enumerate(feeds):
                session.run(each)
                started = time.perf_counter()
                session.run(each)
                taken[turn, place] = time.perf_counter() - started
            started = time.perf_counter()
            model.logits([clip])
            taken[turn, -1] = time.perf_counter() - started
        *encoder, whole = np.median(taken[1:], 0).tolist()
    return whole - encoder[-1], encoder


if __name__ == "__main__":
    main()

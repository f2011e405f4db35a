"""What a training run is: its budget, learning rates and the weights of its losses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """A training run; it ends at `hours` or `minutes`, whichever comes first."""

    hours: float = 50.0
    """Hours of audio to train on, repeats counted."""

    minutes: float = 1e9
    """Minutes of processor time to use."""

    rate: float = 2e-3
    """Peak learning rate of AdamW."""

    matrix_rate: float = 3e-3
    """Peak learning rate of Muon, for the matrices of the transformer layers; 0: AdamW for those too."""

    warm_steps: int = 300
    """Steps over which the rate rises to its peak."""

    decay_from: float = 0.5
    """Share of the budget from which the rate falls linearly to zero."""

    batch_seconds: float = 18.0
    """Most seconds of padded audio in a batch."""

    front_hours: float = 1.0
    """First hours of audio that train the convolutions alone, towards the teacher's log-mel and convolutions."""

    front_weight: float = 0.1
    """Weight of that loss in the hours after them."""

    longest_first: float = 18.0
    """Seconds of the longest clip used in the first `longest_until` hours; later 18 s."""

    longest_until: float = 8.0
    """Hours of audio with clips of at most `longest_first` seconds."""

    feature_weight: float = 1.0
    """Weight of the squared error to the teacher's features."""

    middle_weight: float = 0.3
    """Weight of the same losses on the middle layer (half of it for posteriors)."""

    posterior_weight: float = 1.0
    """Weight of the cross entropy to the teacher's posteriors."""

    ctc_weight: float = 0.6
    """Weight of CTC on transcripts (a label)."""

    average: float = 0.998
    """Decay a step of the running average of weights, which is what is measured and kept."""

    strength: float = 1.0
    """Strength of augmentation; 0 turns it off."""

    dropout: float = 0.0
    """Dropout in the encoder."""

    joined: float = 0.0
    """Share of the time in chains of clips joined one after another."""

    chained: float = 30.0
    """Seconds of the longest such chain."""

    piece: float = 0.0
    """Seconds of the words that most of the longer clips give in one draw; 0: clips are whole."""

    in_pieces: float = 0.85
    """Share of the draws in which a longer clip gives such a piece."""

    meet_every: int = 20
    """Steps between the means of the weights of processes that train together (torchrun)."""

    seed: int = 1
    """Seed of weights, draws and augmentation."""


def rate_at(plan: Plan, step: int, progress: float) -> float:
    """Return the share of the peak learning rate: warm-up by steps, flat, then linear to zero over the last part."""
    tail = (1 - progress) / (1 - plan.decay_from)
    return min(1.0, (step + 1) / plan.warm_steps, max(0.0, tail))

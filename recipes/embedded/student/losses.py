"""The losses of a training step: front end, teacher features, teacher posteriors and CTC on transcripts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..frames import CENTRES, HOP
from ..speech.batches import Batch
from ..teacher.whisper import Whisper
from .model import EARLY, MEL, Student
from .plan import Plan


class Heads(nn.Module):
    """Projections that compare the student with the teacher; used in training only."""

    def __init__(self, channels: Sequence[int], hidden: int, width: int = 512, mels: int = 80) -> None:
        """Build projections from convolutions and hidden states to the teacher's log-mel, convolutions and features."""
        super().__init__()
        self.mel = nn.Linear(channels[MEL], mels)
        self.early = nn.Linear(channels[EARLY], width)
        self.late = nn.Linear(channels[-1], width)
        self.features = nn.Linear(hidden, width)
        self.middle_features = nn.Linear(hidden, width)
        for name, size in (("mel", mels), ("convolved", width)):
            self.register_buffer(name + "_mean", torch.zeros(size))
            self.register_buffer(name + "_deviation", torch.zeros(size))

    def front_loss(self, layers: list[Tensor], audio: Tensor, frames: Tensor, teacher: Whisper) -> Tensor:
        """Return the mean squared errors between convolutions of audio [batch, samples] and the teacher's.

        The targets depend on the sound alone, so every second of any sound trains the front end, whoever speaks; the
        first batch sets their scale.
        """
        mel, _ = teacher.convolutions(audio, CENTRES[MEL])
        _, convolved = teacher.convolutions(audio, CENTRES[EARLY])
        later = (CENTRES[-1] - CENTRES[EARLY]) // HOP
        pairs = (
            (self.mel(layers[MEL]), self._scaled("mel", mel), 2 * frames),
            (self.early(layers[EARLY]), self._scaled("convolved", convolved), frames),
            (self.late(layers[-1]), self._scaled("convolved", convolved[:, later:]), frames),
        )
        total = torch.zeros((), device=audio.device)
        for output, target, known in pairs:
            # Leave out the padding after a clip, and frames whose target depends on what is beyond its edges.
            at = torch.arange(output.shape[1], device=audio.device)[None]
            inside = (at >= 2) & (at < known[:, None] - 4)
            total = total + (output - target[:, : output.shape[1]])[inside].square().mean()
        return total

    def _scaled(self, name: str, target: Tensor) -> Tensor:
        mean, deviation = getattr(self, name + "_mean"), getattr(self, name + "_deviation")
        if not bool(deviation.any()):
            mean.copy_(target.mean((0, 1))), deviation.copy_(target.std((0, 1)) + 1e-3)
        return ((target - mean) / deviation).clamp(-6, 6)


def losses(
    student: Student, heads: Heads, batch: Batch, plan: Plan, hours: float, teacher: Whisper | None
) -> dict[str, Tensor]:
    """Return the weighted losses of a batch after `hours` of audio."""
    layers = student.convolutions(batch.audio)
    convolved = layers[-1]
    result: dict[str, Tensor] = {}
    if teacher is not None and convolved.requires_grad:
        alone = hours < plan.front_hours
        weight = 1.0 if alone else plan.front_weight
        result["front"] = weight * heads.front_loss(layers, batch.audio, batch.frames, teacher)
        if alone:
            return result
    hidden, middle = student.encode(convolved, batch.frames, batch.mask)
    valid = torch.arange(convolved.shape[1], device=convolved.device)[None] < batch.frames[:, None]
    result |= _feature_losses(heads, batch, plan, hidden[valid], middle[valid], valid)
    scores = student.logits(hidden).float().log_softmax(-1)
    if batch.posteriors is not None and plan.posterior_weight > 0:
        target = batch.posteriors[valid]
        result["posteriors"] = -plan.posterior_weight * (target * scores[valid]).sum(-1).mean()
        if plan.middle_weight > 0:
            early = student.logits(middle)[valid].float().log_softmax(-1)
            result["middle_posteriors"] = -plan.middle_weight * 0.5 * (target * early).sum(-1).mean()
    labelled = batch.label_lengths > 0  # Speech without a transcript has the teacher's targets alone.
    if bool(labelled.any()):
        lengths = batch.label_lengths[labelled]
        given = scores[labelled].transpose(0, 1), batch.labels[labelled], batch.frames[labelled], lengths
        result["ctc"] = plan.ctc_weight * F.ctc_loss(*given, 0, "none", zero_infinity=True).sum() / lengths.sum()
    return result


def _feature_losses(
    heads: Heads, batch: Batch, plan: Plan, hidden: Tensor, middle: Tensor, valid: Tensor
) -> dict[str, Tensor]:
    """Return the squared errors to the teacher's features of valid hidden states [rows, hidden] and middle ones."""
    if batch.features is None or plan.feature_weight <= 0:
        return {}
    target = batch.features[valid]
    known = target[:, 0].isfinite()
    if not bool(known.any()):
        return {}
    target, hidden, middle = target[known], hidden[known], middle[known]
    result = {"features": plan.feature_weight * (heads.features(hidden) - target).square().mean()}
    if plan.middle_weight > 0:
        result["middle"] = plan.middle_weight * (heads.middle_features(middle) - target).square().mean()
    return result

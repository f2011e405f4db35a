"""Whether a variant may enter the bundle: its figure, tokens, NaN and time, with the reason in one line."""

from __future__ import annotations

from dataclasses import dataclass

from wav2edge.runtime.errors import InputError

from .judge import Measured

_LOST = ("words", "characters", "labels")
"""Units that a rate counts one by one."""
MOST_IN_FLOAT = 0.5
"""The largest share of the multiplications that a variant whose time is not measured may have in float. Chosen, not
measured: were the rest done in no time at all, it would take half of fp32's."""


@dataclass(frozen=True)
class Budget:
    """What a variant may lose against fp32 on the dev clips."""

    max_wer_rise: float = 0.5
    """Points by which its head's figure may be worse than fp32's: half a point of word error rate is one word in two
    hundred. Points of accuracy, equal error rate or diarization error rate for other heads; hundredths of a
    concordance."""
    min_token_agreement: float = 98.0
    """Percent of frames that must keep fp32's label. There are many more frames than words, so this shows damage before
    a word of the dev clips changes: of 22 candidates of the embedded model those under 95 % lost 3 to 14 points, those
    from 95 to 97 % up to 2.6, those above 99 % nothing that the clips could show
    (benchmarks/quantization_choices.py, part ``methods``)."""
    min_cosine: float = 0.99
    """The mean cosine of embeddings to fp32's, and the concordance of numbers with fp32's, from 0 to 1: models without
    labels are judged by it in place of ``min_token_agreement``. Chosen, not measured: 0.99 is an angle of 8 degrees."""

    def check(self) -> None:
        """Raise InputError for limits that are not numbers or out of range."""
        if not 0 <= self.max_wer_rise <= 100:
            raise InputError(f"max_wer_rise {self.max_wer_rise:g}: give points from 0 to 100")
        if not 0 <= self.min_token_agreement <= 100:
            raise InputError(f"min_token_agreement {self.min_token_agreement:g}: give percent from 0 to 100")
        if not 0 <= self.min_cosine <= 1:
            raise InputError(f"min_cosine {self.min_cosine:g}: give a number from 0 to 1")

    @property
    def half(self) -> Budget:
        """A budget of half the losses."""
        return Budget(self.max_wer_rise / 2, (100 + self.min_token_agreement) / 2, (1 + self.min_cosine) / 2)

    def loss(self, measured: Measured) -> str | None:
        """Why a variant loses too much; None where it does not."""
        if not measured.finite:
            return "NaN or Inf in its output"
        loss = 100 * measured.change.loss
        if not _is_likeness(measured) and not loss <= self.max_wer_rise:
            what = f"too many {measured.unit}" if measured.unit in _LOST else f"too much of the {_title(measured)}"
            return f"{what} lost: {loss:+.2f} points, {self.max_wer_rise:g} allowed"
        if measured.kind == "labels":
            if not 100 * measured.likeness >= self.min_token_agreement:
                share = 100 * measured.likeness
                return f"too many tokens changed: {share:.1f} % agree, {self.min_token_agreement:g} % wanted"
        elif not measured.likeness >= self.min_cosine:
            what = "embeddings" if measured.kind == "cosine" else "numbers"
            return f"{what} changed too much: {measured.kind} {measured.likeness:.4f}, {self.min_cosine:g} wanted"
        return None

    def is_undecided(self, measured: Measured) -> bool:
        """Whether the interval of the loss exceeds the budget, so that the dev clips are too few to decide."""
        return not _is_likeness(measured) and not 100 * measured.change.largest_loss <= self.max_wer_rise


def _is_likeness(measured: Measured) -> bool:
    """Whether the head's figure is the cosine to fp32 itself (a bare encoder), which ``min_cosine`` judges."""
    return measured.figure.figure.name == "cosine"


def _title(measured: Measured) -> str:
    return measured.figure.figure.title


@dataclass(frozen=True)
class Verdict:
    """Whether a variant enters the bundle."""

    kept: bool
    text: str
    """The verdict in words."""
    forced: bool = False
    """Whether it is kept although the gate refused it."""
    words: bool = False
    """Whether it lost too much (words, tokens, finite numbers), rather than being too slow."""


def decide(
    measured: Measured,
    latency_ratio: float | None,
    budget: Budget,
    force: bool,
    meant_for: tuple[str, ...] = (),
    in_float: float = 0.0,
) -> Verdict:
    """The verdict on a variant.

    latency_ratio: its time over fp32's; None where this machine's speed does not count. force: keep it anyway.
    meant_for: the engines that it is made for and that are not on this machine; the verdict then mentions that its
    speed was not judged. in_float: the share of its multiplications in float, from 0 to 1, of a variant whose speed
    matters; it decides where latency_ratio is None.
    """
    lost = budget.loss(measured)
    reason = lost or _slow(measured, latency_ratio, in_float)
    if reason is not None:
        if force:
            return Verdict(True, f"kept by force, {reason}", forced=True, words=lost is not None)
        return Verdict(False, f"refused, {reason}", words=lost is not None)
    text = "kept"
    if budget.is_undecided(measured):
        text += f"; dev set too small to resolve {budget.max_wer_rise:g} points"
    if meant_for:
        text += f"; speed not judged here, it is made for {', '.join(meant_for)}"
    return Verdict(True, text)


def _slow(measured: Measured, latency_ratio: float | None, in_float: float) -> str | None:
    """Why a variant is too slow, or may be; None where it is not."""
    if latency_ratio is not None:
        if latency_ratio < 1.0:
            return None
        return f"not faster: {latency_ratio:.2f} of fp32's time on {measured.engine}"
    if in_float <= MOST_IN_FLOAT:
        return None
    return f"{100 * in_float:.0f} % of its work is in float, and its speed cannot be measured here"

"""Whether a variant may enter the bundle: words, tokens, NaN and time, with the reason in one line."""

from __future__ import annotations

from dataclasses import dataclass

from wav2edge.runtime.errors import InputError

from .judge import Measured


@dataclass(frozen=True)
class Budget:
    """What a variant may lose against fp32 on the dev clips."""

    max_wer_rise: float = 0.5
    """Points by which its word error rate may be above fp32's: one word in two hundred."""
    min_token_agreement: float = 98.0
    """Percent of frames that must keep fp32's label. Words are few and frames are many, so this shows damage that no
    word of the dev clips has met yet: of 22 candidates of the embedded model those under 95 % lost 3 to 14 points,
    those from 95 to 97 % up to 2.6, those above 99 % nothing that the clips could show
    (benchmarks/quantization_choices.py, part ``methods``)."""

    def check(self) -> None:
        """Raise InputError for limits that are not numbers or out of range."""
        if not 0 <= self.max_wer_rise <= 100:
            raise InputError(f"max_wer_rise {self.max_wer_rise:g}: give points from 0 to 100")
        if not 0 <= self.min_token_agreement <= 100:
            raise InputError(f"min_token_agreement {self.min_token_agreement:g}: give percent from 0 to 100")

    def loss(self, measured: Measured) -> str | None:
        """Why a variant loses too much; None where it does not."""
        if not measured.finite:
            return "NaN or Inf in its output"
        rise = 100 * measured.rise.value
        if not rise <= self.max_wer_rise:
            return f"too many {measured.unit} lost: {rise:+.2f} points, {self.max_wer_rise:g} allowed"
        if not 100 * measured.token_agreement >= self.min_token_agreement:
            share = 100 * measured.token_agreement
            return f"too many tokens changed: {share:.1f} % agree, {self.min_token_agreement:g} % wanted"
        return None

    def is_undecided(self, measured: Measured) -> bool:
        """Whether the interval of the rise reaches past the budget, so that the dev clips are too few to tell."""
        return not 100 * measured.rise.high <= self.max_wer_rise


@dataclass(frozen=True)
class Verdict:
    """Whether a variant enters the bundle."""

    kept: bool
    text: str
    """The verdict in words."""
    forced: bool = False
    """Whether it is kept against the gate."""
    words: bool = False
    """Whether it lost too much, be it words, tokens or finite numbers, rather than being too slow."""


def decide(
    measured: Measured, latency_ratio: float | None, budget: Budget, force: bool, meant_for: tuple[str, ...] = ()
) -> Verdict:
    """The verdict on a variant.

    latency_ratio: its time over fp32's; None where this machine's speed does not count. force: keep it anyway.
    meant_for: the engines that it is made for and that are not on this machine; the verdict then mentions that its
    speed was not judged.
    """
    lost = budget.loss(measured)
    slow = None
    if latency_ratio is not None and latency_ratio >= 1.0:
        slow = f"not faster: {latency_ratio:.2f} of fp32's time on {measured.engine}"
    reason = lost or slow
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

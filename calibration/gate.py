"""Whether a variant may enter the bundle: words, tokens, NaN and time, with the reason in one line."""

from __future__ import annotations

from dataclasses import dataclass

from .judge import Measured


@dataclass(frozen=True)
class Budget:
    """What a variant may cost.

    max_wer_rise: points of word error rate above fp32 on the dev clips. min_token_agreement: percent of frames with
    fp32's label: words are few and frames are many, so this sees damage that the words have not met yet.
    """

    max_wer_rise: float = 0.5
    min_token_agreement: float = 98.0

    def words_lost(self, measured: Measured) -> str | None:
        """Why the words are not good enough; None when they are."""
        if not measured.finite:
            return "NaN or Inf in its output"
        rise = 100 * measured.rise.value
        if not rise <= self.max_wer_rise:
            return f"too many {measured.unit} lost: {rise:+.2f} points, {self.max_wer_rise:g} allowed"
        if not 100 * measured.token_agreement >= self.min_token_agreement:
            share = 100 * measured.token_agreement
            return f"too many tokens changed: {share:.1f} % agree, {self.min_token_agreement:g} % wanted"
        return None

    def too_few_words(self, measured: Measured) -> bool:
        """Whether the interval of the rise reaches past the budget, so that the clips cannot tell."""
        return not 100 * measured.rise.high <= self.max_wer_rise


@dataclass(frozen=True)
class Verdict:
    """kept: whether it enters the bundle. text: the verdict in words. forced: kept against the gate.

    words: whether it was refused for its words (or NaN), not for its time.
    """

    kept: bool
    text: str
    forced: bool = False
    words: bool = False


def decide(
    measured: Measured, latency_ratio: float | None, budget: Budget, force: bool, meant_for: tuple[str, ...] = ()
) -> Verdict:
    """The verdict; latency_ratio None where speed on this machine is not what the variant is for.

    meant_for: the engines that would have to be timed and are not here; the verdict says so.
    """
    lost = budget.words_lost(measured)
    slow = None
    if latency_ratio is not None and latency_ratio >= 1.0:
        slow = f"not faster: {latency_ratio:.2f} of fp32's time on {measured.engine}"
    reason = lost or slow
    if reason is not None:
        if force:
            return Verdict(True, f"kept by --force, {reason}", forced=True, words=lost is not None)
        return Verdict(False, f"refused, {reason}", words=lost is not None)
    text = "kept"
    if budget.too_few_words(measured):
        text += f"; too few {measured.unit} to tell {budget.max_wer_rise:g} points"
    if meant_for:
        text += f"; speed not judged here, it is made for {', '.join(meant_for)}"
    return Verdict(True, text)

"""Owns the losses over the hypotheses of clips: expected errors (MWER), and clipped policy ratios (GSPO, GRPO).

Input: the log-probability of every token of every hypothesis, and what each hypothesis is worth. Output: one number, summed
over clips, that torch can differentiate. On the host, in float64: some thousand numbers a step, whose sums have one order.
"""

from dataclasses import dataclass

import torch

from qasr_train.objectives.rollout_settings import RatioLevel


@dataclass(frozen=True, slots=True)
class Scored:
    """The hypotheses of some clips; R of them, L tokens together.

    log_probs: float64 [L]; natural logarithm of each token's probability, to be differentiated. drawn: the same when the
    hypotheses were drawn. row: int64 [L]; each token's hypothesis. clip: int64 [R]; each hypothesis's clip, any numbers.
    reward: float64 [R]; the higher the better. weight: float64 [R]; as how many hypotheses each counts.
    """

    log_probs: torch.Tensor
    drawn: torch.Tensor
    row: torch.Tensor
    clip: torch.Tensor
    reward: torch.Tensor
    weight: torch.Tensor

    def of_rows(self, values: torch.Tensor) -> torch.Tensor:
        """[R]: sums over the tokens of each hypothesis, of [L]."""
        return values.new_zeros(len(self.reward)).index_add(0, self.row, values)

    def of_clips(self, values: torch.Tensor) -> torch.Tensor:
        """[R]: of each hypothesis the sum over those of its clip, of [R]."""
        clips, place = self.clip.unique(return_inverse=True)
        return values.new_zeros(len(clips)).index_add(0, place, values)[place]

    @property
    def above_mean(self) -> torch.Tensor:
        """float64 [R]: reward less the mean of the clip's hypotheses."""
        mean = self.of_clips(self.weight * self.reward) / self.of_clips(self.weight)
        return self.reward - mean


def expected_errors(scored: Scored) -> torch.Tensor:
    """Minus the expected reward of each clip above the mean of its list, the model's probabilities normalised over the list.

    Prabhavalkar et al. 2017, "Minimum word error rate training for attention-based sequence-to-sequence models". Every hypothesis
    of a list counts once, however often it was drawn.
    """
    log_probs = scored.of_rows(scored.log_probs)
    clips, place = scored.clip.unique(return_inverse=True)
    highest = log_probs.detach().new_full((len(clips),), -torch.inf)
    highest = highest.scatter_reduce(0, place, log_probs.detach(), reduce="amax")[place]
    relative = (log_probs - highest).exp()
    posterior = relative / scored.of_clips(relative)
    return -(posterior * scored.above_mean).sum()


@dataclass(frozen=True, slots=True)
class ClippedRatios:
    """Minus the clipped policy ratio times the advantage, mean over the hypotheses of each clip.

    GSPO (Zheng et al. 2025, arXiv 2507.18071): `level` sequence, one ratio a hypothesis, its probability's to the power of 1 by
    its length. GRPO (Shao et al. 2024): `level` token, a ratio a token. Dr. GRPO (Liu et al. 2025, arXiv 2503.20783): without
    the divisions by the rewards' spread and by length, both of which favour some clips or hypotheses over others.
    clip_low, clip_high: how far below and above 1 a ratio counts.
    """

    level: RatioLevel
    clip_low: float
    clip_high: float
    divide_by_std: bool
    divide_by_length: bool

    def __call__(self, scored: Scored) -> torch.Tensor:
        """The loss, summed over clips."""
        share = scored.weight / scored.of_clips(scored.weight)
        return -(share * self._worth(scored)).sum()

    def _worth(self, scored: Scored) -> torch.Tensor:
        """float64 [R]: clipped ratio times advantage, of GRPO summed over tokens."""
        lengths = scored.of_rows(torch.ones_like(scored.drawn))
        divisor = lengths if self.divide_by_length else torch.ones_like(lengths)
        advantage = self._advantage(scored)
        if self.level is RatioLevel.sequence:
            change = scored.of_rows(scored.log_probs - scored.drawn) / divisor
            return self._clipped(change.exp(), advantage)
        of_tokens = self._clipped((scored.log_probs - scored.drawn).exp(), advantage[scored.row])
        return scored.of_rows(of_tokens) / divisor

    def _clipped(self, ratio: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
        kept = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        return torch.minimum(ratio * advantage, kept * advantage)

    def _advantage(self, scored: Scored) -> torch.Tensor:
        above = scored.above_mean
        if not self.divide_by_std:
            return above
        variance = scored.of_clips(scored.weight * above**2) / scored.of_clips(scored.weight)
        return torch.where(variance > 0, above / variance.clamp(min=1e-300).sqrt(), 0.0)

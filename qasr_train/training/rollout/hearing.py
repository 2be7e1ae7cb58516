"""Owns how wrong a model's own hypotheses of a training clip are, for runs that draw clips by it (`data.sample_by_error`).

Input: the hypotheses of a clip. Output: `Heard`: the clip and their error rate.
"""

from dataclasses import dataclass
from statistics import fmean

from qasr_train.batch import Batch
from qasr_train.data.hearing import Heard
from qasr_train.data.settings import SampleByErrorConfig
from qasr_train.models.base import DrawnClip
from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.judge import Judge
from qasr_train.rewards.settings import RewardRules


@dataclass(frozen=True)
class Ear:
    """The mean error rate of a clip's hypotheses, each as often as it was drawn: what to expect of it."""

    judge: Judge

    def __call__(self, batch: Batch, clip: int, asked: Asked, drawn: DrawnClip) -> Heard:
        """Of one clip of a training batch."""
        percents = [self._percent(asked, draw.said.text) for draw in drawn.draws]
        return Heard(batch.sources[clip] if batch.sources else "", batch.ids[clip], fmean(percents))

    def _percent(self, asked: Asked, text: str) -> float:
        """Against an empty reference each word counts as 100, as `read_expected_errors` has it."""
        compared = self.judge.compared(asked, Hypothesis(text, None, 0, True))
        return 100.0 * compared.num_errors / max(1, compared.num_expected)


def make_ear(config: SampleByErrorConfig) -> Ear | None:
    """What the settings ask for; None where no epoch is drawn by what another has heard."""
    return Ear(Judge(RewardRules(normalizer=config.normalizer))) if config.first_epoch else None

"""Owns the table of rewards, and the weighted total of those a config names. One more is a function and a line here. No torch.

Input: weights by name, `RewardRules`. Output: `Rewards`: (asked, hypothesis) -> the total and each part.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qasr_train.errors import ConfigError
from qasr_train.rewards import answers, errors
from qasr_train.rewards.base import Asked, Hypothesis, Reward
from qasr_train.rewards.judge import Judge
from qasr_train.rewards.settings import RewardRules
from qasr_train.text.terms import read_terms

JudgedReward = Callable[[Asked, Hypothesis, Judge], float | None]

# Name in the config -> (what was asked, a hypothesis, how texts compare) -> its worth, or None where the clip cannot say.
REWARDS: dict[str, JudgedReward] = {
    "word_errors": errors.word_errors,
    "gated_errors": errors.gated_errors,
    "error_count": errors.error_count,
    "term_recall": answers.term_recall,
    "term_precision": answers.term_precision,
    "language": answers.language,
    "invented_words": answers.invented_words,
    "repetition": answers.repetition,
    "truncation": answers.truncation,
    "style": answers.style,
    "written_form": answers.written_form,
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What a hypothesis is worth.

    total: mean of the parts that are not None, by their weights; None where all are. parts: each reward that has a weight.
    """

    total: float | None
    parts: dict[str, float | None]


@dataclass(frozen=True)
class Rewards:
    """The rewards of a run. weights: all above 0, by the names of `parts`."""

    weights: dict[str, float]
    parts: dict[str, Reward]

    def __call__(self, asked: Asked, hypothesis: Hypothesis) -> Judged:
        """What one hypothesis is worth; several of one clip should come one after the other, so that its reference is kept."""
        values = {name: reward(asked, hypothesis) for name, reward in self.parts.items()}
        known = {name: value for name, value in values.items() if value is not None}
        if not known:
            return Judged(None, values)
        weight = sum(self.weights[name] for name in known)
        return Judged(sum(self.weights[name] * value for name, value in known.items()) / weight, values)


def make_rewards(weights: Mapping[str, float], rules: RewardRules) -> Rewards:
    """The rewards that have a weight above 0.

    Raises:
        ConfigError, DataError: as `check_weights`; `rules.terms` cannot be read.
    """
    check_weights(weights)
    terms = read_terms(rules.terms, "objective.reward_rules.terms") if rules.terms else None
    judge = Judge(rules, terms.spellings if terms else None)
    chosen = {name: weight for name, weight in weights.items() if weight}
    return Rewards(chosen, {name: _by_rules(REWARDS[name], judge) for name in chosen})


def check_weights(weights: Mapping[str, float], key: str = "objective.rewards") -> None:
    """Refuse weights by which nothing can be told.

    Args:
        key: the setting, for messages.

    Raises:
        ConfigError: a name that is no reward, a weight below 0, or none above 0.
    """
    for name, weight in weights.items():
        if name not in REWARDS:
            near = difflib.get_close_matches(name, REWARDS, n=3, cutoff=0.5)
            meant = f"; did you mean {' or '.join(near)}?" if near else f"; choose from {', '.join(REWARDS)}"
            raise ConfigError(f"{key}.{name}: no such reward{meant}")
        if not weight >= 0:
            raise ConfigError(
                f"{key}.{name}={weight:g}: a weight is 0 (off) or more; a reward is high where an answer is good"
            )
    if not any(weights.values()):
        raise ConfigError(f"{key} gives no reward a weight; set at least one, e.g. {key}.gated_errors=1.0")


def _by_rules(reward: JudgedReward, judge: Judge) -> Reward:
    return lambda asked, hypothesis: reward(asked, hypothesis, judge)

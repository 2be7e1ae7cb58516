"""Owns what the hypotheses of a clip are worth, and the figures of it that a run shows.

Input: what was drawn of a clip, its reference, the rewards. Output: its distinct hypotheses with a reward each; sums over clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qasr_train.data.hearing import Heard
from qasr_train.models.base import Draw, DrawnClip
from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.table import Rewards

SAME_REWARD = 1e-9  # rewards that differ by less are equal but for rounding
# Of every clip: mean reward, its standard deviation within the clip, the reward of the greedy hypothesis; the share of clips
# whose hypotheses are all worth the same, of hypotheses unlike the clip's others; their tokens; the share without an end.
_FIGURES = (
    "reward",
    "reward_spread",
    "greedy_reward",
    "taught_nothing_fraction",
    "distinct_fraction",
    "hypothesis_tokens",
    "unfinished_fraction",
)


@dataclass(frozen=True, slots=True)
class JudgedDraw:
    """A distinct hypothesis of a clip.

    num_drawn: how often it was drawn. reward: None where nothing can be told of it. parts: each reward by itself.
    """

    draw: Draw
    num_drawn: int
    reward: float | None
    parts: Mapping[str, float | None]


def judge_draws(drawn: DrawnClip, asked: Asked, rewards: Rewards) -> list[JudgedDraw]:
    """The distinct hypotheses of a clip, the greedy one first."""
    number: dict[tuple[int, ...], int] = {}
    first: dict[tuple[int, ...], Draw] = {}
    for draw in drawn.draws:
        number[draw.ids] = number.get(draw.ids, 0) + 1
        first.setdefault(draw.ids, draw)
    judged = []
    for ids, draw in first.items():
        said = draw.said
        worth = rewards(asked, Hypothesis(said.text, said.language, said.num_tokens, not said.is_truncated))
        judged.append(JudgedDraw(draw, number[ids], worth.total, worth.parts))
    return judged


def teaches(judged: Sequence[JudgedDraw]) -> bool:
    """Whether some hypothesis of a clip is better than another: equal ones leave every loss where it is."""
    values = [one.reward for one in judged if one.reward is not None]
    return len(values) == len(judged) and max(values) - min(values) > SAME_REWARD


@dataclass
class RolloutFigures:
    """Sums over the clips of a step on one process.

    pooled: name -> (sum, how many things it is of). seconds: spent drawing and judging. heard: of each clip, where that is asked.
    """

    pooled: dict[str, tuple[float, float]] = field(default_factory=dict)
    seconds: float = 0.0
    heard: list[Heard] = field(default_factory=list)

    @classmethod
    def of(cls, rewards: Rewards) -> "RolloutFigures":
        """Of no clip yet: the names are the same on every process and in every step."""
        names = [*_FIGURES, *(f"reward/{name}" for name in rewards.parts)]
        return cls(dict.fromkeys(names, (0.0, 0.0)))

    def note(self, judged: Sequence[JudgedDraw]) -> None:
        """Count the hypotheses of one clip, each as often as it was drawn."""
        num_drawn = sum(one.num_drawn for one in judged)
        self._add("taught_nothing_fraction", float(not teaches(judged)))
        self._add("distinct_fraction", len(judged), num_drawn)
        for one in judged:
            self._add("hypothesis_tokens", one.draw.said.num_tokens * one.num_drawn, one.num_drawn)
            self._add("unfinished_fraction", one.draw.said.is_truncated * one.num_drawn, one.num_drawn)
            for name, value in one.parts.items():
                if value is not None:
                    self._add(f"reward/{name}", value * one.num_drawn, one.num_drawn)
        told = [(one.reward, one.num_drawn) for one in judged if one.reward is not None]
        if not told:
            return
        values, weights = np.array(told).T
        mean = float(np.average(values, weights=weights))
        self._add("reward", mean)
        self._add("reward_spread", float(np.average((values - mean) ** 2, weights=weights)) ** 0.5)
        if judged[0].reward is not None:
            self._add("greedy_reward", judged[0].reward)

    def _add(self, name: str, value: float, number: float = 1.0) -> None:
        total, count = self.pooled[name]
        self.pooled[name] = (total + value, count + number)

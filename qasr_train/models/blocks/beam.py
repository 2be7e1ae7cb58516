"""Owns the beam: the likeliest hypotheses of each clip, in the place of drawn ones.

Input: `GroupSteps` after the prompts, spread over `width` rows a clip, and their first tokens. Output: the tokens of each
hypothesis. Scores are sums of log-probabilities, without a bonus for length: the list stands for what the model holds likely.
Prefixes are compared on the host, so a GPU is waited for at every step.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch

from qasr_train.models.blocks.greedy import Chosen, RowTokens
from qasr_train.models.blocks.sampling import Chooser, GroupSteps


class Candidates:
    """Tells the likeliest next tokens of every row; the beam goes on with some of them. Owns nothing of a single row."""

    def __init__(self, number: int, never: int) -> None:
        """number: of candidates a row. never: a token that is no candidate; see `Drawn`."""
        self.number, self.never = number, never
        self.found: tuple[list[list[int]], list[list[float]]] = ([], [])

    def __call__(self, logits: torch.Tensor) -> Chosen:
        """See `Chooser`."""
        log_probs = logits.float().log_softmax(-1)
        log_probs[:, self.never] = -torch.inf
        best, ids = log_probs.topk(min(self.number, log_probs.shape[-1]), dim=-1)
        self.found = (ids.tolist(), best.tolist())
        return Chosen(ids[:, 0], best[:, 0])

    def keep(self, kept: torch.Tensor) -> None:
        """See `Chooser`."""


@dataclass(frozen=True)
class Beam:
    """The `width` likeliest hypotheses that a beam of as many prefixes finds, the best first; see `Drawing`."""

    width: int

    @property
    def num_each(self) -> int:
        """See `Drawing`."""
        return self.width

    def chooser(self, never: int, end_ids: Collection[int]) -> Chooser:
        """See `Drawing`."""
        return Candidates(self.width + len(end_ids), never)  # so many that `width` of them go on

    def groups(
        self, steps: GroupSteps, chooser: Chooser, first: Chosen, limits: Sequence[int], end_ids: Collection[int]
    ) -> list[list[RowTokens]]:
        """See `Drawing`."""
        assert isinstance(chooser, Candidates)
        device, num_rows = first.ids.device, len(first.ids)
        # The rows of a clip are alike after its prompt: the first stands for all.
        searches = [
            _Search(self.width, limit, frozenset(end_ids), [_Prefix(0.0, (), (), clip * self.width)])
            for clip, limit in enumerate(limits)
        ]
        while True:
            for search in searches:
                search.extend(*chooser.found)
            rows = [prefix for search in searches for prefix in search.prefixes]
            if not rows:
                return [search.listed() for search in searches]
            parents = [prefix.row for prefix in rows]
            if parents != list(range(num_rows)):
                steps.spread(torch.tensor(parents).to(device))
                num_rows = len(parents)
            for row, prefix in enumerate(rows):
                prefix.row = row
            steps.advance(torch.tensor([prefix.ids[-1] for prefix in rows]).to(device), 1)


@dataclass(slots=True)
class _Prefix:
    """What was said so far. score: the sum of log_probs. row: of the batch, whose next tokens come after it."""

    score: float
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    row: int


@dataclass
class _Search:
    """The beam of one clip. prefixes: those that go on, the likeliest first; ended: the likeliest that have come to an end."""

    width: int
    limit: int
    end_ids: frozenset[int]
    prefixes: list[_Prefix]
    ended: list[_Prefix] = field(default_factory=list)
    cut: list[_Prefix] = field(default_factory=list)  # at the limit: they fill up a list that is too short

    def extend(self, ids: Sequence[Sequence[int]], log_probs: Sequence[Sequence[float]]) -> None:
        """Every prefix by the candidates of its row, [rows][candidates]; none goes on that cannot enter the list."""
        longer = [
            _Prefix(one.score + value, (*one.ids, token), (*one.log_probs, value), one.row)
            for one in self.prefixes
            for token, value in zip(ids[one.row], log_probs[one.row], strict=True)
            if value > -math.inf
        ]
        longer.sort(key=lambda one: -one.score)
        self.ended += [one for one in longer if one.ids[-1] in self.end_ids]
        self.ended = sorted(self.ended, key=lambda one: -one.score)[: self.width]
        self.prefixes = [one for one in longer if one.ids[-1] not in self.end_ids][: self.width]
        if len(self.ended) == self.width:  # what is said further only becomes less likely
            self.prefixes = [one for one in self.prefixes if one.score > self.ended[-1].score]
        if self.prefixes and len(self.prefixes[0].ids) == self.limit:
            self.cut, self.prefixes = self.prefixes, []

    def listed(self) -> list[RowTokens]:
        """The list, the likeliest first; those cut at the limit come last."""
        whole = [*self.ended, *self.cut][: self.width]
        return [RowTokens(list(one.ids), list(one.log_probs)) for one in whole]

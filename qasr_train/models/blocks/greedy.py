"""Owns the loop of greedy decoding that families share: rows decoded together, each to its end or its limit, done rows leave.

Input: `Steps` of a family and the first tokens of its rows. Output: the tokens of each row and how probable each was.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import torch

# Done rows are dropped when they are a quarter of the batch: each time the cache of the others is copied once.
KEPT_FRACTION = 0.75
# Looking at the tokens makes a GPU wait for the host; there it is done every so many steps, and a row runs on meanwhile.
STEPS_BETWEEN_LOOKS = 8


# The limit of new tokens where none is set: room for the language tag and the end, and more than any speech needs.
# Fast speech has some 7 words a second, under 16 tokens even in scripts that cost two tokens a word.
TOKENS_BESIDES_SPEECH = 64
TOKENS_PER_S = 16


def token_limit(duration_s: float) -> int:
    """The most new tokens for a clip: 64 + 16 a second; more than speech needs, so that only a repetition loop meets it."""
    return TOKENS_BESIDES_SPEECH + math.ceil(TOKENS_PER_S * duration_s)


class RowTokens(NamedTuple):
    """What was decoded of one row: ids, and the natural logarithm of the probability the model gave each of them.

    log_probs: [] where they are not known.
    """

    ids: list[int]
    log_probs: list[float]

    def first(self, num_tokens: int) -> "RowTokens":
        """The first of them."""
        return RowTokens(self.ids[:num_tokens], self.log_probs[:num_tokens])

    def followed_by(self, new: "RowTokens") -> "RowTokens":
        """These and then others; how probable they were is known where it is of both."""
        is_known = all(len(one.log_probs) == len(one.ids) for one in (self, new))
        return RowTokens(self.ids + new.ids, self.log_probs + new.log_probs if is_known else [])


NOTHING_SAID = RowTokens([], [])


class Chosen(NamedTuple):
    """The tokens of one step: int64 [B], and float32 [B], the logarithm of the probability of each."""

    ids: torch.Tensor
    log_probs: torch.Tensor


class Steps(Protocol):
    """What decodes the rows of a batch step by step, with the keys and values of the tokens so far."""

    def advance(self, tokens: torch.Tensor, num_steps: int) -> list[Chosen]:
        """The tokens of the next steps, after int64 [B]; what was given before is not valid any more."""

    def keep(self, kept: torch.Tensor) -> None:
        """Go on with these rows alone; int64, places in the batch as it is."""

    def should_drop(self, num_pending: int) -> bool:
        """Whether it pays to leave the done rows out, so many being left."""


def finish_rows(
    steps: Steps,
    first: Chosen,
    limits: Sequence[int],
    end_ids: Collection[int],
    *,
    steps_between_looks: int | None = None,
) -> list[RowTokens]:
    """The tokens of each row, in order, up to and with its first end token, or as many as its limit.

    Args:
        steps: after the prompts. first: the token after each prompt.
        limits: most new tokens of each row, at least 1. end_ids: tokens that end a row.
        steps_between_looks: how often done rows are looked for; None: STEPS_BETWEEN_LOOKS on a GPU, every step on a CPU.
    """
    num_steps = steps_between_looks or (STEPS_BETWEEN_LOOKS if first.ids.is_cuda else 1)
    run = _Run(len(limits), limits, end_ids)
    new = [first]
    while not run.take(new):
        tokens = new[-1].ids
        if steps.should_drop(len(run.pending)):
            kept = run.drop_done().to(tokens.device)
            tokens = tokens[kept]
            steps.keep(kept)
        new = steps.advance(tokens, num_steps)
    return run.done


def choose(logits: torch.Tensor) -> Chosen:
    """The likeliest token of each row of float [B, V]."""
    ids = logits.argmax(-1)
    logits = logits.float()  # of bfloat16 a sum over the vocabulary would be too coarse
    return Chosen(ids, logits.gather(-1, ids[:, None])[:, 0] - logits.logsumexp(-1))


class _Run:
    """What is known of the rows while they are decoded; the batch holds those in `rows`, some of which may be done."""

    def __init__(self, num_rows: int, limits: Sequence[int], end_ids: Collection[int]) -> None:
        self.limits, self.end_ids = limits, frozenset(end_ids)
        self.done = [RowTokens([], []) for _ in range(num_rows)]
        self.rows = list(range(num_rows))
        self.pending = set(self.rows)

    def take(self, new: Sequence[Chosen]) -> bool:
        """Note the tokens of the last steps; True when all rows are done."""
        ids, log_probs = (torch.stack(one).tolist() for one in zip(*new, strict=True))
        for step_ids, step_log_probs in zip(ids, log_probs, strict=True):
            for row, token, log_prob in zip(self.rows, step_ids, step_log_probs, strict=True):
                if row not in self.pending:
                    continue
                done = self.done[row]
                done.ids.append(token)
                done.log_probs.append(log_prob)
                if token in self.end_ids or len(done.ids) == self.limits[row]:
                    self.pending.discard(row)
        return not self.pending

    def drop_done(self) -> torch.Tensor:
        """int64: places in the batch of the rows that stay in it."""
        kept = [place for place, row in enumerate(self.rows) if row in self.pending]
        self.rows = [self.rows[place] for place in kept]
        return torch.tensor(kept)

"""The beam on a toy language whose sequences can all be listed: what it finds is what sorting all of them gives."""

import itertools
import math

import pytest
import torch

from qasr_train.models.blocks.beam import Beam, Candidates
from qasr_train.models.blocks.greedy import Chosen

END, NEVER, VOCABULARY, LIMIT = 0, 4, 5, 4
SEQUENCES = [(*words, END) for n in range(LIMIT) for words in itertools.product((1, 2, 3), repeat=n)]


def logits_after(clip: int, prefix: tuple[int, ...]) -> torch.Tensor:
    """Of the next token; the one that is never chosen is by far the likeliest."""
    generator = torch.Generator().manual_seed(sum((token + 1) * 7**at for at, token in enumerate((clip, *prefix))))
    return torch.cat([1.5 * torch.randn(VOCABULARY - 1, generator=generator), torch.tensor([9.0])])


class ToySteps:
    """Rows that are no more than their clip and what was said in each."""

    def __init__(self, clips: list[int], chooser: Candidates) -> None:
        self.chooser = chooser
        self.rows: list[tuple[int, tuple[int, ...]]] = [(clip, ()) for clip in clips]
        self.num_rows: list[int] = []

    def choose(self) -> Chosen:
        self.num_rows.append(len(self.rows))
        return self.chooser(torch.stack([logits_after(clip, said) for clip, said in self.rows]))

    def advance(self, tokens: torch.Tensor, num_steps: int) -> list[Chosen]:
        assert num_steps == 1
        self.rows = [(clip, (*said, token)) for (clip, said), token in zip(self.rows, tokens.tolist(), strict=True)]
        return [self.choose()]

    def spread(self, rows: torch.Tensor) -> None:
        self.rows = [self.rows[row] for row in rows.tolist()]

    def keep(self, kept: torch.Tensor) -> None:
        raise AssertionError("a beam spreads")

    def should_drop(self, num_pending: int) -> bool:
        raise AssertionError("a beam does not ask")


def search(
    width: int, clips: list[int], limit: int = LIMIT + 1
) -> tuple[list[list[tuple[list[int], float]]], ToySteps]:
    beam = Beam(width)
    chooser = beam.chooser(NEVER, [END])
    assert isinstance(chooser, Candidates)
    steps = ToySteps([clip for clip in clips for _ in range(beam.num_each)], chooser)
    found = beam.groups(steps, chooser, steps.choose(), [limit] * len(clips), [END])
    return [[(one.ids, sum(one.log_probs)) for one in group] for group in found], steps


def score(clip: int, ids: tuple[int, ...]) -> float:
    """By hand, token by token; the token that is never chosen keeps its share of the probability."""
    total = 0.0
    for at, token in enumerate(ids):
        logits = logits_after(clip, ids[:at]).tolist()
        total += logits[token] - math.log(sum(map(math.exp, logits)))
    return total


@pytest.mark.parametrize("clips", [[0], [1, 2, 3]])
def test_a_beam_as_wide_as_all_there_is_finds_the_likeliest_of_all_sequences(clips: list[int]) -> None:
    found, _ = search(27, clips, limit=LIMIT)
    for clip, group in zip(clips, found, strict=True):
        expected = sorted(SEQUENCES, key=lambda ids: -score(clip, ids))[:27]
        assert [tuple(ids) for ids, _ in group] == expected
        assert [total for _, total in group] == pytest.approx([score(clip, ids) for ids in expected], rel=1e-5)


def test_a_beam_of_one_finds_nothing_less_likely_than_token_by_token() -> None:
    found, _ = search(1, list(range(12)))
    gains = []
    for clip, ((ids, total),) in enumerate(found):
        said: tuple[int, ...] = ()
        while said[-1:] != (END,) and len(said) <= LIMIT:
            said = (*said, int(logits_after(clip, said)[:NEVER].argmax()))
        gains.append(total - score(clip, said))
        assert ids == list(said) or gains[-1] > 0
    assert max(gains) > 0  # an end that was not the likeliest token made the likelier whole


def test_what_meets_the_limit_fills_the_list_behind_what_ended_and_done_clips_leave_the_batch() -> None:
    found, steps = search(3, [0, 1, 2, 3], limit=2)
    for group in found:
        has_end = [ids[-1] == END for ids, _ in group]
        assert len(group) == 3 and has_end == sorted(has_end, reverse=True)
        assert all(len(ids) == 2 for ids, _ in group if ids[-1] != END)
    _, steps = search(3, list(range(9)), limit=30)
    assert steps.num_rows[-1] < steps.num_rows[0]

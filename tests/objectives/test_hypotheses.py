"""Losses over hypotheses: their slopes against a plain computation in which all sequences of a toy vocabulary are enumerated."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from qasr_train.batch import IGNORED, Batch, Rollout
from qasr_train.models.base import TargetStates
from qasr_train.objectives.base import LossSum
from qasr_train.objectives.hypotheses import ClippedRatios, Scored, expected_errors
from qasr_train.objectives.rollout_settings import RatioLevel
from qasr_train.objectives.sequence import SequenceLoss

END, VOCABULARY, MOST_TOKENS = 0, 3, 3
# Every sequence there is: words 1 and 2, then the end, which comes after three words at the latest.
SEQUENCES = [(*words, END) for number in range(MOST_TOKENS + 1) for words in itertools.product((1, 2), repeat=number)]
REWARDS = {ids: float(ids.count(1)) - 0.7 * ids.count(2) + 0.1 * len(ids) for ids in SEQUENCES}
PREFIXES = {
    prefix: place for place, prefix in enumerate(sorted({ids[:at] for ids in SEQUENCES for at in range(len(ids))}))
}
Table = list[list[float]]  # of every prefix, the logits of the next token


def table(seed: int) -> Table:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(PREFIXES), VOCABULARY, generator=generator, dtype=torch.float64).tolist()


def token_log_probs(logits: Table, ids: Sequence[int]) -> list[float]:
    """By hand; the last position offers the end alone, so that all sequences together have probability 1."""
    found = []
    for at, token in enumerate(ids):
        if at == MOST_TOKENS:
            found.append(0.0)
            continue
        row = logits[PREFIXES[tuple(ids[:at])]]
        found.append(row[token] - math.log(sum(map(math.exp, row))))
    return found


class TableModel:
    """An autoregressive model whose weights are the table; it hears nothing."""

    def __init__(self, logits: Table, head: torch.nn.Module | None = None) -> None:
        self.logits = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
        self.head = head or torch.nn.Identity()

    def __call__(self, batch: Batch, reduce: Callable[[TargetStates], Any]) -> Any:
        rows, targets, hidden = [], [], []
        only_end = torch.tensor([0.0, -math.inf, -math.inf], dtype=torch.float64)
        for number, labels in enumerate(batch.labels):
            ids = labels[labels != IGNORED].tolist()
            for at, token in enumerate(ids):
                hidden.append(only_end if at == MOST_TOKENS else self.logits[PREFIXES[tuple(ids[:at])]])
                targets.append(token)
                rows.append(number)
        return reduce(TargetStates(torch.stack(hidden), self.head, torch.tensor(targets), torch.tensor(rows)))


def batch_of(
    clips: Sequence[Sequence[tuple[int, ...]]],
    *,
    rewards: Callable[[int, tuple[int, ...]], float] = lambda clip, ids: REWARDS[ids],
    references: Sequence[tuple[int, ...]] = (),
    num_drawn: Sequence[int] | None = None,
    log_probs: torch.Tensor | None = None,
) -> Batch:
    rows = [(clip, ids, False) for clip, group in enumerate(clips) for ids in group]
    rows += [(clip, ids, True) for clip, ids in enumerate(references)]
    labels = torch.full((len(rows), MOST_TOKENS + 1), IGNORED)
    for number, (_, ids, _) in enumerate(rows):
        labels[number, : len(ids)] = torch.tensor(ids)
    ones, nothing = torch.ones_like(labels), torch.zeros(len(clips), 1, 1)
    return Batch(
        ids=[f"u{clip}" for clip, _, _ in rows],
        input_ids=ones,
        attention_mask=ones,
        labels=labels,
        input_features=nothing,
        input_features_mask=nothing[:, 0].long(),
        duration_s=torch.ones(len(clips)),
        audio_of=[clip for clip, _, _ in rows],
        rollout=Rollout(
            clip=torch.tensor([clip for clip, _, _ in rows]),
            reward=torch.tensor([0.0 if taught else rewards(clip, ids) for clip, ids, taught in rows]).double(),
            num_drawn=torch.tensor(num_drawn or [1] * len(rows)),
            is_reference=torch.tensor([taught for _, _, taught in rows]),
            num_clips=len(clips),
            log_probs=log_probs,
        ),
    )


def objective(loss_of: Callable[[Scored], torch.Tensor], **settings: Any) -> SequenceLoss:
    plain = {"cross_entropy_weight": 0.0, "kl_weight": 0.0, "kl_sources": [], "chunk_rows": None}
    return SequenceLoss(loss_of, **{**plain, "counts_repeats": False, "base": None, **settings})


def value_of(found: LossSum) -> float:
    return float(found.total.detach())


def slopes_of(found: LossSum, model: TableModel) -> torch.Tensor:
    return torch.autograd.grad(found.total, model.logits)[0]


def by_differences(value: Callable[[Table], float], logits: Table, step: float = 1e-5) -> torch.Tensor:
    """The derivative of a plain function by every number of the table."""
    slopes = torch.zeros(len(logits), VOCABULARY, dtype=torch.float64)
    for row, token in itertools.product(range(len(logits)), range(VOCABULARY)):
        both = []
        for sign in (1, -1):
            moved = [list(one) for one in logits]
            moved[row][token] += sign * step
            both.append(value(moved))
        slopes[row, token] = (both[0] - both[1]) / (2 * step)
    return slopes


def gspo_by_hand(now: Table, before: Table, low: float, high: float) -> float:
    """The formula of the paper for the group of all sequences, term by term."""
    mean = sum(REWARDS[ids] for ids in SEQUENCES) / len(SEQUENCES)
    std = math.sqrt(sum((REWARDS[ids] - mean) ** 2 for ids in SEQUENCES) / len(SEQUENCES))
    total = 0.0
    for ids in SEQUENCES:
        change = sum(token_log_probs(now, ids)) - sum(token_log_probs(before, ids))
        ratio, advantage = math.exp(change / len(ids)), (REWARDS[ids] - mean) / std
        total += min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
    return -total / len(SEQUENCES)


def grpo_by_hand(now: Table, before: Table, low: float, high: float, *, dr: bool) -> float:
    """A ratio a token; dr: neither divided by the spread of rewards nor by length."""
    mean = sum(REWARDS[ids] for ids in SEQUENCES) / len(SEQUENCES)
    std = math.sqrt(sum((REWARDS[ids] - mean) ** 2 for ids in SEQUENCES) / len(SEQUENCES))
    total = 0.0
    for ids in SEQUENCES:
        advantage, of_tokens = REWARDS[ids] - mean, 0.0
        if not dr:
            advantage /= std
        for new, old in zip(token_log_probs(now, ids), token_log_probs(before, ids), strict=True):
            ratio = math.exp(new - old)
            of_tokens += min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
        total += of_tokens if dr else of_tokens / len(ids)
    return -total / len(SEQUENCES)


def test_the_toy_model_says_something_for_certain() -> None:
    assert sum(math.exp(sum(token_log_probs(table(0), ids))) for ids in SEQUENCES) == pytest.approx(1)


def test_mwer_is_the_expected_reward_when_every_sequence_is_in_the_list() -> None:
    """Then the probabilities need no normalising, and the slope is that of the expectation, by finite differences."""

    def value(logits: Table) -> float:
        return -sum(math.exp(sum(token_log_probs(logits, ids))) * REWARDS[ids] for ids in SEQUENCES)

    logits = table(0)
    model = TableModel(logits)
    found = objective(expected_errors)(model, batch_of([SEQUENCES]))
    mean = sum(REWARDS.values()) / len(REWARDS)
    assert value_of(found) == pytest.approx(value(logits) + mean, rel=2e-5)
    torch.testing.assert_close(slopes_of(found, model), by_differences(value, logits), rtol=1e-4, atol=3e-6)


def test_mwer_of_two_clips_with_lists_of_their_own() -> None:
    lists = [SEQUENCES[1:5], SEQUENCES[6:9]]

    def value(logits: Table) -> float:
        total = 0.0
        for some in lists:
            probs = [math.exp(sum(token_log_probs(logits, ids))) for ids in some]
            mean = sum(REWARDS[ids] for ids in some) / len(some)
            total -= sum(p * (REWARDS[ids] - mean) for p, ids in zip(probs, some, strict=True)) / sum(probs)
        return total

    logits = table(1)
    model = TableModel(logits)
    found = objective(expected_errors)(model, batch_of(lists))
    assert (value_of(found), found.num_targets) == (pytest.approx(value(logits), rel=2e-5), 2)
    torch.testing.assert_close(slopes_of(found, model), by_differences(value, logits), rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize(
    ("ratios", "by_hand"),
    [
        (
            ClippedRatios(RatioLevel.sequence, 0.2, 0.3, divide_by_std=True, divide_by_length=True),
            lambda now, before: gspo_by_hand(now, before, 0.2, 0.3),
        ),
        (
            ClippedRatios(RatioLevel.token, 0.2, 0.3, divide_by_std=True, divide_by_length=True),
            lambda now, before: grpo_by_hand(now, before, 0.2, 0.3, dr=False),
        ),
        (
            ClippedRatios(RatioLevel.token, 0.2, 0.3, divide_by_std=False, divide_by_length=False),
            lambda now, before: grpo_by_hand(now, before, 0.2, 0.3, dr=True),
        ),
    ],
    ids=["gspo", "grpo", "dr_grpo"],
)
def test_ratios_to_another_step_are_clipped_as_by_hand(
    ratios: ClippedRatios, by_hand: Callable[[Table, Table], float]
) -> None:
    before = table(2)
    now = [
        [value + 0.3 * other for value, other in zip(*rows, strict=True)] for rows in zip(before, table(3), strict=True)
    ]
    drawn = torch.tensor([value for ids in SEQUENCES for value in token_log_probs(before, ids)])
    model = TableModel(now)
    found = objective(ratios)(model, batch_of([SEQUENCES], log_probs=drawn))
    assert value_of(found) == pytest.approx(by_hand(now, before), rel=1e-5)
    free = objective(replace(ratios, clip_low=0.99, clip_high=1e9))(
        TableModel(now), batch_of([SEQUENCES], log_probs=drawn)
    )
    assert value_of(free) != pytest.approx(value_of(found), rel=1e-3)  # something is clipped
    expected = by_differences(lambda logits: by_hand(logits, before), now)
    torch.testing.assert_close(slopes_of(found, model), expected, rtol=1e-4, atol=1e-5)


def test_gspo_at_the_step_itself_is_reinforce_with_the_clips_mean_as_baseline() -> None:
    logits = table(4)
    model = TableModel(logits)
    ratios = ClippedRatios(RatioLevel.sequence, 3e-4, 4e-4, divide_by_std=True, divide_by_length=True)
    found = objective(ratios)(model, batch_of([SEQUENCES]))
    assert value_of(found) == pytest.approx(0, abs=1e-6)  # every ratio is 1, and advantages add up to nothing
    expected = by_differences(lambda now: gspo_by_hand(now, logits, 0.5, 0.5), logits)
    torch.testing.assert_close(slopes_of(found, model), expected, rtol=1e-4, atol=3e-6)


def test_a_hypothesis_counts_once_or_as_often_as_it_was_drawn() -> None:
    some = SEQUENCES[1:3]  # (1, end) and (2, end)
    ratios = ClippedRatios(RatioLevel.sequence, 0.2, 0.2, divide_by_std=False, divide_by_length=False)
    slopes = {}
    for name, rows, drawn, repeats in (
        ("once", some, [3, 1], False),
        ("as drawn", some, [3, 1], True),
        ("rows", [some[0]] * 3 + [some[1]], None, False),
    ):
        model = TableModel(table(5))
        slopes[name] = slopes_of(
            objective(ratios, counts_repeats=repeats)(model, batch_of([rows], num_drawn=drawn)), model
        )
    torch.testing.assert_close(slopes["as drawn"], slopes["rows"])
    # Advantages of 1 and 3 draws by hand: d/4 and -3d/4, weights 3/4 and 1/4; of 1 and 1: d/2 and -d/2, halves.
    torch.testing.assert_close(slopes["once"] * (3 / 16) / (1 / 4), slopes["as drawn"])


@pytest.mark.parametrize("loss_of", [expected_errors, ClippedRatios(RatioLevel.sequence, 0.2, 0.2, True, True)])
def test_a_constant_reward_moves_nothing(loss_of: Callable[[Scored], torch.Tensor]) -> None:
    model = TableModel(table(6))
    found = objective(loss_of)(model, batch_of([SEQUENCES], rewards=lambda clip, ids: 0.3))
    assert float(slopes_of(found, model).abs().max()) < 1e-12


@pytest.mark.parametrize(
    "loss_of",
    [
        expected_errors,
        ClippedRatios(RatioLevel.sequence, 3e-4, 4e-4, divide_by_std=True, divide_by_length=True),
        ClippedRatios(RatioLevel.token, 0.2, 0.2, divide_by_std=True, divide_by_length=True),
        ClippedRatios(RatioLevel.token, 0.2, 0.2, divide_by_std=False, divide_by_length=False),
    ],
    ids=["mwer", "gspo", "grpo", "dr_grpo"],
)
def test_the_best_of_a_bandits_arms_is_learned(loss_of: Callable[[Scored], torch.Tensor]) -> None:
    """From a model that says everything alike: the best thing to say, three ones, becomes what it says."""
    generator = torch.Generator().manual_seed(0)
    model = TableModel([[0.0] * VOCABULARY for _ in PREFIXES])
    optimizer = torch.optim.Adam([model.logits], lr=0.1)
    best = max(SEQUENCES, key=lambda ids: REWARDS[ids])
    assert best == (1, 1, 1, END)
    for _ in range(120):
        logits = model.logits.tolist()
        chances = torch.tensor([math.exp(sum(token_log_probs(logits, ids))) for ids in SEQUENCES])
        drawn = torch.multinomial(chances, 8, replacement=True, generator=generator).unique().tolist()
        found = objective(loss_of)(model, batch_of([[SEQUENCES[place] for place in drawn]]))
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
    assert math.exp(sum(token_log_probs(model.logits.tolist(), best))) > 0.8


def test_cross_entropy_of_transcripts_stands_beside_by_its_weight() -> None:
    references = [SEQUENCES[4], SEQUENCES[2]]
    lists = [SEQUENCES[:3], SEQUENCES[3:6]]
    logits = table(7)
    slopes, values = [], []
    for weight, given in ((0.0, ()), (0.25, references)):
        model = TableModel(logits)
        found = objective(expected_errors, cross_entropy_weight=weight)(model, batch_of(lists, references=given))
        slopes.append(slopes_of(found, model))
        values.append(value_of(found))
    nats = -sum(value for ids in references for value in token_log_probs(logits, ids))
    assert float(found.metrics["reference_nats"]) == pytest.approx(nats, rel=2e-5)
    assert values[1] == pytest.approx(values[0] + 0.25 * nats, rel=2e-5)
    pull = by_differences(lambda now: -sum(v for ids in references for v in token_log_probs(now, ids)), logits)
    torch.testing.assert_close(slopes[1], slopes[0] + 0.25 * pull, rtol=1e-4, atol=3e-6)


def test_a_chunked_head_gives_the_same_slopes() -> None:
    found = []
    for chunk_rows in (None, 4):
        head = torch.nn.Linear(VOCABULARY, VOCABULARY, bias=False, dtype=torch.float64)
        with torch.no_grad():
            head.weight.copy_(torch.eye(VOCABULARY) + 0.1)
        some = [ids for ids in SEQUENCES if len(ids) <= MOST_TOKENS]  # the certain end has no finite logits
        model = TableModel(table(8), head)
        loss = objective(expected_errors, chunk_rows=chunk_rows, cross_entropy_weight=0.1)(
            model, batch_of([some], references=[some[2]])
        )
        found.append([loss.total.detach(), *torch.autograd.grad(loss.total, [model.logits, head.weight])])
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=3e-6)


def test_without_hypotheses_that_teach_the_loss_is_that_of_transcripts() -> None:
    model = TableModel(table(9))
    found = objective(expected_errors, cross_entropy_weight=0.5)(model, batch_of([[], []], references=SEQUENCES[3:5]))
    nats = -sum(value for ids in SEQUENCES[3:5] for value in token_log_probs(table(9), ids))
    assert (value_of(found), found.num_targets) == (pytest.approx(0.5 * nats, rel=2e-5), 2)

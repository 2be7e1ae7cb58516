"""Sum and count of the token cross entropy, by hand and against torch; what an objective asks of a family."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from qasr_train.batch import Batch
from qasr_train.errors import ConfigError
from qasr_train.models.base import TargetStates
from qasr_train.models.settings import Capability
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.objectives.settings import CrossEntropyConfig
from qasr_train.objectives.table import build_objective
from tests.helpers_fake_model import FakeModel

BATCH = Batch(
    ids=["a"],
    input_ids=torch.zeros(1, 1, dtype=torch.int64),
    attention_mask=torch.ones(1, 1, dtype=torch.int64),
    input_features=torch.zeros(1, 1, 1),
    input_features_mask=torch.ones(1, 1, dtype=torch.int64),
    duration_s=torch.ones(1),
)


@dataclass
class Says:
    """A model that gives the same logits whatever it hears."""

    logits: torch.Tensor
    targets: list[int]

    def __call__(self, batch: Batch, reduce: Callable[[TargetStates], Any]) -> Any:
        targets = torch.tensor(self.targets, dtype=torch.int64)
        rows = torch.zeros(len(targets), dtype=torch.int64)
        return reduce(TargetStates(self.logits, torch.nn.Identity(), targets, rows))


def test_sum_count_and_correct_tokens_by_hand():
    # Probabilities 1/2 1/4 1/4 of a vocabulary of three; targets 0 and 2: ln 2 + ln 4 nats, the first is the best token.
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]] * 2))
    loss = CrossEntropy()(Says(logits, [0, 2]), BATCH)
    assert float(loss.total) == pytest.approx(math.log(2) + math.log(4))
    assert loss.num_targets == 2
    assert loss.metrics == {"num_correct": 1}


def test_it_is_a_sum_so_twice_the_tokens_give_twice_the_loss():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    once = CrossEntropy()(Says(logits, [0, 1, 2, 3, 4]), BATCH)
    twice = CrossEntropy()(Says(torch.cat([logits, logits]), [0, 1, 2, 3, 4] * 2), BATCH)
    assert float(twice.total) == pytest.approx(2 * float(once.total))
    assert twice.num_targets == 10


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_torchs_and_by_its_definition(smoothing: float):
    logits = torch.randn(6, 11, generator=torch.Generator().manual_seed(1))
    targets = [3, 0, 10, 4, 4, 7]
    loss = CrossEntropy(label_smoothing=smoothing)(Says(logits, targets), BATCH)
    theirs = torch.nn.CrossEntropyLoss(reduction="none", label_smoothing=smoothing)(logits, torch.tensor(targets)).sum()
    assert float(loss.total) == pytest.approx(float(theirs), rel=1e-6)
    # Szegedy et al. 2016: a share of the target's probability is spread over the whole vocabulary.
    nats = -logits.log_softmax(dim=-1)
    by_hand = sum((1 - smoothing) * nats[i, t] + smoothing * nats[i].mean() for i, t in enumerate(targets))
    assert float(loss.total) == pytest.approx(float(by_hand), rel=1e-5)


def test_half_precision_logits_are_summed_in_float32():
    logits = torch.zeros(4096, 5, dtype=torch.bfloat16)
    loss = CrossEntropy()(Says(logits, [1] * 4096), BATCH)
    assert loss.total.dtype == torch.float32
    assert float(loss.total) == pytest.approx(4096 * math.log(5), rel=1e-5)


def test_no_target_is_no_loss_and_can_be_differentiated():
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = CrossEntropy()(Says(logits, []), BATCH)
    loss.total.backward()
    assert (float(loss.total.detach()), loss.num_targets, loss.metrics) == (0.0, 0, {"num_correct": 0})


def test_the_config_builds_it_and_checks_its_range():
    objective = build_objective(CrossEntropyConfig(label_smoothing=0.2), FakeModel())
    assert isinstance(objective, CrossEntropy)
    assert objective.label_smoothing == 0.2
    with pytest.raises(ConfigError, match=r"objective.label_smoothing=1.0"):
        CrossEntropyConfig(label_smoothing=1.0)


def test_a_family_that_lacks_what_it_needs_is_refused_naming_both():
    model = FakeModel(family="deaf", capabilities=frozenset({Capability.LANGUAGE}))
    with pytest.raises(
        ConfigError, match=r"objective=cross_entropy needs token_loss, which model.family=deaf does not"
    ):
        build_objective(CrossEntropyConfig(), model)


def test_an_unknown_objective_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"objective.name='ctc' is not an objective; choose one of cross_entropy"):
        build_objective(CrossEntropyConfig(name="ctc"), FakeModel())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_its_gradient_is_torchs(smoothing: float, dtype: torch.dtype):
    made = 5 * torch.randn(6, 11, generator=torch.Generator().manual_seed(2))
    made[1, 3] += 200.0  # exponentials of what is left underflow
    targets, gradients = torch.tensor([3, 0, 10, 4, 4, 7]), []
    for loss in (
        lambda logits: CrossEntropy(label_smoothing=smoothing).of_logits(logits, targets)[0],
        lambda logits: torch.nn.CrossEntropyLoss(reduction="sum", label_smoothing=smoothing)(logits, targets),
    ):
        logits = made.to(dtype).requires_grad_()
        value = loss(logits.float())
        (2.5 * value).backward()
        gradients.append((value.detach(), logits.grad))
    (ours, our_gradient), (theirs, their_gradient) = gradients
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient)
    assert float(ours) > 200, "the row whose target is hopeless counts"

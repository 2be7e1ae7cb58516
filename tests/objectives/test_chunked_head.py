"""Loss and gradients of the head in chunks, against all logits at once."""

import pytest
import torch
import torch.nn.functional as F

from qasr_train.models.base import TargetStates
from qasr_train.objectives import chunked_head
from qasr_train.objectives.cross_entropy import CrossEntropy

N, D, V = 23, 16, 50


def make_states(num_rows: int = N, *, bias: bool = False) -> TargetStates:
    torch.manual_seed(0)
    head = torch.nn.Linear(D, V, bias=bias)
    hidden = torch.randn(num_rows, D).requires_grad_()
    return TargetStates(hidden, head, torch.randint(0, V, (num_rows,)), torch.zeros(num_rows, dtype=torch.int64))


def plain(states: TargetStates, smoothing: float) -> tuple[float, int, torch.Tensor, torch.Tensor]:
    logits = states.hidden @ states.head.weight.T
    loss = F.cross_entropy(logits, states.targets, reduction="sum", label_smoothing=smoothing)
    hidden, weight = torch.autograd.grad(0.25 * loss, (states.hidden, states.head.weight))
    return float(loss.detach()), int((logits.argmax(-1) == states.targets).sum()), hidden, weight


@pytest.mark.parametrize("chunk_rows", [1, 8, N, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("is_head_frozen", [False, True])
def test_chunks_give_the_loss_count_and_gradients_of_all_logits_at_once(chunk_rows, smoothing, is_head_frozen):
    states = make_states()
    loss, num_correct, grad_hidden, grad_weight = plain(states, smoothing)
    states.head.requires_grad_(not is_head_frozen)
    out = CrossEntropy(label_smoothing=smoothing, chunk_rows=chunk_rows).reduce(states)
    (0.25 * out.total).backward()  # as the trainer's share of the mean
    assert float(out.total.detach()) == pytest.approx(loss, rel=1e-6)
    assert (out.num_targets, int(out.metrics["num_correct"])) == (N, num_correct)
    torch.testing.assert_close(states.hidden.grad, grad_hidden)
    if is_head_frozen:
        assert states.head.weight.grad is None
    else:
        torch.testing.assert_close(states.head.weight.grad, grad_weight)


def test_the_gradient_of_a_tied_head_adds_to_that_of_the_embedding():
    grads = []
    for chunk_rows in (None, 5):
        torch.manual_seed(1)
        head = torch.nn.Linear(D, V, bias=False)
        ids = torch.arange(N) % V
        hidden = torch.tanh(F.embedding(ids, head.weight))
        states = TargetStates(hidden, head, (ids * 7) % V, torch.zeros(N))
        CrossEntropy(chunk_rows=chunk_rows).reduce(states).total.backward()
        grads.append(head.weight.grad)
    torch.testing.assert_close(grads[1], grads[0])


def test_no_more_than_a_chunk_of_logits_is_there_at_a_time_and_none_is_kept(monkeypatch):
    rows: list[int] = []
    linear = F.linear
    monkeypatch.setattr(F, "linear", lambda some, matrix: rows.append(len(some)) or linear(some, matrix))
    states = make_states()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        CrossEntropy(chunk_rows=8).reduce(states)
    assert rows == [8, 8, 7]
    assert max(kept) == 8 * V, "what a chunk keeps until its own gradient is formed, and no more"


def test_without_gradients_the_loss_is_the_same():
    states = make_states()
    with torch.no_grad():
        out = CrossEntropy(chunk_rows=8).reduce(states)
    assert float(out.total) == pytest.approx(plain(states, 0.0)[0], rel=1e-6)
    assert not out.total.requires_grad


def test_bfloat16_compute_keeps_a_float32_gradient_of_the_weight(monkeypatch):
    monkeypatch.setattr(chunked_head, "VOCABULARY_ROWS_AT_ONCE", 16)
    states = make_states()
    with torch.autocast("cpu", torch.bfloat16):
        out = CrossEntropy(chunk_rows=8).reduce(states)
    out.total.backward()
    _, _, grad_hidden, grad_weight = plain(states, 0.0)
    assert (out.total.dtype, states.head.weight.grad.dtype, states.hidden.grad.dtype) == (torch.float32,) * 3
    torch.testing.assert_close(states.hidden.grad, 4 * grad_hidden, rtol=0.05, atol=0.05)
    torch.testing.assert_close(states.head.weight.grad, 4 * grad_weight, rtol=0.05, atol=0.05)


def test_no_rows_are_no_loss_and_a_gradient_of_zero():
    states = make_states(0)
    out = CrossEntropy(chunk_rows=8).reduce(states)
    out.total.backward()
    assert (float(out.total.detach()), out.num_targets) == (0.0, 0)
    assert states.head.weight.grad is not None and not states.head.weight.grad.any()


def test_a_head_with_a_bias_takes_all_logits_at_once():
    states = make_states(bias=True)
    CrossEntropy(chunk_rows=8).reduce(states).total.backward()
    assert states.head.bias.grad is not None and states.head.bias.grad.abs().sum() > 0

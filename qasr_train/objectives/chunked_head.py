"""Owns losses over the head that hold the logits of some rows at a time: their memory does not grow with the targets.

Input: the states before the head and a loss of logits. Output: the loss and a metric, summed over all rows. The gradient
at the head is formed chunk by chunk in the forward pass, so that no logits wait for the backward pass (as in Liger's fused
linear cross entropy, Hsu et al. 2024). It costs no second pass over the head.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from qasr_train.models.base import TargetStates

VOCABULARY_ROWS_AT_ONCE = 16_384  # of the matrix; a whole product would take as much memory as it does

# (float32 logits [n, V] of some rows, which rows) -> (their summed loss, a scalar; summed metrics, of any one shape).
LossOfLogits = Callable[[torch.Tensor, slice], tuple[torch.Tensor, torch.Tensor]]


def sum_over_chunks(
    states: TargetStates, loss_of_logits: LossOfLogits, *, chunk_rows: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, metric) of all rows. chunk_rows: None holds all logits at once, as does a head that is not a plain matrix."""
    is_plain = type(states.head) is nn.Linear and getattr(states.head, "bias", None) is None
    if chunk_rows is None or not is_plain:
        return loss_of_logits(states.head(states.hidden).float(), slice(None))
    if not torch.is_grad_enabled():
        with torch.no_grad():
            return _sum_without_gradient(states, loss_of_logits, chunk_rows)
    loss, metric = _ChunkedHead.apply(states.hidden, cast(nn.Linear, states.head).weight, loss_of_logits, chunk_rows)
    return loss, metric


def _sum_without_gradient(
    states: TargetStates, loss_of_logits: LossOfLogits, chunk_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [
        loss_of_logits(states.head(states.hidden[rows]).float(), rows) for rows in _chunks(states.hidden, chunk_rows)
    ]
    return sum(loss for loss, _ in pairs), sum(metric for _, metric in pairs)  # type: ignore[return-value]


def _chunks(hidden: torch.Tensor, chunk_rows: int) -> list[slice]:
    """Slices of the rows; without rows one empty slice, so that a loss of nothing is still a tensor."""
    return _slices(max(1, len(hidden)), chunk_rows)


def _slices(num_rows: int, num_at_once: int) -> list[slice]:
    return [slice(begin, begin + num_at_once) for begin in range(0, num_rows, num_at_once)]


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add left.T @ right to a float32 matrix, without rounding the sum to the format of the factors."""
    if total.is_cuda and total.dtype is torch.float32:
        torch.addmm(total, left.T, right, out_dtype=torch.float32, out=total)
        return
    for part in _slices(len(total), VOCABULARY_ROWS_AT_ONCE):
        total[part] += left[:, part].T @ right


class _ChunkedHead(torch.autograd.Function):
    """sum of loss_of_logits(hidden @ weight.T), with both gradients formed in `forward`."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, loss_of_logits: LossOfLogits, chunk_rows: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        device = hidden.device.type
        is_autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if is_autocast else hidden.dtype
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        matrix = weight.detach().to(dtype)
        pairs = []
        for rows in _chunks(hidden, chunk_rows):
            some = hidden[rows].detach().to(dtype)
            logits = F.linear(some, matrix).requires_grad_()
            with torch.enable_grad():
                loss, metric = loss_of_logits(logits.float(), rows)
                (grad,) = torch.autograd.grad(loss, logits)
            pairs.append((loss.detach(), metric))
            if grad_hidden is not None:
                grad_hidden[rows] = grad @ matrix
            if grad_weight is not None and grad_weight.dtype == dtype:
                grad_weight.addmm_(grad.T, some)
            elif grad_weight is not None:
                _add_product(grad_weight, grad, some)
        ctx.gradients = grad_hidden, grad_weight
        loss, metric = (torch.stack(values).sum(0) for values in zip(*pairs, strict=True))
        ctx.mark_non_differentiable(metric)
        return loss, metric

    @staticmethod
    def backward(ctx: Any, grad_loss: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        # Taken out of the context: they are scaled in place, which must not happen twice.
        gradients, ctx.gradients = ctx.gradients, None
        assert gradients is not None, "the backward pass of this loss runs once"
        return *(grad if grad is None else grad.mul_(grad_loss) for grad in gradients), None, None

"""What is minimised: the cross-entropy of the tokens to be predicted, and what some add to it.

A loss is a sum over targets divided by the counts of the *whole* step, so that it does not depend
on how a batch is cut into micro-batches. What is put in and what is to come out was decided before,
by `noise`: the loss of a causal, a masked and an encoder-decoder model is one function.

The head is the memory and a sixth of the time of a small model: logits are [B·T, V]. `summed_loss`
takes them in chunks of rows and computes each chunk's gradient at once, in the forward pass, so
that never more than one chunk of logits exists (the idea of Liger's fused loss and of torch's
``linear_cross_entropy``, here with the model's own `logits`, whatever its head looks like).

Two terms may be added to the cross-entropy of every target: z-loss (PaLM, Chowdhery et al. 2022,
section 5), which holds the logits' normaliser Z near 1, and label smoothing (Szegedy et al. 2016,
arXiv:1512.00567, section 7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.model.transformer import Transformer
from groundup.tokens.samples import IGNORED
from groundup.train.batch import Batch, Counts
from groundup.train.parallel.vocabulary import CutHead, cut_loss

Loss = Callable[[Any, Batch, Counts], Tensor]  # (model, micro-batch, the step's counts) → scalar


@dataclass(frozen=True)
class Terms:
    """What the loss of a target is beside its cross-entropy.

    Attributes:
        z_loss: weight of log²Z.
        label_smoothing: share of the target's probability that all symbols have alike.
    """

    z_loss: float = 0.0
    label_smoothing: float = 0.0


NO_TERMS = Terms()
CHUNK_ROWS = 512  # of logits at a time: 8 MB at 4,096 symbols, which stays in a CPU's cache


def token_loss(model: Transformer, batch: Batch, counts: Counts, terms: Terms = NO_TERMS) -> Tensor:
    """Mean cross-entropy of a target, nats; beside it that of a pair of sentences, if there is one.

    Returns:
        scalar float32: what this micro-batch adds to the step's means.
    """
    hidden = model.hidden(batch.inputs, batch.decoder_inputs, **batch.about)
    loss = loss_at_targets(model, hidden, batch.targets, terms) / counts.targets
    if batch.sentence_labels is not None:
        scores = model.sentence_logits(hidden).float()
        labels = batch.sentence_labels
        loss = loss + F.cross_entropy(scores, labels, reduction="sum") / counts.rows
    return loss


def next_token_loss(
    model: Transformer, batch: Batch, counts: Counts, terms: Terms = NO_TERMS
) -> Tensor:
    """`token_loss` of batches in which every place has a target: none has to be looked for."""
    hidden = model.hidden(batch.inputs, **batch.about).flatten(0, 1)
    return summed_loss(model, hidden, batch.targets.flatten(), terms) / counts.targets


def loss_at_targets(
    model: Transformer, hidden: Tensor, targets: Tensor, terms: Terms = NO_TERMS
) -> Tensor:
    """Sum over the targets of [B, T, D], [B, T]; logits are made at these places only."""
    wanted = targets != IGNORED
    return summed_loss(model, hidden[wanted], targets[wanted], terms)


def summed_loss(
    model: Transformer, hidden: Tensor, targets: Tensor, terms: Terms = NO_TERMS
) -> Tensor:
    """Sum of the targets' losses: [rows, D], [rows] → scalar float32."""
    if not torch.is_grad_enabled():
        return sum_over_chunks(model, hidden, targets, terms)
    head = model.head_parameters()
    loss: Tensor = _GradientInForward.apply(model, hidden, targets, terms, *head)
    return loss


def sum_over_chunks(model: Transformer, hidden: Tensor, targets: Tensor, terms: Terms) -> Tensor:
    """The same sum without gradients."""
    total = hidden.new_zeros((), dtype=torch.float32)
    for rows, wanted in zip(hidden.split(CHUNK_ROWS), targets.split(CHUNK_ROWS), strict=True):
        total += chunk_loss(model, model.logits(rows), wanted, terms)
    return total


def chunk_loss(model: Transformer, logits: Tensor, targets: Tensor, terms: Terms) -> Tensor:
    """Losses summed over one chunk: [rows, V], [rows] → scalar float32."""
    if isinstance(model.head, CutHead):
        group = model.head.group
        return cut_loss(logits.float(), targets, group, terms.z_loss, terms.label_smoothing)
    return loss_of_logits(logits.float(), targets, terms)


def loss_and_gradient(
    model: Transformer, logits: Tensor, targets: Tensor, terms: Terms
) -> tuple[Tensor, Tensor]:
    """`chunk_loss` and its gradient by the ``logits``, in their dtype.

    In closed form: softmax less the target, with z-loss times 1 + 2·weight·log Z. One array of
    float32 instead of the four that autograd makes.
    """
    if isinstance(model.head, CutHead):
        with torch.enable_grad():
            logits = logits.detach().requires_grad_()
            loss = chunk_loss(model, logits, targets, terms)
        return loss.detach(), torch.autograd.grad(loss, logits)[0]
    n_symbols, rows = logits.shape[-1], torch.arange(len(targets), device=targets.device)
    is_target = (targets != IGNORED).float()  # [rows]
    at = (rows, targets.clamp(min=0))
    log_p = logits.detach().float().log_softmax(-1)
    sure, spread = 1 - terms.label_smoothing, terms.label_smoothing / n_symbols
    loss = -sure * log_p[at]
    log_z = logits.detach()[at].float() - log_p[at]
    if spread:
        loss -= spread * log_p.sum(-1)
    if terms.z_loss:
        loss += terms.z_loss * log_z.square()
    gradient = log_p.exp_()
    if terms.z_loss:
        gradient *= (1 + 2 * terms.z_loss * log_z)[:, None]
    gradient[at] -= sure
    if spread:
        gradient -= spread
    gradient *= is_target[:, None]
    # No inner product: autocast would make it in bf16.
    return (loss * is_target).sum(), gradient.to(logits.dtype)


def loss_of_logits(logits: Tensor, targets: Tensor, terms: Terms) -> Tensor:
    """Losses summed: [rows, V] float32, [rows] → scalar float32."""
    loss = F.cross_entropy(
        logits,
        targets,
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=terms.label_smoothing,
    )
    if terms.z_loss:
        log_z = logits.logsumexp(-1)[targets != IGNORED]
        loss = loss + terms.z_loss * log_z.square().sum()
    return loss


class _GradientInForward(torch.autograd.Function):
    """`sum_over_chunks` that keeps gradients instead of logits."""

    @staticmethod
    def forward(
        ctx: Any, model: Transformer, hidden: Tensor, targets: Tensor, terms: Terms, *head: Tensor
    ) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_grad = torch.empty_like(hidden)
        head_grads = [torch.zeros_like(weight) for weight in head]
        chunks = zip(
            hidden.split(CHUNK_ROWS),
            targets.split(CHUNK_ROWS),
            hidden_grad.split(CHUNK_ROWS),
            strict=True,
        )
        for rows, wanted, rows_grad in chunks:
            with torch.enable_grad():
                rows = rows.detach().requires_grad_()
                logits = model.logits(rows)
            loss, by_logits = loss_and_gradient(model, logits, wanted, terms)
            grads = torch.autograd.grad(logits, [rows, *head], by_logits)
            total += loss
            rows_grad.copy_(grads[0])
            for kept, grad in zip(head_grads, grads[1:], strict=True):
                kept += grad
        ctx.save_for_backward(hidden_grad, *head_grads)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        hidden_grad, *head_grads = ctx.saved_tensors
        scaled = [grad * grad_output for grad in head_grads]
        return None, hidden_grad * grad_output.to(hidden_grad.dtype), None, None, *scaled

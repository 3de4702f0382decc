"""Embedding, head and cross-entropy with the symbols divided over the processes of tp.

No process ever has all logits: what a softmax needs of the others' symbols is three numbers a
target, the largest logit, the sum of exponentials and the target's own (Shoeybi et al. 2019,
arXiv:1909.08053, section 3).

    V vocabulary   P processes   N rows
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.tokens.samples import IGNORED
from groundup.train.parallel.collectives import copied, reduced
from groundup.train.parallel.pieces import local_tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class CutEmbedding(nn.Embedding):
    """Rows of V/P symbols; the vectors of others' symbols come by a sum."""

    group: ProcessGroup

    def forward(self, input: Tensor) -> Tensor:
        """[...] int64 to [..., W]."""
        weight = local_tensor(self.weight)
        here, mine = own_symbols(input, len(weight), self.group)
        vectors = F.embedding(here, weight)
        return reduced(vectors * mine[..., None].to(vectors.dtype), self.group)


class CutHead(nn.Linear):
    """Logits of V/P symbols."""

    group: ProcessGroup

    def forward(self, input: Tensor) -> Tensor:
        """[..., W] to [..., V/P]."""
        bias = None if self.bias is None else local_tensor(self.bias)
        return F.linear(copied(input, self.group), local_tensor(self.weight), bias)


def own_symbols(ids: Tensor, n_own: int, group: ProcessGroup) -> tuple[Tensor, Tensor]:
    """Each id within this process's symbols (0 for others'), and whether it is one of them."""
    here = ids - group.rank() * n_own
    mine = (here >= 0) & (here < n_own)
    return here * mine, mine


def cut_loss(
    logits: Tensor, targets: Tensor, group: ProcessGroup, z_loss: float, label_smoothing: float
) -> Tensor:
    """`objectives.loss_of_logits` of divided logits: [N, V/P] float32, [N] → scalar, alike on all.

    With label smoothing e a target's loss is log Z - (1 - e) · its logit - e · the mean logit.
    """
    n_own = logits.shape[-1]
    wanted = targets != IGNORED
    logits, targets = logits[wanted], targets[wanted]
    largest = logits.detach().amax(-1)
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX, group=group)
    here, mine = own_symbols(targets, n_own, group)
    parts = [
        (logits - largest[:, None]).exp().sum(-1),
        logits.gather(-1, here[:, None])[:, 0] * mine,
        logits.sum(-1),
    ]
    exponentials, of_target, of_all = reduced(torch.stack(parts), group).unbind()
    log_z = exponentials.log() + largest
    mean = of_all / (n_own * group.size())
    loss = (log_z - (1 - label_smoothing) * of_target - label_smoothing * mean).sum()
    return loss + z_loss * log_z.square().sum() if z_loss else loss

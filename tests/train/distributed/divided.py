"""What processes that share a row or a vocabulary find, and what one process would have found."""

from dataclasses import replace

import torch
from torch.nn import functional as F

from groundup.model.masks import Mask
from groundup.model.sdpa import sdpa
from groundup.train.distributed import join, leave
from groundup.train.parallel.collectives import (
    copied,
    gathered,
    own_piece,
    reduced,
    scattered,
    whole,
)
from groundup.train.parallel.context import attend_to_all, columns_of
from groundup.train.parallel.vocabulary import cut_loss
from tests.train.small import SETTINGS

IGNORED = -100
N_TOKENS, N_HEADS = 16, 4


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks():
    """Every rule, on rows of sixteen tokens."""
    documents = torch.tensor([[0] * 5 + [1] * 11, [0] * 12 + [1] * 4])
    padding = torch.ones(2, N_TOKENS, dtype=torch.bool)
    padding[1, 13:] = False
    return {
        "causal": Mask(causal=True),
        "everything": Mask(),
        "window": Mask(causal=True, window=5),
        "both ways": Mask(window=3),
        "prefix": Mask(causal=True, prefix=torch.tensor([6, 11])),
        "documents": Mask(causal=True, documents=documents),
        "padding": Mask(padding=padding),
        "padding behind": Mask(causal=True, padding=padding),
    }


def attention():
    """The largest difference of results and gradients from attention in one piece, by mask."""
    ranks = join(replace(SETTINGS, layout={"cp": 2}))
    columns = columns_of(ranks.at("cp"), ranks.cp, N_TOKENS)
    found = {}
    for (name, mask), with_bias in [(m, b) for m in masks().items() for b in (False, True)]:
        inputs = [drawn(2, heads, N_TOKENS, 8, seed=n) for n, heads in enumerate((N_HEADS, 2, 2))]
        bias = drawn(1, N_HEADS, N_TOKENS, N_TOKENS, seed=3) if with_bias else None
        weights = drawn(2, N_HEADS, N_TOKENS, 8, seed=4)
        q, k, v = (x.clone().requires_grad_() for x in inputs)
        expected = sdpa(q, k, v, mask, bias=bias)
        (expected * weights).sum().backward()
        mine = [x[:, :, columns].clone().requires_grad_() for x in inputs]
        seen = attend_to_all(
            ranks.group("cp"),
            *mine,
            replace(mask, queries=columns),
            bias=None if bias is None else bias[:, :, columns],
        )
        (seen * weights[:, :, columns]).sum().backward()
        differences = [(seen - expected[:, :, columns]).abs().max()]
        differences += [
            (a.grad - b.grad[:, :, columns]).abs().max()
            for a, b in zip(mine, (q, k, v), strict=True)
        ]
        found[f"{name}{', bias' if with_bias else ''}"] = max(x.item() for x in differences)
    leave(ranks)
    return found


def losses():
    """Cross-entropy of a divided vocabulary and its gradient, against torch's own."""
    ranks = join(replace(SETTINGS, layout={"tp": 2}))
    targets = torch.tensor([3, IGNORED, 0, 11, 7, 5, IGNORED])
    found = {}
    for smoothing, z_loss in ((0.0, 0.0), (0.1, 0.0), (0.0, 0.01), (0.2, 0.05)):
        logits = (drawn(7, 12) * 30).requires_grad_()
        expected = F.cross_entropy(
            logits, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
        )
        expected = expected + z_loss * logits.logsumexp(-1)[targets != IGNORED].square().sum()
        expected.backward()
        own = slice(6 * ranks.rank, 6 * ranks.rank + 6)
        mine = logits.detach()[:, own].clone().requires_grad_()
        loss = cut_loss(mine, targets, ranks.group("tp"), z_loss, smoothing)
        loss.backward()
        found[f"{smoothing} {z_loss}"] = [
            (loss / expected - 1).abs().item(),
            (mine.grad - logits.grad[:, own]).abs().max().item(),
        ]
    leave(ranks)
    return found


def transposes():
    """<A x, y> and <x, A' y> over all processes, for every collective A and its gradient A'."""
    ranks = join(replace(SETTINGS, layout={"tp": 2}))
    group, found = ranks.group("tp"), {}

    def mean_of(value, alike):
        total = value.detach().clone()
        torch.distributed.all_reduce(total)
        return (total / (ranks.size if alike else 1)).item()

    # name: the function, is its input alike on all, is its result.
    for name, work, alike_in, alike_out in (
        ("copied", copied, True, False),
        ("reduced", reduced, False, True),
        ("gathered", lambda x, g: gathered(x, g, 1), False, False),
        ("scattered", lambda x, g: scattered(x, g, 1), False, False),
        ("own_piece", lambda x, g: own_piece(x, g, 1), True, False),
        ("whole", lambda x, g: whole(x, g, 1), False, True),
    ):
        x = drawn(3, 4, seed=0 if alike_in else ranks.rank).requires_grad_()
        y = work(x, group)
        direction = drawn(*y.shape, seed=9 if alike_out else 9 + ranks.rank)
        (y * direction).sum().backward()
        found[name] = [
            mean_of((y * direction).sum(), alike_out),
            mean_of((x * x.grad).sum(), alike_in),
        ]
    leave(ranks)
    return found

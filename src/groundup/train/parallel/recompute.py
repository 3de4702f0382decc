"""Activation recomputation: less memory for more work (Chen et al. 2016, arXiv:1604.06174).

A forward pass keeps what the backward pass needs. Here each block keeps less of it and computes the
rest again, in the backward pass, with the same random draws: gradients are the same to the bit.

    full        a block keeps what it reads, and all of it is computed again: a third more work
    selective   a block keeps the results of its linear layers and of fused attention; norms,
                activations, rotations and attention's own products of scores are computed again
                (Korthikanti et al. 2022, arXiv:2205.05198, section 5, with more of the small steps)

The engine is torch's non-reentrant checkpoint. A block's `forward` is wrapped, not the block: names
stay, and what FSDP does around a block is done around both passes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from groundup.model.masks import Mask
from groundup.model.transformer import Block, ParallelBlock

Recompute = Literal["none", "selective", "full"]

# What `selective` keeps: products of linear layers, and attention that one kernel computes.
KEPT = (
    "mm", "addmm", "_scaled_mm", "mkldnn_linear_pointwise",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable", "flex_attention", "_varlen_attn",
)  # fmt: skip


def recompute_blocks(model: nn.Module, recompute: str) -> None:
    """Let every block of ``model`` compute again what it does not keep, in place.

    Args:
        model: any family, whole or divided; both stacks of an encoder-decoder, both of a pair.
        recompute: a `Recompute`.
    """
    if recompute == "none":
        return
    contexts: dict[str, Any] = {}  # dynamo takes no context_fn of nothing
    if recompute == "selective":
        contexts = {"context_fn": partial(create_selective_checkpoint_contexts, policy)}
    for module in model.modules():
        if isinstance(module, Block | ParallelBlock):
            block: Any = module
            block.forward = partial(run_block, block.forward, contexts)


def run_block(forward: Any, contexts: dict[str, Any], *arguments: Any, **named: Any) -> Tensor:
    """A block's forward pass; without gradients, as it is."""
    if not torch.is_grad_enabled():
        result: Tensor = forward(*arguments, **named)
    else:
        result = checkpoint(
            run_apart, forward, *arguments, use_reentrant=False, **contexts, **named
        )
    return result


def run_apart(forward: Any, *arguments: Any, **named: Any) -> Tensor:
    """A block's forward pass that does the same when it is done again.

    A mask keeps what it makes of a trained bias for the blocks to come (`Mask.kept`): the second
    pass would find it made. Here each block makes its own; what has no gradient is still shared.
    """
    result: Tensor = forward(*(apart(each) for each in arguments), **named)
    return result


def apart(argument: Any) -> Any:
    """A way to look, with a mask of its own; anything else as it is."""
    mask = argument.keywords.get("mask") if isinstance(argument, partial) else None
    if not isinstance(mask, Mask):
        return argument
    own = replace(mask)
    object.__setattr__(own, "_made", Apart(mask._made))
    return partial(argument, mask=own)


class Apart(dict[Any, Any]):
    """What a mask keeps: tensors with a gradient here, all else in ``shared``."""

    def __init__(self, shared: dict[Any, Any]) -> None:
        super().__init__()
        self.shared = shared

    def get(self, key: Any, default: Any = None) -> Any:
        """What was kept under ``key``, here first."""
        return super().get(key, self.shared.get(key, default))

    def __setitem__(self, key: Any, kept: Any) -> None:
        has_gradient = isinstance(kept[1], Tensor) and kept[1].requires_grad
        super().__setitem__(key, kept) if has_gradient else self.shared.__setitem__(key, kept)


def policy(context: Any, operation: Any, *arguments: Any, **named: Any) -> CheckpointPolicy:
    """Whether the result of an operation is kept."""
    name = str(getattr(operation, "_opname", None) or operation)
    return CheckpointPolicy.MUST_SAVE if name in KEPT else CheckpointPolicy.PREFER_RECOMPUTE

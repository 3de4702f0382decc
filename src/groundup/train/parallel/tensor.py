"""Tensor parallelism: the processes of tp share every layer (Megatron-LM, arXiv:1909.08053).

The projections to queries, keys, values and into the network are divided by their outputs, so that
each process has some of the heads and some of the network's features; the projections back are
divided by their inputs, and their results summed. One sum a sub-layer forward and one backward:

    x ── copied ──► q, k, v of own heads ──► attention ──► o of own heads ── reduced ──► + bias

With sequence parallelism (Korthikanti et al. 2022, arXiv:2205.05198) the residual stream between
the sub-layers, its norms and its dropout are divided too, by tokens: `gathered` takes the place of
`copied` and `scattered` that of `reduced`, which send as many bytes as the sum did.

Only weights inside blocks, embedding and head are divided, each as a DTensor, which is how
checkpoints, FSDP and optimizers know the piece from the whole. Modules keep their names, and
everything between the linear layers works on plain tensors of fewer heads or tokens.

    B rows   T tokens   D width   H query heads   G key/value heads   P processes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.model.feed_forward import Experts, FeedForward, GatedFeedForward
from groundup.model.masks import Mask
from groundup.model.norms import QkNorm
from groundup.model.relative import IN_LAYERS
from groundup.model.transformer import CrossAttention, Projections, Transformer
from groundup.train.distributed import Ranks
from groundup.train.parallel.collectives import (
    copied,
    gathered,
    own_piece,
    reduced,
    scattered,
    whole,
)
from groundup.train.parallel.partial import mark
from groundup.train.parallel.pieces import local_tensor
from groundup.train.parallel.vocabulary import CutEmbedding, CutHead

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

TOKENS, HEADS = 1, 2  # dimensions of [B, T, D] and [B, T, H, E]


class ColumnLinear(nn.Linear):
    """Some of a linear layer's outputs."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] to [..., out/P]."""
        return F.linear(input, local_tensor(self.weight), _local(self.bias))


class RowLinear(nn.Linear):
    """A linear layer of some of the inputs; what the processes get is summed by `leave`."""

    leave: Callable[[Tensor], Tensor]

    def forward(self, input: Tensor) -> Tensor:
        """[..., in/P] to [..., out], or with divided tokens [B, T/P, out]."""
        result = self.leave(F.linear(input, local_tensor(self.weight)))
        return result if self.bias is None else result + self.bias


def require_divisible(config: ModelConfig, tp: int) -> None:
    """Check that the layers of a model can be shared by ``tp`` processes.

    Raises:
        ConfigError: heads or features do not divide; or places are told in a way that is not
            divided yet.
    """
    if tp == 1:
        return
    if config.positions.kind in IN_LAYERS:
        raise ConfigError(
            f"tp does not divide positions of kind {config.positions.kind}, which have weights of "
            "their own in every layer",
            where="pretrain.layout.tp",
            fix="use dp_shard, or a family with other positions",
        )
    n_kv_heads = config.attention.n_kv_heads
    parts = {
        "model.n_heads": config.attention.n_heads,
        "model.n_kv_heads": n_kv_heads if n_kv_heads > 1 else tp,  # one is every process's
        "model.d_ff": config.feed_forward.d_ff,
    }
    for name, n in parts.items():
        if n % tp:
            nearest = max(k for k in range(1, tp) if all(m % k == 0 for m in parts.values()))
            raise ConfigError(
                f"{tp} processes cannot share {n} of {name} evenly",
                where="pretrain.layout.tp",
                fix=f"set it to {nearest}, the nearest that does, or {name} to a multiple of {tp}",
            )


def divide(model: Transformer, ranks: Ranks, *, sequence: bool, vocabulary: bool) -> None:
    """Divide ``model`` in place, before FSDP and before its optimizers are built.

    Every process brings the same weights, whole.

    Args:
        sequence: divide the tokens between sub-layers too.
        vocabulary: divide embedding and head (where the symbols come out even).
    """
    group = ranks.group("tp")
    for stack in stacks(model):
        if any(p.numel() for block in stack.blocks for p in block.parameters()):
            divide_stack(stack, ranks, group, sequence)
    if vocabulary and model.config.vocab_size % ranks.tp == 0:
        divide_vocabulary(model, ranks, group)
    mark_partial(model, sequence=sequence)


def stacks(model: Transformer) -> Iterator[Transformer]:
    """A decoder, and the encoder beside it."""
    yield model
    if model.encoder is not None:
        yield model.encoder


def divide_stack(stack: Transformer, ranks: Ranks, group: ProcessGroup, sequence: bool) -> None:
    """The blocks of one stack."""
    enter, leave = partial(copied, group=group), partial(reduced, group=group)
    enter_tokens, leave_tokens = enter, leave
    if sequence:
        enter_tokens = partial(gathered, group=group, dim=TOKENS)
        leave_tokens = partial(scattered, group=group, dim=TOKENS)
    in_experts = {
        id(network)
        for module in stack.blocks.modules()
        if isinstance(module, Experts)
        for network in module.experts
    }
    for module in list(stack.blocks.modules()):
        if isinstance(module, Projections):
            divide_attention(module, ranks, group, leave_tokens)
            if isinstance(module, CrossAttention):  # reads its source without `forward`
                before(module.k, enter)
                before(module.v, enter)
            before(module, enter_tokens)
        elif isinstance(module, FeedForward | GatedFeedForward):
            alone = id(module) not in in_experts
            divide_network(module, ranks, leave_tokens if alone else leave)
            before(module, enter_tokens if alone else enter)
        elif isinstance(module, Experts) and sequence:  # a router that sees all tokens
            before(module, partial(whole, group=group, dim=TOKENS))
            behind(module, partial(own_piece, group=group, dim=TOKENS))
    if sequence:
        for first, last in runs(stack):
            before(first, partial(own_piece, group=group, dim=TOKENS))
            behind(last, partial(whole, group=group, dim=TOKENS))
    stack.attend = partial(attend_own_heads, stack.attend, group)


def divide_attention(
    module: Projections, ranks: Ranks, group: ProcessGroup, leave: Callable[[Tensor], Tensor]
) -> None:
    """Own query heads and, where there are several, own key/value heads."""
    divided = [module.q_norm]
    module.q = column(module.q, ranks)
    if module.k.out_features > module.head_dim:
        module.k, module.v = column(module.k, ranks), column(module.v, ranks)
        divided.append(module.k_norm)
    for norm in divided:
        if is_over_all_heads(norm):
            before(norm, partial(whole, group=group, dim=HEADS))
            behind(norm, partial(own_piece, group=group, dim=HEADS))
    module.o = row(module.o, ranks, leave)


def is_over_all_heads(norm: nn.Module) -> bool:
    """Whether a norm of queries or keys needs all heads of a token together (OLMo 2)."""
    return isinstance(norm, QkNorm) and norm.n_dims > 1


def divide_network(
    network: FeedForward | GatedFeedForward, ranks: Ranks, leave: Callable[[Tensor], Tensor]
) -> None:
    """Own features of the network."""
    network.up = column(network.up, ranks)
    if isinstance(network, GatedFeedForward):
        network.gate = column(network.gate, ranks)
    network.down = row(network.down, ranks, leave)


def divide_vocabulary(model: Transformer, ranks: Ranks, group: ProcessGroup) -> None:
    """Own symbols of the embedding and of the head; tied ones stay tied."""
    tied = getattr(model.head, "weight", 0) is getattr(model.embed, "weight", None)
    n_symbols = len(getattr(model.embed, "weight", ()))  # 0 where another stage has it
    if n_symbols == model.config.vocab_size:
        embed = CutEmbedding(1, 1)
        embed.group, embed.weight = group, cut(model.embed.weight, ranks, 0)
        model.embed = embed
        if model.encoder is not None:
            model.encoder.embed = embed
    if model.config.head == "tokens" and isinstance(model.head, nn.Linear):
        head = CutHead(1, 1, bias=model.head.bias is not None)
        head.group = group
        head.weight = cast(Any, model.embed.weight) if tied else cut(model.head.weight, ranks, 0)
        if model.head.bias is not None:
            head.bias = cut(model.head.bias, ranks, 0)
        model.head = head


def mark_partial(model: Transformer, *, sequence: bool) -> None:
    """The whole weights in blocks of whose gradient each process has a part."""
    from torch.distributed.tensor import DTensor

    exact: set[int] = set()
    of_heads: set[int] = set()
    for module in model.modules():
        if isinstance(module, Experts):
            exact |= {id(parameter) for parameter in module.parameters()}
        if isinstance(module, Projections):
            one_for_all = module.k.weight.numel() == local_tensor(module.k.weight).numel()
            whole_norms = {module.q_norm} if one_for_all else {module.q_norm, module.k_norm}
            for part in (module.k, module.v, module.q_norm, module.k_norm):
                known = part in whole_norms and is_over_all_heads(part)
                (exact if known else of_heads).update(id(p) for p in part.parameters())
    for name, parameter in model.named_parameters():
        in_block = "blocks." in name
        whole_here = in_block and not isinstance(parameter, DTensor) and id(parameter) not in exact
        if whole_here and (sequence or id(parameter) in of_heads):
            mark(model, name, "tp")


def runs(stack: Transformer) -> list[tuple[nn.Module, nn.Module]]:
    """First and last block of each run of layers that this process computes without a break."""
    stages = stack.__dict__.get("stage_blocks", [range(len(stack.blocks))])
    return [(stack.blocks[stage[0]], stack.blocks[stage[-1]]) for stage in stages]


def attend_own_heads(
    attend: Callable[..., Tensor],
    group: ProcessGroup,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask,
    *,
    bias: Tensor | None = None,
    **more: Any,
) -> Tensor:
    """Attention of this process's heads, with their part of a bias [B or 1, H, T or 1, S]."""
    if bias is not None:
        everyone: Tensor = bias
        bias = mask.kept("own heads", lambda: own_piece(everyone, group, 1), of=bias)
    return attend(q, k, v, mask, bias=bias, **more)


def column(linear: nn.Linear, ranks: Ranks) -> ColumnLinear:
    """Its outputs divided."""
    made = ColumnLinear(1, 1, bias=linear.bias is not None)
    made.in_features, made.out_features = linear.in_features, linear.out_features // ranks.tp
    made.weight = cut(linear.weight, ranks, 0)
    if linear.bias is not None:
        made.bias = cut(linear.bias, ranks, 0)
    return made


def row(linear: nn.Linear, ranks: Ranks, leave: Callable[[Tensor], Tensor]) -> RowLinear:
    """Its inputs divided; the bias is whole, and added once."""
    made = RowLinear(1, 1, bias=linear.bias is not None)
    made.in_features, made.out_features = linear.in_features // ranks.tp, linear.out_features
    made.weight, made.leave = cut(linear.weight, ranks, 1), leave
    if linear.bias is not None:
        made.bias = linear.bias
    return made


def cut(weight: Tensor, ranks: Ranks, dim: int) -> nn.Parameter:
    """The process's own piece of a weight along ``dim``."""
    from torch.distributed.tensor import Shard, distribute_tensor

    assert ranks.mesh is not None
    pieces = distribute_tensor(weight.detach(), ranks.mesh["tp"], [Shard(dim)], src_data_rank=None)
    return nn.Parameter(pieces, weight.requires_grad)


def before(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """``module`` gets its first argument changed."""

    def hook(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return change(arguments[0]), *arguments[1:]

    module.register_forward_pre_hook(hook)


def behind(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Its result is changed."""

    def hook(_: nn.Module, arguments: Any, result: Tensor) -> Tensor:
        return change(result)

    module.register_forward_hook(hook)


def _local(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else local_tensor(bias)

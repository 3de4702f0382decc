"""Bytes that each kind of parallelism moves in a training step, on which links, and in what time.

Per device and micro-batch, with A = micro-batch · context / cp · d_model elements:

    tensor      4 all-reduces of A a layer, 2 forward and 2 backward (Shoeybi et al. 2019); with
                sequence parallelism each is an all-gather and a reduce-scatter: the same bytes
                (Korthikanti et al. 2022, arXiv:2205.05198). Parallel branches need half.
    recompute   full recomputation repeats the forward half of them
    context     keys and values all-gathered forward and again backward, their gradients
                reduce-scattered; passing them round a ring moves the same bytes. Each rank holds a
                head and a tail part of the sequence, so that all do the same causal work (Llama 3)
    pipeline    A / tp each way over each boundary, of every virtual stage: the tensor ranks send a
                part each (scatter-gather, Narayanan et al. 2021, arXiv:2104.04473)
    vocabulary  embedding forward, logits backward: 1 all-reduce of A on the end stages (2 where
                pp = 1), and tied embeddings' gradients between the ends once a step
    data        2(d-1)/d of the rank's gradients a step; ZeRO 1 and 2 as reduce-scatter and
                all-gather; ZeRO 3 gathers weights twice: 1.5 times (Rajbhandari et al. 2020,
                arXiv:1910.02054), and again for every micro-batch, as nothing is kept in between.
                ZeRO 2 reduces every micro-batch too. d = dp · cp: context ranks hold equal weights

A ring all-reduce over n ranks moves 2(n-1)/n of the buffer per rank, all-gather and reduce-scatter
half of that. Ranks are numbered tp first, then cp, dp and pp (Megatron-LM's order), and nodes hold
consecutive ranks. A group of k ranks on each of n nodes has k rings, each with 1/k of the buffer
and each leaving a node at another of its ranks (as NCCL's do): of what a rank sends, 1/k goes over
the network and the rest inside the node.

The functions take one `Layout`, or an object with its fields as numpy columns (the search does).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import parameters
from groundup.errors import ConfigError
from groundup.plan.hardware import Chip
from groundup.plan.limits import require_chips, require_context, require_count, require_positive
from groundup.plan.parallelism import Layout
from groundup.plan.states import precision_of

Numbers = Any  # a number, or a numpy column of numbers: one for each layout

# Attained share of the links' nominal rate, for large buffers.
LINK_SHARE = 0.78  # 235 of 300 GB/s, nccl-tests all-reduce, 8 x A100 (Bekman, ml-engineering)
NETWORK_SHARE = 0.88  # 22 of 25 GB/s per GPU over 200 Gbit/s (Inspur, MLPerf inference v1.1)
# Seconds that each step of a ring takes at least (Calculon, systems/a100_80g.json).
LINK_LATENCY, NETWORK_LATENCY = 1e-6, 2e-6

# Of a gradient when it is summed, where no weights are sharded: Megatron-LM (its default with bf16)
# and Llama 3 (arXiv:2407.21783, section 3.3.2) accumulate and sum in fp32. FSDP and ZeRO 2 sum in
# the precision of the weights.
FP32_SUM_BYTES = 4

KINDS = ("tensor", "recompute", "context", "pipeline", "vocabulary", "data")


@dataclass(frozen=True)
class Flow:
    """What one device sends in a step, and how long it takes if nothing hides it."""

    link_bytes: Numbers  # to chips of its node
    network_bytes: Numbers  # to other nodes
    seconds: Numbers

    @property
    def total_bytes(self) -> Numbers:
        """On both tiers."""
        return self.link_bytes + self.network_bytes

    def __add__(self, other: Flow) -> Flow:
        return Flow(
            self.link_bytes + other.link_bytes,
            self.network_bytes + other.network_bytes,
            self.seconds + other.seconds,
        )

    def times(self, n: Numbers) -> Flow:
        """``n`` of them."""
        return Flow(self.link_bytes * n, self.network_bytes * n, self.seconds * n)


@dataclass(frozen=True)
class Traffic:
    """One step of the busiest device, by kind; see the head of this file."""

    tensor: Flow
    recompute: Flow
    context: Flow
    pipeline: Flow
    vocabulary: Flow
    data: Flow

    @property
    def total_bytes(self) -> Numbers:
        """All kinds, on both tiers."""
        return sum(getattr(self, kind).total_bytes for kind in KINDS)


def traffic(
    config: ModelConfig,
    layout: Layout,
    *,
    context_length: int,
    global_batch_size: int,
    chip: Chip,
    bytes_per_element: float = 2,
    gradient_bytes: float | None = None,
) -> Traffic:
    """Bytes per device in a step, by kind and tier of links, and their seconds.

    Args:
        config: the model.
        layout: how it is spread; see `parallelism`.
        context_length: tokens per sequence.
        global_batch_size: sequences per step.
        chip: whose links carry it.
        bytes_per_element: of activations and weights.
        gradient_bytes: of each gradient when it is summed; None: 4 with ZeRO 0 and 1, as Megatron
            and Llama 3 do, else as ``bytes_per_element``.

    Raises:
        ConfigError: the batch does not divide into the layout's micro-batches, or the context over
            its ranks.
        InputError: a length, batch or size in bytes that is not positive.
    """
    require_chips(layout.n_chips)
    require_context(context_length)
    require_count(global_batch_size, "global_batch_size")
    require_positive(bytes_per_element, "bytes_per_element")
    layout.n_micro_batches(global_batch_size)
    if context_length % layout.cp:
        raise ConfigError(
            f"{context_length} tokens do not divide over {layout.cp} context-parallel ranks",
            where="layout",
        )
    if gradient_bytes is not None:
        require_positive(gradient_bytes, "gradient_bytes")
    return columns(
        config,
        layout,
        context_length=context_length,
        global_batch_size=global_batch_size,
        chip=chip,
        bytes_per_element=bytes_per_element,
        gradient_bytes=gradient_bytes
        or (FP32_SUM_BYTES if sums_in_fp32(layout.zero) else bytes_per_element),
    )


def sums_in_fp32(zero: Any) -> Any:
    """Whether gradients are kept and summed in fp32 at this stage of ZeRO (or column of stages)."""
    return zero < 2


def summed_bytes(zero: Any, precision: str) -> Numbers:
    """Bytes of one gradient when it is summed; memory, traffic and time all count these."""
    return np.where(sums_in_fp32(zero), FP32_SUM_BYTES, precision_of(precision).element)


def columns(
    config: ModelConfig,
    layout: Any,
    *,
    context_length: int,
    global_batch_size: int,
    chip: Chip,
    bytes_per_element: float = 2,
    gradient_bytes: Numbers = 2,
) -> Traffic:
    """As `traffic`, unchecked, for one layout or for columns of them."""
    tp, cp, dp, pp = layout.tp, layout.cp, layout.dp, layout.pp
    micro_batches = global_batch_size / (dp * layout.micro_batch_size)
    tokens = layout.micro_batch_size * context_length / cp
    activations = tokens * config.d_model * bytes_per_element
    layers = (config.n_layers + config.n_encoder_layers) / pp
    tensor_group = Group.of(chip, tp, 1)
    branches = 1 if config.parallel_residual else 2  # each summed once forward and once backward
    all_reduce = tensor_group.gather(activations).times(2)
    forward = all_reduce.times(branches * layers * micro_batches)

    kv_heads = np.maximum(config.attention.n_kv_heads / tp, 1)  # fewer heads than ranks: repeated
    keys_and_values = 2 * tokens * cp * kv_heads * config.attention.head_dim * bytes_per_element
    context = Group.of(chip, cp, tp).gather(keys_and_values).times(3 * layers * micro_batches)

    return Traffic(
        tensor=forward.times(2),
        recompute=forward.times(layout.recompute == "full"),
        context=context,
        pipeline=_pipeline(layout, chip, activations, micro_batches),
        vocabulary=_vocabulary(config, layout, chip, all_reduce, micro_batches, gradient_bytes),
        data=_data(config, layout, chip, micro_batches, bytes_per_element, gradient_bytes),
    )


@dataclass(frozen=True)
class Group:
    """The ranks of one collective: ``inside`` of them on each of ``nodes`` nodes."""

    size: Numbers
    inside: Numbers
    nodes: Numbers
    link: float  # attained bytes/s inside the node
    network: float  # attained bytes/s of each chip between nodes

    @classmethod
    def of(cls, chip: Chip, size: Numbers, stride: Numbers) -> Group:
        """``size`` ranks, each ``stride`` after the one before."""
        inside = np.minimum(size, np.maximum(chip.node_size // stride, 1))
        return cls(
            size,
            inside,
            np.ceil(size / inside),
            chip.link_bytes_per_second * LINK_SHARE,
            chip.network_bytes_per_second * NETWORK_SHARE,
        )

    def gather(self, buffer_bytes: Numbers, n_pieces: Numbers = 1) -> Flow:
        """An all-gather or a reduce-scatter of a buffer, done in ``n_pieces`` collectives."""
        moved = buffer_bytes * (self.size - 1) / self.size
        across = moved / self.inside * (self.nodes > 1)
        within = moved - across
        hops = (self.inside - 1) * LINK_LATENCY + (self.nodes - 1) * NETWORK_LATENCY
        seconds = across / self.network + within / self.link + n_pieces * hops
        return Flow(within, across, seconds)


def gradient_parameters(config: ModelConfig, layout: Any) -> Numbers:
    """Parameters of the busiest rank: its share of the blocks, and of the embeddings it holds."""
    counts = parameters(config)
    ends = np.where(layout.pp == 1, counts.embedding + counts.head, counts.embedding)
    return (counts.non_embedding / layout.pp + ends) / layout.tp


def _data(
    config: ModelConfig,
    layout: Any,
    chip: Chip,
    micro_batches: Numbers,
    bytes_per_element: float,
    gradient_bytes: Numbers,
) -> Flow:
    """Summing gradients (ZeRO 2 and 3: every micro-batch), gathering weights or the sums."""
    size = gradient_parameters(config, layout)
    layers = (config.n_layers + config.n_encoder_layers) / layout.pp  # a piece each
    group = Group.of(chip, layout.dp * layout.cp, layout.tp)
    reduce = group.gather(size * gradient_bytes, layers)
    gather_bytes = size * np.where(layout.zero == 0, gradient_bytes, bytes_per_element)
    gather = group.gather(gather_bytes, layers)
    n_gathers = np.where(layout.zero == 3, 2 * micro_batches, 1)
    return reduce.times(np.where(layout.zero >= 2, micro_batches, 1)) + gather.times(n_gathers)


def _pipeline(layout: Any, chip: Chip, activations: Numbers, micro_batches: Numbers) -> Flow:
    """Activations to the next stage and gradients to the one before, of a stage in the middle."""
    stride = layout.tp * layout.cp * layout.dp
    leaves_node = stride * layout.pp > chip.node_size  # then the slowest boundary sets the pace
    n_sends = 2 * layout.virtual_stages * micro_batches * (layout.pp > 1)
    sent = activations / layout.tp * n_sends
    rate = np.where(
        leaves_node,
        chip.network_bytes_per_second * NETWORK_SHARE,
        chip.link_bytes_per_second * LINK_SHARE,
    )
    latency = np.where(leaves_node, NETWORK_LATENCY, LINK_LATENCY)
    return Flow(
        sent * np.logical_not(leaves_node), sent * leaves_node, sent / rate + n_sends * latency
    )


def _vocabulary(
    config: ModelConfig,
    layout: Any,
    chip: Chip,
    all_reduce: Flow,
    micro_batches: Numbers,
    gradient_bytes: Numbers,
) -> Flow:
    """Of the embedding and the logits that tensor ranks share out by the vocabulary."""
    summed = all_reduce.times(np.where(layout.pp == 1, 2, 1) * micro_batches)
    shared = config.tie_embeddings and config.head == "tokens"
    table = config.vocab_size * config.d_model / layout.tp * gradient_bytes * shared
    ends = Group.of(chip, 2, layout.tp * layout.cp * layout.dp * np.maximum(layout.pp - 1, 1))
    return summed + ends.gather(table).times(2 * (layout.pp > 1) * shared)

"""Bytes on the fullest device when a model answers: weights, key/value cache, and how many fit.

The cache holds a key and a value per key/value head, layer and token: 2 · l · n_kv · head size
(Pope et al. 2022, arXiv:2211.05102), so MQA divides it by the number of heads and GQA by the group.
A layer with a window holds the window at most. A decoder beside an encoder also holds the encoder's
keys and values for every layer; an encoder that stands alone holds none. Layers divide over pp,
heads over tp (each rank has at least one).
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError, InputError
from groundup.plan.limits import require_count
from groundup.plan.memory import CONTEXT_BYTES, NCCL_BYTES, USABLE
from groundup.plan.parallelism import Layout
from groundup.plan.sharding import check_divides, kv_heads_per_rank, padded_vocabulary, stages

# Bits of one weight of a block's matrices, scales included. 8: a 16-bit scale a row, which is left
# out (LLM.int8, Dettmers et al. 2022). 4: a 16-bit scale and a 4-bit zero for each 128 weights
# (GPTQ, AWQ with group size 128). Embeddings, head, norms and biases stay at 16 bits in both.
WEIGHT_BITS: dict[int, float] = {32: 32, 16: 16, 8: 8, 4: 4 + (16 + 4) / 128}
KV_BITS = (32, 16, 8, 4)
# Prompts are read in pieces of so many tokens (vLLM's default for chunked prefill, from memory).
PREFILL_TOKENS = 2048


@dataclass(frozen=True)
class ServingMemory:
    """Bytes on the fullest device."""

    weights: int
    kv_cache: int
    activations: int  # of the piece of prompt that is read at once
    logits: int
    buffers: int  # the process: CUDA, NCCL
    fragmentation: int
    kv_bytes_per_token: float  # of one sequence, on this device
    kv_bytes_per_sequence: float  # at this length, on this device

    @property
    def used(self) -> int:
        """All but the margin."""
        return self.weights + self.kv_cache + self.activations + self.logits + self.buffers

    @property
    def total(self) -> int:
        """All kinds and the margin."""
        return self.used + self.fragmentation

    def fits(self, capacity_bytes: float) -> bool:
        """Whether 90 % of the capacity suffice."""
        return self.used <= USABLE * capacity_bytes

    def most_sequences(self, capacity_bytes: float) -> int | None:
        """Sequences of this length whose caches fit beside the rest; None: it needs no cache."""
        if not self.kv_bytes_per_sequence:
            return None
        left = USABLE * capacity_bytes - (self.used - self.kv_cache)
        return max(int(left // self.kv_bytes_per_sequence), 0)


def serving_memory(
    config: ModelConfig,
    *,
    context_length: int,
    batch: int = 1,
    weight_bits: int = 16,
    kv_bits: int = 16,
    tp: int = 1,
    pp: int = 1,
) -> ServingMemory:
    """The memory of the fullest device that answers ``batch`` requests at once.

    Args:
        config: the model.
        context_length: tokens of a sequence, prompt and answer.
        batch: sequences at once.
        weight_bits: 32, 16, 8 or 4, see `WEIGHT_BITS`.
        kv_bits: of the cache.
        tp, pp: ranks of tensor and pipeline parallelism.

    Raises:
        ConfigError: heads or layers that do not divide.
        InputError: a size that is none, or bits that no format has.
    """
    require_count(context_length, "context_length")
    require_count(batch, "batch")
    if weight_bits not in WEIGHT_BITS:
        raise InputError(
            f"weights have 32, 16, 8 or 4 bits, not {weight_bits}", where="weight_bits"
        )
    if kv_bits not in KV_BITS:
        raise InputError(f"a cache has 32, 16, 8 or 4 bits, not {kv_bits}", where="kv_bits")
    reasons = check_divides(config, Layout(tp=tp, pp=pp))
    if reasons:
        raise ConfigError(
            "the model cannot be spread this way", where="layout", problems=tuple(reasons)
        )
    plain = max(weight_bits, 16) / 8
    weights = max(
        stage.hidden * WEIGHT_BITS[weight_bits] / 8 + stage.other * plain
        for stage in (stage.blocks + stage.ends for stage in stages(config, tp, pp))
    )
    per_token = kv_bytes_per_token(config, kv_bits, tp) / pp
    per_sequence = kv_bytes_per_sequence(config, context_length, kv_bits, tp) / pp
    read = min(batch * context_length, PREFILL_TOKENS)
    # While a block is read: the residual, its norm, and the widest of its insides.
    hidden, heads = config.feed_forward, config.attention
    n_widths = (hidden.n_matrices - 1) * max(hidden.n_experts_per_token, 1)
    inside = max(n_widths * hidden.d_ff, (heads.n_heads + 2 * heads.n_kv_heads) * heads.head_dim)
    activations = read * plain * (2 * config.d_model + inside / tp)
    has_head = config.head == "tokens"
    logits = batch * 4 * padded_vocabulary(config.vocab_size, tp) * has_head  # fp32, of one token
    cache = batch * per_sequence
    buffers = CONTEXT_BYTES + (NCCL_BYTES if tp * pp > 1 else 0)
    used = weights + cache + activations + logits + buffers
    return ServingMemory(
        weights=round(weights),
        kv_cache=round(cache),
        activations=round(activations),
        logits=logits,
        buffers=buffers,
        fragmentation=round(used * (1 / USABLE - 1)),
        kv_bytes_per_token=per_token,
        kv_bytes_per_sequence=per_sequence,
    )


def kv_bytes_per_token(config: ModelConfig, kv_bits: int = 16, tp: int = 1) -> float:
    """Cache that one more token takes on a tensor rank while no window is full: 2 l n_kv d_h."""
    return config.n_layers * _per_layer_and_token(config, kv_bits, tp)


def kv_bytes_per_sequence(
    config: ModelConfig, context_length: int, kv_bits: int = 16, tp: int = 1
) -> float:
    """Cache of one sequence on a tensor rank; of an encoder-decoder both sides have this length."""
    window = config.attention.window or context_length
    n_windowed = config.n_layers
    if config.attention.pattern == "alternating":
        n_windowed //= 2
    tokens = (config.n_layers - n_windowed) * context_length + n_windowed * min(
        context_length, window
    )
    if config.stack == "encoder-decoder":
        tokens += config.n_layers * context_length  # keys and values of the encoder's text
    return tokens * _per_layer_and_token(config, kv_bits, tp)


def _per_layer_and_token(config: ModelConfig, kv_bits: int, tp: int) -> float:
    if config.stack == "encoder":
        return 0.0
    return 2 * kv_heads_per_rank(config, tp) * config.attention.head_dim * kv_bits / 8

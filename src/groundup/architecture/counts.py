"""Exact parameters and floating-point operations of a config, without building the model.

FLOPs are those of matrix products, two per multiply-add; norms, softmax, activations and the
embedding lookup are left out, as in Kaplan et al. (arXiv:2001.08361) and PaLM (2204.02311, app. B).
Attention is counted by one of two conventions:

    causal=False  every token against the whole context (PaLM, Megatron, torch's FLOP counter)
    causal=True   a token at place t against t + 1 keys: what must be computed, half as much

The backward pass is twice the forward pass; work done again in it (recomputation) is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.architecture.config import ModelConfig


@dataclass(frozen=True)
class Parameters:
    """Parameter counts by part; a tied head has none of its own."""

    embedding: int  # tokens and learned positions
    attention: int
    feed_forward: int
    norm: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.non_embedding + self.embedding + self.head

    @property
    def non_embedding(self) -> int:
        """Without embeddings and head: the N of Kaplan's laws."""
        return self.attention + self.feed_forward + self.norm


def parameters(config: ModelConfig) -> Parameters:
    """The exact number of parameters of each part."""
    d_model, attention, d_ff = config.d_model, config.attention, config.feed_forward.d_ff
    q_width = attention.n_heads * attention.head_dim
    kv_width = attention.n_kv_heads * attention.head_dim
    attention_biases = (q_width + 2 * kv_width) * attention.bias + d_model * attention.output_bias
    n_up = 2 if config.feed_forward.activation == "swiglu" else 1  # gate and up, or up
    feed_forward_biases = (n_up * d_ff + d_model) * config.feed_forward.bias
    learned = config.positions.kind == "learned"
    n_norms = 2 * config.n_layers + 1 + config.embedding_norm
    return Parameters(
        embedding=(config.vocab_size + config.context_length * learned) * d_model,
        attention=config.n_layers * (_attention_weights(config) + attention_biases),
        feed_forward=config.n_layers * (_feed_forward_weights(config) + feed_forward_biases),
        norm=n_norms * d_model * (config.norm.weight + config.norm.bias),
        head=0 if config.tie_embeddings else config.vocab_size * d_model,
    )


def training_flops_per_token(config: ModelConfig, context_length: int, causal: bool = True) -> int:
    """FLOPs of forward and backward for one token, averaged over a full context."""
    return 3 * forward_flops_per_token(config, context_length, causal)


def forward_flops_per_token(config: ModelConfig, context_length: int, causal: bool = True) -> int:
    """FLOPs of the forward pass for one token, averaged over a full context; head included.

    Args:
        config: the model.
        context_length: tokens per sequence, at most the model's own.
        causal: the convention for attention, see the head of this file.
    """
    width = config.attention.n_heads * config.attention.head_dim
    # Scores and weighted values: 2 products · 2 FLOPs · width · keys; (T + 1) / 2 keys on average.
    attention_scores = 2 * width * (context_length + 1) if causal else 4 * width * context_length
    weights = _attention_weights(config) + _feed_forward_weights(config)
    head = config.vocab_size * config.d_model
    return config.n_layers * (2 * weights + attention_scores) + 2 * head


def _attention_weights(config: ModelConfig) -> int:
    """Entries of one block's query, key, value and output matrices."""
    attention = config.attention
    n_heads_in_and_out = 2 * attention.n_heads + 2 * attention.n_kv_heads
    return config.d_model * attention.head_dim * n_heads_in_and_out


def _feed_forward_weights(config: ModelConfig) -> int:
    """Entries of one block's feed-forward matrices."""
    n_matrices = 3 if config.feed_forward.activation == "swiglu" else 2
    return n_matrices * config.d_model * config.feed_forward.d_ff

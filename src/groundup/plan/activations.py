"""What the forward pass of one block keeps for the backward pass, term by term.

After Korthikanti et al. 2022 (arXiv:2205.05198, section 4), from the config's fields instead of
GPT's constants. With s tokens, micro-batch b, width h, a heads, t tensor ranks, 16-bit numbers, a
GELU network of 4h and dropout the terms add up to theirs, in bytes:

    one device            sbh (34 + 5as/h)         = 11 attention + 19 feed-forward + 4 norms
    tensor parallel       sbh (10 + 24/t + 5as/ht)
    and sequence parallel sbh/t (34 + 5as/h)
    selective             the 5as/h are computed again
    full                  2sbh, the block's input; with sequence parallelism 2sbh/t

LLaMA (SwiGLU, no dropout, flash attention) has 10 + 4 + 2 + 6 d_ff/h, with fewer bytes for shared
key/value heads. Flash attention keeps no scores but one log-sum-exp per head and token, so that
selective recomputation saves next to nothing on top. Statistics of norms are left out, as there. A
dense kernel keeps scores that a window masks, so a window does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from groundup.architecture.config import ModelConfig
from groundup.errors import InputError
from groundup.plan.parallelism import Recompute
from groundup.plan.sharding import kv_heads_per_rank
from groundup.plan.states import Precision, precision_of

Split = Literal["sequence", "tensor"]  # over tp with sequence parallelism only, or always
Part = Literal["attention", "cross attention", "feed-forward"]


@dataclass(frozen=True)
class Term:
    """One thing kept; bytes on one tensor rank, before sequence parallelism."""

    name: str
    part: Part
    split: Split
    bytes_per_token: float
    bytes_per_token_and_key: float = 0.0  # of attention scores
    of_encoder: bool = False  # per token of the encoder, not of this stack


@dataclass(frozen=True, slots=True)
class LayerActivations:
    """Bytes one block keeps on one rank: a + b·keys for a token, and what it keeps of encoder text.

    Tokens and keys are those of one sequence on one context-parallel rank and in all.
    """

    per_token: float = 0.0
    per_token_and_key: float = 0.0
    per_encoder_token: float = 0.0
    per_token_and_encoder_key: float = 0.0

    def bytes(
        self, tokens: float, keys: float, encoder_tokens: float, encoder_keys: float
    ) -> float:
        """Of ``tokens`` that look at ``keys``."""
        own = self.per_token + self.per_token_and_key * keys
        return (
            tokens * (own + self.per_token_and_encoder_key * encoder_keys)
            + self.per_encoder_token * encoder_tokens
        )


def layer_activation_bytes(
    config: ModelConfig,
    *,
    context_length: int,
    micro_batch_size: int = 1,
    tp: int = 1,
    cp: int = 1,
    sequence_parallel: bool = False,
    recompute: Recompute = "none",
    flash_attention: bool = True,
    dropout: bool = False,
    precision: str = "bf16",
    encoder_length: int | None = None,
) -> float:
    """Bytes that one block keeps of one micro-batch on one rank.

    Args:
        config: the model; of an encoder with a decoder, a block of the decoder.
        context_length: tokens of a sequence, divided over ``cp`` ranks.
        micro_batch_size: sequences.
        tp, cp: ranks of tensor and context parallelism.
        sequence_parallel: norms, residual and dropout are split over the tensor ranks too.
        recompute: "selective" computes the attention scores again, "full" the whole block.
        flash_attention: no scores are kept; False: softmax and what dropout does to it are.
        dropout: as GPT-3 was trained; a byte of mask for every number dropped.
        precision: bf16, fp16, fp32 or fp8.
        encoder_length: tokens the encoder read; None: as many.

    Raises:
        InputError: an unknown precision or recomputation.
    """
    layer = layer_activations(
        config,
        cross_attention=config.stack == "encoder-decoder",
        tp=tp,
        sequence_parallel=sequence_parallel,
        recompute=recompute,
        flash_attention=flash_attention,
        dropout=dropout,
        precision=precision,
    )
    encoder_length = encoder_length or context_length
    return micro_batch_size * layer.bytes(
        context_length / cp, context_length, encoder_length / cp, encoder_length
    )


def layer_activations(
    config: ModelConfig,
    *,
    cross_attention: bool,
    tp: int,
    sequence_parallel: bool,
    recompute: Recompute,
    flash_attention: bool,
    dropout: bool,
    precision: str,
) -> LayerActivations:
    """The sum of `layer_terms` on one rank, see `layer_activation_bytes`."""
    if recompute not in ("none", "selective", "full"):
        raise InputError(f"recompute is {recompute!r}; use none, selective or full")
    of = precision_of(precision)
    if recompute == "full":
        block_input = of.element * config.d_model / (tp if sequence_parallel else 1)
        return LayerActivations(per_token=block_input)
    terms = layer_terms(
        config,
        cross_attention=cross_attention,
        tp=tp,
        selective=recompute == "selective",
        flash_attention=flash_attention,
        dropout=dropout,
        precision=of,
    )
    on_rank = {"sequence": 1 / tp if sequence_parallel else 1.0, "tensor": 1.0}
    return LayerActivations(
        per_token=sum(
            on_rank[term.split] * term.bytes_per_token for term in terms if not term.of_encoder
        ),
        per_token_and_key=sum(
            term.bytes_per_token_and_key for term in terms if term.part == "attention"
        ),
        per_encoder_token=sum(
            on_rank[term.split] * term.bytes_per_token for term in terms if term.of_encoder
        ),
        per_token_and_encoder_key=sum(
            term.bytes_per_token_and_key for term in terms if term.part == "cross attention"
        ),
    )


def layer_terms(
    config: ModelConfig,
    *,
    cross_attention: bool = False,
    tp: int = 1,
    selective: bool = False,
    flash_attention: bool = True,
    dropout: bool = False,
    precision: Precision,
) -> list[Term]:
    """Everything a block keeps that is not computed again.

    A tensor read by two operations is kept once: branches in parallel share the input of their
    norms, and with one norm (GPT-J) its output too. A block that normalises after the sum (BERT)
    keeps the same four tensors as one that does before.
    """
    attention: list[Part] = ["attention", "cross attention"] if cross_attention else ["attention"]
    terms = []
    for part in attention:
        terms += _attention_terms(config, part, tp, selective, flash_attention, dropout, precision)
    terms += _feed_forward_terms(config, tp, dropout, precision)
    if config.query_stream:  # XLNet's second stream has queries and all that follows of its own
        terms += [term for term in terms if term.name != "keys and values"]
    return terms


def _attention_terms(
    config: ModelConfig,
    part: Part,
    tp: int,
    selective: bool,
    flash_attention: bool,
    dropout: bool,
    of: Precision,
) -> list[Term]:
    heads, d_model = config.attention, config.d_model
    n_heads = heads.n_heads // tp
    q_width = n_heads * heads.head_dim
    kv_width = kv_heads_per_rank(config, tp) * heads.head_dim
    crossed = part == "cross attention"
    terms = [
        Term("input of the norm", part, "sequence", of.element * d_model),
        Term("input of query, key and value", part, "sequence", of.linear_input * d_model),
        Term("queries", part, "tensor", of.element * q_width),
        Term("keys and values", part, "tensor", of.element * 2 * kv_width, of_encoder=crossed),
    ]
    if heads.qk_norm:
        terms += [
            Term("queries before their norm", part, "tensor", of.element * q_width),
            Term("keys before their norm", part, "tensor", of.element * kv_width,
                 of_encoder=crossed),
        ]  # fmt: skip
    if not flash_attention and not selective:
        scores = of.element + dropout * (1 + of.element)  # softmax; its mask and what it leaves
        terms.append(Term("attention scores", part, "tensor", 0.0, scores * n_heads))
    if flash_attention and not selective:
        terms.append(Term("log-sum-exp", part, "tensor", 4 * n_heads))
    # Flash attention needs its output in full width, the output matrix in that of its input.
    kept = of.linear_input if of.linear_input == of.element else of.linear_input + (
        of.element if flash_attention and not selective else 0
    )  # fmt: skip
    terms.append(Term("output of the heads", part, "tensor", kept * q_width))
    if dropout:
        terms.append(Term("mask of the output's dropout", part, "sequence", d_model))
    return terms


def _feed_forward_terms(config: ModelConfig, tp: int, dropout: bool, of: Precision) -> list[Term]:
    hidden, d_model = config.feed_forward, config.d_model
    width = hidden.d_ff // tp
    part: Part = "feed-forward"
    n_networks = max(hidden.n_experts_per_token, 1)
    terms = []
    if not config.parallel_residual:
        terms.append(Term("input of the norm", part, "sequence", of.element * d_model))
    if not config.shared_norm:
        terms.append(Term("input", part, "sequence", of.linear_input * d_model))
    if hidden.n_experts:
        terms += [
            Term("router's probabilities", part, "sequence", 4 * hidden.n_experts),
            Term(
                "inputs sent to experts", part, "sequence", n_networks * of.linear_input * d_model
            ),
            Term("outputs of experts", part, "sequence", n_networks * of.element * d_model),
        ]
    if hidden.activation not in ("relu", "relu2"):  # they are undone from what they return
        n_up = hidden.n_matrices - 1
        terms.append(
            Term("before the activation", part, "tensor", n_networks * of.element * n_up * width)
        )
    if hidden.activation == "relu2":
        terms.append(Term("before the square", part, "tensor", n_networks * of.element * width))
    terms.append(
        Term("input of the down matrix", part, "tensor", n_networks * of.linear_input * width)
    )
    if dropout:
        terms.append(Term("mask of the output's dropout", part, "sequence", d_model))
    return terms

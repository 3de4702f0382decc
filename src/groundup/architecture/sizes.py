"""The sizes that every family is given, and the parts that most families fill in alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from groundup.architecture.config import Activation, Attention, FeedForward, ModelConfig, Norm

LAYER_NORM = Norm("layer", eps=1e-5, weight=True, bias=True)  # of GPT-2 and most after it
RMS_NORM = Norm("rms", eps=1e-6, weight=True, bias=False)  # of T5 and LLaMA


@dataclass(frozen=True)
class Sizes:
    """What `families.build` was asked for."""

    vocab_size: int
    n_layers: int
    d_model: int
    context_length: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int | None  # None: the family's rule

    def attention(self, bias: bool, output_bias: bool | None = None, **fields: Any) -> Attention:
        """Heads of these sizes; the output has a bias if queries, keys and values have one."""
        return Attention(
            self.n_heads,
            self.n_kv_heads,
            self.head_dim,
            bias=bias,
            output_bias=bias if output_bias is None else output_bias,
            **{"qk_norm": False, **fields},
        )

    def feed_forward(
        self,
        activation: Activation,
        bias: bool,
        d_ff: int | None = None,
        **experts: int,
    ) -> FeedForward:
        """The network; ``d_ff`` is the family's rule where no width was asked for (4·d_model)."""
        rule = 4 * self.d_model if d_ff is None else d_ff
        return FeedForward(rule if self.d_ff is None else self.d_ff, activation, bias, **experts)

    def model(self, family: str, **fields: Any) -> ModelConfig:
        """The config of these sizes; plain embeddings and logits unless ``fields`` says more."""
        plain = {"embedding_norm": False, "logit_softcap": None, "init": "gpt2"}
        return ModelConfig(
            family=family,
            vocab_size=self.vocab_size,
            n_layers=self.n_layers,
            d_model=self.d_model,
            context_length=self.context_length,
            **{**plain, **fields},
        )

"""How `transformers` writes each family down: one table of tensors and one of config keys.

`convert` reads both in both directions, so a family is added here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from groundup.architecture.config import ModelConfig


def rows_of(config: ModelConfig) -> list[Row]:
    """The whole table of one model; a tied head has no row."""
    family = FAMILY[config.family]
    top = [row for row in family.top if not (config.tie_embeddings and "head.weight" in row.ours)]
    blocks = [row.in_layer(layer) for layer in range(config.n_layers) for row in family.layer]
    return top + blocks


@dataclass(frozen=True)
class Row:
    """One tensor of theirs and the tensors of ours that are stacked in it."""

    ours: tuple[str, ...]
    theirs: str
    transposed: bool = False  # theirs is [in, out], as in GPT-2's Conv1D; ours is [out, in]

    def in_layer(self, layer: int) -> Row:
        """The row of one block."""
        ours = tuple(f"blocks.{layer}.{name}" for name in self.ours)
        return Row(ours, self.theirs.replace("{i}", str(layer)), self.transposed)

    def pack(self, state: Mapping[str, Tensor]) -> Tensor:
        """Ours to theirs."""
        tensor = torch.cat([state[name] for name in self.ours])
        return (tensor.T if self.transposed else tensor).contiguous()

    def unpack(self, tensor: Tensor, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Theirs to ours; ``state`` says how long each of ours is."""
        tensor = tensor.T if self.transposed else tensor
        parts = tensor.split([len(state[name]) for name in self.ours])
        return dict(zip(self.ours, parts, strict=True))

    def shape(self, state: Mapping[str, Tensor]) -> list[int]:
        """The shape theirs must have."""
        rest = state[self.ours[0]].shape[1:]
        whole = [sum(len(state[name]) for name in self.ours), *rest]
        return whole[::-1] if self.transposed else whole


@dataclass(frozen=True)
class Family:
    """How one family is written down by `transformers`.

    Args:
        architecture: their class.
        top: rows outside the blocks.
        layer: rows of one block; ``{i}`` stands for its number.
        fields: their config key beside our field.
        defaults: what a missing key means (the defaults of their config class).
        fixed: their keys that must have this value, else it is another function.
        written: keys that we write for them and never read.
    """

    architecture: str
    top: tuple[Row, ...]
    layer: tuple[Row, ...]
    fields: dict[str, str]
    defaults: dict[str, Any]
    fixed: dict[str, Any]
    written: dict[str, Any] = field(default_factory=dict)


def _same(pairs: dict[str, str]) -> tuple[Row, ...]:
    return tuple(Row((ours,), theirs) for ours, theirs in pairs.items())


_ATTENTION_ROWS = {
    f"attention.{part}.weight": f"model.layers.{{i}}.self_attn.{part}_proj.weight"
    for part in "qkvo"
}
_SHARED_FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "max_position_embeddings": "context_length",
    "num_attention_heads": "attention.n_heads",
    "num_key_value_heads": "attention.n_kv_heads",
    "head_dim": "attention.head_dim",
    "intermediate_size": "feed_forward.d_ff",
    "rms_norm_eps": "norm.eps",
    "rope_theta": "positions.rotary_base",
    "tie_word_embeddings": "tie_embeddings",
}
_SHARED_DEFAULTS = {"rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": False}

# Fields of ours that are no sizes, and those whose null means something: no cap.
POSITIVE_NUMBERS = {"norm.eps", "positions.rotary_base", "logit_softcap"}
MAY_BE_NULL = {"logit_softcap"}

FAMILY: dict[str, Family] = {
    "nanochat": Family(
        architecture="NanoChatForCausalLM",
        top=_same({"embed.weight": "model.embed_tokens.weight", "head.weight": "lm_head.weight"}),
        layer=_same(
            {
                **_ATTENTION_ROWS,
                "feed_forward.up.weight": "model.layers.{i}.mlp.fc1.weight",
                "feed_forward.down.weight": "model.layers.{i}.mlp.fc2.weight",
            }
        ),
        fields={**_SHARED_FIELDS, "final_logit_softcapping": "logit_softcap"},
        defaults={**_SHARED_DEFAULTS, "final_logit_softcapping": 15.0},
        fixed={"hidden_act": "relu2", "attention_bias": False},
    ),
    "llama": Family(
        architecture="LlamaForCausalLM",
        top=_same(
            {
                "embed.weight": "model.embed_tokens.weight",
                "norm.weight": "model.norm.weight",
                "head.weight": "lm_head.weight",
            }
        ),
        layer=_same(
            {
                **_ATTENTION_ROWS,
                "attention_norm.weight": "model.layers.{i}.input_layernorm.weight",
                "feed_forward_norm.weight": "model.layers.{i}.post_attention_layernorm.weight",
                "feed_forward.gate.weight": "model.layers.{i}.mlp.gate_proj.weight",
                "feed_forward.up.weight": "model.layers.{i}.mlp.up_proj.weight",
                "feed_forward.down.weight": "model.layers.{i}.mlp.down_proj.weight",
            }
        ),
        fields=_SHARED_FIELDS,
        defaults=_SHARED_DEFAULTS,
        fixed={"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    ),
    "gpt2": Family(
        architecture="GPT2LMHeadModel",
        top=_same(
            {
                "embed.weight": "transformer.wte.weight",
                "position.weight": "transformer.wpe.weight",
                "norm.weight": "transformer.ln_f.weight",
                "norm.bias": "transformer.ln_f.bias",
            }
        ),
        layer=tuple(
            Row(
                tuple(f"{name}.{kind}" for name in ours),
                f"transformer.h.{{i}}.{theirs}.{kind}",
                transposed=matrix and kind == "weight",
            )
            for ours, theirs, matrix in (
                (("attention_norm",), "ln_1", False),
                (("attention.q", "attention.k", "attention.v"), "attn.c_attn", True),
                (("attention.o",), "attn.c_proj", True),
                (("feed_forward_norm",), "ln_2", False),
                (("feed_forward.up",), "mlp.c_fc", True),
                (("feed_forward.down",), "mlp.c_proj", True),
            )
            for kind in ("weight", "bias")
        ),
        fields={
            "vocab_size": "vocab_size",
            "n_embd": "d_model",
            "n_layer": "n_layers",
            "n_positions": "context_length",
            "n_head": "attention.n_heads",
            "n_inner": "feed_forward.d_ff",
            "layer_norm_epsilon": "norm.eps",
            "tie_word_embeddings": "tie_embeddings",
        },
        defaults={"layer_norm_epsilon": 1e-5, "tie_word_embeddings": True},
        fixed={
            "activation_function": "gelu_new",
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "reorder_and_upcast_attn": False,
            "add_cross_attention": False,
        },
        written={"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    ),
}

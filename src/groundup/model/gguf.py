"""A model as one GGUF file, which llama.cpp and what is built on it open.

Names come from the package ``gguf`` itself; which family is which architecture of it, and what its
converter does to tensors, from llama.cpp's convert_hf_to_gguf.py:

- llama (LLaMA, Mistral, Mixtral) and olmo turn neighbours, not halves: the rows of q and k are
  brought into that order, head by head;
- queries, keys and values of GPT-2, GPT-NeoX, BLOOM and MPT are one tensor, q above k above v;
- experts are one tensor [E, out, in]; a tied head is not written a second time;
- vectors, norms, routers and tables of places stay float32 whatever the matrices are.

A family that GGUF has no architecture for, and settings that the architecture does not compute, are
refused. The tokenizer goes in where llama.cpp has a rule that cuts text the same way; otherwise the
file has none, and is driven by token ids.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.errors import InputError
from groundup.model.as_qwen3 import as_qwen3, written_as
from groundup.model.formats.configs import write_config
from groundup.model.gguf_tokenizer import add_tokenizer
from groundup.model.positions import rotary_dim, rotary_speeds
from groundup.model.quantised import is_quantised
from groundup.model.transformer import Transformer
from groundup.model.weights import weights_of

FILE = "model.gguf"
DTYPES = ("f32", "f16", "q8_0")
# model_type of `formats` → architecture of GGUF.
ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
    "olmo": "olmo",
    "olmo2": "olmo2",
    "gpt2": "gpt2",
    "gpt_neox": "gptneox",
    "bloom": "bloom",
    "mpt": "mpt",
    "t5": "t5",
    "mt5": "t5",
    "umt5": "t5",
}
LARGEST_FLOAT16 = 65504.0
TURNS_NEIGHBOURS = ("llama", "olmo")  # LLAMA_ROPE_TYPE_NORM of llama.cpp; the others turn halves
FUSED = ("gpt2", "gptneox", "bloom", "mpt")
# What llama.cpp computes whatever the file says. Its GELU is the one by tanh.
ACTIVATIONS = {"gpt2": "gelu_new", "gptneox": "gelu", "bloom": "gelu_new", "mpt": "gelu"}
ACTIVATIONS |= dict.fromkeys(("llama", "qwen2", "qwen3", "qwen3moe", "olmo", "olmo2"), "swiglu")
ACTIVATIONS["t5"] = "geglu"
# ours → theirs: outside the blocks, and in them.
ENDS = {
    "embed": "token_embd",
    "position": "position_embd",
    "embedding_norm": "token_embd_norm",
    "norm": "output_norm",
    "head": "output",
}
LAYER = {
    "attention_norm": "attn_norm",
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.o": "attn_output",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up",
    "feed_forward.down": "ffn_down",
    "feed_forward.router": "ffn_gate_inp",
}
AFTER = {"attention_norm": "post_attention_norm", "feed_forward_norm": "post_ffw_norm"}  # OLMo 2
BESIDE = {  # of an encoder and a decoder
    "attention.o": "attn_o",
    "attention.relative.position": "attn_rel_b",
    "cross_attention_norm": "cross_attn_norm",
    **{f"cross_attention.{part}": f"cross_attn_{part}" for part in "qkvo"},
}


@dataclass(frozen=True)
class WrittenGguf:
    """What is in the file.

    Attributes:
        architecture: as GGUF names it.
        tokenizer: llama.cpp's name of how it cuts text, or None: the file has no tokenizer.
        why: no tokenizer; empty where there is one.
        n_wider: matrices whose rows are no multiple of 32, float16 in a file of q8_0.
    """

    architecture: str
    tokenizer: str | None
    why: str
    n_wider: int


def write_gguf(
    model: Transformer,
    file: Path,
    tokenizer_folder: Path | None = None,
    *,
    name: str = "groundup",
    dtype: str = "f16",
    special: Mapping[str, Any] | None = None,
) -> WrittenGguf:
    """Write ``model`` into one GGUF file, tensor by tensor.

    Args:
        model: of a family in `ARCHITECTURES`, not quantised by us.
        file: new; its folder belongs to the caller, who makes the whole atomic.
        tokenizer_folder: where tokenizer.json is.
        name: of the model, for people.
        dtype: one of `DTYPES`, of the matrices.
        special: bos_token_id, eos_token_id, pad_token_id, decoder_start_token_id.

    Raises:
        InputError: no package ``gguf``, a family or setting that GGUF cannot hold, or a weight
            that float16 cannot.
    """
    gguf = _package()
    if dtype not in DTYPES:
        raise InputError(
            f"GGUF files of {dtype!r} are not written", fix=f"choose {', '.join(DTYPES)}"
        )
    architecture = architecture_of(model)
    model = as_qwen3(model)
    writer = gguf.GGUFWriter(None, architecture)
    writer.add_name(name)
    writer.add_file_type({"f32": 0, "f16": 1, "q8_0": 7}[dtype])  # LlamaFileType
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    special = {key: value for key, value in (special or {}).items() if isinstance(value, int)}
    _add_sizes(writer, model.config, architecture, special, gguf)
    tokenizer, why = add_tokenizer(writer, tokenizer_folder, model.config.vocab_size, special)
    made = dict(_tensors(model, architecture))
    kinds = {key: _kind(key, tensor, dtype, gguf) for key, tensor in made.items()}
    for key, tensor in made.items():
        shape, array = tuple(tensor.shape), {"F32": np.float32, "F16": np.float16}
        kind = kinds[key]
        n_bytes = int(np.prod(gguf.quant_shape_to_byte_shape(shape, kind)))
        if kind.name in array:
            bytes_each = np.dtype(array[kind.name]).itemsize
            n_bytes = tensor.numel() * bytes_each
            writer.add_tensor_info(key, shape, np.dtype(array[kind.name]), n_bytes)
        else:
            packed = gguf.quant_shape_to_byte_shape(shape, kind)
            writer.add_tensor_info(key, packed, np.dtype(np.uint8), n_bytes, raw_dtype=kind)
    try:
        writer.write_header_to_file(file)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for key, tensor in made.items():
            writer.write_tensor_data(_numbers(key, tensor, kinds[key], gguf))
    finally:
        writer.close()
    n_wider = sum(dtype == "q8_0" and kind.name == "F16" for kind in kinds.values())
    return WrittenGguf(architecture, tokenizer, why, n_wider)


def architecture_of(model: Transformer) -> str:
    """GGUF's name for the network.

    Raises:
        InputError: it has none, or it does not compute a setting of this model.
    """
    config = model.config
    if is_quantised(model):
        raise InputError(
            "the weights of this model are quantised already",
            fix="export the model that it was made from, with --dtype q8_0 for small weights",
        )
    form, _ = write_config(written_as(config))
    architecture = ARCHITECTURES.get(form.model_type)
    if architecture is None:
        known = ", ".join(dict.fromkeys(ARCHITECTURES))
        raise InputError(
            f"GGUF has no architecture that computes this {config.family}",
            fix="serve it with groundup generate (--quantise int8 makes it smaller), or train one "
            f"of {known}",
        )
    problems = list(_not_computed(config, architecture))
    if problems:
        raise InputError(
            f"GGUF's {architecture} does not compute {', '.join(problems)}",
            fix="export it for transformers: leave --format gguf out",
        )
    return architecture


def _not_computed(config: ModelConfig, architecture: str) -> Iterator[str]:
    window, activation = config.attention.window, config.feed_forward.activation
    if window is not None and window < config.context_length:
        yield f"a window of {window} in a context of {config.context_length}"
    if activation != ACTIVATIONS[architecture]:
        yield f"the activation {activation}"
    if config.positions.rotary_scaling == "llama3" and architecture != "llama":
        yield "LLaMA 3's scaling of the rotation"
    if config.attention.scale is not None and architecture != "t5":
        yield f"scores scaled by {config.attention.scale:g}"
    if config.logit_scale != 1:
        yield f"logits scaled by {config.logit_scale:g}"
    if config.head != "tokens":
        yield "a model without its head"


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise InputError(
            "GGUF files are written by the package gguf, which is not installed",
            fix="pip install 'groundup[gguf]'",
        ) from error
    return gguf


# --- what stands before the tensors ---


def _add_sizes(
    writer: Any, config: ModelConfig, architecture: str, special: Mapping[str, int], gguf: Any
) -> None:
    attention, positions, network = config.attention, config.positions, config.feed_forward
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.n_encoder_layers or config.n_layers)
    writer.add_feed_forward_length(network.d_ff)
    writer.add_head_count(attention.n_heads)
    writer.add_head_count_kv(attention.n_kv_heads)
    if config.norm.kind == "rms":
        writer.add_layer_norm_rms_eps(config.norm.eps)
    if config.norm.kind == "layer" or architecture == "t5":
        writer.add_layer_norm_eps(config.norm.eps)
    if positions.kind == "rotary" or architecture == "t5":
        writer.add_key_length(attention.head_dim)
        writer.add_value_length(attention.head_dim)
    if positions.kind == "rotary":
        writer.add_rope_dimension_count(rotary_dim(config))
        writer.add_rope_freq_base(positions.rotary_base)
    if positions.rotary_scaling == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(positions.rotary_factor)
    if architecture == "gptneox":
        writer.add_parallel_residual(config.parallel_residual)
    if architecture == "mpt":
        writer.add_max_alibi_bias(8.0)  # of its paper, and of our slopes
    if network.n_experts:
        writer.add_expert_count(network.n_experts)
        writer.add_expert_used_count(network.n_experts_per_token)
    if architecture == "qwen3moe":
        writer.add_expert_feed_forward_length(network.d_ff)
    if architecture == "t5":
        writer.add_decoder_block_count(config.n_layers)
        writer.add_relative_attn_buckets_count(positions.n_buckets)
        writer.add_decoder_start_token_id(special.get("decoder_start_token_id", 0))


# --- tensors ---


def _tensors(model: Transformer, architecture: str) -> Iterator[tuple[str, Tensor]]:
    """(GGUF's name, tensor in its order); most lie in the model, those joined are made."""
    weights, config = weights_of(model), model.config
    for name, tensor in weights.items():
        if part := _part_of_pair(name):
            if part == "q":
                stack = [weights[name.replace(".q.", f".{one}.")] for one in "qkv"]
                if architecture in FUSED:
                    key = _renamed(name, architecture).replace("attn_q", "attn_qkv")
                    yield key, torch.cat(stack)
            if architecture in FUSED:
                continue
            if architecture in TURNS_NEIGHBOURS and part in "qk":
                attention = config.attention
                heads = attention.n_heads if part == "q" else attention.n_kv_heads
                tensor = neighbours(tensor, heads)
        if ".experts." in name:
            if ".experts.0." in name:
                number = [str(one) for one in range(config.feed_forward.n_experts)]
                parts = [weights[name.replace(".experts.0.", f".experts.{n}.")] for n in number]
                key = _renamed(name.replace(".experts.0.", "."), architecture)
                yield key.removesuffix(".weight") + "_exps.weight", torch.stack(parts)
            continue
        yield _renamed(name, architecture), tensor
    if config.positions.rotary_scaling == "llama3":
        yield "rope_freqs.weight", _slower(config)


def _part_of_pair(name: str) -> str:
    """Q, k or v of self-attention; empty for other tensors."""
    *_, layer, part, _ = ("", "", *name.split("."))
    return part if layer == "attention" and part in ("q", "k", "v") else ""


def neighbours(tensor: Tensor, n_heads: int) -> Tensor:
    """Rows of each head from (all first, all second of the pairs) to pair after pair."""
    rest = tensor.shape[1:]
    return tensor.reshape(n_heads, 2, -1, *rest).transpose(1, 2).reshape(tensor.shape)


def _slower(config: ModelConfig) -> Tensor:
    """By how much LLaMA 3's scaling slows each pair: [E/2]."""
    n_turned, cpu = rotary_dim(config), torch.device("cpu")
    plain = dataclasses.replace(config.positions, rotary_scaling="none")
    scaled = rotary_speeds(config.positions, n_turned, cpu)
    return (rotary_speeds(plain, n_turned, cpu) / scaled)[: n_turned // 2]


def _renamed(name: str, architecture: str) -> str:
    """Ours to GGUF's: ``blocks.3.attention.q.weight`` to ``blk.3.attn_q.weight``."""
    side = ""
    if architecture == "t5":
        side = "enc." if name.startswith("encoder.") else "dec."
        name = name.removeprefix("encoder.")
    body, _, kind = name.rpartition(".")
    if name == "position.weight" and architecture == "t5":
        return f"{side}blk.0.attn_rel_b.weight"
    if not body.startswith("blocks."):
        shared = body in ("embed", "head")
        return f"{'' if shared else side}{ENDS[body]}.{kind}"
    _, layer, part = body.split(".", 2)
    names = LAYER | (BESIDE if architecture == "t5" else {})
    names |= AFTER if architecture == "olmo2" else {}
    return f"{side}blk.{layer}.{names[part]}.{kind}"


def _kind(name: str, tensor: Tensor, dtype: str, gguf: Any) -> Any:
    kinds = gguf.GGMLQuantizationType
    small = ("position_embd", "ffn_gate_inp", "attn_rel_b", "_norm.weight")
    if tensor.dim() < 2 or dtype == "f32" or any(one in name for one in small):
        return kinds.F32
    if dtype == "q8_0" and tensor.shape[-1] % 32 == 0:
        return kinds.Q8_0
    return kinds.F16


def _numbers(name: str, tensor: Tensor, kind: Any, gguf: Any) -> npt.NDArray[Any]:
    numbers = tensor.detach().cpu().float().contiguous().numpy()
    if kind.name == "F32":
        return numbers
    largest = float(np.abs(numbers).max()) if numbers.size else 0.0
    if kind.name == "F16":
        if not largest <= LARGEST_FLOAT16:
            raise InputError(
                f"{name} holds {largest:g}, more than float16 can", fix="export with --dtype f32"
            )
        return numbers.astype(np.float16)
    found: npt.NDArray[Any] = gguf.quants.quantize(numbers, kind)
    return found

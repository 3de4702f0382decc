"""What fits together in a `ModelConfig`: sizes, choices and the fields that need one another.

All problems are found at once, one sentence each, so that a file is mended in one go. Sizes come
first: what depends on them is only asked when they are whole numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from groundup.architecture.config import ModelConfig


def problems_of(config: ModelConfig) -> list[str]:
    """What does not fit together, one sentence each; empty where all does."""
    wrong = [*_bad_sizes(config), *_bad_values(config)]
    return wrong or [*_attention(config), *_layers(config), *_stack(config), *_ends(config)]


def _bad_sizes(config: ModelConfig) -> Iterator[str]:
    attention, positions, feed_forward = config.attention, config.positions, config.feed_forward
    at_least_1: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "n_layers": config.n_layers,
        "d_model": config.d_model,
        "context_length": config.context_length,
        "n_heads": attention.n_heads,
        "n_kv_heads": attention.n_kv_heads,
        "head size": attention.head_dim,
        "d_ff": feed_forward.d_ff,
    }
    if attention.window is not None:
        at_least_1["attention.window"] = attention.window
    if config.embedding_dim is not None:
        at_least_1["embedding_dim"] = config.embedding_dim
    at_least_0: dict[str, Any] = {
        "n_encoder_layers": config.n_encoder_layers,
        "n_token_types": config.n_token_types,
        "positions.n_extra": positions.n_extra,
        "positions.n_buckets": positions.n_buckets,
        "feed_forward.n_experts": feed_forward.n_experts,
        "feed_forward.n_experts_per_token": feed_forward.n_experts_per_token,
    }
    for least, sizes in ((1, at_least_1), (0, at_least_0)):
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < least:
                yield f"{name} is {size!r}, but must be a whole number of at least {least}"


def _bad_values(config: ModelConfig) -> Iterator[str]:
    """Choices that are not on the list, switches that are neither on nor off, odd numbers."""
    groups = {f"{name}.": getattr(config, name) for name in _GROUPS}
    for prefix, group in {"": config, **groups}.items():
        for name, allowed in _choices(group.__class__).items():
            value = getattr(group, name)
            if not any(type(value) is type(choice) and value == choice for choice in allowed):
                words = " or ".join(map(_word, allowed))
                yield f"{prefix}{name} is {value!r}, but must be {words}"
    numbers = {"norm.eps": config.norm.eps, "positions.rotary_base": config.positions.rotary_base}
    if config.logit_softcap is not None:
        numbers["logit_softcap"] = config.logit_softcap
    for name, number in numbers.items():
        if not isinstance(number, (int, float)) or not 0 < number < math.inf:
            yield f"{name} is {number!r}, but must be a number above 0"
    fraction = config.positions.rotary_fraction
    if not isinstance(fraction, (int, float)) or not 0 < fraction <= 1:
        yield f"positions.rotary_fraction is {fraction!r}, but must be above 0 and at most 1"


_GROUPS = ("attention", "positions", "norm", "feed_forward")


@cache
def _choices(group: type[Any]) -> dict[str, tuple[Any, ...]]:
    """The fields of a dataclass that take one of a few values, and these."""
    hints = get_type_hints(group)
    found: dict[str, tuple[Any, ...]] = {}
    for field in dataclasses.fields(group):
        if get_origin(hints[field.name]) is Literal:
            found[field.name] = get_args(hints[field.name])
        elif hints[field.name] is bool:
            found[field.name] = (True, False)
    return found


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _attention(config: ModelConfig) -> Iterator[str]:
    attention, positions = config.attention, config.positions
    if attention.n_heads % attention.n_kv_heads:
        yield (
            f"{attention.n_heads} query heads cannot share {attention.n_kv_heads} key/value heads "
            "evenly: n_heads must be a multiple of n_kv_heads"
        )
    if positions.kind == "rotary" and attention.head_dim % 2:
        yield (
            f"the head size is {attention.head_dim}, but must be even: rotary positions turn pairs"
        )
    if attention.qk_norm_weight != "none" and not attention.qk_norm:
        yield f"attention.qk_norm_weight is {attention.qk_norm_weight}, but qk_norm is off"
    if attention.pattern == "alternating" and attention.window is None:
        yield "attention.pattern is alternating, but there is no window to alternate with"
    if (positions.kind == "t5") != (positions.n_buckets > 0):
        yield (
            f"positions.n_buckets is {positions.n_buckets}, but positions of kind t5, and no "
            "others, have buckets"
        )


def _layers(config: ModelConfig) -> Iterator[str]:
    norm, feed_forward = config.norm, config.feed_forward
    if config.shared_norm and not config.parallel_residual:
        yield "shared_norm needs parallel_residual: one norm cannot serve two branches in turn"
    if config.parallel_residual and norm.placement != "pre":
        yield f"parallel_residual needs norm.placement pre, not {norm.placement}"
    if norm.bias and (norm.kind == "rms" or not norm.weight):
        yield "norm.bias is on, but only a layer norm with a weight has a bias"
    n_experts, n_active = feed_forward.n_experts, feed_forward.n_experts_per_token
    if n_experts and not 1 <= n_active <= n_experts:
        yield f"n_experts_per_token is {n_active}, but must be 1 to n_experts, which is {n_experts}"
    if n_active and not n_experts:
        yield f"n_experts_per_token is {n_active}, but n_experts is 0"


def _stack(config: ModelConfig) -> Iterator[str]:
    both = config.stack == "encoder-decoder"
    if both and not config.n_encoder_layers:
        yield "stack is encoder-decoder, but n_encoder_layers is 0"
    if config.n_encoder_layers and not both:
        yield f"n_encoder_layers is {config.n_encoder_layers}, but stack is {config.stack}"
    if both and config.shared_layers:
        yield "shared_layers is for one stack, but stack is encoder-decoder"
    if config.query_stream and config.positions.kind != "relative":
        yield f"query_stream needs relative positions, not {config.positions.kind}"


def _ends(config: ModelConfig) -> Iterator[str]:
    """Embeddings and head."""
    if config.head == "none":
        for name in ("head_bias", "head_transform"):
            if getattr(config, name):
                yield f"{name} is on, but head is none"
    if config.embedding_projection == "tokens" and config.embedding_dim is None:
        yield "embedding_projection is tokens, but embedding_dim says no width to project from"
    if config.pooler and config.stack != "encoder":
        yield f"pooler is for an encoder, but stack is {config.stack}"

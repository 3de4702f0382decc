"""`recipe`: one word for keys of several sections, which the user's own keys override.

A recipe is a list of parts: plain values under dotted keys. A key that stands in the project file
or among the overrides is never touched. A part whose ``needs`` are not so is left out whole: rates
that were found for one optimizer say nothing of another. What a recipe set has the origin
``recipe NAME`` (`groundup show`) and is kept in the run's record. What each part of `fast`
contributes is measured by ``benchmarks/recipe.py`` (docs/recipe.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Recipe = Literal["fast", "gpt2", "custom"]
Key = tuple[str, ...]  # of the project file: ("pretrain", "optimizer")


@dataclass(frozen=True)
class Part:
    """Values that belong together.

    Attributes:
        name: what it is called in docs/recipe.md.
        values: dotted key → value.
        needs: dotted keys that must have these values, by this recipe or by the user.
        unless: dotted keys, other words for the same: with one of them the part is left out.
        not_with: dotted keys that must not have these values.
    """

    name: str
    values: Mapping[str, Any]
    needs: Mapping[str, Any] = field(default_factory=dict)
    unless: tuple[str, ...] = ()
    not_with: Mapping[str, Any] = field(default_factory=dict)


NANOCHAT = {"model.family": "nanochat"}
SWIGLU = {"model.variant": {"activation": "swiglu", "logit_softcap": None}}
MUON = {"pretrain.optimizer": "muon"}
TRAINED = ("pretrain.init_from",)  # there the network is as it is
SERVER = {"pretrain.asynchronous.kind": "parameter_server"}  # which has an optimizer of its own

# Muon's rate and the long decay: docs/recipe.md. The other rates, momentum, betas:
# docs/experiments.md, "Learning rates and betas".
FAST = (
    Part("network", NANOCHAT, unless=TRAINED),
    Part("feed-forward network, no cap", SWIGLU, NANOCHAT, unless=TRAINED),
    Part("muon", {**MUON, "pretrain.weight_decay": 0.0}, not_with=SERVER),
    Part("muon's rate", {"pretrain.learning_rate": 0.03, "pretrain.momentum": 0.9}, MUON),
    Part(
        "rates beside muon",
        {"pretrain.adam_learning_rate": 0.02, "pretrain.embedding_learning_rate": 0.4},
        MUON | NANOCHAT,
    ),
    Part("betas", {"pretrain.beta1": 0.8, "pretrain.beta2": 0.95}, MUON),
    Part("schedule", {"pretrain.schedule": "wsd"}),
    Part(
        "long decay",
        {"pretrain.decay_fraction": 0.8},
        needs={"pretrain.schedule": "wsd"},
        unless=("pretrain.decay_steps", "pretrain.decay_tokens"),
    ),
)

# nanoGPT's settings for small models (config/train_shakespeare_char.py) on GPT-2's network.
ADAMW, COSINE = {"pretrain.optimizer": "adamw"}, {"pretrain.schedule": "cosine"}
GPT2 = (
    Part("network", {"model.family": "gpt2"}, unless=TRAINED),
    Part("adamw", {**ADAMW, "pretrain.weight_decay": 0.1}, not_with=SERVER),
    Part("rate", {"pretrain.learning_rate": 1e-3}, ADAMW),
    Part("betas", {"pretrain.beta1": 0.9, "pretrain.beta2": 0.99}, ADAMW),
    Part("schedule", COSINE),
    Part("warm-up", {"pretrain.warmup_steps": 100}, COSINE, unless=("pretrain.warmup_tokens",)),
    Part("floor", {"pretrain.min_lr_ratio": 0.1}, COSINE),
)

RECIPES: dict[str, tuple[Part, ...]] = {"fast": FAST, "gpt2": GPT2, "custom": ()}


def lay_under(raw: dict[str, Any], parts: tuple[Part, ...]) -> list[Key]:
    """Put the values of a recipe under what the user gave, in place.

    Args:
        raw: the project file's plain values, overrides among them.

    Returns:
        the keys that were set.
    """
    done = []
    for part in parts:
        fits = all(_value(raw, _path(key)) == value for key, value in part.needs.items())
        fits &= all(_value(raw, _path(key)) != value for key, value in part.not_with.items())
        if fits and all(_value(raw, _path(key)) is None for key in part.unless):
            done += [path for path, value in _paths(part) if _set(raw, path, value)]
    return done


def _paths(part: Part) -> Iterator[tuple[Key, Any]]:
    return ((_path(key), value) for key, value in part.values.items())


def _path(key: str) -> Key:
    return tuple(key.split("."))


def _value(raw: Any, path: Key) -> Any:
    """What stands under a key; None where nothing does."""
    for part in path:
        if not isinstance(raw, dict):
            return None
        raw = raw.get(part)
    return raw


def _set(raw: dict[str, Any], path: Key, value: Any) -> bool:
    """Set a key that the user left out; False where it is given, if only as null."""
    holder: Any = raw
    for part in path[:-1]:
        if holder.get(part) is None:  # a section whose lines are all comments
            holder[part] = {}
        holder = holder[part]
        if not isinstance(holder, dict):
            return False  # that this is no section is said by the check
    if path[-1] in holder:
        return False
    holder[path[-1]] = value
    return True

"""Another activation for a trained model, at once or little by little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.model.feed_forward import ACTIVATION, GATE, FeedForward, GatedFeedForward


def blend_activation(model: nn.Module, before: str, after: str, share: float) -> None:
    """Let every feed-forward network use ``(1 - share) · before + share · after``.

    At share 1 the model's config has the new name, as if it had never been another.

    Raises:
        ConfigError: there is no such activation for networks of this kind.
    """
    for part in model.modules():
        if isinstance(part, FeedForward | GatedFeedForward):
            table = ACTIVATION if isinstance(part, FeedForward) else GATE
            one, other = checked(table, before), checked(table, after)
            part.activation = other if share >= 1 else Blend(one, other, share)
    named: Any = after if share >= 1 else before  # the tables know no other names than the config
    for part in model.modules():
        config = getattr(part, "config", None)
        if isinstance(config, ModelConfig):
            feed_forward = replace(config.feed_forward, activation=named)
            vars(part)["config"] = replace(config, feed_forward=feed_forward)


class Blend:
    """A mean of two activations."""

    def __init__(
        self, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor], share: float
    ) -> None:
        self.before, self.after, self.share = before, after, share

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return (1 - self.share) * self.before(x) + self.share * self.after(x)


def checked(table: dict[str, Any], name: str) -> Callable[[Tensor], Tensor]:
    """The activation ``name`` of a table.

    Raises:
        ConfigError: it has none of this name.
    """
    if name not in table:
        raise ConfigError(
            f"these networks cannot change to the activation {name}",
            where="pretrain.changes: activation",
            fix=f"use one of {', '.join(table)}: gated networks stay gated",
        )
    found: Callable[[Tensor], Tensor] = table[name]
    return found

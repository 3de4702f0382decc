"""The probe computes gradients of its own, and those of the step must outlive it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def gradients_aside(model: nn.Module) -> Iterator[None]:
    """Inside the block there are no gradients; after it those from before are back."""
    aside = [parameter.grad for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in zip(model.parameters(), aside, strict=True):
            parameter.grad = gradient

"""Permutation language modelling (XLNet, Yang et al. 2019): the loss of `noise.permutation`."""

from __future__ import annotations

from torch import Tensor

from groundup.model.transformer import Transformer
from groundup.model.two_stream import query_stream
from groundup.train.batch import Batch, Counts
from groundup.train.objectives import NO_TERMS, Terms, loss_at_targets


def permutation_loss(
    model: Transformer, batch: Batch, counts: Counts, terms: Terms = NO_TERMS
) -> Tensor:
    """Mean cross-entropy of the last tokens of each order, nats; scalar float32."""
    hidden = hidden_of_queries(model, batch)
    return loss_at_targets(model, hidden, batch.targets, terms) / counts.targets


def hidden_of_queries(model: Transformer, batch: Batch) -> Tensor:
    """The states [B, T, D] that targets are predicted from."""
    assert batch.order is not None
    return query_stream(
        model, batch.inputs, batch.order, token_types=batch.token_types, padding=batch.padding
    )

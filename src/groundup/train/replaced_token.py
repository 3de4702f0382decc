"""Replaced token detection (ELECTRA, Clark et al. 2020, arXiv:2003.10555).

A small masked model, the generator, fills masked places by sampling; the model itself, the
discriminator, says of every token whether it was replaced. Both share the embeddings; the sum of
their losses is minimised, the discriminator's weighing 50 times as much (section 3.1). Nothing
flows from the discriminator back through the samples.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import sum_width
from groundup.model.dropout import NO_DROPOUT, Dropout
from groundup.model.transformer import Transformer
from groundup.tokens.samples import IGNORED
from groundup.train.batch import Batch, Counts
from groundup.train.noise.detection import discriminator_example
from groundup.train.objectives import CHUNK_ROWS, NO_TERMS, Loss, Terms, summed_loss


class ReplacedTokenPair(nn.Module):
    """Generator and discriminator; the discriminator is what is kept.

    Args:
        config: of the discriminator, ``head="detection"``.
        generator_size: width of the generator as a share of the discriminator's.
    """

    def __init__(
        self,
        config: ModelConfig,
        generator_size: float,
        attention: str = "sdpa",
        dropout: Dropout = NO_DROPOUT,
    ) -> None:
        super().__init__()
        self.config = config
        self.discriminator = Transformer(config, attention, dropout)
        smaller = generator_of(config, generator_size)
        self.generator = Transformer(smaller, attention, dropout, self.discriminator.embed)
        if sum_width(smaller) == sum_width(config):  # section 3.2: places and types are shared too
            self.generator.position = self.discriminator.position
            self.generator.token_type = self.discriminator.token_type

    @property
    def head(self) -> nn.Module:
        """The head that is tied to the embeddings: the generator's."""
        return self.generator.head


def generator_of(config: ModelConfig, size: float) -> ModelConfig:
    """A narrower masked model on the same embeddings, with heads of the same size."""
    attention, network = config.attention, config.feed_forward
    n_heads = max(1, round(attention.n_heads * size))
    d_model = n_heads * attention.head_dim
    width = config.embedding_dim or config.d_model
    return dataclasses.replace(
        config,
        d_model=d_model,
        attention=dataclasses.replace(attention, n_heads=n_heads, n_kv_heads=n_heads),
        feed_forward=dataclasses.replace(network, d_ff=max(1, round(network.d_ff * size))),
        embedding_dim=None if width == d_model else width,
        head="tokens",
        head_bias=True,
        head_transform=True,
        tie_embeddings=True,
    )


def replaced_token_loss(discriminator_weight: float, terms: Terms = NO_TERMS) -> Loss:
    """The loss of a `ReplacedTokenPair`; its samples come from torch's own random state.

    The ``terms`` are the generator's: the discriminator has no softmax.
    """

    def loss(pair: ReplacedTokenPair, batch: Batch, counts: Counts) -> Tensor:
        masked = batch.targets != IGNORED
        hidden = pair.generator.hidden(batch.inputs, **batch.about)[masked]
        generator_loss = summed_loss(pair.generator, hidden, batch.targets[masked], terms)
        sampled = batch.inputs.clone()
        sampled[masked] = draw(pair.generator, hidden)
        inputs, labels = discriminator_example(batch.inputs, batch.targets, sampled)
        scores = pair.discriminator(inputs, **batch.about).float()
        if batch.padding is not None:
            scores, labels = scores[batch.padding], labels[batch.padding]
        found = F.binary_cross_entropy_with_logits(scores, labels.float(), reduction="sum")
        return generator_loss / counts.targets + discriminator_weight * found / counts.tokens

    return loss


@torch.no_grad()
def draw(generator: Transformer, hidden: Tensor) -> Tensor:
    """A token for each row of [rows, D] from the generator's distribution: [rows] int64."""
    drawn = [
        torch.multinomial(generator.logits(rows).float().softmax(-1), 1)[:, 0]
        for rows in hidden.split(CHUNK_ROWS)
    ]
    return torch.cat(drawn) if drawn else hidden.new_zeros(0, dtype=torch.int64)

"""From a number of parameters to a model: depth and width a builder would choose.

Laws speak of N; memory, layouts and time need layers and widths. At equal N the loss depends little
on the shape over a wide range (Kaplan et al. 2020, arXiv:2001.08361, section 3.1), so the search is
for a round one: width in whole heads, depth that divides into pipeline stages, and width over depth
near that of the published LLaMA models (128 at 7B and 13B, 102 at 65B, 130 at 405B).
"""

from __future__ import annotations

import math

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import parameters
from groundup.architecture.families import build
from groundup.errors import ConfigError
from groundup.plan.limits import require_parameters
from groundup.units import format_count

ASPECT = 115.0  # width over depth: the middle of the LLaMA models above
SMALL_ASPECT = 64.0  # GPT-2 small: 12 × 768; below `SMALL_PARAMETERS`
SMALL_PARAMETERS = 1e9
ASPECT_WEIGHT = 0.05  # a shape twice too wide counts like 5 % too many parameters
MOST_WRONG = 0.2  # of the parameters asked for


def shape_for(
    params: float,
    *,
    family: str = "llama",
    vocab_size: int = 32_000,
    context_length: int = 4096,
) -> ModelConfig:
    """The model of ``family`` whose parameter count is nearest to ``params``.

    Raises:
        ConfigError: no shape comes within a fifth, as when the vocabulary alone is larger.
        InputError: ``params`` is no plausible number.
    """
    require_parameters(params)
    aspect = ASPECT if params >= SMALL_PARAMETERS else SMALL_ASPECT
    best, least = None, math.inf
    # 12 d² l parameters (Kaplan et al. 2020): the width follows from the depth.
    for n_layers in _depths():
        width = math.sqrt(params / (12 * n_layers))
        if not aspect / 6 <= width / n_layers <= aspect * 6:
            continue
        head = 128 if params >= SMALL_PARAMETERS else 64
        # Large models are cut by tensor parallelism: heads in fours, then in eights.
        together = 8 if params >= 5e9 else 4 if params >= SMALL_PARAMETERS else 1
        first = max(1, int(0.5 * width / head / together))
        for n_heads in range(first * together, int(1.2 * width / head) + 3 * together, together):
            d_model = n_heads * head
            config = build(
                family,
                vocab_size=vocab_size,
                n_layers=n_layers,
                d_model=d_model,
                context_length=context_length,
                n_heads=n_heads,
            )
            wrong = abs(math.log(parameters(config).total / params))
            unusual = ASPECT_WEIGHT * abs(math.log2(d_model / n_layers / aspect))
            odd = 0.0 if n_layers < 8 or n_layers % 4 == 0 else 0.01  # hard to cut into stages
            if wrong + unusual + odd < least:
                best, least = config, wrong + unusual + odd
    if best is None or abs(parameters(best).total / params - 1) > MOST_WRONG:
        raise ConfigError(
            f"no {family} of {format_count(params)} parameters with a vocabulary of {vocab_size:,}",
            where="params",
            fix="name a preset with --model, or choose another size or vocabulary",
        )
    return best


def _depths() -> list[int]:
    return [*range(2, 49, 2), *range(52, 257, 4)]

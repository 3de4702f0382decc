"""A job to predict the time of, where the layout may be open: then the search's first is taken.

Where nothing fits, or a chip's memory is not known, the time is that of fully sharded data parallel
with full recomputation, and a warning says that no real run is like it.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import active_parameters
from groundup.errors import BudgetError, ConfigError, InputError
from groundup.plan.efficiency import Efficiency, predict_efficiency
from groundup.plan.hardware import Chip
from groundup.plan.hyperparameters import hyperparameters
from groundup.plan.layout import search
from groundup.plan.layout_words import describe
from groundup.plan.limits import require_chips, require_context, require_positive
from groundup.plan.parallelism import Layout, Recompute

LLAMA_BATCH = 4_194_304  # tokens, where the law has none
PARTS = 16  # a batch that is ours to round is so many times a number that divides the chips


@dataclass(frozen=True)
class Predicted:
    """The layout that was taken, and its efficiency."""

    layout: Layout
    efficiency: Efficiency
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def predicted_job(
    config: ModelConfig,
    tokens: float,
    chip: Chip,
    n_chips: int,
    *,
    context_length: int,
    global_batch_tokens: float | None,
    micro_batch_size: int | None,
    layout: Layout | None,
    recompute: Recompute | None,
    precision: str,
    flash_attention: bool,
) -> Predicted:
    """The layout given, or the fastest that fits; see the head of this file.

    Raises:
        ConfigError: a layout that does not fill the chips.
        InputError: a size that is not positive or absurd.
    """
    require_chips(n_chips)
    require_context(context_length)
    if global_batch_tokens is None:
        batch: float = suggested_batch(config, tokens, n_chips, context_length)
    else:
        batch = require_positive(global_batch_tokens, "global_batch_tokens") / context_length
        if batch < 1:
            raise InputError(
                f"{global_batch_tokens:,.0f} tokens a step are no sequence of {context_length:,}",
                where="global_batch_tokens",
            )
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    if layout is None:
        if batch != int(batch):  # as 2M tokens: published ones are rounded
            batch = _divisible(batch, n_chips)
        simple = Layout(
            dp=n_chips,
            zero=3 if n_chips > 1 else 0,
            micro_batch_size=micro_batch_size or 1,
            recompute=recompute or "full",
        )
        fixed = {"micro_batch_size": micro_batch_size, "recompute": recompute}
        try:
            if chip.memory_bytes is None or chip.memory_bandwidth is None:
                raise ConfigError(f"whether this fits is not known: {chip.id} says no memory")
            found = search(
                config,
                chip,
                n_chips,
                global_batch_size=int(batch),
                context_length=context_length,
                precision=precision,
                flash_attention=flash_attention,
                top=1,
                fixed={name: value for name, value in fixed.items() if value is not None},
            )
            layout = found.ranked[0].layout
        except (BudgetError, ConfigError) as error:
            layout, warnings = simple, (f"{error.message}; the days are of no real run",)
        notes = (
            f"predicted for {batch:,.0f} sequences a step",
            f"predicted for {describe(layout)}; `groundup plan layout` has the others",
        )
    if layout.n_chips != n_chips:
        raise ConfigError(f"the layout fills {layout.n_chips} chips, not {n_chips}", where="layout")
    efficiency = predict_efficiency(
        config,
        chip,
        layout,
        context_length=context_length,
        global_batch_size=batch,
        precision=precision,
        flash_attention=flash_attention,
    )
    return Predicted(layout, efficiency, notes, warnings)


def suggested_batch(config: ModelConfig, tokens: float, n_chips: int, context_length: int) -> int:
    """Sequences of a step by the default law of `hyperparameters`, where no batch is given.

    Raises:
        InputError: numbers of tokens or parameters that are absurd.
    """
    laws = hyperparameters(active_parameters(config), tokens)
    batch = next(
        (law.batch_tokens for law in laws if law.default and law.batch_tokens), LLAMA_BATCH
    )
    return _divisible(batch / context_length, n_chips)


def _divisible(batch: float, n_chips: int) -> int:
    """Whole sequences near ``batch`` that many layouts of the chips divide."""
    unit = max(n for n in range(1, max(2, int(batch / PARTS) + 1)) if n_chips % n == 0)
    share = unit * PARTS if batch >= PARTS else 1
    return max(1, round(batch / share)) * share

"""A job to predict the time of, where batch and layout may be open.

The layout is the first that the search for all of them ranks. Three things are decided on the way,
each with a note. A batch of which whole sequences do not divide over the chips is moved to the
nearest that does. Where fewer chips are faster than all (513 are 27 · 19: hardly anything divides),
the fewer are used. And where stages of unequal size would be much faster, a note says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import active_parameters
from groundup.errors import BudgetError, ConfigError, InputError
from groundup.plan.efficiency import Efficiency, best_published, predict_efficiency
from groundup.plan.hardware import Chip
from groundup.plan.hyperparameters import hyperparameters
from groundup.plan.layout import LayoutSearch, odd_part, search
from groundup.plan.layout_space import n_layers_of
from groundup.plan.layout_words import describe
from groundup.plan.limits import require_chips, require_context, require_positive
from groundup.plan.parallelism import Layout, Recompute

LLAMA_BATCH = 4_194_304  # tokens, where the law has none
PARTS = 16  # a batch that is rounded is at least so many times a number that divides the chips
ROUND = 4  # the same of a batch that is ours to choose: within an eighth, as exact as its law
MUCH_FASTER = 1.3  # what unequal stages must be to be worth a word
NOISE = 1.05  # by which a prediction may pass the best published MFU
FASTER = 1.03  # what fewer chips must be to be taken
HUGE_BATCH_TOKENS = 64e6  # Llama 3.1 405B ended at 16M


@dataclass(frozen=True)
class Chosen:
    """The layouts of a job, for the batch and chips that were settled on."""

    layouts: LayoutSearch
    global_batch_size: int  # sequences
    n_chips: int  # used, of those there are
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def tokens_per_second(self) -> float:
        """By the first layout."""
        return self.layouts.ranked[0].tokens_per_second


@dataclass(frozen=True)
class Predicted:
    """The layout that was taken, and its efficiency."""

    layout: Layout
    efficiency: Efficiency
    global_batch_size: float  # sequences
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
        ConfigError: a layout that does not fill the chips, or sizes that no layout has.
        InputError: a size that is not positive or absurd, a chip whose memory is not known.
        BudgetError: nothing fits.
    """
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    if layout is None:
        given = {"micro_batch_size": micro_batch_size, "recompute": recompute}
        try:
            chosen = choose(
                config,
                tokens,
                chip,
                n_chips,
                context_length=context_length,
                global_batch_tokens=global_batch_tokens,
                precision=precision,
                flash_attention=flash_attention,
                top=1,
                fixed={name: value for name, value in given.items() if value is not None},
            )
        except (BudgetError, ConfigError, InputError) as error:
            fix = f"{error.fix}; or" if error.fix else "or"
            raise type(error)(
                error.message, where=error.where, fix=f"{fix} give the efficiency: --mfu"
            ) from error
        layout, batch = chosen.layouts.ranked[0].layout, float(chosen.global_batch_size)
        notes, warnings = chosen.notes, chosen.warnings
        notes = (
            *notes,
            f"predicted for {batch:,.0f} sequences a step",
            f"predicted for {describe(layout)}; `groundup plan layout` has the others",
        )
    else:
        if layout.n_chips > n_chips:
            raise ConfigError(
                f"the layout fills {layout.n_chips} chips, and there are {n_chips}", where="layout"
            )
        tokens_a_step = global_batch_tokens or context_length * suggested_batch(
            config, tokens, layout.n_chips, context_length
        )
        batch = _sequences(tokens_a_step, context_length)
        uneven = n_layers_of(config) % (layout.pp * layout.virtual_stages) > 0
        notes = (f"the time is that of {describe(layout)}",)
        notes += (f"{n_layers_of(config)} layers over {layout.pp} unequal stages",) * uneven
    efficiency = predict_efficiency(
        config,
        chip,
        layout,
        context_length=context_length,
        global_batch_size=batch,
        precision=precision,
        flash_attention=flash_attention,
    )
    return Predicted(layout, efficiency, batch, notes, warnings)


def choose(
    config: ModelConfig,
    tokens: float,
    chip: Chip,
    n_chips: int,
    *,
    context_length: int,
    global_batch_tokens: float | None = None,
    optimizer: str = "adamw",
    precision: str | None = None,
    flash_attention: bool = True,
    top: int = 10,
    fixed: Mapping[str, int | str] | None = None,
    use_all: bool = False,
) -> Chosen:
    """The fastest layouts of a job on at most ``n_chips``, and the batch they are for.

    Args:
        config: the model.
        tokens: of the run, by which a batch that is not given is suggested.
        chip: with memory, memory bandwidth and links.
        n_chips: those there are.
        context_length: tokens per sequence.
        global_batch_tokens: of a step; None: by the default law of `hyperparameters`.
        optimizer: see `memory`.
        precision: of the products; None: what the chip trains in.
        flash_attention: whether the scores stay out of memory.
        top: how many layouts to rank.
        fixed: fields of a layout that are given.
        use_all: no fewer chips: if they are faster, that is only said.

    Raises:
        As `layout.search`; and an InputError for a batch below one sequence.
    """
    require_chips(n_chips)
    require_context(context_length)
    if global_batch_tokens is not None:
        wanted = _sequences(global_batch_tokens, context_length)
    else:
        wanted = _law_batch(config, tokens) / context_length

    def on(chips: int, batch: int, uneven: bool | None = None) -> Chosen:
        found = search(
            config,
            chip,
            chips,
            global_batch_size=batch,
            context_length=context_length,
            optimizer=optimizer,
            precision=precision,
            flash_attention=flash_attention,
            top=top,
            fixed=fixed,
            uneven=uneven,
        )
        return Chosen(found, batch, chips, (), ())

    def try_on(chips: int) -> Chosen:
        if global_batch_tokens is None or wanted != int(wanted):
            parts = ROUND if global_batch_tokens is None else 1
            return on(chips, nearest_batch(wanted, chips, parts))
        try:
            return on(chips, int(wanted))
        except (BudgetError, ConfigError):
            near = nearest_batch(wanted, chips)
            if near == wanted or wanted % odd_part(chips) == 0:
                raise
            return on(chips, near)

    best, refusal = None, None
    try:
        best = try_on(n_chips)
    except (BudgetError, ConfigError) as error:
        refusal = error
    everything = best
    if not _names_the_chips(fixed or {}):
        for fewer in _fewer(n_chips, odd_part(n_layers_of(config))):
            ceiling = NOISE * best_published(chip)[0] * fewer
            if best is not None and ceiling <= best.layouts.ranked[0].mfu * best.n_chips:
                break
            try:
                found = try_on(fewer)
            except (BudgetError, ConfigError):
                continue
            if best is None or found.tokens_per_second > FASTER * best.tokens_per_second:
                best = found
    if best is None or (use_all and everything is None):
        assert refusal is not None
        if best is None:
            raise refusal
        raise type(refusal)(
            refusal.message, where=refusal.where, fix=f"use {best.n_chips:,} of the chips"
        )
    smaller = best
    if use_all and everything is not None:
        best = everything
    notes, warnings = _batch_words(best, wanted, global_batch_tokens, context_length)
    if smaller.n_chips < n_chips:
        warnings = [*warnings, _fewer_words(smaller, everything, n_chips, chip, use_all)]
    if not fixed:
        notes += _uneven_words(config, best, on)
    return Chosen(best.layouts, best.global_batch_size, best.n_chips, tuple(notes), tuple(warnings))


def suggested_batch(config: ModelConfig, tokens: float, n_chips: int, context_length: int) -> int:
    """Sequences of a step by the default law of `hyperparameters`, rounded for the chips.

    Raises:
        InputError: numbers of tokens or parameters that are absurd.
    """
    return nearest_batch(_law_batch(config, tokens) / context_length, n_chips, ROUND)


def nearest_batch(batch: float, n_chips: int, parts: int = 1) -> int:
    """The whole number of sequences nearest to ``batch`` that layouts of the chips divide.

    It is a multiple of the odd part of the chips, which seldom divides layers or heads and so falls
    to the replicas; and of as many of their factors of two as keep it within 3 % or so.
    A batch that is ours to choose is ``parts`` times a multiple: a round number of micro-batches.
    """
    odd = odd_part(n_chips)
    if odd > 1.5 * batch:  # no replica for each: pipelines or tensor ranks must divide it
        odd = 1
    most = max(batch / PARTS, odd)
    unit = max(d for d in range(odd, int(most) + 1, odd) if n_chips % d == 0)
    if unit * parts <= batch / parts:
        unit *= parts
    return max(1, round(batch / unit)) * unit


def _law_batch(config: ModelConfig, tokens: float) -> float:
    laws = hyperparameters(active_parameters(config), tokens)
    return next((law.batch_tokens for law in laws if law.default and law.batch_tokens), LLAMA_BATCH)


def _sequences(tokens: float, context_length: int) -> float:
    batch = require_positive(tokens, "global_batch_tokens") / context_length
    if batch < 1:
        raise InputError(
            f"{tokens:,.0f} tokens a step are no sequence of {context_length:,}",
            where="global_batch_tokens",
            fix="the batch is in tokens; --global-batch-sequences takes sequences",
        )
    return batch


def _names_the_chips(fixed: Mapping[str, int | str]) -> bool:
    """Whether the layout that is given says how many chips there are."""
    return any(name in fixed for name in ("dp", "tp", "pp", "cp"))


def _fewer(n_chips: int, layers: int) -> list[int]:
    """Rounder numbers of chips, most first: many factors of two, or of the layers' odd part.

    Without its last ones in binary, one by one; and the largest multiples of d · 2^j, at least a
    16th of all, for the divisors d of ``layers``, which a pipeline's stages can be.
    """
    found = set()
    rest = n_chips & (n_chips - 1)
    while rest:
        found.add(rest)
        rest &= rest - 1
    for d in (d for d in range(3, layers + 1, 2) if layers % d == 0):
        unit = d
        while unit * PARTS < n_chips:
            unit *= 2
        found.add(n_chips // unit * unit)
    return sorted(found - {0, n_chips}, reverse=True)


def _batch_words(
    best: Chosen, wanted: float, given: float | None, context_length: int
) -> tuple[list[str], list[str]]:
    batch, notes, warnings = best.global_batch_size, [], []
    if given is not None and batch != wanted:
        why = "are no whole number of sequences" if wanted != int(wanted) else "do not divide"
        notes.append(
            f"the batch of {wanted:,.6g} sequences is taken as {batch:,}: {wanted:,.6g} {why}"
            + f" over {best.n_chips:,} chips" * (wanted == int(wanted))
        )
    if batch * context_length > HUGE_BATCH_TOKENS:
        warnings.append(
            f"a step of {batch * context_length:,} tokens is more than any published run had "
            "(16M at the end of Llama 3.1 405B); the batch is in tokens"
        )
    return notes, warnings


def _fewer_words(
    best: Chosen, everything: Chosen | None, n_chips: int, chip: Chip, use_all: bool
) -> str:
    words = f"use {best.n_chips:,} of the {n_chips:,} x {chip.id}: "
    if everything is None:
        return words + f"no layout of {n_chips:,} fits or divides; the others stand idle"
    share = best.tokens_per_second / everything.tokens_per_second
    words += f"they are {share:.2f} times as fast as all of them, which divide badly"
    return words + ("" if use_all else "; the others stand idle, but are paid")


def _uneven_words(config: ModelConfig, best: Chosen, on: object) -> list[str]:
    """A word on unequal stages, where they are much faster than the equal ones."""
    try:
        other: Chosen = on(best.n_chips, best.global_batch_size, True)  # type: ignore[operator]
    except (BudgetError, ConfigError):
        return []
    first, second = best.layouts.ranked[0], other.layouts.ranked[0]
    faster = second.mfu / first.mfu
    if faster < MUCH_FASTER:
        return []
    return [
        f"{n_layers_of(config)} layers do not divide over many stages: {describe(second)}, with "
        f"unequal ones, would be {faster:.2f} times as fast ({second.step_seconds:.3g} s a step); "
        f"see it with --pp {second.pp} of `groundup plan layout`"
    ]

"""How long a training run takes: FLOPs, what share of the peak is used, and what is lost.

Three numbers are kept apart. MFU: the model's FLOPs over the peak; needs a convention for
attention. HFU: what the hardware computes, recomputation included, over the peak. Goodput: the
share of the wall-clock in which the run makes progress at that rate. Published whole runs: PaLM
.665, OPT and BLOOM .74 to .98 (by how their rate is read), and .44 of OPT's calendar days; the
default .75 with the range .45 to .9 spans them.

    6n      6·N FLOPs a token, attention's scores left out (Kaplan et al. 2020)
    palm    6·N + 12·l·w·s, all keys counted (PaLM, arXiv:2204.02311, app. B); the default
    causal  6·N + 6·l·w·s, the half that causal kernels compute (LLaMA's, FlashAttention's)

The FLOPs are those of `architecture.counts`, which says what encoders add.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import flops_6n, palm_flops_per_token, parameters
from groundup.errors import InputError
from groundup.plan.efficiency_terms import recomputed_flops
from groundup.plan.failures import Failures, expected_failures
from groundup.plan.hardware import Chip, peak_warnings
from groundup.plan.limits import (
    require_chips,
    require_context,
    require_count,
    require_parameters,
    require_positive,
    require_tokens,
)
from groundup.plan.megatron import days_by_8tp, megatron_flops, mfu_from_throughput
from groundup.plan.parallelism import Layout, Recompute

__all__ = [
    "TrainingTime", "days_by_8tp", "hardware_flops_per_token", "megatron_flops",
    "mfu_from_throughput", "model_flops_per_token", "training_time",
]  # fmt: skip

MfuConvention = Literal["6n", "palm", "causal"]
CONVENTIONS = ("6n", "palm", "causal")
GOODPUT = 0.75
GOODPUT_RANGE = (0.45, 0.90)
CONTEXT_LENGTH = 4096  # of a model that is a number of parameters
LEAST_SHARE = 1e-3  # of the peak: a rate below it is a slip of the unit


@dataclass(frozen=True)
class TrainingTime:
    """A run's length. All but the ``wall_`` fields are of computing; those have the lost time."""

    n_chips: int
    n_chips_used: int  # fewer, where all of them would be slower; all are counted in chip-hours
    days: float
    days_range: tuple[float, float]  # by the band of the efficiency; both equal where it was given
    chip_hours: float  # days · 24 · chips
    wall_days: float  # days / goodput
    wall_days_range: tuple[float, float]  # goodput and efficiency at their best and worst
    wall_chip_hours: float  # what is paid
    tokens_per_second: float  # of all chips
    global_batch_tokens: float | None  # of a step, as predicted where it was predicted
    step_seconds: float | None  # of one global batch, where its size is known
    mfu: float  # of the chips used
    hfu: float
    goodput: float
    convention: MfuConvention
    model_flops: float  # of the run
    hardware_flops: float
    flops_per_second_per_chip: float  # hardware's
    efficiency_source: str
    failures: Failures
    layout: Layout | None = None  # that the prediction is for
    parts: dict[str, float] = field(default_factory=dict)  # share of a step by cause
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rate:
    """Tokens per second, and how it is known."""

    tokens_per_second: float
    source: str
    n_chips_used: int
    recompute: Recompute
    global_batch_tokens: float | None
    low: float = 1.0  # the band, over the central value
    high: float = 1.0
    layout: Layout | None = None
    parts: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def training_time(
    model: ModelConfig | float,
    tokens: float,
    chip: Chip,
    n_chips: int,
    *,
    mfu: float | None = None,
    hfu: float | None = None,
    tflops_per_chip: float | None = None,
    tokens_per_second: float | None = None,
    step_seconds: float | None = None,
    recompute: Recompute | None = None,
    context_length: int | None = None,
    global_batch_tokens: float | None = None,
    micro_batch_size: int | None = None,
    layout: Layout | None = None,
    goodput: float = GOODPUT,
    precision: str | None = None,
    convention: MfuConvention | None = None,
    flash_attention: bool = True,
) -> TrainingTime:
    """Days, chip-hours and efficiency of training ``model`` on ``tokens`` tokens.

    At most one of ``mfu``, ``hfu``, ``tflops_per_chip``, ``tokens_per_second`` and ``step_seconds``
    is given; without any the efficiency is predicted (`efficiency`).

    Args:
        model: its config, or its number of parameters (then 6·N FLOPs a token).
        tokens: of the whole run.
        chip: see `hardware.find_chip`.
        n_chips: how many.
        mfu: share of the peak (0.46) that the model's FLOPs use, in ``convention``.
        hfu: the same for what the hardware computes.
        tflops_per_chip: TFLOP/s that a chip does, recomputation included, as Megatron counts
            (140 or, in FLOP/s, 140e12).
        tokens_per_second: measured, of all chips.
        step_seconds: measured, of one global batch.
        recompute: none, selective or full; None: none, or what the prediction chooses.
        context_length: tokens a sequence; None: the model's own.
        global_batch_tokens: of one step; None: for the prediction, what `hyperparameters` suggests.
        micro_batch_size: sequences a replica has in one pass, for the prediction.
        layout: how the job is spread, for the prediction; None: one is chosen.
        goodput: share of the wall-clock that makes progress.
        precision: of the products; None: what the chip trains in.
        convention: 6n, palm or causal; None: palm for a config, 6n for a number of parameters.
        flash_attention: for the prediction.

    Raises:
        InputError: numbers that are not positive, absurd or above 100 %; two efficiencies at once;
            a choice that would have no effect.
        BudgetError: nothing fits the chips, so nothing can be predicted.
    """
    require_tokens(tokens)
    require_chips(n_chips)
    if context_length is not None:
        require_context(context_length)
    _require_share(goodput, "goodput")
    given = {
        "mfu": mfu,
        "hfu": hfu,
        "tflops_per_chip": tflops_per_chip,
        "tokens_per_second": tokens_per_second,
        "step_seconds": step_seconds,
    }
    said = {name: value for name, value in given.items() if value is not None}
    if len(said) > 1:
        raise InputError(f"{' and '.join(said)} say the same thing", where=list(said)[1],
                         fix="give one")  # fmt: skip
    if said and micro_batch_size is not None:
        raise InputError(
            f"a micro-batch changes nothing where {next(iter(said))} is given",
            where="micro_batch_size",
            fix="leave one of them out",
        )
    precision = precision or chip.training_precision
    convention = convention or ("palm" if isinstance(model, ModelConfig) else "6n")
    config = model if isinstance(model, ModelConfig) else None
    if config is None and convention in ("palm", "causal"):
        raise InputError(
            f"a number of parameters has no attention to count by {convention!r}",
            where="convention",
            fix="name a model, or use 6n",
        )
    length = context_length or (config.context_length if config else CONTEXT_LENGTH)
    if (
        global_batch_tokens is not None
        and require_positive(global_batch_tokens, "global_batch_tokens") < length
    ):
        raise InputError(
            f"{global_batch_tokens:,.0f} tokens a step are no sequence of {length:,}",
            where="global_batch_tokens",
            fix="the batch is in tokens; --global-batch-sequences takes sequences",
        )
    per_token = model_flops_per_token(model, length, convention)
    if said:
        ((name, value),) = said.items()
        recompute = recompute or (layout.recompute if layout else "none")
        again = hardware_flops_per_token(model, length, convention, recompute) / per_token
        rate = _Rate(
            _tokens_per_second(
                name, value, chip.peak(precision), per_token, again, n_chips, global_batch_tokens
            ),
            f"given: {name}",
            n_chips,
            recompute,
            global_batch_tokens,
        )
    else:
        rate = _predicted(
            config, model, tokens, chip, n_chips, length, global_batch_tokens, micro_batch_size,
            layout, recompute, precision, flash_attention,
        )  # fmt: skip
    hardware = hardware_flops_per_token(model, length, convention, rate.recompute)
    peak = chip.peak(precision)
    reached = mfu_from_throughput(per_token, rate.tokens_per_second, peak, rate.n_chips_used)
    computed = reached * hardware / per_token
    warnings = [
        *peak_warnings(chip),
        *_efficiency_warnings(reached, computed, chip, precision),
        *rate.warnings,
    ]
    if goodput > GOODPUT_RANGE[1]:
        warnings.append(f"a goodput of {goodput:.0%} is above what long published runs had (90 %)")

    days = tokens / rate.tokens_per_second / 86400
    wall_days = days / goodput
    total = parameters(config).total if config else float(model)  # type: ignore[arg-type]
    worst, best = min(goodput, GOODPUT_RANGE[0]), max(goodput, GOODPUT_RANGE[1])
    batch = rate.global_batch_tokens
    return TrainingTime(
        n_chips=n_chips,
        n_chips_used=rate.n_chips_used,
        days=days,
        days_range=(days / rate.high, days / rate.low),
        chip_hours=days * 24 * n_chips,
        wall_days=wall_days,
        wall_days_range=(days / rate.high / best, days / rate.low / worst),
        wall_chip_hours=wall_days * 24 * n_chips,
        tokens_per_second=rate.tokens_per_second,
        global_batch_tokens=batch,
        step_seconds=batch / rate.tokens_per_second if batch else None,
        mfu=reached,
        hfu=computed,
        goodput=goodput,
        convention=convention,
        model_flops=per_token * tokens,
        hardware_flops=hardware * tokens,
        flops_per_second_per_chip=computed * peak,
        efficiency_source=rate.source,
        failures=expected_failures(total, rate.n_chips_used, wall_days * 86400),
        layout=rate.layout,
        parts=rate.parts,
        notes=tuple(dict.fromkeys(rate.notes)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def model_flops_per_token(
    model: ModelConfig | float,
    context_length: int | None = None,
    convention: MfuConvention = "palm",
) -> float:
    """Forward and backward FLOPs of one token; of a number of parameters 6·N, whatever is asked.

    Raises:
        InputError: a number of parameters that is absurd, or an unknown convention.
    """
    if convention not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise InputError(f"no convention {convention!r}", where="convention", fix=f"use {known}")
    if not isinstance(model, ModelConfig):
        return 6 * require_parameters(float(model))
    if convention == "6n":
        return flops_6n(model)
    length = require_count(context_length or model.context_length, "context_length")
    return palm_flops_per_token(model, length, causal=convention == "causal")


def hardware_flops_per_token(
    model: ModelConfig | float,
    context_length: int | None = None,
    convention: MfuConvention = "palm",
    recompute: Recompute = "none",
) -> float:
    """As `model_flops_per_token`, with what is computed again in the backward pass."""
    flops = model_flops_per_token(model, context_length, convention)
    attention = flops - model_flops_per_token(model, context_length, "6n")
    return float(recomputed_flops(flops, attention, recompute))


def _predicted(
    config: ModelConfig | None,
    model: ModelConfig | float,
    tokens: float,
    chip: Chip,
    n_chips: int,
    context_length: int,
    global_batch_tokens: float | None,
    micro_batch_size: int | None,
    layout: Layout | None,
    recompute: Recompute | None,
    precision: str,
    flash_attention: bool,
) -> _Rate:
    """By the published runs; of a number of parameters for a shape of that size."""
    from groundup.plan.predicted import predicted_job
    from groundup.plan.shape import shape_for

    notes: tuple[str, ...] = ()
    if config is None:
        config = shape_for(float(model), context_length=context_length)  # type: ignore[arg-type]
        notes = (
            f"no shape given: efficiency predicted for {config.n_layers} layers of "
            f"{config.d_model}",
        )
    found = predicted_job(
        config,
        tokens,
        chip,
        n_chips,
        context_length=context_length,
        global_batch_tokens=global_batch_tokens,
        micro_batch_size=micro_batch_size,
        layout=layout,
        recompute=recompute,
        precision=precision,
        flash_attention=flash_attention,
    )
    efficiency, n_used = found.efficiency, found.layout.n_chips
    palm = palm_flops_per_token(config, context_length)
    return _Rate(
        efficiency.mfu * chip.peak(precision) * n_used / palm,
        efficiency.source,
        n_used,
        found.layout.recompute,
        found.global_batch_size * context_length,
        efficiency.low / efficiency.mfu,
        efficiency.high / efficiency.mfu,
        found.layout,
        efficiency.parts,
        (*notes, *found.notes, *efficiency.notes),
        found.warnings,
    )


def _tokens_per_second(
    name: str,
    value: float,
    peak: float,
    per_token: float,
    again: float,
    n_chips: int,
    global_batch_tokens: float | None,
) -> float:
    """Of all chips, from the one efficiency or rate that is given."""
    if name == "tokens_per_second":
        return require_positive(value, name)
    if name == "step_seconds":
        if global_batch_tokens is None:
            raise InputError(
                "the seconds of a step say nothing without its batch",
                where=name,
                fix="give --global-batch, in tokens",
            )
        return global_batch_tokens / require_positive(value, name)
    if name == "tflops_per_chip":
        require_positive(value, name)
        rate = value * (1e12 if value < 1e9 else 1)  # above 1e9 it is in FLOP/s
        if rate < LEAST_SHARE * peak:
            raise InputError(
                f"{value:g} is read as {rate / 1e12:.3g} TFLOP/s a chip, {rate / peak:.2g} of the "
                "peak",
                where=name,
                fix="write it in TFLOP/s (140) or in FLOP/s (140e12)",
            )
        return rate * n_chips / per_token / again
    share = _require_share(value, name) * peak * n_chips / per_token
    return share / again if name == "hfu" else share


def _require_share(value: float, name: str) -> float:
    require_positive(value, name)
    if value > 1:
        raise InputError(
            f"{name} is {value:g}, but cannot be above 1 (100 %)",
            where=name,
            fix="write 0.46 or 46%",
        )
    return value


def _efficiency_warnings(mfu: float, hfu: float, chip: Chip, precision: str) -> list[str]:
    if hfu > 1:
        raise InputError(
            f"an MFU of {mfu:.1%} is, with recomputation, {hfu:.0%} of the peak of {chip.id} "
            f"({chip.peak(precision) / 1e12:.4g} TFLOP/s in {precision}): no chip does that",
            where="mfu",
            fix=f"matmuls reach {chip.attainable_share:.0%} of it at most",
        )
    if hfu <= chip.attainable_share:
        return []
    how = "measured" if chip.measured_matmul_flops else "assumed, not measured"
    return [
        f"{hfu:.1%} of the peak is above what matmuls alone reach on {chip.id}, "
        f"{chip.attainable_share:.1%} ({how})"
    ]

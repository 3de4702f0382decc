"""How long a training run takes: FLOPs, what share of the peak is used, and what is lost.

Three numbers are kept apart. MFU: the model's FLOPs over the peak; needs a convention for
attention. HFU: what the hardware computes, recomputation included, over the peak. Goodput: the
share of the wall-clock in which the run makes progress at that rate. Published whole runs: PaLM
.665, OPT and BLOOM .74 to .98 (by how their rate is read), and .44 of OPT's calendar days; the
default .75 with the range .45 to .9 spans them.

    6n      6·N FLOPs a token, attention's scores left out (Kaplan et al. 2020)
    palm    6·N + 12·l·w·s, all keys counted (PaLM, arXiv:2204.02311, app. B); the default
    causal  6·N + 6·l·w·s, the half that causal kernels compute (LLaMA's, FlashAttention's)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import active_parameters, parameters
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
from groundup.plan.parallelism import Layout, Recompute

Convention = Literal["6n", "palm", "causal"]
CONVENTIONS = ("6n", "palm", "causal")
GOODPUT = 0.75
GOODPUT_RANGE = (0.45, 0.90)


@dataclass(frozen=True)
class TrainingTime:
    """A run's length. ``days`` are days of computing; ``wall_days`` have the lost time in them."""

    days: float
    days_range: tuple[float, float]  # by the band of the efficiency; both equal where it was given
    wall_days: float  # days / goodput
    wall_days_range: tuple[float, float]  # goodput and efficiency at their best and worst
    chip_hours: float  # wall hours · chips: what is paid
    ideal_chip_hours: float  # computing hours · chips
    tokens_per_second: float  # of all chips
    step_seconds: float | None  # of one global batch, where its size is known
    mfu: float
    hfu: float
    goodput: float
    convention: Convention
    model_flops: float  # of the run
    hardware_flops: float
    flops_per_second_per_chip: float  # hardware's
    efficiency_source: str
    failures: Failures
    layout: Layout | None = None  # that the prediction is for
    parts: dict[str, float] = field(default_factory=dict)  # share of a step by cause
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
    recompute: Recompute | None = None,
    context_length: int | None = None,
    global_batch_tokens: float | None = None,
    micro_batch_size: int | None = None,
    layout: Layout | None = None,
    goodput: float = GOODPUT,
    precision: str | None = None,
    convention: Convention | None = None,
    flash_attention: bool = True,
) -> TrainingTime:
    """Days, chip-hours and efficiency of training ``model`` on ``tokens`` tokens.

    At most one of ``mfu``, ``hfu`` and ``tflops_per_chip`` is given; without any the efficiency is
    predicted (`efficiency`).

    Args:
        model: its config, or its number of parameters (then 6·N FLOPs a token).
        tokens: of the whole run.
        chip: see `hardware.find_chip`.
        n_chips: how many.
        mfu: share of the peak (0.46) that the model's FLOPs use, in ``convention``.
        hfu: the same for what the hardware computes.
        tflops_per_chip: TFLOP/s that a chip does, recomputation included, as Megatron counts
            (140 or, in FLOP/s, 140e12).
        recompute: none, selective or full; None: none, or what the prediction chooses.
        context_length: tokens a sequence; None: the model's own.
        global_batch_tokens: of one step; None: for the prediction, what `hyperparameters` suggests.
        micro_batch_size: sequences a replica has in one pass.
        layout: how the job is spread, for the prediction; None: one is chosen.
        goodput: share of the wall-clock that makes progress.
        precision: of the products; None: what the chip trains in.
        convention: 6n, palm or causal; None: palm for a config, 6n for a number of parameters.
        flash_attention: for the prediction.

    Raises:
        InputError: numbers that are not positive, absurd or above 100 %; two efficiencies at once.
    """
    require_tokens(tokens)
    require_chips(n_chips)
    if context_length is not None:
        require_context(context_length)
    _require_share(goodput, "goodput")
    given = {"mfu": mfu, "hfu": hfu, "tflops_per_chip": tflops_per_chip}
    said = [name for name, value in given.items() if value is not None]
    if len(said) > 1:
        raise InputError(f"{' and '.join(said)} say the same thing", where=said[1], fix="give one")
    precision = precision or chip.training_precision
    peak = chip.peak(precision)
    warnings, notes, low, high = list(peak_warnings(chip)), [], 1.0, 1.0
    parts: dict[str, float] = {}
    convention = convention or ("palm" if isinstance(model, ModelConfig) else "6n")
    config = model if isinstance(model, ModelConfig) else None
    if config:
        context_length = context_length or config.context_length
    if layout is not None:
        recompute = layout.recompute

    if not said:
        from groundup.plan.predicted import predicted_job
        from groundup.plan.shape import shape_for

        shape = config or shape_for(float(model), context_length=context_length or 4096)  # type: ignore[arg-type]
        if config is None:
            notes.append(
                f"no shape given: efficiency predicted for {shape.n_layers} layers of "
                f"{shape.d_model}"
            )
        context_length = context_length or shape.context_length
        found = predicted_job(
            shape,
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
        layout, recompute = found.layout, found.layout.recompute
        predicted = found.efficiency
        low, high = predicted.low / predicted.mfu, predicted.high / predicted.mfu
        notes += [*found.notes, *predicted.notes]
        warnings += found.warnings
        parts = predicted.parts
        palm = model_flops_per_token(shape, context_length, "palm")
        tokens_per_second = predicted.mfu * peak * n_chips / palm
        source = predicted.source
    per_token = model_flops_per_token(model, context_length, convention)
    hardware = hardware_flops_per_token(model, context_length, convention, recompute or "none")
    if said:
        rate = _given_rate(mfu, hfu, tflops_per_chip, peak, hardware / per_token)
        tokens_per_second = rate * n_chips / hardware
        source = f"given: {said[0]}"
    mfu = tokens_per_second * per_token / n_chips / peak
    hfu = mfu * hardware / per_token
    _check_efficiency(mfu, hfu, chip, precision, warnings)
    if goodput > GOODPUT_RANGE[1]:
        warnings.append(f"a goodput of {goodput:.0%} is above what long published runs had (90 %)")

    days = tokens / tokens_per_second / 86400
    wall_days = days / goodput
    total = parameters(config).total if config else float(model)  # type: ignore[arg-type]
    worst, best = min(goodput, GOODPUT_RANGE[0]), max(goodput, GOODPUT_RANGE[1])
    return TrainingTime(
        days=days,
        days_range=(days / high, days / low),
        wall_days=wall_days,
        wall_days_range=(days / high / best, days / low / worst),
        chip_hours=wall_days * 24 * n_chips,
        ideal_chip_hours=days * 24 * n_chips,
        tokens_per_second=tokens_per_second,
        step_seconds=global_batch_tokens / tokens_per_second if global_batch_tokens else None,
        mfu=mfu,
        hfu=hfu,
        goodput=goodput,
        convention=convention,
        model_flops=per_token * tokens,
        hardware_flops=hardware * tokens,
        flops_per_second_per_chip=hfu * peak,
        efficiency_source=source,
        failures=expected_failures(total, n_chips, wall_days * 86400),
        layout=layout if not said else None,
        parts=parts,
        notes=tuple(dict.fromkeys(notes)),
        warnings=tuple(warnings),
    )


def model_flops_per_token(
    model: ModelConfig | float, context_length: int | None = None, convention: Convention = "palm"
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
    share = {"6n": 0.0, "palm": 1.0, "causal": 0.5}[convention]
    return 6 * active_parameters(model) + share * _attention_flops(model, context_length)


def hardware_flops_per_token(
    model: ModelConfig | float,
    context_length: int | None = None,
    convention: Convention = "palm",
    recompute: Recompute = "none",
) -> float:
    """As `model_flops_per_token`, with what is computed again in the backward pass."""
    flops = model_flops_per_token(model, context_length, convention)
    attention = 0.0
    if isinstance(model, ModelConfig) and convention != "6n":
        share = 1.0 if convention == "palm" else 0.5
        attention = share * _attention_flops(model, context_length)
    return float(recomputed_flops(flops, attention, recompute))


def megatron_flops(
    n_layers: int,
    d_model: int,
    context_length: int,
    vocab_size: int,
    tokens: float,
    recompute: Recompute = "none",
) -> float:
    """FLOPs of ``tokens`` tokens as Megatron's papers count them.

    full 96·l·h²(1 + s/6h + V/16lh) a token (arXiv:2104.04473, eq. 3); none 72·l·h²(1 + s/6h +
    V/12lh) and selective 72·l·h²(1 + s/3h + V/12lh) (arXiv:2205.05198, eq. 8 and 9).
    """
    for name, size in (("n_layers", n_layers), ("d_model", d_model), ("vocab_size", vocab_size)):
        require_count(size, name)
    factor, scores, head = {"full": (96, 6, 16), "none": (72, 6, 12), "selective": (72, 3, 12)}[
        recompute
    ]
    rest = 1 + context_length / (scores * d_model) + vocab_size / (head * n_layers * d_model)
    return factor * tokens * n_layers * d_model**2 * rest


def mfu_from_throughput(
    flops_per_token: float, tokens_per_second: float, peak_flops: float, n_chips: int = 1
) -> float:
    """Share of the peak: FLOPs a token · tokens/s / (chips · peak). Hardware's FLOPs give the HFU.

    Raises:
        InputError: a number that is not positive.
    """
    require_positive(flops_per_token, "flops_per_token")
    require_positive(tokens_per_second, "tokens_per_second")
    require_positive(peak_flops, "peak_flops")
    return flops_per_token * tokens_per_second / require_count(n_chips, "n_chips") / peak_flops


def days_by_8tp(params: float, tokens: float, n_chips: int, flops_per_second: float) -> float:
    """8·T·P/(n·X): Narayanan et al.'s estimate with full recomputation (arXiv:2104.04473, eq. 4).

    Args:
        params: P.
        tokens: T.
        n_chips: n.
        flops_per_second: X, what one chip does.
    """
    require_positive(flops_per_second, "flops_per_second")
    flops = 8 * require_tokens(tokens) * require_parameters(params)
    return flops / require_count(n_chips, "n_chips") / flops_per_second / 86400


def _attention_flops(config: ModelConfig, context_length: int | None) -> float:
    width = config.attention.n_heads * config.attention.head_dim
    layers = config.n_layers + config.n_encoder_layers
    context = require_count(context_length or config.context_length, "context_length")
    return 12.0 * layers * width * context


def _given_rate(
    mfu: float | None, hfu: float | None, tflops: float | None, peak: float, again: float
) -> float:
    """Hardware FLOP/s of one chip from the one efficiency that is given."""
    if tflops is not None:
        require_positive(tflops, "tflops_per_chip")
        return tflops * (1e12 if tflops < 1e9 else 1)  # above 1e9 it is in FLOP/s
    if hfu is not None:
        return _require_share(hfu, "hfu") * peak
    assert mfu is not None
    return _require_share(mfu, "mfu") * peak * again


def _require_share(value: float, name: str) -> float:
    require_positive(value, name)
    if value > 1:
        raise InputError(
            f"{name} is {value:g}, but cannot be above 1 (100 %)",
            where=name,
            fix="write 0.46 or 46%",
        )
    return value


def _check_efficiency(
    mfu: float, hfu: float, chip: Chip, precision: str, warnings: list[str]
) -> None:
    if hfu > 1:
        raise InputError(
            f"an MFU of {mfu:.1%} with recomputation is {hfu:.0%} of the peak of {chip.id} "
            f"({chip.peak(precision) / 1e12:.4g} TFLOP/s in {precision}): no chip does that",
            where="mfu",
            fix=f"matmuls reach {chip.attainable_share:.0%} of it at most",
        )
    if hfu > chip.attainable_share:
        how = "measured" if chip.measured_matmul_flops else "assumed, not measured"
        warnings.append(
            f"{hfu:.1%} of the peak is above what matmuls alone reach on {chip.id}, "
            f"{chip.attainable_share:.1%} ({how})"
        )

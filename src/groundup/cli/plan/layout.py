"""``groundup plan layout`` and ``communication``: how to spread a job, and what it then sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import BYTES, COUNT, json_option
from groundup.cli.plan.job import batch_options, chips_option, seq_option

if TYPE_CHECKING:
    from groundup.plan.communication import Traffic
    from groundup.plan.layout import LayoutSearch

SIZE = click.IntRange(1, 10_000_000)  # of ranks or sequences, as of chips in groundup.plan.limits

# option → field of a layout, where they differ
FIELD_OF = {"vpp": "virtual_stages", "micro_batch": "micro_batch_size"}


def spread_options(default: int | None) -> Callable[..., Any]:
    """The sizes of a layout; without a default they are only fixed where given."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        shown: dict[str, Any] = {"default": default, "show_default": default is not None}
        for option in (
            click.option(
                "--recompute", type=click.Choice(["none", "selective", "full"]),
                default=None if default is None else "none", help="What is computed again.",
            ),
            click.option(
                "--micro-batch", "--micro-batch-size", type=SIZE, help="Sequences of one pass.",
                **shown,
            ),
            click.option(
                "--zero", type=click.IntRange(0, 3), default=None if default is None else 0,
                help="Stage of ZeRO.",
            ),
            click.option("--vpp", type=SIZE, help="Virtual stages of a pipeline stage.", **shown),
            click.option("--cp", type=SIZE, help="Context-parallel ranks.", **shown),
            click.option("--pp", type=SIZE, help="Pipeline stages.", **shown),
            click.option("--tp", type=SIZE, help="Tensor-parallel ranks.", **shown),
            click.option("--dp", type=SIZE, help="Data-parallel replicas.", **shown),
        ):  # fmt: skip
            function = option(function)
        return function

    return add


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The model, the chip and the length of a sequence."""
    for option in (
        click.option("--precision", help="Of the matmuls (default: bf16 where the chip has it)."),
        seq_option,
        click.option("--gpu", required=True, metavar="NAME", help="Which chip."),
        click.option("--model", required=True, metavar="PRESET|FILE", help="Which model."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command()
@job_options
@chips_option
@batch_options
@click.option(
    "--tokens", type=COUNT, help="Of the run, for a batch that is not given (default: 20 a "
    "parameter)."
)  # fmt: skip
@click.option(
    "--optimizer", default="adamw",
    help="adamw, adam-8bit, lion, momentum, sgd, muon or adafactor.",
)  # fmt: skip
@click.option("--flash/--no-flash", default=True, help="Without: attention scores are kept.")
@click.option("--top", type=click.IntRange(1, 1000), default=10, help="How many to list.")
@spread_options(None)
@json_option
def layout(
    model: str,
    gpu: str,
    context_length: float | None,
    precision: str | None,
    n_chips: float,
    global_batch: float | None,
    global_batch_sequences: float | None,
    tokens: float | None,
    optimizer: str,
    flash: bool,
    top: int,
    as_json: bool,
    **sizes: Any,
) -> None:
    """The fastest ways to spread a job over a cluster, and why not the others.

    Sizes that are given (--tp 8) are kept; all others are searched. All chips are used.
    """
    import dataclasses

    from groundup.architecture.counts import active_parameters
    from groundup.architecture.presets import find_model
    from groundup.cli.plan.job import batch_tokens, chip_notes
    from groundup.plan.hardware import match_chip
    from groundup.plan.layout_words import memory_command
    from groundup.plan.limits import require_chips, require_tokens
    from groundup.plan.predicted import choose
    from groundup.tables import print_json, print_tables

    config, match = find_model(model), match_chip(gpu)
    length, notes = _length(context_length, config.context_length)
    chips = require_chips(n_chips, "n")  # type: ignore[arg-type]  # a float that is whole
    of_chip, warnings = chip_notes(match)
    notes += [*of_chip, *(f"{match.chip.id}: {assumed}" for assumed in match.chip.assumed)]
    precision = precision or match.chip.training_precision
    text = 20 * active_parameters(config) if tokens is None else require_tokens(tokens)
    chosen = choose(
        config,
        text,
        match.chip,
        chips,
        context_length=length,
        global_batch_tokens=batch_tokens(global_batch, global_batch_sequences, length),
        optimizer=optimizer,
        precision=precision,
        flash_attention=flash,
        top=top,
        fixed={
            FIELD_OF.get(name, name): value for name, value in sizes.items() if value is not None
        },
        use_all=True,
    )
    found, global_batch_size = chosen.layouts, chosen.global_batch_size
    notes += chosen.notes
    warnings += chosen.warnings
    in_bytes = memory_command(
        model,
        found.ranked[0],
        context_length=length,
        precision=precision,
        optimizer=optimizer,
        flash_attention=flash,
    )
    if as_json:
        record = dataclasses.asdict(found)
        print_json(
            {
                "model": model,
                "chip": match.chip.id,
                "n_chips": chips,
                "global_batch_size": global_batch_size,
                "global_batch_tokens": global_batch_size * length,
                "context_length": length,
                "layouts": record.pop("ranked"),
                **record,
                "memory_command": in_bytes,
                "notes": notes,
                "warnings": warnings,
            }
        )
        return
    title = (
        f"layouts of {model} on {chips:,} x {match.chip.id}, {global_batch_size:,} sequences of "
        f"{length:,}"
    )
    print_tables(_layout_tables(found, title))
    _print_wrapped(found.explanation)
    print(f"Its bytes, kind by kind: {in_bytes}")
    _print_remarks(warnings, notes)


def _layout_tables(found: LayoutSearch, title: str) -> list[Any]:
    from groundup.tables import Table
    from groundup.units import format_count

    columns = [
        "", "dp", "tp", "pp", "vpp", "cp", "ZeRO", "micro-batch", "recompute", "step, s",
        "tokens/s", "MFU, %", "by model, %", "bubble, %", "exposed, %", "memory, %",
    ]  # fmt: skip
    rows = [
        (
            each.rank, each.dp, each.tp, each.pp, each.virtual_stages, each.cp, each.zero,
            each.micro_batch_size, each.recompute, each.step_seconds,
            format_count(each.tokens_per_second), round(100 * each.mfu, 1),
            round(100 * each.model_mfu, 1),
            round(100 * each.bubble_fraction, 1),
            round(100 * sum(each.exposed_communication_fraction.values()), 1),
            round(100 * each.memory_fraction, 1),
        )
        for each in found.ranked
    ]  # fmt: skip
    refused = [
        (reason, entry.count, entry.example)
        for reason, entry in sorted(found.rejected.items(), key=lambda item: -item[1].count)
    ]
    return [
        Table(title, columns, rows),
        Table("refused", ["reason", "layouts", "for example"], refused),
    ]


@click.command()
@job_options
@spread_options(1)
@click.option(
    "--sequence-parallel/--no-sequence-parallel", default=None,
    help="Norms and residual over the tensor ranks too (default: with --tp); the same bytes.",
)  # fmt: skip
@click.option(
    "--global-batch", type=COUNT, metavar="TOKENS",
    help="Tokens of a step (default: one micro-batch on each replica).",
)  # fmt: skip
@click.option(
    "--global-batch-sequences", type=COUNT, metavar="N", help="Or sequences of a step."
)  # fmt: skip
@click.option("--gradient-bytes", type=BYTES, help="Of each gradient when it is summed.")
@json_option
def communication(
    model: str,
    gpu: str,
    context_length: float | None,
    precision: str | None,
    global_batch: float | None,
    global_batch_sequences: float | None,
    gradient_bytes: float | None,
    sequence_parallel: bool | None,
    as_json: bool,
    **sizes: Any,
) -> None:
    """Bytes that one device sends in a step, by kind of parallelism and tier of links."""
    from groundup.architecture.presets import find_model
    from groundup.cli.plan.job import batch_tokens, chip_notes
    from groundup.errors import ConfigError
    from groundup.plan.communication import traffic
    from groundup.plan.hardware import match_chip
    from groundup.plan.layout_space import filled, n_layers_of
    from groundup.plan.memory import check_divides
    from groundup.plan.parallelism import Layout
    from groundup.plan.states import precision_of
    from groundup.tables import print_json, print_tables

    config, match = find_model(model), match_chip(gpu)
    length, notes = _length(context_length, config.context_length)
    of_chip, warnings = chip_notes(match)
    notes += of_chip
    notes += [f"{match.chip.id}: {text}" for text in match.chip.assumed if "matmul" not in text]
    fields = {FIELD_OF.get(name, name): value for name, value in sizes.items()}
    if sequence_parallel is None:
        sequence_parallel = fields["tp"] > 1
    spread = Layout(**fields, sequence_parallel=sequence_parallel)
    if reasons := check_divides(filled(config, spread.pp * spread.virtual_stages), spread):
        raise ConfigError(
            "the model cannot be spread this way", where="layout", problems=tuple(reasons)
        )
    if spread.pp > n_layers_of(config):
        raise ConfigError(
            f"{n_layers_of(config)} layers are fewer than {spread.pp} pipeline stages",
            where="layout",
        )
    if filled(config, spread.pp * spread.virtual_stages) != config:
        notes.append("the layers do not divide over the stages: traffic is that of the average one")
    if spread.tp > match.chip.node_size:
        notes.append(f"tp {spread.tp} is wider than a node of {match.chip.node_size} chips")
    precision = precision or match.chip.training_precision
    match.chip.peak(precision)  # names the precisions there are
    batch = batch_tokens(global_batch, global_batch_sequences, length)
    sequences = spread.dp * spread.micro_batch_size if batch is None else _whole(batch, length)
    found = traffic(
        config,
        spread,
        context_length=length,
        global_batch_size=sequences,
        chip=match.chip,
        bytes_per_element=precision_of(precision).element,
        gradient_bytes=gradient_bytes,
    )
    if as_json:
        print_json(
            {
                "model": model,
                "chip": match.chip.id,
                "n_chips": spread.n_chips,
                "context_length": length,
                "traffic": _flows(found),
                "total_bytes": float(found.total_bytes),
                "global_batch_size": sequences,
                "notes": notes,
                "warnings": warnings,
            }
        )
        return
    print_tables([_traffic_table(found, f"a device of {model} sends in a step")])
    _print_remarks(warnings, notes)


def _flows(found: Traffic) -> dict[str, dict[str, float]]:
    from groundup.plan.communication import KINDS

    return {
        kind: {
            name: float(getattr(getattr(found, kind), name))
            for name in ("link_bytes", "network_bytes", "total_bytes", "seconds")
        }
        for kind in KINDS
    }


def _traffic_table(found: Traffic, title: str) -> Any:
    from groundup.tables import Table
    from groundup.units import format_bytes

    rows = [
        (
            kind,
            format_bytes(flow["link_bytes"]),
            format_bytes(flow["network_bytes"]),
            flow["seconds"],
        )
        for kind, flow in _flows(found).items()
    ]
    return Table(title, ["kind", "inside the node", "between nodes", "seconds, unhidden"], rows)


def _length(asked: float | None, context_length: int) -> tuple[int, list[str]]:
    """Tokens of a sequence, and a note where they are more than the model was made for."""
    from groundup.plan.limits import require_context

    if asked is None:
        return context_length, []
    length = require_context(asked, "seq")  # type: ignore[arg-type]  # a float that is whole
    beyond = length > context_length
    return length, [
        f"{length:,} tokens are beyond the model's context of {context_length:,}"
    ] * beyond


def _whole(tokens: float, context_length: int) -> int:
    """Sequences of a step."""
    from groundup.errors import InputError

    if tokens % context_length:
        raise InputError(
            f"{tokens:,.0f} tokens are no whole number of sequences of {context_length:,}",
            where="global-batch",
            fix="the batch is in tokens; --global-batch-sequences takes sequences",
        )
    return int(tokens // context_length)


def _print_remarks(warnings: list[str], notes: list[str]) -> None:
    for kind, texts in (("warning", warnings), ("note", notes)):
        for text in texts:
            _print_wrapped(f"{kind}: {text}")


def _print_wrapped(text: str) -> None:
    import textwrap

    print(textwrap.fill(text, 100))

"""``groundup plan layout`` and ``communication``: how to spread a job, and what it then sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import BYTES, COUNT, json_option

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
        click.option(
            "--seq", "--context-length", "context_length", type=COUNT,
            help="Tokens of a sequence (default: the model's context).",
        ),
        click.option("--gpu", required=True, metavar="NAME", help="Which chip."),
        click.option("--model", required=True, metavar="PRESET|FILE", help="Which model."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command()
@job_options
@click.option("--n", "n_chips", type=SIZE, required=True, help="Chips; all are used.")
@click.option(
    "--global-batch", "global_batch_size", type=SIZE, required=True, help="Sequences of a step."
)
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
    n_chips: int,
    global_batch_size: int,
    optimizer: str,
    flash: bool,
    top: int,
    as_json: bool,
    **sizes: Any,
) -> None:
    """The fastest ways to spread a job over a cluster, and why not the others.

    Sizes that are given (--tp 8) are kept; all others are searched.
    """
    import dataclasses

    from groundup.architecture.presets import find_model
    from groundup.plan.hardware import match_chip
    from groundup.plan.layout import search
    from groundup.tables import print_json, print_tables

    config, match = find_model(model), match_chip(gpu)
    length, notes = _length(context_length, config.context_length)
    notes += [match.note] if match.note else []
    notes += [f"{match.chip.id}: {assumed}" for assumed in match.chip.assumed]
    found = search(
        config,
        match.chip,
        n_chips,
        global_batch_size=global_batch_size,
        context_length=length,
        optimizer=optimizer,
        precision=precision or match.chip.training_precision,
        flash_attention=flash,
        top=top,
        fixed={
            FIELD_OF.get(name, name): value for name, value in sizes.items() if value is not None
        },
    )
    if as_json:
        record = dataclasses.asdict(found)
        print_json(
            {
                "model": model,
                "chip": match.chip.id,
                "n_chips": n_chips,
                "global_batch_size": global_batch_size,
                "context_length": length,
                "layouts": record.pop("ranked"),
                **record,
                "notes": notes,
            }
        )
        return
    title = f"layouts of {model} on {n_chips:,} x {match.chip.id}, {global_batch_size:,} sequences"
    print_tables(_layout_tables(found, title))
    for text in (found.explanation, *(f"note: {note}" for note in notes)):
        _print_wrapped(text)


def _layout_tables(found: LayoutSearch, title: str) -> list[Any]:
    from groundup.tables import Table
    from groundup.units import format_count

    columns = [
        "", "dp", "tp", "pp", "vpp", "cp", "ZeRO", "micro-batch", "recompute", "step, s",
        "tokens/s", "MFU, %", "bubble, %", "exposed, %", "memory, %",
    ]  # fmt: skip
    rows = [
        (
            each.rank, each.dp, each.tp, each.pp, each.virtual_stages, each.cp, each.zero,
            each.micro_batch_size, each.recompute, each.step_seconds,
            format_count(each.tokens_per_second), round(100 * each.mfu, 1),
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
    "--global-batch", "global_batch_size", type=SIZE,
    help="Sequences of a step (default: one micro-batch on each replica).",
)  # fmt: skip
@click.option("--gradient-bytes", type=BYTES, help="Of each gradient when it is summed.")
@json_option
def communication(
    model: str,
    gpu: str,
    context_length: float | None,
    precision: str | None,
    global_batch_size: int | None,
    gradient_bytes: float | None,
    sequence_parallel: bool | None,
    as_json: bool,
    **sizes: Any,
) -> None:
    """Bytes that one device sends in a step, by kind of parallelism and tier of links."""
    from groundup.architecture.presets import find_model
    from groundup.errors import ConfigError
    from groundup.plan.communication import traffic
    from groundup.plan.hardware import match_chip
    from groundup.plan.memory import check_divides
    from groundup.plan.parallelism import Layout
    from groundup.plan.states import precision_of
    from groundup.tables import print_json, print_tables

    config, match = find_model(model), match_chip(gpu)
    length, notes = _length(context_length, config.context_length)
    notes += [match.note] if match.note else []
    notes += [f"{match.chip.id}: {text}" for text in match.chip.assumed if "matmul" not in text]
    fields = {FIELD_OF.get(name, name): value for name, value in sizes.items()}
    if sequence_parallel is None:
        sequence_parallel = fields["tp"] > 1
    spread = Layout(**fields, sequence_parallel=sequence_parallel)
    if reasons := check_divides(config, spread):
        raise ConfigError(
            "the model cannot be spread this way", where="layout", problems=tuple(reasons)
        )
    if spread.tp > match.chip.node_size:
        notes.append(f"tp {spread.tp} is wider than a node of {match.chip.node_size} chips")
    precision = precision or match.chip.training_precision
    match.chip.peak(precision)  # names the precisions there are
    found = traffic(
        config,
        spread,
        context_length=length,
        global_batch_size=global_batch_size or spread.dp * spread.micro_batch_size,
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
                "notes": notes,
            }
        )
        return
    print_tables([_traffic_table(found, f"a device of {model} sends in a step")])
    for note in notes:
        _print_wrapped(f"note: {note}")


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


def _print_wrapped(text: str) -> None:
    import textwrap

    print(textwrap.fill(text, 100))

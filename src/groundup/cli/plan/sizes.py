"""``groundup plan size`` and ``inference-optimal``: the size for your data, latency and use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import BYTES, COUNT, DURATION, FLOPS, MONEY, json_option

if TYPE_CHECKING:
    from groundup.plan.hardware import Chip
    from groundup.plan.lifetime import InferenceOptimal, Rates
    from groundup.plan.sizing import DataSize, LatencySize


@click.command()
@click.option("--unique-tokens", type=COUNT, help="Different tokens there are.")
@click.option("--epochs", type=float, help="How often they may be read (default 4).")
@click.option("--params", type=COUNT, help="A model that is wanted: does the text suffice?")
@click.option("--flops", type=FLOPS, help="Training budget.")
@click.option("--tokens-per-second", type=float, help="Least speed of one answer.")
@click.option("--time-per-token", type=DURATION, help="The same as a time, for example 20ms.")
@click.option("--time-to-first-token", type=DURATION, help="Most time to read the prompt.")
@click.option("--prompt-tokens", type=COUNT, help="Length of the prompt.")
@click.option("--gpu", metavar="CHIP", help="The chip that answers (groundup plan hardware).")
@click.option("--n", "n_chips", type=int, default=1, show_default=True, help="Chips per model.")
@click.option("--memory-bandwidth", type=BYTES, help="Bytes a second of one chip, as 2.0TB.")
@click.option("--flops-per-second", type=FLOPS, help="Attained by one chip, as 200T.")
@click.option(
    "--bytes-per-param", type=float, default=2.0, show_default=True, help="2 bf16, 1 int8, 0.5 int4"
)
@json_option
def size(
    unique_tokens: float | None,
    epochs: float | None,
    params: float | None,
    flops: float | None,
    as_json: bool,
    **latency: Any,
) -> None:
    """The size for your data (--unique-tokens), or for your budget and latency (--flops).

    For data: groundup plan size --unique-tokens 50B --params 70B

    For latency: groundup plan size --flops 5.76e23 --tokens-per-second 50 --gpu a100-80gb
    """
    from groundup.errors import ConfigError

    asks_latency = any(
        latency[name] is not None
        for name in ("tokens_per_second", "time_per_token", "time_to_first_token")
    )
    if unique_tokens is not None and not asks_latency:
        _print_data_size(unique_tokens, epochs, params, flops, as_json)
    elif flops is not None and asks_latency and unique_tokens is None:
        if epochs is not None or params is not None:
            raise ConfigError(
                "--epochs and --params go with --unique-tokens, not with a latency",
                fix="ask for the data and for the latency in two commands",
            )
        _print_latency_size(flops, latency, as_json)
    else:
        raise ConfigError(
            "give --unique-tokens, or --flops with --tokens-per-second, --time-per-token "
            "or --time-to-first-token",
            fix="groundup plan size --help shows an example of each",
        )


def _print_data_size(
    unique_tokens: float,
    epochs: float | None,
    params: float | None,
    flops: float | None,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from groundup.plan.sizing import DEFAULT_EPOCHS, data_constrained_optimum, size_from_data
    from groundup.tables import Table, print_json, print_tables
    from groundup.units import format_count

    found = size_from_data(unique_tokens, DEFAULT_EPOCHS if epochs is None else epochs, params)
    best = None if flops is None else data_constrained_optimum(flops, unique_tokens)
    if as_json:
        print_json({**asdict(found), "for_budget": None if best is None else asdict(best)})
        return
    title = (
        f"{format_count(unique_tokens)} unique tokens read {found.epochs:g} times "
        f"are worth {format_count(found.effective_tokens)} fresh ones"
    )
    rows = [
        (point.law, format_count(point.params), format_count(point.tokens), f"{point.flops:.3g}")
        for point in found.points
    ]
    tables = [Table(title, ["law", "largest optimal params", "tokens read", "FLOPs"], rows)]
    values = [
        (
            f"{each.epochs:g}",
            format_count(each.tokens),
            format_count(each.effective_tokens),
            f"{each.worth:.0%}",
            f"{each.next_worth:.0%}",
            format_count(each.params),
        )
        for each in found.epoch_values
    ]
    columns = ["epochs", "tokens read", "worth in fresh", "worth", "next token", "optimal params"]
    tables.append(Table("What more epochs are worth", columns, values))
    print_tables(tables)
    click.echo(f"No number of epochs is worth more than {format_count(found.limit_tokens)}.")
    if found.wanted is not None:
        click.echo(_wanted(found))
    if best is not None:
        click.echo(
            f"With {best.flops:.3g} FLOPs on this text the least loss is at "
            f"{format_count(best.params)} parameters and {format_count(best.tokens)} tokens "
            f"({best.tokens / unique_tokens:.3g} epochs; law muennighoff)."
        )


def _wanted(found: DataSize) -> str:
    """Whether the text suffices for the model that is wanted, in words."""
    from groundup.plan.laws import DEFAULT_LAW, LOSS_LAW
    from groundup.units import format_count

    wanted = found.wanted
    assert wanted is not None
    need = wanted.needed_tokens
    text = (
        f"{format_count(wanted.params)} parameters want {format_count(need[DEFAULT_LAW])} fresh "
        f"tokens ({DEFAULT_LAW}; {format_count(need[LOSS_LAW])} by {LOSS_LAW}, "
        f"{format_count(wanted.low_tokens)} to {format_count(wanted.high_tokens)} over all laws "
        f"that stand); there are {format_count(found.tokens)}, worth "
        f"{format_count(found.effective_tokens)}: "
    )
    if wanted.enough:
        return text + "enough."
    better = wanted.better
    text += (
        "not enough, and no number of epochs would be."
        if wanted.epochs_needed is None
        else f"not enough; {wanted.epochs_needed:.3g} epochs would be."
    )
    return text + (
        f" The same compute on this text reaches its least loss at {format_count(better.params)} "
        f"parameters and {better.tokens / found.unique_tokens:.3g} epochs: {better.loss:.4f} "
        f"against {wanted.loss:.4f} (law muennighoff)."
    )


def _print_latency_size(flops: float, latency: dict[str, Any], as_json: bool) -> None:
    from dataclasses import asdict

    from groundup.errors import ConfigError
    from groundup.plan.limits import require_count, require_positive
    from groundup.plan.sizing import size_from_latency
    from groundup.tables import print_json

    seconds = latency["time_per_token"]
    if latency["tokens_per_second"] is not None:
        if seconds is not None:
            raise ConfigError("--tokens-per-second and --time-per-token say the same: give one")
        seconds = 1 / require_positive(latency["tokens_per_second"], "--tokens-per-second")
    bandwidth, rate = latency["memory_bandwidth"], latency["flops_per_second"]
    if latency["gpu"] is not None:
        from groundup.plan.hardware import find_chip

        chip = find_chip(latency["gpu"])
        bandwidth = chip.memory_bandwidth if bandwidth is None else bandwidth
        rate = chip.attainable(chip.training_precision) if rate is None else rate
    n_chips = require_count(latency["n_chips"], "--n")
    found = size_from_latency(
        flops,
        seconds_per_token=seconds,
        memory_bandwidth=None if bandwidth is None else bandwidth * n_chips,
        bytes_per_param=latency["bytes_per_param"],
        prefill_seconds=latency["time_to_first_token"],
        prompt_tokens=latency["prompt_tokens"],
        flops_per_second=None if rate is None else rate * n_chips,
    )
    if as_json:
        print_json({**asdict(found), "notes": [LATENCY_NOTE]})
    else:
        _print_latency_tables(found)


LATENCY_NOTE = (
    "These are bounds: one sequence at a time, every weight read once a token at full memory "
    "bandwidth, no cache, no network. A server reaches less; give what yours attains."
)


def _print_latency_tables(found: LatencySize) -> None:
    from groundup.tables import Table, print_tables
    from groundup.units import format_count, format_ratio

    limits = [
        ("budget", found.optimum.params, "compute optimum (chinchilla-1)"),
        ("decode", found.decode_params, "weights read once a token"),
        ("prefill", found.prefill_params, "2N FLOPs a token of the prompt"),
    ]
    rows = [
        (name, format_count(value), why + (", binds" if name == found.bound else ""))
        for name, value, why in limits
        if value is not None
    ]
    title = (
        f"{format_count(found.params)} parameters on {format_count(found.tokens)} tokens "
        f"for {found.flops:.3g} FLOPs"
    )
    losses = [
        (
            each.law,
            f"{each.loss:.3f}",
            f"{each.optimal_loss:.3f}",
            format_count(each.optimal_params),
            format_count(each.optimal_tokens),
            f"{each.given_up:.3f}",
            f"{each.flops_for_same_loss / found.flops:.0%}",
        )
        for each in found.losses
    ]
    columns = ["law", "loss", "least loss", "at params", "tokens", "given up", "worth of budget"]
    print_tables(
        [
            Table(title, ["limit", "params", "why"], rows),
            Table("Loss given up against each law's optimum for the budget", columns, losses),
        ]
    )
    if found.seconds_per_token is not None:
        per_second = format_ratio(1 / found.seconds_per_token)
        click.echo(f"{found.seconds_per_token * 1e3:.3g} ms a token, {per_second} tokens/s.")
    if found.prefill_seconds is not None:
        click.echo(f"{found.prefill_seconds * 1e3:.3g} ms to read the prompt.")
    click.echo(LATENCY_NOTE)


@click.command("inference-optimal")
@click.option("--like-params", type=COUNT, required=True, help="Size of the model to match.")
@click.option("--like-tokens", type=COUNT, help="Its training tokens (default: its optimum).")
@click.option("--inference-tokens", type=COUNT, required=True, help="Read and written in its life.")
@click.option("--law", metavar="ID", default="sardana", show_default=True, help="Loss surface.")
@click.option("--gpu", metavar="CHIP", help="Count money: the chip that trains.")
@click.option("--price", type=MONEY, help="Dollars an hour of it (default: the catalog's).")
@click.option("--inference-gpu", metavar="CHIP", help="The chip that answers (default: the same).")
@click.option("--inference-price", type=MONEY, help="Dollars an hour of that.")
@click.option("--training-mfu", type=float, help="Efficiency in training (default 0.5).")
@click.option("--prefill-mfu", type=float, help="In reading prompts (default 0.5).")
@click.option("--decode-mfu", type=float, help="In writing answers (default 0.01).")
@click.option("--input-share", type=float, help="Prompts' share of the tokens (default 0.25).")
@json_option
def inference_optimal(
    like_params: float,
    like_tokens: float | None,
    inference_tokens: float,
    law: str,
    as_json: bool,
    **money: Any,
) -> None:
    """The model that costs least over training and use, at the quality of another.

    Counts FLOPs (6ND + 2N for each token of use), or dollars where --gpu is given.
    """
    from dataclasses import asdict

    from groundup.plan import lifetime
    from groundup.tables import print_json

    rates, setting, warnings = _rates(money)
    found = lifetime.inference_optimal(
        like_params, like_tokens, inference_tokens=inference_tokens, law=law, rates=rates
    )
    by_law = lifetime.inference_optimal_by_law(
        like_params, like_tokens, inference_tokens=inference_tokens, rates=rates
    )
    if as_json:
        others = [asdict(each) for each in by_law.values()]
        notes = [USE_NOTE, *warnings]
        print_json({**asdict(found), "by_law": others, "rates": setting, "notes": notes})
    else:
        _print_inference_optimal(found, by_law)
        _print_rates(setting, warnings)


USE_NOTE = (
    "The laws were fitted near 20 tokens per parameter; far beyond it they disagree, and fits to "
    "short runs promise too much of more text (Sardana et al. 2024)."
)


def _rates(money: dict[str, Any]) -> tuple[Rates | None, dict[str, Any] | None, list[str]]:
    """Prices and efficiencies from the options, what to print of them, and warnings.

    None: count FLOPs.
    """
    from dataclasses import asdict

    from groundup.errors import ConfigError

    given = [name for name, value in money.items() if value is not None]
    if not given:
        return None, None, []
    if money["gpu"] is None:
        option = "--" + given[0].replace("_", "-")
        raise ConfigError(
            f"{option} counts money, which needs the chip", where=option, fix="add --gpu CHIP"
        )
    from groundup.plan.hardware import find_chip
    from groundup.plan.lifetime import Rates

    trains = find_chip(money["gpu"])
    answers = trains if money["inference_gpu"] is None else find_chip(money["inference_gpu"])
    price = _priced(trains, money["price"], "--price")
    if money["inference_price"] is None and money["inference_gpu"] is None:
        use_price = price
    else:
        use_price = _priced(answers, money["inference_price"], "--inference-price")
    shares = ("training_mfu", "prefill_mfu", "decode_mfu", "input_share")
    rates = Rates(
        price["usd_per_hour"],
        use_price["usd_per_hour"],
        trains.peak(trains.training_precision),
        answers.peak(answers.training_precision),
        **{name: money[name] for name in shares if money[name] is not None},
    )
    priced = {"training": price, "inference": use_price}
    setting: dict[str, Any] = {
        f"{use}_{key}": value for use, known in priced.items() for key, value in known.items()
    }
    warnings = [setting.pop("training_warning"), setting.pop("inference_warning")]
    return rates, {**setting, **asdict(rates)}, list(dict.fromkeys(filter(None, warnings)))


def _priced(chip: Chip, given: float | None, option: str) -> dict[str, Any]:
    """The chip, dollars an hour, whose and of when they are, and a warning where they are old."""
    from datetime import date

    from groundup.errors import ConfigError
    from groundup.plan.prices import age_warning, catalog_price

    if given is not None:
        source: dict[str, Any] = {"price_source": option, "price_date": None, "warning": None}
        return {"gpu": chip.id, "usd_per_hour": given, **source}
    price = catalog_price(chip)
    if price is None:
        raise ConfigError(
            f"the catalog has no price of {chip.id}", where=option, fix=f"give {option} $/hour"
        )
    return {
        "gpu": chip.id,
        "usd_per_hour": price.usd_list,
        "price_source": price.list_source,
        "price_date": None if price.day is None else f"{price.day:%Y-%m-%d}",
        "warning": age_warning(price, date.today()),
    }


def _print_rates(setting: dict[str, Any] | None, warnings: list[str]) -> None:
    """Under what prices and efficiencies the dollars hold."""
    from groundup.tables import Table, print_tables

    if setting is None:
        return
    rows = []
    for use in ("training", "inference"):
        source, seen = setting[f"{use}_price_source"], setting[f"{use}_price_date"]
        if seen and seen not in source:
            source += f", {seen}"
        rows.append((f"{use} chip", setting[f"{use}_gpu"], ""))
        rows.append((f"{use} chip-hour", f"${setting[f'{use}_usd_per_hour']:.4g}", source))
        peak = setting[f"{use}_flops_per_second"]
        rows.append((f"{use} peak", f"{peak / 1e12:.4g} TFLOP/s", "the chip's data sheet"))
    for name in ("training_mfu", "prefill_mfu", "decode_mfu", "input_share"):
        option = f"--{name.replace('_', '-')}"
        rows.append((name.replace("_", " ").replace("mfu", "MFU"), f"{setting[name]:.3g}", option))
    print_tables([Table("Prices and efficiencies behind the dollars", ["of", "is", "by"], rows)])
    for warning in warnings:
        click.echo(f"Warning: {warning}.")


def _print_inference_optimal(found: InferenceOptimal, by_law: dict[str, InferenceOptimal]) -> None:
    from groundup.tables import Table, print_tables
    from groundup.units import format_count, format_money, format_ratio

    columns = ["law", "params", "tokens", "tokens/param", "× tokens", "training FLOPs"]
    columns += ["saving", "like tokens"]
    chosen = {found.law: found, **by_law}
    rows = [
        [
            each.law + (" (chosen)" if each.law == found.law else ""),
            format_count(each.params),
            format_count(each.tokens),
            format_ratio(each.tokens / each.params),
            f"{each.tokens_ratio:.2f}",
            f"{each.flops:.3g}",
            f"{each.saving:.1%}".replace("-0.0%", "0.0%"),
            format_count(each.like_tokens),
            *([] if each.usd is None else [format_money(each.usd)]),
            *([] if each.like_usd is None else [format_money(each.like_usd)]),
        ]
        for each in chosen.values()
    ]
    if found.usd is not None:
        columns += ["in all", "the other"]
    title = f"As good as {format_count(found.like_params)} parameters, training and use together"
    print_tables([Table(title, columns, rows)])
    click.echo(USE_NOTE)

"""The price book, and the slides' table of what pretrained and fine-tuned models cost.

    cost = input tokens × price + output tokens × price + training tokens × price

The nine rows come out to the dollar for 6e9 input, 3e9 output and 6e9 training tokens. The slides
print no prices for their self-hosted 7B model; its totals follow from one rented A100:

    $ per token = 2·N FLOPs ÷ (50 % of 312 TFLOP/s) × $2.34 an hour    (N = 7e9: $0.0583 a million)

output at 10 times that (one token at a time uses the chip badly), training at 4 times (forward,
backward at twice the forward, and one recomputation).
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from datetime import date

from groundup.decide.catalogs import lever, rows
from groundup.errors import InputError
from groundup.plan.catalogs import Row, cached

SLIDE_INPUT_TOKENS, SLIDE_OUTPUT_TOKENS, SLIDE_TRAINING_TOKENS = 6e9, 3e9, 6e9
MOST_TOKENS = 1e20
OLD_PRICE_DAYS = 365

# The self-hosted rows: both totals of the slides give the same rate, so the inputs are exact.
SELF_HOSTED_PARAMETERS = 7e9
A100_PEAK_FLOPS = 312e12  # bf16, dense (NVIDIA data sheet)
SELF_HOSTED_SHARE = 0.5  # of the peak
SELF_HOSTED_USD_PER_HOUR = 2.34
OUTPUT_FACTOR, TRAINING_FACTOR = 10, 4


@dataclass(frozen=True)
class Price:
    """What one model costs, in US dollars per token."""

    id: str
    provider: str
    input_usd: float
    output_usd: float
    training_usd: float | None  # None: it cannot be tuned at a listed price
    effective: date | None
    note: str
    source: str

    def blend(self, output_share: float) -> float:
        """US dollars per token where this share of all tokens is written by the model."""
        return (1 - output_share) * self.input_usd + output_share * self.output_usd


@dataclass(frozen=True)
class Levers:
    """What lowers a bill for the same work; 1 and 0 change nothing."""

    prompt_factor: float = 1.0  # prompts this many times shorter; the slides: up to 8
    cached_share: float = 0.0  # of the input: the part that repeats
    cached_price: float = field(default_factory=lambda: lever("cache"))  # of the input price
    batch: bool = False  # answers within a day
    batch_price: float = field(default_factory=lambda: lever("batch"))  # of the price
    discount: float = 0.0  # share off the list price

    def __post_init__(self) -> None:
        if not (math.isfinite(self.prompt_factor) and self.prompt_factor >= 1):
            raise InputError(
                f"a prompt factor of {self.prompt_factor:g} makes prompts longer",
                where="prompt_factor",
                fix="give how many times shorter they become, 1 or more",
            )
        for name in ("cached_share", "cached_price", "batch_price", "discount"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value:g}, but must be a share of 0 to 1", where=name)


@dataclass(frozen=True)
class Bill:
    """What a volume of tokens costs, in US dollars."""

    input_usd: float
    output_usd: float
    training_usd: float

    @property
    def total_usd(self) -> float:
        """All three."""
        return self.input_usd + self.output_usd + self.training_usd


@dataclass(frozen=True)
class SlideRow:
    """One row of the slides' table, recomputed."""

    model: str
    usd_per_million_input: float
    usd_per_million_output: float
    usd_per_million_training: float | None
    bill: Bill
    slide_total_usd: float | None  # as printed; None where volumes or levers are others
    list_total_usd: float | None  # at the dated list price of the price book
    note: str
    source: str


def price_book() -> dict[str, Price]:
    """Every dated price per token, by id.

    Raises:
        InputError: a cell that is no number.
    """
    return {row.text("id"): _price(row) for row in rows("api_prices")}


@cached
def find_price(name: str) -> Price:
    """The row of the price book called ``name``.

    Raises:
        InputError: there is none; the nearest are named.
    """
    book = price_book()
    if name in book:
        return book[name]
    near = difflib.get_close_matches(name.lower(), book, n=3, cutoff=0.4) or list(book)
    raise InputError(
        f"there is no price of {name!r}",
        where="api_model",
        fix=f"did you mean {', '.join(near)}? Add rows of yours to api_prices.csv in the folder "
        "of GROUNDUP_CATALOG",
    )


def usage_cost(
    price: Price,
    input_tokens: float,
    output_tokens: float,
    training_tokens: float = 0,
    levers: Levers | None = None,
) -> Bill:
    """The bill for a volume.

    Args:
        price: of the model, per token.
        input_tokens: read by the model.
        output_tokens: written by it.
        training_tokens: it is tuned on, epochs counted; ignored where it has no such price.
        levers: what lowers the bill.

    Raises:
        InputError: a volume that is negative, not finite or absurd.
    """
    levers = levers or Levers()
    read = require_volume(input_tokens, "input_tokens") / levers.prompt_factor
    written = require_volume(output_tokens, "output_tokens")
    trained = require_volume(training_tokens, "training_tokens")
    off = (1 - levers.discount) * (levers.batch_price if levers.batch else 1)
    cached = 1 - levers.cached_share * (1 - levers.cached_price)
    return Bill(
        input_usd=read * price.input_usd * cached * off,
        output_usd=written * price.output_usd * off,
        training_usd=trained * (price.training_usd or 0) * (1 - levers.discount),
    )


def slide_table(
    input_tokens: float = SLIDE_INPUT_TOKENS,
    output_tokens: float = SLIDE_OUTPUT_TOKENS,
    training_tokens: float = SLIDE_TRAINING_TOKENS,
    levers: Levers | None = None,
) -> list[SlideRow]:
    """The slides' nine rows at any volume; see `usage_cost`.

    Raises:
        InputError: a volume that is negative, not finite or absurd.
    """
    levers = levers or Levers()
    asked = (input_tokens, output_tokens, training_tokens, levers)
    as_printed = asked == (
        SLIDE_INPUT_TOKENS,
        SLIDE_OUTPUT_TOKENS,
        SLIDE_TRAINING_TOKENS,
        Levers(),
    )
    book, table = price_book(), []
    for row in rows("slide_prices", "row"):
        price = _slide_price(row)
        bill = usage_cost(price, input_tokens, output_tokens, training_tokens, levers)
        listed = book.get(row.text("price_row"))
        at_list = (
            usage_cost(listed, input_tokens, output_tokens, training_tokens, levers).total_usd
            if listed
            else None
        )
        note = row.text("note")
        if at_list is not None and abs(at_list - bill.total_usd) > 0.5:
            note += f"; at the list prices it is ${at_list:,.0f}"
        table.append(
            SlideRow(
                model=row.text("row"),
                usd_per_million_input=price.input_usd * 1e6,
                usd_per_million_output=price.output_usd * 1e6,
                usd_per_million_training=price.training_usd and price.training_usd * 1e6,
                bill=bill,
                slide_total_usd=row.number("slide_total_usd") if as_printed else None,
                list_total_usd=at_list,
                note=note,
                source=row.text("source"),
            )
        )
    return table


def self_hosted_price(training: bool, source: str = "") -> Price:
    """The slides' own 7B model on rented A100s, per token; see the top of this file."""
    flops_per_second = SELF_HOSTED_SHARE * A100_PEAK_FLOPS
    usd_per_second = SELF_HOSTED_USD_PER_HOUR / 3600
    usd = 2 * SELF_HOSTED_PARAMETERS / flops_per_second * usd_per_second
    trained = TRAINING_FACTOR * usd if training else None
    return Price("self-hosted", "", usd, OUTPUT_FACTOR * usd, trained, None, "", source)


def price_age_note(price: Price, today: date | None = None) -> str | None:
    """A warning where a price was set over a year ago; None where it was not."""
    if price.effective is None:
        return f"the price of {price.id} has no date: look it up"
    days = ((today or date.today()) - price.effective).days
    if days <= OLD_PRICE_DAYS:
        return None
    return f"the price of {price.id} is of {price.effective}, {days // 365} year(s) old: look it up"


def require_volume(value: float, name: str) -> float:
    """``value``, a number of tokens that may be zero.

    Raises:
        InputError: it is negative, not finite or absurd.
    """
    if not (math.isfinite(value) and 0 <= value <= MOST_TOKENS):
        raise InputError(
            f"{name} is {value:g}, but must be a number of tokens from 0 to {MOST_TOKENS:.0e}",
            where=name,
        )
    return value


def _slide_price(row: Row) -> Price:
    if row.text("price_row") == "self-hosted":
        return self_hosted_price("Fine-tuned" in row.text("row"), row.text("source"))
    training = row.number("usd_per_million_training")
    return Price(
        row.text("row"),
        "",
        row.needed("usd_per_million_input") / 1e6,
        row.needed("usd_per_million_output") / 1e6,
        None if training is None else training / 1e6,
        None,
        row.text("note"),
        row.text("source"),
    )


def _price(row: Row) -> Price:
    training = row.number("usd_per_million_training")
    return Price(
        id=row.text("id"),
        provider=row.text("provider"),
        input_usd=row.needed("usd_per_million_input") / 1e6,
        output_usd=row.needed("usd_per_million_output") / 1e6,
        training_usd=None if training is None else training / 1e6,
        effective=row.day("effective"),
        note=row.text("note"),
        source=row.text("source"),
    )

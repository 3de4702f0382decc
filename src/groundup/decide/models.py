"""The candidates: the slides' fourteen models, corrected where they err, and open families.

Rows of `catalog/models.csv` are dated and editable. `shortlist` leaves out what the answers rule
out, says why, and puts first what fits the option best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from groundup.decide.catalogs import assumed, rows
from groundup.decide.config import DecideConfig
from groundup.decide.prices import price_book
from groundup.decide.techniques import buy_technique
from groundup.units import format_count

BEYOND_SIZE = 2.0  # a candidate may be this many times the size asked for
SHORT = 6  # candidates shown of each option


@dataclass(frozen=True)
class Candidate:
    """One model somebody could start from."""

    id: str
    name: str
    provider: str
    in_slides: bool
    open_as_printed: str  # yes, no; empty: not in the slides
    open_weights: str  # yes, research, no: in fact
    licence: str
    commercial_use: str  # yes, conditions, no
    params: float | None
    params_as_printed: str
    speed_stars: float | None
    speed_of: float | None  # stars there are in that column
    quality_stars: float | None  # of 5
    fine_tunable_as_printed: str
    fine_tunable: bool
    kind: str  # decoder, encoder, encoder-decoder
    preset: str  # of groundup.architecture.presets, where it has one
    importable: str  # into groundup: yes, planned, no
    released: str
    correction: str  # what the slides have wrong
    source: str
    read: str


@dataclass(frozen=True)
class Choice:
    """A candidate on or off the list, with the reason."""

    id: str
    name: str
    why: str


def candidates() -> tuple[Candidate, ...]:
    """Every candidate, the slides' first.

    Raises:
        InputError: a cell that is no number.
    """
    return tuple(
        Candidate(
            id=row.text("id"),
            name=row.text("name"),
            provider=row.text("provider"),
            in_slides=row.text("in_slides") == "yes",
            open_as_printed=row.text("open_as_printed"),
            open_weights=row.text("open_weights"),
            licence=row.text("licence"),
            commercial_use=row.text("commercial_use"),
            params=row.number("params"),
            params_as_printed=row.text("params_as_printed"),
            speed_stars=row.number("speed_stars"),
            speed_of=row.number("speed_of"),
            quality_stars=row.number("quality_stars"),
            fine_tunable_as_printed=row.text("fine_tunable_as_printed"),
            fine_tunable=row.text("fine_tunable") == "yes",
            kind=row.text("kind"),
            preset=row.text("preset"),
            importable=row.text("importable"),
            released=row.text("released"),
            correction=row.text("correction"),
            source=row.text("source"),
            read=row.text("read"),
        )
        for row in rows("models")
    )


def shortlist(
    answers: DecideConfig, option: str, *, small_model: bool = False
) -> tuple[list[Choice], list[Choice]]:
    """The candidates of one option, best first, and those ruled out with the reason.

    Args:
        answers: what is known.
        option: buy, adapt or train (which starts from none: the list is empty).
        small_model: the task is narrow: small encoders come first.
    """
    if option == "train":
        return [], []
    kept, dropped = [], []
    for one in candidates():
        if (one.open_weights == "no") != (option == "buy"):
            continue  # of the other option
        reason = _ruled_out(one, answers, option, small_model)
        if reason:
            dropped.append(Choice(one.id, one.name, reason))
        else:
            kept.append(one)
    kept.sort(key=lambda one: _rank(one, option, small_model, answers))
    return [Choice(one.id, one.name, _why(one)) for one in kept[:SHORT]], dropped


def _ruled_out(one: Candidate, answers: DecideConfig, option: str, small_model: bool) -> str | None:
    if option == "buy" and (answers.data_may_leave_org is False or answers.edge_or_offline):
        return "your data may not go there, or it does not run where you need it"
    if option == "buy" and "retired" in one.licence:
        return "no longer sold"
    if answers.commercial_use and one.commercial_use == "no":
        return f"not for commercial use: {one.licence}"
    tuned = option == "adapt" or buy_technique(answers) == "peft"
    if tuned and not one.fine_tunable:
        return "no fine-tuning of it is known"
    generates = answers.needs_chat or answers.needs_full_generality
    if generates and not small_model and one.kind == "encoder":
        return "an encoder: it writes no text"
    limit = None if answers.params is None or option == "buy" else BEYOND_SIZE * answers.params
    if limit is not None and (one.params or 0) > limit:
        return f"{format_count(one.params or 0)} parameters, {format_count(limit)} at most"
    return None


def _rank(
    one: Candidate, option: str, small_model: bool, answers: DecideConfig
) -> tuple[float, ...]:
    """Smaller is better.

    To buy: the newest, and of the best only the dearest, which sellers hold to be the best. To
    adapt: the size asked for within a factor of 1.4, then 2.8 and so on; of these what groundup
    opens, then the newest. A narrow task starts from the smallest encoder.
    """
    size = one.params or 0
    if option == "buy":
        price = price_book().get(one.id)
        dearest = -price.output_usd if price and answers.needs_frontier_quality else 0
        return (dearest, -_year(one), -(one.quality_stars or 0), -(one.speed_stars or 0))
    licence = {"yes": 0, "conditions": 1, "no": 2}.get(one.commercial_use, 2)
    if small_model:
        return (one.kind != "encoder", licence, size)
    wanted = answers.params or assumed("params")
    far = round(abs(math.log2(size / wanted))) if size else 99
    opened = {"yes": 0, "planned": 1}.get(one.importable, 2)
    return (one.kind != "decoder", one.open_weights != "yes", far, opened, -_year(one), licence)


def _why(one: Candidate) -> str:
    size = f"{format_count(one.params)} parameters" if one.params else "size not published"
    imports = {"yes": ", groundup opens it", "planned": ", import is planned"}.get(
        one.importable, ""
    )
    price = price_book().get(one.id)
    listed = (
        f", ${price.input_usd * 1e6:g} read and ${price.output_usd * 1e6:g} written a million"
        if price
        else ""
    )
    return f"{size}, {one.licence}, {one.released}{imports}{listed}"


def _year(one: Candidate) -> float:
    year, _, month = one.released.partition("-")
    return float(year or 0) + float(month or 0) / 12

"""Milestone models: when, how large, on how much text, on which chips, for how much they trained.

Rows, each with its source, are in `catalog/milestones.csv`. What a laboratory printed and what
others estimated are kept apart (`cost_kind`), and a figure quoted from memory says so.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import date

from groundup.errors import InputError
from groundup.plan.catalogs import Row, read_catalog
from groundup.plan.limits import require_flops, require_parameters, require_tokens


@dataclass(frozen=True)
class Milestone:
    """One trained model; None where nothing is known."""

    id: str
    name: str
    organisation: str
    day: date
    parameters: float | None
    active_parameters: float | None  # of a mixture of experts, for one token
    tokens: float | None
    flops: float  # of training: as published or estimated, else 6 × (active) parameters × tokens
    chip: str  # id in the hardware catalog, or the name of another
    n_chips: int | None
    chip_hours: float | None
    mfu: float | None  # model FLOPs, without recomputation
    cost_usd: float | None
    cost_kind: str  # published, estimate or empty
    cost_source: str
    on_map: bool  # a dense decoder of known size and text: scaling laws speak of it
    speculative: bool  # nobody who knows has published its figures
    note: str
    source: str
    aliases: tuple[str, ...] = ()


def milestones() -> list[Milestone]:
    """Every model of the catalog, oldest first.

    Raises:
        InputError: a row that cannot be read.
    """
    found = [_milestone(row) for row in read_catalog("milestones", "id")]
    return sorted(found, key=lambda model: (model.day, model.id))


def find_milestones(names: list[str] | tuple[str, ...]) -> list[Milestone]:
    """The models of these ids, names or aliases, which hold the names of our presets.

    Raises:
        InputError: one that is not there; the nearest are named.
    """
    by_name = {
        _plain(name): model
        for model in reversed(milestones())
        for name in (*model.aliases, model.name, model.id)
    }
    found = []
    for name in names:
        model = by_name.get(_plain(name))
        if model is None:
            near = difflib.get_close_matches(_plain(name), by_name, n=4, cutoff=0.4)
            ids = list(dict.fromkeys(by_name[one].id for one in near))
            raise InputError(
                f"there is no milestone model {name!r}",
                where="model",
                fix=("the nearest are " if ids else "known are ")
                + ", ".join(ids or [model.id for model in milestones()]),
            )
        found.append(model)
    return list(dict.fromkeys(found))


def _plain(name: str) -> str:
    """A name for comparing: no case, and any separator is a dash."""
    return "-".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _milestone(row: Row) -> Milestone:
    day = row.day("date")
    if day is None:
        raise InputError("date is empty", where=row.where)
    parameters, active = row.number("parameters"), row.number("active_parameters")
    tokens, flops = row.number("tokens"), row.number("flops")
    for value, check in (
        (parameters, require_parameters),
        (active, require_parameters),
        (tokens, require_tokens),
        (flops, require_flops),
    ):
        if value is not None:
            check(value, row.where)
    if flops is None:
        size = active or parameters
        if size is None or tokens is None:
            raise InputError("flops is empty, and so are parameters or tokens", where=row.where)
        flops = 6 * size * tokens
    on_map = row.text("on_map") == "yes"
    if on_map and (parameters is None or tokens is None):
        raise InputError("a model on the map needs parameters and tokens", where=row.where)
    n_chips = row.number("n_chips")
    return Milestone(
        id=row.text("id"),
        name=row.text("model"),
        organisation=row.text("organisation"),
        day=day,
        parameters=parameters,
        active_parameters=active,
        tokens=tokens,
        flops=flops,
        chip=row.text("chip"),
        n_chips=int(n_chips) if n_chips else None,
        chip_hours=row.number("chip_hours"),
        mfu=row.number("mfu"),
        cost_usd=row.number("cost_usd"),
        cost_kind=row.text("cost_kind"),
        cost_source=row.text("cost_source"),
        on_map=on_map,
        speculative=row.text("speculative") == "yes",
        note=row.text("note"),
        source=row.text("source"),
        aliases=tuple(filter(None, map(str.strip, row.text("aliases").split("|")))),
    )

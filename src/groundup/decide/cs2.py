"""The slides' table of training runs on Cerebras CS-2 machines, checked against the machine.

    implied rate = 6·N·D ÷ (days × machines)     must not exceed the CS-2's peak of 7.5 PFLOP/s

Four rows (70B and 175B) would need 20 and 96 PFLOP/s from each machine: they cannot be so. A jump
factor is a row's value over that of the row before; where a model stands twice, of 4 and of 16
machines, the jump of its days shows how well the machines scale (a quarter would be perfect).
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.decide.catalogs import rows
from groundup.plan.catalogs import Row

PEAK_FLOPS = 7.5e15  # of one CS-2, fp16, dense: from memory (planner/hardware.csv says so too)
SECONDS_PER_DAY = 86400
# What the slides print where the definition gives another figure: (model, machines) → as printed
PRINTED_DAYS_JUMP = {("GPT NeoX 20B", 16): 0.3}


@dataclass(frozen=True)
class CerebrasRun:
    """One row with everything that follows from it."""

    model: str
    params: float
    tokens: float
    n_cs2: int
    days: float
    price_usd: float
    tokens_per_parameter: float
    flops: float
    pflops_per_cs2: float  # PFLOP/s that each machine would have to sustain
    share_of_peak: float
    feasible: bool
    verdict: str
    usd_per_cs2_day: float
    usd_per_million_parameters: float
    params_jump: float | None  # over the row before; None in the first row
    days_jump: float | None
    price_jump: float | None
    note: str
    source: str


def cs2_table() -> list[CerebrasRun]:
    """Every row of the table, the impossible ones flagged.

    Raises:
        InputError: a cell that is empty or no number.
    """
    table: list[CerebrasRun] = []
    for row in rows("cs2_training", None):
        table.append(_run(row, table[-1] if table else None))
    return table


def _run(row: Row, before: CerebrasRun | None) -> CerebrasRun:
    params, tokens = row.needed("params"), row.needed("tokens")
    days, machines, price = row.needed("days"), row.needed("n_cs2"), row.needed("price_usd")
    flops = 6 * params * tokens
    rate = flops / (days * SECONDS_PER_DAY * machines)
    feasible = rate <= PEAK_FLOPS
    verdict = (
        "ok"
        if feasible
        else f"FLAG: infeasible, {rate / 1e15:.0f} PFLOP/s per CS-2 > {PEAK_FLOPS / 1e15:g} peak"
    )
    days_jump = days / before.days if before else None
    note = row.text("note")
    printed = PRINTED_DAYS_JUMP.get((row.text("model"), int(machines)))
    if printed is not None and days_jump is not None:
        note = f"{note}; " * bool(note) + f"days × {days_jump:.2f}, printed as {printed}"
    return CerebrasRun(
        model=row.text("model"),
        params=params,
        tokens=tokens,
        n_cs2=int(machines),
        days=days,
        price_usd=price,
        tokens_per_parameter=tokens / params,
        flops=flops,
        pflops_per_cs2=rate / 1e15,
        share_of_peak=rate / PEAK_FLOPS,
        feasible=feasible,
        verdict=verdict,
        usd_per_cs2_day=price / (days * machines),
        usd_per_million_parameters=price / (params / 1e6),
        params_jump=params / before.params if before else None,
        days_jump=days_jump,
        price_jump=price / before.price_usd if before else None,
        note=note,
        source=row.text("source"),
    )

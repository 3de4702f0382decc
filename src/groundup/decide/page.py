"""decide.html: the decision as one page, with the costs drawn."""

from __future__ import annotations

from pathlib import Path

from groundup.charts import Bar, Series, bar_chart, line_chart
from groundup.decide.config import DecideConfig
from groundup.decide.costs import break_even_per_month, option_costs
from groundup.decide.options import Decision
from groundup.decide.report import NAMES, decision_tables
from groundup.plan.page import Section, write_page

STEPS = 60  # points of a line


def write_decision_page(path: Path, answers: DecideConfig, decision: Decision) -> Path:
    """Write the page and return its path.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    first, why, changes, costs, *rest = decision_tables(decision)
    last = [table for table in rest if table.title == "Notes"]
    others = [table for table in rest if table.title != "Notes"]
    top = decision.first
    sections = [
        Section(
            f"First: {top.option}, by {top.technique}",
            text=[one.text for one in decision.would_change],
            tables=[first, why, changes],
            notes=[row[0] for table in last for row in table.rows],
        ),
        Section("Costs", charts=_charts(answers, decision), tables=[costs]),
        Section("Techniques, candidates and what is open", tables=others),
    ]
    return write_page(path, "Buy, adapt or train", sections)


def _charts(answers: DecideConfig, decision: Decision) -> list[str]:
    bars = [
        Bar(
            NAMES[one.option],
            one.cost_usd["central"],
            (one.cost_usd["low"], one.cost_usd["high"]),
            ours=one is decision.first,
        )
        for one in decision.ranking
        if one.cost_usd is not None
    ]
    title = f"Cost over {decision.horizon_months} months"
    charts = [bar_chart(title, bars, "US dollars", form=",.0f")] if bars else []
    return [*charts, _volume_chart(answers, decision)]


def _volume_chart(answers: DecideConfig, decision: Decision) -> str:
    """Buying and adapting over the monthly volume, up to three times their break-even."""
    even = break_even_per_month(answers)
    middle = even or 1e9
    volumes = [3 * middle * step / STEPS for step in range(1, STEPS + 1)]
    small = decision.ranking[0].technique == "small-model"
    series = []
    for colour, name in enumerate(("buy", "adapt")):
        totals = [
            option_costs(
                answers.model_copy(update={"tokens_per_month": round(volume)}), small_model=small
            )[name].total.central
            for volume in volumes
        ]
        series.append(Series(NAMES[name], volumes, totals, colour=colour))
    return line_chart(
        f"Cost over {decision.horizon_months} months by volume",
        series,
        "tokens a month",
        "US dollars",
        from_zero=True,
    )

"""decide.html: the decision as one page, with the costs drawn."""

from __future__ import annotations

from pathlib import Path

from groundup.charts import Bar, Series, bar_chart, line_chart
from groundup.decide.answers import written
from groundup.decide.config import DecideConfig, question
from groundup.decide.costs import option_costs
from groundup.decide.options import Decision
from groundup.decide.report import NAMES, NOTES, decision_tables
from groundup.decide.techniques import is_narrow
from groundup.plan.page import Section, write_page
from groundup.tables import Table

STEPS = 60  # points of a line
NO_BREAK_EVEN = 1e9  # tokens a month in the middle of the chart where there is no break-even


def write_decision_page(path: Path, answers: DecideConfig, decision: Decision) -> Path:
    """Write the page and return its path.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    tables = {table.title: table for table in decision_tables(decision)}
    first, why, brings, changes, costs, *rest = tables.values()
    notes = tables.get(NOTES)
    top = decision.first
    sections = [
        Section(
            f"First: {top.option}, by {top.details.name}",
            tables=[first, why, changes],
            notes=[row[0] for row in notes.rows] if notes else [],
        ),
        Section("Costs", charts=_charts(answers, decision), tables=[costs]),
        Section(
            "Techniques, candidates and what is open",
            tables=[brings, *(table for table in rest if table is not notes)],
        ),
        Section("The answers it was made from", tables=[_answers(answers)]),
    ]
    return write_page(path, "Buy, adapt or train", sections)


def _answers(answers: DecideConfig) -> Table:
    """What was answered, in the words of the file."""
    given = [
        [name, written(getattr(answers, name)), question(name)]
        for name in DecideConfig.model_fields
        if name in answers.model_fields_set and getattr(answers, name) is not None
    ]
    return Table("Answers", ["answer", "given", "question"], given)


def _charts(answers: DecideConfig, decision: Decision) -> list[str]:
    bars = [
        Bar(
            NAMES[one.option] + (" (vetoed)" if one.vetoed_by else ""),
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
    middle = decision.break_even_tokens_per_month or NO_BREAK_EVEN
    volumes = [3 * middle * step / STEPS for step in range(1, STEPS + 1)]
    small = bool(is_narrow(answers))
    costs = [
        option_costs(
            answers.model_copy(update={"tokens_per_month": round(volume)}), small_model=small
        )
        for volume in volumes
    ]
    series = [
        Series(
            NAMES[name],
            [volume / 1e9 for volume in volumes],
            [one[name].total.central for one in costs],
            colour=colour,
        )
        for colour, name in enumerate(("buy", "adapt"))
    ]
    return line_chart(
        f"Cost over {decision.horizon_months} months by volume",
        series,
        "tokens in the first month, in billions",
        "US dollars",
        from_zero=True,
    )

"""A decision as a plain record (for ``--json`` and for files) and as tables for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from groundup.decide.catalogs import rows
from groundup.decide.models import Candidate, Choice
from groundup.decide.options import Decision, Option
from groundup.decide.techniques import Technique, techniques
from groundup.tables import Table
from groundup.units import format_count, format_money

NAMES = {"buy": "buy (1)", "adapt": "adapt (2)", "train": "train (3)"}  # as the paper counts
NOTES = "Notes"


def record(decision: Decision) -> dict[str, Any]:
    """The decision as plain values, every cost in US dollars."""
    return {
        "ranking": [_option_record(one) for one in decision.ranking],
        "vetoes": [asdict(one) for one in decision.vetoes],
        "would_change": [
            {
                "changes": [
                    {"answer": name, "from": now, "to": then} for name, now, then in one.changes
                ],
                "outcome": one.outcome,
                "technique": one.technique,
                "text": one.text,
            }
            for one in decision.would_change
        ],
        "ladder": [asdict(one) for one in decision.ladder],
        "not_answered": [
            {"answer": name, "question": question} for name, question in decision.open_questions
        ],
        "contradictions": list(decision.contradictions),
        "ruled_out": [asdict(one) for one in decision.dropped],
        "horizon_months": decision.horizon_months,
        "break_even_tokens_per_month": decision.break_even_tokens_per_month,
        "levers": [dict(row.values) for row in rows("levers")],
        "notes": list(decision.notes),
    }


def decision_tables(decision: Decision) -> list[Table]:
    """The ranking first, then why, what would change it, costs, candidates and what is open."""
    named = techniques()
    tables = [
        Table(
            "Buy, adapt or train",
            ["option", "technique", "score", f"cost over {decision.horizon_months} months", "veto"],
            [
                [
                    NAMES[one.option],
                    named[one.technique].name,
                    f"{one.score:+d}" if one.score else "0",
                    _cost(one),
                    ", ".join(one.vetoed_by),
                ]
                for one in decision.ranking
            ],
        ),
        Table(
            "Why",
            ["option", "criterion", "effect", "reason"],
            [
                [NAMES[one.option], reason.id, reason.effect, reason.text]
                for one in decision.ranking
                for reason in one.reasons
            ],
        ),
    ]
    tables.append(_technique_lines(decision))
    changes = [[one.text] for one in decision.would_change]
    tables.append(
        Table(
            "What would change it",
            ["another answer → what would then stand first"],
            changes or [["no answer alone, and no two"]],
        )
    )
    tables.append(_cost_table(decision))
    tables.append(
        Table(
            "The ladder inside option 2: climb a rung when the one below is too little",
            ["technique", "now", "why"],
            [[named[rung.technique].name, rung.verdict, rung.why] for rung in decision.ladder],
        )
    )
    first = decision.first
    if first.shortlist:
        tables.append(_choices(f"Candidates to {first.option}", first.shortlist))
    if decision.open_questions:
        tables.append(
            Table("Not answered, would matter", ["answer", "question"], decision.open_questions)
        )
    notes = [*decision.contradictions, _break_even(decision), *decision.notes]
    if notes:
        tables.append(Table(NOTES, ["note"], [[note] for note in notes]))
    return tables


def technique_table(table: dict[str, Technique]) -> Table:
    """The techniques side by side, the slides' rows marked."""
    return Table(
        "Techniques, from the least commitment to the most (* a row of the slides)",
        ["technique", "option", "pros", "cons", "cost", "risk and RLHF"],
        [
            [
                one.name + ("*" if one.as_printed else ""),
                str(one.option),
                "; ".join(one.pros),
                "; ".join(one.cons),
                one.cost,
                one.risk_mitigation,
            ]
            for one in table.values()
        ],
    )


def lever_table() -> Table:
    """What lowers a bill for the same work."""
    return Table(
        "What lowers the bill",
        ["lever", "factor", "of", "what", "source"],
        [
            [
                row.text("name"),
                f"{row.needed('factor'):g}",
                row.text("applies_to"),
                row.text("text"),
                row.text("source"),
            ]
            for row in rows("levers")
        ],
    )


def candidate_table(candidates: tuple[Candidate, ...]) -> Table:
    """Every candidate; what the slides have wrong stands in the last column."""
    return Table(
        "Candidates (speed and quality as in the slides; their errors under correction)",
        [
            "model", "provider", "licence", "weights", "size", "speed", "quality", "tunable",
            "released", "correction",
        ],
        [
            [
                one.name,
                one.provider,
                one.licence,
                one.open_weights,
                format_count(one.params) if one.params else one.params_as_printed,
                _stars(one.speed_stars, one.speed_of),
                _stars(one.quality_stars, 5),
                "yes" if one.fine_tunable else "no",
                one.released,
                one.correction,
            ]
            for one in candidates
        ],
    )  # fmt: skip


def shortlist_tables(option: str, kept: list[Choice], dropped: list[Choice]) -> list[Table]:
    """The candidates of one option and those ruled out."""
    none = Choice("", "none", "every candidate is ruled out, see below: change an answer")
    tables = [_choices(f"Candidates to {option}", kept or [none])]
    return [*tables, _choices("Ruled out", dropped)] if dropped else tables


def _option_record(one: Option) -> dict[str, Any]:
    return {
        "option": one.option,
        "number": one.number,
        "technique": one.technique,
        "technique_details": {
            "name": one.details.name,
            "pros": list(one.details.pros),
            "cons": list(one.details.cons),
            "cost": one.details.cost,
            "risk_mitigation": one.details.risk_mitigation,
        },
        "score": one.score,
        "reasons": [asdict(reason) for reason in one.reasons],
        "vetoed_by": list(one.vetoed_by),
        "cost_usd": one.cost_usd,
        "over_budget": one.over_budget,
        "cost_lines_usd": {name: asdict(band) for name, band in one.cost_lines},
        "shortlist": [asdict(choice) for choice in one.shortlist],
    }


def _technique_lines(decision: Decision) -> Table:
    """What the technique of each option brings, as the slides have it."""
    lines = [
        [NAMES[one.option], what, text]
        for one in decision.ranking
        for what, text in (
            ("for it", "; ".join(one.details.pros)),
            ("against it", "; ".join(one.details.cons)),
            ("cost", one.details.cost),
            ("risk and RLHF", one.details.risk_mitigation),
        )
    ]
    return Table("What the technique of each option brings", ["option", "what", "text"], lines)


def _cost(one: Option) -> str:
    if one.cost_usd is None:
        return "not known"
    low, high = format_money(one.cost_usd["low"]), format_money(one.cost_usd["high"])
    over = ", over budget" if one.over_budget else ""
    return f"{format_money(one.cost_usd['central'])} ({low} – {high}){over}"


def _cost_table(decision: Decision) -> Table:
    return Table(
        f"Costs over {decision.horizon_months} months, US dollars",
        ["option", "line", "low", "central", "high"],
        [
            [NAMES[one.option], name, *(f"{x:,.0f}" for x in (band.low, band.central, band.high))]
            for one in decision.ranking
            for name, band in one.cost_lines
        ],
    )


def _break_even(decision: Decision) -> str:
    even = decision.break_even_tokens_per_month
    if even is None:
        return "adapting costs more than buying at any volume"
    return f"adapting costs less than buying above {format_count(even)} tokens in the first month"


def _choices(title: str, choices: tuple[Choice, ...] | list[Choice]) -> Table:
    return Table(title, ["model", "why"], [[one.name, one.why] for one in choices])


def _stars(value: float | None, of: float | None) -> str:
    return "–" if value is None else f"{value:g} of {of:g}"

"""Buy, adapt or train: the three options ranked for a set of answers, with reasons and costs.

The order of the paper's own argument (planner field note, section 5):

1. a narrow task that writes no free text goes to a much smaller model (C28): option 2 first;
2. where nobody measured how far prompting gets, that comes first (C29): option 1, unless the
   tokenizer must change, which no prompt does, or the task went to a small model;
3. vetoes: data that may not leave and the edge against buying, too little money or text against
   training from scratch; a vetoed option stands last, whatever its points;
4. the points of every criterion that fires (an unchanged architecture counts 3 for adapting);
   on a tie the option that commits least stands first;
5. within an option the ladder of techniques, and what each costs over the horizon.

A veto of one option is also a reason for those that remain. Nothing fires on a question that was
not answered; those are listed. What would change the outcome is found by asking again with other
answers (`sensitivity`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from groundup.decide.config import DecideConfig
from groundup.decide.contradictions import doubtful, require_consistent
from groundup.decide.costs import break_even_per_month, option_costs
from groundup.decide.criteria import OPTIONS, VETO, Criterion, evaluate
from groundup.decide.models import Choice, shortlist
from groundup.decide.notes import decision_notes
from groundup.decide.ranking import Reason, is_small_model, rank
from groundup.decide.scratch import Band
from groundup.decide.sensitivity import Change, would_change
from groundup.decide.techniques import Rung, Technique, ladder, techniques


@dataclass(frozen=True)
class Option:
    """One option of the ranking."""

    option: str  # buy, adapt, train
    number: int  # 1, 2, 3 as in the paper
    technique: str  # an id of the technique table
    details: Technique  # its pros, cons, cost and risk
    score: int
    reasons: tuple[Reason, ...]
    vetoed_by: tuple[str, ...]
    cost_usd: dict[str, float] | None  # low, central, high; None where the volume is not known
    over_budget: bool | None  # the central cost; None where budget or cost is no number
    cost_lines: tuple[tuple[str, Band], ...]
    shortlist: tuple[Choice, ...]


@dataclass(frozen=True)
class Veto:
    """What rules one option out."""

    option: str
    number: int
    id: str
    text: str


@dataclass(frozen=True)
class Decision:
    """The answer to "buy, adapt or train?"."""

    ranking: tuple[Option, ...]
    vetoes: tuple[Veto, ...]
    would_change: tuple[Change, ...]
    ladder: tuple[Rung, ...]
    open_questions: tuple[tuple[str, str], ...]  # answer, question: would matter, not answered
    notes: tuple[str, ...]
    contradictions: tuple[str, ...]
    horizon_months: int
    break_even_tokens_per_month: float | None  # above it adapting costs less than buying
    dropped: tuple[Choice, ...] = field(default=())  # candidates ruled out for the first option

    @property
    def first(self) -> Option:
        """The option that stands first."""
        return self.ranking[0]


def decide(answers: DecideConfig, *, sensitivity: bool = True) -> Decision:
    """Rank the three options.

    Args:
        answers: null where not known.
        sensitivity: also look for answers that would change the outcome.

    Raises:
        ConfigError: answers that cannot both be true, all of them.
        InputError: an unknown chip, API model or absurd size.
    """
    require_consistent(answers)
    fired, unanswered = evaluate(answers)
    standings = rank(answers, fired)
    small = is_small_model(fired)
    costs = option_costs(answers, small_model=small)
    ranking, table, budget = [], techniques(), answers.budget
    for one in standings:
        cost = costs[one.option]
        total = cost.total
        known = one.option != "buy" or not cost.missing
        kept, _ = shortlist(answers, one.option, small_model=small)
        ranking.append(
            Option(
                option=one.option,
                number=one.number,
                technique=one.technique,
                details=table[one.technique],
                score=one.score,
                reasons=one.reasons,
                vetoed_by=one.vetoed_by,
                cost_usd=(
                    {"low": total.low, "central": total.central, "high": total.high}
                    if known
                    else None
                ),
                over_budget=(
                    total.central > budget if known and isinstance(budget, float) else None
                ),
                cost_lines=cost.lines,
                shortlist=tuple(kept),
            )
        )
    first = ranking[0].option
    return Decision(
        ranking=tuple(ranking),
        vetoes=tuple(
            Veto(OPTIONS[one.criterion.option], one.criterion.option, one.criterion.id, one.text)
            for one in fired
            if one.criterion.effect == VETO
        ),
        would_change=would_change(answers) if sensitivity else (),
        ladder=tuple(ladder(answers)),
        open_questions=_open_questions(unanswered),
        notes=decision_notes(answers, fired, standings, costs),
        contradictions=tuple(doubtful(answers)),
        horizon_months=costs["buy"].months,
        break_even_tokens_per_month=break_even_per_month(answers, small_model=small),
        dropped=tuple(shortlist(answers, first, small_model=small)[1]),
    )


def _open_questions(unanswered: list[Criterion]) -> tuple[tuple[str, str], ...]:
    """Each answer once, in the order of the criteria."""
    return tuple({one.field: one.question for one in unanswered}.items())

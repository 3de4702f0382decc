"""The 34 criteria of the paper, and which of them fire on a set of answers.

Each is a row of `catalog/criteria.csv`: the question, the answer it looks at, a test by name with
its thresholds, and its effect (points for an option, a veto, a route, a cost line). The tests are
the functions of `TESTS`; no text of a table is ever executed. A test says True, False or None: the
question was not answered, and the criterion neither fires nor is counted against anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from groundup.decide.catalogs import rows
from groundup.decide.config import LEVELS, SKILLS, DecideConfig
from groundup.decide.costs import (
    break_even_per_month,
    discount_of,
    model_params,
    monthly_tokens,
    owned_hours,
    scratch_plan,
)
from groundup.decide.scratch import ScratchPlan, affordable
from groundup.decide.techniques import is_narrow
from groundup.errors import InputError
from groundup.plan.catalogs import cached
from groundup.units import format_count, format_money

OPTIONS = {1: "buy", 2: "adapt", 3: "train"}
VETO = "VETO"
LEAST_BUDGET = 10.0  # US dollars; less trains nothing worth a name


@dataclass(frozen=True)
class Criterion:
    """One row of the table."""

    id: str
    option: int  # 1 buy, 2 adapt, 3 train; 0 a rule about all
    kind: str  # pro, con, when, rule
    question: str
    field: str  # the answer it looks at
    test: str  # a key of `TESTS`
    value: float | None
    upper: float | None
    level: str
    effect: str  # "+2", "VETO", "route:small-model", "cost:annotation", "scenario:discount"
    reason: str
    source: str

    @property
    def points(self) -> int:
        """Points for its option; 0 for a veto or a rule."""
        return int(self.effect) if self.effect[:1] in "+-" else 0


@dataclass(frozen=True)
class Fired:
    """A criterion that holds, with the numbers that made it so."""

    criterion: Criterion
    text: str


@dataclass(frozen=True)
class Facts:
    """The answers with what follows from them; computed when a test asks."""

    answers: DecideConfig

    @cached_property
    def plan(self) -> ScratchPlan:
        """What training from scratch would take."""
        return scratch_plan(self.answers)

    @cached_property
    def break_even(self) -> float | None:
        """Tokens a month above which hosting beats the API."""
        return break_even_per_month(self.answers, small_model=bool(is_narrow(self.answers)))


@cached
def read_criteria() -> tuple[Criterion, ...]:
    """Every criterion, in the order of the table.

    Raises:
        InputError: a row with an unknown test, option or answer.
    """
    found = []
    for row in rows("criteria"):
        one = Criterion(
            id=row.text("id"),
            option=int(row.needed("option")),
            kind=row.text("kind"),
            question=row.text("question"),
            field=row.text("field"),
            test=row.text("test"),
            value=row.number("value"),
            upper=row.number("upper"),
            level=row.text("level"),
            effect=row.text("effect"),
            reason=row.text("reason"),
            source=row.text("source"),
        )
        if one.test not in TESTS:
            raise InputError(f"there is no test {one.test!r}", where=row.where)
        if one.field not in DecideConfig.model_fields:
            raise InputError(f"there is no answer {one.field!r}", where=row.where)
        if one.option not in (0, *OPTIONS):
            raise InputError(f"option is {one.option}, but must be 0 to 3", where=row.where)
        if one.effect[:1] in "+-" and not one.effect[1:].isdigit():
            raise InputError(f"the effect {one.effect!r} is no number", where=row.where)
        found.append(one)
    return tuple(found)


def evaluate(answers: DecideConfig) -> tuple[list[Fired], list[Criterion]]:
    """The criteria that hold, and those whose question was not answered."""
    facts, fired, open_questions = Facts(answers), [], []
    for criterion in read_criteria():
        holds, numbers = TESTS[criterion.test](facts, criterion)
        if holds is None and numbers:  # its own question was answered, another one was not
            question = DecideConfig.model_fields[numbers].description or ""
            open_questions.append(
                replace(criterion, field=numbers, question=" ".join(question.split()))
            )
        elif holds is None:
            open_questions.append(criterion)
        elif holds:
            text = criterion.reason + (f" ({numbers})" if numbers else "")
            fired.append(Fired(criterion, text))
    return fired, open_questions


# --- the tests: (holds, the numbers in words), or (None, the answer that is missing besides) ------

Verdict = tuple[bool | None, str]


def _yes(facts: Facts, one: Criterion) -> Verdict:
    answer = getattr(facts.answers, one.field)
    if one.field == "regulated_or_edge" and answer is None:
        return _implied_regulation(facts.answers)
    return answer, ""


def _implied_regulation(answers: DecideConfig) -> Verdict:
    """Data that may not leave, or a model at the edge, answers C18 without being asked."""
    if answers.data_may_leave_org is False:
        return True, "your data may not leave the organisation"
    if answers.edge_or_offline:
        return True, "it runs at the edge or offline"
    return None, ""


def _no(facts: Facts, one: Criterion) -> Verdict:
    answer = getattr(facts.answers, one.field)
    return None if answer is None else not answer, ""


def _is(facts: Facts, one: Criterion) -> Verdict:
    answer = getattr(facts.answers, one.field)
    return None if answer is None else answer == one.level, ""


def _skill_at_most(facts: Facts, one: Criterion) -> Verdict:
    skill = facts.answers.team_llm_skill
    if skill is None:
        return None, ""
    return SKILLS.index(skill) <= SKILLS.index(one.level), f"skill: {skill}"


def _below(facts: Facts, one: Criterion) -> Verdict:
    answer = getattr(facts.answers, one.field)
    if answer is None:
        return (True, "none given") if one.field == "discount_pct" else (None, "")
    return answer < (one.value or 0), f"{answer:,g} of {one.value:g}"


def _amount(facts: Facts, one: Criterion) -> Verdict:
    """Low is below ``value``, medium from ``value`` to ``upper``, high at least ``value``."""
    answer, value = getattr(facts.answers, one.field), one.value or 0
    if answer is None:
        return None, ""
    if isinstance(answer, str):
        return answer == one.level, f"answered: {answer}"
    inside = {
        "low": answer < value,
        "medium": value <= answer <= (one.upper or value),
        "high": answer >= value,
    }
    show = format_money if one.field in ("budget", "upfront_budget") else format_count
    return inside[one.level], show(answer)


def _above_break_even(facts: Facts, one: Criterion) -> Verdict:
    volume = monthly_tokens(facts.answers)
    if volume is None:
        return None, ""
    even = facts.break_even
    if even is None:
        return False, ""
    return volume > even, f"{format_count(volume)} a month; break-even at {format_count(even)}"


def _below_tokens_per_parameter(facts: Facts, one: Criterion) -> Verdict:
    tokens, size = facts.answers.unique_tokens, model_params(facts.answers)
    if tokens is None:
        return None, ""
    wanted = (one.value or 0) * size
    return tokens < wanted, (
        f"{format_count(tokens)} unique tokens; {one.value:g} for each of {format_count(size)} "
        f"parameters are {format_count(wanted)}"
    )


def _below_needed_tokens(facts: Facts, one: Criterion) -> Verdict:
    """Fewer unique tokens than the size needs over ``value`` epochs."""
    unique, epochs = facts.answers.unique_tokens, one.value or 1
    if unique is None:
        return None, ""
    plan = facts.plan
    given = facts.answers.tokens is not None
    least, most = (plan.tokens, plan.tokens) if given else (plan.tokens_low, plan.tokens_high)
    ends = dict.fromkeys((_tokens(least), _tokens(most)))  # one where they look the same
    needs = " to ".join(ends)
    return unique * epochs < least, (
        f"{format_count(plan.params)} parameters need {needs} tokens; {epochs:g} epochs of "
        f"{format_count(unique)} give {_tokens(unique * epochs)}"
    )


def _tokens(value: float) -> str:
    """In trillions from a tenth of one, as the laws are quoted: ``0.2T``."""
    return f"{value / 1e12:.3g}T" if value >= 1e11 else format_count(value)


def _below_plan_cost(facts: Facts, one: Criterion) -> Verdict:
    """The budget is less than the plan's cost times ``value`` (safe: ``upper``)."""
    budget = facts.answers.budget
    if budget is None:
        return None, ""
    plan, once, safe = facts.plan, one.value or 1, one.upper or 1
    if isinstance(budget, str):  # no number to compare with: only a low one says enough
        return (True, "answered: low") if budget == LEVELS[0] else (None, "")
    if budget >= plan.usd.central * once:
        return False, ""
    numbers = (
        f"{format_count(plan.params)} parameters on {format_count(plan.tokens)} tokens cost about "
        f"{format_money(plan.usd.central)} once, {format_money(plan.usd.central * once)} to "
        f"{format_money(plan.usd.central * safe)} with retries, people and hosting not counted; "
        f"the budget is {format_money(budget)}"
    )
    if budget >= LEAST_BUDGET:
        answers = facts.answers
        params, tokens = affordable(
            budget / once, answers.chip, discount_of(answers), owned_hours(answers)
        )
        numbers += (
            f", which would buy {format_count(params)} parameters on {format_count(tokens)} tokens,"
            f" retries of {once:g} times counted"
        )
    else:
        numbers += ", which buys no training"
    return True, numbers


def _large_proprietary(facts: Facts, one: Criterion) -> Verdict:
    """Own text of which ``value`` epochs are enough for the size, and use does not end it."""
    tokens = facts.answers.proprietary_tokens
    if tokens is None:
        return None, ""
    if isinstance(tokens, str):
        large, numbers = tokens == LEVELS[-1], f"answered: {tokens}"
    else:
        enough = facts.plan.tokens / (one.value or 1)
        large = tokens >= enough
        numbers = f"{format_count(tokens)} tokens; large is from {format_count(enough)}"
    if large and facts.answers.data_grows is None:
        return None, "data_grows"
    return large and bool(facts.answers.data_grows), numbers


def _narrow(facts: Facts, one: Criterion) -> Verdict:
    return is_narrow(facts.answers), ""


TESTS: dict[str, Callable[[Facts, Criterion], Verdict]] = {
    "yes": _yes,
    "no": _no,
    "is": _is,
    "skill_at_most": _skill_at_most,
    "below": _below,
    "amount_low": _amount,
    "amount_medium": _amount,
    "amount_high": _amount,
    "above_break_even": _above_break_even,
    "below_tokens_per_parameter": _below_tokens_per_parameter,
    "below_needed_tokens": _below_needed_tokens,
    "below_plan_cost": _below_plan_cost,
    "large_proprietary": _large_proprietary,
    "narrow": _narrow,
}

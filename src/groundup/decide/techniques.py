"""The techniques of the slides side by side, and the ladder from prompting to from scratch.

"Only once we reach a ceiling do we fine-tune": each rung is climbed when the one below it was
measured and found too little, and when there is data for it: prompting, PEFT, full fine-tuning,
continued pre-training, from scratch. Beside the ladder stands a much smaller model for one task.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.decide.catalogs import rows
from groundup.decide.config import DecideConfig
from groundup.decide.prices import find_price
from groundup.plan.catalogs import cached
from groundup.units import format_count

LADDER = ("prompting", "peft", "full-fine-tuning", "continued-pre-training")


@dataclass(frozen=True)
class Technique:
    """One row of the table; texts are lists in the table's own words."""

    id: str
    name: str
    option: int
    rung: int
    as_printed: bool  # one of the slides' four rows
    pros: tuple[str, ...]
    cons: tuple[str, ...]
    cost: str
    risk_mitigation: str
    least_examples: float  # labelled examples below which it is not worth trying
    least_tokens: float
    source: str


@dataclass(frozen=True)
class Rung:
    """What the ladder says of one technique for a set of answers."""

    technique: str
    verdict: str  # done, next, later, not this, not answered
    why: str


@cached
def techniques() -> dict[str, Technique]:
    """Every technique by id, in the order of the ladder.

    Raises:
        InputError: a cell that is no number.
    """
    return {
        row.text("id"): Technique(
            id=row.text("id"),
            name=row.text("name"),
            option=int(row.needed("option")),
            rung=int(row.needed("rung")),
            as_printed=row.text("as_printed") == "yes",
            pros=_list(row.text("pros")),
            cons=_list(row.text("cons")),
            cost=row.text("cost"),
            risk_mitigation=row.text("risk_mitigation"),
            least_examples=row.number("least_examples") or 0,
            least_tokens=row.number("least_tokens") or 0,
            source=row.text("source"),
        )
        for row in rows("techniques")
    }


def ladder(answers: DecideConfig) -> list[Rung]:
    """Each rung of option 2 up to continued pre-training; exactly one of them is next.

    It is the lowest that was not measured and for which there is enough (labelled examples nobody
    counted may be enough; text nobody counted is not). Where all that is left lacks data, it is
    the lowest of those, and the rung says what is missing. An unanswered ceiling of prompting
    counts as not measured, unless there are examples to tune on.
    """
    table = techniques()
    measured = {
        "prompting": answers.prompting_ceiling_measured,
        "peft": answers.peft_ceiling_measured,
        "full-fine-tuning": answers.full_tuning_ceiling_measured,
    }
    lacking = {name for name in LADDER if _lacks(table[name], answers)}
    tunable = answers.peft_ceiling_measured or (
        answers.labelled_examples is not None and "peft" not in lacking
    )
    passed = {"prompting"} if tunable and answers.prompting_ceiling_measured is None else set()
    left = [name for name in LADDER if not measured.get(name) and name not in passed]
    following = next((name for name in left if name not in lacking), left[0])
    found = []
    for name in LADDER:
        have = _have(table[name], answers)
        if measured.get(name):
            found.append(Rung(name, "done", "its ceiling was measured and is too little"))
        elif name in passed:
            found.append(Rung(name, "not answered", have))
        elif name == following:
            found.append(Rung(name, "next", have))
        elif name in lacking:
            found.append(Rung(name, "not this", have))
        else:
            why = f"once {table[following].name} was measured and is too little; {have}"
            found.append(Rung(name, "later", why))
    return found


def _lacks(one: Technique, answers: DecideConfig) -> bool:
    """Whether there is too little for it: examples as far as counted, text counted or not."""
    examples = answers.labelled_examples
    few = examples is not None and examples < one.least_examples
    return few or (own_text(answers) or 0) < one.least_tokens


def _have(one: Technique, answers: DecideConfig) -> str:
    """What there is for a technique beside what it wants."""
    if one.id == "prompting":
        return (
            "nobody has measured how far it gets"
            if answers.prompting_ceiling_measured is False
            else "whether its ceiling was measured was not answered"
        )
    if one.least_tokens:
        text = own_text(answers)
        if text is None:
            return (
                "tokens of text of your own were not counted; it wants "
                f"{format_count(one.least_tokens)}"
            )
        have = f"{format_count(text)} tokens of text of your own"
        if text >= one.least_tokens:
            return f"{have}; tuning comes after it"
        return f"{have}; it wants {format_count(one.least_tokens)}"
    examples = answers.labelled_examples
    if examples is None:
        return f"labelled examples were not counted; it wants {format_count(one.least_examples)}"
    if examples >= one.least_examples:
        return f"{format_count(examples)} labelled examples"
    return (
        f"{format_count(examples)} labelled examples: label "
        f"{format_count(one.least_examples - examples)} more for it"
    )


def adapt_technique(answers: DecideConfig, *, small_model: bool) -> str:
    """The technique of option 2 that these answers call for: the rung that is next."""
    if small_model:
        return "small-model"
    return next(rung.technique for rung in ladder(answers) if rung.verdict == "next")


def buy_technique(answers: DecideConfig) -> str:
    """Prompting, or the provider's tuning once prompting was measured and is too little.

    The tuning needs labelled examples and a listed price (`api_model`); where one of them is
    missing or PEFT was measured too, what is left to buy is a better model to prompt.
    """
    if not answers.prompting_ceiling_measured or answers.peft_ceiling_measured:
        return "prompting"
    enough = (answers.labelled_examples or 0) >= techniques()["peft"].least_examples
    tunable = find_price(answers.api_model).training_usd is not None
    return "peft" if enough and tunable else "prompting"


def train_technique(answers: DecideConfig) -> str:
    """From scratch, with outside help where the team is not expert."""
    skill = answers.team_llm_skill
    return "from-scratch" if skill in (None, "expert") else "from-scratch-consultants"


def own_text(answers: DecideConfig) -> int | None:
    """Tokens of text that nobody else has; None where they were not counted."""
    own = answers.proprietary_tokens
    return own if isinstance(own, int) else None


def is_narrow(answers: DecideConfig) -> bool | None:
    """Whether one narrow task is all; None where that was not answered."""
    if answers.task_is_narrow is None:
        return None
    return answers.task_is_narrow and not (answers.needs_chat or answers.needs_full_generality)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())

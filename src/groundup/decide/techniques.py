"""The techniques of the slides side by side, and the ladder from prompting to from scratch.

"Only once we reach a ceiling do we fine-tune": each rung is climbed when the one below it was
measured and found too little, and when there is data for it: prompting, PEFT, full fine-tuning,
continued pre-training, from scratch. Beside the ladder stands a much smaller model for one task.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.decide.catalogs import rows
from groundup.decide.config import DecideConfig
from groundup.units import format_count


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
    verdict: str  # done, next, later, not this
    why: str


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
    """Each rung up to continued pre-training: done, next (one of them), later or not this."""
    table = techniques()
    examples, tokens = answers.labelled_examples, field_tokens(answers)
    prompted, tuned = answers.prompting_ceiling_measured, answers.peft_ceiling_measured
    found = [
        Rung("prompting", "done", "its ceiling was measured")
        if prompted
        else Rung("prompting", "next", "nobody has measured how far it gets")
        if prompted is False
        else Rung("prompting", "first", "whether its ceiling was measured was not answered")
    ]
    for name in ("peft", "full-fine-tuning"):
        least = table[name].least_examples
        if examples is not None and examples < least:
            why = f"{format_count(examples)} labelled examples; it wants {format_count(least)}"
            found.append(Rung(name, "not this", why))
        elif name == "full-fine-tuning" and not tuned:
            found.append(Rung(name, "later", "once PEFT was measured and is too little"))
        elif tuned and name == "peft":
            found.append(Rung(name, "done", "its ceiling was measured"))
        elif examples is None:
            found.append(Rung(name, "later", "needs labelled examples; none were counted"))
        else:
            found.append(Rung(name, "next", f"{format_count(examples)} labelled examples"))
    least = table["continued-pre-training"].least_tokens
    if tokens is None:
        found.append(Rung("continued-pre-training", "later", "needs text of the field, uncounted"))
    elif tokens < least:
        why = f"{format_count(tokens)} tokens of text; it wants {format_count(least)}"
        found.append(Rung("continued-pre-training", "not this", why))
    else:
        why = f"{format_count(tokens)} tokens of text; tuning comes after it"
        found.append(Rung("continued-pre-training", "next", why))
    return found


def adapt_technique(answers: DecideConfig, *, small_model: bool) -> str:
    """The technique of option 2 that these answers call for."""
    if small_model:
        return "small-model"
    verdicts = {rung.technique: rung.verdict for rung in ladder(answers)}
    if verdicts["prompting"] == "next":
        return "prompting"
    for name in ("continued-pre-training", "full-fine-tuning", "peft"):
        if verdicts[name] == "next":
            return name
    return "peft" if verdicts["peft"] == "done" else "prompting"


def buy_technique(answers: DecideConfig) -> str:
    """Prompting, or the provider's tuning once prompting was measured and there is data."""
    least = techniques()["peft"].least_examples
    enough = (answers.labelled_examples or 0) >= least
    return "peft" if answers.prompting_ceiling_measured and enough else "prompting"


def train_technique(answers: DecideConfig) -> str:
    """From scratch, with outside help where the team is not expert."""
    skill = answers.team_llm_skill
    return "from-scratch" if skill in (None, "expert") else "from-scratch-consultants"


def field_tokens(answers: DecideConfig) -> int | None:
    """Tokens of text of the field: one's own, or all there are; None where uncounted."""
    own = answers.proprietary_tokens
    return own if isinstance(own, int) else answers.unique_tokens


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())

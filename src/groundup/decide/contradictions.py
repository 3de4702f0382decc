"""Answers that cannot both be true, and those that sit badly together.

The first kind is refused, all at once, before anything is ranked; the second is said with the
result.
"""

from __future__ import annotations

from groundup.decide.config import LEVELS, DecideConfig
from groundup.errors import ConfigError
from groundup.units import format_count, format_money


def require_consistent(answers: DecideConfig) -> None:
    """Refuse answers that exclude each other.

    Raises:
        ConfigError: with every pair of them.
    """
    problems = impossible(answers)
    if problems:
        count = "1 contradiction" if len(problems) == 1 else f"{len(problems)} contradictions"
        raise ConfigError(
            f"{count} in the answers",
            problems=tuple(problems),
            fix="change one answer of each pair, or leave it open (null)",
        )


def impossible(a: DecideConfig) -> list[str]:
    """Each pair of answers that cannot both be true, as a sentence that names both."""
    found = []
    if a.task_is_narrow and a.needs_full_generality:
        found.append("task_is_narrow and needs_full_generality are both yes")
    if a.edge_or_offline and a.regulated_or_edge is False:
        found.append("edge_or_offline is yes, but regulated_or_edge (which includes it) is no")
    if a.option_wanted == "buy":
        if a.edge_or_offline:
            found.append("option_wanted is buy, but edge_or_offline is yes: no API runs there")
        if a.data_may_leave_org is False:
            found.append("option_wanted is buy, but data_may_leave_org is no")
        if a.change_architecture_or_tokenizer:
            found.append(
                "option_wanted is buy, but change_architecture_or_tokenizer is yes: a bought model "
                "stays as it is"
            )
    if a.budget == 0 and a.option_wanted is not None:
        found.append(f"option_wanted is {a.option_wanted}, but budget is 0")
    unique, own = a.unique_tokens, a.proprietary_tokens
    if unique is not None and isinstance(own, int) and own > unique:
        found.append(
            f"unique_tokens ({format_count(unique)}) is less than proprietary_tokens "
            f"({format_count(own)}), which it includes"
        )
    found += _budgets(a)
    if a.must_control_training_data and a.option_wanted in ("buy", "adapt"):
        found.append(
            f"option_wanted is {a.option_wanted}, but must_control_training_data is yes: others "
            "chose the text of an existing model"
        )
    return found


def doubtful(a: DecideConfig) -> list[str]:
    """Pairs that may both be true, but then need a second look."""
    found = []
    if a.task_is_narrow and a.needs_chat:
        found.append("task_is_narrow and needs_chat are both yes: taken as not narrow")
    if a.llm_is_core_moat and a.external_product_core:
        found.append("llm_is_core_moat and external_product_core are both yes: a moat of others'")
    if a.data_may_leave_org is False and a.regulated_or_edge is False:
        found.append("data_may_leave_org is no though regulated_or_edge is no: C18 does not count")
    if a.team_llm_skill in ("none", "low") and a.option_wanted == "train":
        found.append(f"option_wanted is train, but team_llm_skill is {a.team_llm_skill}")
    if a.prompting_ceiling_measured is False and a.peft_ceiling_measured:
        found.append("peft_ceiling_measured is yes, but that of prompting was not measured")
    if a.peft_ceiling_measured is False and a.full_tuning_ceiling_measured:
        found.append("full_tuning_ceiling_measured is yes, but that of PEFT was not measured")
    if a.stage == "prototype" and a.option_wanted == "train":
        found.append("option_wanted is train, but stage is prototype")
    if a.edge_or_offline and a.needs_frontier_quality:
        found.append("edge_or_offline and needs_frontier_quality: the best models do not fit there")
    if a.change_architecture_or_tokenizer and a.option_wanted == "adapt":
        found.append(
            "option_wanted is adapt, but change_architecture_or_tokenizer is yes: words can be "
            "added to a vocabulary, another tokenizer means starting anew"
        )
    return found


def _budgets(a: DecideConfig) -> list[str]:
    upfront, total = a.upfront_budget, a.budget
    if isinstance(upfront, float) and isinstance(total, float) and upfront > total:
        return [
            f"upfront_budget ({format_money(upfront)}) is more than budget "
            f"({format_money(total)}), of which it is a part"
        ]
    both_words = isinstance(upfront, str) and isinstance(total, str)
    if both_words and LEVELS.index(upfront) > LEVELS.index(total):
        return [f"upfront_budget is {upfront}, but budget is {total}"]
    return []

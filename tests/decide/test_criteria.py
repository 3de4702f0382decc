from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from groundup.decide.config import DecideConfig
from groundup.decide.criteria import Facts, evaluate, read_criteria
from groundup.errors import InputError
from groundup.plan.catalogs import read_rows

SHARED = Path(__file__).parents[3] / "shared" / "planner" / "decision_criteria.csv"

# Each criterion with an answer that fires it and one that does not (as the paper's when-rules say).
EACH: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("C01", {"team_llm_skill": "low"}, {"team_llm_skill": "medium"}),
    ("C02", {"upfront_budget": "low"}, {"upfront_budget": "$1M"}),
    ("C03", {"labelled_examples": 99}, {"labelled_examples": 100}),
    ("C04", {"needs_frontier_quality": True}, {"needs_frontier_quality": False}),
    ("C05", {"deadline_months": 2}, {"deadline_months": 3}),
    ("C06", {"tokens_per_month": "1T"}, {"tokens_per_month": "1M"}),
    ("C07", {"data_may_leave_org": False}, {"data_may_leave_org": True}),
    ("C08", {"external_product_core": True}, {"external_product_core": False}),
    ("C09", {"edge_or_offline": True}, {"edge_or_offline": False}),
    ("C10", {"tokens_per_month": "high"}, {"tokens_per_month": "low"}),
    ("C11", {"needs_version_control": True}, {"needs_version_control": False}),
    ("C12", {"budget": "$500k"}, {"budget": "$50M"}),
    ("C13", {"team_llm_skill": "none"}, {"team_llm_skill": "low"}),
    ("C14", {"deadline_months": 0.5}, {"deadline_months": 1}),
    ("C15", {"needs_frontier_quality": True}, {"needs_frontier_quality": False}),
    (
        "C16",
        {"change_architecture_or_tokenizer": False},
        {"change_architecture_or_tokenizer": True},
    ),
    ("C17", {"unique_tokens": "1B"}, {"unique_tokens": "1T"}),
    ("C18", {"regulated_or_edge": True}, {"regulated_or_edge": False}),
    ("C19", {"needs_full_control": True}, {"needs_full_control": False}),
    ("C20", {"must_control_training_data": True}, {"must_control_training_data": False}),
    ("C21", {"llm_is_core_moat": True}, {"llm_is_core_moat": False}),
    ("C22", {"budget": 1000, "params": "70B"}, {"budget": "$900M", "params": "70B"}),
    ("C23", {"team_llm_skill": "medium"}, {"team_llm_skill": "expert"}),
    ("C24", {"unique_tokens": "1B", "params": "7B"}, {"unique_tokens": "40B", "params": "7B"}),
    (
        "C25",
        {"change_architecture_or_tokenizer": True},
        {"change_architecture_or_tokenizer": False},
    ),
    ("C26", {"llm_is_core_moat": True}, {"llm_is_core_moat": False}),
    (
        "C27",
        {"proprietary_tokens": "2T", "data_grows": True},
        {"proprietary_tokens": "2T", "data_grows": False},
    ),
    ("C28", {"task_is_narrow": True}, {"task_is_narrow": True, "needs_chat": True}),
    ("C29", {"prompting_ceiling_measured": False}, {"prompting_ceiling_measured": True}),
    ("C30", {"needs_rlhf": True}, {"needs_rlhf": False}),
    ("C31", {"discount_pct": 0}, {"discount_pct": 40}),
    ("C32", {"labelled_examples": 0}, {"labelled_examples": 5000}),
    ("C33", {"stage": "prototype"}, {"stage": "product"}),
    ("C34", {"team_llm_skill": "low"}, {"team_llm_skill": "expert"}),
]


def fired(answers: dict[str, Any]) -> set[str]:
    return {one.criterion.id for one in evaluate(DecideConfig.model_validate(answers))[0]}


@pytest.mark.parametrize(("name", "yes", "no"), EACH, ids=[row[0] for row in EACH])
def test_a_criterion_fires_when_it_should(
    name: str, yes: dict[str, Any], no: dict[str, Any]
) -> None:
    assert name in fired(yes)
    assert name not in fired(no)


def test_every_criterion_is_tried_here() -> None:
    assert [row[0] for row in EACH] == [one.id for one in read_criteria()]
    assert len(EACH) == 34


def test_the_criteria_are_those_of_the_shared_table() -> None:
    if not SHARED.is_file():
        pytest.skip("no shared data here")
    routes = {
        "route: small model": "route:small-model",
        "route: option 1 prompt": "route:prompting",
    }
    lines = {"add cost line": "cost:annotation", "scenario": "scenario:discount"}
    for ours, theirs in zip(read_criteria(), read_rows(SHARED), strict=True):
        effect = theirs.text("effect_proposed")
        assert ours.id == theirs.text("id")
        assert ours.option == theirs.needed("option")
        assert ours.kind == theirs.text("kind")
        assert ours.field == theirs.text("question_field")
        assert ours.effect == {**routes, **lines}.get(effect, effect)
        assert ours.source


def test_an_open_answer_fires_nothing_and_is_listed() -> None:
    found, unanswered = evaluate(DecideConfig())
    assert [one.criterion.id for one in found] == ["C31"]  # list prices are an upper bound anyway
    assert len(unanswered) == 33


@pytest.mark.parametrize(
    "implying", [{"data_may_leave_org": "no"}, {"edge_or_offline": "yes"}], ids=str
)
def test_what_may_not_leave_is_regulated_unless_denied(implying: dict[str, str]) -> None:
    assert "C18" in fired(implying)


def test_data_that_may_not_leave_for_other_reasons_is_not_regulated() -> None:
    assert "C18" not in fired({"data_may_leave_org": "no", "regulated_or_edge": "no"})


def test_a_threshold_can_be_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "criteria.csv").write_text("id,value\nC03,1000\n")
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    assert "C03" in fired({"labelled_examples": 500})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("C03,import os,labelled_examples,+2", "import os"),
        ("C03,below,nobody_asks,+2", "nobody_asks"),
        ("C03,below,labelled_examples,+two", "two"),
    ],
)
def test_a_wrong_row_is_named_and_never_executed(
    row: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "criteria.csv").write_text(f"id,test,field,effect\n{row}\n")
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    with pytest.raises(InputError, match=said) as caught:
        read_criteria()
    assert "criteria.csv:2" in str(caught.value)


def test_much_text_counts_only_where_use_brings_more() -> None:
    """C27 of the paper: lots of proprietary data and a continuous improvement loop."""
    found, unanswered = evaluate(DecideConfig.model_validate({"proprietary_tokens": "2T"}))
    assert "C27" not in {one.criterion.id for one in found}
    missing = next(one for one in unanswered if one.id == "C27")
    assert missing.field == "data_grows"
    assert "use bring back data" in missing.question


def test_a_small_model_is_compared_with_buying_as_a_small_model() -> None:
    """C06 of a narrow task: a 340M model pays long before the 70B that was named."""
    answers = {"params": "70B", "tokens_per_month": "5B"}
    assert "C06" not in fired(answers)
    assert "C06" in fired({**answers, "task_is_narrow": True})


def test_the_least_and_the_most_are_said_once_where_they_look_the_same() -> None:
    fired_by = evaluate(DecideConfig.model_validate({"unique_tokens": "1B"}))[0]
    text = next(one.text for one in fired_by if one.criterion.id == "C24")
    assert "need 0.144T tokens" in text


def test_a_budget_for_one_run_but_no_retry_is_not_said_to_be_less_than_it() -> None:
    plan = Facts(DecideConfig()).plan.usd.central
    fired_by = evaluate(DecideConfig(budget=1.2 * plan))[0]
    text = next(one.text for one in fired_by if one.criterion.id == "C22")
    assert "does not cover training from scratch with its retries" in text
    assert "people and hosting not counted" in text

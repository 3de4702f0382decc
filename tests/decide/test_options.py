from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.decide.config import DecideConfig
from groundup.decide.options import Decision, decide
from groundup.decide.report import record
from groundup.decide.techniques import LADDER, adapt_technique, ladder
from groundup.errors import ConfigError, InputError


def decided(**answers: Any) -> Decision:
    return decide(DecideConfig.model_validate(answers))


def effects(decision: Decision, option: str) -> dict[str, str]:
    one = next(one for one in decision.ranking if one.option == option)
    return {reason.id: reason.effect for reason in one.reasons}


# --- the acceptance rows --------------------------------------------------------------------------


def test_data_that_may_not_leave_and_an_unchanged_architecture_is_option_2() -> None:
    """S5-15: no data may leave, needs chat, 5k examples, no architecture change."""
    found = decided(
        data_may_leave_org="no",
        needs_chat="yes",
        labelled_examples="5k",
        change_architecture_or_tokenizer="no",
    )
    assert (found.first.option, found.first.number) == ("adapt", 2)
    assert {"C07", "C16", "C18"} <= effects(found, "adapt").keys()
    assert [(veto.option, veto.id) for veto in found.vetoes] == [("buy", "C07")]
    assert found.first.technique == "peft"
    assert found.ranking[-1].option == "buy"


def test_a_new_tokenizer_much_text_money_and_experts_is_option_3() -> None:
    """S5-17: new tokenizer for a new language, 2T proprietary tokens, $20M, expert team."""
    found = decided(
        change_architecture_or_tokenizer="yes",
        proprietary_tokens="2T",
        budget="$20M",
        team_llm_skill="expert",
    )
    assert (found.first.option, found.first.number) == ("train", 3)
    assert not found.vetoes
    assert "C25" in effects(found, "train")
    assert "data_grows" in dict(found.open_questions)


@pytest.mark.parametrize("size", ["7B", "70B"])
def test_option_3_holds_for_the_sizes_20_million_dollars_train(size: str) -> None:
    found = decided(
        change_architecture_or_tokenizer="yes",
        proprietary_tokens="2T",
        unique_tokens="2T",
        budget="$20M",
        team_llm_skill="expert",
        params=size,
    )
    assert found.first.option == "train"


def test_70b_from_scratch_with_50b_tokens_is_vetoed_with_its_numbers() -> None:
    """S5-19: needs some 1.3 to 1.5T tokens; four epochs of 50B give 0.2T."""
    found = decided(params="70B", unique_tokens="50B", option_wanted="train")
    veto = next(one for one in found.vetoes if one.option == "train")
    assert veto.id == "C24"
    assert "0.2T" in veto.text
    assert "1.29T to 1.46T" in veto.text
    assert found.ranking[-1].option == "train"
    assert effects(found, "adapt")["C24"] == "VETO of train"


def test_a_fifth_of_the_text_over_four_epochs_is_not_too_little() -> None:
    found = decided(params="70B", unique_tokens="400B")
    assert not [one for one in found.vetoes if one.id == "C24"]


# --- routes, vetoes, ladder -----------------------------------------------------------------------


def test_a_narrow_task_goes_to_a_small_model() -> None:
    found = decided(task_is_narrow="yes", team_llm_skill="none", stage="prototype")
    assert (found.first.option, found.first.technique) == ("adapt", "small-model")
    assert effects(found, "adapt")["C28"] == "route:small-model"
    assert found.first.shortlist[0].id in ("distilbert", "albert", "bert")


def test_a_narrow_task_that_converses_is_not_narrow() -> None:
    found = decided(task_is_narrow="yes", needs_chat="yes")
    assert found.first.technique != "small-model"
    assert any("not narrow" in text for text in found.contradictions)


def test_prompting_first_where_nobody_measured_its_ceiling() -> None:
    found = decided(prompting_ceiling_measured="no", change_architecture_or_tokenizer="no")
    assert (found.first.option, found.first.technique) == ("buy", "prompting")
    assert effects(found, "buy")["C29"] == "route:prompting"


def test_no_prompt_changes_a_tokenizer() -> None:
    found = decided(prompting_ceiling_measured="no", change_architecture_or_tokenizer="yes")
    assert found.first.option == "train"


def test_a_model_that_one_hosts_can_be_prompted_too() -> None:
    found = decided(prompting_ceiling_measured="no", data_may_leave_org="no")
    assert (found.first.option, found.first.technique) == ("adapt", "prompting")
    assert any("C29" in note for note in found.notes)


@pytest.mark.parametrize(
    ("answers", "technique"),
    [
        ({"prompting_ceiling_measured": "no", "labelled_examples": 50_000}, "prompting"),
        ({"prompting_ceiling_measured": "yes", "labelled_examples": 5_000}, "peft"),
        ({"prompting_ceiling_measured": "yes", "labelled_examples": 20}, "peft"),
        ({"prompting_ceiling_measured": "yes"}, "peft"),
        (
            {
                "prompting_ceiling_measured": "yes",
                "unique_tokens": "1T",
                "labelled_examples": 5_000,
            },
            "peft",
        ),
        (
            {
                "prompting_ceiling_measured": "yes",
                "labelled_examples": 5_000,
                "proprietary_tokens": "20B",
            },
            "peft",
        ),
        ({"prompting_ceiling_measured": "yes", "peft_ceiling_measured": "yes"}, "full-fine-tuning"),
        (
            {
                "prompting_ceiling_measured": "yes",
                "peft_ceiling_measured": "yes",
                "labelled_examples": 50_000,
            },
            "full-fine-tuning",
        ),
        (
            {
                "prompting_ceiling_measured": "yes",
                "peft_ceiling_measured": "yes",
                "full_tuning_ceiling_measured": "yes",
                "labelled_examples": 50_000,
                "proprietary_tokens": "20B",
            },
            "continued-pre-training",
        ),
        (
            {
                "prompting_ceiling_measured": "yes",
                "peft_ceiling_measured": "yes",
                "labelled_examples": 5_000,
                "proprietary_tokens": "20B",
            },
            "continued-pre-training",
        ),
    ],
)
def test_the_ladder_is_climbed_rung_by_rung(answers: dict[str, Any], technique: str) -> None:
    found = decided(data_may_leave_org="no", **answers)
    assert found.first.option == "adapt"
    assert found.first.technique == technique


def test_the_edge_vetoes_buying() -> None:
    found = decided(edge_or_offline="yes", needs_frontier_quality="yes", deadline_months=1)
    assert [veto.id for veto in found.vetoes] == ["C09"]
    assert found.first.option == "adapt"


def test_an_impossible_budget_says_what_it_would_buy() -> None:
    found = decided(params="70B", budget="$50k")
    veto = next(one for one in found.vetoes if one.id == "C22")
    assert "would buy" in veto.text
    assert "$50,000" in veto.text


def test_a_low_budget_vetoes_scratch_without_numbers() -> None:
    assert [one.id for one in decided(budget="low").vetoes] == ["C22"]
    assert not decided(budget="medium").vetoes


def test_high_volume_speaks_against_buying_only_above_the_break_even() -> None:
    assert "C06" in effects(decided(tokens_per_month="1T"), "buy")
    assert "C06" not in effects(decided(tokens_per_month="1M"), "buy")


def test_rlhf_adds_its_human_labels_to_the_cost() -> None:
    names = [name for name, _ in decided(needs_rlhf="yes").ranking[1].cost_lines]
    assert "human labels for RLHF" in names


# --- what the decision says -----------------------------------------------------------------------


def test_nothing_answered_fires_nothing_and_asks() -> None:
    found = decided()
    assert not any(one.reasons for one in found.ranking)
    assert [one.option for one in found.ranking] == ["buy", "adapt", "train"]
    asked = {name for name, _ in found.open_questions}
    assert {"task_is_narrow", "data_may_leave_org", "budget", "unique_tokens"} <= asked
    assert any("no criterion" in note for note in found.notes)


def test_dont_know_is_an_answer() -> None:
    assert decided(data_may_leave_org="don't know", budget="unknown") == decided()


def test_costs_are_bands_and_unknown_where_the_volume_is() -> None:
    found = {one.option: one for one in decided().ranking}
    assert found["buy"].cost_usd is None
    cost = {one.option: one for one in decided(tokens_per_month="1B").ranking}["buy"].cost_usd
    assert cost is not None
    assert cost["low"] <= cost["central"] <= cost["high"]


def test_the_api_bill_is_volume_times_price() -> None:
    """1e9 tokens a month, a third written, at $2 and $10 a million: $56,000 in a year."""
    found = decided(
        tokens_per_month="1B", people_usd_per_month=0, api_model="gpt-6-sol", horizon_months=12
    )
    cost = {one.option: one for one in found.ranking}["buy"].cost_usd
    assert cost is not None
    assert cost["high"] == pytest.approx(12e9 * (2 / 3 * 2e-6 + 1 / 3 * 1e-5))


def test_what_would_change_it_does_change_it() -> None:
    answers = {
        "data_may_leave_org": "no",
        "change_architecture_or_tokenizer": "no",
        "team_llm_skill": "low",
        "deadline_months": 2,
    }
    found = decided(**answers)
    assert len(found.would_change) == 2
    for change in found.would_change:
        changed = {**answers, **{name: value for name, _, value in change.changes}}
        first = decided(**changed).first
        assert (first.option, first.technique) == (change.outcome, change.technique)
        assert (change.outcome, change.technique) != (found.first.option, found.first.technique)


def test_every_other_winner_shows_its_veto() -> None:
    found = decided(data_may_leave_org="no")
    assert effects(found, "buy")["C07"] == "VETO"
    assert found.ranking[-1].vetoed_by == ("C07",)


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        ({"edge_or_offline": "yes", "option_wanted": "buy"}, ("edge_or_offline", "option_wanted")),
        ({"data_may_leave_org": "no", "option_wanted": "buy"}, ("data_may_leave_org",)),
        ({"unique_tokens": "1B", "proprietary_tokens": "2B"}, ("unique_tokens", "proprietary")),
        ({"budget": 0, "option_wanted": "train"}, ("budget", "option_wanted")),
        ({"task_is_narrow": "yes", "needs_full_generality": "yes"}, ("task_is_narrow",)),
        ({"edge_or_offline": "yes", "regulated_or_edge": "no"}, ("regulated_or_edge",)),
        ({"upfront_budget": "$2M", "budget": "$1M"}, ("upfront_budget",)),
        ({"upfront_budget": "high", "budget": "low"}, ("upfront_budget",)),
    ],
)
def test_answers_that_exclude_each_other_are_refused(
    answers: dict[str, Any], names: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        decided(**answers)
    for name in names:
        assert name in str(caught.value)


def test_all_contradictions_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        decided(
            option_wanted="buy", edge_or_offline="yes", unique_tokens="1B", proprietary_tokens="2B"
        )
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "wrong", [{"chip": "H1000"}, {"api_model": "gpt-99"}, {"params": 0}, {"params": "1e30"}]
)
def test_what_cannot_be_looked_up_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        decided(tokens_per_month="1B", unique_tokens="1B", **wrong)


# --- the ladder, costs beside points, and what would change it ------------------------------------

ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "prompting_ceiling_measured": st.booleans(),
        "peft_ceiling_measured": st.booleans(),
        "full_tuning_ceiling_measured": st.booleans(),
        "labelled_examples": st.sampled_from([0, 20, 5_000, 50_000]),
        "proprietary_tokens": st.sampled_from([0, 10**8, 2 * 10**10, "high"]),
        "unique_tokens": st.just(10**12),
    },
)


@given(ANSWERS)
def test_exactly_one_rung_is_next_and_none_that_was_climbed(answers: dict[str, Any]) -> None:
    asked = DecideConfig.model_validate(answers)
    rungs = ladder(asked)
    assert [one.technique for one in rungs] == list(LADDER)
    assert [one.verdict for one in rungs].count("next") == 1
    following = next(one for one in rungs if one.verdict == "next")
    assert adapt_technique(asked, small_model=False) == following.technique
    done = {"prompting": "prompting", "peft": "peft", "full-fine-tuning": "full_tuning"}
    name = done.get(following.technique)
    assert not (name and answers.get(f"{name}_ceiling_measured"))


def test_where_nothing_is_left_the_ladder_says_what_is_missing() -> None:
    rungs = ladder(DecideConfig(prompting_ceiling_measured=True, labelled_examples=20))
    following = next(one for one in rungs if one.verdict == "next")
    assert following.technique == "peft"
    assert "label 80 more" in following.why


def test_the_techniques_pros_and_cons_stand_with_each_option() -> None:
    found = record(decided(stage="prototype"))
    for one in found["ranking"]:
        details = one["technique_details"]
        assert {"name", "pros", "cons", "cost", "risk_mitigation"} == details.keys()
        assert all(details.values())
    assert "RLHF" in found["ranking"][0]["technique_details"]["risk_mitigation"]


def test_an_option_beyond_the_budget_is_marked_and_what_it_buys_said() -> None:
    """$45,000: half a year of buying's people and tokens."""
    found = decided(budget="$45k", tokens_per_month="1")
    over = {one.option: one.over_budget for one in found.ranking}
    assert over == {"buy": True, "adapt": True, "train": True}
    note = next(note for note in found.notes if note.startswith("buy costs"))
    assert "$90,000 with people" in note
    assert "pays for 6 of 12 months" in note or "pays for 5.9 of 12 months" in note


@pytest.mark.parametrize("budget", [0, 1])
def test_no_budget_at_all_is_said(budget: int) -> None:
    found = decided(budget=budget, tokens_per_month="1B")
    assert sum("more than the budget" in note for note in found.notes) == 3


def test_a_rich_budget_is_beyond_nothing() -> None:
    found = decided(budget="$20M", tokens_per_month="1B")
    assert not any(one.over_budget for one in found.ranking)


def test_a_cheaper_option_below_is_said_with_the_break_even() -> None:
    found = decided(change_architecture_or_tokenizer="no", tokens_per_month="1B")
    assert found.first.option == "adapt"
    assert any("but buy costs less" in note for note in found.notes)
    assert (found.break_even_tokens_per_month or 0) > 1e9
    dear = decided(change_architecture_or_tokenizer="no", tokens_per_month="100B")
    assert not any("costs less:" in note for note in dear.notes)

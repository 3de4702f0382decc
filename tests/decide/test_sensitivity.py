from __future__ import annotations

from typing import Any

import pytest

from groundup.decide import sensitivity
from groundup.decide.config import DecideConfig
from groundup.decide.options import Decision, decide
from groundup.decide.scratch import needed_tokens, scratch_cost


def decided(**answers: Any) -> Decision:
    return decide(DecideConfig.model_validate(answers))


def test_the_tipping_point_of_an_amount_is_where_it_tips() -> None:
    """The veto C22 ends at 1.5 times the plan; no factor of 1.25, 1.5, 2 … is reported for it."""
    answers: dict[str, Any] = {
        "change_architecture_or_tokenizer": "yes",
        "team_llm_skill": "expert",
        "params": "13B",
        "budget": "$100k",
    }
    found = decided(**answers)
    tip = 1.5 * scratch_cost(13e9).usd.central
    change = next(one for one in found.would_change if one.changes[0][0] == "budget")
    _, _, value = change.changes[0]
    assert isinstance(value, float)
    assert tip <= value <= 1.01 * tip
    assert f"budget ${value / 1e3:.3g}k instead of $100k → train" in change.text


def test_looking_for_changes_asks_a_bounded_number_of_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    ask = sensitivity._standing
    monkeypatch.setattr(sensitivity, "_standing", lambda given: asked.append(1) or ask(given))
    decided(
        task_is_narrow="yes", params="70B", tokens_per_month="1B", growth_per_month=0.05,
        horizon_months=36, unique_tokens="100B", proprietary_tokens="10B", budget="$1M",
        team_llm_skill="low", data_may_leave_org="no", deadline_months=8, labelled_examples=5000,
    )  # fmt: skip
    assert 0 < len(asked) < 1000


def test_what_was_wanted_is_answered() -> None:
    found = decided(option_wanted="train", unique_tokens="50B", params="70B")
    note = next(note for note in found.notes if note.startswith("you wanted train"))
    assert "too little text" in note
    least = 0.25 * min(needed_tokens(70e9)[1:])  # four epochs
    lifted = note.split("unique_tokens ")[1].split(" ")[0]
    assert least <= 1e9 * float(lifted.removesuffix("B")) <= 1.01 * least
    content = decided(option_wanted="adapt", change_architecture_or_tokenizer="no")
    assert "you wanted adapt, and it stands first" in content.notes

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from groundup.decide.config import DecideConfig
from groundup.decide.models import candidates, shortlist
from groundup.decide.techniques import techniques
from groundup.plan.catalogs import read_rows

SHARED = Path(__file__).parents[3] / "shared" / "planner"


def short(option: str, **answers: Any) -> tuple[list[str], dict[str, str]]:
    kept, dropped = shortlist(
        DecideConfig.model_validate(answers),
        option,
        small_model=bool(answers.get("task_is_narrow")),
    )
    return [one.id for one in kept], {one.id: one.why for one in dropped}


def test_the_slides_fourteen_models_are_there_as_printed() -> None:
    ours = [one for one in candidates() if one.in_slides]
    assert len(ours) == 14
    file = SHARED / "slide_models.csv"
    if not file.is_file():
        pytest.skip("no shared data here")
    for one, row in zip(ours, read_rows(file), strict=True):
        assert one.provider == row.text("provider")
        assert one.open_as_printed == row.text("open_source_as_printed")
        assert one.params_as_printed == row.text("params_as_printed")
        assert one.fine_tunable_as_printed == row.text("fine_tunable_as_printed")
        assert one.quality_stars == row.needed("quality_stars_of_5")


def test_what_the_slides_call_open_and_is_not_is_corrected() -> None:
    wrong = {
        one.id: one.correction
        for one in candidates()
        if one.open_as_printed == "yes" and one.open_weights != "yes"
    }
    assert wrong.keys() == {"claude", "claude-instant", "palm", "llama"}
    assert all("printed as open source" in text for text in wrong.values())


def test_every_candidate_has_a_source_a_date_and_a_licence() -> None:
    for one in candidates():
        assert one.source, one.id
        assert one.read, one.id
        assert one.licence, one.id
        assert one.released, one.id


def test_commercial_use_rules_out_research_licences() -> None:
    kept, dropped = short("adapt", commercial_use="yes", params="65B")
    assert "llama" not in kept
    assert "commercial" in dropped["llama"]


def test_a_size_rules_out_what_is_far_larger() -> None:
    kept, dropped = short("adapt", params="7B")
    assert "mistral-7b" in kept
    assert "bloom-176b" not in kept
    assert "parameters" in dropped["bloom"]


def test_chat_needs_a_model_that_writes() -> None:
    _, dropped = short("adapt", needs_chat="yes")
    assert "encoder" in dropped["bert"]


def test_a_narrow_task_starts_from_small_encoders() -> None:
    kept, _ = short("adapt", task_is_narrow="yes")
    assert kept[0] == "distilbert"


def test_data_that_may_not_leave_leaves_no_api() -> None:
    kept, dropped = short("buy", data_may_leave_org="no")
    assert kept == []
    assert "gpt-4" in dropped


def test_a_law_firm_with_8b_starts_from_llama_3() -> None:
    kept, _ = short("adapt", params="8B", commercial_use="yes")
    assert kept[0] == "llama-3"
    assert "dolly-2" not in kept[:4]


def test_the_best_models_are_not_the_small_ones() -> None:
    kept, _ = short("buy", needs_frontier_quality="yes")
    assert kept[0] == "claude-opus-5.5"
    assert kept.index("gpt-6-sol") < kept.index("claude-haiku-5.5")


def test_what_cannot_be_tuned_may_still_be_prompted() -> None:
    kept, _ = short("buy", prompting_ceiling_measured="yes", labelled_examples=5000)
    assert "gpt-6-sol" in kept
    kept, dropped = short(
        "buy",
        prompting_ceiling_measured="yes",
        labelled_examples=5000,
        api_model="curie-fine-tuned",
    )
    assert "gpt-6-sol" in dropped
    assert "gpt-6-sol" not in kept


def test_training_starts_from_no_model() -> None:
    assert short("train") == ([], {})


def test_the_technique_table_holds_the_slides_four_rows_and_the_rest() -> None:
    table = techniques()
    assert [name for name, one in table.items() if one.as_printed] == [
        "prompting",
        "peft",
        "full-fine-tuning",
        "from-scratch",
    ]
    assert {"from-scratch-consultants", "from-scratch-platform", "small-model"} <= table.keys()
    for one in table.values():
        assert one.pros, one.id
        assert one.cons, one.id
        assert one.cost, one.id
        assert one.risk_mitigation, one.id
        assert one.source, one.id
    assert "8 times" in table["prompting"].cost

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.decide.answers import ask, is_ours, load_answers, write_answers
from groundup.decide.config import DecideConfig
from groundup.errors import ConfigError


def typed(*lines: str) -> Callable[[], str]:
    rest: Iterator[str] = iter([f"{line}\n" for line in lines])
    return lambda: next(rest, "")


def asked(*lines: str, given: DecideConfig | None = None) -> tuple[DecideConfig, str]:
    said: list[str] = []
    kept: list[DecideConfig] = []
    found = ask(given or DecideConfig(), typed(*lines), said.append, kept.append)
    assert not kept or kept[-1] == found
    return found, "\n".join(said)


def test_yes_no_levels_and_quantities_as_people_write_them(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("data_may_leave_org: no\nneeds_chat: yes\nbudget: $20M\nunique_tokens: 2T\n")
    found = load_answers(file, ["team_llm_skill=none", "upfront_budget=low"])
    assert found.data_may_leave_org is False
    assert found.needs_chat is True
    assert found.budget == 20e6
    assert found.unique_tokens == 2 * 10**12
    assert found.team_llm_skill == "none"
    assert found.upfront_budget == "low"


def test_a_section_of_a_project_file_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("decide:\n  stage: product\n  buget: 5\n")
    with pytest.raises(ConfigError) as caught:
        load_answers(file)
    assert f"{file}:3: buget: unknown key; did you mean 'budget'?" in str(caught.value)
    file.write_text("decide:\n  stage: product\n")
    assert load_answers(file).stage == "product"


def test_everything_wrong_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("stag: product\nbudget: lots\n\nlabelled_examples: -4\n")
    with pytest.raises(ConfigError) as caught:
        load_answers(file, ["horizon_months=0", "nonsense"])
    text = str(caught.value)
    assert "5 problems" in text
    for part in (f"{file}:1: stag", f"{file}:2: budget", f"{file}:4: labelled_examples",
                 "override 'horizon_months=0'", "write it as key=value"):  # fmt: skip
        assert part in text


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        load_answers(tmp_path / "none.yaml")
    assert "--interactive" in str(caught.value)


@settings(max_examples=25)  # each writes and fsyncs a file
@given(
    st.builds(
        DecideConfig,
        needs_chat=st.none() | st.booleans(),
        stage=st.none() | st.sampled_from(["prototype", "product"]),
        tokens_per_month=st.none()
        | st.integers(0, 10**15)
        | st.sampled_from(["low", "medium", "high"]),
        budget=st.none() | st.floats(0, 1e12) | st.sampled_from(["low", "medium", "high"]),
        output_share=st.none() | st.floats(0, 1),
        deadline_months=st.none() | st.floats(0, 100),
    )
)
def test_written_answers_are_read_back_as_they_were(answers: DecideConfig) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.yaml"
        write_answers(path, answers)
        assert load_answers(path) == answers


def test_a_conversation_keeps_each_answer_and_ends_when_told() -> None:
    found, said = asked("no", "", "yes", "q")
    assert found.task_is_narrow is False
    assert found.needs_chat is None
    assert found.needs_frontier_quality is True
    assert "1/14" in said
    assert "stage" in said  # asked, and then left
    assert "don't know" in said


def test_the_end_of_the_input_ends_the_conversation() -> None:
    found, _ = asked("yes")
    assert found.task_is_narrow is True


def test_a_wrong_answer_is_explained_and_asked_again() -> None:
    found, said = asked("perhaps", "no", "q")
    assert found.task_is_narrow is False
    assert "'perhaps' is neither true nor false" in said


def test_a_question_says_why_it_is_asked() -> None:
    _, said = asked("?", "q")
    assert "C28" in said


def test_known_answers_are_kept_by_an_empty_line() -> None:
    known = DecideConfig(task_is_narrow=True)
    found, said = asked("", "q", given=known)
    assert found.task_is_narrow is True
    assert "[yes]" in said


def test_after_the_fourteen_that_matter_the_rest_is_offered() -> None:
    """Planner field note, section 5: ask 14 fields."""
    _, short = asked(*[""] * 14, "")
    assert "more questions" in short
    assert "14/14" in short
    assert "needs_full_generality" not in short
    found, whole = asked(*[""] * 14, "y", "yes", "q")
    assert "needs_full_generality" in whole
    assert found.needs_full_generality is True


def test_a_contradiction_is_said_when_it_is_typed_and_not_kept() -> None:
    known = DecideConfig(data_may_leave_org=False)
    answers = [""] * 14 + ["y"] + [""] * (_place("option_wanted") - 1) + ["buy", "adapt", "q"]
    found, said = asked(*answers, given=known)
    assert "data_may_leave_org is no" in said
    assert found.option_wanted == "adapt"


def _place(name: str) -> int:
    from groundup.decide.answers import MAIN

    rest = [field for field in DecideConfig.model_fields if field not in MAIN]
    return rest.index(name) + 1


@pytest.mark.parametrize("typed_answer", ["soon: [", "a: b", "[1"])
def test_a_wrong_answer_is_said_without_the_form_of_the_command_line(typed_answer: str) -> None:
    _, said = asked(typed_answer, "q")
    assert "override" not in said


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("output_share=30%", "output_share", 0.3),
        ("growth_per_month=5%", "growth_per_month", 0.05),
        ("discount_pct=30%", "discount_pct", 30),
        ("discount_pct=30", "discount_pct", 30),
    ],
)
def test_shares_may_be_written_with_a_percent_sign(override: str, name: str, value: float) -> None:
    assert getattr(load_answers(None, [override]), name) == pytest.approx(value)


@pytest.mark.parametrize(
    "absurd",
    [
        "labelled_examples=1e25",
        "unique_tokens=1e30",
        "tokens_per_month=1e21",
        "people_usd_per_month=1e300",
        "budget=1e300",
        "hardware_owned=1e12",
        "deadline_months=1e9",
        "output_share=half%",
    ],
)
def test_an_absurd_amount_is_refused_by_name(absurd: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_answers(None, [absurd])
    assert absurd.partition("=")[0] in str(caught.value)


def test_a_whole_project_file_gives_its_section(tmp_path: Path) -> None:
    file = tmp_path / "groundup.yaml"
    file.write_text("project:\n  name: a\npretrain:\n  seed: 1\ndecide:\n  stage: product\n")
    assert load_answers(file).stage == "product"
    file.write_text("project:\n  name: a\npretrain:\n  seed: 1\n")
    with pytest.raises(ConfigError, match="none is `decide`"):
        load_answers(file)


def test_answers_beside_a_section_of_answers_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("decide:\n  stage: product\nbudget: 5\n")
    with pytest.raises(ConfigError, match="decide"):
        load_answers(file)


def test_only_files_we_wrote_are_ours(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "answers.yaml", tmp_path / "mine.yaml"
    write_answers(ours, DecideConfig())
    theirs.write_text("# my own words\nstage: product\n")
    assert is_ours(ours)
    assert not is_ours(theirs)
    assert not is_ours(tmp_path / "none.yaml")

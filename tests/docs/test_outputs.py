"""What the pages show of commands is what the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_docs import load

outputs = load("outputs")


@pytest.mark.parametrize("page", outputs.pages(), ids=lambda page: page.name)
def test_the_outputs_of_the_page_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert outputs.remade(text) == text, "run python docs/make_outputs.py"


def test_an_output_is_cut_where_the_page_cuts_it() -> None:
    head = "```console\n$ groundup model list --family palm\n"
    whole = outputs.remade(f"{head}```\n")
    lines = whole.splitlines()
    assert lines[2] == "3 models (groundup model show NAME)"
    assert lines[-2].startswith("palm-540b")
    cut = f"{head}an old title\n…\n{lines[-2]}\n```\n"
    assert outputs.remade(cut).splitlines() == [*lines[:3], "…", *lines[-2:]]
    assert outputs.remade(cut.replace("540", "541")).splitlines() == [*lines[:3], "…", *lines[-2:]]
    with pytest.raises(ValueError, match="no longer prints 'gone'"):
        outputs.remade(f"{head}…\ngone\n```\n")


def test_commands_of_others_are_not_run() -> None:
    with pytest.raises(ValueError, match="only groundup"):
        outputs.remade("```console\n$ rm -r /\n```\n")


def test_a_refusal_is_shown_with_its_reason() -> None:
    made = outputs.remade("```console\n$ groundup model show gpt9\n```\n")
    assert "error: " in made
    assert "Traceback" not in made

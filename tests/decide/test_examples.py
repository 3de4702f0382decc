from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from groundup.decide.examples import Item, Prompt, messages, read_items
from groundup.errors import ConfigError, InputError, StorageError


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "evaluation.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path


def test_both_kinds_of_items_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"prompt": "Capital of France?", "expected": "Paris"},
        "",
        {"id": "sum", "question": "2 + 2", "expected": [4, "four"]},
        {"prompt": "2 + 2", "choices": ["3", "4"], "answer": "b"},
        {"prompt": "2 + 3", "choices": ["3", "5"], "answer": 1},
        {"prompt": "2 + 1", "choices": ["3", "5"], "answer": "3"},
    )
    items = read_items(path)
    assert [item.id for item in items] == ["line-1", "sum", "line-4", "line-5", "line-6"]
    assert [item.expected for item in items] == [("Paris",), ("4", "four"), ("B",), ("B",), ("A",)]
    assert items[2].text == "2 + 2\nA. 3\nB. 4\nAnswer with one letter."


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "Expecting"),
        ("3", "not an object"),
        ({"expected": "x"}, '"prompt"'),
        ({"prompt": " ", "expected": "x"}, '"prompt"'),
        ({"prompt": "x"}, '"expected"'),
        ({"prompt": "x", "expected": True}, '"expected"'),
        ({"prompt": "x", "expected": []}, '"expected"'),
        ({"prompt": "x", "expected": ["a", None]}, '"expected"'),
        ({"prompt": "x", "choices": ["a"], "answer": 0}, '"choices"'),
        ({"prompt": "x", "choices": ["a", 2], "answer": 0}, '"choices"'),
        ({"prompt": "x", "choices": ["a", "b"], "answer": 2}, "none of the 2 choices"),
        ({"prompt": "x", "choices": ["a", "b"]}, "none of the 2 choices"),
        ("[" * 100_000, "recursion"),
        ({"prompt": "x", "expected": [True]}, '"expected"'),
        ('{"prompt": "x", "expected": NaN}', '"expected"'),
        ('{"prompt": "x", "expected": [1, Infinity]}', '"expected"'),
        ({"prompt": "x", "expected": {"a": 1}}, '"expected"'),
        ({"prompt": "\ud800", "expected": "x"}, "surrogate"),
        ({"prompt": "x", "choices": ["a", "A "], "answer": 0}, "the same"),
        ({"prompt": "x", "choices": ["B", "A"], "answer": "A"}, "the place of another"),
        ({"prompt": "x", "choices": ["0", "1", "2"][::-1], "answer": 2}, "the place of another"),
    ],
)
def test_a_line_that_is_no_item_is_named(tmp_path: Path, line: Any, problem: str) -> None:
    path = write(tmp_path, {"prompt": "a", "expected": "b"}, line)
    with pytest.raises(ConfigError) as error:
        read_items(path)
    assert f"{path}:2: " in str(error.value)
    assert problem in str(error.value)


def test_an_answer_that_is_text_and_place_of_one_choice_is_no_riddle(tmp_path: Path) -> None:
    items = read_items(
        write(
            tmp_path,
            {"prompt": "x", "choices": ["A", "B"], "answer": "A"},
            {"prompt": "x", "choices": ["0", "1"], "answer": 1},
        )
    )
    assert [item.expected for item in items] == [("A",), ("B",)]


def test_two_items_of_one_id_are_named(tmp_path: Path) -> None:
    one = {"id": "x", "prompt": "a", "expected": "b"}
    with pytest.raises(ConfigError, match="also on line 1"):
        read_items(write(tmp_path, one, one))


def test_no_file_and_no_items(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_items(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="empty"):
        read_items(write(tmp_path, "", " "))


QUESTION = Item("1", "?", ("Paris", "City of Light"))
CHOICE = Item("1", "?", ("B",), ("red", "blue", "green"))


def test_shots_are_turns_and_the_question_stands_where_the_prompt_wants_it() -> None:
    prompt = Prompt("p", "Q: {question} A:")
    chat = messages(prompt, QUESTION, [CHOICE])
    assert [turn["role"] for turn in chat] == ["user", "assistant", "user"]
    assert chat[1]["content"] == "B"
    assert chat[2]["content"] == "Q: ? A:"
    assert messages(Prompt("p", "Be short."), QUESTION, [])[0]["content"] == "Be short.\n\n?"
    assert messages(Prompt("p", ""), QUESTION, [])[0]["content"] == "?"

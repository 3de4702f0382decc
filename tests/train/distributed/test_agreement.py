"""Ranks that were told different things refuse to train, and say which."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundup.train.agreement import code_hash, disagreement, require_agreement
from tests.train.distributed.world import worlds

VALUES = {"settings": {"learning_rate": 0.02, "guard": {"window": 128}}, "tokens": "5f3a"}
WORLDS = [
    [{}, {}, {}],
    [{}, {"settings": {"learning_rate": 0.03, "guard": {"window": 128}}}, {}],
    [{"code": "aaaa"}, {"code": "aaaa"}, {"code": "bbbb"}],
    [{}, {"tokens": "77b1", "extra": 1}],
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, object]]]:
    calls = [
        (len(ranks), "tests.train.distributed.agreeing:told", [VALUES, ranks]) for ranks in WORLDS
    ]
    calls.append((2, "tests.train.distributed.agreeing:missing", []))
    return worlds(calls, tmp_path_factory.mktemp("agreement"))


def test_equal_ranks_go_on(found: list[list[dict[str, object]]]) -> None:
    assert found[0] == [{"said": None, "code": 0}] * 3


def test_another_value_is_named_with_its_rank(found: list[list[dict[str, object]]]) -> None:
    texts = {str(each["said"]) for each in found[1]}
    assert len(texts) == 1  # all say the same
    (text,) = texts
    assert "learning_rate: 0.02 on ranks 0, 2, 0.03 on rank 1" in text
    assert "guard.window" not in text
    assert "tokens" not in text
    assert {each["code"] for each in found[1]} == {2}


def test_another_checkout_is_named(found: list[list[dict[str, object]]]) -> None:
    text = str(found[2][0]["said"])
    assert "do not have the same code" in text
    assert '"aaaa"' not in text
    assert "code: aaaa on ranks 0-1, bbbb on rank 2" in text


def test_all_that_differs_is_named(found: list[list[dict[str, object]]]) -> None:
    text = str(found[3][1]["said"])
    assert "tokens: 5f3a on rank 0, 77b1 on rank 1" in text
    assert "extra: none on rank 0, 1 on rank 1" in text


def test_a_rank_that_does_not_come_is_named(found: list[list[dict[str, object]]]) -> None:
    assert "rank 1 did not come" in str(found[4][0]["said"])
    assert found[4][0]["code"] == 75


def test_a_long_list_is_cut() -> None:
    told = [{f"key{n:02}": rank for n in range(20)} for rank in range(2)]
    assert disagreement(told, "settings").problems[-1] == "and 12 more"


def test_alone_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    require_agreement({"a": 1}, "settings")


def test_the_code_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "groundup").mkdir()
    init = tmp_path / "groundup" / "__init__.py"
    init.write_text("a = 1\n")
    monkeypatch.setattr("groundup.__file__", str(init))
    first = code_hash()
    init.write_text("a = 2\n")
    assert code_hash() != first
    init.write_text("a = 1\n")
    assert code_hash() == first

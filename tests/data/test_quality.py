from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.annotate.quality import measure_quality
from groundup.data.config import DataConfig
from groundup.data.select import RULES, broken_rules


def test_the_signals_of_a_text_counted_by_hand() -> None:
    quality = measure_quality("ab 1\n\n  ab 1\né€ = 2\n".encode())
    assert quality.n_bytes == 23
    assert quality.n_lines == 4
    assert quality.letter_share == 6 / 10  # a b 1, a b 1, é € = 2
    assert quality.duplicate_line_share == pytest.approx(4 / 17)
    assert quality.mean_line_bytes == pytest.approx(17 / 3)


def test_an_empty_text_has_signals_too() -> None:
    quality = measure_quality(b"")
    assert (quality.n_bytes, quality.letter_share, quality.duplicate_line_share) == (0, 0, 0)


@given(st.text())
def test_shares_are_shares(text: str) -> None:
    quality = measure_quality(text.encode())
    assert 0 <= quality.letter_share <= 1
    assert 0 <= quality.duplicate_line_share <= 1


PROSE = "".join(
    f"It was line number {i} of a tale that has no end, but goes on.\n" for i in range(9)
)
TEXTS = {
    "too_short": "x = 1\n",
    "few_letters": "".join(f"{i * 7919},{i * 104729},0x0\n" for i in range(100)),
    "long_lines": "word " * 900 + "\n",
    "repeated_lines": "the same line again\n" * 50,
    None: PROSE,
}


@pytest.mark.parametrize("reason", TEXTS)
def test_each_rule_refuses_what_it_is_made_for_and_nothing_else(reason: str | None) -> None:
    quality = measure_quality(TEXTS[reason].encode())
    assert broken_rules([quality], DataConfig()) == [reason]


def test_every_rule_has_a_text_above() -> None:
    assert set(TEXTS) == {*RULES, None}

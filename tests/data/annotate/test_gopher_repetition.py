from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groundup.data.annotate import gopher_repetition
from groundup.data.settings.quality import GopherRepetitionRules
from tests.data.annotate.rules import measured, reasons, survives

CONFIG = GopherRepetitionRules()


def words(n: int, prefix: str = "w") -> list[str]:
    """Different words of five characters."""
    return [f"{prefix}{i:04}" for i in range(n)]


def brute_force(text: str) -> dict[str, float]:
    """The signals by their definitions, for words of letters between single spaces."""
    given_words, size = text.split(), len(text)
    found = {}
    for n in gopher_repetition.TOP:
        runs = [" ".join(given_words[i : i + n]) for i in range(len(given_words) - n + 1)]
        top = Counter(runs).most_common(1)
        found[f"gopher_top_{n}gram_share"] = len(top[0][0]) * top[0][1] / size if top else 0
    for n in gopher_repetition.DUPLICATE:
        runs = [tuple(given_words[i : i + n]) for i in range(len(given_words) - n + 1)]
        again = [run in runs[:place] for place, run in enumerate(runs)] + [False] * n
        n_characters, place = 0, 0
        while place < len(given_words):
            if not again[place]:
                place += 1
                continue
            stretch = again[place:].index(False)  # repeats in a row
            end = place + -(-stretch // n) * n
            later = [i for i in range(place + stretch, len(again)) if again[i]]
            end = min([end, len(given_words), *later[:1]])
            n_characters += sum(map(len, given_words[place:end]))
            place = end
        found[f"gopher_duplicate_{n}gram_share"] = n_characters / size
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "bb", "ccc", "é"]), max_size=60), max_size=4))
def test_runs_are_those_of_the_definition(documents: list[list[str]]) -> None:
    texts = [" ".join(document) for document in documents]
    signals = measured(gopher_repetition, CONFIG, *texts)
    for row, text in enumerate(texts):
        if text:
            for name, value in brute_force(text).items():
                assert signals[name][row] == pytest.approx(value), name


def test_documents_larger_than_are_sorted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(words(90) + words(30)), "a b " * 40, "", " ".join(words(200, "x"))]
    whole = measured(gopher_repetition, CONFIG, *texts)
    monkeypatch.setattr(gopher_repetition, "_WORDS_AT_ONCE", 50)
    assert measured(gopher_repetition, CONFIG, *texts) == whole


def test_the_same_text_in_two_documents_is_no_repetition() -> None:
    text = " ".join(words(40))
    signals = measured(gopher_repetition, CONFIG, text, text)
    assert signals["gopher_duplicate_5gram_share"] == [0, 0]


def test_lines_and_paragraphs_counted_by_hand() -> None:
    text = "one\ntwo\n\none\ntwo\n\n\none\nthree\n"
    signals = measured(gopher_repetition, CONFIG, text)
    assert signals["gopher_duplicate_line_share"] == [3 / 6]
    assert signals["gopher_duplicate_line_character_share"] == [9 / len(text)]
    assert signals["gopher_duplicate_paragraph_share"] == [pytest.approx(1 / 3)]
    assert signals["gopher_duplicate_paragraph_character_share"] == [7 / len(text)]


def test_characters_are_not_bytes() -> None:
    for latin, greek in measured(gopher_repetition, CONFIG, "ab ab ab cd", "αβ αβ αβ γδ").values():
        assert latin == greek


def test_a_repeat_by_hand() -> None:
    # 30 words of 5 characters, of which 10 come twice: 40 words, 39 spaces
    text = " ".join(words(30) + words(10))
    signals = measured(gopher_repetition, CONFIG, text)
    size = 40 * 5 + 39
    for n in (5, 10):  # ceil(6 / 5) = 2 runs of 5, 1 run of 10
        assert signals[f"gopher_duplicate_{n}gram_share"] == [50 / size]
    assert signals["gopher_duplicate_8gram_share"] == [8 * 5 / size]  # 3 in a row: one is taken
    assert signals["gopher_top_2gram_share"] == [2 * 11 / size]


def repeated(n: int, times: int, n_other: int) -> str:
    """A run of n words that occurs so many times among others."""
    other = words(n_other, "o")
    step = n_other // times
    return " ".join(
        " ".join(words(n, "r") + other[i * step : (i + 1) * step]) for i in range(times)
    )


def test_lines_at_the_edge() -> None:
    kept, dropped = reasons(
        gopher_repetition,
        GopherRepetitionRules(max_top_2gram_share=1, max_top_3gram_share=1, max_top_4gram_share=1),
        "\n".join(words(69, "v") + ["w"] * 31),
        "\n".join(words(68, "v") + ["w"] * 32),
    )
    assert kept == []
    assert dropped == ["gopher_duplicate_line"]


@pytest.mark.parametrize("kind", ["line", "paragraph"])
def test_characters_of_lines_and_paragraphs_at_the_edge(kind: str) -> None:
    mark = "\n" if kind == "line" else "\n\n"
    # 4 short ones and one of m characters twice, m of 4 · 50 + 2 m + 5 (10) marks
    texts = [mark.join([c * 50 for c in "abcd"] + ["x" * m] * 2) for m in (67, 80)]
    kept, dropped = reasons(gopher_repetition, CONFIG, *texts)
    assert f"gopher_duplicate_{kind}_character" not in kept
    assert f"gopher_duplicate_{kind}_character" in dropped


def test_paragraphs_at_the_edge() -> None:
    kept, dropped = reasons(
        gopher_repetition,
        CONFIG,
        "\n\n".join([f"{word} is one of many" for word in words(70)] + ["w"] * 30),
        "\n\n".join([f"{word} is one of many" for word in words(67)] + ["w"] * 33),
    )
    assert "gopher_duplicate_paragraph" not in kept
    assert "gopher_duplicate_paragraph" in dropped


@pytest.mark.parametrize("n", [*gopher_repetition.TOP, *gopher_repetition.DUPLICATE])
def test_each_run_at_the_edge(n: int) -> None:
    is_top = n in gopher_repetition.TOP
    name = f"{'top' if is_top else 'duplicate'}_{n}gram"
    limit = getattr(CONFIG, f"max_{name}_share")
    found = []
    for n_other in range(6, 600, 18):
        text = repeated(n, 6, n_other)
        # top: each run with its inner spaces; duplicates: all but the first, without spaces
        share = (6 * (6 * n - 1) if is_top else 5 * 5 * n) / len(text)
        signals = measured(gopher_repetition, CONFIG, text)
        assert signals[f"gopher_{name}_share"] == [pytest.approx(share)]
        dropped = f"gopher_{name}" in reasons(gopher_repetition, CONFIG, text)[0]
        assert dropped == (share > limit)
        found.append(dropped)
    assert found[0]
    assert not found[-1]


def test_every_setting_has_a_rule_that_names_it() -> None:
    named = {
        meaning.rsplit("data.gopher_repetition.")[1]
        for meaning, _ in gopher_repetition.RULES.values()
    }
    assert named == set(GopherRepetitionRules.model_fields)


def test_hostile_texts() -> None:
    survives(gopher_repetition, CONFIG)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.integers(0, 3)
        | st.integers(0, 2**64 - 1)
        | st.integers(0, 40).map(lambda high: high << 58)
        | st.integers(0, 63).map(lambda bit: 1 << bit),
        max_size=80,
    )
)
def test_the_first_of_equal_runs_is_found_whatever_bits_they_share(runs: list[int]) -> None:
    table = np.full(1 << len(runs).bit_length() + gopher_repetition._SPARE_BITS, -7, dtype=np.int32)
    found = gopher_repetition._first_same(np.array(runs, dtype=np.uint64), table)
    assert found.tolist() == [runs.index(run) for run in runs]


@settings(max_examples=100, deadline=None)
@example(["a", "\n\n", "a"])  # one blank line makes two paragraphs
@example([" a", "\n\n", "a"])  # alike once the ends of the text are stripped
@given(st.lists(st.sampled_from(["a", " a", "bb", "é ", "\n", "\n\n", "\n\n\n", " ", "\t"])))
def test_lines_and_paragraphs_are_those_of_the_definition(parts: list[str]) -> None:
    text = "".join(parts)
    lines = [line for line in text.split("\n") if line]
    stripped = [block.strip("\n") for block in text.strip().split("\n\n")]
    paragraphs = [block for block in stripped if block]
    signals = measured(gopher_repetition, CONFIG, text)
    for kind, given_pieces in (("line", lines), ("paragraph", paragraphs)):
        again = [piece for n, piece in enumerate(given_pieces) if piece in given_pieces[:n]]
        share = len(again) / max(len(given_pieces), 1)
        assert signals[f"gopher_duplicate_{kind}_share"] == [pytest.approx(share)]
        share = sum(map(len, again)) / max(len(text), 1)
        assert signals[f"gopher_duplicate_{kind}_character_share"] == [pytest.approx(share)]

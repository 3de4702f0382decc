from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.decide.examples import LETTERS, Item
from groundup.decide.marking import chosen, is_right, numbers

QUESTION = Item("1", "?", ("Paris", "City of Light"))


@pytest.mark.parametrize(
    ("reply", "exact", "contains"),
    [
        ("Paris", True, True),
        ("  paris.\n", True, True),
        ('"PARIS"', True, True),
        ("city  of light", True, True),
        ("It is Paris, of course.", False, True),
        ("Parisian", False, False),
        ("London", False, False),
        ("", False, False),
    ],
)
def test_answers_are_compared_without_case_space_and_quotes(
    reply: str, exact: bool, contains: bool
) -> None:
    assert is_right(QUESTION, reply) is exact
    assert is_right(QUESTION, reply, "contains") is contains


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("so 3 + 4 = 1,234", True),
        ("1234.0 apples", True),
        ("first 1234, then 5", False),
        ("", False),
    ],
)
def test_the_last_number_counts(reply: str, right: bool) -> None:
    assert is_right(Item("1", "?", ("1234",)), reply, "number") is right


CHOICE = Item("1", "?", ("B",), ("red", "blue", "green"))


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("B", True),
        ("B.", True),
        ("(B) blue", True),
        ("The answer is B", True),
        ("A blue one: B", True),
        ("blue", True),
        ("A", False),
        ("A. red", False),
        ("C, not B", False),
        ("Black", False),
        ("D", False),
        ("", False),
    ],
)
def test_a_choice_is_a_letter_that_stands_alone_or_its_text(reply: str, right: bool) -> None:
    assert is_right(CHOICE, reply) is right


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("2020-2024", "2024"),
        ("3-1234", "1234"),
        ("x-5", "5"),
        ("it is -5", "-5"),
        ("\u22125", "-5"),  # the minus sign
        ("5 - 3 = 2", "2"),
        ("f(2)-7", "7"),
        ("1e3", "1000"),
        ("1.234e3", "1234"),
        ("2E-2", "0.02"),
        (".1", "0.1"),
        ("-.5", "-0.5"),
        ("1.2.3", "3"),
        ("3,4", "4"),
        ("1,234,567.5 in all", "1234567.5"),
        ("1,2345", "2345"),
        ("9007199254740993", "9007199254740993"),
        ("\uff11\uff12", "12"),  # full width
        ("10%.", "10"),
    ],
)
def test_numbers_as_people_write_them(text: str, last: str) -> None:
    assert str(numbers(text)[-1]) == last or numbers(text)[-1] == numbers(last)[0]
    assert is_right(Item("1", "?", (last,)), text, "number")


@pytest.mark.parametrize(
    ("expected", "reply"),
    [("-2024", "2020-2024"), ("9007199254740992", "9007199254740993"), ("1", "1e3")],
)
def test_numbers_that_are_not_the_same(expected: str, reply: str) -> None:
    assert not is_right(Item("1", "?", (expected,)), reply, "number")


WORDS = ("Paris", "London", "New York", "Rome")
FOUR = Item("1", "?", ("A",), WORDS)
TEMPLATES = (
    "{L}", "{l}", "{L}.", "({L})", "({l})", "**{L}**", "\u201c{L}\u201d", "{l})", " {L} \n", "{l}.",
    "Answer: {L}", "Answer: {L}\nBecause of the river.", "Answer is {L} because I know.",
    "The answer is {L}.", "The correct answer is **{L}**", "**Answer:** {L}", "answer: {l}",
    "the answer is {l}.", "My choice: {L}", "Final answer: ({L}) {word}",
    "**{L}** - {word}", "{L} - {word}", "{L}: {word}", "{L}) {word}", "{L}. {word} is it",
    "{l}) {word}", "{L} {word}", "It is {L} {word}, I think", "I choose {L} here", "Option {L}",
    "I pick option {L} of these", "Let me think.\n\n{L}\n", "Of these it must be {L}",
    "Of these, ({L}) is right", "{word}", "It is {word}.", "The answer is {word}", "{word}, surely",
    "Therefore {word}: {L}",
)  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_letter_is_read_alike(template: str) -> None:
    for letter, word in zip("ABCD", WORDS, strict=True):
        reply = template.format(L=letter, l=letter.lower(), word=word)
        assert chosen(FOUR, reply) == letter, reply


def wide(text: str) -> str:
    """In full-width letters."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


@pytest.mark.parametrize("letter", "ABCD")
def test_letters_of_full_width_are_letters(letter: str) -> None:
    assert chosen(FOUR, wide(letter)) == letter
    assert chosen(FOUR, wide(f"({letter})")) == letter


PIECES = st.sampled_from(
    ["is", "because", "answer", "option", "choose", "the", "it", "not", "{L}", "{L}", "{l}", ".",
     ",", ":", "\n", "**", "(", ")", '"', "-", " ", " ", "'", "so", "Tokyo"]
)  # fmt: skip


@given(
    pieces=st.lists(PIECES, max_size=12),
    n=st.integers(2, 26),
    places=st.tuples(st.integers(0, 25), st.integers(0, 25)),
)
def test_the_mark_does_not_depend_on_which_letter_it_is(
    pieces: list[str], n: int, places: tuple[int, int]
) -> None:
    item = Item("1", "?", ("A",), tuple(f"word{k:02}" for k in range(n)))
    found = []
    for place in places:
        letter = LETTERS[place % n]
        reply = "".join(pieces).format(L=letter, l=letter.lower())
        read = chosen(item, reply)
        found.append(read if read is None else read == letter)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("A city in France", None),  # an article
        ("A blue river runs there. It is Paris.", "A"),
        ("I think a lot of it", None),
        ("e.g. this", None),
        ("C, not B", "C"),
        ("The answer is B.\n\nQuestion: and now?\nThe answer is C.", "B"),  # it ran on
        ("Option A is wrong. The answer is B", "B"),
        ("Paris or London", None),
        ("D's", None),
        ("E", None),
        ("Answer: a city", None),
        ("", None),
        ("**", None),
    ],
)
def test_what_a_reply_chooses(reply: str, letter: str | None) -> None:
    assert chosen(FOUR, reply) == letter


@pytest.mark.parametrize(
    "piece", ["\n", ":", "*", " ", "A ", "answer:", "(", "- ", "9", "1,111,", "_"]
)
@pytest.mark.parametrize("begin", ["", "answer", "no "])
def test_a_reply_that_runs_on_is_marked_at_once(begin: str, piece: str) -> None:
    reply = begin + piece * 50_000 + "no"
    started = time.monotonic()
    chosen(FOUR, reply)
    numbers(reply)
    assert time.monotonic() - started < 2


def test_a_letter_within_the_text_of_a_choice_is_none() -> None:
    vitamins = Item("1", "?", ("A",), ("vitamin C", "vitamin B", "vitamin A"))
    assert chosen(vitamins, "Vitamin C") == "A"
    assert chosen(vitamins, "It is vitamin  C.") == "A"
    assert chosen(vitamins, "C. vitamin A") == "C"
    places = Item("1", "?", ("A",), ("Paris", "Paris, Texas"))
    assert chosen(places, "It is Paris, Texas, of course") == "B"
    assert chosen(places, "It is Paris of course") == "A"
    counts = Item("1", "?", ("A",), ("3", "4"))
    assert chosen(counts, "2 + 2 = 4") == "B"
    assert chosen(counts, "34") is None

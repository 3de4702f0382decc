"""Whether a reply is right, by rules that anyone can repeat: no model judges another.

A free answer is compared as a whole, as words within the reply, or by the last number in it. Of
multiple choice the letter is read, or the text of the choice. The rules know no letter from
another: what is read as B in one place is read as A there too, although "A" is also a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from groundup.decide.examples import LETTERS, Item

Match = Literal["exact", "contains", "number"]

BEGIN, END = r"(?<![\w'’])", r"(?![\w'’])"  # a letter between these stands alone
GAP = r"\W{0,20}"  # bounded: a reply may be ten thousand colons
SAYS = (
    rf"(?i:\b(?:answer|choice|option)\b{GAP}(?:\b(?:is|would be|should be|must be)\b|[:=]){GAP}"
    rf"(?:\b(?:option|choice|letter)\W{GAP})?)"
)
NAMES = rf"(?i:\b(?:answer|choice|option|letter|choose|pick|select)\W{GAP})"
LAST_OF_LINE = r"(?=[^\w\n]*(?:\n|$))"
MASK = "xx"  # stands for the text of a choice while letters are looked for
_NUMBER = re.compile(
    r"(?:(?<![\w)])-)?"  # a minus is a sign where no digit or word is before it: 2020-2024
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+)"
    r"(?:[eE][+-]?\d{1,3}(?!\d))?"
)


def is_right(item: Item, reply: str, match: Match = "exact") -> bool:
    """Whether ``reply`` is an accepted answer.

    Args:
        item: the question; of multiple choice `chosen` says what the reply chooses.
        reply: of the model.
        match: the whole reply (case, spaces, quotes and the last full stop aside), words within
            it, or the last number in it.
    """
    if item.choices:
        return chosen(item, reply) == item.expected[0]
    if match == "number":
        found = numbers(reply)
        return bool(found) and any(found[-1:] == numbers(text)[-1:] for text in item.expected)
    plain = plain_text(reply)
    if match == "exact":
        return any(plain == plain_text(text) for text in item.expected)
    return any(
        re.search(rf"(?<!\w){re.escape(plain_text(text))}(?!\w)", plain) is not None
        for text in item.expected
    )


def chosen(item: Item, reply: str) -> str | None:
    """The letter a reply to multiple choice chooses; None where it chooses none.

    The first of these that holds: one letter (of either case) or the text of one choice is the
    whole reply; "the answer is B"; the reply begins with a marked letter; a letter in brackets,
    quotes or ** **, or alone on a line; "option B"; a letter with the text of its choice; a letter
    before a mark or at the end; the text of one choice alone within the reply.
    """
    reply = unicodedata.normalize("NFKC", reply).strip()
    big = LETTERS[: len(item.choices)]
    small = big.lower()
    whole = re.fullmatch(rf"[\W_]*([{big}{small}])[\W_]*", reply)
    if whole:
        return whole[1].upper()
    plain = plain_text(reply)
    same = [n for n, choice in enumerate(item.choices) if plain_text(choice) == plain]
    if len(same) == 1:
        return LETTERS[same[0]]
    masked = _masked(item.choices, reply)
    own = "|".join(
        rf"{letter}(?=\W+(?i:{_spaced(choice)}){END})"
        for letter, choice in zip(big, item.choices, strict=True)
    )
    mark = r"(?:[.:,;)\]\"'”’*](?!\w)|\s*[-–—=](?!\w)|\s*\n)"
    for pattern, text in (
        (rf"{SAYS}(?:([{big}]){END}|([{small}]){END}{LAST_OF_LINE})", masked),
        (rf"\A[\W_]*([{big}{small}]){mark}", masked),
        (
            rf"[(\[\"'“‘*]\s*([{big}{small}])\s*[)\]\"'”’*]|(?m:^[^\w\n]*([{big}{small}])[^\w\n]*$)",
            masked,
        ),
        (rf"{NAMES}([{big}]){END}", masked),
        (rf"{BEGIN}({own})", reply),
        (rf"{BEGIN}([{big}])(?:[.:,;)](?!\w)|\W*\Z)", masked),
    ):
        found = re.search(pattern, text)
        if found:
            return next(letter for letter in found.groups() if letter).upper()
    return _named(item.choices, plain)


def numbers(text: str) -> list[Decimal]:
    """The numbers in a text: ``-3``, ``1,234.5``, ``.5``, ``1e3``."""
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-")  # U+2212: the minus sign
    return [Decimal(number.replace(",", "")) for number in _NUMBER.findall(text)]


def plain_text(text: str) -> str:
    """Without case, doubled spaces, quotes around it and the last full stop."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return text.strip("\"'`“”‘’").removesuffix(".").strip()


def _masked(choices: Sequence[str], reply: str) -> str:
    """The reply without the texts of choices: the C of "vitamin C" is no letter of a choice."""
    longest = sorted((choice for choice in choices if len(choice) > 1), key=len, reverse=True)
    if not longest:
        return reply
    texts = "|".join(map(_spaced, longest))
    return re.sub(rf"(?i)(?<!\w)(?:{texts})(?!\w)", MASK, reply)


def _named(choices: Sequence[str], plain: str) -> str | None:
    """The one choice whose text is in the reply; of "Paris" and "Paris, Texas" the longer."""
    texts = {plain_text(choice): LETTERS[n] for n, choice in enumerate(choices)}
    longest = sorted((text for text in texts if len(text) > 1 or text.isdigit()),
                     key=len, reverse=True)  # fmt: skip
    if not longest:
        return None
    found = re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)", plain)
    return texts[found[0]] if len(set(found)) == 1 else None


def _spaced(choice: str) -> str:
    """A pattern for the text of a choice, however its words are spaced."""
    words = unicodedata.normalize("NFKC", choice).split()
    return r"\s+".join(re.escape(word) for word in words)

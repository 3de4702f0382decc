"""Gopher's repetition signals: how much of a document it has said before.

Rae et al. 2021 (arXiv:2112.11446), appendix A1.1 and table A1. Text that repeats itself teaches a
model to do so. Measured are the lines and paragraphs that occurred before (by number and by
characters), the most frequent run of 2, 3 and 4 words, and all runs of 5 to 10 words that occurred
before, no character counted twice.

A run of n + 1 words can only be a repeat where the runs of n words at its two places are. So pairs
are sorted once, and each longer run looks only at what is left: sorting keys made of a hash and a
place, the first occurrence of each run comes first, and no string is ever made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from groundup.data.annotate.rule_words import RuleWords, rule_words
from groundup.data.batch import TextBatch
from groundup.data.settings.quality import GopherRepetitionRules

VERSION: Final = 2
SETTINGS: tuple[str, ...] = ()  # what the columns depend on
TOP: Final = (2, 3, 4)
DUPLICATE: Final = (5, 6, 7, 8, 9, 10)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd: 2^64 / golden ratio
_SALT = np.uint64(0xD1342543DE82EF95)  # odd; Steele and Vigna 2021, table 6
_SPARE_BITS = 1  # of 2 to 4 places a run, the first look finds eight in ten
_LAST = (1 << 32) - 1
_PIECES = ("line", "paragraph")
_WORDS_AT_ONCE = 1 << 16  # arrays of 512 kB, a batch of prose: 27 ms/MB (1 << 15: 32)

Signals = dict[str, NDArray[Any]]
Rule = tuple[str, Callable[[Mapping[str, NDArray[Any]], GopherRepetitionRules], NDArray[np.bool_]]]
Numbers = NDArray[np.int64]


def measure(batch: TextBatch, config: GopherRepetitionRules) -> Signals:
    """Shares of what is repeated, 0 for an empty document.

    Returns:
        ``gopher_duplicate_{line,paragraph}_share`` of lines or paragraphs,
        ``gopher_duplicate_{line,paragraph}_character_share``, ``gopher_top_{2,3,4}gram_share`` and
        ``gopher_duplicate_{5…10}gram_share`` of all characters. [n_documents] float64
    """
    pieces = np.array([_repeated_pieces(text) for text in batch.texts]).reshape(-1, 4)
    signals = {
        f"gopher_duplicate_{piece}{kind}_share": pieces[:, 2 * place + by]
        for place, piece in enumerate(_PIECES)
        for by, kind in enumerate(("", "_character"))
    }
    return signals | _repeated_runs(rule_words(batch))


def _limit(signal: str) -> Rule:
    field = "max_" + signal.removeprefix("gopher_")
    meaning = f"{signal.removeprefix('gopher_')} above data.gopher_repetition.{field}"
    return meaning, lambda columns, config: columns[signal] > getattr(config, field)


RULES: dict[str, Rule] = {
    f"gopher_{name}": _limit(f"gopher_{name}_share")
    for name in (
        *(f"duplicate_{piece}{kind}" for piece in _PIECES for kind in ("", "_character")),
        *(f"top_{n}gram" for n in TOP),
        *(f"duplicate_{n}gram" for n in DUPLICATE),
    )
}


def _repeated_pieces(text: str) -> tuple[float, float, float, float]:
    """Shares of lines, their characters, paragraphs and their characters that occurred before."""
    lines = text.split("\n")
    first = set(lines)
    has_paragraphs = "\n\n" in text
    if len(first) == len(lines) and not (has_paragraphs and _has_bare_ends(text)):
        return 0.0, 0.0, 0.0, 0.0
    n_blank = lines.count("")
    first.discard("")
    n_lines = len(lines) - n_blank
    by_line = by_character = 0.0
    if len(first) < n_lines:
        by_line = (n_lines - len(first)) / n_lines
        n_characters = len(text) - len(lines) + 1  # but for line ends
        by_character = (n_characters - sum(map(len, first))) / len(text)
    elif not _has_bare_ends(text):
        return 0.0, 0.0, 0.0, 0.0  # no line twice, so no paragraph
    if not has_paragraphs:
        return by_line, by_character, 0.0, 0.0
    joined = text.strip()
    while "\n\n\n" in joined:  # two thirds are left each time: a paragraph ends once
        joined = joined.replace("\n\n\n", "\n\n")
    paragraphs = joined.split("\n\n")
    first = set(paragraphs)
    if len(first) == len(paragraphs):
        return by_line, by_character, 0.0, 0.0
    n_repeated = sum(map(len, paragraphs)) - sum(map(len, first))
    share = (len(paragraphs) - len(first)) / len(paragraphs)
    return by_line, by_character, share, n_repeated / len(text)


def _has_bare_ends(text: str) -> bool:
    """Whether paragraphs lose white space at an end of the text, so that two may become alike."""
    return len(text.strip()) != len(text.strip("\n"))


def _repeated_runs(words: RuleWords) -> Signals:
    """The signals of runs, for some documents at a time so that the arrays stay in the cache."""
    parts, first, n_documents = [], 0, len(words.offsets) - 1
    while first < n_documents:
        limit = words.offsets[first] + _WORDS_AT_ONCE
        last = max(int(np.searchsorted(words.offsets, limit, side="right")) - 1, first + 1)
        parts.append(_runs_of(words, first, last))
        first = last
    if not parts:
        parts = [np.zeros((len(TOP) + len(DUPLICATE), 0))]
    shares = np.concatenate(parts, axis=1) / np.maximum(words.document_characters, 1)
    names = (*(f"top_{n}gram" for n in TOP), *(f"duplicate_{n}gram" for n in DUPLICATE))
    return {f"gopher_{name}_share": share for name, share in zip(names, shares, strict=True)}


def _runs_of(words: RuleWords, first: int, last: int) -> NDArray[np.float64]:
    """Characters in the top runs and in the runs that occurred before, of documents first to last.

    Returns:
        [len(TOP) + len(DUPLICATE), last - first]
    """
    offsets = words.offsets[first : last + 1] - words.offsets[first]
    here = slice(words.offsets[first], words.offsets[last])
    hashes, n_words = words.hashes[here], int(offsets[-1])
    until = np.zeros(n_words + 1, dtype=np.int64)  # characters of all words before
    np.cumsum(words.characters[here], out=until[1:])
    counts = np.diff(offsets)
    document = np.repeat(np.arange(len(counts)), counts)  # of each word
    rows: list[NDArray[Any]] = []

    one_more = np.ones(n_words, dtype=np.bool_)  # the run of one word here may become one of two
    one_more[offsets[1:][counts > 0] - 1] = False
    places = np.flatnonzero(one_more)
    salts = np.arange(1, len(counts) + 1, dtype=np.uint64) * _SALT  # equal only in one document
    runs = (hashes + np.repeat(salts, counts)).take(places)
    table = np.empty(1 << n_words.bit_length() + _SPARE_BITS, dtype=np.int32)
    for n in range(2, DUPLICATE[-1] + 1):
        runs *= _FACTOR
        runs += hashes.take(places + (n - 1))
        first_same = _first_same(runs, table)
        times = np.bincount(first_same, minlength=1)  # of each run, where it occurs first
        if n in TOP:
            heads = np.flatnonzero(times > 1)
            rows.append(_top(places.take(heads), times.take(heads), n, offsets, until))
        else:
            again = places.compress(first_same != np.arange(len(places)))
            rows.append(_covered(again, n, until, offsets, document))
        # A run of one more word is a repeat only where both its runs of n words are.
        is_repeat = times.take(first_same) > 1
        keep = is_repeat[:-1] & is_repeat[1:]
        keep &= places[1:] - places[:-1] == 1
        runs, places = runs[:-1].compress(keep), places[:-1].compress(keep)
    return np.array(rows, dtype=np.float64)


def _first_same(
    runs: NDArray[np.uint64], table: NDArray[np.int32], n_used: int = 0
) -> NDArray[np.signedinteger[Any]]:
    """The index of the first run that equals each: [n_runs].

    All write their index where their high bits say, the last first, so the first stays. Who finds a
    run there that is not the same looks again by the next bits; a table need not be empty before.

    Args:
        table: of 2^`_SPARE_BITS` places a run or more; what is in it does not matter.
        n_used: how many of the high bits have been looked at.
    """
    bits = len(runs).bit_length() + _SPARE_BITS
    if n_used + bits > 60:  # somebody chose the words so
        _, heads, inverse = np.unique(runs, return_index=True, return_inverse=True)
        return heads.take(inverse)
    slots = (runs << np.uint64(n_used) >> np.uint64(64 - bits)).view(np.int64)
    # A copy: numpy writes by a contiguous index twice as fast.
    table[slots[::-1].copy()] = np.arange(len(runs) - 1, -1, -1, dtype=np.int32)
    first = table.take(slots)
    others = np.flatnonzero(runs.take(first) != runs)
    if others.size:
        first[others] = others.take(_first_same(runs.take(others), table, n_used + bits))
    return first


def _top(heads: Numbers, times: Numbers, n: int, offsets: Numbers, until: Numbers) -> Numbers:
    """Characters (and the spaces between words) in each document's most frequent run.

    Of runs equally frequent the one that occurs first counts.

    Args:
        heads: places where runs that occur again occur first, in order.
        times: how often each does.
    """
    first, most = offsets[:-1].copy(), np.ones(len(offsets) - 1, dtype=np.int64)
    bounds = np.searchsorted(heads, offsets)
    has = np.flatnonzero(bounds[1:] > bounds[:-1])
    if has.size:
        score = (times << 32) | (_LAST - heads)  # number of runs, then earliest place
        best = np.maximum.reduceat(score, bounds[has])
        most[has], first[has] = best >> 32, _LAST - (best & _LAST)
    end = np.minimum(first + n, len(until) - 1)
    length = until[end] - until[np.minimum(first, len(until) - 1)] + n - 1
    return np.where(np.diff(offsets) >= n, most * length, 0)


def _covered(
    again: Numbers, n: int, until: Numbers, offsets: Numbers, document: Numbers
) -> NDArray[Any]:
    """Characters of words in runs that occurred before.

    Runs are taken from left to right, each beginning where the one before ended, so that no
    character counts twice: of k repeats in a row, ceil(k / n) are taken.

    Args:
        again: first words of the runs that occurred before, in order.
    """
    if not again.size:
        return np.zeros(len(offsets) - 1)
    breaks = np.flatnonzero(again[1:] - again[:-1] != 1)
    starts = again[np.concatenate([[0], breaks + 1])]
    stops = again[np.concatenate([breaks, [len(again) - 1]])] + 1
    ends = starts + -(-(stops - starts) // n) * n
    ends[:-1] = np.minimum(ends[:-1], starts[1:])
    ends = np.minimum(ends, offsets[document[starts] + 1])
    return np.bincount(document[starts], until[ends] - until[starts], len(offsets) - 1)

"""Words in the place of other words, from a table of the user's.

The table is text: one word a line, then, each behind a tab, the words that may stand for it. Words
are found and replaced as the tokenizer spells them behind a space.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from groundup.errors import InputError
from groundup.progress import say
from groundup.tokenizer.load import Tokenizer
from groundup.train.noise.pieces import starts_word

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Ids = tuple[int, ...]

WHERE = "pretrain.augment.synonyms"


@dataclass(frozen=True)
class Synonyms:
    """A table in tokens.

    Attributes:
        by_first: first token of a word → its words, the longest first, each with its synonyms.
        continues: ``[V]``, which tokens go on a word.
    """

    by_first: dict[int, list[tuple[Ids, list[Ids]]]]
    continues: Bool

    def replaced(
        self,
        inputs: Int64,
        targets: Int64,
        allowed: Bool,
        rate: float,
        rng: np.random.Generator,
    ) -> tuple[Int64, Int64]:
        """Inputs and targets [n] with a share of the words of the table replaced: [n'] each.

        Args:
            allowed: which tokens may change; the target before such a token is the token itself.
        """
        ids = inputs.tolist()
        new_inputs, new_targets, done = ids[:1], [], 1  # inputs up to `done`, targets to one before
        for place in np.flatnonzero(allowed & np.isin(inputs, list(self.by_first))).tolist():
            word, synonyms = self.word_at(ids, place, allowed)
            if place < done or not word or rng.random() >= rate:
                continue
            chosen = synonyms[int(rng.integers(len(synonyms)))]
            new_inputs += [*ids[done:place], *chosen]
            new_targets += [*targets[done - 1 : place - 1].tolist(), *chosen]
            done = place + len(word)
        new_inputs += ids[done:]
        new_targets += targets[done - 1 :].tolist()
        return np.array(new_inputs, dtype=np.int64), np.array(new_targets, dtype=np.int64)

    def word_at(self, ids: list[int], place: int, allowed: Bool) -> tuple[Ids, list[Ids]]:
        """The word of the table that begins here, and its synonyms; empty where there is none."""
        for word, synonyms in self.by_first[ids[place]]:
            end = place + len(word)
            ends = end >= len(ids) or not self.continues[ids[end]]
            if ends and tuple(ids[place:end]) == word and allowed[place:end].all():
                return word, synonyms
        return (), []


def read_synonyms(path: Path, tokenizer: Tokenizer) -> Synonyms:
    """The table of a file.

    Raises:
        InputError: the file cannot be read, or a line has no two words (named).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the table of synonyms cannot be read: {error}",
            where=f"{WHERE}: {path}",
            fix="name a text file in UTF-8",
        ) from error
    table: dict[Ids, list[Ids]] = {}
    unknown: list[str] = []
    for number, line in enumerate(lines, 1):
        words = [word.strip() for word in line.split("\t")]
        if not line.strip():
            continue
        if len(words) < 2 or not all(words):
            raise InputError(
                "a line has no word and its synonyms",
                where=f"{path}:{number}",
                fix="write a word and, each behind a tab, what may stand in its place",
            )
        ids = {each: spelled(tokenizer, each) for each in words}
        unknown += [each for each in words if tokenizer.unk_id in ids[each]]
        synonyms = [ids[each] for each in words[1:] if each not in unknown]
        if words[0] not in unknown and synonyms:
            table.setdefault(ids[words[0]], []).extend(synonyms)
    if unknown:
        named = f"{', '.join(unknown[:3])}{' …' if len(unknown) > 3 else ''}"
        say(f"synonyms: left out, for the tokenizer cannot spell them: {named} ({len(unknown)})")
    by_first: dict[int, list[tuple[Ids, list[Ids]]]] = {}
    for word in sorted(table, key=len, reverse=True):
        by_first.setdefault(word[0], []).append((word, table[word]))
    return Synonyms(by_first, going_on(tokenizer))


def spelled(tokenizer: Tokenizer, word: str) -> Ids:
    """A word's tokens behind a space."""
    before = tokenizer.encode("a")
    return tuple(tokenizer.encode(f"a {word}")[len(before) :])


def going_on(tokenizer: Tokenizer) -> Bool:
    """Which tokens go on the word before them: they begin with a letter or digit and no space."""
    pieces = [
        tokenizer.token_bytes(id).decode(errors="replace") for id in range(tokenizer.vocab_size)
    ]
    letters = [piece.removeprefix("##")[:1].isalnum() for piece in pieces]
    return ~starts_word(pieces) & np.array(letters, dtype=np.bool_)

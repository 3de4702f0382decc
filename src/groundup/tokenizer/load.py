"""A trained tokenizer as the other chapters use it: text to ids, ids to text, ids to bytes.

Text is only ever text: a document that contains the letters ``<|endoftext|>`` is encoded letter by
letter, so that nobody's file can forge the end of a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers

from groundup.errors import InputError
from groundup.files import hash_file
from groundup.tokenizer.train import SEPARATOR, SEPARATOR_ID


def load_tokenizer(folder: Path) -> Tokenizer:
    """Open the tokenizer in ``folder`` (which holds a ``tokenizer.json``).

    Raises:
        InputError: there is none, it cannot be read, or it is not one of ours.
    """
    path = Path(folder) / "tokenizer.json"
    retrain = "train one with `groundup tokenizer`"
    if not path.is_file():
        raise InputError(
            "no tokenizer here: tokenizer.json is missing", where=str(path), fix=retrain
        )
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(
            f"tokenizer.json cannot be read: {error}", where=str(path), fix=retrain
        ) from error
    if problem := _problem(backend):
        raise InputError(
            f"not a tokenizer of groundup: {problem}",
            where=str(path),
            fix=retrain,
        )
    return Tokenizer(backend, hash_file(path))


class Tokenizer:
    """Text to token ids and back; made by `load_tokenizer`.

    Attributes:
        vocab_size: number of tokens, the separator included.
        bos_id: id of the separator that starts every document (0).
        hash: SHA-256 of tokenizer.json, written into everything made with it.
    """

    bos_id = SEPARATOR_ID

    def __init__(self, backend: tokenizers.Tokenizer, hash: str) -> None:
        backend.encode_special_tokens = True  # the separator's letters in a text are only letters
        self._backend = backend
        self.hash = hash
        self.vocab_size = backend.get_vocab_size()
        self._bytes = _bytes_of_tokens(backend)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without a separator.

        Raises:
            InputError: the text holds half a surrogate pair, which no UTF-8 file can.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, on all cores.

        Raises:
            InputError: a text holds half a surrogate pair.
        """
        try:
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except (TypeError, UnicodeError) as error:
            raise InputError(
                "text that is not Unicode (half a surrogate pair) cannot be encoded",
                fix="read the file as UTF-8, replacing what is not",
            ) from error
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``; separators are left out, and bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode(errors="replace")

    def token_bytes(self, id: int) -> bytes:
        """The bytes that token ``id`` stands for; none for the separator.

        Those of the tokens of ``encode(text)``, one after the other, are ``text`` in UTF-8.
        """
        return self._bytes[id]


def _problem(backend: tokenizers.Tokenizer) -> str | None:
    """Why this one would fail on some text or lose a part of it; None if it does not."""
    byte_of = byte_alphabet()
    vocabulary, alphabet = backend.get_vocab(), byte_of.keys()
    added = {token.content for token in backend.get_added_tokens_decoder().values()} - {SEPARATOR}
    n_ids = len(vocabulary)
    if vocabulary.get(SEPARATOR) != SEPARATOR_ID:
        return f"it needs {SEPARATOR} with id {SEPARATOR_ID}"
    if added:
        return f"it has the added token {min(added)!r}, and {SEPARATOR} must be the only one"
    if missing := alphabet - vocabulary.keys():
        return f"it has no byte-level token for byte {min(byte_of[one] for one in missing)}"
    if set(vocabulary.values()) != set(range(n_ids)):
        return f"its {n_ids} ids are not 0 to {n_ids - 1}"
    for token in vocabulary.keys() - {SEPARATOR}:
        if foreign := set(token) - alphabet:
            return f"the token {token!r} holds {min(foreign)!r}, which stands for no byte"
    for part in ("normalizer", "truncation", "padding"):
        if getattr(backend, part) is not None:
            return f"it has a {part}, which changes the text"
    return None


def _bytes_of_tokens(backend: tokenizers.Tokenizer) -> list[bytes]:
    """Undo the byte-level alphabet, in which every byte is written as a printable character."""
    byte_of = byte_alphabet()
    pieces = [b""] * backend.get_vocab_size()
    for token, id in backend.get_vocab(with_added_tokens=False).items():
        if id != SEPARATOR_ID:
            pieces[id] = bytes(byte_of[character] for character in token)
    return pieces


def byte_alphabet() -> dict[str, int]:
    """Character → byte, as in GPT-2's ``bytes_to_unicode``.

    Printable Latin-1 characters stand for themselves; the other bytes, in order, for U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(0x100 + place): byte for place, byte in enumerate(others)}

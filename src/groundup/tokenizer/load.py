"""A tokenizer as the other chapters use it: text to ids, ids to text, ids to bytes.

Ours of any kind, and foreign ones (`tokenizer.foreign`). Text is only ever text: a document that
contains the letters ``<|endoftext|>`` is encoded letter by letter, so that nobody's file can forge
the end of a document. Byte-level BPE is encoded by tiktoken with the same merges
(`tokenizer.ranks`): the same ids, several times faster, as arrays.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tokenizers

from groundup.errors import InputError
from groundup.files import hash_file
from groundup.progress import say
from groundup.tokenizer.anatomy import Anatomy, anatomy_of
from groundup.tokenizer.foreign import (
    RETRAIN,
    USUAL_NAMES,
    find_separator,
    open_backend,
    tokenizer_file,
)
from groundup.tokenizer.padding import pad, truncate
from groundup.tokenizer.ranks import to_tiktoken

if TYPE_CHECKING:
    import tiktoken

LONGEST_CHARACTER = 4  # bytes of UTF-8


def load_tokenizer(path: Path) -> Tokenizer:
    """Open a tokenizer: ours, any ``tokenizer.json``, or a tiktoken rank file.

    Args:
        path: a folder with a ``tokenizer.json``, such a file, or a ``*.tiktoken`` file that is
            named for its vocabulary (``cl100k_base.tiktoken``).

    Raises:
        InputError: there is none, it cannot be read, or what cuts its text is not known.
    """
    file = tokenizer_file(Path(path))
    backend = open_backend(file)
    return Tokenizer(backend, hash_file(file), *find_separator(backend, file.parent))


class Tokenizer:
    """Text to token ids and back; made by `load_tokenizer`.

    Attributes:
        vocab_size: number of ids, the special ones included.
        hash: SHA-256 of the file it was opened from, written into everything made with it.
        kind: as `TokenizerConfig.kind`; of a foreign one the nearest.
        separator: the token between documents; None where a foreign one has none.
        separator_role: what it is called there: ``bos``, ``eos``, ``cls``, ``sep`` or ``pad``.
        special_ids: special token → id; no text becomes one of them.
        unk_id: the token of what has no other; None where everything can be spelled.
        loss: what of a text does not come back, a clause for people; None where all does.
        is_byte_level: whether the bytes of the tokens, one after the other, are the text.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        hash: str,
        separator: str | None,
        separator_role: str = "bos",
    ) -> None:
        backend.encode_special_tokens = True  # a special token's letters in a text are only letters
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.hash, self.separator, self.separator_role = hash, separator, separator_role
        self._anatomy: Anatomy = anatomy_of(backend)
        self.vocab_size = self._anatomy.n_ids
        self.kind, self.loss = self._anatomy.kind, self._anatomy.loss
        self.special_ids: dict[str, int] = dict(self._anatomy.special_ids)
        self.unk_id: int | None = self._anatomy.unk_id
        self._bytes = self._anatomy.pieces
        self.is_byte_level = self._bytes is not None

    @property
    def lossless(self) -> bool:
        """Whether ``decode(encode(text)) == text`` for every text."""
        return self.loss is None

    @property
    def bos_id(self) -> int:
        """Id of the separator that starts every document; 0 in ours.

        Raises:
            InputError: a foreign tokenizer without a token for it.
        """
        if self.separator is None:
            raise InputError(
                "this tokenizer has no special token that could separate documents",
                fix="name one as bos_token in its tokenizer_config.json",
            )
        return self.special_ids[self.separator]

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Token ids of ``text``, without a separator.

        Args:
            allow_special: the letters of a special token stand for it: for texts of our own
                making, never for what others wrote.

        Raises:
            InputError: the text holds half a surrogate pair, which no UTF-8 file can.
        """
        if allow_special:
            return _ids_by_rules(self._with_special, text)
        ids: list[int] = self._encode(text).tolist()
        return ids

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of what its author gives to a model, without a separator.

        Names of special tokens stand for them (``<mask>``, ``<extra_id_0>``), but for the
        separator's, which is only letters here too: a prompt is one document.

        Raises:
            InputError: the text holds half a surrogate pair.
        """
        names = self.special_ids.keys() - {self.separator}
        if not any(name in text for name in names):
            return self.encode(text)
        separator = self.separator
        parts = text.split(separator) if separator else [text]
        ids = self.encode(parts[0], allow_special=True)
        for part in parts[1:]:
            ids += self.encode(separator or "") + self.encode(part, allow_special=True)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text as lists.

        Raises:
            InputError: a text holds half a surrogate pair.
        """
        return [ids.tolist() for ids in self.encode_arrays(texts)]

    def encode_arrays(
        self, texts: Sequence[str], n_threads: int | None = None
    ) -> list[npt.NDArray[np.uint32]]:
        """Token ids of each text, ``[length] uint32``.

        Args:
            n_threads: None for one a core; the encoding itself lets other threads run.

        Raises:
            InputError: a text holds half a surrogate pair.
        """
        n_threads = min(n_threads or os.cpu_count() or 1, len(texts))
        if n_threads < 2:
            return [self._encode(text) for text in texts]
        _ = self._fast  # made once, not by each thread
        with ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(self._encode, texts))

    def _encode(self, text: str) -> npt.NDArray[np.uint32]:
        try:
            if self._first_byte is not None:
                found = np.frombuffer(text.encode(), dtype=np.uint8)
                return found.astype(np.uint32) + np.uint32(self._first_byte)
            if self._fast is not None:
                return self._fast.encode_to_numpy(text, disallowed_special=())
        except UnicodeError as error:
            raise _not_unicode() from error
        except ValueError:  # a run of a million spaces is more than its expressions' stack holds
            pass
        return self._encode_by_rules(text)

    def _encode_by_rules(self, text: str) -> npt.NDArray[np.uint32]:
        """The ids by Hugging Face's own encoder: the reference, and the way where tiktoken ends."""
        return np.array(_ids_by_rules(self._backend, text), dtype=np.uint32)

    @cached_property
    def _fast(self) -> tiktoken.Encoding | None:
        """The same merges in tiktoken; made when something is encoded for the first time."""
        if self.kind != "byte-bpe" or self._bytes is None:
            return None
        made = to_tiktoken(self._backend, self._bytes, self.special_ids)
        if isinstance(made, str):
            say(f"tokenizer: encoding with Hugging Face's slower encoder: {made}")
            return None
        return made

    @cached_property
    def _first_byte(self) -> int | None:
        """Of kind bytes: the id of byte 0; the others follow."""
        if self.kind != "bytes" or self.loss is not None or self._bytes is None:
            return None
        first = self._bytes.index(b"\0")
        every = [bytes([byte]) for byte in range(256)]
        return first if self._bytes[first : first + 256] == every else None

    @cached_property
    def _with_special(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_str(self._backend.to_str())

    def __reduce__(self) -> tuple[Any, ...]:
        """To a worker process without what can be made anew."""
        return Tokenizer, (self._backend, self.hash, self.separator, self.separator_role)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``; special tokens are left out, and what is not UTF-8 becomes U+FFFD."""
        if self._bytes is not None:
            return b"".join(_pieces(self._bytes, ids)).decode(errors="replace")
        text: str = self._backend.decode(list(ids), skip_special_tokens=True)
        return text

    def spell(self, ids: Iterable[int]) -> str:
        """Text of ``ids`` in which special tokens are written by their names."""
        if self._spelled is not None:
            return b"".join(_pieces(self._spelled, ids)).decode(errors="replace")
        text: str = self._backend.decode(list(ids), skip_special_tokens=False)
        return text

    @cached_property
    def _spelled(self) -> list[bytes] | None:
        """The bytes of each token, of a special one its name."""
        if self._bytes is None:
            return None
        names = {id: name.encode() for name, id in self.special_ids.items()}
        return [names.get(id, piece) for id, piece in enumerate(self._bytes)]

    def stream(self, ids: Iterable[int], *, named: bool = False) -> Iterator[str]:
        """Text of ``ids`` as far as it is known, in whole characters; all of it is `decode`'s.

        One piece an id, empty ones among them, and one for what was left at the end.

        Args:
            named: all of it is `spell`'s.
        """
        pieces = self._spelled if named else self._bytes
        if pieces is not None:
            decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
            for piece in _pieces(pieces, ids):
                yield decoder.decode(piece)
            yield decoder.decode(b"", final=True)
            return
        yield from self._stream_by_rules(ids, self.spell if named else self.decode)

    def _stream_by_rules(
        self, ids: Iterable[int], decode: Callable[[list[int]], str]
    ) -> Iterator[str]:
        """What the last ids add to the text of the few before them, which may change it."""
        window: list[int] = []
        known, said = 0, ""  # ids whose text was given out, and the text of these
        for id in ids:
            window.append(id)
            text = decode(window)
            cut_short = text.endswith("\ufffd") and len(window) - known < LONGEST_CHARACTER
            if cut_short or len(text) <= len(said):
                yield ""
                continue
            yield text[len(said) :]
            window = window[known:]
            known, said = len(window), decode(window)
        yield decode(window)[len(said) :]

    @property
    def pad_id(self) -> int:
        """The special token for padding where there is one, else the separator."""
        named = (self.special_ids.get(name) for name in USUAL_NAMES["pad"])
        return next((id for id in named if id is not None), self.bos_id)

    def pad(
        self, batch: Sequence[Sequence[int]], **how: Any
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Ids and mask ``[B, T]`` of a batch; see `groundup.tokenizer.padding.pad`."""
        return pad(batch, self.pad_id, **how)

    def truncate(self, ids: Sequence[int], max_length: int, **how: Any) -> list[int]:
        """At most ``max_length`` ids; see `groundup.tokenizer.padding.truncate`."""
        return truncate(ids, max_length, **how)

    def token_bytes(self, id: int) -> bytes:
        """The bytes that token ``id`` stands for; none for special tokens.

        Where `is_byte_level`, those of the tokens of ``encode(text)``, one after the other, are
        ``text`` in UTF-8. Of the others it is what the token adds to a text when it is decoded
        after a word: ``##ing`` is ``b"ing"``, ``▁the`` and a whole word are ``b" the"``; of the
        first token of a text decoding drops the space.
        """
        if self._bytes is not None:
            return self._bytes[id]
        if not 0 <= id < self.vocab_size:
            raise IndexError(id)
        if id in self._anatomy.byte_ids:
            return bytes([self._anatomy.byte_ids[id]])
        before = self.decode([self._anchor])
        return self.decode([self._anchor, id]).removeprefix(before).encode()

    @cached_property
    def _anchor(self) -> int:
        """A token of letters to decode others after."""
        ordinary = (id for id in range(self.vocab_size) if self.decode([id]).strip().isalpha())
        return next(ordinary, 0)


def _pieces(pieces: Sequence[bytes], ids: Iterable[int]) -> Iterator[bytes]:
    """The bytes of each id; none of one beyond the tokens: a model may have more embeddings."""
    return (pieces[id] if id < len(pieces) else b"" for id in ids)


def _ids_by_rules(backend: tokenizers.Tokenizer, text: str) -> list[int]:
    try:
        (encoding,) = backend.encode_batch_fast([text], add_special_tokens=False)
    except (TypeError, UnicodeError) as error:
        raise _not_unicode() from error
    return list(encoding.ids)


def _not_unicode() -> InputError:
    return InputError(
        "text that is not Unicode (half a surrogate pair) cannot be encoded",
        fix="read the file as UTF-8, replacing what is not",
    )


def problem_for_training(tokenizer: Tokenizer) -> str | None:
    """Why a model should not be trained with it, a clause for people; None if it can be.

    That some text does not come back whole is not among it: see `Tokenizer.loss`.
    """
    if tokenizer.separator is None:
        return "it has no special token that could separate documents"
    return tokenizer._anatomy.problem or _forged(tokenizer)


def require_for_training(tokenizer: Tokenizer, where: Path) -> None:
    """Refuse a tokenizer that a model should not be trained with; say what text it loses.

    Raises:
        InputError: there is a `problem_for_training`.
    """
    if (problem := problem_for_training(tokenizer)) is not None:
        raise InputError(
            f"no model should be trained with this tokenizer: {problem}",
            where=str(where),
            fix=RETRAIN,
        )
    if tokenizer.loss is not None:
        say(f"tokenizer: kind {tokenizer.kind} does not give every text back: {tokenizer.loss}")


def _forged(tokenizer: Tokenizer) -> str | None:
    for special, id in tokenizer.special_ids.items():
        if id != tokenizer.unk_id and id in tokenizer.encode(f"{special} {special}"):
            what = "the separator" if special == tokenizer.separator else "that special token"
            return f"the letters {special} in a text become {what}"
    return None

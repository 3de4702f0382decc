"""The ``tokenizer`` section of the project file.

Which option goes with which kind stands in two tables; what would have no effect is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from groundup.errors import ConfigError
from groundup.section import Section
from groundup.units import Bytes, Count

Kind = Literal[
    "word", "char", "bpe", "byte-bpe", "wordpiece", "unigram",
    "sentencepiece-bpe", "sentencepiece-unigram", "bytes",
]  # fmt: skip
PreTokenizer = Literal[
    "default", "gpt2", "gpt4", "whitespace", "moses", "metaspace", "none",
]  # fmt: skip

SEPARATOR = "<|endoftext|>"  # starts every document; ends a generated one
SEPARATOR_ID = 0
UNKNOWN = "<unk>"  # of the kinds that cannot spell every text
N_BYTES = 256
SMALLEST_VOCABULARY = N_BYTES + 1  # the separator too: less cannot spell every text
SENTENCEPIECE_SAMPLE = 100_000_000  # it holds its text in memory, some 10 times over

# How each kind may cut text before it looks for tokens; "default" is the first of each.
PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {
    "word": ("whitespace", "moses"),
    "char": ("none",),
    "bpe": ("default", "gpt2", "gpt4", "metaspace"),
    "byte-bpe": ("default", "gpt2", "gpt4"),
    "wordpiece": ("default", "whitespace", "moses"),
    "unigram": ("default", "gpt2", "gpt4", "metaspace"),
    "sentencepiece-bpe": ("metaspace", "none"),
    "sentencepiece-unigram": ("metaspace", "none"),
    "bytes": ("none",),
}
# Option → the kinds that it changes.
_SENTENCEPIECE = ("sentencepiece-bpe", "sentencepiece-unigram")
_FALLS_BACK = ("char", "bpe", "unigram", *_SENTENCEPIECE)
_TAKEN_BY: dict[str, tuple[str, ...]] = {
    "split_digits": (
        "word", "bpe", "byte-bpe", "wordpiece", "unigram", *_SENTENCEPIECE,
    ),
    "byte_fallback": _FALLS_BACK,
    "min_frequency": ("word", "char", "bpe", "byte-bpe", "wordpiece"),
    "character_coverage": _SENTENCEPIECE,
    "max_piece_length": ("bpe", "byte-bpe", "unigram", *_SENTENCEPIECE),
    "sample": tuple(kind for kind in PRE_TOKENIZERS if kind != "bytes"),
}  # fmt: skip
# Ends in signs with a letter or digit between: no expression that cuts text leaves it whole.
_SPECIAL = re.compile(r"[^\w\s]\S*[A-Za-z0-9]\S*[^\w\s]")
_BYTE_NAME = re.compile(r"<0x[0-9A-F]{2}>")


class TokenizerConfig(Section):
    """How text becomes tokens."""

    kind: Kind = "byte-bpe"
    """What a token is. ``byte-bpe``: merged bytes, spells any text; ``bpe``: merged characters;
    ``wordpiece``; ``unigram``; ``sentencepiece-bpe`` and ``sentencepiece-unigram`` (trained by that
    library); ``word``, ``char``; ``bytes``: no training, 256 of them."""

    vocab_size: Annotated[Count, Field(ge=2)] = 4096
    """Number of tokens, the special ones included; of ``word``, ``char`` and ``bytes`` (which has
    256 and the special ones) at most so many. 4,096 suits models of a few million parameters: more
    would put most of the parameters into the embedding."""

    special_tokens: tuple[str, ...] = ()
    """Tokens after the separator ``<|endoftext|>`` (id 0) and what the objective needs, in order,
    that no text becomes: like ``<mask>``, a sign at both ends."""

    pre_tokenizer: PreTokenizer = "default"
    """How text is cut first; no token crosses a cut. ``default`` is the kind's own; ``gpt2`` and
    ``gpt4`` cut as these do; ``whitespace`` and ``moses`` (punctuation apart, as the Moses toolkit)
    lose the spaces; ``metaspace`` keeps a space as ▁ before its word; ``none`` cuts nothing."""

    split_digits: Literal["none", "single", "triples"] | None = None
    """Digits one by one, three by three, or as long as they are; null leaves it to the
    ``pre_tokenizer`` (``default`` and ``gpt4``: triples)."""

    byte_fallback: bool | None = None
    """Spell characters without a token byte by byte, so that none is unknown; null does so where
    the kind can (char, bpe, unigram, sentencepiece)."""

    normalizer: Literal["none", "nfc", "nfkc", "nfd", "nfkd"] = "none"
    """Unicode form that text is brought into first; any but ``none`` loses what was there."""

    lowercase: bool = False
    """Make text lower case first."""

    strip_accents: bool = False
    """Take accents off letters first."""

    sample: Annotated[Bytes, Field(ge=1)] | None = None
    """Bytes of text to learn from: a seeded sample by the weights of `data.mixture`. Null reads all
    text (sentencepiece, which keeps it in memory: 100 MB)."""

    min_frequency: Annotated[int, Field(ge=1)] | None = None
    """How often a pair, a word or a character is seen before it is a token; null is 2 for pairs and
    1 for words and characters."""

    character_coverage: Annotated[float, Field(ge=0.9, le=1)] | None = None
    """Share of the text's characters that sentencepiece gives a token; null is its own 0.9995."""

    max_piece_length: Annotated[int, Field(ge=1, le=500)] | None = None
    """Longest token in characters (of byte-bpe: bytes); null is 16 for unigram and sentencepiece,
    and no limit for merges."""

    taken_from: str | None = None
    """Folder of a tokenizer.json, or of a model with one: that tokenizer is taken as it is. Then
    nothing else goes into this section."""

    def with_special_tokens(self, names: Sequence[str]) -> TokenizerConfig:
        """The same with the special tokens ``names`` before its own, which keep their order.

        Their ids then depend on nothing else: RoBERTa's format wants ``<pad>`` at 1.

        Raises:
            ConfigError: no room is left for them in ``vocab_size``.
        """
        own = tuple(name for name in self.special_tokens if name not in names)
        if (*names, *own) == self.special_tokens:
            return self
        given = self.model_dump(exclude_unset=True)
        try:
            return TokenizerConfig(**{**given, "special_tokens": (*names, *own)})
        except ValidationError as error:
            raise ConfigError(
                f"the objective's {len(names)} special tokens do not fit: "
                f"{error.errors()[0]['msg'].removeprefix('Value error, ')}",
                where="tokenizer",
                fix="raise tokenizer.vocab_size",
            ) from error

    @property
    def has_byte_fallback(self) -> bool:
        """`byte_fallback`, decided."""
        return self.kind in _FALLS_BACK if self.byte_fallback is None else self.byte_fallback

    @property
    def cuts(self) -> str:
        """`pre_tokenizer`, decided."""
        own = PRE_TOKENIZERS[self.kind][0]
        return own if self.pre_tokenizer == "default" else self.pre_tokenizer

    @property
    def sample_bytes(self) -> int | None:
        """`sample`, decided."""
        limited = SENTENCEPIECE_SAMPLE if self.kind in _SENTENCEPIECE else None
        return limited if self.sample is None else self.sample

    @property
    def specials(self) -> tuple[str, ...]:
        """The special tokens by id: the separator, the project's, and ``<unk>`` where one is."""
        needs = self.kind in ("word", "wordpiece", "unigram", *_SENTENCEPIECE)
        unknown = needs or (self.kind in ("char", "bpe") and not self.has_byte_fallback)
        return (SEPARATOR, *self.special_tokens, *((UNKNOWN,) if unknown else ()))

    @field_validator("special_tokens")
    @classmethod
    def _well_formed(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        for token in tokens:
            if token in (SEPARATOR, UNKNOWN):
                raise ValueError(f"{token!r} is there already where it is needed")
            if not _SPECIAL.fullmatch(token) or _BYTE_NAME.fullmatch(token):
                raise ValueError(
                    f"{token!r} could be mistaken for text; write it like '<mask>': a sign at both "
                    "ends, a letter between, no space"
                )
        if len(set(tokens)) < len(tokens):
            raise ValueError("a special token is named twice")
        return tokens

    @model_validator(mode="before")
    @classmethod
    def _size_of_bytes(cls, given: Any) -> Any:
        if (
            isinstance(given, Mapping)
            and given.get("kind") == "bytes"
            and "vocab_size" not in given
        ):
            more = given.get("special_tokens") or ()
            given = {**given, "vocab_size": SMALLEST_VOCABULARY + len(more)}
        return given

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        others = [
            name
            for name, field in type(self).model_fields.items()
            if name != "taken_from" and getattr(self, name) != field.default
        ]
        if self.taken_from is not None and others:
            raise ValueError(f"{' and '.join(others)} changes nothing: taken_from says it all")
        if self.pre_tokenizer != "default" and self.pre_tokenizer not in PRE_TOKENIZERS[self.kind]:
            choices = ", ".join(dict.fromkeys(("default", *PRE_TOKENIZERS[self.kind])))
            raise ValueError(
                f"pre_tokenizer {self.pre_tokenizer} does not go with kind {self.kind}, which "
                f"takes: {choices}"
            )
        for option, kinds in _TAKEN_BY.items():
            if getattr(self, option) not in (None, False) and self.kind not in kinds:
                raise ValueError(
                    f"{option} changes nothing for kind {self.kind}; it is for {', '.join(kinds)}"
                )
        if self.kind in _SENTENCEPIECE:
            self._as_sentencepiece_can()
        self._require_room()
        return self

    def _as_sentencepiece_can(self) -> None:
        """Its normalisers are NFKC and NFKC with case folding; its digits, single or not."""
        if self.normalizer not in ("none", "nfkc"):
            raise ValueError(f"sentencepiece knows the normalizer nfkc, not {self.normalizer}")
        if self.lowercase and self.normalizer != "nfkc":
            raise ValueError("sentencepiece folds case only together with normalizer nfkc")
        if self.strip_accents:
            raise ValueError("sentencepiece does not strip accents; kind unigram or bpe does")
        if self.split_digits == "triples":
            raise ValueError("sentencepiece splits digits one by one (single) or not at all (none)")

    def _require_room(self) -> None:
        spelled = self.kind in ("byte-bpe", "bytes") or self.has_byte_fallback
        smallest = len(self.specials) + (N_BYTES if spelled else 1)
        if self.vocab_size < smallest:
            what = "the 256 bytes" if spelled else "one more"
            raise ValueError(
                f"vocab_size is {self.vocab_size}, and the special tokens and {what} are {smallest}"
            )

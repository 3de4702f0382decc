r"""Train a byte-level BPE tokenizer (Sennrich et al. 2016; bytes as in GPT-2) on the user's text.

Hugging Face ``tokenizers`` counts and merges; what is ours is the expression that cuts text into
the pieces within which merges may happen. It is GPT-4's (tiktoken ``cl100k_base``) with two
changes, made for code and for prompts:

- a line break takes the indentation after it: ``"\n        "`` is one token, not two;
- punctuation does not take the line break after it: a prompt that stops at the end of a line
  (``def f(x):``) stops where training tokens stop too.

Measured on the Python standard library, vocabulary 4,096, held-out files: GPT-2's expression 3.68
bytes a token, GPT-4's 3.73, this one 3.79. Digits go in groups of at most three, as in GPT-4.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from groundup.errors import InputError
from groundup.files import hash_file, write_atomic, write_json
from groundup.tokenizer.config import TokenizerConfig

SEPARATOR = "<|endoftext|>"  # starts every document; ends a generated one
SEPARATOR_ID = 0

PIECES = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # a word, and one character before: ` the`, `_name`
        r"\p{N}{1,3}",  # up to three digits
        r" ?[^\s\p{L}\p{N}]+",  # punctuation, with a space before it
        r"\s*[\r\n][ \t]*",  # line breaks, blank lines, and the next line's indentation
        r"\s+(?!\S)",  # a run of spaces, but for the last, which belongs to the word
        r"\s+",
    ]
)
SMALLEST_PAIR_COUNT = 2  # a pair seen once is a piece of one document, not of the language


def train_tokenizer(
    texts: Iterable[str], config: TokenizerConfig, folder: Path
) -> dict[str, object]:
    """Train on ``texts`` and write ``tokenizer.json`` and ``tokenizer_config.json`` to ``folder``.

    The same texts in the same order give the same bytes.

    Returns:
        ``vocab_size``, ``hash`` (SHA-256 of tokenizer.json), ``n_documents`` and ``n_bytes`` read.

    Raises:
        InputError: the texts hold too few repeated pairs for ``config.vocab_size`` tokens.
    """
    tokenizer = untrained_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=SMALLEST_PAIR_COUNT,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    read = {"n_documents": 0, "n_bytes": 0}
    tokenizer.train_from_iterator(_counted(texts, read), trainer)
    supported = tokenizer.get_vocab_size()
    if supported < config.vocab_size:
        raise InputError(
            f"the text supports {supported:,} tokens, not {config.vocab_size:,}: "
            f"no further pair occurs twice in its {read['n_bytes']:,} bytes",
            where="tokenizer.vocab_size",
            fix=f"set tokenizer.vocab_size to at most {supported}, or give more text",
        )
    write_atomic(folder / "tokenizer.json", tokenizer.to_str(pretty=True) + "\n")
    write_json(folder / "tokenizer_config.json", HUGGING_FACE)
    return {
        "vocab_size": supported,
        "hash": hash_file(folder / "tokenizer.json"),
        **read,
    }


HUGGING_FACE = {  # what transformers' AutoTokenizer wants to know beside tokenizer.json
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": SEPARATOR,
    "eos_token": SEPARATOR,
    "pad_token": SEPARATOR,
    "clean_up_tokenization_spaces": False,
    "split_special_tokens": True,  # the separator's letters in a text are letters there too
}


def untrained_tokenizer() -> Tokenizer:
    """The pipeline around the merges: pieces, bytes, the separator first, and the way back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SEPARATOR} $A",
        pair=f"{SEPARATOR} $A {SEPARATOR} $B:1",
        special_tokens=[(SEPARATOR, SEPARATOR_ID)],
    )
    return tokenizer


def _counted(texts: Iterable[str], read: dict[str, int]) -> Iterable[str]:
    for text in texts:
        read["n_documents"] += 1
        read["n_bytes"] += len(text.encode())
        yield text

"""The texts of `recipe.py`, made of what every Python has: nothing is downloaded."""

from __future__ import annotations

import ast
import hashlib
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from groundup.data.config import DataConfig
from groundup.data.corpus import Corpus, build_corpus
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import load_tokenizer
from groundup.tokenizer.train import train_tokenizer
from groundup.tokens.pack import pack

N_CHARACTERS = 1_115_394  # as many as Tiny Shakespeare has
SEPARATOR = "\0"  # before each docstring
NOT_READ = {"test", "tests", "site-packages", "idlelib", "lib2to3", "__pycache__"}
SPLIT_SEED, VOCAB_SIZE = 1337, 1024
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Text:
    """One text in two parts, as numbers.

    Attributes:
        train, validation: ``[n] int64``.
        separator_id: stands before each document.
    """

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    vocab_size: int
    separator_id: int


def characters(path: Path | None) -> Text:
    """Characters of a file, or of the standard library's docstrings; the last tenth is held out."""
    text = docstrings() if path is None else path.read_text(encoding="utf-8")
    letters = sorted({*text, SEPARATOR})
    number = {letter: place for place, letter in enumerate(letters)}
    stream = np.array([number[letter] for letter in text], dtype=np.int64)
    cut = len(stream) * 9 // 10
    return Text(stream[:cut], stream[cut:], len(letters), number[SEPARATOR])


def docstrings() -> str:
    """So many ASCII characters of docstrings, each once, modules in the order of their hashes."""
    found: dict[str, None] = {}
    n_characters = 0
    for said in all_docstrings(Path(sysconfig.get_path("stdlib"))):
        if said.isascii() and said not in found:
            found[said] = None
            n_characters += len(said) + 1
        if n_characters >= N_CHARACTERS:
            break
    return "".join(SEPARATOR + said for said in found)[:N_CHARACTERS]


def all_docstrings(library: Path) -> Iterator[str]:
    paths = [path.relative_to(library) for path in library.rglob("*.py")]
    paths = [path for path in paths if not NOT_READ & set(path.parts)]
    for path in sorted(paths, key=lambda path: hashlib.sha1(path.as_posix().encode()).digest()):
        try:
            tree = ast.parse((library / path).read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            said = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
            if said is not None:
                yield "".join(c for c in said if c == "\n" or c.isprintable())


def library(work: Path) -> Text:
    """The standard library's source as the quickstart reads it, with a tokenizer of its own."""
    if not (work / "tokens/index.json").exists():
        for name in ("corpus", "tokenizer"):
            (work / name).mkdir(parents=True, exist_ok=True)
        build_corpus(DataConfig(), work / "corpus", SPLIT_SEED, Path.cwd(), work=work / "shards")
        corpus = Corpus(work / "corpus")
        texts = (document.text for document in corpus.documents("train"))
        train_tokenizer(texts, TokenizerConfig(vocab_size=VOCAB_SIZE), work / "tokenizer")
        pack(corpus, load_tokenizer(work / "tokenizer"), work / "tokens")
    index = json.loads((work / "tokens/index.json").read_text())
    train, validation = (
        np.fromfile(work / f"tokens/{split}.bin", dtype=index["dtype"]).astype(np.int64)
        for split in ("train", "validation")
    )
    separator_id = load_tokenizer(work / "tokenizer").bos_id
    return Text(train, validation, index["vocab_size"], separator_id)

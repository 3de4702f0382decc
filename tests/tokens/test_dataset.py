from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundup.data.corpus import Corpus
from groundup.data.engine import Workers
from groundup.errors import CorruptError, InputError
from groundup.files import hash_file
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import Tokenizer, load_tokenizer
from groundup.tokenizer.train import train_tokenizer
from groundup.tokens import encode
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.order import batch_of_step, samples_at
from groundup.tokens.pack import pack
from tests.tokens.corpora import written_corpus

TEXTS = {
    "train": [f"def f{n}(x):\n    return x + {n}\n" for n in range(40)] + ["", "naïve ☃ 𝄞\r\n"],
    "validation": ["import os\n", "x = 1\n"],
    "test": [],
}


def corpus(folder: Path, n_parts: int = 1) -> Corpus:
    texts = {split: [("", text) for text in texts] for split, texts in TEXTS.items()}
    return written_corpus(folder / f"corpus{n_parts}", texts, n_parts)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS["train"], TokenizerConfig(vocab_size=270), folder)
    return load_tokenizer(folder)


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    pack(corpus(tmp_path), tokenizer, tmp_path / "tokens")
    return tmp_path / "tokens"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_documents_come_back_whole_and_in_order(
    folder: Path, tokenizer: Tokenizer, split: str
) -> None:
    dataset = TokenDataset(folder, split)
    documents = [dataset.document(number) for number in range(dataset.n_documents)]
    assert all(document[0] == tokenizer.bos_id for document in documents)
    texts = TEXTS[split]
    assert [tokenizer.decode(document[1:]) for document in documents] == texts
    assert dataset.document_bytes.tolist() == [len(text.encode()) for text in texts]
    assert dataset.n_bytes == sum(len(text.encode()) for text in texts)
    assert dataset.n_tokens == len(dataset.tokens) == sum(map(len, documents))
    first = 0 if split == "train" else len(TEXTS["train"])
    assert dataset.document_rows.tolist() == list(range(first, first + len(texts)))
    assert dataset.token_lengths[dataset.tokens].sum() == dataset.n_bytes


def test_the_index_says_what_the_files_hold(folder: Path, tokenizer: Tokenizer) -> None:
    index = json.loads((folder / "index.json").read_text())
    assert index["dtype"] == "uint16"
    assert index["vocab_size"] == 270
    assert index["tokenizer_hash"] == tokenizer.hash
    assert index["splits"]["test"] == {"n_tokens": 0, "n_documents": 0, "n_bytes": 0}


def test_packing_in_small_chunks_gives_the_same_files(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "CHUNK_CHARACTERS", 50)
    pack(Corpus(tmp_path / "corpus1"), tokenizer, tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(folder)


@pytest.mark.parametrize("n", [1, 2])
def test_any_number_of_parts_and_processes_gives_the_same_files(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path, n: int
) -> None:
    work = tmp_path / "work"
    pack(corpus(tmp_path, 5), tokenizer, tmp_path / "again", work=work, workers=Workers(n=n))
    assert hashes(tmp_path / "again") == hashes(folder)
    assert len(list((work / "tokens").glob("*.json"))) == 5


def test_what_was_encoded_is_not_encoded_again(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, work, real = corpus(tmp_path, 3), tmp_path / "work", encode.encode_part
    done: list[Path] = []

    def killed(path: Path, *rest: object) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(path)
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encode, "encode_part", killed)
    with pytest.raises(KeyboardInterrupt):
        pack(parts, tokenizer, tmp_path / "tokens", work=work)
    done.clear()
    pack(parts, tokenizer, tmp_path / "tokens", work=work)
    assert [path.name for path in done] == ["part-00002.parquet"]
    done.clear()
    pack(parts, tokenizer, tmp_path / "other", None, "best_fit", work=work)
    assert not done
    assert hashes(tmp_path / "other", "*.bin") == hashes(tmp_path / "tokens", "*.bin")


def hashes(folder: Path, names: str = "*") -> dict[str, str]:
    return {path.name: hash_file(path) for path in sorted(folder.glob(names))}


def test_a_large_vocabulary_takes_four_bytes_a_token(tokenizer: Tokenizer, tmp_path: Path) -> None:
    class Large:
        bos_id, vocab_size, hash = 0, 70_000, "0" * 64

        def encode_arrays(self, texts: list[str], n_threads: int) -> list[np.ndarray]:
            return [np.array([69_999], dtype=np.uint32) for _ in texts]

        def token_bytes(self, id: int) -> bytes:
            return b"x" * (id > 0)

    index = pack(corpus(tmp_path), Large(), tmp_path / "tokens")  # type: ignore[arg-type]
    assert index["dtype"] == "uint32"
    assert TokenDataset(tmp_path / "tokens", "train").document(3).tolist() == [0, 69_999]


def test_a_batch_holds_the_windows_of_its_samples(folder: Path) -> None:
    dataset = TokenDataset(folder, "train")
    inputs, targets = batch_of_step(dataset, seed=3, step=5, batch_size=4, context_length=16)
    samples = samples_at(3, 20, 4, (dataset.n_tokens - 1) // 16)
    stream = dataset.tokens.astype(np.int64)
    for row, sample in enumerate(samples):
        assert inputs[row].tolist() == stream[sample * 16 : sample * 16 + 16].tolist()
        assert targets[row].tolist() == stream[sample * 16 + 1 : sample * 16 + 17].tolist()
    assert inputs.dtype == targets.dtype == np.int64


def test_the_windows_of_an_epoch_hold_every_token_but_the_tail_as_target(folder: Path) -> None:
    dataset = TokenDataset(folder, "train")
    n = dataset.n_windows(16)
    windows = dataset.windows(np.arange(n), 16)
    assert windows[:, 1:].ravel().tolist() == dataset.tokens[1 : n * 16 + 1].tolist()
    assert dataset.n_tokens - 1 - n * 16 < 16
    exact = dataset.n_tokens - 1
    assert dataset.n_windows(exact) == 1
    assert dataset.n_windows(exact + 1) == 0


def test_a_split_shorter_than_a_window_says_both_lengths(folder: Path) -> None:
    dataset = TokenDataset(folder, "validation")
    with pytest.raises(
        InputError, match=f"{dataset.n_tokens} tokens, fewer than one window of 256"
    ):
        batch_of_step(dataset, seed=0, step=0, batch_size=1, context_length=256)


def test_another_tokenizer_is_refused_with_both_names(folder: Path, tokenizer: Tokenizer) -> None:
    dataset = TokenDataset(folder, "train")
    dataset.require_tokenizer(tokenizer.hash)
    with pytest.raises(InputError) as caught:
        dataset.require_tokenizer("feedbeef" * 8)
    assert tokenizer.hash[:12] in caught.value.message
    assert "feedbeef" in caught.value.message


@pytest.mark.parametrize("name", ["train.bin", "train.npz", "token_lengths.npy"])
@pytest.mark.parametrize("damage", ["truncate", "missing", "zero"])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif name == "train.bin":
        path.write_bytes(content + b"\0")
    else:
        path.write_bytes(b"\0" * len(content))
    with pytest.raises(CorruptError) as caught:
        TokenDataset(folder, "train")
    assert str(path) == caught.value.where


def test_a_pickle_in_place_of_an_array_is_not_loaded(folder: Path) -> None:
    np.save(folder / "token_lengths.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptError):
        TokenDataset(folder, "train")


def test_an_index_that_lies_is_caught(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_text())
    index["dtype"] = "uint32"
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(CorruptError, match=r"tokens of 4 bytes"):
        TokenDataset(folder, "train")
    index["dtype"] = "object"
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(CorruptError, match="object"):
        TokenDataset(folder, "train")


def test_no_such_split_and_no_tokens_at_all_are_bad_input(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are train, validation, test"):
        TokenDataset(folder, "holdout")
    with pytest.raises(InputError, match="not found"):
        TokenDataset(tmp_path / "nowhere", "train")

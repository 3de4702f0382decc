from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from groundup.data.config import DataConfig
from groundup.data.corpus import Corpus, build_corpus, fingerprint
from groundup.data.readers.folder import read_bytes
from groundup.data.report import corpus_tables
from groundup.errors import InputError, StorageError


def prose(topic: str, n: int = 30) -> str:
    return "".join(f"The {topic} number {i} is unlike {topic} {i * i}, we say.\n" for i in range(n))


TOPICS = ["river", "stone", "tree", "cloud", "bird", "house", "wheel", "song", "winter", "bread"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with ten good files, one of each kind of trouble, and copies."""
    texts = tmp_path / "texts"
    (texts / "sub").mkdir(parents=True)
    for topic in TOPICS:
        (texts / f"{topic}.txt").write_text(prose(topic))
    (texts / "crlf.txt").write_bytes(prose("city").replace("\n", "  \r\n").encode())
    (texts / "sub" / "same.txt").write_text(prose("river").replace(" ", "  "))
    (texts / "sub" / "near.txt").write_text(prose("stone").replace("number 7", "number seven"))
    (texts / "short.txt").write_text("hello\n")
    (texts / "table.txt").write_text("".join(f"{i * i},{i}\n" for i in range(99)))
    (texts / "latin.txt").write_bytes(b"caf\xe9 " * 50)
    (texts / "binary.txt").write_bytes(b"ab\0" * 50)
    with (texts / "line.txt").open("wb") as file:  # 50 MB in one line
        file.truncate(0)
        for _ in range(50):
            file.write(b"x" * 1_000_000)
    return tmp_path


CONFIG = DataConfig(input="texts")


def test_the_report_accounts_for_every_file(project: Path) -> None:
    report = build_corpus(CONFIG, project / "corpus", 0, project)
    stages = {stage["stage"]: stage for stage in report["stages"]}
    assert [(stage["documents_in"], stage["documents_out"]) for stage in stages.values()] == [
        (18, 15),
        (15, 15),
        (15, 13),
        (13, 12),
        (12, 11),
    ]
    assert {row["reason"]: row["examples"] for row in report["reasons"]} == {
        "nul_byte": ["texts/binary.txt at byte 2"],
        "long_line": ["texts/line.txt at byte 0"],
        "not_utf8": ["texts/latin.txt at byte 3"],
        "too_short": ["texts/short.txt"],
        "few_letters": ["texts/table.txt"],
        "exact_copy": ["texts/river.txt"],  # the longer is kept
        "near_copy": ["texts/stone.txt"],
    }
    assert report["cleaning"] == {"line_ends": 1, "trailing_space": 1}
    assert report["documents"] == 11 == sum(s["documents"] for s in report["splits"].values())
    assert report["bytes"] == sum(s["bytes"] for s in report["splits"].values())
    assert [(c["kept"], c["copies"]) for c in report["clusters"]] == [
        ("texts/sub/near.txt", 1),
        ("texts/sub/same.txt", 1),
    ]
    assert stages["read"]["bytes_in"] == sum(
        file.stat().st_size for file in (project / "texts").rglob("*.*")
    )
    assert report == Corpus(project / "corpus").report
    assert all(
        len(row) == len(columns) for _, columns, rows in corpus_tables(report) for row in rows
    )


def test_the_corpus_yields_the_cleaned_texts_and_keeps_the_raw_ones(project: Path) -> None:
    import pyarrow.parquet as pq

    build_corpus(CONFIG, project / "corpus", 0, project)
    corpus = Corpus(project / "corpus")
    documents = {d.locator: d for split in corpus.splits for d in corpus.documents(split)}
    assert documents["crlf.txt"].text == prose("city")
    assert documents["bird.txt"].text == prose("bird")
    assert len({document.id for document in documents.values()}) == 11
    table = pq.read_table(project / "corpus" / "documents.parquet")
    raw = dict(zip(table["locator"].to_pylist(), table["text"].to_pylist(), strict=True))
    assert raw["crlf.txt"].encode() == (project / "texts" / "crlf.txt").read_bytes()
    for split in corpus.splits:
        assert corpus.n_bytes(split) == sum(len(d.text.encode()) for d in corpus.documents(split))
        assert corpus.report["splits"][split]["bytes"] == corpus.n_bytes(split) > 0
    lines = (project / "corpus" / "quarantine.jsonl").read_text().splitlines()
    assert {(row["locator"], row["offset"]) for row in map(json.loads, lines)} == {
        ("binary.txt", 2),
        ("latin.txt", 3),
        ("line.txt", 0),
    }


def test_equal_input_gives_equal_bytes_in_another_process_and_place(project: Path) -> None:
    build_corpus(CONFIG, project / "corpus", 0, project)
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    (project / "texts").rename(elsewhere / "texts")
    script = (
        "import sys; from pathlib import Path; from groundup.data.config import DataConfig; "
        "from groundup.data.corpus import build_corpus; root = Path(sys.argv[1]); "
        "build_corpus(DataConfig(input='texts'), root / 'corpus', 0, root); "
        "assert 'torch' not in sys.modules"
    )
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-c", script, str(elsewhere)], check=True, env=environment)
    names = sorted(file.name for file in (project / "corpus").iterdir())
    assert names == sorted(file.name for file in (elsewhere / "corpus").iterdir())
    for name in names:
        content = (project / "corpus" / name).read_bytes()
        assert content == (elsewhere / "corpus" / name).read_bytes(), name
        assert str(project).encode() not in content


def test_the_fingerprint_changes_with_names_and_contents_only(project: Path) -> None:
    first = fingerprint(CONFIG, project)
    file = project / "texts" / "bird.txt"
    os.utime(file, (0, 0))
    (project / "texts" / "notes.rst").touch()
    assert fingerprint(CONFIG, project) == first
    file.write_text(prose("bird").replace("7", "8"))
    second = fingerprint(CONFIG, project)
    file.rename(file.with_name("crow.txt"))
    assert len({first, second, fingerprint(CONFIG, project)}) == 3


def test_two_spaces_stay_in_markdown_alone(project: Path) -> None:
    for ending in ("md", "txt"):
        (project / "texts" / f"poem.{ending}").write_text(f"{ending}  \n" + prose(ending))
    build_corpus(CONFIG, project / "corpus", 0, project)
    corpus = Corpus(project / "corpus")
    texts = {d.locator: d.text for split in corpus.splits for d in corpus.documents(split)}
    assert texts["poem.md"].startswith("md  \n")
    assert texts["poem.txt"].startswith("txt\n")


def test_what_resembles_held_out_text_leaves_train_and_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With MinHash blind, the copies of a held-out document are found by comparing all."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(40):
        (texts / f"{number}.txt").write_text(prose(f"topic{number}"))
    build_corpus(CONFIG, tmp_path / "before", 0, tmp_path)
    test = {document.locator for document in Corpus(tmp_path / "before").documents("test")}
    train = {document.locator for document in Corpus(tmp_path / "before").documents("train")}
    held_out, lender, *_ = [*sorted(test), *sorted(train)]
    source = (texts / held_out).read_text()
    copies = {f"copy{n}.txt": source.replace(f"number {n} ", "number x ") for n in range(12)}
    for name, text in copies.items():
        (texts / name).write_text(text)
    quoted = "".join(source.splitlines(keepends=True)[:6])
    (texts / lender).write_text((texts / lender).read_text() + quoted)

    monkeypatch.setattr("groundup.data.corpus.near_copies", blind)
    report = build_corpus(CONFIG, tmp_path / "after", 0, tmp_path)
    corpus = Corpus(tmp_path / "after")
    assert held_out in {document.locator for document in corpus.documents("test")}
    left = {document.locator for document in corpus.documents("train")}
    assert not left & copies.keys()
    assert lender in left
    reasons = {row["reason"]: row for row in report["reasons"]}
    assert reasons["near_copy_of_held_out"]["documents"] >= 8  # the others were held out too
    assert f"texts/{held_out}" in {cluster["kept"] for cluster in report["clusters"]}

    overlap = report["overlap"]["splits"]["test"]
    runs = {name: runs_of(16, (texts / name).read_text()) for name in left}
    names = [document.locator for document in corpus.documents("test")]
    own = {name: runs_of(16, (texts / name).read_text()) for name in names}
    known = set().union(*runs.values())
    n_known = sum(len(own[name] & known) for name in names)
    assert 0 < overlap["share"] == round(n_known / sum(map(len, own.values())), 4)
    shares = {f"texts/{name}": round(len(own[name] & known) / len(own[name]), 4) for name in names}
    assert {e["document"]: e["share"] for e in overlap["examples"]}.items() <= shares.items()
    assert shares[f"texts/{held_out}"] > 0.1
    titles = [title for title, _, _ in corpus_tables(report)]
    assert "Held-out text that stands in train (runs of 16 words)" in titles


def blind(signatures: Any, *_: object) -> Any:
    import numpy as np

    return np.arange(len(signatures)), np.ones(len(signatures))


def runs_of(n: int, text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_unchanged_files_are_not_read_again_and_changed_ones_are(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, bird = project / "artifacts" / "hashes.json", project / "texts" / "bird.txt"
    opened: list[str] = []

    def watched(file: Any, limit: int) -> Any:
        opened.append(file.locator)
        return read_bytes(file, limit)

    monkeypatch.setattr("groundup.data.readers.hashes.read_bytes", watched)

    def asked() -> tuple[str, int]:
        opened.clear()
        return fingerprint(CONFIG, project, cache), len(opened)

    first, n_files = asked()
    assert (first, n_files) == (
        fingerprint(CONFIG, project),
        len(os.listdir(project / "texts")) + 1,
    )
    assert asked() == (first, n_files)  # all were written within two seconds of being hashed
    monkeypatch.setattr("groundup.data.readers.hashes._SETTLED_NS", -(10**18))
    assert asked() == (first, n_files)
    assert asked() == (first, 0)
    times = bird.stat().st_atime_ns, bird.stat().st_mtime_ns
    bird.write_text(prose("bird").replace("7", "8"))  # as long as before
    os.utime(bird, ns=times)
    second = fingerprint(CONFIG, project)
    assert second != first
    assert asked() == (second, 1)
    for broken in ("", "[]", '{"version": 1, "files": {"texts/bird.txt": [1]}}', "\0"):
        cache.write_text(broken)
        assert asked() == (second, n_files)
    cache.unlink()
    cache.mkdir()  # cannot be written
    assert asked() == (second, n_files)


def test_documents_across_row_groups_come_in_order(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_corpus(CONFIG, project / "whole", 0, project)
    monkeypatch.setattr("groundup.data.corpus._ROW_GROUP_BYTES", 3000)
    assert build_corpus(CONFIG, project / "parts", 0, project) == whole
    for split in Corpus.splits:
        first, second = (Corpus(project / name).documents(split) for name in ("whole", "parts"))
        assert list(first) == list(second)


def test_too_little_text_is_an_error_that_counts_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for topic in TOPICS[:2]:
        (tmp_path / "texts" / f"{topic}.txt").write_text(prose(topic))
    (tmp_path / "texts" / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"2 of 3 files .* three.* \(1 not_utf8\)"):
        build_corpus(CONFIG, tmp_path / "corpus", 0, tmp_path)
    (tmp_path / "texts" / "third.txt").write_text(prose("third"))
    report = build_corpus(CONFIG, tmp_path / "corpus", 0, tmp_path)
    assert [size["documents"] for size in report["splits"].values()] == [1, 1, 1]


def test_only_bad_files_is_an_error_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="0 of 1 files"):
        build_corpus(CONFIG, tmp_path / "corpus", 0, tmp_path)


def test_a_full_disk_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("groundup.data.document.pq.ParquetWriter.write_table", full)
    with pytest.raises(StorageError, match="disk is full"):
        build_corpus(CONFIG, project / "corpus", 0, project)


def test_no_corpus_and_no_such_split_are_said(project: Path) -> None:
    with pytest.raises(InputError, match="no corpus here"):
        Corpus(project)
    build_corpus(CONFIG, project / "corpus", 0, project)
    with pytest.raises(ValueError, match="no split 'dev'"):
        Corpus(project / "corpus").documents("dev")


def test_the_standard_library_has_no_copies_across_its_splits(tmp_path: Path) -> None:
    """Brute force: every held-out file against all of training."""
    import numpy as np

    from groundup.data.dedup.shingles import hash_words, jaccard, shingles

    report = build_corpus(DataConfig(), tmp_path, 0, tmp_path)
    assert report["documents"] > 400
    corpus = Corpus(tmp_path)
    sets = {
        split: [
            np.unique(shingles(hash_words(document.text.encode()), 5))
            for document in corpus.documents(split)
        ]
        for split in corpus.splits
    }
    train = sets["train"]
    for held_out in sets["test"] + sets["validation"]:
        sizes = np.array([min(len(t), len(held_out)) / max(len(t), len(held_out)) for t in train])
        assert all(jaccard(train[i], held_out) < 0.7 for i in np.flatnonzero(sizes >= 0.7))

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from groundup.data.config import DataConfig
from groundup.data.corpus import fingerprint
from groundup.data.readers import standard_library
from groundup.data.readers.inputs import list_inputs
from groundup.errors import InputError


def test_the_standard_library_comes_without_tests_packages_and_machine_files() -> None:
    names = [file.locator for file in list_inputs(DataConfig(), Path("unused")).files]
    assert {"argparse.py", "json/decoder.py", "email/message.py"} <= set(names)
    assert len(names) > 400
    parts = {part for name in names for part in name.split("/")}
    assert not parts & {"test", "tests", "idle_test", "encodings", "site-packages", "pydoc_data"}
    assert not any(name.startswith(("_sysconfigdata", "config-")) for name in names)


def test_a_python_without_its_source_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "python311.zip"))
    with pytest.raises(InputError, match="without source") as error:
        standard_library.standard_library()
    assert "data.input" in str(error.value)


def test_several_inputs_keep_their_order_and_get_different_names(tmp_path: Path) -> None:
    for folder in ("b/texts", "a/texts"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.txt").touch()
    (tmp_path / "book.tex").touch()
    config = DataConfig(input=("b/texts", "a/texts", str(tmp_path / "book.tex")))
    listing = list_inputs(config, tmp_path)
    assert [(file.source, file.locator) for file in listing.files] == [
        ("b/texts", "x.txt"),
        ("a/texts", "x.txt"),
        ("book.tex", "book.tex"),
    ]
    twice = list_inputs(DataConfig(input=("./a/texts", "a/texts/")), tmp_path)
    assert [file.source for file in twice.files] == ["a/texts", "a/texts-2"]


def test_an_input_keeps_its_name_where_the_project_is_renamed_or_its_name_is_no_text(
    tmp_path: Path,
) -> None:
    found = []
    for name in (b"first", b"second", b"caf\xe9"):
        folder = tmp_path / os.fsdecode(name)
        (folder / "texts").mkdir(parents=True)
        (folder / "texts" / "a.txt").write_text("text\n")
        files = list_inputs(DataConfig(input=(".", "texts", "texts/a.txt")), folder).files
        found.append([(file.source, file.locator) for file in files])
        outside = DataConfig(input=str(folder))
        hash_of_all = fingerprint(outside, tmp_path)
        assert len(hash_of_all) == 64
    assert found[0] == found[1] == found[2]
    assert found[0] == [(".", "texts/a.txt"), ("texts", "a.txt"), ("texts/a.txt", "a.txt")]


@pytest.mark.parametrize("name", ["missing", "~nobody-of-this-name/x", "x" * 300, "file.txt/x"])
def test_a_missing_input_is_named_with_the_place_looked_at(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(InputError, match="is not there") as error:
        list_inputs(DataConfig(input=name), tmp_path)
    assert name in error.value.message
    assert str(tmp_path) in (error.value.where or "")


def test_an_empty_folder_and_one_with_other_files_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with pytest.raises(InputError, match=r"\.py, \.txt, \.md") as error:
        list_inputs(DataConfig(input="t"), tmp_path)
    assert "put text files there" in (error.value.fix or "")
    (tmp_path / "t" / "a.rst").touch()
    with pytest.raises(InputError) as error:
        list_inputs(DataConfig(input="t"), tmp_path)
    assert error.value.fix == "it holds 1 .rst: name their ending in data.extensions"

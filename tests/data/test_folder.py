from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.readers.folder import (
    File,
    Quarantined,
    find_long_line,
    list_folder,
    read_text,
)

MIB = 2**20


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(path: Path, max_file_bytes: int = MIB, max_line_bytes: int = 1000) -> str | Quarantined:
    return read_text(File("s", path.name, path), max_file_bytes, max_line_bytes)


def test_files_come_sorted_by_their_path_with_the_wanted_endings_only(tmp_path: Path) -> None:
    write(
        tmp_path,
        b_dot_txt="",
        a__z_dot_TXT="",
        a__b__c_dot_txt="",
        a_dot_rst="",
        _dot_git__x_dot_txt="",
        skip__me_dot_txt="",
        Makefile="",
    )
    listing = list_folder(tmp_path, "s", (".txt",), skip=("sk*",))
    assert [file.locator for file in listing.files] == ["a/b/c.txt", "a/z.TXT", "b.txt"]
    assert listing.other_endings == {".rst": 1, "no ending": 1}
    assert listing.quarantined == []


def test_links_are_followed_inside_the_tree_only_and_circles_end(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    write(tmp_path, in__a_dot_txt="a", out__secret_dot_txt="s")
    (inside / "same.txt").symlink_to(inside / "a.txt")
    (inside / "up.txt").symlink_to(outside / "secret.txt")
    (inside / "folder").symlink_to(outside)
    (inside / "circle").symlink_to(inside)
    (inside / "self.txt").symlink_to("self.txt")
    listing = list_folder(inside, "s", (".txt",))
    assert [file.locator for file in listing.files] == ["a.txt", "same.txt", "self.txt"]
    assert [(file.locator, file.reason) for file in listing.quarantined] == [
        ("folder", "link_outside"),
        ("up.txt", "link_outside"),
    ]
    assert read(inside / "self.txt") == Quarantined("s", "self.txt", "unreadable")


def test_a_name_that_is_not_utf8_gets_a_printable_locator(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    (file,) = list_folder(tmp_path, "s", (".txt",)).files
    assert file.locator == "caf\\udce9.txt"
    assert file.path.read_text() == "x"


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        (b"caf\xe9", "not_utf8", 3),
        ("# coding: latin-1\n# é".encode("latin-1"), "not_utf8", 20),
        ("text".encode("utf-16"), "nul_byte", 3),
        (b"\xff\xfet", "not_utf8", 0),
        (b"ab\xed\xa0\x80", "not_utf8", 2),  # a lone surrogate
        (b"ab\0cd", "nul_byte", 2),
        (b"short\n" + b"x" * 1001, "long_line", 6),
        (b"x" * (MIB + 1), "too_large", None),
    ],
)
def test_bad_files_are_set_aside_with_reason_and_offset(
    tmp_path: Path, data: bytes, reason: str, offset: int | None
) -> None:
    (tmp_path / "f").write_bytes(data)
    assert read(tmp_path / "f") == Quarantined("s", "f", reason, len(data), offset)


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    for name in ("pipe.txt", "gone.txt"):
        assert read(tmp_path / name) == Quarantined("s", name, "unreadable")


def test_good_files_are_read_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("\ufeffé\r\n€ 😀".encode())
    assert read(tmp_path / "f") == "\ufeffé\r\n€ 😀"
    (tmp_path / "empty").touch()
    assert read(tmp_path / "empty") == ""


@given(st.text(alphabet="ab\n\r"), st.integers(0, 5))
def test_the_first_long_line_is_found_wherever_it_is(text: str, limit: int) -> None:
    data, start = text.encode(), 0
    expected = -1
    for line in data.replace(b"\r", b"\n").split(b"\n"):
        if len(line) > limit:
            expected = start
            break
        start += len(line) + 1
    assert find_long_line(data, limit) == expected

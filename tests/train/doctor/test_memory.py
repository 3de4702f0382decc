"""Memory patterns."""

from __future__ import annotations

import pytest
import torch

from groundup.train.doctor.config import Limits
from groundup.train.doctor.memory import ADDRESS, CHEQUERS, check_memory, compare, write

SMALL = Limits(memory_bytes=1)  # the least: one block


def test_good_memory_holds_every_pattern() -> None:
    found = check_memory("cpu", "here", 0.0, SMALL, free_bytes=2**30)[0]
    assert (found.state, found.value) == ("ok", 0)
    assert "× 2 patterns" in found.expected


def test_a_flipped_bit_is_found_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDUP_DOCTOR_FAULT", "memory@here")
    found = check_memory("cpu", "here", 0.0, SMALL, free_bytes=2**30)[0]
    assert (found.state, found.value) == ("fail", 1)
    assert f"word {2**21 // 2}" in found.why


def test_every_bit_stands_at_0_and_at_1_once() -> None:
    words = torch.tensor([pattern & 0xFFFFFFFFFFFFFFFF for pattern in (0, 0)])
    ones, zeros = 0, 0
    for pattern in CHEQUERS:
        write(words, pattern)
        bits = int(words[0]) & 0xFFFFFFFFFFFFFFFF
        ones, zeros = ones | bits, zeros | (bits ^ 0xFFFFFFFFFFFFFFFF)
    assert ones == zeros == 0xFFFFFFFFFFFFFFFF


def test_an_address_line_that_is_stuck_shows_in_the_address_pattern() -> None:
    words = torch.empty(4096, dtype=torch.int64)
    write(words, ADDRESS)
    assert compare(words, ADDRESS) == (0, None)
    words[1024:2048] = words[:1024].clone()  # line 10 always reads 0
    assert compare(words, ADDRESS) == (1024, 1024)

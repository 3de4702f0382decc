from __future__ import annotations

import math
import shutil
import subprocess
from collections import Counter

import pytest

from groundup.evaluate import yardsticks
from groundup.evaluate.yardsticks import byte_counts, byte_unigram_bits, text_of, xz_bits
from groundup.tokens.dataset import TokenDataset
from tests.evaluate.conftest import PYTHON, World


def test_the_text_comes_back_from_the_tokens(world: World) -> None:
    text = text_of(TokenDataset(world.tokens, "test"), world.tokenizer)
    assert b"".join(text) == "".join(PYTHON.splits["test"]).encode()


def test_bytes_counted_through_tokens_are_those_of_the_text(world: World) -> None:
    counts = byte_counts(TokenDataset(world.tokens, "train"), world.tokenizer)
    expected = Counter("".join(PYTHON.splits["train"]).encode())
    assert counts.tolist() == [expected[byte] for byte in range(256)]


def test_unigram_bits_are_the_cross_entropy_by_hand(world: World) -> None:
    seen = Counter("".join(PYTHON.splits["train"]).encode())
    text = "".join(PYTHON.splits["test"]).encode()
    bits = -sum(math.log2((seen[byte] + 1) / (seen.total() + 256)) for byte in text) / len(text)
    held_out, train = (TokenDataset(world.tokens, split) for split in ("test", "train"))
    assert byte_unigram_bits(train, held_out, world.tokenizer) == pytest.approx(bits)


@pytest.mark.skipif(shutil.which("xz") is None, reason="no xz here")
def test_xz_bits_are_those_of_the_xz_command() -> None:
    text = "".join(PYTHON.splits["train"]).encode()
    packed = subprocess.run(["xz", "-9e", "-c"], input=text, capture_output=True, check=True).stdout
    for parts in ([text], [text[:100], b"", text[100:]]):
        assert xz_bits(parts) == pytest.approx(8 * len(packed) / len(text), rel=0.001)


def test_a_text_spelt_in_parts_is_the_same_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = TokenDataset(world.tokens, "test")
    whole = b"".join(text_of(dataset, world.tokenizer))
    monkeypatch.setattr(yardsticks, "SPELT_AT_ONCE", 7)
    parts = list(text_of(dataset, world.tokenizer))
    assert len(parts) > 10
    assert b"".join(parts) == whole

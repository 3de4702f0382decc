"""A checksum by bit pattern: what it must see, and that it is the sum it says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groundup.train.integrity.checksums import ROW_BYTES, WIDTH, checksums, mixed

DTYPES = [
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int8,
    torch.int64, torch.bool, torch.complex64,
]  # fmt: skip


def checksum(tensor):
    """Of one tensor, among others of another size."""
    return checksums([torch.ones(7), tensor, torch.ones(2, 3 * WIDTH)])[1]


def of_bytes(data):
    return checksum(torch.tensor(list(data), dtype=torch.uint8)).tolist()


def drawn(n_bytes, seed=0):
    return np.random.default_rng(seed).bytes(n_bytes)


def words(data):
    """The bytes as unsigned words, the last one filled with zeros."""
    return np.frombuffer(data.ljust(-(-len(data) // 8) * 8, b"\0"), dtype="<u8")


def splitmix(word):
    """SplitMix64's mix64 on Python's integers."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def test_the_mixing_is_splitmix64():
    # The first numbers of the generator for the seed 1234567, as published with its code.
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    found = mixed(torch.full((5,), 1234567), torch.arange(5))
    assert [word % 2**64 for word in found.tolist()] == published


@given(n_bytes=st.integers(0, 3 * ROW_BYTES))
def test_it_is_the_sum_of_mixed_sums_of_rows_and_of_columns(n_bytes):
    data = drawn(n_bytes)
    table = np.zeros((n_bytes // ROW_BYTES + 1) * WIDTH, dtype=np.uint64)
    table[: len(words(data))] = words(data)
    table = table.reshape(-1, WIDTH)
    for found, axis in zip(of_bytes(data), (1, 0), strict=True):
        sums = table.sum(axis, dtype=np.uint64).tolist()
        expected = sum(splitmix((word + (place + 1) * 0x9E3779B97F4A7C15) % 2**64)
                       for place, word in enumerate(sums))  # fmt: skip
        assert found % 2**64 == expected % 2**64


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 4, 7, 8, 9, 31])
def test_every_flipped_bit_of_a_small_tensor_changes_it(n_bytes):
    data = drawn(n_bytes)
    seen = {tuple(of_bytes(data))}
    for bit in range(8 * n_bytes):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        seen.add(tuple(of_bytes(flipped)))
    assert len(seen) == 1 + 8 * n_bytes  # no two flips look alike either


@given(n_bytes=st.integers(1, 3 * ROW_BYTES), place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_changes_both_sums(n_bytes, place, bit):
    data = bytearray(drawn(n_bytes))
    before = of_bytes(data)
    data[place % n_bytes] ^= 1 << bit
    assert not set(of_bytes(data)) & set(before)


@given(st.lists(st.integers(0, 3 * WIDTH), min_size=2, max_size=2, unique=True), st.integers(0, 9))
def test_words_that_trade_places_change_it(places, seed):
    first, second = places
    swapped = words(drawn(8 * (3 * WIDTH + 1), seed)).copy()
    before = of_bytes(swapped.tobytes())
    swapped[[first, second]] = swapped[[second, first]]
    assert of_bytes(swapped.tobytes()) != before


@pytest.mark.parametrize("other", [2.0, -1.0])
def test_values_that_differ_in_one_bit_change_it_by_trading_places(other):
    values = torch.ones(4 * WIDTH)
    values[0] = other
    seen = {tuple(checksum(values.roll(place)).tolist()) for place in range(0, 4 * WIDTH, 7)}
    assert len(seen) == len(range(0, 4 * WIDTH, 7))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 7), (2, 3, 1021)])
def test_it_is_of_the_bytes_whatever_the_dtype_and_the_shape(dtype, shape):
    n_bytes = int(np.prod(shape)) * torch.empty((), dtype=dtype).element_size()
    data = drawn(n_bytes) if dtype != torch.bool else bytes(n_bytes)
    flat = torch.tensor(list(data), dtype=torch.uint8)
    tensor = flat.view(dtype).reshape(shape)
    assert checksum(tensor).tolist() == checksum(flat).tolist()


def test_a_piece_of_another_tensor_is_read_as_if_it_stood_alone():
    whole = torch.randn(33, 64).bfloat16()
    for piece in (whole[:, 3], whole.T, whole.reshape(-1)[1:], whole[5:7]):
        assert checksum(piece).tolist() == checksum(piece.clone()).tolist()


def test_not_a_number_is_a_bit_pattern_like_any_other():
    quiet, other = torch.tensor([0x7FC00000, 0x7FC00001], dtype=torch.int32).view(torch.float32)
    assert checksum(quiet).tolist() == checksum(quiet.clone()).tolist() != checksum(other).tolist()
    zero = torch.tensor(0.0)
    assert checksum(zero).tolist() != checksum(-zero).tolist()

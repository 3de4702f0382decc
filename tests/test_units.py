"""Quantities: every notation people use, against the arithmetic it stands for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from groundup.units import (
    Bytes,
    Count,
    Duration,
    Flops,
    Money,
    format_bytes,
    format_count,
    format_duration,
    format_flops,
    format_money,
    format_ratio,
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Count, "2e9", 2 * 10**9), (Count, 2e9, 2 * 10**9), (Count, "300B", 300 * 10**9),
        (Count, "10M", 10**7), (Count, "1_000", 1000), (Count, "1.5k", 1500), (Count, 7, 7),
        (Count, "7b", 7 * 10**9), (Count, "7K", 7000), (Count, "124m", 124 * 10**6),
        (Count, "7,000,000,000", 7 * 10**9), (Money, "$1,200.50", 1200.5), (Count, "1t", 10**12),
        (Count, "2T", 2 * 10**12), (Count, " 3 k ", 3000),
        (Bytes, "16GiB", 16 * 2**30), (Bytes, "200MB", 2 * 10**8), (Bytes, "1 kB", 1000),
        (Bytes, "64KiB", 65536), (Bytes, 12, 12), (Bytes, "0.5MiB", 2**19),
        (Duration, "90s", 90), (Duration, "4m", 240), (Duration, "1h30m", 5400),
        (Duration, "2d", 172800), (Duration, "250ms", 0.25), (Duration, 12.5, 12.5),
        (Duration, "1h 5min", 3900), (Duration, "1w", 604800),
        (Money, "$5k", 5000), (Money, "1200", 1200), (Money, "$0.17", 0.17),
        (Flops, "1e21", 1e21), (Flops, "300G", 3e11), (Flops, "2P", 2e15),
    ],
)  # fmt: skip
def test_notations(kind: object, text: object, value: float) -> None:
    assert TypeAdapter(kind).validate_python(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Count, "fast", "'fast' is not a quantity; write it like 2e9, 300B or 1_000"),
        (Count, "5x", "'5x' has the unknown unit 'x'; known are k, M, B, G, T"),
        (Count, 1.5, "1.5 is not a whole number"), (Count, "1.5", "1.5 is not a whole number"),
        (Count, True, "is True, not a quantity"), (Count, "", "is empty"),
        (Count, -1, "greater than or equal to 0"), (Count, "-1", "'-1' is below zero"),
        (Count, "-7e9", "must be greater than zero"), (Count, "1,5", "'1,5' is not a quantity"),
        (Count, "7,00", "'7,00' is not a quantity"),
        (Count, float("inf"), "inf is not a whole number"), (Count, "1e999", "not a whole number"),
        (Count, float("nan"), "nan is not a whole number"), (Count, None, "valid integer"),
        (Bytes, "16 apples", "unknown unit 'apples'"), (Duration, "4 m later", "is not a quantity"),
        (Money, "€5", "'€5' is not a quantity"), (Duration, "h", "'h' is not a quantity"),
    ],
)  # fmt: skip
def test_what_is_no_quantity_says_how_to_write_one(
    kind: object, text: object, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(text)
    assert message in str(caught.value)


@given(st.integers(0, 10**15))
def test_whole_numbers_survive_exactly(number: int) -> None:
    assert TypeAdapter(Count).validate_python(number) == number
    assert TypeAdapter(Count).validate_python(str(number)) == number
    assert TypeAdapter(Bytes).validate_python(f"{number}B") == number


@given(st.text(max_size=20))
def test_any_text_is_a_number_or_a_validation_error(text: str) -> None:
    for kind in (Count, Bytes, Duration, Money, Flops):
        with contextlib.suppress(ValidationError):
            assert TypeAdapter(kind).validate_python(text) >= 0


@given(st.floats(1, 9e14))
def test_formatted_counts_read_back_within_rounding(number: float) -> None:
    text = format_count(number)
    assert TypeAdapter(Flops).validate_python(text.replace("B", "G")) == pytest.approx(
        number, rel=0.006
    )


@pytest.mark.parametrize(
    ("formatter", "value", "text"),
    [
        (format_count, 12_345_678, "12.3M"), (format_count, 999, "999"), (format_count, 0.5, "0.5"),
        (format_count, 1e15, "1,000T"), (format_count, 7.55e16, "75,500T"),
        (format_count, 1e28, "1e+28"), (format_count, 999_600, "1M"),
        (format_count, 999_400, "999k"),
        (format_ratio, 1423.4, "1,423"), (format_ratio, 999.4, "999"),
        (format_ratio, 0.268, "0.268"),
        (format_bytes, 3 * 2**30, "3 GiB"), (format_bytes, 1000, "1000 B"),
        (format_duration, 5040, "1 h 24 min"), (format_duration, 59.94, "59.9 s"),
        (format_duration, 59.96, "1 min 00 s"), (format_duration, 172800 * 2, "4 d 0 h"),
        (format_money, 0.0012, "$0.0012"), (format_money, 12.5, "$12.50"),
        (format_money, 12345, "$12,345"), (format_flops, 3.2e12, "3.2 TFLOP"),
        (format_flops, 12, "12 FLOP"),
    ],
)  # fmt: skip
def test_formats(formatter: object, value: float, text: str) -> None:
    assert callable(formatter)
    assert formatter(value) == text

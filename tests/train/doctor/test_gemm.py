"""Matrix products with a known answer, against numpy's integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from groundup.train.doctor import gemm


def test_the_known_product_is_that_of_64_bit_integers() -> None:
    a, b, c = gemm.known_product(64)
    assert np.array_equal(a.numpy().astype(np.int64) @ b.numpy().astype(np.int64), c.numpy())


def test_every_value_and_partial_sum_is_exact_in_each_precision() -> None:
    for size in {size for sizes in gemm.SIZES.values() for size in sizes}:
        assert size & (size - 1) == 0  # K / 8 is a power of two
        assert size * max(map(abs, gemm.P)) * max(map(abs, gemm.Q)) < 2**24  # fp32 sums
    _, _, c = gemm.known_product(256)
    assert torch.equal(c.bfloat16().float(), c)
    assert 8 * max(map(abs, gemm.P)) * max(map(abs, gemm.Q)) <= 8 * 256


def test_no_two_rows_or_columns_are_the_same() -> None:
    a, b, c = gemm.known_product(256)
    for matrix in (a, b.T, c, c.T):
        assert len(torch.unique(matrix, dim=0)) > 8  # more than the period


def test_a_healthy_device_gives_the_known_answer_in_every_precision() -> None:
    results = {result.name: result for result in gemm.check_gemm("cpu", "here", 0.2)}
    for precision in ("fp32", "bf16"):
        assert results[f"gemm {precision} cpu"].state == "ok"
        assert results[f"gemm {precision} cpu"].value == 0
    speed = results["speed fp32 cpu"].value
    assert isinstance(speed, float)
    assert speed > 0


def test_one_wrong_value_fails_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDUP_DOCTOR_FAULT", "gemm@here")
    result = next(gemm.check_precision("cpu", "fp32", "here", 0.0))
    assert (result.state, result.value) == ("fail", 1)
    assert next(gemm.check_precision("cpu", "fp32", "elsewhere", 0.0)).state == "ok"


def test_the_precision_of_the_process_is_left_as_it_was() -> None:
    before = torch.get_float32_matmul_precision()
    gemm.timed_product(torch.ones(8, 8), torch.ones(8, 8), "tf32")
    assert torch.get_float32_matmul_precision() == before

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from groundup.model.attention import ATTENTION, STRIP


def inputs(n_tokens: int, n_kv_heads: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n_tokens)
    shapes = [(2, 4, n_tokens, 8), (2, n_kv_heads, n_tokens, 8), (2, n_kv_heads, n_tokens, 8)]
    # As in the model: [B, T, H, E] turned to [B, H, T, E], so not contiguous.
    return [
        torch.randn(b, t, h, e, generator=generator, dtype=dtype).transpose(1, 2).requires_grad_()
        for b, h, t, e in shapes
    ]


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
@pytest.mark.parametrize("n_tokens", [1, 5, STRIP, STRIP + 1, 3 * STRIP])
def test_bmm_has_the_values_and_gradients_of_torchs_kernel(n_tokens: int, n_kv_heads: int) -> None:
    q, k, v = inputs(n_tokens, n_kv_heads, torch.float64)
    weight = torch.randn(q.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, wanted = [
        (out, *torch.autograd.grad((out * weight).sum(), (q, k, v)))
        for out in (ATTENTION[name](q, k, v) for name in ("bmm", "sdpa"))
    ]
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_bmm_passes_the_numerical_gradient_check() -> None:
    q, k, v = inputs(4, 2, torch.float64)
    assert torch.autograd.gradcheck(ATTENTION["bmm"], (q, k, v))


@pytest.mark.parametrize("name", ATTENTION)
def test_bfloat16_and_autocast_keep_the_type_and_stay_near_float32(name: str) -> None:
    q, k, v = inputs(STRIP + 3, 2, torch.float32)
    wanted = ATTENTION[name](q, k, v)
    wanted_gradients = torch.autograd.grad(wanted.sum(), (q, k, v))
    halves = [x.detach().bfloat16().requires_grad_() for x in (q, k, v)]
    with torch.autocast("cpu", torch.bfloat16):
        found = ATTENTION[name](*halves)
        gradients = torch.autograd.grad(found.sum(), halves)  # backward may run inside autocast too
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0.05, atol=0.05)
    for ours, theirs in zip(gradients, wanted_gradients, strict=True):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.float(), theirs, rtol=0.1, atol=0.1)

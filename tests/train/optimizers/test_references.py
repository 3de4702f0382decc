"""Each optimizer beside torch's, or beside the paper's formulas in float64."""

import copy
import math

import pytest
import torch

from groundup.train.optimizers.adafactor import Adafactor
from groundup.train.optimizers.adamw import LeanAdamW, rounded
from groundup.train.optimizers.sgd import SGD

SHAPES = [(12, 7), (7, 12), (9,), (1, 5), (2, 4, 6)]


def parameters():
    generator = torch.Generator().manual_seed(3)
    made = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    return [*made, torch.nn.Parameter(torch.zeros(4, 3))]  # some weights start at zero


def walk(optimizer, moved, n_steps=6):
    generator = torch.Generator().manual_seed(5)
    for _ in range(n_steps):
        for p in moved:
            p.grad = torch.randn(p.shape, generator=generator) * 0.3
        optimizer.step()


def require_close(ours, theirs, tolerance=2e-6):
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_is_torch_optim_sgd(momentum, nesterov):
    ours, theirs = parameters(), parameters()
    walk(SGD(ours, 0.1, momentum, nesterov=nesterov), ours)
    walk(torch.optim.SGD(theirs, 0.1, momentum, nesterov=nesterov), theirs)
    require_close(ours, theirs)


def test_decay_of_sgd_is_decoupled_from_its_momentum():
    """SGDW, algorithm 1: without gradients the weights shrink by the same factor each step."""
    moved = parameters()
    start = copy.deepcopy(moved)
    optimizer = SGD(moved, 0.1, 0.9, weight_decay=0.5)
    for p in moved:
        p.grad = torch.zeros_like(p)
    for _ in range(4):
        optimizer.step()
    require_close(moved, [p * 0.95**4 for p in start])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adafactor_is_torch_optim_adafactor(weight_decay):
    ours, theirs = parameters(), parameters()
    walk(Adafactor(ours, 0.03, weight_decay), ours)  # below the cap of torch's, 1/√6
    walk(torch.optim.Adafactor(theirs, 0.03, weight_decay=weight_decay), theirs)
    require_close(ours, theirs)


def test_adafactor_keeps_rows_and_columns_only():
    moved = parameters()
    optimizer = Adafactor(moved, 0.03)
    walk(optimizer, moved, 1)
    kept = [{name: tuple(value.shape) for name, value in optimizer.state[p].items()} for p in moved]
    assert kept[0] == {"step": (), "rows": (12,), "columns": (7,)}
    assert kept[2] == {"step": (), "squares": (9,)}
    assert kept[4] == {"step": (), "rows": (2, 4), "columns": (2, 6)}


def test_an_adafactor_step_is_as_large_as_its_rate_says():
    """Section 8: the RMS of a first update, whose own RMS is at most 1, in sizes of the weight."""
    (p,) = [torch.nn.Parameter(torch.full((20, 30), 0.5))]
    p.grad = torch.ones_like(p)
    Adafactor([p], 0.01).step()
    assert torch.allclose(p, torch.full_like(p, 0.5 - 0.01 * 0.5))


def adamw_float64(start, gradients, lr, betas, eps, decay):
    """Loshchilov & Hutter 2019, algorithm 2, in float64."""
    w, m, v = start.double(), 0.0, 0.0
    for t, gradient in enumerate(gradients, 1):
        g = gradient.double()
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        hat = (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps)
        w = w - lr * hat - lr * decay * w
    return w


@pytest.mark.parametrize("stochastic", [True, False])
@pytest.mark.parametrize("beta2", [0.95, 0.999])
def test_adamw_with_bf16_moments_goes_where_adamw_goes(stochastic, beta2):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(64, 64, generator=generator)
    gradients = [torch.randn(64, 64, generator=generator) + 0.3 for _ in range(20)]
    p = torch.nn.Parameter(start.clone())
    optimizer = LeanAdamW([p], 0.01, (0.9, beta2), 1e-8, 0.1, stochastic=stochastic)
    for gradient in gradients:
        p.grad = gradient
        optimizer.step()
    expected = adamw_float64(start, gradients, 0.01, (0.9, beta2), 1e-8, 0.1)
    moved = (expected - start).norm()
    assert (p.double() - expected).norm() < 0.02 * moved  # bf16 has 8 bits: 0.4 % a rounding
    assert {t.dtype for t in optimizer.state[p].values() if t.ndim} == {torch.bfloat16}


def test_a_second_moment_rounded_at_random_falls_and_one_rounded_to_the_nearest_stays():
    """v of gradients that stopped: β₂ᵗ. A thousandth less is not half of bf16's last place."""
    found = {}
    for stochastic in (True, False):
        p = torch.nn.Parameter(torch.zeros(2000))
        optimizer = LeanAdamW([p], 0.0, (0.9, 0.999), stochastic=stochastic)
        p.grad = torch.ones_like(p)
        optimizer.step()
        p.grad = torch.zeros_like(p)
        for _ in range(300):
            optimizer.step()
        found[stochastic] = optimizer.state[p]["exp_avg_sq"].float().mean().item() / 1e-3
    assert found[True] == pytest.approx(0.999**300, rel=0.02)
    assert found[False] == pytest.approx(1, rel=0.01)


def test_rounding_at_random_is_right_on_average_and_exact_where_it_can_be():
    n = 40_000
    for value in (1.001, -3.14159, 1e-12, 7e-39):
        drawn = rounded(torch.full((n,), value), torch.Generator().manual_seed(1))
        near = {x.item() for x in drawn.unique().float()}
        assert len(near) == 2
        assert min(near) < torch.tensor(value).item() < max(near)
        width = max(near) - min(near)
        # Four standard deviations of a mean of n draws from two values.
        assert abs(drawn.double().mean().item() - torch.tensor(value).item()) < (
            4 * width / (2 * math.sqrt(n))
        )
    exact = torch.tensor([0.0, 1.5, -(2.0**-100), 256.0])
    assert torch.equal(rounded(exact, torch.Generator().manual_seed(1)).float(), exact)


def test_bf16_moments_are_rounded_alike_in_every_run():
    ours, theirs = parameters(), parameters()
    walk(LeanAdamW(ours, 0.01), ours)
    torch.rand(3)  # other draws do not matter
    walk(LeanAdamW(theirs, 0.01), theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("make", [SGD, Adafactor, LeanAdamW])
def test_a_parameter_without_a_gradient_stays(make):
    moved, still = parameters()[:2]
    before = still.detach().clone()
    moved.grad = torch.ones_like(moved)
    make([moved, still], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(still, before)

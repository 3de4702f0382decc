import copy

import pytest
import torch

from groundup.train.optimizers.muon import Muon, orthogonalize

SHAPES = [(48, 16), (16, 48), (32, 32), (16, 48), (48, 16), (1, 8)]


def matrices():
    generator = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def walk(optimizer, parameters, n_steps):
    generator = torch.Generator().manual_seed(5)
    for _ in range(n_steps):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.95])
def test_muon_is_torch_optim_muon(momentum, weight_decay):
    start = matrices()
    ours, theirs = copy.deepcopy(start), copy.deepcopy(start)
    walk(Muon(ours, 0.02, momentum, weight_decay, torch.bfloat16), ours, 5)
    oracle = torch.optim.Muon(theirs, lr=0.02, momentum=momentum, weight_decay=weight_decay)
    walk(oracle, theirs, 5)
    for before, found, expected in zip(start, ours, theirs, strict=True):
        moved = (expected - before).norm()
        # Stacked products may round otherwise than single ones: bf16 has 8 bits, and 5 steps.
        assert (found - expected).norm() < 0.02 * moved
        assert moved > 0


def test_muon_in_float32_goes_where_torch_optim_muon_does():
    start = matrices()
    ours, theirs = copy.deepcopy(start), copy.deepcopy(start)
    walk(Muon(ours, 0.02, 0.95, 0.0, torch.float32), ours, 1)
    walk(torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.0), theirs, 1)
    for before, found, expected in zip(start, ours, theirs, strict=True):
        moves = (found - before).flatten(), (expected - before).flatten()
        assert torch.cosine_similarity(*moves, dim=0) > 0.99  # bf16's five iterations, in float32


@pytest.mark.parametrize("shape", [(3, 20, 50), (2, 50, 20), (4, 24, 24)])
def test_orthogonalize_keeps_singular_vectors_and_evens_singular_values(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u, _, vt = torch.linalg.svd(x, full_matrices=False)
    turned = u.mT @ orthogonalize(x.float()).double() @ vt.mT  # diagonal in the same bases
    values = turned.diagonal(dim1=1, dim2=2)
    large = values[:, :-2]  # the very smallest singular values are still on their way up
    assert large.min() > 0.6
    assert values.max() < 1.3
    assert (turned - torch.diag_embed(values)).abs().max() < 1e-4


def test_orthogonalize_of_nothing_is_nothing():
    assert orthogonalize(torch.zeros(2, 4, 3)).eq(0).all()


def test_a_parameter_without_a_gradient_does_not_move():
    moved, still = matrices()[:2]
    before = still.detach().clone()
    optimizer = Muon([moved, still], 0.1, weight_decay=0.5)
    moved.grad = torch.ones_like(moved)
    optimizer.step()
    assert torch.equal(still, before)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="matrices only"):
        Muon([torch.nn.Parameter(torch.zeros(3))], 0.1)

import torch
from torch import nn

from groundup.train.guard.probe import gradients_aside


def test_gradients_of_a_step_outlive_the_probe_untouched():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model(torch.ones(1, 3)).sum().backward()
    model[1].bias.grad = None
    before = [p.grad for p in model.parameters()]
    copies = [None if grad is None else grad.clone() for grad in before]
    with gradients_aside(model):
        assert all(p.grad is None for p in model.parameters())
        model(torch.full((1, 3), 9.0)).sum().backward()
    for parameter, grad, copy in zip(model.parameters(), before, copies, strict=True):
        assert parameter.grad is grad
        assert grad is None or torch.equal(grad, copy)

"""Optimizers that `optimizers.py` measures beside groundup's own; for one process only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lion(torch.optim.Optimizer):
    """Sign of a momentum that looks ahead (Chen et al. 2023, arXiv:2302.06675, algorithm 2)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["exp_avg"] = torch.zeros_like(p)
                average = state["exp_avg"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(average.lerp(p.grad, 1 - beta1).sign_(), alpha=-group["lr"])
                average.lerp_(p.grad, 1 - beta2)


class SOAP(torch.optim.Optimizer):
    """Adam in the eigenbasis of Shampoo's two factors (Vyas et al. 2024, arXiv:2409.11321).

    Algorithm 3 for matrices: the basis is made by `eigh` at the first step, which moves nothing,
    and followed by one QR iteration every ``every`` steps.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.95),
        weight_decay: float = 0.0,
        every: int = 10,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "betas": betas, "weight_decay": weight_decay, "every": every, "eps": eps},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                gradient, state = p.grad, self.state[p]
                if not state:
                    state["step"] = torch.zeros(())
                    state["exp_avg"] = torch.zeros_like(p)
                    state["exp_avg_sq"] = torch.zeros_like(p)
                    state["left"], state["right"] = gradient @ gradient.mT, gradient.mT @ gradient
                    for side in ("left", "right"):
                        state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1].flip(1)
                    continue
                state["step"] += 1
                step = int(state["step"])
                left, right = state["left_basis"], state["right_basis"]
                state["exp_avg"].lerp_(gradient, 1 - beta1)
                state["exp_avg_sq"].lerp_((left.mT @ gradient @ right).square(), 1 - beta2)
                turned = left.mT @ state["exp_avg"] @ right
                root = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt_().add_(group["eps"])
                update = left @ (turned / (1 - beta1**step) / root) @ right.mT
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"])
                state["left"].lerp_(gradient @ gradient.mT, 1 - beta2)
                state["right"].lerp_(gradient.mT @ gradient, 1 - beta2)
                if step % group["every"] == 0:
                    turn(state)


def turn(state: dict[str, Any]) -> None:
    """One power iteration of both bases, their columns by falling eigenvalue (algorithm 4)."""
    for side, dimension in (("left", 0), ("right", 1)):
        factor, basis = state[side], state[f"{side}_basis"]
        order = (basis.mT @ factor @ basis).diagonal().argsort(descending=True)
        state["exp_avg_sq"] = state["exp_avg_sq"].index_select(dimension, order)
        state[f"{side}_basis"] = torch.linalg.qr(factor @ basis[:, order])[0]


class ScheduleFree(torch.optim.Optimizer):
    """Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682, algorithm 1).

    Gradients are taken at y, between the last iterate z and the average x; the model holds y.
    `evaluate` puts x in its place.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            group["weight_sum"] = group.get("weight_sum", 0.0) + group["lr"] ** 2
            share = group["lr"] ** 2 / group["weight_sum"] if group["weight_sum"] else 0.0
            group["steps"] = group.get("steps", 0) + 1
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["z"], state["exp_avg_sq"] = p.clone(), torch.zeros_like(p)
                z, second = state["z"], state["exp_avg_sq"]
                second.lerp_(p.grad.square(), 1 - beta2)
                root = (second / (1 - beta2 ** group["steps"])).sqrt_().add_(group["eps"])
                x = (p - (1 - beta1) * z) / beta1
                z.sub_(p.grad / root + group["weight_decay"] * p, alpha=group["lr"])
                x.lerp_(z, share)
                p.copy_(x.lerp(z, 1 - beta1))

    @torch.no_grad()
    def evaluate(self) -> None:
        """Put the averages into the model, for good."""
        for group in self.param_groups:
            beta1 = group["betas"][0]
            for p in group["params"]:
                p.copy_((p - (1 - beta1) * self.state[p]["z"]) / beta1)


BLOCK = 256  # numbers that share a scale


class AdamW8bit(torch.optim.Optimizer):
    """AdamW with a byte a moment (Dettmers et al. 2022, arXiv:2110.02861).

    Blocks of 256 numbers are divided by their largest and rounded to the nearest of 256 values,
    which lie denser towards zero (section 2.2, dynamic tree quantisation). Parameters of fewer than
    4,096 numbers keep fp32 moments, as in the paper's code.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps}
        )
        self.values = {"exp_avg": dynamic_tree(True), "exp_avg_sq": dynamic_tree(False)}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                state["step"] = state.get("step", torch.zeros(())) + 1
                step = int(state["step"])
                first = self._read(p, "exp_avg").lerp_(p.grad, 1 - beta1)
                second = self._read(p, "exp_avg_sq").lerp_(p.grad.square(), 1 - beta2)
                self._write(p, "exp_avg", first)
                self._write(p, "exp_avg_sq", second)
                root = (second / (1 - beta2**step)).sqrt_().add_(group["eps"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.addcdiv_(first, root, value=-group["lr"] / (1 - beta1**step))

    def _read(self, p: Tensor, name: str) -> Tensor:
        state = self.state[p]
        if name not in state:
            return torch.zeros_like(p)
        if p.numel() < 4096:
            return state[name]
        values = self.values[name][state[name].int()] * state[f"{name}_scale"]
        return values.flatten()[: p.numel()].view_as(p)

    def _write(self, p: Tensor, name: str, numbers: Tensor) -> None:
        if p.numel() < 4096:
            self.state[p][name] = numbers
            return
        blocks = torch.nn.functional.pad(numbers.flatten(), (0, -p.numel() % BLOCK))
        blocks = blocks.view(-1, BLOCK)
        scale = blocks.abs().amax(1, keepdim=True).clamp(min=1e-30)
        middles = (self.values[name][1:] + self.values[name][:-1]) / 2
        self.state[p][name] = torch.bucketize(blocks / scale, middles).to(torch.uint8)
        self.state[p][f"{name}_scale"] = scale


def dynamic_tree(signed: bool) -> Tensor:
    """The 256 values: leading zeros count tens, the bits after the first one cut (0.1, 1)."""
    n_bits = 7 if signed else 8
    found = [0.0, 1.0]
    for zeros in range(7):
        cells = torch.linspace(0.1, 1, 2 ** (n_bits - 1 - zeros) + 1, dtype=torch.float64)
        middles = (cells[1:] + cells[:-1]) / 2
        found += (middles * 10.0**-zeros).tolist()
    if signed:
        found += [-value for value in found if value not in (0.0, 1.0)]
    return torch.tensor(sorted(found))

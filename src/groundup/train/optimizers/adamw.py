"""AdamW whose moments are kept in bf16: 4 bytes a weight instead of 8.

All sums are made in fp32; what is kept is rounded at random, up or down with the probabilities that
make its mean exact (Gupta et al. 2015, arXiv:1502.02551, section 3.1). Rounding to the nearest
loses what is smaller than half of bf16's last place, 1/512: with beta2 0.999 the second moment then
never falls (a test shows it).

The random bits are a function of the step and the parameter's name, so that copies of a model, tied
embeddings on two stages of a pipeline, and resumed runs round alike.
Moments in fp32 are torch's own fused AdamW.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from groundup.train.parallel.pieces import local_tensor


class LeanAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) with moments in bf16.

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: decay rates of the two moments.
        eps: added to the root of the second.
        weight_decay: decoupled, times ``lr``.
        stochastic: round at random; otherwise to the nearest.
        names: of the parameters; without, their numbers here stand for them.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        stochastic: bool = True,
        names: Mapping[Tensor, str] | None = None,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )
        self.stochastic = stochastic
        listed = [p for group in self.param_groups for p in group["params"]]
        self.names = {p: str(number) for number, p in enumerate(listed)} | dict(names or {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, group)

    def _move(self, p: Any, group: dict[str, Any]) -> None:
        weight, gradient, state = local_tensor(p), local_tensor(p.grad), self.state[p]
        if not state:
            state["step"] = torch.zeros(())
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(p, dtype=torch.bfloat16)
        state["step"] = state["step"].cpu() + 1  # a checkpoint's may come back on the GPU
        step, (beta1, beta2) = int(state["step"]), group["betas"]
        kept1, kept2 = local_tensor(state["exp_avg"]), local_tensor(state["exp_avg_sq"])
        first = kept1.float().lerp_(gradient, 1 - beta1)
        second = kept2.float().lerp_(gradient.square(), 1 - beta2)
        if self.stochastic:
            # By the name: ranks that share a parameter may differ in which others they have.
            digest = hashlib.sha256(f"{self.names[p]} {step}".encode()).digest()
            bits = torch.Generator(weight.device).manual_seed(int.from_bytes(digest[:7]))
            kept1.copy_(rounded(first, bits))
            kept2.copy_(rounded(second, bits))
        else:
            kept1.copy_(first)
            kept2.copy_(second)
        root = second.div_(1 - beta2**step).sqrt_().add_(group["eps"])
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.addcdiv_(first, root, value=-group["lr"] / (1 - beta1**step))


def rounded(numbers: Tensor, bits: torch.Generator) -> Tensor:
    """fp32 numbers as bf16, up or down at random; their mean is the number itself.

    bf16 is the upper half of fp32's bits: a random number is added to the lower half, which is then
    cut off. What is kept of a number that bf16 has is that number.
    """
    noise = torch.randint(
        2**16, numbers.shape, generator=bits, dtype=torch.int32, device=numbers.device
    )
    upper = (numbers.view(torch.int32) + noise).bitwise_and_(-(2**16))
    return upper.view(torch.float32).to(torch.bfloat16)

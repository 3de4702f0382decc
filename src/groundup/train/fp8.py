"""Linear layers whose three products are of 8-bit floats (Micikevicius et al. 2022, 2209.05433).

Of the paper: two formats, e4m3 (4 bits of exponent, 3 of mantissa, up to 448) for activations and
weights and e5m2 (up to 57,344) for gradients; a factor for each tensor, so that its largest number
meets the format's; weights stay fp32 for the optimizer; embeddings, head and norms stay as they
are. The factor is that of the tensor as it is, not of steps before: there is nothing to keep.

    forward   y = x wᵀ          e4m3 × e4m3 → bf16
    backward  dx = dy w         e5m2 × e4m3 → the dtype of x
              dw = dyᵀ x        e5m2 × e4m3 → fp32

The factors are of what one process has of a micro-batch: layouts and micro-batch sizes agree to the
8 bits, not to fp32's. Without gradients (validation, samples) the layers compute in bf16, as the
finished model will.

    M tokens   K in_features   N out_features
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from groundup.errors import ConfigError
from groundup.model.transformer import Block, ParallelBlock

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16  # of both sizes of a matrix: what cuBLASLt's 8-bit products take
LEAST_CAPABILITY = (8, 9)  # Ada and later have them

Quantised = tuple[Tensor, Tensor]  # 8-bit numbers, and the float32 scalar that each is times


def require_fp8(device: str) -> None:
    """Check that ``device`` multiplies 8-bit floats. A CPU does, slowly.

    Raises:
        ConfigError: it does not.
    """
    if device == "cpu":
        return
    capability = torch.cuda.get_device_capability()
    if torch.version.hip is None and capability >= LEAST_CAPABILITY:
        return
    raise ConfigError(
        f"{torch.cuda.get_device_name()} cannot multiply 8-bit floats as precision: fp8 does "
        f"(compute capability {'.'.join(map(str, capability))}; NVIDIA's from "
        f"{'.'.join(map(str, LEAST_CAPABILITY))} on can)",
        where="pretrain.precision",
        fix="set it to bf16",
    )


def use_fp8(model: nn.Module) -> None:
    """Let the linear layers of the blocks compute in 8 bits, in place; names and weights stay.

    Raises:
        ConfigError: no layer has sizes that are multiples of 16.
    """
    layers = [layer for _, layer in linear_layers(model)]
    fitting = [layer for layer in layers if fits(layer)]
    if layers and not fitting:
        raise ConfigError(
            f"none of the {len(layers)} linear layers of the blocks has sizes that {MULTIPLE} "
            "divides, as products of 8-bit floats need",
            where="pretrain.precision",
            fix=f"set model.d_model to a multiple of {MULTIPLE}, or precision to bf16",
        )
    for layer in fitting:
        layer.__class__ = Fp8Linear


def left_out(model: nn.Module) -> str | None:
    """Which linear layers of the blocks stay bf16, in words; None: none does."""
    layers = dict(linear_layers(model))
    out = {name: layer for name, layer in layers.items() if not fits(layer)}
    if not out:
        return None
    name, first = next(iter(out.items()))
    return (
        f"fp8: {len(out)} of the blocks' {len(layers)} linear layers stay bf16, since {MULTIPLE} "
        f"does not divide their sizes ({name}: {first.in_features} × {first.out_features})"
    )


def linear_layers(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers inside the blocks by name; no routers: small, and their ranks must hold."""
    for path, block in model.named_modules():
        if isinstance(block, Block | ParallelBlock):
            for name, layer in block.named_modules():
                if isinstance(layer, nn.Linear) and name.rpartition(".")[2] != "router":
                    yield f"{path}.{name}", layer


def fits(layer: nn.Linear) -> bool:
    """Whether products of 8-bit floats take its sizes."""
    return not (layer.in_features % MULTIPLE or layer.out_features % MULTIPLE)


class Fp8Linear(nn.Linear):
    """`nn.Linear` with products in 8 bits where gradients are wanted."""

    def forward(self, input: Tensor) -> Tensor:
        """[…, K] to […, N] bf16, under bf16 autocast."""
        if not torch.is_grad_enabled() or not input.numel():  # an expert that no token came to
            return F.linear(input, self.weight, self.bias)
        product: Tensor = _Product.apply(input.flatten(0, -2), self.weight)
        product = product.unflatten(0, input.shape[:-1])
        return product if self.bias is None else product + self.bias.to(product.dtype)


class _Product(torch.autograd.Function):
    """y = x wᵀ with its two gradients; x is [M, K], w [N, K]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x8, x_scale = quantised(x, E4M3)
        w_scale = scale_of(weight, E4M3)
        ctx.save_for_backward(x8, x_scale, weight, w_scale)
        ctx.x_dtype = x.dtype
        w8 = rounded(weight, w_scale, E4M3)
        # A CPU puts the numbers back and multiplies those: autocast would round them once more.
        with torch.autocast(x.device.type, enabled=False):
            return product((x8, x_scale), (w8.t(), w_scale), torch.bfloat16)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x8, x_scale, weight, w_scale = ctx.saved_tensors
        dy8, dy_scale = quantised(gradients[0], E5M2)
        dx = dw = None
        if ctx.needs_input_grad[0]:
            # Rounded again: an 8-bit copy of each weight would have to be kept otherwise.
            w8 = rounded(weight, w_scale, E4M3)
            dx = product((dy8, dy_scale), (transposed(w8).t(), w_scale), ctx.x_dtype)
        if ctx.needs_input_grad[1]:
            turned = (transposed(dy8), dy_scale)
            dw = product(turned, (transposed(x8).t(), x_scale), weight.dtype)
        return dx, dw


def quantised(x: Tensor, dtype: torch.dtype) -> Quantised:
    """``x`` as 8-bit numbers times a factor; what is not finite makes all of them NaN."""
    scale = scale_of(x, dtype)
    return rounded(x, scale, dtype), scale


def scale_of(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest number of ``x`` over that of the format, float32 scalar on the device."""
    largest = x.detach().abs().amax().float() / torch.finfo(dtype).max
    return largest.clamp(min=torch.finfo(torch.float32).tiny)  # of zeros: any


def rounded(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` / ``scale`` in 8 bits, row after row."""
    return (x.detach().float() / scale).to(dtype).contiguous()


def product(left: Quantised, right: Quantised, dtype: torch.dtype) -> Tensor:
    """The product of two matrices, summed in fp32: the left one in rows, the right in columns."""
    found: Tensor = torch._scaled_mm(
        left[0], right[0], scale_a=left[1], scale_b=right[1], out_dtype=dtype
    )
    return found


def transposed(x: Tensor) -> Tensor:
    """[M, K] to [K, M] in rows; zeros, which add nothing, fill M up to what 16 divides."""
    n_rows, n_columns = x.shape
    missing = -n_rows % MULTIPLE
    if not missing:
        return x.t().contiguous()
    turned = x.new_zeros(n_columns, n_rows + missing)
    turned[:, :n_rows] = x.t()
    return turned

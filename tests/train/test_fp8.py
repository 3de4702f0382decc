"""Products of 8-bit floats against their plain emulation: round, put back, multiply exactly."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from groundup.architecture.families import build
from groundup.errors import ConfigError
from groundup.train import fp8
from groundup.train.batch import Batch, counts_of
from groundup.train.compile import compile_blocks
from groundup.train.config import PretrainConfig
from groundup.train.distributed import Ranks
from groundup.train.fp8 import Fp8Linear, left_out, linear_layers, require_fp8, use_fp8
from groundup.train.objectives import next_token_loss
from groundup.train.parallel.layout import LayoutConfig
from groundup.train.parallel.possible import require_possible
from groundup.train.precision import autocast, beside_training, choose_arithmetic
from groundup.train.start import new_model, new_state
from groundup.train.step import gradients, train_step
from tests.train.small import MODEL, SETTINGS, batch
from tests.train.test_recompute import FAMILIES, found, require_alike

FP8 = replace(SETTINGS, precision="fp8")


def on_grid(x, bits, least_exponent, largest):
    """``x`` [float64] rounded to the nearest number of a format, its largest number met; float64.

    With so many bits behind the point: steps of 2^(e - bits) for numbers in [2^e, 2^(e+1)), no
    finer than at the least exponent. Written out from table 1 of the paper.
    """
    factor = x.abs().max() / largest
    scaled = x / factor
    exponent = scaled.abs().clamp(min=2.0**-60).log2().floor().clamp(min=least_exponent)
    step = 2.0 ** (exponent - bits)
    return (scaled / step).round() * step * factor  # torch rounds halves to even, as the format


def e4m3(x):
    return on_grid(x.detach().double(), 3, -6, 448.0)


def e5m2(x):
    return on_grid(x.detach().double(), 2, -14, 57344.0)


def layer_of(n_in, n_out, bias=True):
    layer = nn.Linear(n_in, n_out, bias=bias)
    layer.__class__ = Fp8Linear
    return layer


def close(found, wanted, rtol):
    """Of the largest number: products cancel."""
    return float((found.detach().double() - wanted).abs().max()) <= rtol * float(wanted.abs().max())


@pytest.mark.parametrize("n_tokens", [64, 16, 19, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_forward_and_both_gradients_are_those_of_the_emulation(n_tokens, dtype, bias):
    torch.manual_seed(n_tokens)
    layer = layer_of(48, 32, bias)
    x = torch.randn(n_tokens, 48).to(dtype).requires_grad_()
    dy = (1e-6 * torch.randn(n_tokens, 32) * torch.randn(n_tokens, 1).exp()).bfloat16()
    with autocast("cpu", "fp8"):
        y = layer(x)
    y.backward(dy)
    wanted = e4m3(x) @ e4m3(layer.weight).T
    sums = wanted.float().bfloat16()
    if bias:
        wanted = wanted + layer.bias.detach().double()
        assert close(layer.bias.grad, dy.double().sum(0), 2**-7)
    assert (y.dtype, x.grad.dtype, layer.weight.grad.dtype) == (
        torch.bfloat16,
        dtype,
        torch.float32,
    )
    assert close(y, wanted, 2**-7)  # bf16
    if not bias:  # the sums are rounded once, at the end
        assert (y == sums).float().mean() > 0.99
    assert close(x.grad, e5m2(dy) @ e4m3(layer.weight), 2**-8 if dtype == torch.bfloat16 else 1e-5)
    assert close(layer.weight.grad, e5m2(dy).T @ e4m3(x), 1e-5)


def test_the_sizes_of_a_tensor_do_not_matter_only_their_ratios():
    layer = layer_of(32, 32, bias=False)
    x = torch.randn(16, 32)
    with torch.no_grad():
        other = layer_of(32, 32, bias=False)
        other.weight.copy_(layer.weight * 2**-20)
    one, two = layer(x), other(x * 2**30)
    assert torch.equal(one * 2**10, two)
    assert torch.equal(layer(torch.zeros(16, 32)), torch.zeros(16, 32, dtype=torch.bfloat16))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_not_finite(bad):
    layer, x = layer_of(32, 32), torch.randn(16, 32, requires_grad=True)
    spoilt = x.detach().clone()
    spoilt[3, 4] = bad
    assert not layer(spoilt)[3].isfinite().any()
    dy = torch.ones(16, 32, dtype=torch.bfloat16)
    dy[0, 0] = bad
    layer(x).backward(dy)
    assert not x.grad[0].isfinite().any()
    assert not layer.weight.grad[0].isfinite().any()


def test_without_gradients_and_without_tokens_it_is_bf16():
    layer, x = layer_of(32, 48), torch.randn(2, 5, 32)
    plain = nn.Linear(32, 48)
    plain.load_state_dict(layer.state_dict())
    with autocast("cpu", "fp8"):
        with torch.no_grad():
            assert torch.equal(layer(x), plain(x))
        assert not torch.equal(layer(x), plain(x))
        assert layer(x[:, :0]).shape == (2, 0, 48)


def test_the_blocks_matrices_are_8_bit_and_nothing_else():
    model = new_model(build("mixtral", vocab_size=64, n_layers=2, d_model=32, n_heads=4,
                            context_length=16, n_experts=16, n_experts_per_token=4), 1)  # fmt: skip
    names = list(model.state_dict())
    use_fp8(model)
    assert list(model.state_dict()) == names
    eight = {name for name, each in model.named_modules() if isinstance(each, Fp8Linear)}
    assert eight == {name for name, _ in linear_layers(model)}
    assert len(eight) == 2 * (4 + 16 * 3)
    assert left_out(model) is None
    assert type(model.head) is nn.Linear


def test_layers_that_16_does_not_divide_stay_and_it_is_said():
    config = build("gpt2", vocab_size=64, n_layers=2, d_model=32, n_heads=4, context_length=16)
    model = new_model(replace(config, feed_forward=replace(config.feed_forward, d_ff=72)), 1)
    use_fp8(model)
    assert left_out(model) == (
        "fp8: 4 of the blocks' 12 linear layers stay bf16, since 16 does not divide their sizes "
        "(blocks.0.feed_forward.up: 32 × 72)"
    )
    small = build("gpt2", vocab_size=64, n_layers=1, d_model=24, n_heads=4, context_length=16)
    with pytest.raises(ConfigError, match="none of the 6 linear layers"):
        use_fp8(new_model(small, 1))


def test_a_model_learns_nearly_what_it_learns_in_bf16():
    """The paper: within the noise of 16 bits. Twelve steps on one batch, three optimizers."""
    for optimizer in ("muon", "adamw"):
        losses = {}
        for precision in ("bf16", "fp8"):
            settings = replace(SETTINGS, precision=precision, optimizer=optimizer, steps=40)
            state = new_state(MODEL, settings)
            losses[precision] = [
                train_step(state, settings, Batch(*batch(0)))[0].item() for _ in range(12)
            ]
        assert losses["fp8"][0] == pytest.approx(losses["bf16"][0], rel=0.01)
        assert losses["fp8"][-1] == pytest.approx(losses["bf16"][-1], rel=0.05)
        assert losses["fp8"][-1] < 0.8 * losses["fp8"][0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_every_family_has_it_and_computes_it_again_alike(family, recompute):
    plain = found(family, "none", precision="fp8")
    assert plain[0].isfinite()
    require_alike(plain, found(family, recompute, precision="fp8"))


def test_gradients_point_where_those_of_fp32_point():
    sums = {}
    for precision in ("fp32", "fp8"):
        settings = replace(SETTINGS, precision=precision)
        state = new_state(MODEL, settings)
        for p in state.model.parameters():  # nanochat's projections begin at zero
            nn.init.normal_(p, std=0.05, generator=torch.Generator().manual_seed(p.numel()))
        whole = Batch(*batch(3, rows=8))
        gradients(state, settings, whole, counts_of(whole), next_token_loss)
        sums[precision] = {n: p.grad.flatten().double() for n, p in state.model.named_parameters()}
    for name, exact in sums["fp32"].items():
        assert torch.cosine_similarity(exact, sums["fp8"][name], dim=0) > 0.98, name


def test_auto_never_takes_it_and_who_asks_gets_it(monkeypatch):
    from groundup.train import precision

    monkeypatch.setattr(precision, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(precision, "ROWS", 64)
    found = choose_arithmetic("cpu", "fp8")
    assert found.precision == "fp8"
    assert found.matmul_flops_per_second > 0
    monkeypatch.setattr(precision, "flops_per_second", lambda product, device: 1.0)
    assert choose_arithmetic("cpu", "auto").precision != "fp8"
    assert [beside_training(name) for name in ("fp32", "bf16", "fp8")] == ["fp32", "bf16", "bf16"]


@pytest.mark.parametrize(
    ("capability", "hip", "is_refused"),
    [((8, 0), None, True), ((8, 6), None, True), ((8, 9), None, False), ((9, 0), None, False),
     ((10, 0), None, False), ((9, 4), "6.2", True)],
)  # fmt: skip
def test_gpus_without_8_bit_products_are_refused(monkeypatch, capability, hip, is_refused):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    monkeypatch.setattr(torch.version, "hip", hip)
    if not is_refused:
        require_fp8("cuda")
        return
    with pytest.raises(ConfigError, match=r"Some GPU cannot.*from 8\.9 on"):
        require_fp8("cuda")
    with pytest.raises(ConfigError, match="cannot multiply"):
        new_state(MODEL, replace(FP8, device="cuda"))


def test_what_it_was_not_made_for_is_refused():
    layout = LayoutConfig(tp=2).model_dump()
    with pytest.raises(ConfigError, match="those of tp have pieces"):
        require_possible(new_model(MODEL, 1), replace(FP8, layout=layout), Ranks(size=2, tp=2))
    layout = LayoutConfig(pp=2, schedule="zero_bubble").model_dump()
    settings = replace(FP8, layout=layout, micro_batch_size=1)
    with pytest.raises(ConfigError, match="one in 8 bits is in one piece"):
        require_possible(new_model(MODEL, 1), settings, Ranks(size=2, pp=2))
    with pytest.raises(ValueError, match="precision: fp8 does not go with"):
        PretrainConfig.model_validate(
            {"precision": "fp8", "optimizer": "adamw", "learning_rate": 1e-3,
             "asynchronous": {"kind": "parameter_server"}}
        )  # fmt: skip
    assert fp8.LEAST_CAPABILITY == (8, 9)


@pytest.mark.filterwarnings("ignore")  # dynamo looks at what it must not
def test_compiled_blocks_compute_the_same():
    torch._dynamo.reset()
    plain, compiled = new_state(MODEL, FP8), new_state(MODEL, FP8)
    compile_blocks(compiled.model, backend="aot_eager")
    for seed in range(3):
        found = [train_step(each, FP8, Batch(*batch(seed))) for each in (plain, compiled)]
        torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)

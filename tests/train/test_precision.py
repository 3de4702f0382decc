import mmap

import pytest
import torch

from groundup.errors import UserError
from groundup.model.attention import ATTENTION
from groundup.train import precision, resources
from groundup.train.precision import autocast, choose_arithmetic, choose_attention


@pytest.fixture
def rates(monkeypatch):
    """Stands for the clock: dtype of the product → rate."""
    table = {torch.float32: 10.0, torch.bfloat16: 10.0}
    monkeypatch.setattr(precision, "ROWS", 64)
    monkeypatch.setattr(precision, "COLUMNS", 64)

    def flops_per_second(product, device):
        return table[product().dtype]

    monkeypatch.setattr(precision, "flops_per_second", flops_per_second)
    return table


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_is_bf16_or_nothing(name, dtype):
    layer = torch.nn.Linear(4, 4)
    with autocast("cpu", name):
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize("wanted", ["bf16", "fp32"])
@pytest.mark.parametrize("faster", [torch.bfloat16, torch.float32])
def test_what_was_asked_for_is_taken_however_slow(rates, wanted, faster):
    rates[faster] = 1000.0
    assert choose_arithmetic("cpu", wanted).precision == wanted


@pytest.mark.parametrize(("bf16_rate", "chosen"), [(100.0, "bf16"), (14.0, "fp32"), (0.2, "fp32")])
def test_auto_takes_bf16_only_where_it_gains_much(rates, bf16_rate, chosen):
    rates[torch.bfloat16] = bf16_rate
    found = choose_arithmetic("cpu", "auto")
    assert found.precision == chosen
    assert found.matmul_flops_per_second == max(bf16_rate, 10.0) if chosen == "bf16" else 10.0


def test_a_real_probe_finds_a_rate_and_leaves_the_process_as_it_was(monkeypatch):
    monkeypatch.setattr(precision, "PROBE_SECONDS", 0.02)
    monkeypatch.setattr(precision, "ROWS", 256)
    before = torch.get_float32_matmul_precision()
    found = choose_arithmetic("cpu", "auto")
    assert torch.get_float32_matmul_precision() == before
    assert found.precision in ("bf16", "fp32")  # never fp16
    assert found.float32_matmul_precision in ("highest", "medium")
    assert 1e8 < found.matmul_flops_per_second < 1e15


def test_float32_that_is_rounded_to_bf16_is_not_taken_for_float32(rates, monkeypatch):
    """A processor whose "medium" products are bf16 ones."""
    asked = []
    honest = torch.set_float32_matmul_precision
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    plain = torch.Tensor.__matmul__

    def matmul(left, right):
        if left.dtype == torch.float32 and asked[-1] == "medium":
            return (plain(left.bfloat16(), right.bfloat16())).float()
        return plain(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", matmul)
    found = choose_arithmetic("cpu", "auto")
    honest("highest")
    assert found.float32_matmul_precision == "highest"


def test_exact_float32_is_there_even_where_the_probe_finds_it_wanting(rates, monkeypatch):
    """A processor or driver whose every fp32 product is beyond the bound."""
    monkeypatch.setattr(precision, "FP32_ERROR", 0.0)
    assert choose_arithmetic("cpu", "auto").precision == "fp32"
    assert choose_arithmetic("cpu", "auto").float32_matmul_precision == "highest"
    assert choose_arithmetic("cpu", "fp32").float32_matmul_precision == "highest"


@pytest.mark.parametrize(
    ("relative_error", "chosen"), [(0.004, "bf16"), (0.05, "fp32"), (float("nan"), "fp32")]
)
def test_auto_refuses_bf16_that_is_fast_and_wrong(rates, monkeypatch, relative_error, chosen):
    rates[torch.bfloat16] = 1000.0
    plain = torch.Tensor.__matmul__

    def matmul(left, right):
        product = plain(left, right)
        return product * (1 + relative_error) if left.dtype == torch.bfloat16 else product

    monkeypatch.setattr(torch.Tensor, "__matmul__", matmul)
    assert choose_arithmetic("cpu", "auto").precision == chosen
    assert choose_arithmetic("cpu", "bf16").precision == "bf16"  # written down is written down


def test_the_attention_of_a_cpu_is_one_that_there_is():
    found = choose_attention("cpu", "fp32", batch_size=2, n_heads=2, context_length=16, head_dim=8)
    assert found in ATTENTION
    shape = {"batch_size": 1, "n_heads": 1, "context_length": 8, "head_dim": 8}
    assert choose_attention("cuda", "bf16", **shape) == "sdpa"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_said_with_a_way_out():
    with pytest.raises(UserError, match="no CUDA device") as caught:
        resources.pick_device("cuda")
    assert "device=auto" in caught.value.fix
    assert resources.pick_device("auto") == resources.pick_device("cpu") == "cpu"


def test_peak_memory_sees_what_was_held_since_the_reset_only():
    big = torch.ones(64 * 2**20, dtype=torch.uint8)
    del big
    resources.reset_peak_memory("cpu")
    base = resources.peak_memory_bytes("cpu")
    held = mmap.mmap(-1, 96 * 2**20)  # goes back when closed; what malloc frees may be kept
    torch.frombuffer(held, dtype=torch.uint8).fill_(1)
    peak = resources.peak_memory_bytes("cpu")
    held.close()
    assert 90 * 2**20 < peak - base < 110 * 2**20
    assert resources.memory_bytes() < peak
    assert peak < resources.total_memory_bytes("cpu")

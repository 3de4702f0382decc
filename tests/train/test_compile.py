"""Compiled blocks: the same numbers and names, also where they are computed again."""

import copy
from dataclasses import replace

import pytest
import torch

from groundup.errors import ConfigError
from groundup.train.batch import Batch
from groundup.train.compile import (
    compile_blocks,
    eagerly,
    is_compiled,
    require_graphs_possible,
)
from groundup.train.config import PretrainConfig
from groundup.train.distributed import Ranks
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import MODEL, SETTINGS, batch

pytestmark = pytest.mark.filterwarnings("ignore")  # dynamo looks at what it must not


def test_names_and_numbers_stay_and_copies_are_eager():
    plain, compiled = new_state(MODEL, SETTINGS), new_state(MODEL, SETTINGS)
    names = list(compiled.model.state_dict())
    compile_blocks(compiled.model, backend="aot_eager")  # the graphs without the code generator
    for seed in range(3):
        found = [train_step(each, SETTINGS, Batch(*batch(seed))) for each in (plain, compiled)]
        torch.testing.assert_close(*found)
    assert list(compiled.model.state_dict()) == names
    for one, other in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    duplicate = copy.deepcopy(compiled.model)
    assert all(block._compiled_call_impl is None for block in duplicate.blocks)
    assert all(block._compiled_call_impl is not None for block in compiled.model.blocks)


def test_the_blocks_are_compiled_once_and_not_where_it_is_off():
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    state = new_state(MODEL, replace(SETTINGS, attention="sdpa"))
    compile_blocks(state.model, backend=backend)
    inputs, _ = batch(0)
    with eagerly(state.model):
        eager = state.model(inputs)
    assert not graphs
    torch.testing.assert_close(state.model(inputs), eager)
    n_graphs = len(graphs)
    assert 0 < n_graphs < 2 * MODEL.n_layers * 4
    state.model(inputs)
    assert len(graphs) == n_graphs


def test_without_a_compiler_it_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="C\\+\\+ compiler"):
        compile_blocks(new_state(MODEL, SETTINGS).model)


@pytest.mark.parametrize("recompute", ["full", "selective"])
def test_compiled_blocks_that_are_computed_again_have_the_numbers_of_plain_ones(recompute):
    torch._dynamo.reset()
    plain = new_state(MODEL, SETTINGS)
    again = new_state(MODEL, replace(SETTINGS, recompute=recompute))
    compile_blocks(again.model, backend="aot_eager")
    for seed in range(3):
        found = [train_step(each, SETTINGS, Batch(*batch(seed))) for each in (plain, again)]
        torch.testing.assert_close(*found)
    for one, other in zip(plain.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_blocks_are_compiled_where_it_is_asked_for_only():
    assert PretrainConfig().compile is False
    with pytest.raises(ValueError, match="compile"):
        PretrainConfig.model_validate({"compile": "auto"})
    asked = replace(SETTINGS, compile=True)
    assert (is_compiled(SETTINGS), is_compiled(asked)) == (False, True)
    assert not is_compiled(replace(asked, asynchronous={"kind": "parameter_server"}))


def test_cuda_graphs_are_asked_of_torch_and_told_once_a_step(monkeypatch):
    told, how = [], []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: told.append("step"))
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **given: how.append(given))
    plain, state = new_state(MODEL, SETTINGS), new_state(MODEL, SETTINGS)
    compile_blocks(plain.model, backend="aot_eager")
    compile_blocks(state.model, cuda_graphs=True)
    n = MODEL.n_layers
    assert (
        how
        == [{"backend": "aot_eager"}] * n + [{"backend": "inductor", "mode": "reduce-overhead"}] * n
    )
    assert told == ["step"]  # before the first forward pass
    settings = replace(SETTINGS, micro_batch_size=1)
    train_step(plain, settings, Batch(*batch(0)))
    assert len(told) == 1
    train_step(state, settings, Batch(*batch(0)))  # four micro-batches, whose gradients are summed
    assert len(told) == 2


def test_torch_knows_the_mode():
    """The keys of torch's own table of modes."""
    assert torch._inductor.list_mode_options("reduce-overhead") == {"triton.cudagraphs": True}


@pytest.mark.parametrize(
    ("changed", "ranks", "said"),
    [
        ({}, Ranks(), "this training is on a CPU"),
        ({"device": "cuda"}, Ranks(size=2, dp_shard=2), "FSDP puts them together elsewhere"),
        ({"device": "cuda", "offload_optimizer": True}, Ranks(), "offloaded ones come and go"),
    ],
)
def test_cuda_graphs_are_refused_where_they_cannot_be(changed, ranks, said):
    settings = replace(SETTINGS, compile="cuda_graphs", **changed)
    with pytest.raises(ConfigError, match=said) as caught:
        new_state(MODEL, settings, ranks)
    assert caught.value.where == "pretrain.compile"
    require_graphs_possible(replace(settings, compile=True), ranks.size)


def test_cuda_graphs_are_for_one_gpu_and_for_synchronous_training():
    require_graphs_possible(replace(SETTINGS, compile="cuda_graphs", device="cuda"), 1)
    assert is_compiled(replace(SETTINGS, compile="cuda_graphs"))
    assert PretrainConfig.model_validate({"compile": "cuda_graphs"}).compile == "cuda_graphs"
    with pytest.raises(ValueError, match="compile does not go with"):
        PretrainConfig.model_validate(
            {"compile": "cuda_graphs", "optimizer": "adamw", "learning_rate": 1e-3,
             "asynchronous": {"kind": "parameter_server"}}
        )  # fmt: skip

"""Compiled blocks: the same numbers and names; when a run is long enough for the compiler."""

import copy
from dataclasses import replace

import pytest
import torch

from groundup.errors import ConfigError
from groundup.train import compile as compiling
from groundup.train.batch import Batch
from groundup.train.compile import Repayment, compile_blocks, eagerly, is_compiled, repays
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


def test_a_run_must_gain_some_times_what_the_compiler_costs():
    measured = Repayment(seconds=60, share=0.1)
    assert not repays(3 * 600 - 1, measured)
    assert repays(3 * 600 + 1, measured)


def test_auto_asks_the_plan_and_the_machine(monkeypatch):
    auto = replace(SETTINGS, compile="auto")
    long, short = {"duration_seconds": 1e6}, {"duration_seconds": 10.0}
    table = {("cpu", "fp32"): Repayment(60, 0.1)}
    monkeypatch.setattr(compiling, "MEASURED", table)
    monkeypatch.setattr(compiling, "missing_compiler", lambda device: None)
    assert is_compiled(auto, long)
    assert not is_compiled(auto, short)
    assert not is_compiled(replace(auto, precision="bf16"), long)  # nothing was measured
    assert is_compiled(replace(auto, compile=True), short)
    assert not is_compiled(replace(auto, compile=False), long)
    monkeypatch.setattr(compiling, "missing_compiler", lambda device: "a compiler")
    assert not is_compiled(auto, long)

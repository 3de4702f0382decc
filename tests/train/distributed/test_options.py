"""Clipping, penalties, loss terms and averages are the same in several processes as in one."""

from dataclasses import replace

import pytest

from groundup.train import clipping
from groundup.train.average import averaged
from groundup.train.batch import counts_of
from groundup.train.distributed import join, leave, rows_of
from groundup.train.objective import CAUSAL
from groundup.train.objectives import Terms
from groundup.train.parallel.model import whole_model
from groundup.train.parallel.pieces import whole_tensor
from groundup.train.start import new_state
from groundup.train.step import apply_gradients, gradients
from tests.train.distributed.world import worlds
from tests.train.small import MODEL, SETTINGS, Tokens

STEPS = 6
OPTIONS = {"clip": "adaptive", "l1": 0.01, "l2": 0.02, "ema_decay": 0.8}


def walk(layout):
    """What a run with every option finds after some steps."""
    clipping.WARMUP_STEPS = 3
    settings = replace(SETTINGS, layout=layout, learning_rate=2e-3, **OPTIONS)
    ranks = join(settings)
    state = new_state(MODEL, settings, ranks)
    objective = replace(CAUSAL, terms=Terms(z_loss=0.01, label_smoothing=0.1))
    losses, norms = [], []
    for _ in range(STEPS):
        whole = objective.batch_at(Tokens(), 1, state.cursor, 4, 16)
        mine = rows_of(whole, ranks)
        gave = gradients(state, settings, mine, counts_of(whole), objective.loss, ranks)
        apply_gradients(state, settings, gave)
        losses.append(gave.loss.item())
        norms.append(gave.norm.item())
    found = {
        "losses": losses,
        "norms": norms,
        "clip_norms": state.clip_norms,
        "average": {n: whole_tensor(x).double().norm().item() for n, x in state.average.items()},
    }
    with averaged(state), whole_model(state.model) as model:
        found["evaluated"] = CAUSAL.loss(model.eval(), whole, counts_of(whole)).item()
        found["of_the_average"] = {n: p.double().norm().item() for n, p in model.named_parameters()}
    leave(ranks)
    return found


def close(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert other[name] == pytest.approx(values, rel=2e-4, abs=1e-6), name


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(clipping, "WARMUP_STEPS", clipping.WARMUP_STEPS)  # `walk` lowers it
    alone = walk({"dp_replicate": 1, "dp_shard": 1})
    layouts = {"dp_replicate": 1, "dp_shard": 2}, {"dp_replicate": 2, "dp_shard": 1}
    of_options = "tests.train.distributed.test_options:walk"
    for ranks in worlds([(2, of_options, [layout]) for layout in layouts], tmp_path):
        for found in ranks:
            close(alone, found)
        assert ranks[0]["clip_norms"] == ranks[1]["clip_norms"]  # to the bit: all clip alike
    assert alone["of_the_average"] == pytest.approx(alone["average"])

"""Pipelines of stages have the numbers of one process."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from groundup.architecture.families import build
from groundup.errors import ConfigError
from groundup.tokens.samples import IGNORED
from groundup.train import clipping
from groundup.train.batch import Batch, counts_of
from groundup.train.checkpoint import load_checkpoint, load_model_weights, save_checkpoint
from groundup.train.distributed import join, leave, rows_of
from groundup.train.integrity.checks import IntegrityChecks
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.objective import CAUSAL
from groundup.train.optimizers.groups import optimizer_tensors
from groundup.train.parallel.layout import LayoutConfig
from groundup.train.parallel.model import whole_model
from groundup.train.parallel.pieces import local_tensor, whole_tensor
from groundup.train.parallel.pipeline import can_order, even, require_micro_batches
from groundup.train.parallel.stages import Stages, stages_of
from groundup.train.parts import probe_of
from groundup.train.retention import Retention
from groundup.train.snapshot import HostMemory
from groundup.train.start import new_state
from groundup.train.step import apply_gradients, gradients
from tests.train.distributed.cases import case, walk
from tests.train.distributed.world import worlds
from tests.train.small import SETTINGS, Tokens, job

HERE = "tests.train.distributed.test_pipeline:"
TOLERANCE = 5e-6

ROWS = {"batch_size": 8, "micro_batch_size": 2}
DEEP = {"n_layers": 4}
CASES = {
    "nanochat": case("nanochat", model={"n_heads": 2, **DEEP}, learning_rate=0.02, **ROWS),
    "gpt2": case("gpt2", model=DEEP, optimizer="adamw", **ROWS),
    "bert": case("bert", "masked", model=DEEP, optimizer="adamw", **ROWS),
    "ragged": case("gpt2", model={"n_layers": 5}, batch_size=7, micro_batch_size=2),
    "one micro-batch": case("llama", model=DEEP, batch_size=8, micro_batch_size=8),
    "buckets": case("lamda", model=DEEP, optimizer="adamw", **ROWS),
    "opt": case("opt", model=DEEP, **ROWS),
    "recomputed": case("nanochat", model={"n_heads": 2, **DEEP}, recompute="full", **ROWS),
    "selective": case("gpt2", model=DEEP, recompute="selective", **ROWS),
    "mixtral": case("mixtral", model={"n_experts": 4, "n_experts_per_token": 2, **DEEP}, **ROWS),
}
SIZES = {"vocab_size": 64, "d_model": 32, "n_heads": 4, "context_length": 16}
GPIPE = {"pp": 2, "schedule": "gpipe"}
IN_A_V = {"pp": 2, "vpp": 2, "schedule": "zero_bubble"}
LAYOUTS = {
    "gpipe": (2, GPIPE),
    "1f1b": (2, {"pp": 2}),
    "interleaved": (2, {"pp": 2, "vpp": 2, "schedule": "interleaved"}),
    "zero bubble": (2, {"pp": 2, "schedule": "zero_bubble"}),
    "zero bubble in a V": (2, IN_A_V),
    "2 shards": (4, {"pp": 2, "dp_shard": 2}),
    "4 stages": (4, {"pp": 4}),
    "V, 2 shards": (4, {**IN_A_V, "dp_shard": 2}),
    "2 replicas": (4, {"pp": 2, "dp_replicate": 2, "schedule": "gpipe"}),
    "tp and sp": (4, {"pp": 2, "tp": 2, "sp": True}),
    "cp": (4, {"pp": 2, "cp": 2}),
    "2 shards, tp and sp": (8, {"dp_shard": 2, "pp": 2, "tp": 2, "sp": True}),
}
FAST = {
    "gpipe": ["one micro-batch"],
    "1f1b": ["nanochat", "ragged"],
    "interleaved": ["buckets"],
    "zero bubble in a V": ["bert", "recomputed"],
    "2 shards": ["nanochat"],
    "tp and sp": ["gpt2"],
    "cp": ["gpt2"],
}
SLOW = {
    "gpipe": ["nanochat", "gpt2", "bert", "ragged", "mixtral"],
    "1f1b": ["gpt2", "bert", "buckets", "recomputed", "selective"],
    "interleaved": ["nanochat", "gpt2", "bert", "recomputed"],
    "zero bubble": ["nanochat", "gpt2", "bert", "ragged", "recomputed"],
    "zero bubble in a V": ["nanochat", "gpt2", "ragged", "mixtral"],
    "2 shards": ["gpt2", "bert", "ragged", "recomputed"],
    "4 stages": ["nanochat", "gpt2", "bert", "buckets", "opt"],
    "V, 2 shards": ["nanochat", "gpt2", "bert", "recomputed"],
    "2 replicas": ["nanochat", "gpt2"],
    "tp and sp": ["nanochat", "bert", "ragged", "buckets", "recomputed"],
    "cp": ["nanochat", "bert", "ragged", "recomputed"],
    "2 shards, tp and sp": ["nanochat", "gpt2", "bert"],
}


@cache
def alone(name):
    return walk(CASES[name], {})


def walk_pipeline(names, layout):
    """Several cases in one world."""
    return {name: walk(CASES[name], layout) for name in names}


def walked(chosen, folder):
    calls = [
        (LAYOUTS[layout][0], HERE + "walk_pipeline", [names, LAYOUTS[layout][1]])
        for layout, names in chosen.items()
    ]
    return dict(zip(chosen, worlds(calls, folder), strict=True))


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    return walked(FAST, tmp_path_factory.mktemp("fast"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return walked(SLOW, tmp_path_factory.mktemp("slow"))


def pairs(chosen):
    return [(layout, name) for layout, names in chosen.items() for name in names]


def require_the_numbers_of_one_process(ranks, name):
    expected, first = alone(name), ranks[0][name]
    assert first["losses"] == pytest.approx(expected["losses"], rel=TOLERANCE)
    assert first["norms"] == pytest.approx(expected["norms"], rel=TOLERANCE)
    for rank in ranks:
        for what in ("losses", "norms", "hash"):  # to the bit
            assert rank[name][what] == first[what]
        assert rank[name]["evaluation"] == pytest.approx(expected["evaluation"], rel=TOLERANCE)
        assert rank[name]["parameters"] == expected["parameters"]
        assert rank[name].get("text") == expected.get("text")


@pytest.mark.parametrize(("layout", "name"), pairs(FAST))
def test_a_pipeline_has_the_numbers_of_one_process(fast, layout, name):
    require_the_numbers_of_one_process(fast[layout], name)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "name"), pairs(SLOW))
def test_more_pipelines_have_the_numbers_of_one_process(slow, layout, name):
    require_the_numbers_of_one_process(slow[layout], name)


def test_a_process_holds_its_stages_only(fast):
    first, second = (rank["nanochat"]["held"] for rank in fast["1f1b"])
    assert first + second == alone("nanochat")["parameters"]
    assert abs(first - second) == 0  # embeddings there, a head of their size here


def of_options(layout, folder):
    """A run with everything that is kept by parameter name, saved and gone on from."""
    clipping.WARMUP_STEPS = 2
    more = {"clip": "adaptive", "l2": 0.02, "ema_decay": 0.8, "optimizer": "adamw", **ROWS}
    settings = replace(SETTINGS, layout=layout, context_length=16, **more)
    model = build("gpt2", n_layers=4, **SIZES)
    ranks = join(settings)
    checks = IntegrityChecks(
        IntegrityConfig(replay_every=2, checksum_every=1, compare_every=1), ranks
    )
    found = {"losses": [], "findings": 0}

    def step(state):
        whole = CAUSAL.batch_at(Tokens(), 1, state.cursor, 8, 16)
        rows = rows_of(whole, ranks)

        def compute():
            return gradients(state, settings, rows, counts_of(whole), CAUSAL.loss, ranks)

        gave, findings = checks.computed(state, compute)
        found["findings"] += len(findings + checks.before_update(state) + checks.at_step(state))
        apply_gradients(state, settings, gave)
        checks.after_update(state)
        found["losses"].append(gave.loss.item())

    state = new_state(model, settings, ranks)
    for _ in range(4):
        step(state)
    found["probe"] = probe_of(state, job(settings, model), Tokens(), ranks)()
    keep, path = Retention(9), Path(folder) / f"{layout.get('schedule')}-{ranks.size}"
    saved = save_checkpoint(path, state, {"model": model.to_dict()}, keep=keep, ranks=ranks)
    found["hash"], found["path"] = state.final_hash(), str(saved)
    found["clip_norms"] = dict(state.clip_norms)
    step(state)
    again = new_state(model, settings, ranks)
    load_checkpoint(saved, again, ranks)
    checks.forget()
    assert again.final_hash() == found["hash"]
    step(again)
    assert again.final_hash() == state.final_hash()
    with whole_model(again.model) as whole:
        found["norms"] = {n: p.double().norm().item() for n, p in whole.named_parameters()}
    if ranks.rank == ranks.size - 1 and ranks.dp_replicate > 1:  # one bit of a replica
        local_tensor(next(again.model.parameters()).detach()).view(-1)[0].neg_()
    again.step += 1
    found["corrupt"] = sorted({finding.ranks for finding in checks.at_step(again)})
    leave(ranks)
    return found


OF_OPTIONS = {
    "alone": {},
    "pipeline": {"pp": 2},
    "V": IN_A_V,
    "replicas": {"pp": 2, "dp_replicate": 2, "schedule": "interleaved", "vpp": 2},
}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    before = clipping.WARMUP_STEPS
    one = of_options({}, str(folder))
    clipping.WARMUP_STEPS = before
    calls = [
        (4 if name == "replicas" else 2, HERE + "of_options", [layout, str(folder)])
        for name, layout in OF_OPTIONS.items()
        if name != "alone"
    ]
    found = worlds(calls, folder)
    return {"alone": [one], **dict(zip(list(OF_OPTIONS)[1:], found, strict=True))}


@pytest.mark.slow
@pytest.mark.parametrize("layout", [name for name in OF_OPTIONS if name != "alone"])
def test_with_clipping_by_tensor_averages_and_checks_a_run_goes_on_as_alone(options, layout):
    (one,) = options["alone"]
    for rank in options[layout]:
        assert rank["losses"] == pytest.approx(one["losses"], rel=1e-5)
        assert rank["probe"] == pytest.approx(one["probe"], rel=1e-5)
        assert rank["findings"] == 0
        assert rank["hash"] == options[layout][0]["hash"]
        assert rank["clip_norms"] == options[layout][0]["clip_norms"]
        assert rank["clip_norms"] == pytest.approx(one["clip_norms"], rel=1e-4)
        # The gradient of a key's bias is 0 but for rounding, and AdamW moves by its sign.
        assert rank["norms"] == pytest.approx(one["norms"], rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_a_damaged_replica_of_a_stage_is_named(options):
    for rank in options["replicas"]:
        assert rank["corrupt"] == [[1, 3]]  # two replicas: either may be wrong
    assert options["pipeline"][0]["corrupt"] == []


@pytest.mark.slow
@pytest.mark.parametrize("layout", [name for name in OF_OPTIONS if name != "alone"])
def test_a_checkpoint_of_a_pipeline_is_that_of_one_process_to_the_bit(options, layout):
    found = options[layout][0]
    more = {"clip": "adaptive", "ema_decay": 0.8, "optimizer": "adamw"}
    model = build("gpt2", n_layers=4, **SIZES)
    state = new_state(model, replace(SETTINGS, **more))
    load_checkpoint(Path(found["path"]), state)
    assert state.final_hash() == found["hash"]
    assert state.clip_norms == found["clip_norms"]
    loaded = dict(load_model_weights(Path(found["path"])).named_parameters())
    for name, average in state.average.items():
        assert torch.equal(loaded[name], average), name


def load_elsewhere(layout, path):
    """The hash of what a pipeline loads from a checkpoint of another layout."""
    more = {"clip": "adaptive", "ema_decay": 0.8, "optimizer": "adamw", **ROWS}
    settings = replace(SETTINGS, layout=layout, **more)
    model = build("gpt2", n_layers=4, **SIZES)
    ranks = join(settings)
    state = new_state(model, settings, ranks)
    load_checkpoint(Path(path), state, ranks)
    found = state.final_hash()
    leave(ranks)
    return found


@pytest.mark.slow
def test_a_pipeline_loads_what_one_process_and_what_another_layout_wrote(options, tmp_path):
    sources = [options[name][0] for name in ("alone", "V", "replicas")]
    layout = {"pp": 2, "dp_shard": 2}
    calls = [(4, HERE + "load_elsewhere", [layout, found["path"]]) for found in sources]
    for found, ranks in zip(sources, worlds(calls, tmp_path), strict=True):
        assert ranks == [found["hash"]] * 4


TIED_IN_BF16 = {"optimizer": "adamw", "optimizer_dtype": "bf16", "learning_rate": 0.01, **ROWS}
ONE_BY_ONE = replace(SETTINGS, context_length=16, batch_size=8, micro_batch_size=1)
ANY_NUMBER = {
    "interleaved": {"pp": 2, "vpp": 2, "schedule": "interleaved"},
    "zero bubble": {"pp": 2, "schedule": "zero_bubble"},
    "three parts": {"pp": 2, "vpp": 3, "schedule": "zero_bubble"},
}  # batches of 8 are ordered, others are the guard's probe


def some_steps(settings, n_rows, n_steps):
    """The state after some steps, their losses, and the ranks that are still met."""
    model = build("gpt2", n_layers=6, **SIZES)
    ranks = join(settings)
    state, losses = new_state(model, settings, ranks), []
    for _ in range(n_steps):
        whole = CAUSAL.batch_at(Tokens(), 1, state.cursor, n_rows, 16)
        rows = rows_of(whole, ranks)
        gave = gradients(state, settings, rows, counts_of(whole), CAUSAL.loss, ranks)
        apply_gradients(state, settings, gave)
        losses.append(gave.loss.item())
    return state, losses, ranks


def of_edges():
    """Tied weights whose moments are rounded at random, a checkpoint's bytes, odd numbers."""
    settings = replace(SETTINGS, layout={"pp": 2}, context_length=16, **TIED_IN_BF16)
    state, _, ranks = some_steps(settings, 8, 4)
    kept = dict(optimizer_tensors(state.model, state.optimizers))
    kept["embed.weight"] = state.model.embed.weight.detach()
    snapshot = HostMemory().snapshot(state, {}, ranks)
    found = {
        "embed": {
            name: whole_tensor(value).float().tolist()
            for name, value in kept.items()
            if name.startswith("embed.weight")
        },
        "n_bytes": snapshot.n_bytes,
        "written": sum(len(image.data) for image in snapshot.images.values()),
        "losses": {},
    }
    leave(ranks)
    for name, layout in ANY_NUMBER.items():
        for n in (1, 5):
            settings = replace(ONE_BY_ONE, layout=layout)
            _, losses, ranks = some_steps(settings, n, 2)
            found["losses"][f"{name}, {n}"] = losses
            leave(ranks)
    return found


@pytest.fixture(scope="module")
def edges(tmp_path_factory):
    (found,) = worlds([(2, HERE + "of_edges", [])], tmp_path_factory.mktemp("edges"))
    return found


def test_tied_weights_stay_alike_when_their_moments_are_rounded_at_random(edges):
    first, second = (rank["embed"] for rank in edges)
    assert {"embed.weight", "embed.weight/exp_avg", "embed.weight/exp_avg_sq"} <= set(first)
    assert first == second


def test_a_checkpoints_bytes_are_those_of_all_stages(edges):
    written = sum(rank["written"] for rank in edges)
    for rank in edges:
        assert written <= rank["n_bytes"] < written + 100_000  # the generators' states


@pytest.mark.parametrize("n", [1, 5])
def test_several_stages_a_process_take_numbers_that_cannot_be_ordered(edges, n):
    _, expected, _ = some_steps(ONE_BY_ONE, n, 2)
    for rank in edges:
        for name in ANY_NUMBER:
            assert rank["losses"][f"{name}, {n}"] == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("n_layers", "pp", "vpp", "schedule", "expected"),
    [
        (4, 2, 1, "1f1b", [[[0, 1]], [[2, 3]]]),
        (5, 2, 1, "1f1b", [[[0, 1, 2]], [[3, 4]]]),
        (7, 3, 1, "gpipe", [[[0, 1, 2]], [[3, 4]], [[5, 6]]]),
        (4, 2, 2, "interleaved", [[[0], [2]], [[1], [3]]]),
        (4, 2, 2, "zero_bubble", [[[0], [3]], [[1], [2]]]),
        (6, 2, 3, "zero_bubble", [[[0], [2], [4]], [[1], [3], [5]]]),
    ],
)
def test_layers_are_dealt_evenly_the_earlier_stages_first(n_layers, pp, vpp, schedule, expected):
    stages = Stages(n_layers, pp, vpp, schedule)
    dealt = [[list(stages.layers(stage)) for stage in stages.of_process(at)] for at in range(pp)]
    assert dealt == expected


def test_weights_that_several_stages_need_are_on_all_of_them():
    gpt2, lamda = (build(family, n_layers=8, **SIZES) for family in ("gpt2", "lamda"))
    assert Stages(8, 4).holders("embed.weight", gpt2) == [0, 3]
    assert Stages(8, 4).holders("position.weight", gpt2) == [0]
    assert Stages(8, 4, 2, "zero_bubble").holders("embed.weight", gpt2) == [0]
    assert Stages(8, 4).holders("position.weight", lamda) == [0, 1, 2, 3]
    assert Stages(8, 4).holders("blocks.5.attention.q.weight", gpt2) == [2]
    assert Stages(8, 4).holders("norm.weight", gpt2) == [3]


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("t5", "an encoder-decoder is not cut into stages"),
        ("albert", "a model whose layers share their weights is not cut"),
        ("xlnet", "a model of two streams is not cut"),
        ("llama", "3 layers do not go round 4 stages"),
    ],
)
def test_what_is_no_row_of_stages_is_refused(family, says):
    config = build(family, n_layers=3, **SIZES)
    with pytest.raises(ConfigError, match=says) as caught:
        stages_of(config, LayoutConfig(pp=4))
    assert caught.value.where == "pretrain.layout.pp"
    assert "set pp to" in caught.value.fix


@pytest.mark.parametrize(
    ("layout", "sizes", "n_shares", "says", "fix"),
    [
        ({"pp": 4}, (8, 8), 1, "cannot order 1 micro-batch ", "to 2, which gives 4"),
        ({"pp": 2}, (8, 4), 2, "cannot order 1 micro-batch ", "to 2, which gives 2"),
        (
            {"pp": 4, "vpp": 2, "schedule": "interleaved"},
            (18, 2),
            1,
            "cannot order 9 micro-batches",
            "gpipe and vpp to 1, which takes any number, or pretrain.micro_batch_size to 3, which "
            "gives 6",
        ),
    ],
)
def test_micro_batches_that_a_schedule_cannot_order_are_refused(layout, sizes, n_shares, says, fix):
    settings = replace(SETTINGS, batch_size=sizes[0], micro_batch_size=sizes[1])
    with pytest.raises(ConfigError, match=says) as caught:
        require_micro_batches(settings, LayoutConfig(**layout), n_shares)
    assert fix in caught.value.fix


def test_what_zero_bubble_cannot_go_through_twice_is_refused():
    layout = LayoutConfig(pp=2, schedule="zero_bubble")
    with pytest.raises(ConfigError, match="what selective keeps is for one"):
        require_micro_batches(replace(SETTINGS, recompute="selective", **ROWS), layout, 1)
    with pytest.raises(ConfigError, match="a compiled one is in one piece"):
        require_micro_batches(replace(SETTINGS, compile=True, **ROWS), layout, 1)
    with pytest.raises(ConfigError, match="one computation for all layers"):
        stages_of(build("lamda", n_layers=4, **SIZES), layout)


def test_a_ramp_is_looked_at_from_its_start():
    ramp = {"start": 2, "steps": 4}
    settings = replace(SETTINGS, batch_size=8, micro_batch_size=2, batch_size_ramp=ramp)
    with pytest.raises(ConfigError, match="2 rows a step"):
        require_micro_batches(settings, LayoutConfig(pp=2), 1)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved", "zero_bubble"])
@pytest.mark.parametrize("n", range(1, 10))
def test_what_is_said_of_micro_batches_is_what_torch_takes(schedule, n):
    from torch.distributed.pipelining import schedules

    class Stage:
        """What a schedule looks at when it is made."""

        num_stages, group_size, group_rank, stage_index = 3, 3, 0, 0
        is_first, is_last, submod = True, False, torch.nn.Module()

    kind = {
        "gpipe": schedules.ScheduleGPipe,
        "1f1b": schedules.Schedule1F1B,
        "interleaved": schedules.ScheduleInterleaved1F1B,
        "zero_bubble": schedules.ScheduleInterleavedZeroBubble,
    }[schedule]
    stage = Stage() if schedule in ("gpipe", "1f1b") else [Stage()]
    try:
        kind(stage, n, loss_fn=lambda a, b: a)
        takes = True
    except ValueError:
        takes = False
    assert can_order(LayoutConfig(pp=3, schedule=schedule), n) == takes


def test_the_last_micro_batch_is_filled_up_by_rows_without_targets():
    inputs = torch.arange(5)[:, None].expand(5, 3)
    parts = even(Batch(inputs, inputs + 1), 2)
    assert [part.inputs[:, 0].tolist() for part in parts] == [[0, 1], [2, 3], [4, 4]]
    assert parts[-1].targets.tolist() == [[5] * 3, [IGNORED] * 3]
    with pytest.raises(ConfigError, match="pairs of sentences learn from every row"):
        even(Batch(inputs, inputs, sentence_labels=torch.zeros(5)), 2)

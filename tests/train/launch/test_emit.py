"""Every key that is written is one the engine documents, and its value follows from the project."""

from __future__ import annotations

import ast
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest

from groundup.architecture.families import build
from groundup.errors import ConfigError
from groundup.train.launch.emit.engines import ENGINES
from groundup.train.launch.emit.job import EmitJob, Emitted, in_use
from groundup.train.parallel.layout import LayoutConfig
from tests.train.small import SETTINGS

# https://www.deepspeed.ai/docs/config-json (docs/_pages/config-json.md), read 2026-11-22;
# https://deepspeed.readthedocs.io/en/latest/schedulers.html; tensor_parallel: the AutoTP tutorial.
# All are in the sources of deepspeed 0.19.8: runtime/{config,constants,lr_schedules,engine}.py,
# runtime/zero/config.py, runtime/tensor_parallel/config.py.
DEEPSPEED = {
    "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps",
    "optimizer.type", "optimizer.params.lr", "optimizer.params.betas", "optimizer.params.eps",
    "optimizer.params.weight_decay", "optimizer.params.momentum", "optimizer.params.nesterov",
    "optimizer.params.muon_lr", "optimizer.params.adam_lr", "scheduler.type",
    "scheduler.params.total_num_steps", "scheduler.params.warmup_num_steps",
    "scheduler.params.warmup_type", "scheduler.params.warmup_min_ratio",
    "scheduler.params.cos_min_ratio", "scheduler.params.warmup_min_lr",
    "scheduler.params.warmup_max_lr", "gradient_clipping", "bf16.enabled",
    "zero_optimization.stage", "tensor_parallel.autotp_size",
}  # fmt: skip
# NVIDIA/Megatron-LM, megatron/training/arguments.py and megatron/training/config/*.py (dataclasses
# whose fields are arguments), megatron/core/distributed/fsdp/src/README.md; read 2026-11-22. All
# looked up, but for the tokenizer's two, in megatron/training/arguments.py at 000c4ac2, in
# megatron/training/config/training_config.py at 008e9cdb, or in megatron-core 0.16.1's dataclasses.
MEGATRON = {
    "num-layers", "hidden-size", "ffn-hidden-size", "num-attention-heads", "kv-channels",
    "group-query-attention", "num-query-groups", "seq-length", "max-position-embeddings",
    "position-embedding-type", "rotary-base", "rotary-percent", "rotary-interleaved",
    "normalization", "norm-epsilon", "init-method-std", "swiglu", "squared-relu", "qk-layernorm",
    "disable-bias-linear", "add-qkv-bias", "untie-embeddings-and-output-weights", "tokenizer-type",
    "vocab-size", "make-vocab-size-divisible-by", "num-experts", "moe-router-topk",
    "micro-batch-size", "global-batch-size", "train-iters", "seed", "hidden-dropout",
    "attention-dropout", "save-interval", "eval-interval", "bf16", "clip-grad", "lr", "min-lr",
    "fp8-format", "fp8-recipe",
    "lr-decay-style", "lr-warmup-iters", "lr-decay-iters", "lr-wsd-decay-style",
    "lr-wsd-decay-iters", "weight-decay", "optimizer", "adam-beta1", "adam-beta2", "adam-eps",
    "sgd-momentum", "muon-momentum", "tensor-model-parallel-size", "pipeline-model-parallel-size",
    "context-parallel-size", "sequence-parallel", "num-virtual-stages-per-pipeline-rank",
    "use-distributed-optimizer", "num-distributed-optimizer-instances", "use-megatron-fsdp",
    "data-parallel-sharding-strategy", "no-gradient-accumulation-fusion", "ckpt-format",
    "recompute-granularity", "recompute-method", "recompute-num-layers",
}  # fmt: skip
# pytorch/torchtitan, dataclasses read 2026-11-22: torchtitan/config (training, parallelism, debug),
# torchtitan/components/optim/{optimizer,lr_scheduler}.py, torchtitan/components/checkpointer,
# torchtitan/trainer.py, torchtitan_recipes/models/llama3.py. Of the main branch: config/training.py
# at f204eb63, config/parallelism.py at 15e24313, config/debug.py at f204eb63, components/optim/
# {optim.py at 41e27f2b, optimizer.py at 1697d399, lr_scheduler.py at 78ce2f0c}, llama3.py at
# 03d9819f. Release 0.3.0 has other modules.
TORCHTITAN = {
    "Trainer.Config": {
        "model", "loss", "optim", "training", "parallelism", "dataloader", "checkpointer", "debug",
        "activation_checkpoint",
    },
    "TrainingConfig": {
        "num_tokens_per_microbatch_per_dp_rank", "num_tokens_per_train_step", "max_context_length",
        "steps", "dtype", "mixed_precision_param", "mixed_precision_reduce",
    },
    "ParallelismConfig": {
        "data_parallel_replicate_degree", "data_parallel_shard_degree",
        "fsdp_reshard_after_forward", "tensor_parallel_degree", "enable_sequence_parallel",
        "pipeline_parallel_degree", "pipeline_parallel_schedule", "num_pp_microbatches",
        "pipeline_parallel_layers_per_stage", "pipeline_parallel_first_stage_less_layers",
        "pipeline_parallel_last_stage_less_layers", "context_parallel_degree",
    },
    "AdamW.Config": {"pattern", "lr", "betas", "eps", "weight_decay", "fused", "foreach"},
    "LRSchedulersContainer.Config": {
        "warmup_steps", "total_steps", "decay_ratio", "decay_type", "min_lr_factor",
    },
    "OptimizersContainer.Config": {"optimizers"},
    "Optim.Config": {"optimizer", "lr_scheduler", "max_norm"},
    "CheckpointManager.Config": {"interval", "keep_latest_k", "last_save_model_only"},
    "DebugConfig": {"seed"},
    "GrainDataLoader.Config": {"dataset"},
    "ConcatThenSplitPackingConfig": {"dataset"},
    "ChunkedLossWrapper.Config": {"loss_fn"},
    "CrossEntropyLoss.Config": {"global_vocab_size"},
    "build_model_config": {"seq_len"},
    "decoder_vocab_size": set(),
    "float": set(),
    "FullActivationRematConfig": set(),
}  # fmt: skip

LLAMA = build("llama", vocab_size=512, n_layers=4, d_model=64, context_length=16, n_heads=4,
              n_kv_heads=2)  # fmt: skip


def job(sizes: dict[str, int] | None = None, **changes: Any) -> EmitJob:
    """A llama with AdamW; ``changes`` of its settings, layout fields among them."""
    fields = ("zero", "sp", "vpp", "schedule")
    layout = {name: changes.pop(name) for name in fields if name in changes}
    axes = {"dp_replicate": 1, "dp_shard": 1, "tp": 1, "cp": 1, "pp": 1, **(sizes or {})}
    settings = replace(SETTINGS, optimizer="adamw", adam_learning_rate=None,
                       embedding_learning_rate=None, **changes)  # fmt: skip
    return EmitJob("a job", changes.get("model", LLAMA), settings,
                   LayoutConfig(**axes, **layout), axes)  # fmt: skip


JOBS = {
    "plain": job(batch_size=32, micro_batch_size=4),
    "sharded": job({"dp_shard": 8}, batch_size=64, micro_batch_size=2, precision="bf16"),
    "wide": job(
        {"dp_replicate": 2, "dp_shard": 2, "tp": 2, "pp": 2, "cp": 2},
        batch_size=64,
        micro_batch_size=4,
        sp=True,
        vpp=2,
        schedule="interleaved",
        zero=2,
        weight_decay=0.1,
        recompute="full",
    ),
    "cosine": job(batch_size=8, micro_batch_size=8, schedule="1f1b", dropout=0.1, l2=0.01),
}
JOBS["cosine"] = replace(
    JOBS["cosine"], settings=replace(JOBS["cosine"].settings, schedule="cosine", min_lr_ratio=0.1)
)
JOBS["fp8"] = job(batch_size=32, micro_batch_size=4, precision="fp8")
JOBS["muon"] = replace(
    JOBS["plain"],
    settings=replace(JOBS["plain"].settings, optimizer="muon", adam_learning_rate=0.004),
)


def keys(found: dict[str, Any], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, value in found.items():
        inside = isinstance(value, dict)
        names |= keys(value, f"{prefix}{name}.") if inside else {prefix + name}
    return names


def text_of(made: Emitted) -> str:
    (text,) = made.files.values()
    return text


def arguments(made: Emitted) -> dict[str, str]:
    lines = [line for line in text_of(made).splitlines() if not line.startswith("#")]
    pairs = [line.removeprefix("--").partition(" ") for line in lines]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}


def calls(made: Emitted) -> dict[str, list[dict[str, Any]]]:
    """Every call in the emitted Python file: dotted name → keyword arguments (constants only)."""
    found: dict[str, list[dict[str, Any]]] = {}
    for node in ast.walk(ast.parse(text_of(made))):
        if isinstance(node, ast.Call):
            values = {}
            for word in node.keywords:
                try:
                    values[str(word.arg)] = ast.literal_eval(word.value)
                except ValueError:
                    values[str(word.arg)] = None
            found.setdefault(ast.unparse(node.func), []).append(values)
    return found


@pytest.mark.parametrize("name", JOBS)
def test_every_key_is_documented(name: str) -> None:
    deepspeed = json.loads(text_of(ENGINES["deepspeed"](JOBS[name])))
    assert keys(deepspeed) <= DEEPSPEED
    assert arguments(ENGINES["megatron"](JOBS[name])).keys() <= MEGATRON
    for function, each in calls(ENGINES["torchtitan"](JOBS[name])).items():
        for words in each:
            assert words.keys() <= TORCHTITAN[function], function


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", JOBS)
def test_what_is_in_use_is_written_or_listed(name: str, engine: str) -> None:
    made = ENGINES[engine](JOBS[name])
    listed = {one.key.removeprefix("pretrain.") for one in made.left_out}
    for never in ("guard", "integrity", "sample_prompt"):
        assert never in listed
    settings = in_use(JOBS[name].settings)
    # These every engine is told; the rest is in one of the two places by `left_out_of`.
    for always in ("batch_size", "micro_batch_size", "weight_decay"):
        assert always not in listed
    assert listed <= settings.keys() | {"model", "data", "recompute"} | {
        key for key in listed if key.startswith(("layout.", "model."))
    }
    if "l2" in settings:
        assert "l2" in listed


@pytest.mark.parametrize("name", JOBS)
def test_batches_in_closed_form(name: str) -> None:
    one = JOBS[name]
    batch, context = one.settings.batch_size, one.settings.context_length
    deepspeed = json.loads(text_of(ENGINES["deepspeed"](one)))
    micro = deepspeed["train_micro_batch_size_per_gpu"]
    dp = one.sizes["dp_replicate"] * one.sizes["dp_shard"]
    assert deepspeed["train_batch_size"] == batch
    assert micro * deepspeed["gradient_accumulation_steps"] * dp == batch
    words = arguments(ENGINES["megatron"](one))
    assert int(words["global-batch-size"]) == batch
    assert int(words["global-batch-size"]) % (int(words["micro-batch-size"]) * dp) == 0
    titan = calls(ENGINES["torchtitan"](one))["TrainingConfig"][0]
    assert titan["num_tokens_per_train_step"] == batch * context
    assert titan["num_tokens_per_microbatch_per_dp_rank"] == micro * context


def test_the_layout_of_each_engine() -> None:
    one = JOBS["wide"]
    words = arguments(ENGINES["megatron"](one))
    assert (words["tensor-model-parallel-size"], words["pipeline-model-parallel-size"]) == (
        "2",
        "2",
    )
    assert words["num-virtual-stages-per-pipeline-rank"] == "2"
    assert words["data-parallel-sharding-strategy"] == "optim_grads"  # ZeRO-2
    assert words["num-distributed-optimizer-instances"] == "2"
    assert "sequence-parallel" in words
    titan = calls(ENGINES["torchtitan"](one))["ParallelismConfig"][0]
    degrees = [value for name, value in titan.items() if name.endswith("_degree")]
    product = 1
    for degree in degrees:
        product *= degree
    assert product == one.n_ranks == 32
    assert titan["pipeline_parallel_schedule"] == "Interleaved1F1B"
    assert titan["num_pp_microbatches"] == 64 // (4 * 4)
    assert titan["pipeline_parallel_layers_per_stage"] == 4 // (2 * 2)
    deepspeed = ENGINES["deepspeed"](one)
    config = json.loads(text_of(deepspeed))
    assert config["zero_optimization"]["stage"] == 2
    assert config["tensor_parallel"]["autotp_size"] == 2
    assert {"pretrain.layout.pp", "pretrain.layout.cp"} <= {o.key for o in deepspeed.left_out}


def test_zero_is_off_where_nothing_is_sharded() -> None:
    copies = job({"dp_replicate": 4}, batch_size=32, micro_batch_size=4)
    assert json.loads(text_of(ENGINES["deepspeed"](copies)))["zero_optimization"]["stage"] == 0
    assert "use-distributed-optimizer" not in arguments(ENGINES["megatron"](copies))


def test_schedules_in_closed_form() -> None:
    # 12 steps, 2 of warm-up, peak 0.02; wsd falls over half of them, cosine over the other 10.
    words = arguments(ENGINES["megatron"](JOBS["plain"]))
    assert (words["lr-decay-style"], words["lr-wsd-decay-iters"]) == ("WSD", "6")
    assert calls(ENGINES["torchtitan"](JOBS["plain"]))["LRSchedulersContainer.Config"][0] == {
        "warmup_steps": 2, "total_steps": 12, "decay_ratio": 0.5, "decay_type": "linear",
        "min_lr_factor": 0.0,
    }  # fmt: skip
    assert "scheduler" not in json.loads(text_of(ENGINES["deepspeed"](JOBS["plain"])))
    words = arguments(ENGINES["megatron"](JOBS["cosine"]))
    assert (words["lr-decay-style"], words["lr-decay-iters"], words["min-lr"]) == (
        "cosine", "12", "0.002",
    )  # fmt: skip
    scheduler = json.loads(text_of(ENGINES["deepspeed"](JOBS["cosine"])))["scheduler"]
    assert scheduler["type"] == "WarmupCosineLR"
    assert scheduler["params"]["total_num_steps"] == 12
    assert scheduler["params"]["cos_min_ratio"] == 0.1


@pytest.mark.parametrize(("clip", "bound"), [("global", 0.5), ("adaptive", math.inf)])
def test_torchtitan_clips_where_it_updates(clip: str, bound: float) -> None:
    one = replace(JOBS["plain"], settings=replace(JOBS["plain"].settings, clip=clip, grad_clip=0.5))
    text = text_of(ENGINES["torchtitan"](one))
    (found,) = re.findall(r"^            max_norm=(.*),$", text, re.MULTILINE)  # of Optim.Config
    assert float(found.removeprefix('float("').removesuffix('")')) == bound


class Processes:
    """What DeepSpeed asks of who lays out the processes."""

    def __init__(self, n: int) -> None:
        self.n = n

    def get_data_parallel_world_size(self) -> int:
        return self.n


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_deepspeed_itself_reads_its_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed; last seen with 0.19.8."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    reader = pytest.importorskip("deepspeed.runtime.config")
    monkeypatch.setattr(reader.dist, "get_rank", lambda: 0)
    one = JOBS[name]
    written = json.loads(text_of(ENGINES["deepspeed"](one)))
    found = reader.DeepSpeedConfig(written, mpu=Processes(one.dp))
    assert found.train_batch_size == one.settings.batch_size
    assert found.gradient_accumulation_steps == one.accumulation
    assert found.zero_optimization_stage == one.zero
    assert found.optimizer_name == {"adamw": "adamw", "muon": "muon"}[one.settings.optimizer]
    assert found.optimizer_params["lr"] == one.settings.learning_rate
    assert found.bfloat16_config.enabled == (one.settings.precision == "bf16")
    assert found.gradient_clipping == one.settings.grad_clip


def test_the_network_of_megatron() -> None:
    words = arguments(ENGINES["megatron"](JOBS["plain"]))
    assert (words["num-layers"], words["hidden-size"], words["num-query-groups"]) == (
        "4",
        "64",
        "2",
    )
    assert (words["position-embedding-type"], words["normalization"]) == ("rope", "RMSNorm")
    assert {"swiglu", "disable-bias-linear", "untie-embeddings-and-output-weights"} <= words.keys()
    t5 = build("t5", vocab_size=64, n_layers=2, d_model=32, context_length=16)
    with pytest.raises(ConfigError, match="none that Megatron"):
        ENGINES["megatron"](replace(JOBS["plain"], model=t5))


def test_megatron_takes_a_rotary_base_as_a_whole_number() -> None:
    million = build("llama", vocab_size=64, n_layers=2, d_model=32, context_length=16, n_heads=4)
    million = replace(million, positions=replace(million.positions, rotary_base=1e6))
    words = arguments(ENGINES["megatron"](replace(JOBS["plain"], model=million)))
    assert int(words["rotary-base"]) == 1_000_000  # its parser says int: no exponent


def test_a_model_that_torchtitan_ships_is_named() -> None:
    from groundup.architecture.presets import find_model

    one = replace(JOBS["plain"], model=find_model("llama3-8b"))
    assert 'build_model_config("8B", seq_len=16)' in text_of(ENGINES["torchtitan"](one))
    made = ENGINES["torchtitan"](JOBS["plain"])
    assert 'build_model_config("groundup_a_job"' in text_of(made)
    assert made.left_out[0].key == "model"


def test_a_batch_that_does_not_divide_is_refused() -> None:
    for engine in ENGINES.values():
        with pytest.raises(ConfigError, match="make up no rows") as caught:
            engine(job({"dp_shard": 3}, batch_size=32, micro_batch_size=4))
        assert re.search(r"nearest that does is \d+", str(caught.value))


def test_text_of_the_user_stays_a_comment() -> None:
    evil = 'x"""\nimport os\n--lr 7'
    one = replace(JOBS["plain"], settings=replace(JOBS["plain"].settings, sample_prompt=evil))
    assert "lr" in arguments(ENGINES["megatron"](one))
    assert arguments(ENGINES["megatron"](one))["lr"] == "0.02"
    module = ast.parse(text_of(ENGINES["torchtitan"](one)))
    assert not [node for node in ast.walk(module) if isinstance(node, ast.Import)]


def test_what_8_bits_become_in_each_engine() -> None:
    made = {name: emit(JOBS["fp8"]) for name, emit in ENGINES.items()}
    assert json.loads(text_of(made["deepspeed"]))["bf16"] == {"enabled": True}
    written = arguments(made["megatron"])
    assert (written["fp8-format"], written["fp8-recipe"]) == ("hybrid", "tensorwise")
    assert "bf16" in written
    (training,) = calls(made["torchtitan"])["TrainingConfig"]
    assert training["mixed_precision_param"] == "bfloat16"
    said = {name for name, each in made.items() if "pretrain.precision" in {
        one.key for one in each.left_out}}  # fmt: skip
    assert said == {"deepspeed", "torchtitan"}

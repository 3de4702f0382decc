"""What one process and several do alike: some steps of a tiny model, and a look at it."""

from dataclasses import dataclass, replace
from unittest.mock import patch

import torch

from groundup.architecture.families import build
from groundup.architecture.trained_for import trained_for
from groundup.model.generate import generate
from groundup.train import replaced_token
from groundup.train.batch import counts_of
from groundup.train.distributed import join, leave, rows_of
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.objective import stand_in
from groundup.train.optimizers.groups import roles
from groundup.train.parallel.context import tokens_of
from groundup.train.parallel.model import whole_model
from groundup.train.start import new_state
from groundup.train.state import rng_state
from groundup.train.step import apply_gradients, gradients
from tests.train.small import SETTINGS, Tokens

STEPS, CONTEXT, VOCAB_SIZE = 5, 16, 64


@dataclass(frozen=True)
class Case:
    """A tiny run; ``settings`` beside those of `small`."""

    family: str
    objective: dict
    model: dict
    settings: dict


def case(family, kind="causal", *, objective=(), model=(), **settings):
    return Case(family, {"kind": kind, **dict(objective)}, dict(model), settings)


def likeliest(generator, hidden):
    """Stands for the samples, which are each rank's own."""
    return generator.logits(hidden).argmax(-1)


@patch.object(replaced_token, "draw", likeliest)
def walk(each, layout):
    """Train ``each`` for some steps; what every rank must have found alike, and what is its own."""
    config = ObjectiveConfig(**each.objective)
    settings = replace(
        SETTINGS,
        context_length=CONTEXT,
        steps=STEPS,
        layout=layout,
        objective=config.of_kind(),
        **{"learning_rate": 2e-3, "weight_decay": 0.1, **each.settings},
    )
    sizes = {"n_layers": 2, "d_model": 32, "n_heads": 4, "context_length": CONTEXT}
    model = build(each.family, vocab_size=VOCAB_SIZE, **{**sizes, **each.model})
    ranks = join(settings)
    state = new_state(trained_for(model, config.kind, config.sentence != "none"), settings, ranks)
    objective = stand_in(config, VOCAB_SIZE, "cpu")
    found = {"rank": ranks.rank, "losses": [], "norms": [], "roles": names_of_roles(state.model)}
    for _ in range(STEPS):
        whole = objective.batch_at(Tokens(), 1, state.cursor, settings.batch_size, CONTEXT)
        mine = tokens_of(rows_of(whole, ranks), state.model.config, ranks)
        gave = gradients(state, settings, mine, counts_of(whole), objective.loss, ranks)
        apply_gradients(state, settings, gave)
        found["losses"].append(gave.loss.item())
        found["norms"].append(gave.norm.item())
    found["held"] = sum(held(p).numel() for p in state.model.parameters())
    found["hash"] = state.final_hash()
    found["draws"] = rng_state()["torch"]
    with whole_model(state.model) as model, torch.no_grad():
        found["evaluation"] = objective.loss(model, whole, counts_of(whole)).item()
        found["parameters"] = sum(p.numel() for p in model.parameters())
        if config.kind == "causal":
            found["text"] = [step.id for step in generate(model, [1, 2], max_new_tokens=8, seed=3)]
    leave(ranks)
    return found


def walk_all(names, layout):
    """Several cases in one world."""
    return {name: walk(CASES[name], layout) for name in names}


def held(parameter):
    """What of it is in this process."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def names_of_roles(model):
    names = {id(p): name for name, p in model.named_parameters()}
    return [[names[id(p)] for p in role] for role in roles(model)]


NANOCHAT = {"n_heads": 2}
CASES = {
    "nanochat, muon": case("nanochat", model=NANOCHAT, learning_rate=0.02),
    "nanochat, adamw": case("nanochat", model=NANOCHAT, optimizer="adamw"),
    "llama": case("llama", optimizer="adamw", model={"tie_embeddings": False}),
    "llama, tied": case("llama", model={"tie_embeddings": True}),
    "bert": case("bert", "masked", optimizer="adamw"),
    "t5": case("t5", "span_corruption", objective={"n_sentinels": 20}),
    "micro-batches": case("llama", batch_size=8, micro_batch_size=2),
    "five rows": case("llama", batch_size=5, micro_batch_size=5, optimizer="adamw"),
    "sgd": case("llama", optimizer="sgd", learning_rate=0.1, nesterov=True, ema_decay=0.9, l1=1e-4),
    "adafactor": case("llama", optimizer="adafactor", learning_rate=0.05, clip="adaptive"),
    "bf16": case("llama", precision="bf16"),
    "fp8": case("llama", precision="fp8", micro_batch_size=2),
    "gpt2": case("gpt2"),
    "gpt-j": case("gpt-j"),
    "gpt-neox": case("gpt-neox", optimizer="adamw"),
    "mixtral": case("mixtral", model={"n_experts": 4, "n_experts_per_token": 2}),
    "albert, pairs": case("albert", "masked", objective={"sentence": "order"}),
    "electra": case("electra", "replaced_token"),
    "xlnet": case("xlnet", "permutation"),
    "bart": case("bart", "denoising"),
    "ul2": case("ul2", "ul2", objective={"n_sentinels": 20}),
    "opt": case("opt"),
    "olmo2": case("olmo2"),  # norms of queries and keys over all heads
    "palm": case("palm", model={"n_kv_heads": 1}),  # one head of keys for all
    "bloom": case("bloom"),
    "qwen3": case("qwen3", model={"n_kv_heads": 2}),
    "roberta": case("roberta", "masked", optimizer="adamw"),
    "penalties": case("gpt2", l1=1e-3, l2=0.1, ema_decay=0.9),
}
LAYOUTS = {
    "2 shards": (2, {}),
    "2 replicas": (2, {"dp_replicate": 2}),
    "4 shards": (4, {"dp_shard": 4}),
    "2 replicas of 2 shards": (4, {"dp_replicate": 2, "dp_shard": 2}),
    "zero 1": (2, {"zero": 1}),
    "zero 2": (2, {"zero": 2}),
    "tp": (2, {"tp": 2}),
    "tp and sp": (2, {"tp": 2, "sp": True}),
    "cp": (2, {"cp": 2}),
    "tp, sp and 2 shards": (4, {"tp": 2, "sp": True, "dp_shard": 2}),
    "tp and cp": (4, {"tp": 2, "cp": 2}),
}

FAST = {
    "2 shards": ["nanochat, muon", "llama", "bert", "t5", "micro-batches", "five rows"],
    "2 replicas": ["llama, tied"],
    "2 replicas of 2 shards": ["nanochat, adamw"],
    "zero 1": ["micro-batches"],
    "zero 2": ["micro-batches"],
    "tp": ["olmo2", "palm", "penalties"],
    "tp and sp": ["llama, tied", "bert", "t5", "mixtral"],
    "cp": ["nanochat, muon", "bloom", "roberta"],
    "tp, sp and 2 shards": ["nanochat, muon", "qwen3"],
}

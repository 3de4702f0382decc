"""Training that begins with weights of others, or of a run of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional

from groundup.architecture.families import build
from groundup.errors import InputError
from groundup.track.run import read_lines
from groundup.train.initial import source_model
from groundup.train.objective import CAUSAL
from groundup.train.pretrain import pretrain
from groundup.train.start import new_state
from tests.train.small import MODEL, SETTINGS, Tokens, job

VOCABULARY, CONTEXT = 64, SETTINGS.context_length


def of_others(kind: str, folder: Path) -> Any:
    """A model of theirs with random weights, saved as they save it."""
    torch.manual_seed(3)
    sizes = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    if kind == "gpt2":
        config: Any = transformers.GPT2Config(
            n_layer=2, n_embd=32, n_head=2, n_positions=CONTEXT, **sizes
        )
        model: Any = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            num_hidden_layers=2, hidden_size=32, intermediate_size=48, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=CONTEXT, **sizes,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_first_loss_is_that_of_the_model_begun_with(kind: str, tmp_path: Path) -> None:
    theirs = of_others(kind, tmp_path / "theirs")
    settings = replace(SETTINGS, steps=2, init_from=str(tmp_path / "theirs"))
    network = source_model(tmp_path / "theirs").config
    pretrain(tmp_path / "run", Tokens(), job(settings, network))
    lines = list(read_lines(tmp_path / "run" / "metrics.jsonl"))
    first = CAUSAL.batch_at(Tokens(), settings.seed, 0, settings.batch_size, CONTEXT)
    with torch.no_grad():
        logits = theirs(first.inputs).logits
    expected = functional.cross_entropy(logits.flatten(0, 1), first.targets.flatten())
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["loss"] == pytest.approx(expected.item(), abs=1e-5)
    assert lines[1]["loss"] != lines[0]["loss"]


def test_a_checkpoint_of_ones_own_gives_weights_and_nothing_else(tmp_path: Path) -> None:
    pretrain(tmp_path / "run", Tokens(), job(SETTINGS))
    last = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    state = new_state(MODEL, replace(SETTINGS, seed=8, init_from=str(last)))
    trained = source_model(last)
    for name, parameter in state.model.state_dict().items():
        assert torch.equal(parameter, trained.state_dict()[name]), name
    assert (state.step, state.cursor) == (0, 0)
    assert not any(optimizer.state for optimizer in state.optimizers)


def test_a_resumed_run_needs_the_first_model_for_nothing_but_its_name(tmp_path: Path) -> None:
    of_others("llama", tmp_path / "theirs")
    settings = replace(SETTINGS, steps=8, init_from=str(tmp_path / "theirs"))
    network = source_model(tmp_path / "theirs").config
    pretrain(tmp_path / "whole", Tokens(), job(settings, network))
    whole = list(read_lines(tmp_path / "whole" / "metrics.jsonl"))
    with pytest.raises(Exception, match="stopped after step 4"):
        pretrain(tmp_path / "cut", Tokens(), replace(job(settings, network), until=4))
    pretrain(tmp_path / "cut", Tokens(), job(settings, network))
    cut = list(read_lines(tmp_path / "cut" / "metrics.jsonl"))
    assert [line["loss"] for line in cut] == [line["loss"] for line in whole]


def test_another_shape_is_refused_and_the_parameters_are_named(tmp_path: Path) -> None:
    of_others("gpt2", tmp_path)
    wide = build(
        "gpt2", vocab_size=VOCABULARY, n_layers=2, d_model=64, context_length=CONTEXT, n_heads=2
    )
    with pytest.raises(InputError, match=r"embed.weight is \[64, 32\] in the source") as caught:
        new_state(wide, replace(SETTINGS, init_from=str(tmp_path)))
    assert caught.value.where == f"pretrain.init_from: {tmp_path}"


def test_what_the_model_has_not_is_said_and_stays_at_random(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_others("gpt2", tmp_path)
    network = source_model(tmp_path).config
    untied = replace(network, tie_embeddings=False, head_bias=True)
    state = new_state(untied, replace(SETTINGS, init_from=str(tmp_path)))
    assert "at random: head.bias" in capsys.readouterr().err
    assert not state.model.head.bias.any()

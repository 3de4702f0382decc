"""A model writes with the special tokens that it was trained with, wherever it is opened."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from groundup import api
from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.architecture.trained_for import trained_for
from groundup.artifacts import Store
from groundup.errors import InputError
from groundup.model import generate as drawing
from groundup.model.complete import Writer, make_writer
from groundup.model.convert import export_model
from groundup.model.generate import Step
from groundup.model.sampling import Sampling
from groundup.model.special import read_special
from groundup.model.transformer import Transformer
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import Tokenizer, load_tokenizer
from groundup.tokenizer.train import train_tokenizer
from groundup.train.checkpoint import save_checkpoint
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.noise.special import needed
from groundup.train.objective import objective_for
from groundup.train.retention import Retention
from groundup.train.special_ids import special_ids
from groundup.train.start import new_state
from tests.projects import here
from tests.train.small import SETTINGS
from tests.trained import TEXTS

SIZES: dict[str, Any] = {"n_layers": 1, "d_model": 32, "n_heads": 2, "context_length": 32}
CASES: dict[str, dict[str, Any]] = {
    "t5": {"kind": "span_corruption", "n_sentinels": 10},
    "bart": {"kind": "denoising"},
    "marian": {"kind": "span_corruption", "n_sentinels": 10},
    "ul2": {"kind": "ul2", "n_sentinels": 20},
    "nanochat": {"kind": "causal"},
}


def made(folder: Path, objective: ObjectiveConfig) -> Tokenizer:
    """A tokenizer among the artifacts of a project."""
    config = TokenizerConfig(vocab_size=300).with_special_tokens(needed(objective))

    def make(inside: Path) -> dict[str, Any]:
        train_tokenizer(TEXTS, config, inside)
        return {}

    store = Store(folder / "artifacts")
    artifact, _ = store.build("tokenizer", "t", version=1, config={}, inputs={}, make=make)
    return load_tokenizer(artifact.path)


def trained(folder: Path, family: str, objective: ObjectiveConfig, tokenizer: Tokenizer) -> Path:
    """A checkpoint of a run, of as many steps as it takes to write one: none."""
    config = trained_for(build(family, vocab_size=tokenizer.vocab_size, **SIZES), objective.kind)
    settings = dataclasses.replace(
        SETTINGS, context_length=32, optimizer="adamw", objective=objective.of_kind()
    )
    fingerprint = {
        "model": config.to_dict(),
        "settings": settings.to_dict(),
        "tokenizer": tokenizer.hash,
    }
    state = new_state(config, settings)
    save_checkpoint(folder / "runs/r/checkpoints", state, fingerprint, keep=Retention(1))
    (checkpoint,) = (folder / "runs/r/checkpoints").iterdir()
    return checkpoint


@pytest.mark.parametrize("family", CASES)
def test_exports_and_checkpoints_begin_and_end_as_they_were_trained(
    family: str, tmp_path: Path
) -> None:
    objective = ObjectiveConfig(**CASES[family])
    tokenizer = made(tmp_path, objective)
    checkpoint, out = trained(tmp_path, family, objective, tokenizer), tmp_path / "out"
    assert here("export", checkpoint, out).code == 0
    again = tmp_path / "again"
    assert here("export", out, again).code == 0
    special = objective_for(objective, tokenizer).special
    for folder in (checkpoint, out, again):
        writer = make_writer(api.load_model(folder), tokenizer, api.special_ids(folder))
        assert writer.stop_ids == (tokenizer.bos_id,)
        assert writer.end_id == tokenizer.bos_id
        if special is not None:
            assert writer.decoder_start == (special.decoder_start,)
    if special is not None:
        for name in ("config.json", "generation_config.json"):
            said = json.loads((out / name).read_text())
            assert said["eos_token_id"] == special.separator
            assert said["pad_token_id"] == special.pad
            assert said["decoder_start_token_id"] == special.decoder_start


def test_a_checkpoint_whose_tokenizer_is_lost_names_no_ids(tmp_path: Path) -> None:
    objective = ObjectiveConfig(**CASES["t5"])
    checkpoint = trained(tmp_path, "t5", objective, made(tmp_path, objective))
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")
    assert here("export", checkpoint, tmp_path / "out").code == 0
    said = json.loads((tmp_path / "out" / "config.json").read_text())
    assert said["decoder_start_token_id"] is said["eos_token_id"] is None  # not the published ones


def writer_of(family: str, folder: Path, **objective: Any) -> tuple[Writer, Tokenizer]:
    config = ObjectiveConfig(**objective)
    tokenizer = made(folder, config)
    network = trained_for(build(family, vocab_size=tokenizer.vocab_size, **SIZES), config.kind)
    special = special_ids(network, config, tokenizer)
    return make_writer(Transformer(network).eval(), tokenizer, special), tokenizer


def test_marks_to_fill_the_middle_are_tokens_of_the_prompt(tmp_path: Path) -> None:
    writer, tokenizer = writer_of("nanochat", tmp_path, kind="infill")
    ids = tokenizer.special_ids
    assert writer.prompt_ids("<fim_prefix>a<fim_suffix>b<fim_middle>") == [
        0, ids["<fim_prefix>"], *tokenizer.encode("a"), ids["<fim_suffix>"],
        *tokenizer.encode("b"), ids["<fim_middle>"],
    ]  # fmt: skip
    separator = writer.prompt_ids("a<|endoftext|><fim_middle>")
    assert separator.count(0) == 1  # its letters are letters
    assert tokenizer.spell(separator) == "<|endoftext|>a<|endoftext|><fim_middle>"


def test_a_prefix_decoder_that_fills_in_reads_the_end_of_its_prompt(tmp_path: Path) -> None:
    objective = {"kind": "ul2", "layout": "prefix", "n_sentinels": 20}
    writer, tokenizer = writer_of("llama", tmp_path / "ul2", **objective)
    ids = writer.prompt_ids("[R]a<extra_id_0>")
    names = tokenizer.special_ids
    assert ids == [0, names["[R]"], *tokenizer.encode("a"), names["<extra_id_0>"], 0]
    writer, tokenizer = writer_of("llama", tmp_path / "prefix", kind="prefix")
    assert writer.prompt_ids("a") == [0, *tokenizer.encode("a")]


def test_a_completion_shows_sentinels_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, tokenizer = writer_of("t5", tmp_path, kind="span_corruption", n_sentinels=10)
    said = "<extra_id_0>é x<extra_id_1>b"
    ids = tokenizer.encode_prompt(said)
    assert tokenizer.decode(ids) == "é xb"

    def write(*given: Any) -> Iterator[Step]:
        return (Step(0, id, -0.5, "length" if id == ids[-1] else None) for id in ids)

    monkeypatch.setattr(drawing, "_write", write)
    ((one,),) = writer.complete(["a"], Sampling(), max_new_tokens=9)
    assert (one.text, one.ids) == (said, ids)
    assert "".join(writer.stream("a", Sampling(), max_new_tokens=9)) == said
    stop = ["<extra_id_1>"]
    ((one,),) = writer.complete(["a"], Sampling(), max_new_tokens=9, stop=stop)
    assert (one.text, one.ids[-1]) == ("<extra_id_0>é x", tokenizer.encode("x")[0])
    streamed = writer.stream("a", Sampling(), max_new_tokens=9, stop=stop)
    assert "".join(streamed) == "<extra_id_0>é x"


def test_answers_of_bart_do_not_end_where_they_begin(tmp_path: Path) -> None:
    writer, tokenizer = writer_of("bart", tmp_path, kind="denoising")
    published = {"eos_token_id": 2, "decoder_start_token_id": 2, "bos_token_id": 0}
    assert make_writer(writer.model, tokenizer, published).stop_ids == (2,)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "[1]", "a list, not an object"),
        ("generation_config.json", '"x"', "a str, not an object"),
        ("config.json", '{"eos_token_id": "x"}', "eos_token_id is 'x'"),
        ("config.json", '{"decoder_start_token_id": [1]}', "no token id"),
        ("generation_config.json", '{"eos_token_id": [1, true]}', "no token id"),
    ],
)
def test_what_names_no_ids_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_special(tmp_path)


def test_a_model_without_its_tokenizer_is_not_told_to_train_one(tmp_path: Path) -> None:
    config: ModelConfig = build("llama", vocab_size=64, **SIZES)
    export_model(Transformer(config), tmp_path)
    done = here("generate", "a", "--model", tmp_path)
    assert done.code == 2
    assert "copy the model's own tokenizer.json" in done.err
    assert "tokenizer train" not in done.err

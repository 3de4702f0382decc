"""What the section `pretrain` names elsewhere: the first model must fit section and tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from groundup.errors import ConfigError, InputError
from groundup.files import hash_file
from groundup.model.config import ModelSection
from groundup.project import Project
from groundup.stages_data import taken_tokenizer
from groundup.stages_named import (
    first_network,
    hash_weights,
    of_content,
    pretrain_section,
    require_its_tokenizer,
)
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import load_tokenizer
from groundup.tokenizer.train import train_tokenizer
from groundup.train.config import PretrainConfig, Settings
from tests.projects import PROJECT_FILE, artifact, here, run_record, small_project
from tests.train.small import SETTINGS
from tests.trained import TEXTS, add_export, add_tokenizer

VOCABULARY = 300


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of theirs: 2 layers × 32, 16 places, with a tokenizer of 280 ids beside it."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_layer=2, n_embd=32, n_head=4, n_positions=16,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    train_tokenizer(TEXTS, TokenizerConfig(vocab_size=280), folder)
    return folder


def project(folder: Path, source: Path, **model: Any) -> Project:
    return Project(
        folder=folder, model=ModelSection(**model), pretrain=PretrainConfig(init_from=str(source))
    )


def test_what_the_section_leaves_out_is_taken_from_the_model(gpt2: Path, tmp_path: Path) -> None:
    network = first_network(project(tmp_path, gpt2, context_length=16), gpt2)
    assert (network.n_layers, network.d_model, network.vocab_size) == (2, 32, VOCABULARY)
    assert (network.attention.n_heads, network.feed_forward.d_ff) == (4, 128)
    assert network.positions.kind == "learned"
    said = project(tmp_path, gpt2, family="gpt2", n_layers=2, d_model=32, context_length=16)
    assert first_network(said, gpt2) == network


def test_what_the_section_says_otherwise_is_named(gpt2: Path, tmp_path: Path) -> None:
    wrong = project(tmp_path, gpt2, family="gpt2", n_layers=3, d_model=32, context_length=16)
    with pytest.raises(ConfigError) as caught:
        first_network(wrong, gpt2)
    assert caught.value.problems == ("n_layers is 2 there, and the section makes it 3",)
    with pytest.raises(ConfigError) as caught:
        first_network(project(tmp_path, gpt2, context_length=8, init="gpt2"), gpt2)
    assert caught.value.problems == (
        "init says how weights begin, and these are trained",
        "context_length is 16 there, one learned place for each, and the section has 8",
    )
    other = project(tmp_path, gpt2, family="llama", n_layers=2, d_model=32, context_length=16)
    with pytest.raises(ConfigError) as caught:
        first_network(other, gpt2)
    assert any(text.startswith("positions.kind is learned") for text in caught.value.problems)


def test_a_model_whose_places_are_counted_may_have_another_context(tmp_path: Path) -> None:
    tokenizer, _ = add_tokenizer(tmp_path)
    export, _ = add_export(tmp_path, tokenizer)  # a nanochat of 16 places
    assert first_network(project(tmp_path, export, context_length=24), export).context_length == 24


def test_only_the_models_own_tokenizer_goes_with_it(gpt2: Path, tmp_path: Path) -> None:
    same = tmp_path / "same"
    shutil.copytree(gpt2, same)
    require_its_tokenizer(gpt2, same, VOCABULARY)
    other = tmp_path / "other"
    train_tokenizer(TEXTS[1:], TokenizerConfig(vocab_size=270), other)
    with pytest.raises(InputError, match="its ids stand for other text") as caught:
        require_its_tokenizer(gpt2, other, VOCABULARY)
    assert caught.value.fix == f"write `taken_from: {gpt2}` in the section tokenizer"
    bare = tmp_path / "bare"
    shutil.copytree(gpt2, bare, ignore=shutil.ignore_patterns("tokenizer*"))
    require_its_tokenizer(bare, same, 280)
    with pytest.raises(InputError, match=r"has 280 ids, and the model .* has 279 embeddings"):
        require_its_tokenizer(bare, same, 279)


def test_a_run_is_named_after_the_weights_and_not_after_their_place(
    gpt2: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(gpt2, moved)
    assert hash_weights(moved) == hash_weights(gpt2)

    def named(folder: Path) -> Any:
        return of_content(Settings(**{**SETTINGS.to_dict(), "init_from": str(folder)}).to_dict())

    assert named(moved) == named(gpt2)
    with (moved / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    assert named(moved) != named(gpt2)


def test_a_path_begins_in_the_project_and_must_lead_to_a_model(gpt2: Path, tmp_path: Path) -> None:
    shutil.copytree(gpt2, tmp_path / "theirs")
    section = pretrain_section(project(tmp_path, Path("theirs")))
    assert section.init_from == str((tmp_path / "theirs").resolve())
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        with pytest.raises(InputError) as caught:
            pretrain_section(project(tmp_path, Path(name)))
        assert str(caught.value.where).startswith("pretrain.init_from: ")


def test_a_tokenizer_is_taken_as_it_is(gpt2: Path, tmp_path: Path) -> None:
    made: dict[str, Any] = {}

    class Store:
        def build(self, kind: str, *, config: Any, make: Any) -> Any:
            folder = tmp_path / "made"
            folder.mkdir()
            made.update(config=config, measured=make(folder))
            return folder, True

    work: Any = Store()
    folder, _ = taken_tokenizer(work, gpt2)
    assert hash_file(folder / "tokenizer.json") == hash_file(gpt2 / "tokenizer.json")  # type: ignore[operator]
    assert load_tokenizer(folder).vocab_size == 280  # type: ignore[arg-type]
    assert made["measured"] == {"vocab_size": 280}
    assert set(made["config"]["taken_from"]) == {"tokenizer.json", "tokenizer_config.json"}
    with pytest.raises(ValueError, match="vocab_size changes nothing: taken_from says it all"):
        TokenizerConfig(taken_from="a", vocab_size=300)


@pytest.mark.slow
def test_training_goes_on_from_a_model_of_others_and_then_from_ones_own(
    gpt2: Path, tmp_path: Path
) -> None:
    """Continued pre-training: theirs → a run → its export → a second run; and what must not be."""
    folder = tmp_path / "small"
    text = PROJECT_FILE.replace("  n_layers: 1\n  d_model: 32\n  context_length: 64\n",
                                "  context_length: 16\n")  # fmt: skip
    text = text.replace("  vocab_size: 400\n", f"  taken_from: {gpt2}\n")
    small_project(folder, text=text.replace("  steps: 12\n", f"  init_from: {gpt2}\n  steps: 3\n"))
    done = here("run", folder)
    assert done.code == 0, done.err
    assert f"begins with 36 of 36 parameters of {gpt2}\n" in done.err
    model = run_record(folder)["config"]["model"]
    assert (model["family"], model["vocab_size"], model["n_layers"]) == ("gpt2", VOCABULARY, 2)
    export = artifact(folder, "export")
    theirs: Any = transformers.AutoModelForCausalLM
    assert theirs.from_pretrained(export).config.n_positions == 16
    assert here("run", folder, "--json").json["built"] == []

    again = here("pretrain", "--project", folder, "pretrain.init_from=.", "--json").json
    assert again["built"] == ["plan", "pretrain"]
    record = again["result"]
    assert record["config"]["settings"]["init_from"] == str(export)
    assert record["fingerprint"]["settings"]["init_from"] == hash_weights(export)

    other = here("pretrain", "--project", folder, "tokenizer={vocab_size: 290}")
    assert (other.code, "its ids stand for other text" in other.err) == (2, True)
    resized = here("pretrain", "--project", folder, "model.family=gpt2", "model.n_layers=3",
                   "model.d_model=32")  # fmt: skip
    assert (resized.code, "n_layers is 2 there" in resized.err) == (2, True)
    gone = here("pretrain", "--project", folder, "pretrain.init_from=nowhere")
    assert (gone.code, "pretrain.init_from" in gone.err) == (2, True)

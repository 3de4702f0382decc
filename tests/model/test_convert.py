"""The same logits as `transformers` in both directions, and what is refused on the way in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, safe_open, save_file
from torch import Tensor

from groundup.architecture.families import build
from groundup.errors import InputError
from groundup.model.convert import export_model, load_exported
from groundup.model.generate import generate
from groundup.model.transformer import Transformer
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import load_tokenizer
from groundup.tokenizer.train import train_tokenizer

SIZES = {"vocab_size": 70, "n_layers": 3, "d_model": 48, "context_length": 32, "n_heads": 6}
CASES: dict[str, dict[str, Any]] = {
    "nanochat": {"family": "nanochat"},
    "nanochat, shared heads": {"family": "nanochat", "n_kv_heads": 3},
    "llama": {"family": "llama"},
    "llama, shared heads": {"family": "llama", "n_kv_heads": 2, "d_ff": 100},
    "gpt2": {"family": "gpt2", "d_ff": 80},
}


def random_model(case: str) -> Transformer:
    model = Transformer(build(**SIZES | CASES[case]))
    randomise(model)
    return model


def randomise(model: torch.nn.Module) -> None:
    """Random in every weight and bias, so that none can be swapped or lost unseen."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)


def theirs(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def ids(n_tokens: int = 32) -> Tensor:
    return torch.randint(0, 70, (2, n_tokens), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("case", CASES)
def test_an_export_opens_in_transformers_with_the_same_logits(case: str, tmp_path: Path) -> None:
    model = random_model(case)
    export_model(model, tmp_path, metadata={"run": "r1"})
    with torch.no_grad():
        torch.testing.assert_close(
            model(ids()), theirs(tmp_path)(ids()).logits, rtol=1e-5, atol=1e-5
        )
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}  # transformers asks for it
    assert json.loads((tmp_path / "config.json").read_text())["run"] == "r1"


@pytest.mark.parametrize("case", CASES)
def test_an_export_comes_back_bit_for_bit(case: str, tmp_path: Path) -> None:
    model = random_model(case)
    export_model(model, tmp_path)
    back = load_exported(tmp_path)
    assert back.config == model.config
    weights = dict(back.named_parameters())
    assert all(torch.equal(w, weights[name]) for name, w in model.named_parameters())


@pytest.mark.parametrize("case", CASES)
def test_greedy_text_is_that_of_transformers(case: str, tmp_path: Path) -> None:
    model = random_model(case)
    export_model(model, tmp_path)
    prompt = ids(6)[:1]
    wanted = theirs(tmp_path).generate(
        prompt, max_new_tokens=26, do_sample=False, repetition_penalty=1.3, eos_token_id=[]
    )
    found = generate(
        model, prompt[0].tolist(), max_new_tokens=26, temperature=0, repetition_penalty=1.3
    )
    assert list(found) == wanted[0, 6:].tolist()


@pytest.mark.parametrize(
    ("temperature", "written"),
    [
        (0.7, {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0}),
        (0.0, {"do_sample": False}),
    ],
)
def test_transformers_draws_as_the_project_does(
    temperature: float, written: dict[str, Any], tmp_path: Path
) -> None:
    sampling = {"temperature": temperature, "top_p": 0.9, "repetition_penalty": 1.2}
    export_model(random_model("llama"), tmp_path, sampling=sampling)
    found = transformers.GenerationConfig.from_pretrained(tmp_path, local_files_only=True)
    for key, value in {**written, "repetition_penalty": 1.2, "eos_token_id": 0}.items():
        assert getattr(found, key) == value, key
    model = theirs(tmp_path)
    prompt = ids(6)[:1]
    drawn = set()
    for seed in range(6):
        torch.manual_seed(seed)
        text = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8)
        drawn.add(tuple(text[0].tolist()))
    assert (len(drawn) > 1) == (temperature > 0)


SHARED = {
    "vocab_size": 70,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 90,
    "max_position_embeddings": 32,
}
THEIR_CONFIGS: dict[str, Any] = {
    "nanochat": lambda: transformers.NanoChatConfig(**SHARED, final_logit_softcapping=7.0),
    "nanochat without cap": lambda: transformers.NanoChatConfig(
        **SHARED, final_logit_softcapping=None
    ),
    "llama": lambda: transformers.LlamaConfig(
        **SHARED,
        num_key_value_heads=2,
        head_dim=16,
        rms_norm_eps=1e-4,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    ),
    "llama tied": lambda: transformers.LlamaConfig(**SHARED, tie_word_embeddings=True),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=70, n_embd=48, n_layer=2, n_head=4, n_positions=32, layer_norm_epsilon=1e-3
    ),
}


def their_model(name: str, folder: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_config(THEIR_CONFIGS[name]()).eval()
    randomise(model)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", THEIR_CONFIGS)
def test_a_model_of_transformers_has_the_same_logits_here(name: str, tmp_path: Path) -> None:
    model = their_model(name, tmp_path)
    with torch.no_grad():
        found, wanted = load_exported(tmp_path)(ids()), model(ids()).logits
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_first_gpt2_files_without_prefix_and_with_masks_load(tmp_path: Path) -> None:
    model = random_model("gpt2")
    export_model(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    old = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    old["h.0.attn.bias"] = torch.ones(1, 1, 32, 32).tril()
    save_file(old, tmp_path / "model.safetensors")
    torch.testing.assert_close(load_exported(tmp_path)(ids()), model(ids()))


def test_the_tokenizer_travels_with_the_weights(tmp_path: Path) -> None:
    source = tmp_path / "tokenizer"
    source.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (source / name).write_text(json.dumps({"name": name}))
    export_model(random_model("llama"), tmp_path / "out", source)
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text())["name"] == "tokenizer.json"
    settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert settings == {"name": "tokenizer_config.json", "model_max_length": 32}
    special = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (special["bos_token_id"], special["eos_token_id"]) == (0, 0)


@pytest.mark.parametrize("family", ["nanochat", "llama", "gpt2"])
def test_text_goes_from_an_export_to_the_same_logits_in_transformers(
    family: str, tmp_path: Path
) -> None:
    text = "def read(path):\n    return open(path).read()  # <|endoftext|>\n"
    train_tokenizer([text] * 3, TokenizerConfig(vocab_size=270), tmp_path / "tokenizer")
    model = Transformer(
        build(**SIZES | {"family": family, "vocab_size": 270, "context_length": 80})
    )
    randomise(model)
    export_model(model, tmp_path / "out", tmp_path / "tokenizer")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.model_max_length == 80
    encoded = tokenizer(text, return_tensors="pt")["input_ids"]
    ours = load_tokenizer(tmp_path / "out")
    assert encoded.tolist() == [[ours.bos_id, *ours.encode(text)]]
    with torch.no_grad():
        wanted = theirs(tmp_path / "out")(encoded).logits
        found = load_exported(tmp_path / "out")(encoded)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_loaded_weights_are_trainable_tied_and_of_no_file(tmp_path: Path) -> None:
    export_model(random_model("gpt2"), tmp_path)
    model = load_exported(tmp_path)
    assert model.head.weight is model.embed.weight
    assert all(w.requires_grad and w.is_contiguous() and not w.is_meta for w in model.parameters())
    assert all(not table.is_meta for table in model.buffers())


def change_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def change_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


HEAD = "lm_head.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: change_tensors(f, lambda t: t.pop(HEAD)), "missing tensor lm_head.weight"),
        (
            lambda f: change_tensors(f, lambda t: t.update(extra=torch.ones(2))),
            "unknown tensor extra",
        ),
        (
            lambda f: change_tensors(f, lambda t: t.update({HEAD: torch.ones(70, 47)})),
            r"lm_head.weight has shape \[70, 47\], not \[70, 48\]",
        ),
        (lambda f: (f / "config.json").unlink(), "file not found"),
        (lambda f: (f / "config.json").write_text("[]"), "type None cannot be loaded"),
        (lambda f: change_config(f, model_type="mamba"), "type 'mamba' cannot be loaded"),
        (lambda f: change_config(f, num_hidden_layers=4), "missing tensor model.layers.3"),
        (
            lambda f: change_config(f, num_hidden_layers="x"),
            "num_hidden_layers is 'x', not a whole",
        ),
        (lambda f: change_config(f, num_attention_heads="x"), "num_attention_heads is 'x'"),
        (lambda f: change_config(f, num_hidden_layers=10**12), "cannot make 1000000000000 layers"),
        (lambda f: change_config(f, vocab_size=10**12), r"not \[1000000000000, 48\]"),
        (lambda f: change_config(f, vocab_size=10**30), "larger than any memory"),
        (lambda f: change_config(f, max_position_embeddings=10**12), "max_position_embeddings is"),
        (lambda f: change_config(f, rms_norm_eps=float("nan")), "rms_norm_eps is nan"),
        (lambda f: change_config(f, rms_norm_eps="1e-5"), "rms_norm_eps is '1e-5'"),
        (lambda f: change_config(f, rope_parameters={"rope_theta": "x"}), "rope_theta is 'x'"),
        (lambda f: change_config(f, rope_parameters={"rope_theta": -1.0}), "rope_theta is -1.0"),
        (lambda f: change_config(f, tie_word_embeddings="no"), "tie_word_embeddings is 'no'"),
        (lambda f: change_config(f, hidden_size=None), "not the config of a llama"),
        (lambda f: change_config(f, attention_bias=True), "attention_bias: True"),
        (lambda f: change_config(f, hidden_act="gelu"), "hidden_act: gelu"),
        (
            lambda f: change_config(f, rope_parameters={"rope_type": "yarn", "factor": 4}),
            "rope_type: yarn",
        ),
        (lambda f: change_config(f, rope_parameters="yarn"), "rope_parameters is 'yarn'"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 100), "not a safetensors file"),
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors here"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "pytorch_model.bin is a pickle, which can run code",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_named(damage: Any, message: str, tmp_path: Path) -> None:
    export_model(random_model("llama"), tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        load_exported(tmp_path)

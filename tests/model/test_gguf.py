"""GGUF files, read back by the package ``gguf`` and by `transformers`; llama.cpp is not at hand."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groundup.architecture.families import build
from groundup.errors import InputError
from groundup.model.gguf import write_gguf
from groundup.model.quantise import Quantisation
from groundup.model.quantised import quantise_model
from groundup.model.transformer import Transformer
from tests.model.parity import TOLERANCE, difference, ids, randomise

gguf = pytest.importorskip("gguf")
SIZES: dict[str, Any] = {"vocab_size": 80, "n_layers": 2, "d_model": 64, "context_length": 16}
# family, what is added to its sizes, its name in GGUF
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {"n_heads": 4, "n_kv_heads": 2}, "llama"),
    ("llama", {"n_heads": 4, "tie_embeddings": True, "window": 16}, "llama"),
    ("qwen2", {"n_heads": 4, "n_kv_heads": 2}, "qwen2"),
    ("qwen3", {"n_heads": 2, "n_kv_heads": 1, "head_dim": 128}, "qwen3"),
    ("gpt2", {"n_heads": 4}, "gpt2"),
    ("bloom", {"n_heads": 4}, "bloom"),
    ("t5-v1.1", {"n_heads": 4}, "t5"),
    ("mt5", {"n_heads": 4}, "t5"),
    ("gpt-neox", {"n_heads": 4}, "gptneox"),
    ("mpt", {"n_heads": 4}, "mpt"),
    ("olmo", {"n_heads": 4}, "olmo"),
    ("olmo2", {"n_heads": 4}, "olmo2"),
    ("llama", {"n_heads": 4, "n_experts": 3, "n_experts_per_token": 2}, "llama"),
]
AS_QWEN3 = {"n_heads": 2, "head_dim": 128, "activation": "swiglu", "logit_softcap": None}
READ_BY_TRANSFORMERS = [*CASES[:7], ("nanochat", AS_QWEN3, "qwen3")]


def made(family: str, more: dict[str, Any]) -> Transformer:
    model = Transformer(build(family, **SIZES, **more)).eval()
    randomise(model, 0.1)
    return model


def read(file: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Keys, and tensors as they were before ggml turned their shapes around."""
    found = gguf.GGUFReader(file)
    tensors = {one.name: gguf.quants.dequantize(one.data, one.tensor_type) for one in found.tensors}
    return {key: field.contents() for key, field in found.fields.items()}, tensors


@pytest.mark.parametrize(("family", "more", "name"), CASES)
def test_the_file_has_the_tensors_of_the_architecture_and_no_others(
    family: str, more: dict[str, Any], name: str, tmp_path: Path
) -> None:
    model = made(family, more)
    assert write_gguf(model, tmp_path / "model.gguf", dtype="f32").architecture == name
    keys, tensors = read(tmp_path / "model.gguf")
    assert keys["general.architecture"] == name
    architecture = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == name)
    known = {
        gguf.TENSOR_NAMES[kind].replace("{bid}", str(layer))
        for kind in gguf.MODEL_TENSORS[architecture]
        for layer in range(2)
    }
    assert {key.rsplit(".", 1)[0] for key in tensors} <= known
    # Every number of the model is in the file once, whatever the order.
    ours = np.sort(np.concatenate([w.detach().numpy().ravel() for w in model.parameters()]))
    theirs = np.sort(np.concatenate([tensor.ravel() for tensor in tensors.values()]))
    assert np.array_equal(ours, theirs)
    assert keys[f"{name}.block_count"] == 2
    assert keys[f"{name}.embedding_length"] == 64
    assert keys[f"{name}.attention.head_count"] == model.config.attention.n_heads


@pytest.mark.parametrize(("family", "more", "name"), READ_BY_TRANSFORMERS)
def test_transformers_computes_the_same_logits_from_the_file(
    family: str, more: dict[str, Any], name: str, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    model = made(family, more)
    write_gguf(model, tmp_path / "model.gguf", dtype="f32")
    other = read_by_transformers(tmp_path)
    inputs = {"input_ids": ids(12)} | ({"decoder_input_ids": ids(7)} if name == "t5" else {})
    with torch.no_grad():
        assert difference(model(**inputs), other(**inputs).logits) <= TOLERANCE


def read_by_transformers(folder: Path) -> Any:
    """The model in model.gguf by their reader, without the package that from_pretrained wants."""
    import transformers
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = transformers.AutoConfig.from_pretrained(folder, gguf_file="model.gguf")
    is_t5 = config.model_type == "t5"
    if config.model_type == "gpt2":  # their reader leaves these at GPT-2's
        config.vocab_size, config.n_positions = SIZES["vocab_size"], SIZES["context_length"]
    if is_t5:  # their reader takes no activation, and logits as a tied head has them
        config.dense_act_fn, config.is_gated_act = "gelu_new", True
        config.tie_word_embeddings = config.scale_decoder_outputs = False
    kind = transformers.AutoModelForSeq2SeqLM if is_t5 else transformers.AutoModelForCausalLM
    model = kind.from_config(config).eval()
    file = str(folder / "model.gguf")
    found = load_gguf_checkpoint(file, return_tensors=True, model_to_load=model)["tensors"]
    said = model.load_state_dict(found, strict=False)
    assert not said.unexpected_keys
    model.tie_weights()
    if is_t5:
        model.set_input_embeddings(model.shared)
    shared = {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    assert set(said.missing_keys) <= shared, said.missing_keys
    return model


def test_queries_and_keys_of_llama_turn_as_neighbours(tmp_path: Path) -> None:
    """By the definition of the rotation: pair (i, i + E/2) of a head becomes (2i, 2i + 1)."""
    model = made("llama", {"n_heads": 4, "n_kv_heads": 2})
    write_gguf(model, tmp_path / "model.gguf", dtype="f32")
    _, tensors = read(tmp_path / "model.gguf")
    for part, n_heads in (("q", 4), ("k", 2)):
        weight = dict(model.named_parameters())[f"blocks.1.attention.{part}.weight"].detach()
        theirs = torch.tensor(tensors[f"blk.1.attn_{part}.weight"]).view(n_heads, 16, 64)
        ours = weight.view(n_heads, 16, 64)
        for pair in range(8):
            assert torch.equal(theirs[:, 2 * pair], ours[:, pair])
            assert torch.equal(theirs[:, 2 * pair + 1], ours[:, pair + 8])


def test_small_types_are_near_and_say_where_they_are_wider(tmp_path: Path) -> None:
    model = made("llama", {"n_heads": 4, "d_ff": 80})
    weight = dict(model.named_parameters())["blocks.0.attention.v.weight"].detach()
    down = "blk.0.ffn_down.weight"  # 80 columns, which 32 does not divide
    sizes = {}
    for dtype, most in (("f32", 0.0), ("f16", 2**-11), ("q8_0", 1 / 254)):
        file = tmp_path / f"{dtype}.gguf"
        made_ = write_gguf(model, file, dtype=dtype)
        assert made_.n_wider == (2 if dtype == "q8_0" else 0)
        found = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
        assert found[down].tensor_type.name == {"f32": "F32"}.get(dtype, "F16")
        assert found["blk.0.attn_norm.weight"].tensor_type.name == "F32"
        one = found["blk.0.attn_v.weight"]
        again = torch.tensor(gguf.quants.dequantize(one.data, one.tensor_type))
        # q8_0 has blocks of 32 with a scale of 1/127 of the largest, kept in float16
        assert (again - weight).abs().max() <= most * weight.abs().max() * (1 + 2**-8)
        sizes[dtype] = file.stat().st_size
    assert sizes["q8_0"] < sizes["f16"] < sizes["f32"]


def test_scaled_rotations_of_llama_3_are_written_as_divisors(tmp_path: Path) -> None:
    """Worked by hand from its published code: fast pairs stay, slow ones are 8 times slower."""
    values = build("llama", **SIZES, n_heads=2, rotary_base=500_000.0).to_dict()
    values["positions"] |= {
        "rotary_scaling": "llama3",
        "rotary_factor": 8.0,
        "rotary_original": 8192,
    }
    from groundup.architecture.config import ModelConfig

    model = Transformer(ModelConfig.from_dict(values)).eval()
    write_gguf(model, tmp_path / "model.gguf", dtype="f32")
    _, tensors = read(tmp_path / "model.gguf")
    wanted = []
    for pair in range(16):
        wavelength = 2 * np.pi * 500_000.0 ** (2 * pair / 32)
        if wavelength < 8192 / 4:
            wanted.append(1.0)
        elif wavelength > 8192 / 1:
            wanted.append(8.0)
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            wanted.append(1 / ((1 - smooth) / 8 + smooth))
    np.testing.assert_allclose(tensors["rope_freqs.weight"], wanted, rtol=1e-5)


def tokenizer_in(folder: Path, pattern: str | None) -> Any:
    """A byte-level BPE that cuts by GPT-2's rule (None) or another."""
    import tokenizers
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

    backend = tokenizers.Tokenizer(models.BPE())
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    backend.pre_tokenizer = (
        bytes_only
        if pattern is None
        else pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(pattern), behavior="isolated"), bytes_only]
        )
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(["the cat and the hat, the cats and the hats"] * 4, trainer)
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    return backend


def test_a_tokenizer_that_llama_cpp_knows_is_in_the_file(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    backend = tokenizer_in(tmp_path / "t", None)
    model = Transformer(build("llama", **(SIZES | {"vocab_size": 300})))
    special = {"eos_token_id": 0, "bos_token_id": None}
    out = write_gguf(model, tmp_path / "model.gguf", tmp_path / "t", special=special)
    assert (out.tokenizer, out.why) == ("gpt-2", "")
    keys, _ = read(tmp_path / "model.gguf")
    assert keys["tokenizer.ggml.model"] == "gpt2"
    assert keys["tokenizer.ggml.pre"] == "gpt-2"
    assert len(keys["tokenizer.ggml.tokens"]) == 300
    n_tokens = backend.get_vocab_size()
    for token, number in backend.get_vocab().items():
        assert keys["tokenizer.ggml.tokens"][number] == token
    kinds = keys["tokenizer.ggml.token_type"]
    assert kinds == [3] + [1] * (n_tokens - 1) + [5] * (300 - n_tokens)
    assert keys["tokenizer.ggml.merges"] == [
        " ".join(pair) for pair in json.loads(backend.to_str())["model"]["merges"]
    ]
    other = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    text = "the cats, and the hats  12"
    assert other(text, add_special_tokens=False)["input_ids"] == backend.encode(text).ids


def test_a_tokenizer_that_llama_cpp_does_not_know_is_left_out_and_said(tmp_path: Path) -> None:
    tokenizer_in(tmp_path / "t", r"\p{L}+|\P{L}")
    model = Transformer(build("llama", **(SIZES | {"vocab_size": 300})))
    out = write_gguf(model, tmp_path / "model.gguf", tmp_path / "t")
    assert out.tokenizer is None
    assert "knows no rule" in out.why
    keys, _ = read(tmp_path / "model.gguf")
    assert keys["tokenizer.ggml.model"] == "none"
    assert keys["llama.vocab_size"] == 300


@pytest.mark.parametrize(
    ("family", "more", "said"),
    [
        ("nanochat", {}, "no architecture that computes this nanochat"),
        ("gpt-j", {"n_heads": 2}, "no architecture"),
        ("opt", {}, "no architecture"),
        ("bert", {}, "no architecture"),
        ("palm", {}, "no architecture"),
        ("llama", {"window": 4}, "a window of 4 in a context of 16"),
        ("t5", {}, "relu|logits scaled"),
    ],
)
def test_what_gguf_cannot_hold_is_refused(
    family: str, more: dict[str, Any], said: str, tmp_path: Path
) -> None:
    model = Transformer(build(family, **SIZES, **more))
    with pytest.raises(InputError, match=said) as caught:
        write_gguf(model, tmp_path / "model.gguf")
    assert caught.value.fix
    assert not (tmp_path / "model.gguf").exists()


def test_other_wrong_requests_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer(build("llama", **SIZES))
    with pytest.raises(InputError, match="'q4_k'"):
        write_gguf(model, tmp_path / "model.gguf", dtype="q4_k")
    with torch.no_grad():
        model.blocks[0].feed_forward.up.weight[0, 0] = 1e6  # type: ignore[union-attr,index]
    with pytest.raises(InputError, match=r"blk\.0\.ffn_up\.weight holds 1e\+06"):
        write_gguf(model, tmp_path / "model.gguf", dtype="f16")
    small = Transformer(build("llama", **SIZES))
    quantise_model(small, Quantisation("int8"))
    with pytest.raises(InputError, match="quantised already"):
        write_gguf(small, tmp_path / "other.gguf")
    usual = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "gguf":
            raise ImportError(name)
        return usual(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="not installed") as caught:
        write_gguf(Transformer(build("llama", **SIZES)), tmp_path / "third.gguf")
    assert "groundup[gguf]" in (caught.value.fix or "")

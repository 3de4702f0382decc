from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from groundup.architecture.families import build
from tests.cli.command import Result, groundup

GIB = 2**30
MEMORY = ("plan", "memory", "--model")
# As the figures of Korthikanti et al. 2022 count: GPT-3's dropout, attention scores kept.
AS_IN_2022 = ("--no-flash", "--dropout", "--fp32-gradients", "--blocks-only")


def answer(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


@pytest.fixture
def model_22b(tmp_path: Path) -> Path:
    config = build("megatron", vocab_size=51200, n_layers=48, d_model=6144, context_length=2048,
                   n_heads=64)  # fmt: skip
    file = tmp_path / "22b.json"
    file.write_text(json.dumps(config.to_dict()))
    return file


@pytest.mark.parametrize(
    ("preset", "count"),
    [("bloom-176b", 176_247_271_424), ("llama-7b", 6_738_415_616), ("gpt2-124m", 124_439_808)],
)
def test_params_prints_the_exact_count(
    capsys: pytest.CaptureFixture[str], preset: str, count: int
) -> None:
    found = answer(groundup(capsys, "plan", "params", preset, "--json"))
    assert found["parameters"] == found["active"] == count
    assert f"{count:,}" in groundup(capsys, "plan", "params", preset).out


def test_params_of_a_mixture_says_what_a_token_reads(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(groundup(capsys, "plan", "params", "mixtral-8x7b", "--json"))
    assert found["active"] < found["parameters"] / 3
    assert "read for one token" in groundup(capsys, "plan", "params", "mixtral-8x7b").out


def test_params_parts_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    for preset in ("bert-base", "t5-11b"):
        found = answer(groundup(capsys, "plan", "params", preset, "--json"))
        parts = set(found) - {"model", "parameters", "active", "non_embedding"}
        assert sum(found[part] for part in parts) == found["parameters"]


def test_flops_names_every_convention(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("plan", "flops", "--model", "palm-540b", "--seq", "2048", "--tokens", "780B")
    found = answer(groundup(capsys, *asked, "--json"))
    by_id = {each["id"]: each for each in found["conventions"]}
    assert list(by_id) == [
        "6n", "exact-causal", "exact", "palm", "palm-causal", "hardware-selective",
        "korthikanti-selective", "hardware-full",
    ]  # fmt: skip
    assert by_id["palm"]["total"] == pytest.approx(2.56e24, rel=5e-3)  # PaLM's table
    assert "exact-causal" in groundup(capsys, *asked).out


@pytest.mark.parametrize(
    ("arguments", "states", "activations"),
    [
        (("--tp", 8, "--micro-batch", 4), 45.5625, 59.25),
        (("--tp", 8, "--micro-batch", 4, "--recompute", "selective", "--sequence-parallel"),
         45.5625, 9.5625),
    ],
    ids=["baseline", "present work"],
)  # fmt: skip
def test_memory_of_korthikantis_22b(
    capsys: pytest.CaptureFixture[str],
    model_22b: Path,
    arguments: tuple[object, ...],
    states: float,
    activations: float,
) -> None:
    found = answer(groundup(capsys, *MEMORY, model_22b, *arguments, *AS_IN_2022, "--json"))
    state = found["weights"] + found["gradients"] + found["optimizer"]
    assert state / GIB == pytest.approx(states, rel=1e-3)
    assert found["activations"] / GIB == pytest.approx(activations, rel=2e-3)
    assert found["bytes_per_parameter"] == 18


def test_memory_has_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    asked = (*MEMORY, "llama2-7b", "--dp", 8, "--zero", 3, "--seq", "4k", "--gpu", "a100-80gb")
    found = answer(groundup(capsys, *asked, "--json"))
    kinds = ["weights", "gradients", "optimizer", "activations", "logits", "buffers",
             "fragmentation"]  # fmt: skip
    assert found["total"] == sum(found[kind] for kind in kinds)
    assert found["bytes_per_parameter"] == 2
    assert found["fits"] is (found["used"] <= 0.9 * found["capacity"])
    assert groundup(capsys, *asked).out.count("fragmentation") == 1


def test_memory_names_of_options_have_long_forms(capsys: pytest.CaptureFixture[str]) -> None:
    short = groundup(capsys, *MEMORY, "gpt2-124m", "--micro-batch", 2, "--seq", 512, "--json")
    long = groundup(
        capsys, *MEMORY, "gpt2-124m", "--micro-batch-size", 2, "--context-length", 512, "--json"
    )
    assert answer(short) == answer(long)


def test_memory_says_whether_it_fits(capsys: pytest.CaptureFixture[str]) -> None:
    big = answer(groundup(capsys, *MEMORY, "gpt3-175b", "--capacity", "80GB", "--json"))
    small = answer(groundup(capsys, *MEMORY, "gpt2-124m", "--capacity", "80GB", "--json"))
    assert (big["fits"], small["fits"]) == (False, True)
    assert answer(groundup(capsys, *MEMORY, "gpt2-124m", "--json"))["fits"] is None


def test_memory_explains_what_a_block_keeps(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(groundup(capsys, *MEMORY, "llama-7b", "--terms", "--json"))
    kept = sum(term["bytes_per_token"] for term in found["terms"]) * 2048 * 32
    assert found["activations"] == kept
    assert "log-sum-exp" in groundup(capsys, *MEMORY, "llama-7b", "--terms").out


def test_selective_recomputation_under_flash_attention_is_remarked_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answer(groundup(capsys, *MEMORY, "llama-7b", "--recompute", "selective", "--json"))
    assert any("flash attention keeps no scores" in note for note in found["notes"])


def test_activations_of_published_tables_are_beside_ours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = (*MEMORY, "gpt3-175b", "--tp", 8, "--pp", 8)
    found = answer(groundup(capsys, *asked, "--json"))
    as_in_2022 = answer(groundup(capsys, *asked, "--no-flash", "--dropout", "--json"))
    beside = found["activations_without_flash_with_dropout"]
    assert beside == as_in_2022["activations"] > 1.5 * found["activations"]
    assert any("--no-flash --dropout" in note for note in found["notes"])
    assert not any("--no-flash" in note for note in as_in_2022["notes"])
    # the stage of the JSON is that of the text
    (line,) = [line for line in groundup(capsys, *asked).out.splitlines() if "fullest p" in line]
    assert line.split() == ["fullest", "pipeline", "stage,", "from", "0", str(found["stage"])]


def test_zero_of_one_replica_saves_nothing_and_costs_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = (*MEMORY, "llama-7b", "--json")
    plain, shared = (answer(groundup(capsys, *asked, "--zero", zero)) for zero in (0, 3))
    assert shared["total"] == plain["total"]
    assert any("saves nothing" in note for note in shared["notes"])


def test_memory_of_inference(capsys: pytest.CaptureFixture[str]) -> None:
    asked = (*MEMORY, "llama2-70b", "--inference", "--tp", 4, "--batch", 8, "--gpu", "a100-80gb")
    found = answer(groundup(capsys, *asked, "--json"))
    assert found["kv_bytes_per_token"] == 327_680 / 4
    assert found["kv_cache"] == 8 * 4096 * 327_680 / 4
    assert found["most_sequences"] > 8
    assert "sequences that fit" in groundup(capsys, *asked).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("llama-7bb",), "llama-7b"),
        (("no/such/file.json",), "no/such/file.json"),
        (("gpt3-175b", "--tp", 7), "96 heads do not divide over 7 tensor-parallel ranks"),
        (("gpt3-175b", "--pp", 7), "96 layers do not divide over 7 pipeline stages"),
        (("gpt3-175b", "--vpp", 2), "virtual_stages needs a pipeline"),
        (("gpt3-175b", "--tp", 0), "0 is not in the range"),
        (("gpt3-175b", "--micro-batch", -1), "-1 is not in the range"),
        (("gpt3-175b", "--zero", 4), "4 is not in the range"),
        (("gpt3-175b", "--seq", 0), "context-length is 0"),
        (("gpt3-175b", "--seq", "2.5"), "context-length is 2.5"),
        (("gpt3-175b", "--seq", "1e12"), "longer than any"),
        (("gpt3-175b", "--seq", "many"), "many"),
        (("gpt3-175b", "--cp", 3), "2048 tokens do not divide over 3 context-parallel ranks"),
        (("gpt3-175b", "--optimizer", "adamax"), "unknown optimizer 'adamax'"),
        (("gpt3-175b", "--precision", "bf8"), "unknown precision 'bf8'"),
        (("gpt3-175b", "--recompute", "some"), "'some' is not one of"),
        (("gpt3-175b", "--gpu", "h1000"), "h1000"),
        (("gpt3-175b", "--gpu", "h100", "--capacity", "80GB"), "give one"),
        (("gpt3-175b", "--capacity", 0), "capacity is 0"),
        (("gpt3-175b", "--sequence-parallel"), "tp is 1"),
        (("gpt3-175b", "--batch", 4), "--batch is for --inference"),
        (("gpt3-175b", "--inference", "--zero", 3), "--zero is not for --inference"),
        (("gpt3-175b", "--inference", "--weight-bits", 5), "not 5"),
    ],
)
def test_wrong_input_is_named(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], message: str
) -> None:
    result = groundup(capsys, *MEMORY, *arguments)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("params", "gpt5"), "gpt5"),
        (("flops", "--model", "gpt3-175b", "--tokens", "-3"), "-3"),
        (("flops", "--model", "gpt3-175b", "--tokens", "0"), "tokens is 0"),
        (("flops", "--model", "gpt3-175b", "--seq", "0"), "context-length is 0"),
        (("flops",), "--model"),
    ],
)
def test_wrong_input_of_the_counts_is_named(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    result = groundup(capsys, "plan", *arguments)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err

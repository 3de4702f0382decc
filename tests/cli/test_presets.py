"""`model list` and `model show`: every preset by name, and one in full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.architecture.config import ModelConfig
from groundup.architecture.presets import PRESETS
from tests.cli.command import groundup


def test_list_shows_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    done = groundup(capsys, "model", "list")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line}
    assert PRESETS.keys() <= lines.keys()
    assert "176,247,271,424" in lines["bloom-176b"]
    assert "2022" in lines["bloom-176b"]


def test_list_as_json_holds_raw_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(groundup(capsys, "model", "list", "--json").out)
    assert [row["name"] for row in rows] == list(PRESETS)
    (gpt3,) = [row for row in rows if row["name"] == "gpt3-175b"]
    assert gpt3["parameters"] == gpt3["published_parameters"] == 174_604_259_328
    assert gpt3["tokens"] == 300e9
    assert gpt3["aliases"] == ["gpt3"]
    assert gpt3["year"] == 2020
    assert all(row["source"] for row in rows)


def test_list_of_one_family(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(groundup(capsys, "model", "list", "--family", "Pythia", "--json").out)
    assert len(rows) == 8
    assert {row["family"] for row in rows} == {"pythia"}


def test_show_prints_parts_flops_and_config(capsys: pytest.CaptureFixture[str]) -> None:
    done = groundup(capsys, "model", "show", "mixtral-8x7b")
    assert done.code == 0
    for text in ("46,702,792,704", "active for a token", "12,879,925,248", "training palm",
                 "feed_forward.n_experts_per_token  2"):  # fmt: skip
        assert text in done.out
    assert "n_token_types" not in done.out  # at its default


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["model", "show", "palm-540b", "--context-length", "2k", "--json"]
    found = json.loads(groundup(capsys, *arguments).out)
    assert found["parameters"]["total"] == found["active_parameters"] == 540_354_281_472
    assert found["context_length"] == 2000
    assert found["target_length"] is None
    flops = found["flops_per_token"]
    assert flops["training_6n"] == 6 * 540_354_281_472
    assert flops["training_palm"] == flops["training_6n"] + 12 * 118 * 48 * 256 * 2000
    assert flops["training_full"] == 3 * flops["forward_full"] > flops["training_causal"]
    assert ModelConfig.from_dict(found["config"]) == PRESETS["palm-540b"].config
    assert found["notes"] == []


def test_show_of_an_encoder_decoder_says_what_is_averaged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["model", "show", "t5-11b", "--target-length", 114]
    found = json.loads(groundup(capsys, *arguments, "--json").out)
    assert found["target_length"] == 114
    assert found["parameters"]["encoder"] < found["parameters"]["total"] / 2
    assert "averaged over source and target" in found["notes"][0]
    assert "512 + 114 tokens" in groundup(capsys, *arguments).out


def test_show_reads_the_config_it_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = json.loads(groundup(capsys, "model", "show", "albert-base", "--json").out)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(printed["config"]))
    found = json.loads(groundup(capsys, "model", "show", file, "--json").out)
    assert found["parameters"] == printed["parameters"]
    assert found["name"] is None
    assert groundup(capsys, "model", "show", file).code == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["show", "llama2-70"], "llama2-70b"),
        (["show", "grok-314b"], "grok-314b"),
        (["show", "missing.json"], "missing.json"),
        (["show", "."], "'.'"),
        (["show"], "PRESET"),
        (["show", "gpt2", "--context-length", "0"], "--context-length is 0"),
        (["show", "gpt2", "--context-length", "1.5"], "--context-length is 1.5"),
        (["show", "gpt2", "--context-length", "1e12"], "--context-length is 1e+12"),
        (["show", "gpt2", "--context-length", "-5"], "-5"),
        (["show", "gpt2", "--context-length", "many"], "many"),
        (["show", "gpt2", "--target-length", "5"], "no target"),
        (["list", "--family", "lama"], "llama"),
        (["list", "--family", ""], "''"),
        (["list", "gpt2"], "gpt2"),
    ],
)
def test_wrong_input_is_named(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = groundup(capsys, "model", *arguments)
    assert done.code == 2
    assert named in done.err
    assert "Traceback" not in done.err
    assert done.out == ""

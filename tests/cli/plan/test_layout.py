from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.command import groundup

LAYOUT = ("plan", "layout", "--model", "llama2-7b", "--gpu", "A100-SXM-80")
SMALL = (*LAYOUT, "--n", 16, "--global-batch-sequences", 64)
EIGHT = ("--global-batch-sequences", 8)
ALONE = ("--tp", 1, "--pp", 1, "--cp", 1)
SENT = ("plan", "communication", "--model", "gpt3-175b", "--gpu", "A100-SXM-80")


def test_layouts_are_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    result = groundup(capsys, *SMALL, "--top", 3)
    assert result.code == 0
    assert "layouts of llama2-7b on 16 x A100-SXM-80, 64 sequences of 4,096" in result.out
    assert "tensor parallel wider than a node" in result.out
    assert "Fastest of" in result.out


def test_json_has_ranked_layouts_with_plain_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    result = groundup(capsys, *SMALL, "--json")
    record = json.loads(result.out, parse_constant=pytest.fail)
    assert (record["chip"], record["n_chips"], record["context_length"]) == (
        "A100-SXM-80",
        16,
        4096,
    )
    assert len(record["layouts"]) == 10
    best = record["layouts"][0]
    assert best["rank"] == 1
    assert best["dp"] * best["tp"] * best["pp"] * best["cp"] == 16
    assert 0 < best["mfu"] <= best["hfu"] < 1
    assert set(best["exposed_communication_fraction"]) == {
        "tensor", "context", "pipeline", "vocabulary", "data",
    }  # fmt: skip
    assert sum(best["memory_bytes"].values()) < 80e9
    assert all({"count", "example"} == set(entry) for entry in record["rejected"].values())
    assert record["considered"] > record["fitting"] > 10
    assert record["explanation"].startswith("Fastest of")


def test_given_sizes_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    fixed = (
        "--tp",
        2,
        "--pp",
        2,
        "--vpp",
        4,
        "--zero",
        1,
        "--micro-batch",
        2,
        "--recompute",
        "full",
    )
    record = json.loads(groundup(capsys, *SMALL, *fixed, "--json").out)
    names = ("tp", "pp", "virtual_stages", "zero", "micro_batch_size", "recompute")
    assert {tuple(each[name] for name in names) for each in record["layouts"]} == {
        (2, 2, 4, 1, 2, "full")
    }


def test_what_the_catalog_assumes_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("plan", "layout", "--model", "gpt2-124m", "--gpu", "RTX-4090", "--n", 1)
    record = json.loads(groundup(capsys, *arguments, "--global-batch-sequences", 8, "--json").out)
    assert any("network: 12.5 GB/s" in note for note in record["notes"])


def test_the_bytes_of_the_first_can_be_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    for model, n, batch in (("gpt3-175b", 512, 1024), ("llama2-7b", 8, 64)):
        arguments = ("--model", model, "--gpu", "A100-SXM-80", "--n", n)
        done = groundup(
            capsys, "plan", "layout", *arguments, "--global-batch-sequences", batch, "--json"
        )
        record = json.loads(done.out)
        words = shlex.split(record["memory_command"])
        assert words[:3] == ["groundup", "plan", "memory"]
        again = json.loads(groundup(capsys, *words[1:], "--json").out)
        counted = record["layouts"][0]["memory_bytes"]
        assert {kind: again[kind] for kind in counted} == counted


def test_a_batch_that_is_not_given_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(groundup(capsys, *LAYOUT, "--n", 16, "--json").out)
    assert 0.2e6 < record["global_batch_tokens"] < 8e6
    assert record["global_batch_tokens"] == record["global_batch_size"] * 4096
    assert {"notes", "warnings"} <= set(record)
    tokens = json.loads(groundup(capsys, *LAYOUT, "--n", 16, "--global-batch", "4M", "--json").out)
    assert tokens["global_batch_size"] == pytest.approx(4e6 / 4096, rel=0.02)


def test_odd_numbers_of_chips_and_huge_batches_are_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ("plan", "layout", "--model", "gpt3-175b", "--gpu", "A100-SXM-80", "--json")
    record = json.loads(groundup(capsys, *model, "--n", 1000, "--tokens", "300B").out)
    assert record["n_chips"] == 1000
    assert any("use 992 of the 1,000" in text for text in record["warnings"])
    huge = json.loads(groundup(capsys, *SMALL[:-2], "--global-batch", "128M", "--json").out)
    assert any("16M at the end of Llama 3.1" in text for text in huge["warnings"])


def test_sparse_peaks_and_cards_without_links_are_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hardware.csv").write_text("id,bf16_tflops\nA100-SXM-80,624\n")
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    for command in (SMALL, SENT):
        record = json.loads(groundup(capsys, *command, "--json").out)
        assert any("2:4 sparsity" in text for text in record["warnings"])
    card = ("plan", "layout", "--model", "gpt2-124m", "--gpu", "RTX-4090", "--n", 2, "--json")
    assert any(
        "each card counts" in note for note in json.loads(groundup(capsys, *card).out)["notes"]
    )


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((*LAYOUT, "--n", "2.5", "--global-batch-sequences", 64), "n is 2.5"),
        ((*LAYOUT, "--n", 0, "--global-batch-sequences", 64), "n is "),
        ((*LAYOUT, "--n", 16, "--global-batch-sequences", 0), "global-batch-sequences is 0"),
        ((*LAYOUT, "--n", 16, "--global-batch", 64), "--global-batch-sequences takes sequences"),
        ((*SENT, "--dp", 8, "--global-batch", 1536), "--global-batch-sequences takes sequences"),
        ((*LAYOUT, "--n", 16, "--global-batch-sequences", 7, *ALONE), "7 sequences"),
        ((*SMALL, "--tp", 3), "no layout of 16 chips has tp 3"),
        ((*SMALL, "--seq", "-5"), "--seq"),
        ((*SMALL, "--seq", "0"), "seq is 0"),
        ((*SMALL, "--seq", "1e12"), "seq is 1T"),
        ((*LAYOUT, "--n", 10**9, "--global-batch-sequences", 64), "n is "),
        ((*SMALL, "--seq", "7.5"), "seq is 7.5"),
        ((*SMALL, "--optimizer", "adamm"), "adamm"),
        ((*SMALL, "--precision", "int3"), "int3"),
        ((*SMALL, "--zero", 4), "--zero"),
        ((*SMALL, "--recompute", "some"), "--recompute"),
        (("plan", "layout", "--model", "llama2-8b", "--gpu", "a100", "--n", 8, *EIGHT),
         "llama2-8b"),
        (("plan", "layout", "--model", "llama2-7b", "--gpu", "a101", "--n", 8, *EIGHT),
         "a101"),
        (("plan", "layout", "--model", "gpt3-175b", "--gpu", "A100-SXM-80", "--n", 8,
          *EIGHT), "such chips would do"),
        ((*SENT, "--tp", 7), "96 heads do not divide over 7"),
        ((*SENT, "--pp", 97), "96 layers are fewer than 97"),
        ((*SENT, "--dp", 8, "--global-batch-sequences", 12), "12 sequences does not divide"),
        ((*SENT, "--vpp", 2), "virtual_stages needs a pipeline"),
        ((*SENT, "--cp", 3), "2048 tokens do not divide over 3 context-parallel ranks"),
        ((*SENT, "--gradient-bytes", "0"), "gradient_bytes is 0"),
        ((*SENT, "--tp", "-1"), "--tp"),
    ],
)  # fmt: skip
def test_wrong_input_is_named_without_a_traceback(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], names: str
) -> None:
    result = groundup(capsys, *arguments)
    assert result.code == 2
    assert names in result.err
    assert "Traceback" not in result.err
    assert not result.out


def test_communication_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    spread = ("--tp", 8, "--pp", 8, "--dp", 16, "--global-batch-sequences", 1536)
    record = json.loads(groundup(capsys, *SENT, *spread, "--json").out)
    tokens = 1536 / 16 * 2048
    expected = 4 * 2 * 7 / 8 * 2 * 12288 * tokens * 96 / 8  # four all-reduces of 2h bytes a token
    assert record["traffic"]["tensor"]["link_bytes"] == pytest.approx(expected)
    assert record["traffic"]["data"]["network_bytes"] > 0
    assert record["n_chips"] == 1024
    assert record["total_bytes"] == pytest.approx(
        sum(flow["total_bytes"] for flow in record["traffic"].values())
    )
    table = groundup(capsys, *SENT, *spread)
    assert table.code == 0
    assert "inside the node" in table.out


def test_tensor_parallel_over_nodes_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    result = groundup(capsys, *SENT, "--tp", 16)
    assert result.code == 0
    assert "wider than a node of 8 chips" in result.out


def test_a_model_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from groundup.architecture.families import build

    config = build("llama", vocab_size=32000, n_layers=8, d_model=512, context_length=1024)
    file = tmp_path / "model.json"
    file.write_text(json.dumps(config.to_dict()))
    arguments = ("plan", "layout", "--model", file, "--gpu", "A100-SXM-80", "--n", 8)
    assert groundup(capsys, *arguments, "--global-batch-sequences", 64).code == 0

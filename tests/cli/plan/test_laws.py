from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.command import groundup


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    result = groundup(capsys, "plan", *arguments, "--json")
    assert result.code == 0, result.err
    assert "NaN" not in result.out
    assert "Infinity" not in result.out
    return json.loads(result.out)


def test_frontier_as_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    points = answer(capsys, "frontier", "--params", "70B")
    assert len(points) == 9
    by_law = {point["law"]: point for point in points}
    assert {
        "law",
        "params",
        "tokens",
        "flops",
        "loss",
        "tokens_per_param",
        "default",
        "note",
    } <= set(points[0])
    assert by_law["chinchilla-1"]["default"] is True
    assert by_law["chinchilla-1"]["params"] == 70e9
    for law in ("chinchilla-1", "chinchilla-2", "deepseek", "llama3"):
        assert by_law[law]["loss"] is None
    assert by_law["besiroglu"]["loss"] == pytest.approx(1.976, abs=1e-3)
    assert by_law["besiroglu"]["predicted_loss"] == by_law["besiroglu"]["loss"]


@pytest.mark.parametrize(
    "written", ["7e9", "7000000000", "7000000000.0", "7B", "7_000M", "7b", "7,000,000,000"]
)
def test_numbers_as_people_write_them(capsys: pytest.CaptureFixture[str], written: str) -> None:
    (point,) = answer(capsys, "frontier", "--params", written, "--law", "twenty")
    assert point["params"] == 7e9
    assert point["tokens"] == pytest.approx(140e9)
    assert point["flops"] == pytest.approx(5.88e21)


def test_frontier_from_budget_and_from_text(capsys: pytest.CaptureFixture[str]) -> None:
    (by_flops,) = answer(capsys, "frontier", "--flops", "5.76e23", "--law", "besiroglu")
    assert by_flops["params"] == pytest.approx(72.2e9, rel=0.01)
    (by_tokens,) = answer(capsys, "frontier", "--tokens", "205.1B", "--law", "chinchilla-1")
    assert by_tokens["params"] == pytest.approx(10e9, rel=0.01)


def test_frontier_for_people_says_why_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    out = groundup(capsys, "plan", "frontier", "--flops", "5.76e23").out
    assert "chinchilla-1 (default)" in out
    assert "Spread over the 7 laws that stand: params 42.3B to 84.5B" in out
    assert "chinchilla-1 is the default: it is the table the white paper prints" in out
    assert "WARNING" in out
    assert "× Gopher" in out


def test_size_from_data(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "size", "--unique-tokens", "50B", "--params", "70B", "--flops", "1e23")
    assert found["tokens"] == 200e9
    assert found["wanted"]["enough"] is False
    assert found["for_budget"]["flops"] == 1e23
    assert [each["epochs"] for each in found["epoch_values"]] == [1, 2, 4, 8, 16, 40]
    out = groundup(capsys, "plan", "size", "--unique-tokens", "50B", "--params", "70B").out
    assert "not enough, and no number of epochs would be" in out
    out = groundup(capsys, "plan", "size", "--unique-tokens", "50B", "--params", "10B").out
    assert "not enough; 4.48 epochs would be" in out
    out = groundup(capsys, "plan", "size", "--unique-tokens", "50B", "--params", "1B", "--flops",
                   "1e22").out  # fmt: skip
    assert "there are 200B, worth 186B: enough." in out
    assert "With 1e+22 FLOPs on this text" in out


def test_size_from_latency(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("size", "--flops", "5.76e23", "--memory-bandwidth", "2.039TB")
    by_rate = answer(capsys, *common, "--tokens-per-second", "50")
    by_time = answer(capsys, *common, "--time-per-token", "20ms")
    assert by_rate["params"] == by_time["params"] == pytest.approx(20.39e9)
    assert by_rate["bound"] == "decode"
    assert by_rate["notes"]
    two = answer(capsys, *common, "--time-per-token", "20ms", "--n", "2")
    assert two["params"] == pytest.approx(2 * 20.39e9)
    out = groundup(capsys, "plan", *common, "--time-per-token", "20ms", "--time-to-first-token",
                   "1s", "--prompt-tokens", "2k", "--flops-per-second", "200T").out  # fmt: skip
    assert "20.4B parameters on 4.71T tokens" in out
    assert "weights read once a token, binds" in out
    assert "ms to read the prompt" in out


def test_size_on_a_chip_of_the_catalog(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "size", "--flops", "5.76e23", "--gpu", "a100-80gb",
                   "--tokens-per-second", "50", "--time-to-first-token", "1s",
                   "--prompt-tokens", "2000")  # fmt: skip
    assert found["decode_params"] == pytest.approx(20.4e9, rel=0.01)
    assert 40e9 < found["prefill_params"] < 312e12 / 4000


def test_inference_optimal(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(
        capsys, "inference-optimal", "--like-params", "30B", "--inference-tokens", "1e13"
    )
    assert found["params"] == pytest.approx(13.6e9, rel=0.01)
    assert found["tokens_ratio"] == pytest.approx(2.84, rel=0.01)
    assert found["saving"] == pytest.approx(0.28, rel=0.01)
    assert found["usd"] is None
    assert {each["law"] for each in found["by_law"]} >= {"besiroglu", "muennighoff", "sardana"}
    out = groundup(capsys, "plan", "inference-optimal", "--like-params", "30B", "--like-tokens",
                   "1.5T", "--inference-tokens", "10T", "--law", "besiroglu").out  # fmt: skip
    assert "besiroglu (chosen)" in out
    assert "fitted near 20 tokens per parameter" in out


def test_inference_optimal_in_money(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("inference-optimal", "--like-params", "30B", "--inference-tokens", "1T", "--gpu",
              "a100-80gb", "--price", "2")  # fmt: skip
    found = answer(capsys, *common, "--decode-mfu", "0.5")
    assert found["usd"] == pytest.approx(found["total_flops"] * 2 / 3600 / (0.5 * 312e12), rel=1e-3)
    dear = answer(capsys, *common, "--inference-gpu", "h100-sxm", "--inference-price", "8")
    assert dear["params"] < found["params"]
    assert "the other" in groundup(capsys, "plan", *common).out
    assert found["rates"]["training_usd_per_hour"] == found["rates"]["inference_usd_per_hour"] == 2
    assert found["rates"]["training_price_source"] == "--price"
    assert found["rates"]["decode_mfu"] == 0.5
    assert found["rates"]["input_share"] == 0.25


def test_dollars_name_the_price_its_source_and_its_age(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("inference-optimal", "--like-params", "30B", "--inference-tokens", "1T", "--gpu",
              "a100-80gb")  # fmt: skip
    found = answer(capsys, *common)
    rates = found["rates"]
    assert rates["training_gpu"] == "A100-SXM-80"
    assert rates["training_price_source"]
    assert rates["training_price_date"].startswith("20")
    assert any("look it up" in note for note in found["notes"])
    out = groundup(capsys, "plan", *common).out
    assert f"${rates['training_usd_per_hour']:g}" in out
    assert rates["training_price_date"] in out
    assert "Warning: the price of A100" in out
    assert answer(capsys, *common[:-2])["rates"] is None


def test_the_optimum_of_a_surface_is_not_called_by_the_name_of_a_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = answer(capsys, "size", "--flops", "5.76e23", "--memory-bandwidth", "2TB",
                  "--time-per-token", "20ms")  # fmt: skip
    use = answer(capsys, "inference-optimal", "--like-params", "30B", "--inference-tokens", "1T")
    for each in size["losses"]:
        (point,) = answer(capsys, "frontier", "--flops", "5.76e23", "--law", each["law"])
        assert each["optimal_params"] == pytest.approx(point["params"], rel=1e-9)
    for each in use["by_law"]:
        (point,) = answer(capsys, "frontier", "--params", "30B", "--law", each["law"])
        assert each["like_tokens"] == pytest.approx(point["tokens"], rel=1e-9)


def test_absurd_answers_of_the_list_are_null_with_a_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = answer(capsys, "frontier", "--flops", "1e7")
    assert len(points) == 9
    (kaplan,) = [point for point in points if point["law"] == "kaplan"]
    assert kaplan["params"] is kaplan["tokens"] is kaplan["loss"] is None
    assert "outside what can be planned" in kaplan["note"]
    assert "Too few of the laws" in groundup(capsys, "plan", "frontier", "--flops", "1e7").out


def test_smaller_longer(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("smaller-longer", "--params", "65.2B", "--tokens", "600B")
    (trade,) = answer(capsys, *common, "--size", "32.5B", "--law", "chinchilla-3-printed")
    assert trade["tokens_ratio"] == pytest.approx(1.52, abs=0.006)
    every = answer(capsys, *common)
    assert {each["law"] for each in every} >= {"besiroglu", "chinchilla-3", "muennighoff"}
    assert any(each["tokens"] is None for each in every)
    assert "never" in groundup(capsys, "plan", *common).out


def test_hyperparameters(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("hyperparameters", "--params", "1B", "--tokens", "100B")
    found = answer(capsys, *common)
    assert found["law"] == "step-law"
    assert found["learning_rate"] == pytest.approx(1.632e-3, rel=0.01)
    assert found["batch_tokens"] == pytest.approx(1.108e6, rel=0.01)
    assert found["mup"] is None
    more = answer(capsys, *common, "--loss", "2", "--batch-tokens", "2M", "--width", "1024",
                  "--base-width", "256", "--flops", "1e21")  # fmt: skip
    assert more["mup"]["hidden_learning_rate"] == 0.25
    assert more["batch_cost"]["tokens_ratio"] == pytest.approx(1.27, abs=0.01)
    out = groundup(capsys, "plan", *common, "--loss", "2", "--width", "8", "--base-width", "4").out
    assert "Critical batch at a loss of 2: 7.37M tokens." in out
    assert "muP from width 4 to 8" in out
    out = groundup(capsys, "plan", *common, "--batch-tokens", "1M").out
    assert "times the least steps" in out


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("frontier", "exactly one"),
        ("frontier --params 70B --tokens 1T", "exactly one"),
        ("frontier --params 0", "params is 0"),
        ("frontier --params -5", "--params"),
        ("frontier --params -7e9", "must be greater than zero"),
        ("frontier --flops 1e7 --law kaplan", "kaplan answers with 0.468 params"),
        ("smaller-longer --params 7B --tokens 1T --law=", "no law ''"),
        (
            "size --flops 1e22 --tokens-per-second 1e9 --memory-bandwidth 2TB",
            "better than guessing",
        ),
        ("frontier --params 7Q", "unknown unit 'Q'"),
        ("frontier --flops 1e60", "flops is"),
        ("frontier --params 70B --law chinchila-1", "did you mean chinchilla-1"),
        ("size", "--unique-tokens"),
        ("size --unique-tokens 50B --tokens-per-second 5", "--unique-tokens, or --flops"),
        ("size --unique-tokens 50B --epochs 0.5", "epochs is 0.5"),
        ("size --flops 1e23 --tokens-per-second 50", "memory_bandwidth"),
        (
            "size --flops 1e23 --tokens-per-second 0 --memory-bandwidth 1TB",
            "--tokens-per-second is 0",
        ),
        ("size --flops 1e23 --tokens-per-second 5 --time-per-token 1s", "give one"),
        ("size --flops 1e23 --tokens-per-second 5 --params 7B", "--params go with"),
        ("size --flops 1e23 --tokens-per-second 5 --n 0 --memory-bandwidth 1TB", "--n is 0"),
        ("size --flops 1e23 --tokens-per-second 50 --gpu zx81", "zx81"),
        ("size --flops 1e23 --tokens-per-second 1e12 --memory-bandwidth 1TB", "fast enough"),
        ("inference-optimal --like-params 30B", "--inference-tokens"),
        (
            "inference-optimal --like-params 30B --inference-tokens 1T --law kaplan",
            "no loss surface",
        ),
        ("inference-optimal --like-params 30B --inference-tokens 1T --price 3", "--gpu"),
        ("inference-optimal --like-params 30B --inference-tokens 1T --gpu zx81", "zx81"),
        ("smaller-longer --params 7B", "--tokens"),
        ("smaller-longer --params 7B --tokens 1T --size 0", "size is 0"),
        ("smaller-longer --params 7B --tokens 1T --law llama3", "no loss surface"),
        ("hyperparameters --params 7B --tokens 1T --width 512", "--base-width"),
        ("hyperparameters --params 7B --tokens 1T --loss -1", "loss is -1"),
        ("hyperparameters --params 7 --tokens 1T", "params is 7"),
    ],
)
def test_wrong_input_is_named(capsys: pytest.CaptureFixture[str], line: str, named: str) -> None:
    result = groundup(capsys, "plan", *line.split())
    assert result.code == 2
    assert named in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_a_chip_without_a_price_asks_for_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from groundup.plan import hardware

    known = hardware.find_chip("a100-80gb")
    bare = dataclasses.replace(known, id="bare", usd_per_hour=None, low_usd_per_hour=None)
    monkeypatch.setattr(hardware, "find_chip", lambda name: bare)
    result = groundup(capsys, "plan", "inference-optimal", "--like-params", "30B",
                      "--inference-tokens", "1T", "--gpu", "bare")  # fmt: skip
    assert result.code == 2
    assert "no price of bare" in result.err

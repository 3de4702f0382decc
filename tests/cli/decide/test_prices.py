from __future__ import annotations

import json

import pytest

from tests.cli.command import groundup

Capture = pytest.CaptureFixture[str]
BLOG = ("--train-cost", "5e6", "--cost-per-token", "2e-5", "--margin", "60%")


def test_the_slide_tables_as_json(capsys: Capture) -> None:
    done = groundup(capsys, "decide", "prices", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    totals = {row["model"]: row["total_usd"] for row in found["models"]}
    assert len(totals) == 9
    assert totals["GPT-4 32K"] == pytest.approx(720_000)
    assert totals["Fine-tuned self-hosted 7B"] == pytest.approx(3_500)
    assert sum(not row["feasible"] for row in found["cs2"]) == 4
    assert found["price_book"][0]["effective"]
    assert "gpt-4-8k" in found["notes"][0]  # a price over a year old is said to be


def test_volumes_and_levers_are_options(capsys: Capture) -> None:
    done = groundup(capsys, "decide", "prices", "--input-tokens", "1B", "--output-tokens", "0",
                    "--training-tokens", "0", "--prompt-factor", "8", "--json")  # fmt: skip
    totals = {row["model"]: row["total_usd"] for row in json.loads(done.out)["models"]}
    assert totals["GPT-4 8K"] == pytest.approx(30_000 / 8)


def test_people_see_the_flags(capsys: Capture) -> None:
    out = groundup(capsys, "decide", "prices").out
    assert out.count("FLAG") == 4
    assert "$164,160" in out
    assert "printed as 0.3" in out


def test_the_blogs_break_even(capsys: Capture) -> None:
    done = groundup(capsys, "decide", "ownership", *BLOG, "--responses-per-day", "1e8", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["break_even_tokens"] == 6.25e11
    assert found["break_even_responses"] == pytest.approx(2.0833e9, rel=1e-4)
    assert found["break_even_days"] == pytest.approx(20.83, rel=1e-3)
    assert "9.6" in found["notes"][0]
    assert found["horizon"] is None


def test_the_cost_without_a_margin(capsys: Capture) -> None:
    done = groundup(capsys, "decide", "ownership", "--train-cost", "$5M", "--cost-per-token",
                    "8e-6", "--tokens-per-day", "3e11", "--json")  # fmt: skip
    found = json.loads(done.out)
    assert found["break_even_tokens"] == 6.25e11
    assert found["break_even_days"] == pytest.approx(2.083, rel=1e-3)


def test_quantisation_and_batch_lower_the_cost(capsys: Capture) -> None:
    done = groundup(capsys, "decide", "ownership", "--train-cost", "5e6", "--cost-per-token",
                    "8e-6", "--quantisation", "8", "--batch", "4", "--json")  # fmt: skip
    assert json.loads(done.out)["usd_per_token"] == pytest.approx(1e-6)


def test_the_cost_of_a_model_on_a_chip(capsys: Capture) -> None:
    done = groundup(capsys, "decide", "ownership", "--train-cost", "5e6", "--params", "70B",
                    "--gpu", "H100-SXM", "--usd-per-hour", "3.6", "--json")  # fmt: skip
    found = json.loads(done.out)
    assert found["usd_per_token"] == pytest.approx(140e9 / 3.35e12 * 1e-3)
    assert "roofline" in found["notes"][0]


def test_owning_against_an_api(capsys: Capture) -> None:
    done = groundup(capsys, "decide", "ownership", *BLOG, "--api-price-per-token", "2e-5",
                    "--tokens-per-day", "1e9", "--people-per-month", "50k",
                    "--horizon-months", "24")  # fmt: skip
    assert done.code == 0, done.err
    assert "Over 24 months" in done.out
    never = groundup(
        capsys, "decide", "ownership", *BLOG, "--api-price-per-token", "8e-6", "--json"
    )
    assert json.loads(never.out)["api_break_even_tokens"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prices", "--input-tokens", "-5"), "--input-tokens"),
        (("prices", "--input-tokens", "1e25"), "input_tokens"),
        (("prices", "--discount", "30"), "discount is 30"),
        (("prices", "--discount", "half"), "half"),
        (("prices", "--prompt-factor", "0.5"), "prompt"),
        (("ownership", "--cost-per-token", "1e-5"), "--train-cost"),
        (("ownership", "--train-cost", "5e6"), "--cost-per-token"),
        (("ownership", "--train-cost", "0", "--cost-per-token", "1e-5"), "train_cost"),
        (("ownership", *BLOG, "--params", "7B"), "twice"),
        (("ownership", "--train-cost", "5", "--params", "7B", "--margin", "5%"), "margin"),
        (("ownership", "--train-cost", "5", "--params", "7B", "--gpu", "H1000"), "H100"),
        (("ownership", "--train-cost", "5", "--params", "7B", "--gpu", "B200-SXM"), "price"),
        (("ownership", *BLOG, "--tokens-per-day", "5", "--responses-per-day", "1e8"), "responses"),
        (("ownership", *BLOG, "--tokens-per-response", "0"), "tokens_per_response"),
        (("ownership", *BLOG, "--quantisation", "5"), "quantisation"),
        (
            (
                "ownership",
                *BLOG,
                "--tokens-per-day",
                "1e9",
                "--growth-per-month",
                "100%",
                "--horizon-months",
                "600",
            ),
            "tokens_per_day",
        ),
        (
            ("ownership", "--train-cost", "5", "--params", "7B", "--usd-per-hour", "0"),
            "usd_per_hour",
        ),
        (("ownership", *BLOG, "--usd-per-hour", "2"), "--usd-per-hour"),
        (("ownership", *BLOG, "--output-share", "50%"), "--output-share"),
        (("ownership", *BLOG, "--gpu", "nonsense"), "nonsense"),
        (("ownership", *BLOG, "--gpu", "H100-SXM"), "--gpu"),
        (("ownership", "--train-cost", "1e300", "--cost-per-token", "1e-300"), "train_cost"),
        (("ownership", *BLOG, "--utilisation", "0"), "utilisation"),
        (("ownership", *BLOG, "--horizon-months", "0"), "--horizon-months"),
    ],
)
def test_wrong_input_is_named(arguments: tuple[str, ...], said: str, capsys: Capture) -> None:
    done = groundup(capsys, "decide", *arguments)
    assert done.code == 2, done.out
    assert said in done.err
    assert "Traceback" not in done.err
    assert "bug in groundup" not in done.err


def test_numbers_of_one_table_are_written_alike(capsys: Capture) -> None:
    out = groundup(capsys, "decide", "ownership", *BLOG).out
    assert "625B" in out
    assert "2.08B" in out

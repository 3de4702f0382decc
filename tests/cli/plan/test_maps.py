import json

import pytest

from groundup.plan.time import GOODPUT
from tests.cli.command import groundup


def as_json(capsys, *arguments):
    done = groundup(capsys, "plan", *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out, parse_constant=pytest.fail)


def test_the_map_with_your_model_on_it(capsys, tmp_path):
    found = as_json(
        capsys, "heatmap", "--params", "7B", "--tokens", "140e9", "--name", "ours",
        "--output", tmp_path,
    )  # fmt: skip
    (ours,) = [model for model in found["models"] if model["ours"]]
    assert (ours["name"], ours["parameters"], ours["tokens"]) == ("ours", 7e9, 140e9)
    assert {"factor", "factor_by_law", "optimal_tokens", "verdict"} <= ours.keys()
    assert found["law"] == "chinchilla-1"
    factors = [model["factor"] for model in found["models"]]
    assert factors == sorted(factors)
    page = (tmp_path / "heatmap.html").read_text()
    assert "ours" in page
    assert found["page"].endswith("heatmap.html")


def test_the_map_for_people(capsys):
    done = groundup(capsys, "plan", "heatmap", "--law", "besiroglu")
    assert done.code == 0
    for word in ("LaMDA", "GPT-3", "Jurassic", "Gopher", "MT-NLG", "besiroglu", "over-trained"):
        assert word in done.out


def test_the_landscape_with_your_plan(capsys, tmp_path):
    found = as_json(capsys, "landscape", "--flops", "5.76e23", "--usd", "$3M", "--output", tmp_path)
    assert len(found["models"]) > 30
    (ours,) = [model for model in found["models"] if model["yours"]]
    assert (ours["flops"], ours["cost_usd"]) == (5.76e23, 3e6)
    known = next(model for model in found["models"] if model["id"] == "palm-540b")
    assert known["source"]
    assert known["date"] == "2022-04-04"
    assert known["repriced"] is None
    assert (tmp_path / "landscape.html").is_file()


def test_a_published_run_is_repriced(capsys):
    found = as_json(
        capsys, "landscape", "--model", "palm-540b", "--price-on", "tpu-v4", "--date", "2022-10-01"
    )
    (palm,) = found["models"]
    assert palm["repriced"]["usd_list"] == pytest.approx(27.06e6, rel=1e-3)  # S5-14
    assert found["price"]["usd_list"] == 3.22
    found = as_json(
        capsys, "landscape", "--model", "GPT-3 175B", "--price-on", "a100-80gb", "--date",
        "2025-03", "--mfu", "50%",
    )  # fmt: skip
    (gpt3,) = found["models"]
    assert gpt3["repriced"]["chip_hours"] == pytest.approx(
        3.14e23 / (312e12 * 0.5 * GOODPUT) / 3600
    )
    assert gpt3["repriced"]["usd_low"] < gpt3["repriced"]["usd_list"]


def test_guesses_are_marked_and_sources_shown(capsys):
    done = groundup(
        capsys, "plan", "landscape", "--model", "gpt-4", "--model", "palm", "--price-on", "h100",
        "--sources",
    )  # fmt: skip
    assert done.code == 0
    for words in ("~2.1e+25", "~57M", "~$78,562,017", "guesses of others", "arXiv:2204.02311"):
        assert words in done.out
    assert "~2.53e+24" not in done.out  # PaLM's
    found = as_json(capsys, "landscape", "--model", "gpt-4", "--model", "palm")
    assert [model["speculative"] for model in found["models"]] == [False, True]
    done = groundup(capsys, "plan", "heatmap", "--sources")
    assert "~3.6T" in done.out
    assert "arXiv:2203.15556" in done.out
    found = as_json(capsys, "heatmap")
    assert all(model["source"] for model in found["models"])
    assert [one["name"] for one in found["models"] if one["speculative"]] == ["PaLM 2"]


def test_the_landscape_for_people(capsys):
    done = groundup(capsys, "plan", "landscape", "--price-on", "h100", "--date", "2025-03-17")
    assert done.code == 0
    assert "assumed" in done.out
    assert "list $12.29 an hour" in done.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["heatmap", "--params", "7B"], "--tokens"),
        (["heatmap", "--tokens", "7B"], "params"),
        (["heatmap", "--params", "0", "--tokens", "1B"], "params"),
        (["heatmap", "--params", "7X", "--tokens", "1B"], "7X"),
        (["heatmap", "--params", "1e30", "--tokens", "1B"], "params"),
        (["heatmap", "--law", "chinchila-1"], "chinchilla-1"),
        (["landscape", "--price-on", "h900"], "h900"),
        (["landscape", "--price-on", "b200"], "B200-SXM"),
        (["landscape", "--date", "2025-01"], "--price-on"),
        (["landscape", "--price-on", "h100", "--date", "1990"], "1990"),
        (["landscape", "--price-on", "h100", "--date", "1990-01-01"], "2023-06-20"),
        (["landscape", "--mfu", "40%"], "--price-on"),
        (["landscape", "--price-on", "h100", "--mfu", "40"], "mfu"),
        (["landscape", "--usd", "5k"], "--flops"),
        (["landscape", "--params", "7B"], "--tokens"),
        (["landscape", "--flops", "-1"], "-1"),
        (["landscape", "--model", "palm-541b"], "palm-540b"),
    ],
)
def test_wrong_input_is_named(capsys, arguments, named):
    done = groundup(capsys, "plan", *arguments)
    assert done.code == 2
    assert named in done.err
    assert "Traceback" not in done.err


def test_a_folder_that_cannot_be_written_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    done = groundup(capsys, "plan", "heatmap", "--output", tmp_path / "file")
    assert done.code == 2
    assert "file" in done.err

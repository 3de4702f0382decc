from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.plan.run_table import Run
from tests.cli.command import groundup
from tests.plan.fits import BESIROGLU, grid, isoflop_runs

COEFFICIENTS = {"E", "A", "B", "alpha", "beta", "a", "b"}


def table(folder: Path, runs: list[Run], more: str = "") -> Path:
    file = folder / "runs.csv"
    rows = [f"{run.params},{run.tokens},{run.loss}\n" for run in runs]
    file.write_text("params,tokens,loss\n" + "".join(rows) + more)
    return file


def test_json_has_the_coefficients_on_top_and_their_errors_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = table(tmp_path, isoflop_runs(BESIROGLU, noise=0.002))
    result = groundup(capsys, "plan", "fit", file, "--bootstrap", "20", "--json")
    assert result.code == 0
    found = json.loads(result.out)
    assert found["E"] == pytest.approx(1.8172, abs=0.05)
    assert found["a"] == pytest.approx(0.5126, abs=0.03)
    assert found["standard_errors"].keys() == found["intervals"].keys() == COEFFICIENTS
    assert all(found["standard_errors"][name] > 0 for name in COEFFICIENTS)
    assert found["law"]["formula"] == "L = E + A / N^alpha + B / D^beta"
    assert (found["n_points"], found["n_dropped"]) == (90, 0)
    assert found["with_all"]["E"] == found["E"]
    assert found["without_outliers"]["n_dropped"] == 2
    assert len(found["outliers"]["largest_errors"]) == 5
    assert found["approaches"]["3"]["a"] == found["a"]
    assert found["approaches"]["2"]["a"] == pytest.approx(0.5126, abs=0.03)
    assert len(found["approaches"]["2"]["budgets"]) == 9
    assert found["notes"] == []


def test_an_approach_that_the_runs_do_not_allow_is_null_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = table(tmp_path, grid())
    result = groundup(capsys, "plan", "fit", file, "--bootstrap", "0", "--json")
    found = json.loads(result.out)
    assert found["approaches"]["2"] is None
    assert any(note.startswith("approach 2: an IsoFLOP fit needs") for note in found["notes"])


def test_people_get_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = table(tmp_path, isoflop_runs(BESIROGLU))
    out = groundup(capsys, "plan", "fit", file, "--bootstrap", "0", "--drop", "3").out
    for title in (
        "L = E + A / N^alpha + B / D^beta, N ~ C^a, D ~ C^b (87 of 90 runs; 0 bootstrap samples)",
        "With and without the runs of fewest tokens per parameter",
        "Farthest from the law, of the runs kept",
        "IsoFLOP curves (approach 2)",
    ):
        assert title in out
    assert "→ without 3" in out
    assert "are left out, as asked" in out


@pytest.mark.parametrize("approach", ["1", "2"])
def test_one_approach_alone_has_the_same_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], approach: str
) -> None:
    curves = [
        Run(n, d, BESIROGLU.loss(n, d))
        for n in (1e8, 2e8, 4e8, 8e8, 1.6e9, 3.2e9)
        for d in (1e9 * 2.0**p for p in range(10))
    ]
    file = table(tmp_path, curves)
    result = groundup(capsys, "plan", "fit", file, "--approach", approach, "--json")
    found = json.loads(result.out)
    assert found["approaches"].keys() == {approach}
    assert found["approaches"][approach]["a"] == pytest.approx(0.51, abs=0.1)
    assert found["E"] is found["standard_errors"] is None
    shown = groundup(capsys, "plan", "fit", file, "--approach", approach)
    assert shown.code == 0
    assert "coefficient" not in shown.out


def test_bad_rows_are_refused_or_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = table(tmp_path, grid(), "1e9,1e10,nan\n-1,1e10,2\n")
    result = groundup(capsys, "plan", "fit", file)
    assert result.code == 2
    assert result.err == (
        "error: loss is nan, but must be a number greater than zero\n"
        f"  where: {file}:26: loss\n"
        "  fix:   mend the row, or leave such rows out with --skip-bad\n"
    )
    result = groundup(capsys, "plan", "fit", file, "--skip-bad", "--bootstrap", "0", "--json")
    assert result.code == 0
    (note,) = [note for note in json.loads(result.out)["notes"] if "left out" in note]
    assert note.startswith("2 rows left out: ")


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        (2, (), "6 runs of different size or length, there are 2"),
        (24, ("--drop", "20"), "drop is 20, which leaves 4 of 24 runs"),
        (24, ("--drop", "-2"), "drop is -2"),
        (24, ("--drop", "few"), "'few' is neither a whole number nor 'auto'"),
        (24, ("--approach", "4"), "'4' is not one of"),
        (24, ("--approach", "2"), "an IsoFLOP fit needs 2 budgets"),
        (24, ("--bootstrap", "-1"), "-1 is not in the range"),
        (24, ("--seed", "x"), "not a valid integer"),
    ],
)
def test_wrong_input_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: int,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    result = groundup(capsys, "plan", "fit", table(tmp_path, grid()[:rows]), *arguments)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, "plan", "fit", tmp_path / "none.csv")
    assert result.code == 2
    assert "no such table" in result.err
    assert groundup(capsys, "plan", "fit").code == 2
    assert groundup(capsys, "plan", "fit", tmp_path).code == 2

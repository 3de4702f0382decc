from __future__ import annotations

from pathlib import Path

import pytest

from groundup.errors import InputError
from groundup.plan.run_table import read_run_table


def write(folder: Path, text: str) -> Path:
    file = folder / "runs.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "header",
    ["params,tokens,loss", "N,D,L", "n_params,training_tokens,val_loss", " Params , D ,LOSS",
     "seed,parameters,tokens_C_over_6N,loss"],
)  # fmt: skip
def test_columns_have_the_names_of_the_field(tmp_path: Path, header: str) -> None:
    seed = "1," if header.startswith("seed") else ""
    runs, skipped = read_run_table(write(tmp_path, f"{header}\n{seed}7e9,1.4T,2.0\n"))
    assert [(run.params, run.tokens, run.loss) for run in runs] == [(7e9, 1.4e12, 2.0)]
    assert runs[0].flops == 6 * 7e9 * 1.4e12
    assert runs[0].where.endswith("runs.csv:2")
    assert skipped == []


def test_given_flops_are_taken_and_empty_ones_are_6nd(tmp_path: Path) -> None:
    file = write(tmp_path, "params,tokens,loss,flops\n1e9,1e10,2.5,7e19\n# remark\n1e9,1e10,2.4,\n")
    runs, _ = read_run_table(file)
    assert [run.flops for run in runs] == [7e19, 6e19]
    assert runs[1].where.endswith(":4")


@pytest.mark.parametrize(
    ("cell", "place", "said"),
    [
        ("1e9,1e10,nan", "loss", "loss is nan"),
        ("1e9,1e10,inf", "loss", "loss is inf"),
        ("1e9,1e10,", "loss", "loss is empty"),
        ("1e9,1e10,low", "loss", "'low', which is no number"),
        ("1e9,-1e10,2", "tokens", "tokens is -1e"),
        ("0,1e10,2", "params", "params is 0"),
        ("1e30,1e10,2", "params", "outside what can be planned"),
        ("7Q,1e10,2", "params", "'7Q', which is no number"),
        ("1e9", "tokens", "tokens is empty"),
    ],
)
def test_a_bad_cell_is_named_with_file_line_and_column(
    tmp_path: Path, cell: str, place: str, said: str
) -> None:
    file = write(tmp_path, f"params,tokens,loss\n1e9,1e10,2.5\n{cell}\n2e9,1e10,2.4\n")
    with pytest.raises(InputError) as caught:
        read_run_table(file)
    assert said in caught.value.message
    assert caught.value.where == f"{file}:3: {place}"
    assert caught.value.fix
    runs, skipped = read_run_table(file, skip_bad=True)
    assert len(runs) == 2
    assert len(skipped) == 1
    assert f"{file}:3" in skipped[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header"),
        ("params,tokens,loss\n", "no rows"),
        ("params,tokens\n1,2\n", "no column loss"),
        ("params;tokens;loss\n1;2;3\n", "no column params"),
        ("params,tokens,loss\n1e9,1e10,2.5,9\n", "more cells"),
    ],
)
def test_what_is_no_table_of_runs_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_run_table(write(tmp_path, text))
    if ";" in text:
        assert caught.value.fix == "separate the columns with commas"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such table"):
        read_run_table(tmp_path / "none.csv")

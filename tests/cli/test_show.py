"""`show`, `schema` and `init`: what a project says, may say, and begins as."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.project import ProjectFile, load_project, values
from groundup.yaml12 import dotted
from tests.cli.command import groundup, project_in


def test_show_prints_every_value_with_its_origin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project_in(tmp_path, "plan:\n  budget: 4m\n")
    arguments = ["show", "--project", tmp_path, "pretrain.steps=2k"]
    rows = [line.split() for line in groundup(capsys, *arguments).out.splitlines()]
    assert ["plan.budget", "240.0", "groundup.yaml:2"] in rows
    assert ["pretrain.steps", "2000", "override"] in rows
    assert ["model.family", '"nanochat"', "default"] in rows

    found = json.loads(groundup(capsys, *arguments, "--json").out)
    assert found["folder"] == str(tmp_path.resolve())
    assert found["values"]["plan.budget"] == {"value": 240.0, "origin": "groundup.yaml:2"}
    assert set(found["values"]) == {dotted(path) for path, _ in values(ProjectFile())}


def test_schema_is_json_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(groundup(capsys, "schema").out)
    assert set(found["properties"]) == set(ProjectFile.model_fields)


def test_init_writes_a_file_that_says_what_is_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, text = tmp_path / "My Próject", tmp_path / "books: all"
    text.mkdir()
    result = groundup(capsys, "init", folder, "--input", text)
    assert result.code == 0
    assert str(folder / "groundup.yaml") in result.out

    project = load_project(folder)
    assert project.project.name == "My-Pr-ject"
    assert project.data.input == str(text)
    changed = {key for key, origin in project.origins.items() if origin != "default"}
    assert changed == {"project.name", "data.input", "plan.budget"}  # it runs as it is

    # with every comment that shows a default taken as said, nothing changes
    lines = (folder / "groundup.yaml").read_text().splitlines()
    keys = {str(path[-1]) for path, _ in values(ProjectFile())}
    said = [
        line.replace("# ", "", 1)
        if line.strip().startswith("# ") and line.strip()[2:].partition(":")[0] in keys
        else line
        for line in lines
    ]
    (folder / "groundup.yaml").write_text("\n".join(said))
    assert list(values(load_project(folder))) == list(values(project))
    assert "default" not in load_project(folder).origins.values()


def test_init_keeps_a_file_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project_in(tmp_path, "# mine")
    result = groundup(capsys, "init", tmp_path)
    assert result.code == 2
    assert "there is a project file already" in result.err
    assert (tmp_path / "groundup.yaml").read_text() == "# mine"


def test_init_names_text_inside_the_project_by_its_relative_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").mkdir()
    groundup(capsys, "init", tmp_path, "--input", tmp_path / "text")
    assert load_project(tmp_path).data.input == "text"
    result = groundup(capsys, "init", tmp_path / "b", "--input", tmp_path / "nowhere")
    assert result.code == 2
    assert not (tmp_path / "b").exists()

"""The project file: what people get wrong, all of it at once, with the place and the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundup.errors import ConfigError, StorageError
from groundup.project import Project, ProjectFile, load_project, schema, values
from groundup.yaml12 import dotted


def project_in(folder: Path, text: str | bytes, name: str = "groundup.yaml") -> Path:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(data)
    return folder


def problems(folder: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_project(folder, overrides=overrides)
    found = caught.value.problems or (f"{caught.value.where}: {caught.value.message}",)
    return [problem.replace(f"{folder}/", "") for problem in found]


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "model:\n", "plan: null\ndata: {}\n"):
        project = load_project(project_in(tmp_path, text))
        assert list(values(project)) == list(values(ProjectFile()))
        assert set(project.origins.values()) == {"default"}


def test_quantities_are_read_as_people_write_them(tmp_path: Path) -> None:
    project_in(
        tmp_path,
        "plan: {budget: 1h30m}\npretrain: {learning_rate: 1e-3, steps: 1e3}\n"
        "tokenizer: {vocab_size: 8k}\ndata: {read: {max_document_bytes: 2MiB}, input: 'no'}",
    )
    project = load_project(tmp_path)
    assert project.plan.budget == 5400
    assert project.pretrain.learning_rate == 1e-3
    assert project.pretrain.steps == 1000
    assert project.tokenizer.vocab_size == 8000
    assert project.data.read.max_document_bytes == 2 * 1024**2
    assert project.data.input == "no"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model:\n  d_modle: 4", "2: model.d_modle: unknown key; did you mean 'd_model'?"),
        ("modl: {}", "1: modl: unknown key; did you mean 'model'?"),
        ("learning_rate: 3",
         "1: learning_rate: unknown key; did you mean 'pretrain.learning_rate'?"),
        ("folder: /tmp", "1: folder: unknown key; known keys are project, decide, data, tokenizer"),
        ("pretrain:\n  learning_rate: fast", "2: pretrain.learning_rate: 'fast' is not a number"),
        ("pretrain:\n\n  learning_rate: 0", "3: pretrain.learning_rate: must be above 0, is 0"),
        ("pretrain: {learning_rate: .inf}",
         "1: pretrain.learning_rate: inf is not a finite number"),
        ("pretrain: {learning_rate: true}",
         "1: pretrain.learning_rate: must be a number, is true or false"),
        ("pretrain: {steps: 1.5}", "1: pretrain.steps: 1.5 is not a whole number; write it like"),
        ("pretrain: {steps: 5parsecs}",
         "1: pretrain.steps: '5parsecs' has the unknown unit 'parsecs'; known are k, M, B, G, T"),
        ("pretrain: {steps: [1]}", "1: pretrain.steps: [1] is not a number"),
        ("pretrain: {optimizer: adamv}",
         "1: pretrain.optimizer: 'adamv' is not one of 'muon', 'adamw', 'sgd' or 'adafactor'; "
         "did you mean 'adamw'?"),
        ("project: {seed: -1}", "1: project.seed: must be at least 0, is -1"),
        ("project: {seed: 1.5}", "1: project.seed: 1.5 is not a whole number"),
        ("project: {seed: yes}", "1: project.seed: 'yes' is not a number"),
        ("project: {name: 12}", "1: project.name: 12 is not text; put it in quotes"),
        ("project: {name: ../x}", "1: project.name: '../x' does not fit the pattern"),
        ("generate: {top_p: 1.5}", "1: generate.top_p: must be at most 1, is 1.5"),
        ("data: {extensions: .py}", "1: data.extensions: '.py' is not a list; write [a, b]"),
        ("data: {validation_fraction: 0.5}",
         "1: data.validation_fraction: must be below 0.5, is 0.5"),
        ("model: 3", "1: model: must be a section of `key: value` lines, is 3"),
        ("- a", "1: a project file is a list of sections, `name: …`"),
        ("pretrain:\n  batch_size: 16\n  micro_batch_size: 5",
         "1: pretrain: micro_batch_size 5 does not divide batch_size 16"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_line_and_key(tmp_path: Path, text: str, expected: str) -> None:
    (found,) = problems(project_in(tmp_path, text))
    assert found.startswith(f"groundup.yaml:{expected}")


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "pretrain:\n  steps: x\n  steps: 2\nmodel:\n  a: 1\n  n_layers: [\n]\ntrack: 1"
    found = problems(project_in(tmp_path, text), "plan.budget=soon", "plan.bugdet=4m")
    assert [problem.split(": ")[:2] for problem in found] == [
        ["groundup.yaml:2", "pretrain.steps"],
        ["groundup.yaml:3", "pretrain.steps"],
        ["groundup.yaml:5", "model.a"],
        ["groundup.yaml:6", "model.n_layers"],
        ["groundup.yaml:8", "track"],
        ["override 'plan.budget=soon'", "plan.budget"],
        ["override 'plan.bugdet=4m'", "plan.bugdet"],
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("pretrain.learning_rate=fast", "pretrain.learning_rate: 'fast' is not a number"),
        ("pretrain.learningrate=1",
         "pretrain.learningrate: unknown key; did you mean 'learning_rate'?"),
        ("nothing", "write it as key=value, for example pretrain.learning_rate=3e-4"),
        ("=3", "write it as key=value, for example pretrain.learning_rate=3e-4"),
        ("a..b=3", "write it as key=value, for example pretrain.learning_rate=3e-4"),
        ("model.d_ff=[", "not valid YAML:"),
        ("project.name.first=x", "'name' is a single value, it has no keys below it"),
        ("x.y.z=1", "x: unknown key; known keys are"),
        ("project.name=", "project.name: None is not text"),
        ("project.name='caf\udce9'", "byte 0xed is not UTF-8"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_named_as_it_was_typed(
    tmp_path: Path, override: str, expected: str
) -> None:
    project_in(tmp_path, "project: {name: first}")
    (found,) = problems(tmp_path, override)
    shown = ascii(override) if "\udce9" in override else f"'{override}'"
    assert found.startswith(f"override {shown}: {expected}")


@pytest.mark.parametrize("override", ["\ud800=1", "model.\udce9=1", "project.name=\ud800"])
def test_half_characters_of_a_shell_are_refused(tmp_path: Path, override: str) -> None:
    (found,) = problems(project_in(tmp_path, ""), override)
    assert found.isprintable()


def test_overrides_win_over_the_file_and_the_last_wins(tmp_path: Path) -> None:
    project_in(tmp_path, "pretrain:\n  steps: 5\n  batch_size: 8\nplan: {budget: 4m}")
    project = load_project(
        tmp_path, overrides=["pretrain.steps=2k", "pretrain.steps=3k", "plan.budget="]
    )
    assert (project.pretrain.steps, project.pretrain.batch_size) == (3000, 8)
    assert project.plan.budget is None  # an empty value is YAML's null


def test_an_override_of_a_section_replaces_the_section(tmp_path: Path) -> None:
    project_in(tmp_path, "pretrain:\n  steps: 5\n  batch_size: 8")
    project = load_project(tmp_path, overrides=["pretrain={steps: 7}"])
    assert (project.pretrain.steps, project.pretrain.batch_size) == (7, 16)
    assert project.origins["pretrain.steps"] == "override"
    found = problems(tmp_path, "pretrain={steps: x}")
    assert found == [
        "override 'pretrain={steps: x}': pretrain.steps: 'x' is not a quantity; "
        "write it like 2e9, 300B or 1_000"
    ]


def test_every_value_knows_its_origin(tmp_path: Path) -> None:
    project_in(tmp_path, "# comment\npretrain:\n  steps: 5\n  batch_size: 8\n")
    project = load_project(tmp_path, overrides=["project.seed=3"])
    assert project.origins["pretrain.steps"] == "groundup.yaml:3"
    assert project.origins["pretrain.batch_size"] == "groundup.yaml:4"
    assert project.origins["project.seed"] == "override"
    assert project.origins["project.name"] == "default"
    assert set(project.origins) == {dotted(path) for path, _ in values(project)}


def test_a_project_is_a_folder_a_file_or_another_file_of_the_folder(tmp_path: Path) -> None:
    project_in(tmp_path, "project: {seed: 1}")
    project_in(tmp_path, "project: {seed: 2}", "tiny.yaml")
    assert load_project(tmp_path).project.seed == 1
    assert load_project(tmp_path, "tiny.yaml").project.seed == 2
    found = load_project(tmp_path / "tiny.yaml")
    assert (found.project.seed, found.folder) == (2, tmp_path.resolve())
    assert found.origins["project.seed"] == "tiny.yaml:1"


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no groundup\.yaml here") as caught:
        load_project(tmp_path)
    assert caught.value.fix == f"`groundup init {tmp_path}` writes one"
    project_in(tmp_path, "", "tiny.yaml")
    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path)
    assert "--config: tiny.yaml" in str(caught.value.fix)
    with pytest.raises(ConfigError, match="no such project folder"):
        load_project(tmp_path / "nowhere")


def test_a_file_that_may_not_be_read_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_in(tmp_path, "")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        load_project(tmp_path)


def test_a_project_made_in_python_needs_no_file(tmp_path: Path) -> None:
    project = Project(folder=tmp_path, project={"seed": 5})
    assert project.project.seed == 5
    assert "folder" not in project.model_dump()


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_project_or_a_config_error(tmp_path: Path, data: bytes) -> None:
    loads_or_config_error(project_in(tmp_path, data))


KEYS = sorted({part for path, _ in values(ProjectFile()) for part in path if isinstance(part, str)})
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(KEYS), ANY_VALUE, max_size=5), st.lists(st.text(max_size=9)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_values_give_a_project_or_a_config_error(
    tmp_path: Path, value: dict[str, Any], overrides: list[str]
) -> None:
    loads_or_config_error(project_in(tmp_path, json.dumps(value)), overrides)


def loads_or_config_error(folder: Path, overrides: list[str] | None = None) -> None:
    try:
        load_project(folder, overrides=overrides or [])
    except ConfigError as error:
        text = str(error)
    else:
        return
    assert all(line.isprintable() for line in text.split("\n"))


def test_the_schema_knows_every_key_and_its_text() -> None:
    found = schema()
    for path, _ in values(ProjectFile()):
        node = found
        for part in path:
            section = node.get("$ref", "").rpartition("/")[2]
            node = (found["$defs"][section] if section else node)["properties"][part]
        assert node["description"], path
    budget = found["$defs"]["PlanConfig"]["properties"]["budget"]
    kinds = json.dumps(budget)
    assert '"string"' in kinds
    assert '"minimum": 0' in kinds
    assert found["additionalProperties"] is False


def test_a_folder_given_as_an_override_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "groundup.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_project(".", overrides=["p1"])
    assert caught.value.fix == "this command takes the project's folder by --project p1"


def test_a_file_from_elsewhere_does_not_move_the_project(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf" / "tiny.yaml"
    file.write_text("project: {seed: 2}")
    folder = tmp_path / "project"
    folder.mkdir()
    for place, config in ((tmp_path, "conf/tiny.yaml"), (folder, str(file))):
        project = load_project(place, config)
        assert (project.folder, project.project.seed) == (place.resolve(), 2)
    assert load_project(file).folder == file.parent.resolve()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["pretrain.layout.tp=1", "pretrain.layout.sp=true", "pretrain.steps=5"],
         "override 'pretrain.layout.tp=1' and override 'pretrain.layout.sp=true': pretrain.layout"),
        (["pretrain.steps=5", "pretrain.micro_batch_size=3"],
         "override 'pretrain.micro_batch_size=3': pretrain: micro_batch_size 3"),
        (["pretrain.layout=nonsense"], "'nonsense' is no layout: write auto, or a section"),
    ],
)  # fmt: skip
def test_overrides_that_do_not_go_together_are_named(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    """They were laid to the line of the file's section."""
    project_in(tmp_path, "pretrain:\n  batch_size: 4\n  layout:\n    dp_replicate: 1\n")
    (found,) = problems(tmp_path, *overrides)
    assert said in found


def test_a_mistake_of_the_file_is_not_laid_to_an_override(tmp_path: Path) -> None:
    project_in(tmp_path, "pretrain:\n  batch_size: 4\n  micro_batch_size: 3\n")
    (found,) = problems(tmp_path, "pretrain.steps=5")
    assert found.startswith("groundup.yaml:1: pretrain: micro_batch_size 3")

"""The graph of stages: which are asked for, how it is stopped, what a changed price changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from groundup import stages
from groundup.artifacts import Artifact, is_sealed, seal
from groundup.cli.run import stage_table
from groundup.errors import ConfigError, Interrupted
from groundup.files import write_json
from groundup.project import Project
from groundup.stages_pretrain import at_prices
from groundup.stages_work import Work


def test_a_misspelt_stage_is_not_called_finished(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no stage 'trian'"):
        stages.run_project(Project(folder=tmp_path), "trian")
    with pytest.raises(ConfigError) as caught:
        stages.needed("pretrian")
    assert caught.value.fix == "did you mean 'pretrain'?"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_is_said_and_is_the_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def done(work: Work) -> tuple[Artifact, bool]:
        return Artifact(tmp_path, {}), True

    def stop(work: Work) -> tuple[Artifact, bool]:
        raise Interrupted("stopped after step 3 of 9", where="runs/a", fix="give it again")

    monkeypatch.setattr(stages, "STAGES", {**dict.fromkeys(stages.STAGES, done), "pretrain": stop})
    result = stages.run_project(Project(folder=tmp_path), "tokenizer")
    assert result.status == "finished"
    project = Project(folder=tmp_path, plan={"budget": "4m"})
    result = stages.run_project(project)
    assert result.status == "interrupted"
    assert result.built == ["data", "tokenizer", "tokens", "machine", "plan"]
    states = {row[0]: row[1] for row in stage_table(result).rows}
    assert (states["pretrain"], states["evaluate"]) == ("interrupted", "not run")
    assert result.report is None
    assert capsys.readouterr().err.endswith(
        "error: stopped after step 3 of 9\n  where: runs/a\n  fix:   give it again\n"
    )


def test_what_was_not_predicted_for_several_processes_has_no_price(tmp_path: Path) -> None:
    plan = {"duration_seconds": 7200.0, "loss": 3.0, "cost_usd": 4.0, "energy_kwh": 0.4}
    nothing = dict.fromkeys(("duration_seconds", "cost_usd", "energy_kwh"))
    of = {"processes": 2, "layout": "dp_shard 2", "machines": 2}
    predicted = {**plan, **nothing, "band": {"loss": [2.0, 4.0]}, "of": of}
    measured = {"duration_seconds": 3600.0, "loss": 3.1, "cost_usd": 1.0, "energy_kwh": 0.2}
    record = seal({"final_hash": "f", "predicted": predicted, "measured": measured})
    write_json(tmp_path / "run.json", record)
    run = Artifact(tmp_path, {**record, "kind": "run", "files": {"x": {"sha256": "f"}}})
    at_prices(run, {"predicted": plan, "band": {"loss": [2.0, 4.0], "cost_usd": [3.0, 4.0]}})
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["predicted"] == predicted
    # 4 dollars for two hours of one such machine, and here two of them for one hour
    assert stored["measured"]["cost_usd"] == pytest.approx(4.0)
    assert stored["measured"]["energy_kwh"] == pytest.approx(0.4)


def test_a_new_price_is_the_price_of_the_finished_run_too(tmp_path: Path) -> None:
    predicted = {"duration_seconds": 7200.0, "loss": 3.0, "cost_usd": 2.0, "energy_kwh": 0.4}
    band = {"loss": [2.0, 4.0], "cost_usd": [1.0, 2.0]}
    measured = {"duration_seconds": 3600.0, "loss": 3.1, "cost_usd": 1.0, "energy_kwh": 0.2}
    record = seal(
        {"final_hash": "f", "predicted": {**predicted, "band": band}, "measured": measured}
    )
    write_json(tmp_path / "run.json", record)
    run = Artifact(tmp_path, {**record, "kind": "run", "files": {"x": {"sha256": "f"}}})

    def at(**changed: Any) -> Artifact:
        plan = {"predicted": {**predicted, **changed}, "band": band}
        if "cost_usd" in changed:
            cost = changed["cost_usd"]
            plan["band"] = {"loss": band["loss"], **({"cost_usd": [cost, cost]} if cost else {})}
        return at_prices(run, plan)

    assert at() is run
    # the same machine at 5 dollars and 0.3 kW an hour; the plan now says 3 hours
    found = at(duration_seconds=10800.0, cost_usd=15.0, energy_kwh=0.9)
    stored = json.loads((tmp_path / "run.json").read_text())
    assert is_sealed(stored)
    assert stored["predicted"] == {
        "duration_seconds": 7200.0, "loss": 3.0, "cost_usd": pytest.approx(10),
        "energy_kwh": pytest.approx(0.6),
        "band": {"loss": [2.0, 4.0], "cost_usd": pytest.approx([10, 10])},
    }  # fmt: skip
    assert stored["measured"] == {
        "duration_seconds": 3600.0, "loss": 3.1, "cost_usd": pytest.approx(5),
        "energy_kwh": pytest.approx(0.3),
    }  # fmt: skip
    assert found.content_hash == run.content_hash  # nothing after it is made again
    assert found.manifest["sha256"] == stored["sha256"] != record["sha256"]

    at(cost_usd=None)
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["measured"]["cost_usd"] is stored["predicted"]["cost_usd"] is None
    assert set(stored["predicted"]["band"]) == {"loss"}

"""What `verify` must notice, and what is none of its business."""

import json
import shutil
from pathlib import Path

import pytest

from groundup.artifacts import MANIFEST, Store, seal, write_manifest
from groundup.files import LOCK, TEMPORARY, lock
from groundup.track.run import EMPTY_CHAIN, Run, chain_loss, checkpoint_name
from groundup.track.verify import verify

LOSSES = [5.5, 1 / 3, 0.1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An artifact and a finished run with a checkpoint, in a folder with a user's own files."""
    folder = tmp_path / "project"

    def make(inside: Path) -> dict[str, int]:
        (inside / "text.txt").write_text("hello")
        return {}

    Store(folder / "artifacts").build("corpus", "c", version=1, config={}, inputs={}, make=make)
    run = Run(folder / "runs" / "r", {})
    chain = EMPTY_CHAIN
    for step, loss in enumerate(LOSSES, start=1):
        chain = chain_loss(chain, step, loss)
        run.log(step, {"loss": loss})
    run.finish("finished", loss_chain=chain)
    checkpoint = run.folder / "checkpoints" / checkpoint_name(3)
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    write_manifest(checkpoint, {"kind": "checkpoint", "name": checkpoint.name})
    return folder


def parts(project: Path) -> list[Path]:
    run = project / "runs" / "r"
    return [*project.glob("artifacts/*/*"), run, *run.glob("checkpoints/*")]


def test_a_whole_project_and_each_part_of_it_is_whole(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(project) == (6, [])  # 2 of the artifact, 2 of the run, 2 of the checkpoint
    assert [verify(part) for part in parts(project)] == [(2, []), (4, []), (2, [])]
    assert capsys.readouterr().err == ""


def test_a_folder_whose_manifest_is_gone_is_bad(project: Path) -> None:
    for manifest in list(project.rglob(MANIFEST)):
        text = manifest.read_text()
        manifest.unlink()
        for place in (project, manifest.parent):
            (bad,) = verify(place)[1]
            assert bad.startswith(f"{manifest}: no readable manifest")
        manifest.write_text(text)


def test_a_run_whose_record_is_gone_is_bad_but_not_one_killed_before_it_had_one(
    project: Path,
) -> None:
    (project / "runs" / "r" / "run.json").unlink()
    (project / "runs" / "new").mkdir()
    (project / "runs" / "new" / f"{TEMPORARY}a").touch()
    (bad,) = verify(project)[1]
    assert bad == f"{project / 'runs' / 'r' / 'run.json'}: file not found"


def test_an_edited_record_is_bad(project: Path) -> None:
    path = project / "runs" / "r" / "run.json"
    path.write_text(path.read_text().replace("finished", "finishing", 1))
    assert verify(project)[1] == [f"{path}: its own hash does not match"]


def test_files_of_the_users_are_not_looked_at(project: Path) -> None:
    before = verify(project)
    for folder in (project, project / "text", project / "text" / "runs" / "x"):
        folder.mkdir(exist_ok=True, parents=True)
        for name in (MANIFEST, "run.json"):
            (folder / name).write_text("mine")
    assert verify(project) == before


@pytest.mark.parametrize("change", ["0.333333333333333", "1", "null"])
def test_a_changed_loss_of_a_finished_run_is_bad(project: Path, change: str) -> None:
    path = project / "runs" / "r" / "metrics.jsonl"
    path.write_text(path.read_text().replace(str(1 / 3), change))
    for place in (project, path.parent):
        (bad,) = verify(place)[1]
        assert bad.startswith(f"{path}: its losses are not those of the run")


def test_a_lost_line_of_a_finished_run_is_bad(project: Path) -> None:
    path = project / "runs" / "r" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for kept in (lines[1:], lines[:-1], [lines[0], lines[2], lines[1]], []):
        path.write_text("".join(kept))
        assert len(verify(project)[1]) == 1
    path.unlink()
    assert len(verify(project)[1]) == 1


def test_a_run_at_work_is_said_and_not_called_damaged(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [project, *parts(project)]
    run = project / "runs" / "r"
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(seal({**record, "status": "running"})))
    (run / "metrics.jsonl").write_text("")
    (run / "checkpoints" / f"{TEMPORARY}half").mkdir()
    (project / "artifacts" / "corpus" / f"{TEMPORARY}half").mkdir()
    with lock(project / LOCK):
        for place in places:
            assert verify(place)[1] == []
            assert "a run is at work in" in capsys.readouterr().err
    assert verify(project)[1] == []
    assert capsys.readouterr().err == ""


def test_a_checkpoint_dropped_while_it_is_checked_is_not_bad(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundup.track import verify as module

    real = module.check_file

    def drops(path: Path, entry: dict[str, object]) -> list[str]:
        if path.name == "state.json":
            shutil.rmtree(path.parent)
        return real(path, entry)

    monkeypatch.setattr(module, "check_file", drops)
    assert verify(project) == (4, [])

"""``groundup launch``: each form with its files, the list respected, the user's mistakes said."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundup.train.launch import supervise
from groundup.train.launch.job import Job
from tests.cli.command import groundup, project_in


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project's $folder"
    folder.mkdir()
    return project_in(folder, "project:\n  name: My_Model\npretrain:\n  batch_size: 64\n")


def exclude(project: Path, *hosts: str) -> None:
    (project / "doctor").mkdir()
    (project / "doctor" / "exclude.txt").write_text("".join(f"{host}\n" for host in hosts))


def test_torchrun_supervises_the_job_of_the_project(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def run_here(job: Job, endpoint: str, run_id: str, pause: object, asked: object) -> int:
        seen.extend([job, endpoint, run_id])
        return 130

    monkeypatch.setattr(supervise, "run_here", run_here)
    done = groundup(
        capsys, "launch", "torchrun", "--nodes", "2:4", "--nproc-per-node", 2,
        "--rdzv-endpoint", "n1:29400", "--rdzv-id", "x", project, "pretrain.steps=5",
    )  # fmt: skip
    assert done.code == 130, done.err
    job, *rest = seen
    assert rest == ["n1:29400", "x"]
    assert job == Job("My_Model", project.resolve(), 2, 4, 2, 0, ("pretrain.steps=5",))


def test_a_node_on_the_list_does_not_start(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDUP_HOST", "n2")
    exclude(project, "n2")
    done = groundup(capsys, "launch", "torchrun", project)
    assert done.code == 2
    assert "n2 is on the list of nodes to leave out: put there by hand" in done.err


def test_slurm_writes_a_script_that_bash_reads_and_leaves_nodes_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exclude(project, "n2", "n5")
    done = groundup(
        capsys, "launch", "slurm", "--nodes", 4, "--gpus-per-node", 8, "--option",
        "partition=gpu", project,
    )  # fmt: skip
    assert done.code == 0, done.err
    path = project / "launch" / "My_Model.sbatch"
    assert f"written: {path.resolve()}" in done.out
    assert "left out: n2, n5" in done.out
    subprocess.run(["bash", "-n", str(path)], check=True)
    lines = path.read_text().splitlines()
    for line in ("--nodes=4", "--gpus-per-node=8", "--exclude=n2,n5", "--partition=gpu"):
        assert f"#SBATCH {line}" in lines
    assert path.stat().st_mode & 0o111


def test_submit_hands_the_script_to_sbatch(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path))
    done = groundup(capsys, "launch", "slurm", "--submit", project)
    assert (done.code, "there is no sbatch here" in done.err) == (2, True)
    tool = tmp_path / "sbatch"
    tool.write_text(f'#!/bin/sh\nprintf %s "$1" >"{tmp_path}/submitted"\nexit 3\n')
    tool.chmod(0o755)
    assert groundup(capsys, "launch", "slurm", "--submit", project).code == 3
    assert (tmp_path / "submitted").read_text() == str(
        project.resolve() / "launch" / "My_Model.sbatch"
    )


def test_kubernetes_writes_the_objects(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exclude(project, "n2")
    out = project / "job.yaml"
    done = groundup(
        capsys, "launch", "kubernetes", "--nodes", 3, "--gpus-per-node", 8, "--image", "repo/i:1",
        "--claim", "disk", "--output", out, project, "pretrain.steps=5",
    )  # fmt: skip
    assert done.code == 0, done.err
    service, job = yaml.safe_load_all(out.read_text())
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][-2:] == ["/project", "pretrain.steps=5"]
    assert "n2" in str(pod["affinity"]["nodeAffinity"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["torchrun", "--nodes", "0"], "no number of nodes"),
        (["torchrun", "--nodes", "2"], "nowhere to meet"),
        (["torchrun", "--gpus-per-node", "99"], "99 GPUs are asked for"),
        (["slurm", "--gpus-per-node", "1", "--nproc-per-node", "2"], "2 processes on 1 GPU of"),
        (["torchrun", "pretrain.stepz=3"], "stepz"),
        (["slurm", "--option", "nodes=3"], "no option for sbatch"),
        (["slurm", "--option", "partition"], "no option for sbatch"),
        (["kubernetes", "--image", "i", "--claim", "A B"], "--claim"),
        (["kubernetes", "--image", "i", "--claim", "c", "--mount", "p"], "no absolute path"),
    ],
)
def test_mistakes_are_said_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    form, *options = words
    if options[-1].startswith("pretrain."):
        options.insert(0, str(project))
    else:
        options.append(str(project))
    done = groundup(capsys, "launch", form, *options)
    assert done.code == 2
    assert said in done.err
    assert sorted(path.name for path in project.iterdir()) == ["groundup.yaml"]


@pytest.mark.parametrize(
    "form", [["slurm"], ["kubernetes", "--image", "repo/i:1", "--claim", "disk"]]
)
@pytest.mark.parametrize(
    ("output", "said"),
    [("folder", "this is a folder"), ("pipe", "a link, a device or a pipe"),
     ("to-folder", "a link, a device or a pipe")],
)  # fmt: skip
def test_an_output_that_is_no_plain_file_is_kept(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: list[str],
    output: str, said: str,
) -> None:  # fmt: skip
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-folder").symlink_to("folder")
    before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
    done = groundup(capsys, "launch", *form, "--output", tmp_path / output, project)
    assert done.code == 2
    assert said in done.err
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before


def test_a_list_with_something_else_in_it_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exclude(project, "n1", "n2;reboot")
    done = groundup(capsys, "launch", "slurm", project)
    assert done.code == 2
    assert "exclude.txt:2" in done.err


@pytest.mark.parametrize(
    ("words", "layout", "fix"),
    [  # 2 × 2 processes are not 3; 6 on 2 nodes are 3 each
        (["slurm", "--nodes", 2, "--nproc-per-node", 2], "tp: 3", "--nodes 1 --nproc-per-node 3"),
        (["slurm", "--nodes", 2, "--nproc-per-node", 4], "tp: 3",
         "--nodes 1 --nproc-per-node 9"),
        (["ray", "--nodes", 4, "--gpus-per-node", 8], "{tp: 8, pp: 8, dp_shard: 1}",
         "--nodes 4 --nproc-per-node 16"),
        # with 3 of its nodes it would have 24
        (["torchrun", "--nodes", "2:4", "--nproc-per-node", 8, "--rdzv-endpoint", "n1"],
         "{tp: 8, dp_replicate: 2}", "--nodes 2 --nproc-per-node 16"),
        (["kubernetes", "--image", "i", "--claim", "c"], "{planned: true, tp: 2}",
         "--nodes 1 --nproc-per-node 2"),
    ],
)  # fmt: skip
def test_nodes_that_cannot_hold_the_layout(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[object], layout: str, fix: str
) -> None:
    done = groundup(capsys, "launch", *words, project, f"pretrain.layout={layout}")
    assert (done.code, done.out) == (2, "")
    assert fix in done.err
    assert not (project / "launch").exists()


SMALL = "model: {family: llama, n_layers: 4, d_model: 96, n_heads: 6, d_ff: 192}\n"
EMITTED = SMALL + "pretrain: {steps: 4, batch_size: 64, optimizer: adamw, micro_batch_size: 1}\n"


@pytest.mark.parametrize("engine", ["deepspeed", "megatron", "torchtitan"])
def test_emit_asks_whether_model_and_nodes_hold_the_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    project = project_in(tmp_path, EMITTED)
    wrong = [
        (("pretrain.layout.tp=4",), "4 processes cannot share 6 of model.n_heads"),
        (("pretrain.layout.pp=8",), "4 layers do not go round 8 stages"),
        (("--ranks", 12, "pretrain.layout.tp=6"), "12 processes do not fill nodes of 8 GPUs"),
        (("--ranks", 9, "pretrain.layout.tp=6"), "tp 6 does not come to 9 processes"),
    ]
    for words, said in wrong:
        done = groundup(capsys, "launch", "--emit", engine, project, *words)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert not (tmp_path / "launch").exists()
    assert "--gpus-per-node 6; or --ranks 24" in said_of_nodes(capsys, engine, project)
    words = ("--ranks", 12, "--gpus-per-node", 6, "pretrain.layout.tp=6")
    done = groundup(capsys, "launch", "--emit", engine, project, *words)
    assert done.code == 0, done.err
    each = {
        "deepspeed": "--num_nodes 2 --num_gpus 6",
        "megatron": "--nnodes 2 --nproc-per-node 6",
        "torchtitan": "--nnodes 2 --nproc-per-node 6",
    }
    assert each[engine] in done.out


def said_of_nodes(capsys: pytest.CaptureFixture[str], engine: str, project: Path) -> str:
    words = ("--ranks", 12, "pretrain.layout.tp=6")
    return groundup(capsys, "launch", "--emit", engine, project, *words).err


def test_emit_and_a_command_that_starts_something_are_two_things(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It took `local` for the project's folder, and the folder for an override."""
    for words in (
        ("--emit", "deepspeed", "local", project),
        ("local", "--emit", "deepspeed", project),
        ("slurm", project, "--emit=megatron"),
    ):
        done = groundup(capsys, "launch", *words)
        assert done.code == 2
        assert "leave one of them out" in done.err

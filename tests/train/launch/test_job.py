"""What is started, and how torchrun is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.distributed.run import parse_args

from groundup.errors import InputError
from groundup.train.launch.job import Job, label, read_nodes, torchrun_arguments

JOB = Job("small", Path("/a folder/it's"), processes=2, arguments=("pretrain.steps=5",))


def test_numbers_of_nodes() -> None:
    assert read_nodes("4") == (4, 4)
    assert read_nodes("2:8") == (2, 8)
    for wrong in ("0", "", "4:2", "-1", "two", "1:2:3"):
        with pytest.raises(InputError, match="no number of nodes"):
            read_nodes(wrong)


def test_torchrun_reads_the_arguments_of_one_node() -> None:
    read = parse_args(torchrun_arguments(JOB, JOB.groundup("pretrain"), "", "id"))
    assert (read.standalone, read.nproc_per_node, read.max_restarts) == (True, "2", 0)
    assert (read.module, read.training_script) == (True, "groundup")
    assert read.training_script_args == [
        "pretrain", "--project", "/a folder/it's", "pretrain.steps=5",
    ]  # fmt: skip


def test_torchrun_reads_the_arguments_of_several_nodes() -> None:
    job = Job("small", Path("/p"), min_nodes=2, max_nodes=4, processes=8)
    read = parse_args(torchrun_arguments(job, job.groundup("pretrain"), "node-1:29400", "-7"))
    assert (read.nnodes, read.nproc_per_node, read.rdzv_backend) == ("2:4", "8", "c10d")
    assert (read.rdzv_endpoint, read.rdzv_id, read.max_restarts) == ("node-1:29400", "-7", 0)


@pytest.mark.parametrize("endpoint", ["", "a b:1", "--standalone", "host:port", "host:1;ls"])
def test_several_nodes_need_a_place_to_meet(endpoint: str) -> None:
    job = Job("small", Path("/p"), min_nodes=2, max_nodes=2)
    with pytest.raises(InputError):
        torchrun_arguments(job, [], endpoint, "id")


@pytest.mark.parametrize(
    ("name", "made"), [("small", "small"), ("My_Model.v2", "my-model-v2"), ("a" * 64, "a" * 52)]
)
def test_names_as_kubernetes_takes_them(name: str, made: str) -> None:
    assert label(name) == made

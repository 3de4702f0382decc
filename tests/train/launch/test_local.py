"""What is refused before several ranks start on one machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from torch.distributed.run import parse_args

from groundup.errors import ConfigError, InputError
from groundup.train.launch import local
from groundup.train.launch.job import Job, torchrun_arguments
from groundup.train.launch.local import meeting_place, require_devices, usable_gpus

A100, H100 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(local, "visible_gpus", lambda: names)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return names


def test_a_cpu_has_room_for_any_number(gpus: list[str]) -> None:
    require_devices("auto", 64)
    require_devices("cpu", 64)


def test_more_ranks_than_gpus(gpus: list[str]) -> None:
    gpus += [H100, H100]
    require_devices("auto", 2)
    require_devices("cpu", 3)
    for device in ("auto", "cuda"):
        with pytest.raises(ConfigError, match="3 ranks, and 2 GPUs") as caught:
            require_devices(device, 3)
        assert "--ranks 2" in str(caught.value)
    gpus.clear()
    with pytest.raises(ConfigError, match="1 ranks, and 0 GPUs"):
        require_devices("cuda", 1)


def test_gpus_of_two_kinds(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus += [A100, H100, H100]
    with pytest.raises(ConfigError, match=f"1 {A100}, 2 {H100}"):
        require_devices("cuda", 2)
    require_devices("cuda", 1)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    require_devices("cuda", 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match="different kinds"):
        require_devices("cuda", 2)


@pytest.mark.parametrize(
    ("chosen", "n"), [("0", 1), ("0,1", 2), ("", 0), ("-1", 0), ("0,7,1", 1), ("GPU-1a,GPU-2b", 2)]
)
def test_what_cuda_is_shown(
    gpus: list[str], monkeypatch: pytest.MonkeyPatch, chosen: str, n: int
) -> None:
    gpus += [H100, H100]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert len(usable_gpus()) == n  # CUDA's own rule: all before the first that is not there


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is in use"):
            meeting_place(f"127.0.0.1:{port}")
    assert meeting_place(f"127.0.0.1:{port}") == f"127.0.0.1:{port}"
    assert meeting_place("") == ""


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("192.0.2.1:29400", "192.0.2.1 is no address of this machine"),  # RFC 5737: nobody's
        ("127.0.0.1", "is no address"),
        ("127.0.0.1:0", "is no address"),
        ("127.0.0.1:65536", "is no address"),
        ("nobody.invalid:29400", "'nobody.invalid' is not known"),  # RFC 2606
    ],
)
def test_an_address_that_cannot_be_bound(address: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        meeting_place(address)
    assert caught.value.fix


def test_torchrun_meets_at_the_address_given() -> None:
    job = Job("small", Path("/p"), processes=2)
    read = parse_args(torchrun_arguments(job, job.groundup("pretrain"), "127.0.0.1:29401", "x"))
    assert (read.nnodes, read.rdzv_endpoint, read.local_addr) == (
        "1:1", "127.0.0.1:29401", "127.0.0.1",
    )  # fmt: skip
    assert not read.standalone

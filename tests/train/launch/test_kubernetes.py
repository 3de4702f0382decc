"""The Kubernetes objects, against the fields that the documentation names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from groundup.cli.launch import torchrun
from groundup.errors import InputError
from groundup.train.launch.job import Job
from groundup.train.launch.kubernetes import manifest

JOB = Job(
    "My_Model", Path("/srv/a b"), min_nodes=2, max_nodes=4, processes=8, gpus=8, max_restarts=3,
    arguments=("pretrain.sample_prompt=yes: 'no' # {x}",), grace_seconds=90,
)  # fmt: skip


def objects(exclude: list[str], job: Job = JOB, namespace: str | None = None) -> Any:
    service, batch = yaml.safe_load_all(manifest(job, "repo/image:1", "disk", exclude, namespace))
    return service, batch


def test_the_service_gives_the_pods_their_names() -> None:
    service, batch = objects([])
    template = batch["spec"]["template"]
    assert service["apiVersion"], service["kind"] == ("v1", "Service")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert template["spec"]["subdomain"] == service["metadata"]["name"] == "my-model"
    args = template["spec"]["containers"][0]["args"]
    assert args[args.index("--rdzv-endpoint") + 1] == "my-model-0.my-model:29400"


def test_the_job_is_indexed_and_its_failures_have_a_policy() -> None:
    _, batch = objects([])
    spec = batch["spec"]
    assert (batch["apiVersion"], batch["kind"]) == ("batch/v1", "Job")
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # a failure policy asks for it
    evicted, mistake = spec["podFailurePolicy"]["rules"]
    assert evicted == {
        "action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }  # fmt: skip
    assert mistake["action"] == "FailJob"
    assert mistake["onExitCodes"]["values"] == [2]
    names = [container["name"] for container in spec["template"]["spec"]["containers"]]
    assert mistake["onExitCodes"]["containerName"] in names


def test_the_nodes_on_the_list_are_left_out_and_no_two_pods_share_one() -> None:
    affinity = objects(["n7", "n9"])[1]["spec"]["template"]["spec"]["affinity"]
    required = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"] == [
        {"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["n7", "n9"]}
        ]}
    ]  # fmt: skip
    [apart] = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert "nodeAffinity" not in objects([])[1]["spec"]["template"]["spec"]["affinity"]


def test_a_pod_has_time_to_save_and_its_devices_and_disks() -> None:
    pod = objects([])[1]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] > 90
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(mounts.values()) == volumes.keys()
    assert volumes[mounts["/srv/a b"]]["persistentVolumeClaim"] == {"claimName": "disk"}
    assert container["env"] == [
        {"name": "GROUNDUP_HOST", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    ]


def test_the_containers_command_is_one_that_launch_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    [container] = objects([])[1]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "groundup", "launch", "torchrun"]
    seen: dict[str, Any] = {}
    monkeypatch.setattr(torchrun, "callback", lambda **given: seen.update(given))
    done = CliRunner().invoke(torchrun, container["args"], catch_exceptions=False)
    assert done.exit_code == 0
    assert (seen["nodes"], seen["processes"], seen["folder"]) == ("2:4", 8, "/srv/a b")
    assert seen["overrides"] == JOB.arguments
    assert (seen["max_restarts"], seen["grace_seconds"]) == (3, 90)


def test_processors_only_ask_for_no_gpus() -> None:
    _, batch = objects([], Job("p", Path("/p"), processes=2), "team-a")
    assert "resources" not in batch["spec"]["template"]["spec"]["containers"][0]
    assert batch["metadata"] == {"name": "p", "namespace": "team-a"}


@pytest.mark.parametrize(
    ("image", "claim", "namespace"),
    [("", "disk", None), ("a b", "disk", None), ("i", "Disk", None), ("i", "disk", "-x")],
)
def test_names_that_kubernetes_would_refuse(image: str, claim: str, namespace: str | None) -> None:
    with pytest.raises(InputError):
        manifest(JOB, image, claim, [], namespace)

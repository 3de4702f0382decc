"""The job as Kubernetes objects: an indexed Job, one pod a node, and a headless Service.

The Service gives pod 0 a name at which the others meet it. Each pod runs `groundup launch
torchrun`, so doctor, list and restarts are the same as without Kubernetes. A pod that was evicted
is made again; a mistake of the user's, or a node that is not fit, ends the job (exit code 2).
Fields: https://kubernetes.io/docs/concepts/workloads/controllers/job/ (1.31).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from groundup.errors import InputError
from groundup.train.launch.job import LABEL, PORT, Job, label

IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
NODE_NAME = "kubernetes.io/hostname"
EXTRA_GRACE_SECONDS = 30  # for the launcher itself, after the ranks


def manifest(
    job: Job, image: str, claim: str, exclude: Sequence[str], namespace: str | None
) -> str:
    """The objects as YAML.

    Args:
        job: its folder is the path inside the container.
        image: with groundup installed.
        claim: the PersistentVolumeClaim that holds the project, shared by all pods.
        exclude: hosts to leave out.
        namespace: None leaves the choice to kubectl.

    Raises:
        InputError: a name that Kubernetes would not take.
    """
    for value, pattern, option in ((image, IMAGE, "--image"), (claim, LABEL, "--claim")):
        if not pattern.fullmatch(value):
            raise InputError(f"{value!r} is not the name of one", where=option)
    if namespace is not None and not LABEL.fullmatch(namespace):
        raise InputError(f"{namespace!r} is not the name of one", where="--namespace")
    name = label(job.name)
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            "selector": {"job-name": name},
            "publishNotReadyAddresses": True,  # the pods meet before anything is ready
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }
    batch = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": job.max_nodes,
            "parallelism": job.max_nodes,
            "backoffLimit": job.max_restarts * job.max_nodes,
            "podFailurePolicy": {"rules": failure_rules()},
            "template": {
                "metadata": {"labels": {"job-name": name}},
                "spec": pod(job, name, image, claim, exclude),
            },
        },
    }
    return yaml.safe_dump_all([service, batch], sort_keys=False, allow_unicode=True, width=100)


def failure_rules() -> list[dict[str, Any]]:
    """An eviction is nobody's failure; exit code 2 is one that no restart mends."""
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "train", "operator": "In", "values": [2]},
        },
    ]


def pod(job: Job, name: str, image: str, claim: str, exclude: Sequence[str]) -> dict[str, Any]:
    """The pod of one node."""
    resources = {"resources": {"limits": {"nvidia.com/gpu": job.gpus}}} if job.gpus else {}
    container = {
        "name": "train",
        "image": image,
        "command": ["python", "-m", "groundup", "launch", "torchrun"],
        "args": launch_arguments(job, name),
        # The name that the list of nodes to leave out goes by.
        "env": [
            {"name": "GROUNDUP_HOST", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
        ],
        **resources,
        "volumeMounts": [
            {"name": "project", "mountPath": str(job.folder)},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }
    return {
        "subdomain": name,
        "restartPolicy": "Never",  # what a pod failure policy asks for
        "terminationGracePeriodSeconds": job.grace_seconds + EXTRA_GRACE_SECONDS,
        "affinity": affinity(name, exclude),
        "containers": [container],
        "volumes": [
            {"name": "project", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},  # NCCL's and gloo's
        ],
    }


def launch_arguments(job: Job, name: str) -> list[str]:
    """Of ``groundup launch torchrun`` in each pod."""
    nodes = f"{job.min_nodes}:{job.max_nodes}"
    words = [
        "--nodes", nodes, "--nproc-per-node", str(job.processes),
        "--max-restarts", str(job.max_restarts), "--grace-seconds", str(job.grace_seconds),
    ]  # fmt: skip
    if job.max_nodes > 1:
        words += ["--rdzv-endpoint", f"{name}-0.{name}:{PORT}", "--rdzv-id", name]
    return [*words, str(job.folder), *job.arguments]


def affinity(name: str, exclude: Sequence[str]) -> dict[str, Any]:
    """One pod a node, and none on those left out."""
    apart = {"labelSelector": {"matchLabels": {"job-name": name}}, "topologyKey": NODE_NAME}
    rules: dict[str, Any] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
    }
    if exclude:  # NotIn with no values is refused
        left_out = {"key": NODE_NAME, "operator": "NotIn", "values": list(exclude)}
        terms = [{"matchExpressions": [left_out]}]
        rules["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}
        }
    return rules

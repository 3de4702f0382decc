"""``groundup plan --measure``: the planned model on this machine, predicted beside measured.

The plan does not change: what was decided before step 0 is not decided again. Where it was made
just now and its own measurement holds the size, that one is taken; else the size is measured anew,
as an artifact of its own that no stage reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from groundup.artifacts import Artifact, Store, environment, now
from groundup.files import LOCK, lock, write_json
from groundup.plan.local.candidates import Job
from groundup.plan.local.machine import read_machine
from groundup.plan.local.pace import measured_step
from groundup.plan.local.unmeasured import check_size
from groundup.project import Project
from groundup.stages import STAGES, needed
from groundup.stages_plan import TIMED, open_settings, plan_job, training_split
from groundup.stages_work import Work

SET_UP = ("device", "precision", "float32_matmul_precision", "attention", "n_threads")


def measure_plan(project: Project, anew: bool = True) -> dict[str, Any]:
    """Measure the model of the finished plan, and compare.

    Args:
        project: one whose stage ``plan`` is done.
        anew: measure even where the plan's own measurement holds the size.

    Returns:
        ``machine`` (the artifact's name), ``n_layers, d_model, parameters, device_name``, what
        `SET_UP` names, ``matmul_flops_per_second, memory_bytes_per_second, comparison`` (quantity →
        ``predicted, planned, measured, error, basis``) and ``notes``.

    Raises:
        InputError: there is no plan.
        BudgetError: a step of the model does not fit in the memory.
        GroundupError: measuring failed.
    """
    with lock(project.folder / LOCK):
        work = Work(project, Store(project.folder / "artifacts"), only_finished=True)
        for name in needed("plan"):
            work.done[name], _ = STAGES[name](work)
        work.only_finished = False
        plan = work.done["plan"].json("plan.json")
        choice = plan["choice"]
        size = choice["n_layers"], choice["d_model"]
        job = replace(plan_job(work), n_layers=size[0], d_model=size[1])
        planned_on = read_machine(work.done["machine"].json("machine.json"))
        artifact = work.done["machine"]
        if anew or measured_step(planned_on, *size, job.tokens_per_step) is None:
            artifact = measure_size(work, job)
    found = artifact.json("machine.json")
    measured = read_machine(found)
    (row,) = [row for row in plan["candidates"] if row["chosen"]]
    checks = check_size(
        job,
        job.build(*size),
        measured,
        planned_on.steps,
        planned_on.matmul_flops_per_second,
        row,
    )
    differ = [name for name in SET_UP if found[name] != choice[name]]
    notes = [f"{name} is {found[name]} here, where the plan has {choice[name]}" for name in differ]
    if measured.device_name != planned_on.device_name:
        notes.append(f"the plan was made on another machine: {planned_on.device_name}")
    return {
        "machine": artifact.path.name,
        "n_layers": size[0],
        "d_model": size[1],
        "parameters": choice["parameters"],
        "device_name": measured.device_name,
        **{name: found[name] for name in SET_UP},
        "matmul_flops_per_second": measured.matmul_flops_per_second,
        "memory_bytes_per_second": measured.memory_bytes_per_second,
        "comparison": {
            check.quantity: {
                "predicted": check.predicted,
                "planned": check.planned,
                "measured": check.measured,
                "error": check.error,
                "basis": check.basis,
            }
            for check in checks
        },
        "notes": notes,
    }


def measure_size(work: Work, job: Job) -> Artifact:
    """A fresh measurement of the one size of ``job``; the time in its key keeps it from reuse."""
    settings, corpus = open_settings(work), training_split(work)

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.train.measure import measure_machine

        found = measure_machine(settings, job, corpus, None, work.store.root)
        write_json(folder / "machine.json", found)
        return {"matmul_flops_per_second": found["matmul_flops_per_second"]}

    config = {
        "settings": {name: settings[name] for name in TIMED},
        "job": asdict(job),
        "environment": {key: value for key, value in environment().items() if key != "groundup"},
        "measured_at": now(),
    }
    return work.build("machine", config=config, make=make)[0]

"""``groundup plan``: the project's own plan, and each question of planning as a command."""

from __future__ import annotations

import click

from groundup.cli.frame import LazyGroup

COMMANDS = {
    "project": (
        "groundup.cli.stages:plan",
        "Measure this machine, choose a model, predict its run (the default).",
    ),
    "estimate": ("groundup.cli.plan.estimate:estimate", "What a model, or a budget, comes to."),
    "frontier": ("groundup.cli.plan.laws:frontier", "Parameters, tokens and FLOPs by every law."),
    "size": ("groundup.cli.plan.sizes:size", "The size for your data, or for a latency."),
    "inference-optimal": (
        "groundup.cli.plan.sizes:inference_optimal",
        "The size whose training and use together cost least.",
    ),
    "smaller-longer": (
        "groundup.cli.plan.laws:smaller_longer",
        "The tokens that smaller models need for the same loss.",
    ),
    "hyperparameters": (
        "groundup.cli.plan.laws:hyperparameters",
        "Learning rate and batch size by published laws.",
    ),
    "fit": ("groundup.cli.plan.fit:fit", "Fit a scaling law to a table of runs."),
    "params": ("groundup.cli.plan.memory:params", "Exact parameters of a model."),
    "flops": ("groundup.cli.plan.memory:flops", "FLOPs of a model by each convention."),
    "memory": ("groundup.cli.plan.memory:memory", "Bytes on each device of a layout."),
    "communication": (
        "groundup.cli.plan.layout:communication",
        "Bytes that each kind of parallelism moves in a step.",
    ),
    "layout": ("groundup.cli.plan.layout:layout", "The fastest layouts of a cluster."),
    "time": ("groundup.cli.plan.time:time", "Days, chip-hours and money of a run."),
    "hardware": ("groundup.cli.plan.time:hardware", "The chips that are known."),
    "cost": ("groundup.cli.plan.cost:cost", "Money of chip-hours: rented, committed or owned."),
    "carbon": ("groundup.cli.plan.carbon:carbon", "Energy and CO2e of chip-hours by region."),
    "heatmap": ("groundup.cli.plan.maps:heatmap", "The map of under- and over-training."),
    "landscape": ("groundup.cli.plan.maps:landscape", "Compute and cost of known models."),
}


@click.command(cls=LazyGroup, commands=COMMANDS, default="project")
def plan() -> None:
    """How big, on how much text, on which machines, for how long and for how much.

    Without a command it plans the project of this folder (`groundup plan project --help`).
    """

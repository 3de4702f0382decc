"""``groundup bench guard``: faults on purpose, under the guard and under what others do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import json_option

if TYPE_CHECKING:
    from groundup.tables import Table
    from groundup.train.guard.bench.benchmark import Plan, Result, Summary


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=5, help="Trainings of each kind (5).")
@click.option("--first-seed", type=click.IntRange(0), default=0, help="Number of the first (0).")
@click.option("--steps", type=click.IntRange(200), default=400, help="Of each training (400).")
@click.option("--learning-rate", type=float, default=3e-3, help="Of AdamW, at its peak (0.003).")
@click.option("--event", "events", multiple=True, metavar="NAME", help="Only this fault.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Only this policy.")
@click.option("--clean-only", is_flag=True, help="No faults: count false alarms.")
@click.option("--workers", type=click.IntRange(1), help="Processes (default: one per core).")
@json_option
def guard(
    seeds: int,
    first_seed: int,
    steps: int,
    learning_rate: float,
    events: tuple[str, ...],
    policies: tuple[str, ...],
    clean_only: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Inject faults into small trainings and compare how each guard gets over them.

    Two-layer models learn bytes of Python's own library. Soon after the middle of the run a fault
    is injected, the same one under every policy. The difference is the loss on held-out text at the
    end, less that of the same seed's run in which nothing happened.
    """
    from groundup.errors import ConfigError
    from groundup.hardware import available_cores
    from groundup.tables import print_json, print_tables
    from groundup.train.guard.bench.benchmark import POLICIES, Plan, run, summaries
    from groundup.train.guard.bench.events import EVENTS

    if clean_only and events:
        raise ConfigError("--clean-only leaves out every --event", fix="give one of them")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigError(f"--learning-rate {learning_rate:g} is not greater than zero")
    plan = Plan(
        seeds=range(first_seed, first_seed + seeds),
        steps=steps,
        policies=_chosen("--policy", policies, POLICIES),
        events=() if clean_only else _chosen("--event", events, EVENTS),
        learning_rate=learning_rate,
    )
    results = run(plan, workers or available_cores())
    every = list(summaries(results))
    if as_json:
        print_json(_plain(_record(plan, results, every)))
    else:
        print_tables(_tables(plan, results, every))


def _chosen(option: str, names: Sequence[str], known: Mapping[str, Any]) -> tuple[str, ...]:
    """The names given, in the order of the table; all of them if none is."""
    from groundup.errors import ConfigError

    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"{option} {unknown[0]!r} is not known", fix=f"use one of {', '.join(known)}"
        )
    return tuple(name for name in known if not names or name in names)


def _tables(plan: Plan, results: Sequence[Result], every: Sequence[Summary]) -> Iterable[Table]:
    from groundup.tables import Table
    from groundup.train.guard.bench.benchmark import (
        BACK_WITHIN,
        CLEAN,
        POLICIES,
        false_alarms,
        share_back,
    )
    from groundup.train.guard.bench.events import EVENTS

    yield Table(
        f"Runs of {plan.steps} steps, seeds {plan.seeds[0]} to {plan.seeds[-1]}; "
        f"difference of the final loss from the clean run's, nats per byte",
        ("event", "policy", "alarm", "after", "back", "mean", "worst", "left out", "rewinds",
         "extra batches"),
        [
            (
                each.event if each.event == CLEAN or EVENTS[each.event].is_counted
                else f"{each.event} (not counted)",
                each.policy,
                f"{each.n_detected}/{each.n}",
                each.latency,
                f"{each.n_back}/{each.n}",
                _difference(sum(each.differences) / each.n),
                _difference(_worst(each.differences)),
                each.n_skipped,
                each.n_rewinds,
                each.n_extra,
            )
            for each in every
        ],
    )  # fmt: skip
    rows = []
    for policy in plan.policies:
        n_back, n = share_back(every, policy)
        n_alarms, n_suspicions, n_judged = false_alarms(results, policy)
        rows.append((
            policy, POLICIES[policy], f"{n_back}/{n}", f"{n_back / n:.0%}" if n else None,
            f"{n_alarms}/{n_judged:,}", 1000 * n_alarms / n_judged, 1000 * n_suspicions / n_judged,
        ))  # fmt: skip
    yield Table(
        f"In all: back within {BACK_WITHIN:g} nats of the clean run; false alarms on clean runs",
        ("policy", "what it does", "back", "share", "false alarms", "per 1,000",
         "probes per 1,000"),
        rows,
    )  # fmt: skip
    if plan.events:
        named = [(name, EVENTS[name].what) for name in plan.events]
        yield Table("Events", ("name", "what is injected"), named)


def _worst(differences: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, differences)) else max(differences)


def _difference(value: float) -> str:
    return "no end" if math.isnan(value) else f"{value:+.4f}"


def _record(plan: Plan, results: Sequence[Result], every: Sequence[Summary]) -> dict[str, Any]:
    from groundup.train.guard.bench.benchmark import false_alarms, share_back

    totals = {}
    for policy in plan.policies:
        n_back, n = share_back(every, policy)
        n_alarms, n_suspicions, n_judged = false_alarms(results, policy)
        totals[policy] = {
            "n_back": n_back, "n_events": n, "n_false_alarms": n_alarms,
            "n_suspicions": n_suspicions, "n_judged": n_judged,
        }  # fmt: skip
    return {
        "steps": plan.steps,
        "seeds": list(plan.seeds),
        "learning_rate": plan.learning_rate,
        "totals": totals,
        "summaries": [asdict(each) for each in every],
        "runs": [asdict(each) for each in results],
    }


def _plain(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Which run a project file leads to, and with which settings that run goes on.

A run's folder is named by a hash of its model, its settings and the content of its tokens, so that
another value is another run. With ``--allow-change`` the newest run goes on with the new value
instead, and answers to the changed file from then on: its record lists the hashes it answers to.
What the plan chose and the file leaves open stays as the run has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.artifacts import Artifact
from groundup.errors import ConfigError, InputError
from groundup.files import hash_json
from groundup.find import RUNS
from groundup.progress import say
from groundup.stages_found import FILLED, has_findings
from groundup.stages_named import named_now, of_content, pretrain_section
from groundup.stages_plan import open_settings, plan_job
from groundup.stages_work import VERSIONS, Work
from groundup.track.run import newest_good_checkpoint, read_run, step_of
from groundup.train.asynchronous.config import WHO_WORKS
from groundup.train.changes import given_by_hand
from groundup.train.config import BESIDE_THE_BITS, CHOSEN, WHO_IS_TOLD, Settings
from groundup.train.fingerprint import Comparison, compare, is_named, options, written

if TYPE_CHECKING:
    from groundup.project import Project

UNFINISHED = ("running", "interrupted", "failed")
OPEN = (None, "auto")
KEY_LENGTH = 12  # hexadecimal digits of the hash in a folder's name


@dataclass(frozen=True)
class RunToTrain:
    """A run as this project file wants it.

    Attributes:
        key: what its bits depend on: version, model, settings and tokens, files by their content.
        settings: all of them, files by their place.
        answers_to: hashes of the keys of all project files that lead to it.
        changes: what has changed since its beginning (``step, key, before, after``).
        allow: keys that may differ from those in its last checkpoint.
        reproduces: the run that is trained again to compare, if it is for that.
    """

    folder: Path
    key: Mapping[str, Any]
    settings: Settings
    answers_to: tuple[str, ...]
    changes: tuple[Mapping[str, Any], ...] = ()
    allow: tuple[str, ...] = ()
    reproduces: str | None = None


def run_of(work: Work, chosen: Mapping[str, Any]) -> RunToTrain:
    """The run that the project file and its plan lead to; it may not have begun.

    Raises:
        ConfigError: the newest run is to go on, and differs in what it must not.
        InputError: the newest run is to go on, and there is none.
    """
    settings = named_now(chosen["settings"], pretrain_section(work.project))
    key = key_of(work, chosen["model"], settings)
    answers = hash_json(key)
    if work.allow is not None:
        return changed_run(work, settings, answers, work.allow)
    folder = work.project.folder / RUNS / f"{work.project.project.name}-{answers[:KEY_LENGTH]}"
    found = answering(work, answers) or Artifact(folder, read_run(folder) or {})
    if found.manifest.get("changes"):
        return as_it_is(work, found, settings, answers)
    if not found.path.exists():
        point_out(work, settings)
    return RunToTrain(found.path, key, Settings(**settings), (answers,))


def key_of(work: Work, model: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is named after."""
    return {
        "version": VERSIONS["pretrain"],
        "model": model,
        "settings": of_content(settings),
        "tokens": work.done["tokens"].content_hash,
    }


def runs_of(project: Project) -> list[Artifact]:
    """The runs of this project's name, the one worked on last first."""
    records = (project.folder / RUNS).glob("*/run.json")
    named = [
        path.parent
        for path in sorted(records, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        if path.parent.name.rpartition("-")[0] == project.project.name
    ]
    found = [Artifact(folder, read_run(folder) or {}) for folder in named]
    return [run for run in found if "config" in run.manifest]


def answering(work: Work, answers: str) -> Artifact | None:
    """The run that has been changed to what this project file says."""
    for run in runs_of(work.project):
        if answers in run.manifest.get("answers_to", ()):
            return run
    return None


def as_it_is(work: Work, run: Artifact, settings: Mapping[str, Any], answers: str) -> RunToTrain:
    """A run that has been changed, with its own settings; what changes no bit is as in the file."""
    own, changes = kept(run, settings), tuple(run.manifest["changes"])
    key = key_of(work, run.manifest["config"]["model"], own)
    others = compare_settings(work, run, settings).refused
    if others:
        say(
            f"{run.path.name} has settings of its own, as it was changed on its way; this file has "
            f"{', '.join(key for key, _, _ in others)} otherwise"
        )
    return RunToTrain(
        run.path,
        key,
        Settings(**own),
        answered(run, answers),
        changes,
        tuple(change["key"] for change in changes),  # its last checkpoint may be from before
    )


def kept(run: Artifact, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, but for what changes no bit, where files are, and who is told."""
    own = run.manifest["config"]["settings"]
    return {
        **own,
        **{name: settings[name] for name in BESIDE_THE_BITS},
        "objective": {**own["objective"], **_some(settings["objective"], "teacher")},
        "augment": {**own["augment"], **_some(settings["augment"], "synonyms")},
        "guard": {**own["guard"], **_some(settings["guard"], *WHO_IS_TOLD)},
        "asynchronous": {
            **own.get("asynchronous", {"kind": "none"}),
            **_some(settings["asynchronous"], *WHO_WORKS),
        },
        "init_from": settings["init_from"],
    }


def _some(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def changed_run(
    work: Work, settings: Mapping[str, Any], answers: str, allow: tuple[str, ...]
) -> RunToTrain:
    """The newest run, to go on with what the project file says now of ``allow``.

    Raises:
        ConfigError: other settings differ too, the run would be another one, or it would end
            where it has been already.
        InputError: there is no run.
    """
    runs = runs_of(work.project)
    if not runs:
        raise InputError(
            "there is no run that could go on with a change",
            where=str(work.project.folder / RUNS),
            fix="leave --allow-change out: a run then begins with these values",
        )
    run = runs[0]
    found = compare_settings(work, run, settings, allow)
    found.require(run.path)
    require_not_swapped(run, found)
    wanted = wanted_settings(work, run, settings, allow)
    require_not_behind(run, found, wanted["steps"])
    say(f"going on with {run.path.name}")
    changes = tuple(run.manifest.get("changes", ()))
    return RunToTrain(
        run.path,
        key_of(work, wanted_model(work, run), wanted),
        Settings(**wanted),
        answered(run, answers),
        changes,
        (*allow, *(change["key"] for change in changes)),
    )


def compare_settings(
    work: Work, run: Artifact, settings: Mapping[str, Any], allow: tuple[str, ...] = ()
) -> Comparison:
    """In what the project file would change a run."""
    wanted = wanted_settings(work, run, settings, allow)
    now = key_of(work, wanted_model(work, run), wanted)
    beside = {name: wanted[name] for name in BESIDE_THE_BITS}
    stored = {name: run.manifest["fingerprint"].get(name) for name in now}
    return compare(stored, {**now, "settings": {**beside, **now["settings"]}}, allow)


def wanted_settings(
    work: Work, run: Artifact, settings: Mapping[str, Any], allow: tuple[str, ...]
) -> dict[str, Any]:
    """``settings``; what the file leaves to the plan and ``allow`` does not name is the run's."""
    written_down, own = open_settings(work), run.manifest["config"]["settings"]
    left_open = [
        name for name in CHOSEN if written_down[name] in OPEN and not is_named(name, allow)
    ]
    if has_findings(work.store):  # whose values the plan took, now or when the run began
        section = pretrain_section(work.project)
        left_open += [
            name for name in FILLED if getattr(section, name) is None and not is_named(name, allow)
        ]
    return {**settings, **{name: own[name] for name in left_open}}


def wanted_model(work: Work, run: Artifact) -> dict[str, Any]:
    """The model that the file wants; sizes that it leaves to the plan are the run's."""
    job, own = plan_job(work), run.manifest["config"]["model"]
    return job.build(job.n_layers or own["n_layers"], job.d_model or own["d_model"]).to_dict()


def require_not_swapped(run: Artifact, found: Comparison) -> None:
    """Refuse to change the beginning of what a change at a step has set since.

    Raises:
        ConfigError: it has; the keys are named.
    """
    scheduled = run.manifest["config"]["settings"].get("changes", ())
    swapped = {name for change in scheduled for name in change}
    swapped |= {name for change in given_by_hand(run.path) for name in change.settings()}
    both = [key for key, _, _ in found.allowed if key in swapped]
    if both:
        raise ConfigError(
            f"{' and '.join(both)} of this run is set by a change at a step, which would win",
            where=str(run.path),
            fix=f"`groundup pretrain --at STEP {both[0]}=…` sets it from another step on",
        )


def require_not_behind(run: Artifact, found: Comparison, steps: int) -> None:
    """Refuse to end a run at a step that it has done.

    Raises:
        ConfigError: it goes on from a later one.
    """
    if all(key != "steps" for key, _, _ in found.allowed):
        return
    last = newest_good_checkpoint(run.path / "checkpoints")
    done = step_of(last) if last is not None else 0
    if steps < done:
        raise ConfigError(
            f"the run has done {done:,} steps already, and cannot end at {steps:,}",
            where=f"pretrain.steps, {run.path}",
            fix=f"write at least {done}; without --allow-change, another run begins",
        )


def answered(run: Artifact, answers: str) -> tuple[str, ...]:
    """The hashes that a run answers to, and one more."""
    return tuple(dict.fromkeys((*run.manifest.get("answers_to", ()), answers)))


def point_out(work: Work, settings: Mapping[str, Any]) -> None:
    """Before a new run begins, say which unfinished one it differs from in settings only."""
    for run in runs_of(work.project):
        if run.manifest["status"] not in UNFINISHED or work.only_finished:
            continue
        found = compare_settings(work, run, settings)
        if not (found.refused or found.machine):
            found = compare_settings(work, run, settings, CHOSEN)  # the plan chose otherwise
        changed = (*found.refused, *found.allowed, *found.machine)
        if changed and not found.structural:
            say(
                f"{run.path.name} is not finished, and differs only in "
                f"{', '.join(map(written, changed))}: a new run begins. To go on with that one: "
                f"groundup pretrain --project {work.project.folder} {options(changed)}"
            )
            return

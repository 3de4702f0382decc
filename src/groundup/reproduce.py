"""``groundup reproduce``: a run trained again from its record alone, and compared with it.

``run.json`` holds the whole project file, the model, the settings, the content of the tokens, the
changes made on the way and the environment. The tokens are found by their content, or made again
from the text. Then the same steps are taken in a new folder, with the same changes at the same
steps, and losses and final hash are laid beside the old ones: on the same build and processor they
are equal to the last bit. Where they are not, the first step that differs and what differs in the
environment are said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.artifacts import Artifact, Store
from groundup.errors import InputError, Interrupted
from groundup.files import LOCK, lock
from groundup.find import ARTIFACTS
from groundup.progress import say
from groundup.stages import STAGES
from groundup.stages_identity import RunToTrain
from groundup.stages_named import named_now, of_content, pretrain_section
from groundup.stages_pretrain import last_step
from groundup.stages_work import Work
from groundup.track.run import METRICS, read_lines, read_run
from groundup.train.changes import given_by_hand, write
from groundup.train.config import Settings
from groundup.train.fingerprint import compare, flat
from groundup.train.ramps import samples_before

if TYPE_CHECKING:
    from groundup.project import Project

NEEDED = ("project_config", "artifacts", "fingerprint", "matmul_flops_per_second", "config")
BY_CONTENT = ("objective.teacher", "augment.synonyms", "init_from")  # the record has their hashes


@dataclass(frozen=True)
class Reproduction:
    """A run beside the same trained again.

    Attributes:
        output: the new run's folder.
        steps: that were compared.
        losses: whether all those that stand in both logs are equal; None: none does.
        not_in_log: the steps whose losses one of the logs lacks, as (first, last) of each gap.
        loss_chain, final_hash: (old, new); None: not compared, for not all steps were taken or
            the old run did not end.
        first_difference: the first step whose losses differ: (step, old, new).
        environment: what differs in build, machine and packages: (key, old, new).
    """

    run: str
    output: str
    steps: int
    losses: bool | None
    not_in_log: tuple[tuple[int, int], ...]
    loss_chain: tuple[str, str] | None
    final_hash: tuple[str, str] | None
    first_difference: tuple[int, float, float] | None
    environment: tuple[tuple[str, Any, Any], ...]

    @property
    def equal(self) -> bool:
        """Whether all that could be compared is equal bit for bit."""
        pairs = (self.loss_chain, self.final_hash)
        return self.losses is not False and all(one is None or one[0] == one[1] for one in pairs)


def reproduce(
    run: Path, *, steps: int | None = None, output: Path | None = None, project: Path | None = None
) -> Reproduction:
    """Train a run again, or its first steps, and compare.

    Args:
        run: its folder, or its ``run.json``.
        steps: only so many; None: all that the run has taken.
        output: the new run's folder; None: beside the old one.
        project: the folder with its artifacts and its text; None: the one above ``runs``.

    Raises:
        InputError: there is no such record, the tokens cannot be had, or the output is there.
        ConfigError: what the run began with or learnt from is no longer what it was.
        Interrupted: asked to stop.
    """
    run = run.parent if run.name == "run.json" else run
    record = read_run(run)
    if record is None:
        raise InputError("there is no readable run.json here", where=str(run), fix="name a run")
    if lacking := [name for name in NEEDED if name not in record]:
        raise InputError(
            f"the record does not say {' and '.join(lacking)}: an earlier version wrote it",
            where=str(run / "run.json"),
        )
    taken = steps_taken(run, record)
    n_steps = min(taken, steps or taken)
    if not n_steps:
        raise InputError("this run has taken no step that is written down", where=str(run))
    folder = (project or run.resolve().parent.parent).resolve()
    # Elsewhere, nothing is written to the project, and `pretrain` locks the new run's own folder.
    project_is_ours = lock(folder / LOCK) if output is None else nullcontext()
    output = output or free_folder(run)
    if output.exists() and any(output.iterdir()):
        raise InputError("this folder is not empty", where=str(output), fix="name a new one")
    with project_is_ours:
        train_again(run, record, folder, output, n_steps)
    return compared(run, record, output, n_steps)


def steps_taken(run: Path, record: Mapping[str, Any]) -> int:
    """The steps of a run: of one that did not end, those in its log."""
    if record["status"] == "finished":
        return int(record["steps"])
    return max((line["step"] for line in read_lines(run / METRICS)), default=0)


def free_folder(run: Path) -> Path:
    """``<run>-reproduced-1``, or the next number that is free."""
    number = 1
    while (folder := run.with_name(f"{run.name}-reproduced-{number}")).exists():
        number += 1
    return folder


def train_again(
    run: Path, record: Mapping[str, Any], folder: Path, output: Path, n_steps: int
) -> None:
    """The first ``n_steps`` of a run, in ``output``.

    Raises:
        ConfigError, InputError: see `reproduce`.
    """
    from groundup.project import Project
    from groundup.stages_training import Forecast, run_job
    from groundup.tokens.dataset import TokenDataset
    from groundup.tokens.run_mixture import planned
    from groundup.train.pretrain import pretrain

    again = Project(**record["project_config"], folder=folder)
    done = inputs_of(record, again, output)
    forecast = Forecast(
        record["predicted"],
        record["matmul_flops_per_second"],
        lambda _: {"cost_usd": None, "energy_kwh": None},
    )
    output.mkdir(parents=True, exist_ok=True)
    write(output, given_by_hand(run))
    for part in parts_of(run, record, again, output, n_steps):
        settings = part.run.settings
        dataset = planned(
            TokenDataset(done["tokens"].path, "train"),
            settings.context_length,
            samples_before(settings, settings.steps),
        )
        job = replace(run_job(again, done, part.run, forecast), until=part.until)
        try:
            pretrain(output, dataset, job)
        except Interrupted:
            stopped_at = max((line["step"] for line in read_lines(output / METRICS)), default=0)
            if part.until is None or stopped_at < part.until:
                raise


@dataclass(frozen=True)
class Part:
    """Some steps of a run between two changes of its settings.

    Attributes:
        until: the step it ends after; None: the run's own end.
    """

    run: RunToTrain
    until: int | None


def parts_of(
    old: Path, record: Mapping[str, Any], project: Project, output: Path, n_steps: int
) -> Iterator[Part]:
    """The parts of a run: one, and one more for each step at which settings were changed.

    Raises:
        ConfigError: a folder or file that it learnt from has another content now.
        InputError: a change that only its hash is left of.
    """
    changes = [each for each in record.get("changes", ()) if each["step"] < n_steps]
    later = [each for each in record.get("changes", ()) if each["step"] >= n_steps]
    lost = [each["key"] for each in record.get("changes", ()) if each["key"] in BY_CONTENT]
    if lost:
        raise InputError(
            f"{lost[0]} was changed on the way, and only the hash of what it was is left",
            where=str(old / "run.json"),
        )
    settings = named_now(record["config"]["settings"], pretrain_section(project))
    require_as_it_was(record, settings, old)
    for change in reversed(later):
        settings = with_value(settings, change["key"], change["before"])
    bounds = sorted({each["step"] for each in changes} - {0})
    for n_begun, until in enumerate([*bounds, n_steps]):
        begun = bounds[n_begun - 1] if n_begun else 0
        now = settings
        for change in reversed([each for each in changes if each["step"] > begun]):
            now = with_value(now, change["key"], change["before"])
        before = tuple(each for each in changes if each["step"] < begun)
        ends = last_step(old, Settings(**now)) <= until
        yield Part(
            RunToTrain(
                output,
                {**key_of(record), "settings": of_content(now)},
                Settings(**now),
                (),
                before,
                tuple(each["key"] for each in changes),
                reproduces=str(record["name"]),
            ),
            None if ends else until,
        )


def key_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was named after, without its settings."""
    return {name: record["fingerprint"][name] for name in ("version", "model", "tokens")}


def require_as_it_was(record: Mapping[str, Any], settings: Mapping[str, Any], run: Path) -> None:
    """Check that teacher, synonyms and first model are still what the run had.

    Raises:
        ConfigError: one is another; it is named with both hashes.
    """
    now = flat({"settings": of_content(settings)})
    stored = flat({"settings": record["fingerprint"]["settings"]})
    compare(
        {key: stored.get(key) for key in BY_CONTENT}, {key: now.get(key) for key in BY_CONTENT}
    ).require(run / "run.json")


def with_value(settings: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """``settings`` with one value, under a dotted key, replaced."""
    name, _, rest = key.partition(".")
    return {**settings, name: with_value(settings[name], rest, value) if rest else value}


def inputs_of(record: Mapping[str, Any], project: Project, output: Path) -> dict[str, Artifact]:
    """The tokens and the tokenizer of a run: found by their content, or made again.

    Raises:
        InputError: they are gone, and what is made of the text is not the same.
    """
    wanted = {name: record["artifacts"][name]["content"] for name in ("tokens", "tokenizer")}
    found: dict[str, Artifact] = {}
    for artifact in Store(project.folder / ARTIFACTS).all():
        if wanted.get(artifact.kind) == artifact.content_hash:
            found[artifact.kind] = artifact
    work = Work(project, Store(project.folder / ARTIFACTS), done=found)
    if found.keys() < wanted.keys():
        missing = " and ".join(sorted(wanted.keys() - found.keys()))
        say(f"the run's {missing} are not among the artifacts: made again from the text")
        work = Work(project, Store(output / ARTIFACTS))
        for name in ("data", "tokenizer", "tokens"):
            work.done[name], _ = STAGES[name](work)
        other = [name for name in wanted if work.done[name].content_hash != wanted[name]]
        if other:
            raise InputError(
                f"the {' and '.join(other)} made again are not those of the run: the text, or what "
                "reads it, is no longer the same",
                where=f"data.input: {project.data.input}, below {project.folder}",
                fix="bring the text back, or name the folder of the project with --project",
            )
    work.require_whole(wanted)
    return {name: work.done[name] for name in wanted}


def compared(run: Path, record: Mapping[str, Any], output: Path, n_steps: int) -> Reproduction:
    """The old run beside the new one.

    Raises:
        InputError: there is nothing of the old one to compare with.
    """
    new = read_run(output)
    assert new is not None  # it was closed just now
    whole = record["status"] == new["status"] == "finished" and n_steps == record["steps"]
    before, after = losses(run, n_steps), losses(output, n_steps)
    both = sorted(before.keys() & after.keys())
    if not both and not whole:
        raise InputError(
            "the old losses are not there to compare with",
            where=str(run / METRICS),
            fix="leave --steps out: whole runs are compared by their hashes",
        )
    first = next(
        ((step, before[step], after[step]) for step in both if before[step] != after[step]), None
    )
    was, here = (
        flat({"environment": of["environment"], "numerics": of["fingerprint"]["numerics"],
              "ranks": of["fingerprint"]["ranks"]})
        for of in (record, new)
    )  # fmt: skip
    return Reproduction(
        run=str(run),
        output=str(output),
        steps=n_steps,
        losses=first is None if both else None,
        not_in_log=gaps(both, n_steps),
        loss_chain=(record["loss_chain"], new["loss_chain"]) if whole else None,
        final_hash=(record["final_hash"], new["final_hash"]) if whole else None,
        first_difference=first,
        environment=tuple(
            (key, was.get(key), here.get(key))
            for key in sorted(was.keys() | here.keys())
            if was.get(key) != here.get(key)
        ),
    )


def losses(run: Path, n_steps: int) -> dict[int, float]:
    """Step → loss of the first steps, as far as a run's log has them."""
    return {
        line["step"]: line["loss"]
        for line in read_lines(run / METRICS)
        if line["step"] <= n_steps and isinstance(line.get("loss"), float)
    }


def gaps(steps: Sequence[int], n_steps: int) -> tuple[tuple[int, int], ...]:
    """The steps of 1 … ``n_steps`` that the rising ``steps`` leave out, as (first, last) each."""
    around = pairwise([0, *steps, n_steps + 1])
    return tuple((one + 1, other - 1) for one, other in around if other > one + 1)

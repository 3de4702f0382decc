"""What `groundup worker` works on: a run of the project here, by its record and its artifacts.

Everything is taken from ``run.json``, tokens and tokenizer by their content, so a copy of the
project (or a disk that is shared) is all that a machine needs. The server compares.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.artifacts import Artifact, Store
from groundup.errors import InputError
from groundup.files import read_json
from groundup.find import ARTIFACTS, RUNS, modified
from groundup.stages_identity import RunToTrain
from groundup.stages_named import named_now, of_content, pretrain_section
from groundup.stages_work import VERSIONS
from groundup.track.run import read_run
from groundup.train.config import Settings

if TYPE_CHECKING:
    from groundup.project import Project
    from groundup.train.asynchronous.work import Done


def run_to_join(folder: Path, name: str | None) -> Path:
    """The folder of a run: of this name, or the newest of the project.

    Raises:
        InputError: there is none.
    """
    if name is not None:
        found = [folder / RUNS / name / "run.json"]
    else:
        found = sorted((folder / RUNS).glob("*/run.json"), key=modified, reverse=True)
    for path in found:
        if path.is_file():
            return path.parent
    raise InputError(
        "there is no such run",
        where=str(folder / RUNS / (name or "")),
        fix="copy the server's project here (artifacts and runs/<run>/run.json), or name its "
        "folder with --project",
    )


def address_of(run: Path) -> tuple[str, int]:
    """Where the server of a run on this machine listens.

    Raises:
        InputError: it is not served.
    """
    from groundup.train.asynchronous.serve import ADDRESS_FILE

    path = run / ADDRESS_FILE
    if not path.is_file():
        raise InputError(
            "this run has no parameter server at work",
            where=str(run),
            fix="start it with `groundup pretrain`, or name it with --server HOST:PORT",
        )
    found = read_json(path)
    return str(found["host"]), int(found["port"])


def token_of(run: Path, file: Path | None) -> str:
    """The shared secret: in a file, the environment, or the folder of a run on this machine.

    Raises:
        InputError: there is none.
    """
    import os

    from groundup.train.asynchronous.crew import TOKEN_VARIABLE
    from groundup.train.asynchronous.serve import TOKEN_FILE

    if file is None and os.environ.get(TOKEN_VARIABLE):
        return os.environ[TOKEN_VARIABLE].strip()
    path = file or run / TOKEN_FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(
            "there is no token to join with",
            where=str(path),
            fix=f"copy {TOKEN_FILE} from the server's run folder and name it with --token-file, or "
            f"set {TOKEN_VARIABLE}",
        ) from error


def join_run(
    folder: Path,
    run: Path,
    address: tuple[str, int],
    token: str,
    *,
    name: str,
    n_threads: int | None,
    stop: Callable[[], bool],
) -> Done:
    """Work for the server of a run until it is over.

    Raises:
        InputError: no record or no tokens of the run are here; see also `asynchronous.work.work`.
        ConfigError, RankFailedError: see `asynchronous.work.work`.
    """
    from groundup.project import Project
    from groundup.stages_training import Forecast, run_job
    from groundup.tokens.dataset import TokenDataset
    from groundup.tokens.run_mixture import planned
    from groundup.train.asynchronous.work import Work, work

    record = read_run(run)
    if record is None or "project_config" not in record:
        raise InputError("there is no readable record of a run", where=str(run / "run.json"))
    project = Project(**record["project_config"], folder=folder)
    done = artifacts_of(record, project)
    settings = named_now(record["config"]["settings"], pretrain_section(project))
    key = {
        "version": VERSIONS["pretrain"],
        "model": record["config"]["model"],
        "settings": of_content(settings),
        "tokens": done["tokens"].content_hash,
    }
    wanted = RunToTrain(run, key, Settings(**settings), ())
    forecast = Forecast(
        record["predicted"],
        record["matmul_flops_per_second"],
        lambda _: {"cost_usd": None, "energy_kwh": None},
    )
    job = run_job(project, done, wanted, forecast)
    dataset = planned(
        TokenDataset(done["tokens"].path, "train"),
        wanted.settings.context_length,
        record["planned_samples"],
    )
    given = Work(key, wanted.settings, job.objective, dataset)
    return work(address, token, given, name=name, n_threads=n_threads, stop=stop)


def artifacts_of(record: dict[str, Any], project: Project) -> dict[str, Artifact]:
    """The tokens and the tokenizer of a run, by their content.

    Raises:
        InputError: they are not here.
    """
    found: dict[str, Artifact] = {}
    for artifact in Store(project.folder / ARTIFACTS).all():
        wanted = record["artifacts"].get(artifact.kind)
        if wanted is not None and wanted["content"] == artifact.content_hash:
            found[artifact.kind] = artifact
    for name in ("tokens", "tokenizer"):
        if name not in found:
            raise InputError(
                f"the {name} that the run learns from are not here",
                where=str(project.folder / ARTIFACTS),
                fix=f"copy artifacts/{name} of the server's project here",
            )
    return found

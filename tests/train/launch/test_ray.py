"""The file for Ray Train: what it asks of Ray, what each worker starts, when it is given up."""

from __future__ import annotations

import os
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from groundup.train.launch.job import Job
from groundup.train.launch.ray import script

ENDS = "import sys; sys.exit({code})"


class Asked:
    """Stands where Ray does: `fit` calls the loop of rank 1 of 4, and raises what it raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.configs: list[Any] = []
        asked = self

        class Context:
            get_world_rank = staticmethod(lambda: 1)
            get_world_size = staticmethod(lambda: 4)
            get_local_rank = staticmethod(lambda: 1)
            get_local_world_size = staticmethod(lambda: 2)

        class TorchTrainer:
            def __init__(self, loop: Any, *, scaling_config: Any, run_config: Any) -> None:
                asked.configs.append((scaling_config, run_config))
                self.loop = loop

            def fit(self) -> None:
                try:
                    self.loop()
                except RuntimeError as error:
                    raise ValueError(f"worker failed: {error}") from error

        ray, train, torch_part = (types.ModuleType(n) for n in ("ray", "ray.train", "t"))
        ray.init = lambda **_: None  # type: ignore[attr-defined]
        ray.train = train  # type: ignore[attr-defined]
        for name in ("ScalingConfig", "RunConfig", "FailureConfig"):
            setattr(train, name, lambda **words: words)
        train.get_context = Context  # type: ignore[attr-defined]
        torch_part.TorchTrainer = TorchTrainer  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setitem(sys.modules, "ray.train", train)
        monkeypatch.setitem(sys.modules, "ray.train.torch", torch_part)


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, plan_code: int = 0) -> Any:
    """The exit code of the file, and what it left; ``groundup`` ends with these codes."""
    text = script(Job("small", folder, processes=4, gpus=4, max_restarts=2), sys.executable)
    path = folder / "small_ray.py"
    path.write_text(text)
    asked = Asked(monkeypatch, folder)
    names = runpy.run_path(str(path))
    seen = folder / "seen"
    tell = f"import os; open({str(seen)!r}, 'a').write(os.environ['RANK'] + ' ' + " \
        "os.environ['WORLD_SIZE'] + ' ' + os.environ['MASTER_PORT'] + '\\n'); "  # fmt: skip
    scope = names["main"].__globals__
    scope["PLAN"] = ["-S", "-c", ENDS.format(code=plan_code)]
    scope["PRETRAIN"] = ["-S", "-c", tell + ENDS.format(code=code)]
    scope["meeting_place"] = lambda context: ("10.0.0.1", 4711)
    pauses: list[float] = []
    scope["time"] = types.SimpleNamespace(sleep=pauses.append)
    ended = names["main"]()
    told = seen.read_text().splitlines() if seen.exists() else []
    return ended, told, pauses, asked.configs


def test_each_worker_is_told_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, told, pauses, configs = run(tmp_path, monkeypatch, 0)
    assert (code, told, pauses) == (0, ["1 4 4711"], [])
    scaling, running = configs[0]
    assert scaling == {"num_workers": 4, "use_gpu": True}
    assert running["failure_config"] == {"max_failures": 0}
    assert "RANK" not in os.environ


@pytest.mark.parametrize("code", [2, 130])
def test_a_mistake_and_a_stop_are_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    ended, told, _, _ = run(tmp_path, monkeypatch, code)
    assert (ended, len(told)) == (code, 1)


def test_failures_without_a_checkpoint_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told, pauses, _ = run(tmp_path, monkeypatch, 75)
    assert (code, len(told), len(pauses)) == (1, 3, 2)


def test_nothing_starts_where_the_plan_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told, _, configs = run(tmp_path, monkeypatch, 0, plan_code=2)
    assert (code, told, configs) == (2, [], [])


@pytest.mark.slow
def test_a_real_ray_runs_two_ranks(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    import subprocess

    from tests.projects import environment, groundup, run_record, small_project

    project = small_project(tmp_path / "p")
    assert groundup("launch", "ray", "--nproc-per-node", 2, project).code == 0
    done = subprocess.run(
        [sys.executable, str(project / "launch" / "small_ray.py")],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    record = run_record(project)
    assert (record["status"], record["fingerprint"]["ranks"]["size"]) == ("finished", 2)

"""The batch script, run by bash with Slurm's commands played by small scripts."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from groundup.errors import InputError
from groundup.train.doctor.exclude import FOLDER, LIST
from groundup.train.launch.job import Job
from groundup.train.launch.slurm import script

# Each call is a line in `calls`; what doctor and training do stands in `doctor.sh`, `train.sh`.
TOOLS = {
    "scontrol": """
        if [ "$1" = show ]; then printf 'n1\\nn2\\nn3\\n'; else echo "scontrol $*" >>calls; fi
    """,
    "sbatch": 'echo "sbatch $*" >>calls',
    "sleep": 'echo "sleep $*" >>calls',
    "srun": """
        echo "srun ${*//$'\\n'/ }" >>calls
        case "$*" in
          *" doctor "*) source ./doctor.sh ;;
          *" plan "*) exit 0 ;;
          *) source ./train.sh ;;
        esac
    """,
}


class Cluster:
    """A folder in which the script of a job runs."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder, self.job = folder, job
        self.tools = folder / "tools"
        self.tools.mkdir()
        for name, body in TOOLS.items():
            tool = self.tools / name
            tool.write_text(f"#!/bin/bash\n{body}")
            tool.chmod(0o755)
        self.script = folder / "the job.sbatch"
        self.script.write_text(script(job, self.script, "python3", [], {}))
        self.plays(doctor="exit 0", train="exit 0")

    def plays(self, **parts: str) -> None:
        """Set what doctor and training do."""
        for name, body in parts.items():
            (self.folder / f"{name}.sh").write_text(body)

    def start(self, **more: str) -> subprocess.Popen[str]:
        """The batch script, as Slurm starts it."""
        environment = {
            "PATH": f"{self.tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": "n[1-3]", "TMPDIR": str(self.folder), **more,
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", str(self.script)], cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, **more: str) -> tuple[int, str]:
        """Exit code and standard error."""
        process = self.start(**more)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def trainings(self) -> list[str]:
        return [call for call in self.calls if "launch.agent" in call]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    folder = tmp_path / "it's a $folder"
    (folder / FOLDER).mkdir(parents=True)
    job = Job(
        "small", folder, min_nodes=2, max_nodes=3, processes=8, gpus=8, max_restarts=2,
        arguments=("pretrain.sample_prompt=a 'b' $c",),
    )  # fmt: skip
    return Cluster(folder, job)


def test_bash_reads_it_and_the_head_is_sbatchs(cluster: Cluster) -> None:
    subprocess.run(["bash", "-n", str(cluster.script)], check=True)
    text = script(
        cluster.job, cluster.script, "python3", ["n7", "n9"], {"partition": "gpu"}
    ).splitlines()  # fmt: skip
    head = [line for line in text if line.startswith("#SBATCH ")]
    assert text[0] == "#!/bin/bash"
    assert text[1 : 1 + len(head)] == head  # sbatch stops reading at the first other line
    assert {line.removeprefix("#SBATCH ") for line in head} == {
        "--job-name=small", "--nodes=2-3", "--ntasks-per-node=1", "--gpus-per-node=8",
        "--signal=B:TERM@120", "--open-mode=append", "--partition=gpu", "--exclude=n7,n9",
        "--requeue",
    }  # fmt: skip


def test_doctor_then_plan_then_training_on_all_nodes(cluster: Cluster) -> None:
    assert cluster.run() == (0, "")
    doctor, plan, train = cluster.calls
    assert "--nodes=3 --ntasks=3" in doctor
    assert doctor.endswith(f"-m groundup doctor {cluster.folder} --hosts n1,n2,n3")
    assert "--nodes=1 --ntasks=1 --nodelist=n1" in plan
    assert "--nnodes=3 --nproc-per-node=8 --max-restarts=0" in train
    assert "--rdzv-endpoint=n1:29400 --rdzv-id=77-1" in train
    assert train.endswith(f"pretrain --project {cluster.folder} pretrain.sample_prompt=a 'b' $c")


def test_nodes_on_the_list_and_those_the_doctor_names_are_left_out(cluster: Cluster) -> None:
    names = shlex.quote(str(cluster.folder / FOLDER / LIST))
    cluster.plays(doctor=f"[ -s {names} ] || {{ echo n2 >{names}; exit 2; }}")
    assert cluster.run()[0] == 0
    doctors = [call for call in cluster.calls if " doctor " in call]
    assert [("n1,n2,n3" in call, "n1,n3" in call) for call in doctors] == [
        (True, False), (False, True),
    ]  # fmt: skip
    [train] = cluster.trainings()
    assert "--nodes=2 " in train
    assert "--nodelist=n1,n3 " in train
    assert "--nnodes=2 " in train


def test_with_too_few_nodes_left_the_job_is_submitted_without_the_bad_ones(
    cluster: Cluster,
) -> None:
    (cluster.folder / FOLDER / LIST).write_text("n1\nn3\n")
    assert cluster.run()[0] == 0
    again = f"sbatch --exclude=n1,n3 --export=ALL,GROUNDUP_SUBMISSIONS=1 {cluster.script}"
    assert cluster.calls == [again]
    code, err = cluster.run(GROUNDUP_SUBMISSIONS="2")
    assert code == 1
    assert "fewer than 2 good nodes" in err


def test_a_doctor_that_names_nobody_ends_the_job(cluster: Cluster) -> None:
    cluster.plays(doctor="exit 1")
    code, err = cluster.run()
    assert code == 1
    assert "named no node" in err
    assert cluster.trainings() == []


def test_failures_are_counted_and_progress_renews_the_budget(cluster: Cluster) -> None:
    cluster.plays(train="exit 137")
    code, err = cluster.run()
    assert code == 1
    assert "failed 3 times without a new checkpoint (code 137)" in err
    assert len(cluster.trainings()) == 3
    assert sum(" doctor " in call for call in cluster.calls) == 3
    assert [call for call in cluster.calls if call.startswith("sleep")] == ["sleep 2", "sleep 4"]
    assert "--rdzv-id=77-3" in cluster.trainings()[-1]


def test_a_new_checkpoint_renews_the_budget(cluster: Cluster) -> None:
    cluster.plays(
        train="""
        n=$(grep -c launch.agent calls)
        [ "$n" -lt 5 ] || exit 0
        mkdir -p "runs/r/checkpoints/step-$n"
        touch -d '+1 minute' "runs/r/checkpoints/step-$n"
        exit 1
    """
    )
    assert cluster.run()[0] == 0
    assert len(cluster.trainings()) == 5


@pytest.mark.parametrize("code", [2, 130])
def test_a_mistake_and_a_stop_are_not_repeated(cluster: Cluster, code: int) -> None:
    cluster.plays(train=f"exit {code}")
    assert cluster.run() == (code, "")
    assert len(cluster.trainings()) == 1


def test_before_the_time_limit_the_ranks_save_and_the_job_is_queued_again(
    cluster: Cluster,
) -> None:
    cluster.plays(
        train="""
        trap 'touch saved; exit 1' TERM
        touch ready
        while :; do /bin/sleep 0.05; done
    """
    )
    process = cluster.start()
    for _ in range(1000):
        if (cluster.folder / "ready").exists():
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert (cluster.folder / "saved").exists()
    assert "queued again" in err
    assert cluster.calls[-1] == "scontrol requeue 77"


@pytest.mark.parametrize(
    "option", [{"nodes": "3"}, {"a b": "1"}, {"time": "1:00\n#SBATCH --uid=0"}, {"mail-user": ""},
               {"comment": "two words"}]
)  # fmt: skip
def test_options_that_would_break_the_head_are_refused(
    cluster: Cluster, option: dict[str, str]
) -> None:
    with pytest.raises(InputError):
        script(cluster.job, cluster.script, "python3", [], option)

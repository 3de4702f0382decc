import io
import os
import select
import signal
import subprocess
import sys

import pytest
import torch

from groundup.architecture.counts import parameters
from groundup.errors import GroundupError, UserError
from groundup.plan.local.candidates import Corpus, Job
from groundup.train import measure, objective, precision
from groundup.train.config import PretrainConfig, unsettled
from groundup.train.measure import measure_machine

MACHINE = {
    "device", "device_name", "n_threads", "precision", "float32_matmul_precision", "attention",
    "matmul_flops_per_second", "memory_bytes_per_second", "memory_bytes", "base_memory_bytes",
    "steps",
}  # fmt: skip
STEP = {
    "n_layers", "d_model", "parameters", "non_embedding_parameters", "flops_per_token",
    "tokens_per_step", "seconds_per_step", "seconds_per_forward", "seconds_per_checkpoint",
    "seconds_per_sample", "peak_memory_bytes",
}  # fmt: skip


def message(tmp_path, **pretrain):
    config = PretrainConfig(steps=10, batch_size=4, n_threads=1, **pretrain)
    settings = unsettled(config, context_length=16, seed=1)
    fields = {
        "family": "nanochat", "n_layers": 2, "d_model": 32, "context_length": 16, "vocab_size": 64,
        "sample_tokens": 4, **config.model_dump(),
    }  # fmt: skip
    fields = {"n_heads": None, "n_kv_heads": None, "d_ff": None, **fields}
    fields["objective"] = "causal"
    job = Job(**{name: fields[name] for name in Job.__dataclass_fields__ if name in fields})
    return settings, job, Corpus(n_tokens=1000, n_bytes=3000), None, tmp_path


@pytest.fixture
def quick(monkeypatch, capsys):
    """Short measurements, in this process; `tests/test_kill_resume.py` has the real child."""

    def child(command, input, **options):
        assert command[1:] == ["-P", "-m", "groundup.train.measure"]
        monkeypatch.setenv("GROUNDUP_FAULT", options["env"]["GROUNDUP_FAULT"])
        monkeypatch.setattr("sys.stdin", io.StringIO(input))
        code = measure.main()
        return subprocess.CompletedProcess(command, code, capsys.readouterr().out)

    monkeypatch.setattr(subprocess, "run", child)
    monkeypatch.setattr(measure, "end_with", lambda parent: None)  # not the process of the tests
    monkeypatch.setattr(measure, "MEASURED_SECONDS", 0.01)
    monkeypatch.setattr(precision, "PROBE_SECONDS", 0.02)
    monkeypatch.setattr(measure, "STREAM_BYTES", {"cpu": 2**20, "cuda": 2**20})


def test_a_measurement_is_complete_and_plausible(tmp_path, quick, monkeypatch):
    monkeypatch.setenv("GROUNDUP_FAULT", "kill@checkpoint=1")
    wanted = message(tmp_path, precision="fp32", attention="bmm", device="cpu")
    found = measure_machine(*wanted)
    assert found.keys() >= MACHINE
    (step,) = found["steps"]
    assert step.keys() >= STEP
    chosen = [found[name] for name in ("device", "precision", "attention", "n_threads")]
    assert chosen == ["cpu", "fp32", "bmm", 1]
    assert (step["n_layers"], step["d_model"], step["tokens_per_step"]) == (2, 32, 64)
    counted = parameters(wanted[1].build(2, 32))
    assert step["parameters"] == counted.total
    assert step["non_embedding_parameters"] == counted.non_embedding
    assert all(value > 0 for value in step.values())
    assert step["seconds_per_forward"] < step["seconds_per_step"]
    assert step["peak_memory_bytes"] < found["memory_bytes"]
    assert 0 < found["base_memory_bytes"] < found["memory_bytes"]
    assert (
        1e8 < found["memory_bytes_per_second"] < 1e13
    )  # from an old phone's to beyond any cache's
    assert list(tmp_path.iterdir()) == []  # the trial checkpoint is gone


def test_the_forward_pass_that_is_timed_fits_where_a_training_step_does(
    tmp_path, quick, monkeypatch
):
    shapes = []
    real = objective.next_token_loss

    def watched(model, batch, counts, **terms):
        if not torch.is_grad_enabled():
            shapes.append(batch.inputs.shape)
        return real(model, batch, counts, **terms)

    monkeypatch.setattr(objective, "next_token_loss", watched)
    wanted = message(
        tmp_path, precision="fp32", attention="bmm", device="cpu", micro_batch_size=2
    )  # fmt: skip
    measure_machine(*wanted)
    assert shapes == [(2, 16)] * 4  # a batch of four rows, once to warm up and once timed


def test_the_triad_counts_two_arrays_read_and_one_written(monkeypatch):
    sizes = []

    def seconds(work, device):
        sizes.append(work().numel())
        return 0.5

    monkeypatch.setattr(precision, "best_seconds", seconds)
    monkeypatch.setattr(measure, "STREAM_BYTES", {"cpu": 2**20})
    assert measure.stream_bytes_per_second("cpu", 2**40) == 3 * 2**20 / 0.5
    # of a small memory no more than three parts in 32
    assert measure.stream_bytes_per_second("cpu", 2**20) == 3 * 2**15 / 0.5
    assert sizes == [2**18, 2**13]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_error_of_the_child_arrives_as_the_users(tmp_path, quick):
    with pytest.raises(UserError, match=r"pretrain\.device is cuda") as caught:
        measure_machine(*message(tmp_path, device="cuda"))
    assert "device=auto" in caught.value.fix


def test_a_child_that_was_killed_is_said(tmp_path, monkeypatch):
    died = subprocess.CompletedProcess([], -9, "")
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: died)
    with pytest.raises(GroundupError, match="stopped from outside"):
        measure_machine(*message(tmp_path))


def test_a_module_in_the_users_folder_is_not_taken_for_pythons(tmp_path, monkeypatch):
    (tmp_path / "statistics.py").write_text("raise SystemExit('poisoned')")
    monkeypatch.chdir(tmp_path)
    run, said = subprocess.run, []

    def child(command, input, **options):
        said.append(run(command, input="no job", stderr=subprocess.PIPE, **options).stderr)
        return subprocess.CompletedProcess(command, -9, "")

    monkeypatch.setattr(subprocess, "run", child)
    with pytest.raises(GroundupError, match="stopped from outside"):
        measure_machine(*message(tmp_path))
    assert "poisoned" not in said[0]
    assert "JSONDecodeError" in said[0]  # it came as far as reading the job


MEASURING = """
import os, time
from groundup.train import measure

def forever(message):
    print(os.getpid(), flush=True)
    time.sleep(600)

measure.measure = forever
measure.main()
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], input=b'{}')"


def test_the_child_ends_when_its_parent_was_killed():
    command = [sys.executable, "-c", PARENT, MEASURING]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        ended, _, _ = select.select([parent.stdout], [], [], 30)  # closed by the last that holds it
        if not ended:
            os.kill(child, signal.SIGKILL)
    assert ended, "the child went on"

"""What goes wrong at night: every wrong input has its message and its way out, and nothing is lost.

Each message is at most three lines (a list of problems has one for each), names the place, and is
never a traceback.
"""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from groundup.files import LOCK, TEMPORARY, lock
from groundup.tables import print_json
from groundup.train.checkpoint import checkpoint_name
from tests.mounts import no_mounts
from tests.projects import (
    STEPS,
    Ended,
    Finished,
    artifact,
    command,
    environment,
    flip_bit,
    here,
    run_folder,
    run_record,
    small_project,
    state_of_files,
)
from tests.projects import groundup as cli

WITHOUT_RUN = ("runs", "artifacts/evaluation", "artifacts/export", "artifacts/report")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The small project before its first run."""
    return small_project(tmp_path / "project", n_files=12)


def refused(result: Ended, *said: object, code: int = 2) -> list[str]:
    """The lines of the message, which must hold each of ``said``."""
    assert result.code == code, result.err
    if result.out:  # --json
        assert result.out.count("\n") == 1
        assert result.json["status"] == "failed"
        assert f"error: {result.json['error']}\n" in result.err
    assert "Traceback" not in result.err
    _, error, message = result.err.rpartition("error: ")
    assert error, result.err
    for text in said:
        assert str(text) in message
    lines = message.splitlines()
    if "problem" not in lines[0]:
        assert 2 <= len(lines) <= 3, lines
        assert all(re.match(r"  (where: |fix:   )\S", line) for line in lines[1:])
    return lines


# The project file


def test_every_mistake_in_the_file_is_named_at_once_with_its_line(project: Path) -> None:
    text = "modl: {}\npretrian:\n  steps: 3\npretrain:\n  lerning_rate: 3\n  learning_rate: fast\n"
    (project / "wrong.yaml").write_text(text + "model: {d_model: 30, n_layers: 1, n_heads: 4}\n")
    lines = refused(here("run", project, "--config", "wrong.yaml", "data.inptu=x", "steps"))
    file = project / "wrong.yaml"
    assert lines == [
        "7 problems in the project file",
        f"  {file}:1: modl: unknown key; did you mean 'model'?",
        f"  {file}:2: pretrian: unknown key; did you mean 'pretrain'?",
        f"  {file}:5: pretrain.lerning_rate: unknown key; did you mean 'learning_rate'?",
        f"  {file}:6: pretrain.learning_rate: 'fast' is not a number",
        f"  {file}:7: model: a width of 30 cannot be divided into 4 heads; choose n_heads "
        "so that it divides d_model, or leave it out",
        "  override 'steps': write it as key=value, for example pretrain.learning_rate=3e-4",
        "  override 'data.inptu=x': data.inptu: unknown key; did you mean 'input'?",
    ]
    assert sorted(path.name for path in project.iterdir()) == [
        "groundup.yaml", "text", "tiny.yaml", "wrong.yaml",
    ]  # fmt: skip


def bomb(depth: int = 12) -> bytes:
    """Nine times nine times nine …: a gigabyte once it is written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bytes(range(128, 256)) * 30, "is not UTF-8"),
        (b"# much\n" * 300_000, "larger than 1 MiB"),
        (bomb(), "alias '*a0' is not supported"),
        (b"[" * 20_000, "nested deeper than 32 levels"),
        (b"a\0b: 1", ""),
        (b"- a\n- b\n", "a project file is a list of sections"),
        (b"project: {seed: 1}\nproject: {seed: 2}\n", "project"),
        (b"pretrain: {steps: 1e999}\n", "pretrain.steps"),
        (b"model: {n_layers: 2}\n", "n_layers and d_model are given both or not at all"),
    ],
)
def test_a_file_that_is_no_project_file_is_refused(
    project: Path, content: bytes, said: str
) -> None:
    (project / "groundup.yaml").write_bytes(content)
    message = "\n".join(refused(here("run", project), said))
    assert str(project / "groundup.yaml") in message


@pytest.mark.parametrize(
    ("path", "config", "said"),
    [
        (".", "tni.yaml", "there is no tni.yaml here"),
        (".", "text", "there is no text here"),
        ("text", None, "there is no groundup.yaml here"),
        ("nowhere", None, "there is no such project folder"),
    ],
)
def test_a_project_that_is_not_there_is_said_to_be_missing(
    project: Path, path: str, config: str | None, said: str
) -> None:
    given = [project / path, *(["--config", config] if config else [])]
    lines = refused(here("run", *given), said, project / path)
    if config:
        assert lines[2] == (
            "  fix:   check the name; or name one of these with --config: groundup.yaml, tiny.yaml"
        )


def test_a_command_that_does_not_exist_is_refused_in_a_process_too(project: Path) -> None:
    ended = cli("rnu", project)
    assert (ended.code, ended.out) == (2, "")
    assert "No such command 'rnu'. Did you mean 'run'?" in ended.err


def test_a_fault_that_is_none_is_said_before_any_work(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDUP_FAULT", "nonsense")
    refused(here("run", project), "GROUNDUP_FAULT='nonsense' is not a fault", "kill@step=N")
    assert not (project / "artifacts").exists()


def test_nothing_to_plan_by_is_said_before_any_work(project: Path) -> None:
    ended = here("run", project, "pretrain.steps=null")
    refused(ended, "without a budget", "plan.budget", "set plan.budget (say 4m)")
    assert not (project / "artifacts").exists()


# The text


def test_a_missing_or_empty_folder_of_text_is_named(project: Path) -> None:
    shutil.rmtree(project / "text")
    refused(here("run", project), "the input 'text' is not there", project / "text")
    (project / "text").mkdir()
    refused(here("run", project), "'text'", project / "text")
    (project / "text" / "a.doc").write_text("x" * 500)
    refused(here("run", project), "1 .doc", "data.extensions")
    for name in ("a.py", "b.py"):
        (project / "text" / name).write_text(f"the words of {name} are these\n" * 2 + name * 40)
    refused(here("run", project), "2 documents are left", "a project needs three")


def test_files_that_are_no_text_are_set_aside_and_the_rest_goes_on(project: Path) -> None:
    text = project / "text"
    (text / "latin.py").write_bytes(b"name = 'caf\xe9'\n" * 20)
    (text / "binary.py").write_bytes(b"ab\0" * 200)
    (text / "line.py").write_bytes(b"x" * 50_000_000)
    script = (
        "import sys; from groundup.cli.frame import run\n"
        "from groundup.train.resources import peak_memory_bytes\n"
        "code = run(sys.argv[1:])\n"
        "peak = peak_memory_bytes('cpu')  # not ru_maxrss: that begins at the parent's\n"
        "sys.exit(f'{peak} bytes of memory' if peak > 500e6 else code)\n"
    )
    words = [sys.executable, "-c", script, "data", "--project", str(project)]
    done = subprocess.run(words, capture_output=True, env=environment(), check=False, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("binary.py", "line.py"):
        assert f"text/{name}" in done.stdout
    assert "text/latin.py (utf8_repaired 1)" in done.stderr
    refused_files = (artifact(project, "corpus") / "quarantine.jsonl").read_text().splitlines()
    assert {json.loads(line)["reason"] for line in refused_files} == {
        "binary", "document_too_large",
    }  # fmt: skip
    report = json.loads((artifact(project, "corpus") / "report.json").read_text())
    assert report["kept"] == 12  # the repaired one says one line over and over


def test_a_vocabulary_the_text_cannot_fill_names_the_largest_that_works(project: Path) -> None:
    ended = here("run", project, "tokenizer.vocab_size=60k")
    lines = refused(ended, "not 60,000", "tokenizer.vocab_size")
    largest = re.search(r"at most (\d+)", lines[2])
    assert largest is not None
    done = here("tokenizer", "--project", project, f"tokenizer.vocab_size={largest[1]}", "--json")
    assert done.code == 0
    assert done.json["built"] == ["tokenizer"]  # the corpus was kept


def test_a_window_longer_than_the_text_is_refused_before_anything_is_measured(
    project: Path,
) -> None:
    refused(here("run", project, "model.context_length=100k"), "fewer than one window of 100,000")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["three documents", "another language"])
def test_unusual_text_still_ends_in_a_report(kind: str, tmp_path: Path) -> None:
    folder = small_project(tmp_path / "unusual", n_files=3)
    if kind == "another language":
        shutil.rmtree(folder / "text")
        (folder / "text").mkdir()
        for i in range(12):
            lines = (f"Der Fluß {i * 7 + j} ist größer als {j * j + i}.\n" for j in range(60))
            (folder / "text" / f"{i}.txt").write_text("".join(lines))
    done = here("run", folder, "tokenizer.vocab_size=300", "--json")
    assert done.code == 0, done.err
    page = Path(done.json["report"]).read_text()
    evaluation = json.loads((artifact(folder, "evaluation") / "evaluation.json").read_text())
    if kind == "another language":
        assert evaluation["completions"]["applicable"] is False
        assert evaluation["completions"]["reason"].startswith("not applicable")
        assert "not applicable" in page
    assert evaluation["bits_per_byte"]["model"] < 8


# The machine and the budget


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(copy_of: Path) -> None:
    ended = here("run", copy_of, "pretrain.device=cuda")
    refused(ended, "torch finds no CUDA device", "pretrain.device=auto")


@pytest.mark.slow
def test_a_model_that_no_memory_holds_is_refused(copy_of: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, limits[1]))  # of this process and its child
    try:
        ended = here("plan", "--project", copy_of, "model.d_ff=10G")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    refused(ended, "does not fit in", "take a smaller model")


def test_too_small_a_budget_names_the_least_that_would_do(copy_of: Path) -> None:
    given = ["plan", "--project", copy_of, "pretrain.steps=null", "--json"]
    lines = refused(here(*given, "plan.budget=1ms"), "too small for any model", "plan.budget")
    least = re.search(r"give at least (\d+s)", lines[2])
    assert least is not None
    assert here(*given, f"plan.budget={least[1]}").code == 0


# Damage


def test_a_run_whose_checkpoints_are_all_damaged_begins_again(copy_of: Path) -> None:
    before = run_record(copy_of)["final_hash"]
    for weights in run_folder(copy_of).glob("checkpoints/*/optimizer-*.safetensors"):
        flip_bit(weights, -1)
    done = here("run", copy_of, "--json")
    assert done.code == 0, done.err
    assert done.err.count("is damaged and not used: optimizer-00000.safetensors: ") >= 2
    assert run_record(copy_of)["final_hash"] == before
    assert here("verify", copy_of).code == 0


@pytest.mark.parametrize(
    ("file", "built"),
    [
        ("artifacts/tokens/*/train.bin", ["tokens"]),
        ("artifacts/corpus/*/manifest.json", ["data"]),
        ("artifacts/export/*/model.safetensors", ["export"]),
        ("artifacts/plan/*/plan.json", ["plan"]),
    ],
)
def test_a_truncated_artifact_is_named_and_made_again(
    copy_of: Path, file: str, built: list[str]
) -> None:
    (path,) = copy_of.glob(file)
    os.truncate(path, path.stat().st_size // 2)
    bad = here("verify", copy_of)
    assert bad.code == 2
    assert str(path) in bad.err
    done = here("run", copy_of, "--json")
    assert done.code == 0, done.err
    assert f"ignoring a damaged artifact: {path.parent}" in done.err
    assert [stage for stage in done.json["built"] if stage != "report"] == built
    assert here("verify", copy_of).code == 0


def test_a_run_record_edited_by_hand_is_not_believed(copy_of: Path) -> None:
    before = run_record(copy_of)
    path = run_folder(copy_of) / "run.json"
    path.write_text(path.read_text().replace(before["final_hash"], "0" * 64))
    assert here("verify", copy_of).code == 2
    done = here("run", copy_of, "--json")
    assert done.code == 0, done.err
    assert f"{path} is not as it was written" in done.err
    assert run_record(copy_of)["final_hash"] == before["final_hash"]


def test_a_tokenizer_that_did_not_make_the_tokens_is_refused(copy_of: Path) -> None:
    path = artifact(copy_of, "tokenizer") / "tokenizer.json"
    text = path.read_text()
    path.write_text(text[:-1] + " ")  # another hash, the same size
    ended = here("evaluate", "--project", copy_of, "evaluate.n_completions=2")
    refused(ended, "tokenizer.json: SHA-256 differs", path.parent, "`groundup run` makes it again")
    path.write_text(text)
    assert here("evaluate", "--project", copy_of, "evaluate.n_completions=2").code == 0


@pytest.mark.parametrize(
    ("kind", "name", "stage"),
    [
        ("tokens", "train.bin", "pretrain"),
        ("tokenizer", "tokenizer.json", "pretrain"),
        ("tokens", "validation.bin", "evaluate"),
        ("tokenizer", "tokenizer.json", "export"),
    ],
)
def test_nothing_is_made_from_a_file_with_a_flipped_bit(
    copy_of: Path, kind: str, name: str, stage: str
) -> None:
    path = artifact(copy_of, kind) / name
    flip_bit(path, 50)
    done = here("run", copy_of, "--json")
    assert done.code == 0  # nothing is to be made: nothing is read
    result = {"pretrain": "runs", "evaluate": "artifacts/evaluation", "export": "artifacts/export"}
    shutil.rmtree(copy_of / result[stage])
    refused(here("run", copy_of), f"{name}: SHA-256 differs", path.parent, "remove this folder")
    shutil.rmtree(path.parent)
    assert here("run", copy_of).code == 0


def test_text_that_changes_while_it_is_read_is_not_kept_under_the_old_name(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundup.data import corpus

    real = corpus.build_corpus

    def changes(*given: object, **named: object) -> object:
        next((project / "text").iterdir()).write_text("another text, as long as need be\n" * 9)
        return real(*given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(corpus, "build_corpus", changes)
        refused(here("data", "--project", project), "the text changed while it was read", "text")
    assert not list(project.glob("artifacts/corpus/*"))
    assert here("data", "--project", project).code == 0


def test_only_our_own_leftovers_are_cleared(project: Path) -> None:
    theirs = [project / ".tmp-mine", project / f"{TEMPORARY}looks-like-ours"]
    ours = [project / "artifacts" / "tokens" / f"{TEMPORARY}a", project / f"artifacts/{TEMPORARY}b"]
    for folder in (*theirs, *ours):
        folder.mkdir(parents=True)
    assert here("data", "--project", project).code == 0
    assert [folder.exists() for folder in (*theirs, *ours)] == [True, True, False, False]


# Two at once, and stopping


def test_a_second_run_in_the_same_project_is_refused_with_the_firsts_pid(copy_of: Path) -> None:
    with lock(copy_of / LOCK):
        refused(here("run", copy_of), "another run is at work", f"pid {os.getpid()} ", copy_of)
        assert here("show", "--project", copy_of).code == 0  # reading is always allowed
    assert here("run", copy_of).code == 0


def test_ctrl_c_while_reading_text_leaves_nothing_half_made(project: Path) -> None:
    words = command("run", project, "data.input=stdlib")
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=environment()) as process:
        read = project / "shards" / "read"
        while not list(read.glob(f"{TEMPORARY}*")) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert not list(project.rglob(f"{TEMPORARY}*"))
    assert list((project / "artifacts" / "corpus").iterdir()) == []
    assert here("data", "--project", project).code == 0


def test_a_reader_that_has_seen_enough_is_no_error(project: Path) -> None:
    words = " ".join(map(repr, command("show", "--project", str(project))))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | head -1"],
        capture_output=True,
        env=environment(),
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{project}\n"


# Disks


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that makes a disk of so many bytes; skips where that is not allowed."""
    made: list[Path] = []

    def small_disk(n_bytes: int) -> Path:
        disk = tmp_path / "disk"
        disk.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(disk)]
        if (
            os.geteuid() != 0
            or shutil.which("mount") is None
            or subprocess.run(words, capture_output=True, check=False).returncode
        ):
            no_mounts()
        made.append(disk)
        return disk

    yield small_disk
    for disk in made:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_while_training_keeps_what_was_saved(
    finished: Finished, mount: Callable[[int], Path]
) -> None:
    disk = mount(64 << 20)
    project = finished.copy(disk / "project", *WITHOUT_RUN)
    one = sum(
        path.stat().st_size
        for path in next(run_folder(finished.folder).glob("checkpoints/*")).iterdir()
    )
    ballast = disk / "ballast"
    free = shutil.disk_usage(disk).free
    ballast.write_bytes(bytes(free - int(2.7 * one)))  # two fit and the first, which has no
    # optimizer state; three do not

    lines = refused(here("run", project), "the disk is full")
    assert re.search(r"needs [\d,]+ bytes, [\d,]+ are free", lines[0])
    assert "free some space and give the same command again" in lines[2]
    kept = sorted(path.name for path in (run_folder(project) / "checkpoints").iterdir())
    assert kept == [checkpoint_name(step) for step in (0, 4, 8)]
    assert here("verify", project).code == 0

    ballast.unlink()
    done = here("run", project, "--json")
    assert done.code == 0, done.err
    assert "going on from step 8 " in done.err
    assert run_record(project)["final_hash"] == run_record(finished.folder)["final_hash"]
    lines = (run_folder(project) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("free_bytes", [0, 20_000])
def test_a_disk_that_is_full_from_the_start_loses_nothing(
    mount: Callable[[int], Path], free_bytes: int
) -> None:
    disk = mount(16 << 20)
    project = small_project(disk / "project", n_files=12)
    (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - free_bytes))
    refused(here("tokenizer", "--project", project), "the disk is full", project)
    assert not list(project.rglob(f"{TEMPORARY}*"))
    (disk / "ballast").unlink()
    assert here("tokenizer", "--project", project).code == 0


def test_a_read_only_project_can_be_read_and_says_why_it_cannot_run(
    finished: Finished, mount: Callable[[int], Path], tmp_path: Path
) -> None:
    if os.geteuid() == 0:
        disk = mount(64 << 20)
        project = finished.copy(disk / "project")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    else:
        project = finished.copy(tmp_path / "project")
        for path in (project, *project.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = state_of_files(project)
    refused(here("run", project, "project.seed=8"), "cannot write here", project, "make the folder")
    assert here("show", "--project", project).code == 0
    assert here("verify", project).code == 0
    assert here("generate", "def ", "--project", project, "--max-new-tokens", 3).code == 0
    assert state_of_files(project) == before


# Models


def test_a_prompt_may_be_empty_or_longer_than_the_context(finished: Finished) -> None:
    given = ["--project", finished.folder, "--max-new-tokens", 8, "--json"]
    assert here("generate", "", *given).json["prompt"] == ""
    long = here("generate", "def f(x):\n" * 100, *given)
    assert (long.code, long.err) == (0, "")
    assert long.json["completion"]


def test_a_prompt_that_is_no_text_is_refused(finished: Finished) -> None:
    words = [os.fsencode(word) for word in command("generate", "--project", finished.folder)]
    done = subprocess.run([*words, b"caf\xe9"], capture_output=True, env=environment(), check=False)
    refused(Ended(done.returncode, done.stdout.decode(), done.stderr.decode()), "not Unicode")


def test_a_terminal_without_unicode_still_shows_what_the_model_writes(finished: Finished) -> None:
    given = ["--project", finished.folder, "--max-new-tokens", 8, "--temperature", 9]
    ended = cli("generate", "é", *given, PYTHONIOENCODING="ascii")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("\\xe9")
    with io.TextIOWrapper(io.BytesIO(), encoding="ascii") as stream:
        print_json({"a": "é"}, stream)
        stream.seek(0)
        assert json.loads(stream.read()) == {"a": "é"}


def test_a_model_where_there_is_none_says_how_to_get_one(project: Path) -> None:
    refused(here("generate", "x", "--project", project), "there is no model here", "groundup run")
    refused(here("generate", "x", "--model", project / "no"), "there is no such folder")


def test_a_pickled_model_is_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    sizes = {"vocab_size": 300, "n_embd": 8, "n_layer": 1, "n_positions": 8, "n_head": 1}
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **sizes}))
    proof = tmp_path / "opened"
    (folder / "pytorch_model.bin").write_bytes(
        f"cos\nsystem\n(S'touch {proof}'\ntR.".encode()  # runs a command when unpickled
    )
    refused(here("generate", "x", "--model", folder), "pytorch_model.bin", "is a pickle")
    assert not proof.exists()

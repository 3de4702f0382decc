"""How a command line may end, and what is printed where."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import groundup as package
from groundup.cli import frame
from groundup.errors import GroundupError, InputError
from tests.cli.command import groundup, project_in


def test_help_lists_every_command_in_the_order_of_the_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = groundup(capsys, "--help")
    assert result.code == 0
    listed = [line.split()[0] for line in result.out.split("Commands:")[1].splitlines() if line]
    assert listed == list(frame.COMMANDS)


@pytest.mark.parametrize("name", frame.COMMANDS)
def test_every_command_of_the_table_exists_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: groundup {name} ")
    assert len(result.out.splitlines()[2].strip()) > 10


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert groundup(capsys, "--version").out == f"groundup, version {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runn"], "Error: No such command 'runn'. Did you mean 'run'?"),
        (["xyz"], "Error: No such command 'xyz'."),
        (["--jsn"], "Error: No such option"),
        (["run", "--jsn"], "Error: No such option"),
        (["generate"], "Error: give a PROMPT, or a file"),
    ],
)
def test_wrong_usage_is_code_2_with_a_hint(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "groundup" in result.err.splitlines()[0]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(frame.LazyGroup, "get_command", lambda *_: command)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("no text", where="a/b", fix="give some"), 2,
         "error: no text\n  where: a/b\n  fix:   give some\n"),
        (GroundupError("our own", where="x"), 1, "error: our own\n  where: x\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError("division\nby zero"), 1, "error: ZeroDivisionError: division by zero\n"
         "  this is a bug in groundup; GROUNDUP_DEBUG=1 shows where\n"),
        (RecursionError("x" * 999), 1, f"error: RecursionError: {'x' * 299}…\n"
         "  this is a bug in groundup; GROUNDUP_DEBUG=1 shows where\n"),
    ],
)  # fmt: skip
def test_every_end_has_its_code_and_its_lines(
    error: BaseException,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("GROUNDUP_DEBUG", raising=False)
    failing(monkeypatch, error)
    result = groundup(capsys, "run")
    assert (result.code, result.out) == (code, "")
    assert result.err.lstrip("\n") == text


def test_a_traceback_is_printed_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, ZeroDivisionError("x"))
    monkeypatch.setenv("GROUNDUP_DEBUG", "1")
    result = groundup(capsys, "run")
    assert "Traceback (most recent call last)" in result.err
    assert result.code == 1


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    project_in(tmp_path)
    command = [sys.executable, "-m", "groundup", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_main_exits_with_the_code() -> None:
    with pytest.raises(SystemExit) as caught:
        frame.main(["show", "--project", "/nowhere"])
    assert caught.value.code == 2


def test_a_broken_pipe_of_another_kind_is_not_called_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, BrokenPipeError(errno.EPIPE, "a worker went away"))
    result = groundup(capsys, "run")
    assert result.code == 1
    assert "a worker went away" in result.err


@pytest.mark.parametrize(
    ("words", "code"), [(["show", "--project", "/nowhere"], 2), (["runn"], 2), (["schema"], 0)]
)
def test_the_code_is_the_same_where_nobody_reads_the_messages(words: list[str], code: int) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "groundup", *words]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=write, check=False)
    os.close(write)
    assert done.returncode == code


def with_stdout(where: str, *words: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process whose standard output a shell has put ``where``."""
    command = [sys.executable, "-m", "groundup", *map(str, words)]
    shell = ["sh", "-c", f'exec "$@" >{where}', "sh", *command]
    return subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)


REFUSING = {"&-": "it is closed", "/dev/full": os.strerror(errno.ENOSPC)}


@pytest.mark.parametrize("where", REFUSING)
@pytest.mark.parametrize(
    "words", [("init",), ("model", "list", "--json"), ("model", "list"), ("schema",)]
)
def test_work_whose_results_cannot_be_printed_is_done_all_the_same(
    where: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("some text\n")
    done = with_stdout(where, *words, *([tmp_path] if words == ("init",) else []))
    said = f"results could not be written to standard output: {REFUSING[where]}\n"
    assert (done.returncode, done.stderr.removeprefix("\n")) == (0, said)
    assert (tmp_path / "groundup.yaml").exists() == (words == ("init",))


@pytest.mark.parametrize("where", REFUSING)
def test_an_error_keeps_its_code_and_its_text_where_nothing_can_be_printed(where: str) -> None:
    done = with_stdout(where, "show", "--project", "/nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "bug" not in done.stderr


def test_a_reader_that_is_slow_gets_every_byte_of_a_pipe_that_does_not_wait() -> None:
    command = [sys.executable, "-m", "groundup", "schema"]
    whole = subprocess.run(command, capture_output=True, check=True).stdout
    read, write = os.pipe()
    os.set_blocking(write, False)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(command, stdout=write) as process:
        os.close(write)
        with open(read, "rb") as file:
            assert file.read() == whole
    assert (process.returncode, len(whole) > 4096) == (0, True)


@pytest.mark.parametrize(("rank", "seconds"), [(None, 0.0), ("0", 0.0), ("1", 5.0)])
def test_of_the_processes_of_a_machine_the_first_says_it_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    rank: str | None, seconds: float,
) -> None:  # fmt: skip
    """torchrun ends the others meanwhile; where it does not, the mistake is theirs alone."""
    waited: list[float] = []
    monkeypatch.setattr(frame.time, "sleep", waited.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert frame.run(["pretrain", "--project", str(tmp_path)]) == 2
    assert sum(waited) == seconds
    assert capsys.readouterr().err.count("error: ") == 1

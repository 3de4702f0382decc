"""The frame of the command line: which commands there are, and how each of them may end.

Commands are named in a table and imported when called, so that ``groundup --help`` costs click and
nothing else. Results go to standard output, everything for people to standard error. Exit codes:
0 done, 1 our mistake, 2 the user's (file, option, input), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import os
import select
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TextIO

import click

from groundup import __version__
from groundup.errors import GroundupError, UserError

FIRST_SPEAKS_SECONDS = 5.0  # for the first of several processes to say it and end

# name → (where, short help), in the order of the work
COMMANDS = {
    "decide": ("groundup.cli.decide:decide", "Buy, adapt or train: options, prices, ownership."),
    "init": ("groundup.cli.init:init", "Write a project file for a folder of text."),
    "run": ("groundup.cli.run:run", "Run every stage of a project that is not done yet."),
    "data": ("groundup.cli.data:data", "From any text to a clean corpus, and each step of it."),
    "tokenizer": ("groundup.cli.tokenizer:tokenizer", "Train tokenizers, compare, extend, probe."),
    "plan": ("groundup.cli.plan:plan", "How big, on what, how long, how much; and of a project."),
    "model": ("groundup.cli.model:model", "The models that are known, their sizes and counts."),
    "find": ("groundup.cli.find:find", "Measure batch size and learning rate before a run."),
    "pretrain": ("groundup.cli.stages:pretrain", "Train the model, or go on with training it."),
    "worker": ("groundup.cli.worker:worker", "Compute for a run that a parameter server trains."),
    "evaluate": ("groundup.cli.stages:evaluate", "Measure the model on held-out text."),
    "import": ("groundup.cli.convert:import_", "Read a model that others have trained."),
    "export": ("groundup.cli.convert:export", "Write a model in a form that others open."),
    "report": ("groundup.cli.stages:report", "Write the HTML report."),
    "generate": ("groundup.cli.generate:generate", "Let a model complete a text."),
    "show": ("groundup.cli.show:show", "Print every value of a project and where it comes from."),
    "schema": ("groundup.cli.show:schema", "Print the JSON schema of the project file."),
    "verify": ("groundup.cli.verify:verify", "Check every file against the hash it was given."),
    "reproduce": ("groundup.cli.reproduce:reproduce", "Train a run again, and compare the bits."),
    "doctor": ("groundup.cli.doctor:doctor", "Check the machines; list the nodes to leave out."),
    "bench": ("groundup.cli.bench:bench", "Measure parts of it on this machine."),
    "launch": ("groundup.cli.launch:launch", "Start training on one node or many."),
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and exit with its code."""
    _fill_descriptors()
    results = None
    if sys.stdout is sys.__stdout__:  # nobody listens to it in this process
        results = Results(sys.stdout)
        sys.stdout = results.text
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a model writes what no old terminal can
    code = run(arguments)
    _let_go(sys.stdout)
    if results is not None and results.refused:
        _say(f"results could not be written to standard output: {results.refused}")
    _let_go(sys.stderr)
    sys.exit(code)


class Results(io.RawIOBase):
    """Standard output that may be closed or on a full disk: the work done is no worse for it.

    What is refused is dropped. A broken pipe is raised: `run` knows what it means.

    Args:
        stream: the interpreter's own; None where its descriptor is closed.

    Attributes:
        text: what is to be written to in its place.
        refused: why the last refusal was; empty while there is none.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.refused, self.stream = "", stream
        encoding, by_line, at_once = "utf-8", False, False
        if isinstance(stream, io.TextIOWrapper):
            stream.flush()
            encoding, by_line = stream.encoding, stream.line_buffering
            at_once = stream.write_through
        self.text = io.TextIOWrapper(
            io.BufferedWriter(self), encoding, line_buffering=by_line, write_through=at_once
        )

    def write(self, data: Any) -> int:
        """Write bytes, or remember why not."""
        if self.stream is None:
            self.refused = "it is closed"
            return len(data)
        try:
            return os.write(self.fileno(), data)
        except BrokenPipeError:
            raise
        except BlockingIOError:  # whoever started us reads slowly, and shares it with us
            select.select([], [self.fileno()], [])
            return self.write(data)
        except OSError as error:
            self.refused = error.strerror or str(error)
            return len(data)

    def fileno(self) -> int:
        """The descriptor."""
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.stream is not None and self.stream.isatty()


def _fill_descriptors() -> None:
    """Let no file of ours get the number of a closed standard stream: libraries write to those."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest one that is free


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's) and return its exit code."""
    try:
        code = group.main(
            list(sys.argv[1:] if arguments is None else arguments),
            prog_name="groundup",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except GroundupError as error:
        if isinstance(error, UserError) or error.code == 1:
            _let_the_first_speak()
        _say(str(error))
        return error.code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return 130
    except MemoryError as error:
        _say(
            f"error: there is not enough memory: {_one_line(error)}\n"
            "  fix:   for data set a smaller data.shard_bytes or fewer data.workers; what is done "
            "is kept"
        )
        return 2
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_left():
            return 0  # `head` has enough of our results
        if os.environ.get("GROUNDUP_DEBUG") == "1":
            _say(traceback.format_exc().rstrip())
        _say(
            f"error: {type(error).__name__}: {_one_line(error)}\n"
            "  this is a bug in groundup; GROUNDUP_DEBUG=1 shows where"
        )
        return 1


def _say(text: str) -> None:
    from groundup.progress import say  # not for `--help`: it imports what reads units

    say(text)


def _let_the_first_speak() -> None:
    """Of a machine's processes under torchrun most find the same; it ends all when one has ended.

    Who is not the first waits for that, and is heard only where the mistake is its own.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        with contextlib.suppress(KeyboardInterrupt):  # then it speaks at once
            time.sleep(FIRST_SPEAKS_SECONDS)


def _reader_has_left() -> bool:
    """Whether standard output is a pipe that nobody reads: another broken pipe is our mistake."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _let_go(stream: TextIO | None) -> None:
    """Drop what a broken stream still holds: at exit it would raise and change the code."""
    if stream is None:  # its descriptor is closed
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:299]}…"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    Args:
        commands: name → (``module:command``, short help), in the order of ``--help``.
        default: the command of the table that is meant where its name is left out.
        attrs: as click takes them.
    """

    def __init__(
        self, commands: Mapping[str, tuple[str, str]], default: str | None = None, **attrs: Any
    ) -> None:
        super().__init__(**attrs)
        self.table, self.default = commands, default

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.table:
            return None
        module, _, name = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the name of the default command where no command is named."""
        if self.default and not (args and (args[0] in (*self.table, *ctx.help_option_names))):
            if args and not args[0].startswith("-") and "=" not in args[0]:
                raise self._no_such_command(args[0], ctx)
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the one that was probably meant."""
        if args[0] not in self.table and not args[0].startswith("-"):
            raise self._no_such_command(args[0], ctx)
        return super().resolve_command(ctx, args)

    def _no_such_command(self, name: str, ctx: click.Context) -> click.UsageError:
        near = difflib.get_close_matches(name, self.table, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return click.UsageError(f"No such command {name!r}.{hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, from the table: no command is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Keep a broken pipe for `run`; click would end the process with code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ClosedPipe(str(error)) from error


class _ClosedPipe(BrokenPipeError):
    """Without an errno, so that click lets it through."""


@click.command(
    cls=LazyGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, "-V", "--version", prog_name="groundup")
def group() -> None:
    """Train a language model from the ground up, from a folder of text to a report.

    Settings stand in groundup.yaml; any of them can be given as key=value after a command,
    for example: groundup run examples/first-llm pretrain.steps=200
    """

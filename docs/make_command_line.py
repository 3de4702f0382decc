"""Write docs/command-line.md from the commands themselves.

    python docs/make_command_line.py

`tests/docs/test_docs.py` fails when the page is out of date.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from groundup.cli.frame import group

PAGE = Path(__file__).with_name("command-line.md")
WIDTH = 78  # columns of the help texts: what click takes of a terminal of 80
HEAD = """\
# The command line

<!-- Made by docs/make_command_line.py. Do not edit: change the commands and run it again. -->

`groundup` is also `python -m groundup`.

The stage commands (`data`, `tokenizer`, `plan`, `pretrain`, `evaluate`, `export`, `report`) run the
project up to their stage and print what it found. Stages that are done are not done again, so
`groundup data` on a finished project only prints the table. `groundup run` does all of them.

**Streams.** Results go to standard output: tables for people, or with `--json` one JSON object on
one line. Progress and errors go to standard error. On a terminal progress is a bar, elsewhere a
line every ten seconds. Nobody has to read it: a run goes on when standard error is closed.

**Exit codes.**

| code | meaning |
| --- | --- |
| 0 | done |
| 1 | a bug in groundup |
| 2 | something to mend on your side: file, option, input, disk, budget; or `verify` found damage |
| 130 | interrupted (Ctrl-C, SIGTERM, a closed terminal); what was done is saved |

**Errors** have up to three lines: what is wrong, where, and what to do about it.

**JSON of a run.** The last line of `groundup run DIR --json` is an object with `status`, `built`
and `skipped` (names of stages) and `report` (the path of the HTML file). Stage commands add `path`
and `result`, the record of that stage. `status` is `finished`, `interrupted` (exit code 130), or
`failed`: then the object has `error`, `where` and `fix`, the three lines of the message, and for a
project file with mistakes `problems`, a list of them.

**Environment variables.**

| name | effect |
| --- | --- |
| `GROUNDUP_DEBUG=1` | print the traceback of an unexpected error |
| `GROUNDUP_FAULT=kill@step=N` | the process kills itself there: [pre-training](pretrain.md) |
"""


def page() -> str:
    """The whole page."""
    root = click.Context(
        group, info_name="groundup", terminal_width=WIDTH, **group.context_settings
    )
    return "\n".join([HEAD, *_parts("groundup", group, root)])


def _parts(title: str, command: click.Command, context: click.Context) -> Iterator[str]:
    """The help of a command, then of those below it."""
    yield f"## {title}\n\n```text\n{context.get_help()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None  # its name is from the list
            inner = click.Context(below, parent=context, info_name=name)
            yield from _parts(f"{title} {name}", below, inner)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

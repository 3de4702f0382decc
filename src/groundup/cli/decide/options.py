"""``groundup decide``: the options ranked for your answers; ``models`` and ``techniques``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundup.cli.options import json_option, overrides_argument

if TYPE_CHECKING:
    from groundup.decide.config import DecideConfig
    from groundup.decide.options import Decision

answers_option = click.option(
    "--answers", metavar="FILE", type=click.Path(path_type=Path), help="YAML file of the answers."
)


@click.command()
@answers_option
@click.option("--interactive", is_flag=True, help="Ask one question at a time.")
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write decide.html, decide.json and answers.yaml into this folder.",
)
@json_option
@overrides_argument
def options(
    answers: Path | None,
    interactive: bool,
    output: Path | None,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Rank buying, adapting and training for your answers, with reasons and costs.

    Answers come from a file, or else from the section `decide` of the groundup.yaml here if there
    is one; key=value and a conversation lie on top of them. What is not known stays open.
    For example: groundup decide data_may_leave_org=no budget=$200k
    """
    from groundup.decide.answers import load_answers
    from groundup.decide.config import DecideConfig
    from groundup.decide.options import decide
    from groundup.decide.report import decision_tables, record
    from groundup.errors import InputError
    from groundup.tables import print_json, print_tables

    given = load_answers(answers, overrides) if answers else _answers_of_project(overrides)
    if interactive:
        given = _ask(given, answers, output)
    elif given == DecideConfig():
        raise InputError(
            "there are no answers to decide from",
            where="groundup decide",
            fix="give --answers FILE, or answers as key=value, or --interactive to be asked",
        )
    decision = decide(given)
    if output is not None:
        _write(output, given, decision)
    if as_json:
        print_json(record(decision))
    else:
        print_tables(decision_tables(decision))


@click.command()
@answers_option
@click.option("--option", "option", type=click.Choice(["buy", "adapt"]), help="Shortlist for it.")
@json_option
@overrides_argument
def models(
    answers: Path | None, option: str | None, as_json: bool, overrides: tuple[str, ...]
) -> None:
    """The candidates: the slides' fourteen models, corrected, and open families.

    With --option, --answers or key=value only those that fit, and why the others do not.
    """
    from dataclasses import asdict

    from groundup.decide.answers import load_answers
    from groundup.decide.models import candidates, shortlist
    from groundup.decide.report import candidate_table, shortlist_tables
    from groundup.decide.techniques import is_narrow
    from groundup.tables import print_json, print_tables

    if option is None and answers is None and not overrides:
        found = candidates()
        if as_json:
            print_json([asdict(one) for one in found])
        else:
            print_tables([candidate_table(found)])
        return
    given = load_answers(answers, overrides) if answers else _answers_of_project(overrides)
    lists = {
        name: shortlist(given, name, small_model=bool(is_narrow(given)))
        for name in ([option] if option else ["buy", "adapt"])
    }
    if as_json:
        print_json(
            {
                name: {
                    "shortlist": [asdict(one) for one in kept],
                    "ruled_out": [asdict(one) for one in dropped],
                }
                for name, (kept, dropped) in lists.items()
            }
        )
        return
    for name, (kept, dropped) in lists.items():
        print_tables(shortlist_tables(name, kept, dropped))


@click.command()
@json_option
def techniques(as_json: bool) -> None:
    """Prompting, PEFT, fine-tuning and from scratch side by side, and what lowers their bill."""
    from dataclasses import asdict

    from groundup.decide.catalogs import rows
    from groundup.decide.report import lever_table, technique_table
    from groundup.decide.techniques import techniques as read
    from groundup.tables import print_json, print_tables

    table = read()
    if as_json:
        levers = [dict(row.values) for row in rows("levers")]
        print_json({"techniques": [asdict(one) for one in table.values()], "levers": levers})
    else:
        print_tables([technique_table(table), lever_table()])


def _answers_of_project(overrides: tuple[str, ...]) -> DecideConfig:
    """The section ``decide`` of the project file here, if there is one, and what lies on top."""
    from groundup.decide.answers import load_answers
    from groundup.project import FILE_NAME, load_project

    if not Path(FILE_NAME).is_file():
        return load_answers(None, overrides)
    load_answers(None, overrides)  # says what is wrong with them in their own names
    return load_project(".", overrides=[f"decide.{one.lstrip()}" for one in overrides]).decide


def _ask(given: DecideConfig, source: Path | None, output: Path | None) -> DecideConfig:
    """Ask at the terminal; the answers are in a file after each one."""
    import sys

    from groundup.decide.answers import ask, write_answers

    path = _kept_in(source, output)

    def read() -> str:
        sys.stderr.flush()
        return sys.stdin.readline()

    try:
        answered = ask(
            given,
            read,
            lambda text: click.echo(text, err=True, nl=not text.endswith("] ")),
            lambda so_far: write_answers(path, so_far),
        )
    except KeyboardInterrupt:
        if path.exists():
            click.echo(f"\nanswers so far: {path}; go on with --answers {path}", err=True)
        raise
    write_answers(path, answered)
    click.echo(f"\nanswers: {path}; again with `groundup decide --answers {path}`", err=True)
    return answered


def _kept_in(source: Path | None, output: Path | None) -> Path:
    """The file the answers go to: the one they came from only if we wrote it.

    Raises:
        InputError: there are answers already that are not these.
    """
    from groundup.decide.answers import FILE_NAME, is_ours
    from groundup.errors import InputError

    if source is not None and is_ours(source):
        return source
    path = (output or (source.parent if source else Path())) / FILE_NAME
    if path.exists():
        raise InputError(
            "there are answers already",
            where=str(path),
            fix="name another folder with --output"
            + ("" if source else f", or go on with them by --answers {path}"),
        )
    return path


def _write(folder: Path, given: DecideConfig, decision: Decision) -> None:
    """The record, the answers and the page."""
    from groundup.decide.answers import FILE_NAME, write_answers
    from groundup.decide.page import write_decision_page
    from groundup.decide.report import record
    from groundup.files import write_json

    write_answers(folder / FILE_NAME, given)
    write_json(folder / "decide.json", record(decision))
    write_decision_page(folder / "decide.html", given, decision)
    click.echo(f"wrote {folder / 'decide.html'}, decide.json and {FILE_NAME}", err=True)

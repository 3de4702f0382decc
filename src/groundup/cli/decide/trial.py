"""``groundup decide trial``: models on your own evaluation, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundup.cli.options import MONEY, json_option

if TYPE_CHECKING:
    from groundup.decide.examples import Prompt


@click.command()
@click.argument("evaluation", type=click.Path(path_type=Path))
@click.option(
    "--candidates",
    "candidate_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML: name, model, base_url_env, api_key_env and prices of each candidate.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="A model at $OPENAI_BASE_URL with the key $OPENAI_API_KEY; may be repeated.",
)
@click.option(
    "--prompt",
    "prompt_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="An instruction to try, {question} where the question goes; "
    "may be repeated, in the order of effort. Without one: the question alone.",
)
@click.option(
    "--shots",
    default="0",
    show_default=True,
    metavar="N,N,...",
    help="Numbers of worked examples to try.",
)
@click.option(
    "--examples",
    "example_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Worked examples; without it the first items of the evaluation, left unmarked.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("trial"),
    show_default=True,
    metavar="DIR",
    help="Where the answers are kept.",
)
@click.option(
    "--match",
    type=click.Choice(["exact", "contains", "number"]),
    default="exact",
    show_default=True,
    help="How an answer is compared with what is expected.",
)
@click.option("--max-usd", type=MONEY, metavar="USD", help="The trial stops before it costs more.")
@click.option("--max-tokens", type=int, default=64, show_default=True, help="Of one answer.")
@click.option("--concurrency", type=int, default=4, show_default=True, help="Requests at a time.")
@click.option(
    "--requests-per-minute",
    type=float,
    metavar="N",
    help="Of each --model; a file of candidates gives its own.",
)
@click.option("--attempts", type=int, default=6, show_default=True, help="Of one request.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=float,
    default=60.0,
    show_default=True,
    help="Seconds for a whole answer, after which an attempt is given up.",
)
@click.option(
    "--retry-refused", is_flag=True, help="Ask again what an endpoint has refused to answer."
)
@json_option
def trial(
    evaluation: Path,
    candidate_file: Path | None,
    models: tuple[str, ...],
    prompt_files: tuple[Path, ...],
    shots: str,
    example_file: Path | None,
    output: Path,
    match: str,
    max_usd: float | None,
    max_tokens: int,
    concurrency: int,
    requests_per_minute: float | None,
    attempts: int,
    timeout_seconds: float,
    retry_refused: bool,
    as_json: bool,
) -> None:
    """Ask candidates your own evaluation and say whether prompting has reached its ceiling.

    EVALUATION is JSONL: {"prompt", "expected"} or {"prompt", "choices", "answer"} a line. Every
    answer is kept as it comes; the same command goes on after an interruption: nothing that was
    answered is asked again, what was on its way is (with the same Idempotency-Key).
    """
    from groundup.decide.examples import read_items
    from groundup.decide.trial import read_outcomes
    from groundup.decide.trial_asking import ask_all
    from groundup.decide.trial_candidates import named_candidate, read_candidates
    from groundup.decide.trial_plan import Settings, plan_trial
    from groundup.decide.trial_report import print_trial, report_of, write_trial
    from groundup.errors import BudgetError, ConfigError, GroundupError, InputError, Interrupted

    candidates = read_candidates(candidate_file) if candidate_file else []
    candidates += [named_candidate(name, requests_per_minute) for name in models]
    if not candidates:
        raise ConfigError("nobody to try", fix="give --model NAME or --candidates FILE")
    plan = plan_trial(
        read_items(evaluation),
        candidates,
        _prompts(prompt_files),
        _numbers(shots),
        Settings(
            max_tokens=max_tokens,
            match=match,  # type: ignore[arg-type]  # click has checked the choice
            max_usd=max_usd,
            concurrency=concurrency,
            attempts=attempts,
            timeout_seconds=timeout_seconds,
            retry_refused=retry_refused,
        ),
        read_items(example_file) if example_file else None,
    )
    problem: GroundupError | None = None
    try:
        ask_all(plan, output)
    except (BudgetError, InputError, Interrupted) as error:
        problem = error  # what was answered before is a result too
    report = report_of(read_outcomes(plan, output), problem.message if problem else None)
    write_trial(report, output)
    print_trial(report, as_json)
    if problem:
        raise problem


def _prompts(paths: tuple[Path, ...]) -> list[Prompt]:
    """Named by their files; by their whole paths where two files have one name."""
    from groundup.decide.examples import Prompt

    stems = [path.stem for path in paths]
    names = [
        stem if stems.count(stem) == 1 else str(path)
        for stem, path in zip(stems, paths, strict=True)
    ]
    texts = [_text(path) for path in paths]
    found = [Prompt(name, text) for name, text in zip(names, texts, strict=True)]
    return found or [Prompt("question", "")]


def _text(path: Path) -> str:
    from groundup.errors import StorageError

    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"cannot read this prompt: {error}", where=str(path)) from error


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no list of numbers; write it like 0,1,4", param_hint="--shots"
        ) from None

"""``groundup generate``: a completion, streamed as it is drawn.

Bytes of a token need not be whole characters, so they pass through an incremental decoder. What a
model writes is untrusted: on a terminal its control characters are written out instead of obeyed.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundup.cli.options import config_option, json_option, overrides_argument

if TYPE_CHECKING:
    from groundup.project import GenerateConfig


@click.command()
@click.argument("prompt")
@overrides_argument
@click.option("--project", metavar="DIR", help="Use this project's model (default: here).")
@click.option("--model", metavar="PATH", help="Use an exported model, a run or a checkpoint.")
@config_option
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest completion.")
@click.option("--temperature", type=click.FloatRange(0, 10), help="0 takes the likeliest token.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Nucleus to draw from.")
@click.option("--repetition-penalty", type=click.FloatRange(1, 10), help="1 is off.")
@click.option("--seed", type=click.IntRange(min=0), help="Same seed, same completion.")
@json_option
def generate(
    prompt: str,
    overrides: tuple[str, ...],
    project: str | None,
    model: str | None,
    config: str | None,
    seed: int | None,
    as_json: bool,
    **settings: float | None,
) -> None:
    """Complete PROMPT with a trained model.

    With the --config and KEY=VALUE of a run it is that run's model. Where there is none of exactly
    these settings, it is the newest of the project's name, and standard error says so.

    What is not given comes from the project's `generate` section (with --model: its defaults).
    """
    from groundup import api
    from groundup.project import GenerateConfig, load_project
    from groundup.tables import print_json

    if model is not None:
        if project is not None or config is not None or overrides:
            raise click.UsageError(
                "--model stands alone: leave --project, --config and KEY=VALUE out"
            )
        loaded, section, default_seed = None, GenerateConfig(), 0
    else:
        loaded = load_project(project or ".", config, overrides)
        section, default_seed = loaded.generate, loaded.project.seed
    given = {key: value for key, value in settings.items() if value is not None}
    sampling = GenerateConfig.model_validate(section.model_dump() | given)
    seed = default_seed if seed is None else seed

    folder = api.find_project_model(loaded) if loaded else api.find_model(Path(model or "."))
    pieces = complete(folder, prompt, sampling, seed)
    if as_json:
        completion = "".join(pieces)
        print_json(
            {
                "prompt": prompt,
                "completion": completion,
                "model": str(folder),
                "seed": seed,
                **sampling.model_dump(),
            }
        )
        return
    write(prompt)
    for piece in pieces:
        write(piece)
    write("\n")


def complete(folder: Path, prompt: str, sampling: GenerateConfig, seed: int) -> Iterator[str]:
    """Pieces of text of the completion, each made of whole characters.

    The model is opened and the prompt read at once, so that an error comes before the first word.
    """
    from groundup import api
    from groundup.model.generate import generate as draw

    model, tokenizer = api.load_model(folder), api.load_tokenizer(folder)
    prompt_ids = [tokenizer.bos_id, *tokenizer.encode(prompt)]
    tokens = draw(
        model,
        prompt_ids,
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        stop_ids=[tokenizer.bos_id],
        seed=seed,
    )
    return whole_characters(tokenizer.token_bytes(token) for token in tokens)


def whole_characters(pieces: Iterable[bytes]) -> Iterator[str]:
    """Text of ``pieces`` as far as it is known; what is not UTF-8 becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def write(text: str) -> None:
    """Write to standard output at once; on a terminal with control characters made visible."""
    from groundup.tables import printable

    sys.stdout.write(printable(text, keep="\n\t") if sys.stdout.isatty() else text)
    sys.stdout.flush()

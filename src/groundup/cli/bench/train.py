"""``groundup bench train``: tokens per second of real training steps, for any size of model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from groundup.architecture.config import ModelConfig
    from groundup.errors import UserError
    from groundup.tables import Table
    from groundup.train.throughput import Measured

SIZE = click.IntRange(1)
COMPILE = {"false": False, "true": True}
# What the model and the trainer call what is given here.
OPTIONS = {
    "model.n_heads": "--heads", "model.n_layers": "--layers", "model.d_model": "--dim",
    "model.context_length": "--ctx", "model.family": "--family",
    "pretrain.attention": "--attention", "pretrain.compile": "--compile",
    "pretrain.device": "--device", "pretrain.precision": "--dtype",
}  # fmt: skip


@click.command()
@click.option("--tokens", required=True, metavar="FILE", help="Tokens to learn: uint16, in a row.")
@click.option("--family", default="gpt2", metavar="NAME", help="Of the model (gpt2).")
@click.option("--layers", type=SIZE, required=True, help="Blocks.")
@click.option("--dim", type=SIZE, required=True, help="Width of the model.")
@click.option("--heads", type=SIZE, help="Attention heads (default: of size 64).")
@click.option("--ctx", type=SIZE, required=True, help="Context length, tokens.")
@click.option("--vocab", type=SIZE, required=True, help="Token ids.")
@click.option("--batch", type=SIZE, required=True, help="Rows a step.")
@click.option("--micro-batch", type=SIZE, help="Rows at a time (default: all).")
@click.option("--dtype", type=click.Choice(["fp8", "bf16", "fp32"]), default="fp32", help="(fp32)")
@click.option("--optimizer", type=click.Choice(["adamw", "muon"]), default="adamw", help="(adamw)")
@click.option(
    "--optimizer-dtype", type=click.Choice(["bf16", "fp32"]), default="fp32",
    help="Of AdamW's moments (fp32).",
)  # fmt: skip
@click.option(
    "--recompute", type=click.Choice(["none", "selective", "full"]), default="none",
    help="Activations again in the backward pass (none).",
)  # fmt: skip
@click.option(
    "--attention", type=click.Choice(["auto", "bmm", "sdpa", "flex", "varlen"]), default="auto",
    help="Implementation (auto: the faster).",
)  # fmt: skip
@click.option(
    "--compile", "compiled", type=click.Choice(["false", "true", "cuda_graphs"]),
    is_flag=False, flag_value="true", default="false",
    help="The blocks through torch.compile; cuda_graphs: replayed as CUDA graphs.",
)  # fmt: skip
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="(auto)")
@click.option("--threads", type=SIZE, help="CPU threads (default: one per core).")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 1e6, min_open=True),
    default=10.0,
    help="To train for (10).",
)
@json_option
def train(
    tokens: str,
    family: str,
    layers: int,
    dim: int,
    heads: int | None,
    ctx: int,
    vocab: int,
    batch: int,
    micro_batch: int | None,
    dtype: str,
    optimizer: str,
    optimizer_dtype: str,
    recompute: str,
    attention: str,
    compiled: str,
    device: str,
    threads: int | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Train a model of this size for some seconds and tell how fast that was.

    Two steps warm up. Then the loop of `groundup pretrain` goes on, guard and log included: the
    next batch, forward and backward, clipping at norm 1, the update. The last line is one JSON
    object: tokens trained on, seconds, CPU seconds of all threads, and the last loss in nats per
    token. With --json it is the only one.
    """
    from groundup.architecture.families import build
    from groundup.errors import BudgetError, ConfigError, UserError
    from groundup.hardware import available_cores
    from groundup.tables import print_tables

    if vocab > 2**16:
        raise ConfigError(
            f"--vocab {vocab} is more than uint16 tokens can name",
            where="--vocab",
            fix=f"give at most {2**16}",
        )
    if micro_batch and batch % micro_batch:
        raise ConfigError(
            f"--micro-batch {micro_batch} does not divide --batch {batch}",
            where="--micro-batch",
            fix="give a divisor, or leave it out",
        )
    if not math.isfinite(seconds):
        raise ConfigError(
            f"--seconds {seconds} has no end", where="--seconds", fix="give a number, such as 10"
        )
    if threads and threads > available_cores():
        raise ConfigError(
            f"--threads {threads} is more than this process has cores: {available_cores()}",
            where="--threads",
            fix=f"give at most {available_cores()}: more would measure how they wait",
        )
    from pydantic import ValidationError

    try:
        model = build(
            family, vocab_size=vocab, n_layers=layers, d_model=dim, n_heads=heads,
            context_length=ctx,
        )  # fmt: skip
        if model.stack != "decoder":
            raise ConfigError(
                f"{family} is one {model.stack}: this measures models that predict the next token",
                where="--family",
                fix="name a decoder, for example gpt2 or llama",
            )

        from groundup.train.config import PretrainConfig
        from groundup.train.resources import is_out_of_memory
        from groundup.train.throughput import RawTokens, bench_settings, measure_training

        config = PretrainConfig.model_validate(
            {"batch_size": batch, "micro_batch_size": micro_batch, "precision": dtype,
             "optimizer": optimizer, "optimizer_dtype": optimizer_dtype, "recompute": recompute,
             "attention": attention, "compile": COMPILE.get(compiled, compiled), "device": device}
        )  # fmt: skip
        read = RawTokens(Path(tokens), vocab, ctx)
        settings = bench_settings(config, model, threads or available_cores())
        found = measure_training(read, model, settings, seconds)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(said, fix="change one of these options") from error
    except UserError as error:
        _say_options(error)
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise BudgetError(
            "the memory did not suffice for a training step",
            fix="give a smaller --micro-batch or --ctx",
        ) from error
    if not as_json:
        print_tables(_tables(model, found))
    told = {
        "tokens": found.tokens,
        "seconds": found.seconds,
        "cpu": found.cpu_seconds,
        "loss": found.loss,
    }
    click.echo(json.dumps(told))


def _say_options(error: UserError) -> None:
    """Put an error into the words of this command instead of a project file's, in place."""
    for key, option in OPTIONS.items():
        error.message = error.message.replace(key, option)
        error.where = error.where and error.where.replace(key, option)
        error.fix = error.fix and error.fix.replace(key, option)


def _tables(model: ModelConfig, found: Measured) -> Iterable[Table]:
    from groundup.architecture.counts import parameters, training_flops_per_token
    from groundup.tables import Table
    from groundup.train.breakdown import PARTS
    from groundup.units import format_bytes, format_count, format_flops

    chosen: Any = found.settings
    rate = found.tokens / found.seconds
    per_token = training_flops_per_token(model, model.context_length, causal=True)
    flops = rate * per_token
    share = found.tokens * per_token / found.clock_seconds / found.matmul_flops_per_second
    size = format_count(parameters(model).total)
    yield Table(
        f"{size} parameters, {chosen['precision']}, {chosen['optimizer']}, {chosen['device']}",
        ("figure", "value"),
        [
            ("tokens per second", f"{rate:,.0f}"),
            ("tokens per CPU-second", f"{found.tokens / found.cpu_seconds:,.0f}"),
            ("seconds per step", f"{found.seconds / found.steps:.3f}"),
            ("arithmetic", f"{format_flops(flops)}/s, attention counted as causal"),
            ("share of the matrix rate", f"{share:.0%} of a feed-forward product's"),
            ("attention", chosen["attention"]),
            ("products in float32", chosen["float32_matmul_precision"]),
            ("threads", str(chosen["n_threads"])),
            ("peak memory", format_bytes(found.peak_memory_bytes)),
            ("steps", str(found.steps)),
        ],
    )
    total = sum(found.part_seconds.values())
    yield Table(
        "Where the time went",
        ("part", "share", "ms a step"),
        [
            (PARTS[part], f"{taken / total:.1%}", f"{1000 * taken / found.steps:.1f}")
            for part, taken in found.part_seconds.items()
        ],
    )

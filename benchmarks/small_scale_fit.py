"""Make plan/catalog/small_scale_runs.csv: what small models reach after few tokens of Python
source.

Every row is a finished run of the quickstart's recipe on the quickstart's corpus: one size, one
number of tokens, its own schedule to the end, bits per byte over the whole validation split.
`groundup plan` fits its law to these rows. Rows that are there already are not run again, so the
script can be stopped and goes on.

    python benchmarks/small_scale_fit.py --work /tmp/fit [--threads 2] [--only 4x256:1000000]
"""

import argparse
import csv
import time
from pathlib import Path

import torch

from groundup.architecture.counts import parameters
from groundup.architecture.families import build
from groundup.data.config import DataConfig
from groundup.data.corpus import Corpus, build_corpus
from groundup.evaluate.likelihood import bits_per_byte
from groundup.files import write_atomic
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import load_tokenizer
from groundup.tokenizer.train import train_tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.order import batch_of_step
from groundup.tokens.pack import pack
from groundup.train.batch import Batch
from groundup.train.config import PretrainConfig, settle
from groundup.train.start import new_state
from groundup.train.step import train_step

TABLE = Path(__file__).parent.parent / "src/groundup/plan/catalog/small_scale_runs.csv"
SEED, CONTEXT_LENGTH, VOCAB_SIZE = 1337, 256, 4096
RUNS = [  # cheapest first: (n_layers, d_model), tokens
    ((2, 128), (125_000, 250_000, 500_000, 1_000_000, 2_000_000)),
    ((3, 192), (250_000, 500_000, 1_000_000, 2_000_000)),
    ((4, 256), (250_000, 500_000, 1_000_000, 3_800_000)),
    ((6, 384), (250_000, 500_000)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for corpus and tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="one run, as LAYERSxWIDTH:TOKENS")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="try: no row")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    make_tokens(arguments.work)
    rows = read_rows()
    for (n_layers, d_model), lengths in RUNS:
        for n_tokens in lengths:
            if arguments.only and arguments.only != f"{n_layers}x{d_model}:{n_tokens}":
                continue
            done = {(row["n_layers"], row["d_model"], row["asked_tokens"]) for row in rows}
            if (str(n_layers), str(d_model), str(n_tokens)) in done and not arguments.set:
                continue
            row = finished_run(arguments.work, n_layers, d_model, n_tokens, arguments.set)
            print(row, flush=True)
            if not arguments.set:
                rows = [*read_rows(), {key: str(value) for key, value in row.items()}]
                write_rows(rows)


def make_tokens(work: Path) -> None:
    """The quickstart's own data, tokenizer and tokens."""
    if (work / "tokens/index.json").exists():
        return
    for name in ("corpus", "tokenizer", "tokens"):
        (work / name).mkdir(parents=True, exist_ok=True)
    build_corpus(DataConfig(), work / "corpus", SEED, Path.cwd())
    corpus = Corpus(work / "corpus")
    texts = (document.text for document in corpus.documents("train"))
    train_tokenizer(texts, TokenizerConfig(vocab_size=VOCAB_SIZE), work / "tokenizer")
    pack(corpus, load_tokenizer(work / "tokenizer"), work / "tokens")


def finished_run(
    work: Path, n_layers: int, d_model: int, n_tokens: int, changes: list[str]
) -> dict[str, object]:
    """Train one model to the end and measure it."""
    recipe = PretrainConfig(**dict(change.split("=", 1) for change in changes))
    steps = round(n_tokens / (recipe.batch_size * CONTEXT_LENGTH))
    choice = {
        "steps": steps,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "precision": "bf16" if torch.cuda.is_available() else "fp32",
        "float32_matmul_precision": "highest",
        "attention": "sdpa",
        "n_threads": torch.get_num_threads(),
        "evaluate_every": steps,
        "checkpoint_every": steps,
        "sample_every": steps,
    }
    settings = settle(recipe, choice, context_length=CONTEXT_LENGTH, seed=SEED)
    config = build(
        "nanochat",
        vocab_size=VOCAB_SIZE,
        n_layers=n_layers,
        d_model=d_model,
        context_length=CONTEXT_LENGTH,
    )
    state = new_state(config, settings)
    train, held_out = (TokenDataset(work / "tokens", split) for split in ("train", "validation"))
    began = time.process_time()
    for step in range(steps):
        batch = batch_of_step(train, SEED, step, settings.batch_size, CONTEXT_LENGTH)
        inputs, targets = (torch.from_numpy(array) for array in batch)
        train_step(state, settings, Batch(inputs, targets).to(settings.device))
        state.step += 1
    spent = time.process_time() - began
    likelihood = bits_per_byte(state.model, held_out, device=settings.device)
    counts = parameters(config)
    print(f"{n_layers}x{d_model}:{n_tokens} {' '.join(changes)} {spent:.0f} CPU s", flush=True)
    return {
        "corpus": "stdlib",
        "family": "nanochat",
        "n_layers": n_layers,
        "d_model": d_model,
        "parameters": counts.total,
        "non_embedding_parameters": counts.non_embedding,
        "tokens": state.tokens,
        "unique_tokens": train.n_tokens,
        "asked_tokens": n_tokens,
        "steps": steps,
        "batch_size": settings.batch_size,
        "context_length": CONTEXT_LENGTH,
        "seed": SEED,
        "bits_per_byte": round(likelihood.bits_per_byte, 5),
    }


def read_rows() -> list[dict[str, str]]:
    """The rows that are there."""
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(rows: list[dict[str, str]]) -> None:
    """Replace the table."""
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    write_atomic(TABLE, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

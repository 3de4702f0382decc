"""Damage on purpose: flipped bits, cut files, zeroed pages, swapped, missing and old files.

A checkpoint of two ranks (FSDP2, gloo) and packed tokens are damaged in one place at a time and
read again: the checkpoint by `load_checkpoint` alone, the tokens as a run does (`require_whole`,
then read). Each case ends in one of four ways:

- noticed: an error of ours names the folder and the file;
- harmless: what was read is equal to the bit (white space in a manifest, a file not asked for);
- silent: something else was read, and nothing said so;
- traceback: an error that is not ours.

``verify`` counts the cases that the check at a run's start (`artifacts.damage`) notices. The last
column is the same damage read without hashes: safetensors and JSON, or the tokens' own checks.

    python benchmarks/corrupt.py [--flips 200 --truncations 50 --pages 50] [--seed 0] [--json]

Exit code 1 if anything was silent or ended in a traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from safetensors.torch import load_file

from groundup.architecture.families import build
from groundup.artifacts import damage, require_whole, write_manifest
from groundup.data.split import SPLITS
from groundup.errors import GroundupError
from groundup.files import hash_json
from groundup.tables import Table, print_tables
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import load_tokenizer
from groundup.tokenizer.train import train_tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.pack import pack
from groundup.train.checkpoint import load_checkpoint, save_checkpoint
from groundup.train.config import PretrainConfig, settle
from groundup.train.distributed import ALONE, Ranks, leave
from groundup.train.retention import Retention
from groundup.train.start import new_state
from groundup.train.state import RunState, rng_state, tensor_bytes

ROOT = Path(__file__).resolve().parents[1]
MODEL = build("llama", vocab_size=32, n_layers=1, d_model=32, context_length=16)
PAGE = 4096
Damage = tuple[str, Callable[[Path], object]]  # what is done, and how, to a copy of the folder


def main() -> int:
    """Damage, read, count."""
    parser = argparse.ArgumentParser(description="damage on purpose")
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--truncations", type=int, default=50)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = corrupt(
            Path(folder), options.flips, options.truncations, options.pages, options.seed
        )
    if options.json:
        print(json.dumps(rows))
    else:
        columns = list(rows[0])
        table = Table("damage", columns, [list(row.values()) for row in rows])
        print_tables([table])
    return 0 if all(row["silent"] == row["traceback"] == 0 for row in rows) else 1


def corrupt(
    work: Path, flips: int, truncations: int, pages: int, seed: int
) -> list[dict[str, Any]]:
    """One row for each kind of damage to each of the two."""
    chance = random.Random(seed)
    old, new = two_checkpoints(work / "checkpoints")
    tokens = some_tokens(work / "tokens")
    rows = []
    for what, folder, read, read_unchecked, special in (
        ("checkpoint", new, read_checkpoint, read_shards, list(other_files(new, old))),
        ("tokens", tokens, read_tokens, read_dataset, list(other_files(tokens, None))),
    ):
        kinds = (
            ("bit flips", [flip(folder, n, chance) for n in range(flips)]),
            ("truncations", [truncate(folder, n, chance) for n in range(truncations)]),
            ("zeroed pages", [zero(folder, chance) for _ in range(pages)]),
            ("files swapped, missing, old", special),
        )
        expected, expected_unchecked = read(folder), read_unchecked(folder)
        for kind, cases in kinds:
            outcomes: Counter[str] = Counter()
            for name, harm in cases:
                copy = work / "copy" / folder.name
                shutil.copytree(folder, copy)
                harm(copy)
                outcomes[outcome(read, copy, expected, name)] += 1
                outcomes["verify"] += bool(damage(copy))
                unchecked = outcome(read_unchecked, copy, expected_unchecked, "")
                outcomes["silent without hashes"] += unchecked == "silent"
                shutil.rmtree(copy)
            rows.append(
                {
                    "of": what,
                    "damage": kind,
                    "cases": len(cases),
                    **{
                        name: outcomes[name]
                        for name in (
                            "noticed", "harmless", "silent", "traceback", "verify",
                            "silent without hashes",
                        )
                    },
                }
            )  # fmt: skip
    return rows


def outcome(read: Callable[[Path], str], folder: Path, expected: str, name: str) -> str:
    """How one case ended."""
    try:
        found = read(folder)
    except GroundupError:
        return "noticed"
    except Exception as error:
        if name:
            print(f"{name}: {error!r}", file=sys.stderr)
        return "traceback"
    if found != expected and name:
        print(f"{name}: silent", file=sys.stderr)
    return "harmless" if found == expected else "silent"


# --- what is damaged ----------------------------------------------------------------------------


def two_checkpoints(folder: Path) -> list[Path]:
    """Two of one run, as two ranks write them."""
    folder.mkdir()
    mp.start_processes(write_rank, (folder,), nprocs=2, start_method="fork")
    return sorted(folder.glob("step-*"))


def write_rank(rank: int, folder: Path) -> None:
    """One of the two processes."""
    from torch.distributed.device_mesh import init_device_mesh

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    ranks = Ranks(rank, 2, 1, 2, mesh=init_device_mesh("cpu", (2,), mesh_dim_names=("shard",)))
    state = fresh(ranks)
    with torch.no_grad():
        for step in (4, 8):
            state.step = step
            for optimizer in state.optimizers:
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.mul_(1.5)
                        moment = parameter.detach() * 2
                        optimizer.state[parameter] = {"exp_avg": moment, "step": torch.tensor(1.0)}
            save_checkpoint(folder, state, {}, keep=Retention(2), ranks=ranks)
    leave(ranks)


def fresh(ranks: Ranks = ALONE) -> RunState:
    """An untrained state."""
    decided = {
        "steps": 9, "device": "cpu", "precision": "fp32", "float32_matmul_precision": "highest",
        "attention": "sdpa", "n_threads": 1, "evaluate_every": 9, "checkpoint_every": 4,
        "sample_every": 9,
    }  # fmt: skip
    settings = settle(PretrainConfig(optimizer="adamw"), decided, context_length=16, seed=0)
    return new_state(MODEL, settings, ranks)


def some_tokens(folder: Path) -> Path:
    """Packed tokens with their manifest, as the stage leaves them."""
    sys.path.insert(0, str(ROOT))  # the tests' corpus
    from tests.tokens.corpora import SMALL, written_corpus

    corpus = written_corpus(folder.parent / "corpus")
    texts = [text for split in SPLITS for _, text in SMALL[split]]
    train_tokenizer(iter(texts), TokenizerConfig(vocab_size=300), folder.parent / "tokenizer")
    pack(corpus, load_tokenizer(folder.parent / "tokenizer"), folder)
    write_manifest(folder, {"kind": "tokens", "name": folder.name})
    return folder


# --- reading ------------------------------------------------------------------------------------


def read_checkpoint(folder: Path) -> str:
    """Everything that one process takes from it, as a hash."""
    state = fresh()
    load_checkpoint(folder, state)
    return hash_json([state.final_hash(), state.record(), rng_state()])


def read_shards(folder: Path) -> str:
    """The same files without their hashes."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in sorted(load_file(path).items()):
            digest.update(f"{path.name} {name}".encode() + tensor_bytes(tensor))
    for path in (folder / "state.json", folder / "rng-00000.json"):
        digest.update(hash_json(json.loads(path.read_bytes())).encode())
    return digest.hexdigest()


def read_tokens(folder: Path) -> str:
    """As a run does."""
    require_whole(folder)
    return read_dataset(folder)


def read_dataset(folder: Path) -> str:
    """Every split, with the checks that a dataset makes itself."""
    digest = hashlib.sha256()
    for split in SPLITS:
        found = TokenDataset(folder, split)
        digest.update(repr((found.tokenizer_hash, found.vocab_size, found.sources)).encode())
        for array in (
            found.tokens, found.token_lengths, found.document_starts, found.document_rows,
            found.document_bytes, found.document_sources,
        ):  # fmt: skip
            digest.update(array.tobytes())
    return digest.hexdigest()


# --- damage -------------------------------------------------------------------------------------


def nth(folder: Path, number: int) -> Path:
    """The files in turn, small and large alike."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return files[number % len(files)].relative_to(folder)


def flip(folder: Path, number: int, chance: random.Random) -> Damage:
    """One bit of one file."""
    name = nth(folder, number)
    place, bit = chance.randrange((folder / name).stat().st_size), chance.randrange(8)

    def harm(copy: Path) -> None:
        content = bytearray((copy / name).read_bytes())
        content[place] ^= 1 << bit
        (copy / name).write_bytes(content)

    return f"bit {bit} of byte {place} of {name}", harm


def truncate(folder: Path, number: int, chance: random.Random) -> Damage:
    """A file cut somewhere, also to nothing."""
    name = nth(folder, number)
    length = chance.randrange((folder / name).stat().st_size)

    def harm(copy: Path) -> None:
        (copy / name).write_bytes((copy / name).read_bytes()[:length])

    return f"{name} cut to {length} bytes", harm


def zero(folder: Path, chance: random.Random) -> Damage:
    """A page of a file that never reached the disk; only where there was something else."""
    pages = [
        (path.relative_to(folder), start)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for start in range(0, path.stat().st_size, PAGE)
        if any(path.read_bytes()[start : start + PAGE])
    ]
    name, start = chance.choice(pages)

    def harm(copy: Path) -> None:
        content = (copy / name).read_bytes()
        n_zeros = len(content[start : start + PAGE])
        (copy / name).write_bytes(content[:start] + bytes(n_zeros) + content[start + PAGE :])

    return f"zeros from byte {start} of {name}", harm


def other_files(folder: Path, older: Path | None) -> Iterator[Damage]:
    """Any two files swapped, any one missing, any one from an older checkpoint of the run."""
    names = sorted(path.name for path in folder.iterdir())
    if older is not None:
        yield f"all of {older.name}", lambda copy: become(copy, older)
    for place, one in enumerate(names):
        yield f"{one} missing", lambda copy, one=one: (copy / one).unlink()
        for other in names[place + 1 :]:
            if (folder / one).suffix == (folder / other).suffix:
                yield f"{one} and {other} swapped", lambda c, a=one, b=other: swap(c / a, c / b)
        if older is not None:
            yield (
                f"{one} of {older.name}",
                lambda copy, one=one: shutil.copy(older / one, copy / one),
            )


def become(copy: Path, other: Path) -> None:
    """Have the other's files."""
    shutil.rmtree(copy)
    shutil.copytree(other, copy)


def swap(one: Path, other: Path) -> None:
    """Each has the other's content."""
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())

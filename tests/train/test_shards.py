"""Any layout loads any layout: values from `full_tensor`, plain slices and safetensors itself."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.fsdp  # once, for all processes forked from here
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import distributed as dist

from groundup.architecture.families import build
from groundup.artifacts import damage, hash_tensors, read_artifact
from groundup.errors import CorruptError, InputError
from groundup.files import hash_file, write_atomic
from groundup.track.run import checkpoints
from groundup.train.batch import Batch
from groundup.train.checkpoint import load_checkpoint, load_trained, save_checkpoint
from groundup.train.distributed import ALONE, Ranks, leave, with_meshes
from groundup.train.retention import Retention
from groundup.train.shards import DTYPES, Box, Shards, header_of, open_shards
from groundup.train.snapshot import Image
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import MODEL, SETTINGS, batch

FINGERPRINT = {"model": MODEL.to_dict(), "settings": {"seed": 7}}


def test_a_file_is_one_that_safetensors_reads_and_would_write(tmp_path: Path) -> None:
    """Every dtype of the format; scalars, empty tensors and slices of others among them."""
    tensors = {
        f"{name}.{shape}": torch.randint(0, 2, shape).to(dtype)
        for name, dtype in DTYPES.items()
        for shape in [(), (3,), (0, 2), (2, 3)]
    }
    tensors["a slice"] = torch.arange(20.0).view(4, 5)[:, 1:3]
    image = Image(*header_of(tensors), pin=False)
    image.copy(tensors)
    file = tmp_path / "ours.safetensors"
    file.write_bytes(image.header + image.data.numpy().tobytes())
    found = load_file(file)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name].contiguous().view(-1).view(torch.uint8),
                           tensor.contiguous().view(-1).view(torch.uint8)), name  # fmt: skip


def cut(lengths: list[int], n: int) -> list[tuple[int, int]]:
    """(start, length) of the pieces of ``n`` that end at ``lengths``."""
    edges = [0, *sorted({length % (n + 1) for length in lengths}), n]
    return [(a, b - a) for a, b in itertools.pairwise(edges) if b > a]


def write(folder: Path, pieces: list[tuple[torch.Tensor, Box]]) -> Shards:
    """One file a piece, as a rank of some other program might write it; opened."""
    files: dict[str, Any] = {}
    for rank, (tensor, box) in enumerate(pieces):
        path = folder / f"model-{rank:05d}.safetensors"
        layout = {"w": {"global_shape": box.whole, "offset": box.offset}}
        save_file({"w": tensor.contiguous()}, path, metadata={"layout": json.dumps(layout)})
        content = path.read_bytes()
        header = content[: 8 + int.from_bytes(content[:8], "little")]
        files[path.name] = {
            "bytes": len(content),
            "sha256": hash_file(path),
            "header_sha256": hashlib.sha256(header).hexdigest(),
            "tensors": dict(hash_tensors(path)),
        }
    return open_shards(folder, "model", files)


@given(
    rows=st.lists(st.integers(0, 99), max_size=4),
    columns=st.lists(st.integers(0, 99), max_size=4),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
@settings(max_examples=40, deadline=None)
def test_a_tensor_cut_along_both_dimensions_comes_back(
    rows: list[int],
    columns: list[int],
    shape: tuple[int, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Tensor-parallel pieces by hand, also along the second dimension alone."""
    whole = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    pieces = [
        (whole[r : r + n, c : c + m], Box(shape, (r, c), (n, m)))
        for r, n in cut(rows, shape[0])
        for c, m in cut(columns, shape[1])
    ]
    stored = write(tmp_path_factory.mktemp("cut"), pieces)
    assert stored.names() == {"w": shape}
    found = torch.full(shape, torch.nan)
    stored.fill("w", found)
    assert torch.equal(found, whole)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_an_overlap_is_what_numpy_says(data: st.DataObject) -> None:
    """Places are marked in arrays: those in both boxes are the overlap, in either's numbering."""
    whole = (5, 4, 3)
    boxes = []
    for _ in range(2):
        offset = tuple(data.draw(st.integers(0, n)) for n in whole)
        shape = tuple(data.draw(st.integers(0, n - o)) for n, o in zip(whole, offset, strict=True))
        boxes.append(Box(whole, offset, shape))
    places = torch.arange(60).view(whole)
    one, other = (
        places[tuple(slice(o, o + n) for o, n in zip(b.offset, b.shape, strict=True))]
        for b in boxes
    )
    common = boxes[0].overlap(boxes[1])
    expected = sorted(set(one.flatten().tolist()) & set(other.flatten().tolist()))
    if common is None:
        assert expected == []
    else:
        here, there = common
        assert one[here].flatten().tolist() == expected
        assert other[there].flatten().tolist() == expected


def test_what_is_in_no_file_and_what_is_not_as_written_is_refused(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    top = (whole[:2], Box((3, 4), (0, 0), (2, 4)))
    stored = write(tmp_path, [top, top])  # twice the same part does not make up for the rest
    with pytest.raises(InputError, match="4 elements of w are in no file"):
        stored.fill("w", torch.empty(3, 4))
    path = tmp_path / "model-00000.safetensors"
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    fresh = Shards(stored.pieces)
    with pytest.raises(CorruptError, match="SHA-256 differs: tensor w"):
        fresh.fill("w", torch.empty(3, 4))
    with pytest.raises(InputError, match="do not agree on the shape of w"):
        write(tmp_path, [top, (whole[2:], Box((4, 4), (2, 0), (1, 4)))])


def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    """The other tensor's bytes are damaged, and nobody notices: not one of them was needed."""
    stored = write(tmp_path, [(torch.ones(2), Box((2,), (0,), (2,)))])
    (piece,) = stored.pieces["w"]
    elsewhere = replace(piece, name="v", sha256="0" * 64)
    both = Shards({"w": [piece], "v": [elsewhere]})
    found = torch.empty(2)
    both.fill("w", found)
    assert torch.equal(found, torch.ones(2))
    with pytest.raises(CorruptError, match="tensor v"):
        both.fill("v", found)


# Five symbols over four ranks are 2, 2, 1 and 0 rows; 32 features over three are uneven too.
FIVE = build("llama", vocab_size=5, n_layers=1, d_model=32, context_length=16)
# (processes, replicas) one after the other: each loads what the one before it wrote.
LAYOUTS = [(1, 1), (2, 1), (4, 1), (2, 1), (1, 1), (4, 2), (3, 1)]


def test_a_state_goes_through_all_layouts_without_losing_a_bit(tmp_path: Path) -> None:
    """FSDP2 and HSDP over gloo, 1 to 2 to 4 to 2 to 1 to two replicas of 2 to 3 processes."""
    mp.start_processes(through_all_layouts, (tmp_path,), nprocs=4, start_method="fork")
    hashes = {path.name: path.read_text() for path in tmp_path.glob("hash-*")}
    assert len(hashes) == len(LAYOUTS)
    assert len(set(hashes.values())) == 1


def through_all_layouts(process: int, folder: Path) -> None:
    """What each of four processes does; those that a layout does not have wait for the next."""
    torch.set_num_threads(1)
    for number, (size, replicas) in enumerate(LAYOUTS):
        if process < size:
            ranks = meet(folder / f"store-{number}", process, size, replicas)
            one_layout(folder, number, ranks)
            leave(ranks)
        wait_for(folder / f"hash-{number}")


def meet(store: Path, process: int, size: int, replicas: int) -> Ranks:
    """The ranks of a layout, by a file instead of torchrun."""
    if size == 1:
        return ALONE
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=process, world_size=size)
    return with_meshes(Ranks(process, size, replicas, size // replicas), "cpu")


def one_layout(folder: Path, number: int, ranks: Ranks) -> None:
    """Load what the layout before this one wrote (the first: train), hash it, write it again."""
    settings = replace(SETTINGS, seed=number)  # Muon for the matrices, AdamW for the rest
    state = new_state(FIVE, settings, ranks)
    if number == 0:
        for seed in range(2):
            train_step(state, settings, Batch(*batch(seed, vocab_size=5)))
        state.average = {name: w.detach() * 0.5 for name, w in state.model.named_parameters()}
    else:
        (before,) = checkpoints(folder / str(number - 1))
        assert damage(before) == []
        assert load_checkpoint(before, state, ranks) == FINGERPRINT
    found = state.final_hash()  # over whole tensors: every rank takes part
    path = save_checkpoint(folder / str(number), state, FINGERPRINT, keep=Retention(1), ranks=ranks)
    names = set(read_artifact(path).manifest["files"])
    for group in ("model", "optimizer", "average"):
        assert sum(name.startswith(group) for name in names) == ranks.dp_shard
    assert sum(name.startswith("rng-") for name in names) == ranks.size
    assert {file.name for file in path.iterdir()} == names | {"manifest.json"}
    if ranks.dp_shard == 4:  # the last has no row of the embedding, and writes none
        assert "embed.weight" not in load_file(path / "model-00003.safetensors")
    if ranks.is_first:
        write_atomic(folder / f"hash-{number}", found)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path.name
        time.sleep(0.01)


def test_a_rank_without_a_file_draws_by_seed_rank_and_step(tmp_path: Path) -> None:
    """One rank wrote; of four that go on the first has its draws again, the others their own."""
    state = new_state(MODEL, SETTINGS)
    paths = []
    for step in (4, 8):
        state.step = step
        paths.append(save_checkpoint(tmp_path, state, FINGERPRINT, keep=Retention(2)))
    expected = torch.rand(3)
    drawn = {}
    for path in paths:
        for rank in range(4):
            load_checkpoint(path, new_state(MODEL, SETTINGS), Ranks(rank, 4, 1, 4))
            drawn[path.name, rank] = torch.rand(3)
            load_checkpoint(path, new_state(MODEL, SETTINGS), Ranks(rank, 4, 1, 4))
            assert torch.equal(torch.rand(3), drawn[path.name, rank])
    for path in paths:
        assert torch.equal(drawn[path.name, 0], expected)
    others = [tuple(draw.tolist()) for (_, rank), draw in drawn.items() if rank > 0]
    assert len({*others, tuple(expected.tolist())}) == 7


def test_averaged_weights_are_the_model_to_use(tmp_path: Path) -> None:
    state = new_state(MODEL, SETTINGS)
    state.average = {name: w.detach() + 1 for name, w in state.model.named_parameters()}
    path = save_checkpoint(tmp_path, state, FINGERPRINT, keep=Retention(1))
    for name, weight in load_trained(path).named_parameters():
        assert torch.equal(weight, state.average[name]), name
    other = new_state(MODEL, SETTINGS)
    load_checkpoint(path, other)
    assert other.final_hash() == state.final_hash()
    state.average = None
    state.step = 1
    load_checkpoint(save_checkpoint(tmp_path, state, FINGERPRINT, keep=Retention(1)), other)
    assert other.average is None

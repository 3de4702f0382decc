"""Checkpoints without pickle: safetensors, JSON, and a manifest with a hash of every tensor.

``checkpoints/step-00000120/`` holds, of each rank, ``model-``, ``optimizer-`` and, where one is
kept, ``average-<rank>.safetensors`` (each tensor's global shape and offset stand in the file's
header, so that any layout loads what any other wrote: `shards`) and ``rng-<rank>.json``; of the run
``state.json`` (everything of a `RunState` that is no tensor, and the fingerprint) and
``manifest.json``, written last (`commit`). The folder appears whole or not at all; a damaged one is
named and the one before it is used. None of safetensors, ``torch.load`` and DCP notices a flipped
bit: the hashes do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from groundup.architecture.config import ModelConfig
from groundup.artifacts import check_file, read_artifact
from groundup.errors import InputError
from groundup.files import read_json
from groundup.model.blend import blend_activation
from groundup.model.transformer import Transformer
from groundup.model.weights import weights_of
from groundup.track.run import checkpoint_name
from groundup.train.asynchronous.local_sgd import replica_file
from groundup.train.commit import CHECKPOINT_VERSION, begin, commit
from groundup.train.distributed import ALONE, Ranks
from groundup.train.optimizers.groups import load_optimizer_tensors
from groundup.train.parallel.pieces import is_cut, local_tensor
from groundup.train.replaced_token import ReplacedTokenPair
from groundup.train.retention import Retention
from groundup.train.shards import Shards, damaged, open_shards
from groundup.train.snapshot import HostMemory
from groundup.train.state import RunState, seed_everything, set_rng_state


def save_checkpoint(
    folder: Path,
    state: RunState,
    fingerprint: Mapping[str, Any],
    *,
    keep: Retention,
    ranks: Ranks = ALONE,
) -> Path:
    """Write ``folder/step-<step>`` and wait for it; `writer.Saver` does not wait.

    Raises:
        StorageError: the disk is full or read-only; older checkpoints are untouched.
        CorruptError: the disk does not give back what was written.
    """
    snapshot = HostMemory().snapshot(state, fingerprint, ranks)
    path = folder / checkpoint_name(snapshot.step)
    commit(path, begin(path, snapshot, ranks), snapshot, keep, ranks)
    return path


def load_checkpoint(path: Path, state: RunState, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Bring ``state`` to where it was when ``path`` was written, whatever the layouts of both.

    Only this process's pieces are read. A rank that the writing run did not have starts its random
    generators from (seed, rank, step).

    Returns:
        the fingerprint stored in it.

    Raises:
        CorruptError: what is read is not what was written; file and tensor are named.
        InputError: the tensors are not those of this model.
    """
    files = require_readable(path)
    record = read_document(path, "state.json", files)
    weights, moments = (open_shards(path, group, files) for group in ("model", "optimizer"))
    own = replica_file(ranks)
    if own in files:
        replica = open_shards(path, "replica", {own: files[own]})
        weights, moments = replica.part("model/"), replica.part("optimizer/")
    fill_weights(path, state.model, weights, ranks)
    fill_optimizers(state, moments)
    fill_outer(state, open_shards(path, "outer", files))
    fill_average(state, open_shards(path, "average", files))
    state.restore(record)
    drawing = ranks.rank - ranks.at("tp")  # those of tp draw alike
    rng = f"rng-{drawing:05d}.json"
    if rng in files:
        set_rng_state(read_document(path, rng, files))
    else:
        seed = record["fingerprint"].get("settings", {}).get("seed", 0)
        digest = hashlib.sha256(f"{seed} {state.step}".encode()).digest()
        seed_everything(int.from_bytes(digest[:7]), drawing)
    return dict(record["fingerprint"])


def load_model_weights(path: Path) -> Transformer:
    """The model alone, in evaluation mode on the CPU, from a checkpoint folder.

    Of a pair that was trained to tell replaced tokens it is the discriminator.

    Raises:
        CorruptError: a hash does not match; the file and tensor are named.
    """
    trained = load_trained(path)
    return trained.discriminator if isinstance(trained, ReplacedTokenPair) else trained


def load_trained(path: Path) -> Transformer | ReplacedTokenPair:
    """What was trained, whole; its averaged weights where they are kept.

    See `load_model_weights`.
    """
    files = read_artifact(path).manifest["files"]
    record = read_document(path, "state.json", files)
    fingerprint, activation = record["fingerprint"], record.get("activation")
    config = ModelConfig.from_dict(fingerprint["model"])
    objective = fingerprint.get("settings", {}).get("objective", {})
    model: Transformer | ReplacedTokenPair
    if objective.get("kind") == "replaced_token":
        model = ReplacedTokenPair(config, objective["generator_size"])
    else:
        model = Transformer(config)
    load_weights(path, model)
    if activation is not None:  # changed on the way
        blend_activation(model, **activation)
    return model.eval()


def load_weights(path: Path, model: nn.Module) -> None:
    """Copy a checkpoint's weights, averaged where they are, into ``model``.

    Raises:
        CorruptError: a hash does not match; the file and tensor are named.
        InputError: names or shapes are not those of ``model``.
    """
    files = read_artifact(path).manifest["files"]
    weights, average = (open_shards(path, group, files) for group in ("model", "average"))
    fill_weights(path, model, Shards({**weights.pieces, **average.pieces}), ALONE)


def require_readable(path: Path) -> dict[str, Any]:
    """The files of a checkpoint's manifest.

    Raises:
        CorruptError: there is no manifest that its own hash vouches for.
        InputError: an earlier version wrote it.
    """
    manifest = read_artifact(path).manifest
    if manifest.get("checkpoint_version") != CHECKPOINT_VERSION:
        raise InputError(
            f"a checkpoint of version {manifest.get('checkpoint_version', 1)}; this code goes on "
            f"from version {CHECKPOINT_VERSION}",
            where=str(path),
            fix="go on with the version of groundup that wrote it (manifest: code_version); its "
            "weights can be loaded, exported and measured by this one",
        )
    return dict(manifest["files"])


def read_document(path: Path, name: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """One of a checkpoint's JSON files, its hash compared."""
    problems = check_file(path / name, files[name]) if name in files else ["missing"]
    if problems:
        raise damaged(path / name, "; ".join(problems))
    return dict(read_json(path / name))


def fill_weights(path: Path, model: nn.Module, stored: Shards, ranks: Ranks) -> None:
    """Copy the stored weights into the model's pieces; tied ones are stored once.

    Raises:
        InputError: names or shapes are not those of ``model``. Of several ranks one may have a
            part of the layers.
    """
    weights = weights_of(model)
    found, wanted = stored.names(), {name: tuple(t.shape) for name, t in weights.items()}
    differing = {name for name, shape in wanted.items() if found.get(name) != shape}
    if ranks.size == 1:
        differing |= found.keys() - wanted.keys()
    if differing:
        raise InputError(
            f"the checkpoint is of another model: {', '.join(sorted(differing))} are not alike",
            where=str(path),
            fix="load it with the code and the configuration of the run that wrote it",
        )
    for name, weight in weights.items():
        stored.fill(name, weight)


def fill_optimizers(state: RunState, stored: Shards) -> None:
    """Make the optimizers' states anew from the files, each laid out as its parameter."""
    parameters = dict(state.model.named_parameters())
    tensors: dict[str, Tensor] = {}
    for name, shape in stored.names().items():
        parameter = parameters.get(name.rpartition("/")[0])
        if parameter is not None:
            like = parameter if tuple(parameter.shape) == shape else torch.empty(shape)
            tensors[name] = empty_like(like, stored.dtype(name))
            stored.fill(name, tensors[name])
    load_optimizer_tensors(state.model, state.optimizers, tensors)


def empty_like(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Memory of a tensor's shape, layout and device."""
    if not is_cut(tensor):
        return torch.empty(tensor.shape, dtype=dtype, device=tensor.device)
    from torch.distributed.tensor import DTensor

    local = torch.empty_like(local_tensor(tensor), dtype=dtype)
    return DTensor.from_local(
        local,
        tensor.device_mesh,
        tensor.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )


def fill_outer(state: RunState, stored: Shards) -> None:
    """Copy the stored tensors of local SGD's outer step into those of the state."""
    for name, tensor in (state.outer or {}).items():
        stored.fill(name, tensor)


def fill_average(state: RunState, stored: Shards) -> None:
    """Make the averages anew, laid out as the weights; there are none where none were stored."""
    weights = weights_of(state.model)
    average = {
        name: empty_like(weights[name], stored.dtype(name))
        for name in stored.pieces
        if name in weights
    }
    for name, tensor in average.items():
        stored.fill(name, tensor)
    state.average = average or None

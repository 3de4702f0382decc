"""What ranks of a world do in `test_distributed`."""

import time
from dataclasses import replace
from pathlib import Path

import torch

from groundup.errors import GroundupError
from groundup.train.distributed import (
    ALONE,
    agree,
    barrier,
    first_rank_does,
    join,
    leave,
    limit_waiting,
    place,
    summed,
)
from groundup.train.parallel.model import forward_pass
from groundup.train.start import new_state
from tests.train.small import MODEL, SETTINGS, batch


def agreements():
    ranks = join(SETTINGS)
    found = {
        "nobody": agree(False, ranks),
        "the last": agree(ranks.rank == ranks.size - 1, ranks),
        "sum": summed(torch.tensor([1.0, ranks.rank]), ranks).tolist(),
        "layout": [ranks.rank, ranks.size, ranks.dp_replicate, ranks.dp_shard],
    }
    barrier(ranks)
    leave(ranks)
    return {**found, "initialised": torch.distributed.is_initialized()}


def after_the_first(folder):
    """The first rank is slow to write a file; then it fails at the next."""
    file, calls = Path(folder) / "result", []

    def make():
        calls.append(file.exists())
        if not file.exists():
            time.sleep(1)
            file.write_text("made")
        return file.read_text()

    def fail():
        calls.append("fail")
        raise GroundupError("no text")

    made = first_rank_does(make)
    try:
        first_rank_does(fail)
    except GroundupError as error:
        return {"made": made, "calls": calls, "error": error.message}


def missing(folder):
    """The last rank does not come to a collective."""
    ranks, failed = join(SETTINGS), Path(folder) / "failed"
    barrier(ranks)
    limit_waiting(ranks, 1.0)
    said = None
    if ranks.rank == 0:
        try:
            barrier(ranks)
        except RuntimeError as error:
            said = str(error)
        failed.touch()
    while not failed.exists():
        time.sleep(0.05)
    return said


def dropped(seed):
    """The sum of what the model makes of the same rows, with dropout."""
    settings = replace(SETTINGS, dropout=0.5, seed=seed)
    ranks = join(settings) if place().size > 1 else ALONE
    state = new_state(MODEL, settings, ranks)
    inputs, _ = batch()
    with torch.no_grad():
        total = forward_pass(lambda model: model.hidden(inputs).double().abs().sum(), state.model)
    leave(ranks)
    return total.item()

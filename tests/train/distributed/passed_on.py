"""A run with dropout that goes from layout to layout: each loads what the one before it wrote."""

import hashlib
from dataclasses import replace
from pathlib import Path

from groundup.architecture.families import build
from groundup.track.run import checkpoint_name
from groundup.train.batch import counts_of
from groundup.train.checkpoint import load_checkpoint, save_checkpoint
from groundup.train.distributed import join, leave, rows_of
from groundup.train.objective import CAUSAL
from groundup.train.parallel.context import tokens_of
from groundup.train.parallel.model import whole_model
from groundup.train.retention import Retention
from groundup.train.start import new_state
from groundup.train.state import tensor_bytes
from groundup.train.step import apply_gradients, gradients
from tests.train.small import SETTINGS, Tokens

CONTEXT = 16
FAMILY = {"n_layers": 4, "d_model": 32, "n_heads": 4, "n_kv_heads": 2, "context_length": CONTEXT}


def take_over(folder, number, layout):
    """Load checkpoint ``number`` (0: none), say what it holds, train two steps, write the next."""
    settings = replace(SETTINGS, context_length=CONTEXT, batch_size=4, micro_batch_size=1,
                       layout=layout, seed=number, dropout=0.1)  # fmt: skip
    ranks = join(settings)
    # An odd vocabulary stays whole, and weights of 66 rows do not divide by four.
    config = build("llama", vocab_size=66, **FAMILY)
    state = new_state(config, settings, ranks)
    if number:
        load_checkpoint(Path(folder) / f"{number}" / checkpoint_name(2 * number), state, ranks)
    loaded = hashed(state)
    for _ in range(2):
        whole = CAUSAL.batch_at(Tokens(), 1, state.cursor, settings.batch_size, CONTEXT)
        mine = tokens_of(rows_of(whole, ranks), config, ranks)
        found = gradients(state, settings, mine, counts_of(whole), CAUSAL.loss, ranks)
        apply_gradients(state, settings, found)
    save_checkpoint(Path(folder) / f"{number + 1}", state, {}, keep=Retention(1), ranks=ranks)
    saved = hashed(state)
    leave(ranks)
    return {"loaded": loaded, "saved": saved}


def hashed(state):
    """SHA-256 of every weight, whole, and of everything that is hashed of a run."""
    with whole_model(state.model) as model:
        return {
            "weights": hashlib.sha256(
                b"".join(tensor_bytes(p) for _, p in sorted(model.named_parameters()))
            ).hexdigest(),
            "all": state.final_hash(),
        }

"""What one replica of local SGD does in a world of its own (`distributed.world`)."""

from dataclasses import replace
from pathlib import Path

from groundup.errors import ConfigError, Interrupted
from groundup.track.run import newest_good_checkpoint, read_lines
from groundup.train.asynchronous.config import AsynchronousConfig
from groundup.train.checkpoint import load_model_weights
from groundup.train.distributed import join, leave
from groundup.train.pretrain import pretrain
from groundup.train.state import tensor_bytes
from tests.train import small

PLAIN = {"outer_learning_rate": 1.0, "outer_momentum": 0.0}


def settings_of(size, asynchronous, **more):
    """Settings of the small run; ``asynchronous`` as in the section, None: synchronous."""
    given = {"kind": "none"} if asynchronous is None else {"kind": "local_sgd", **asynchronous}
    return replace(
        small.SETTINGS,
        layout={**small.SETTINGS.layout, "dp_replicate": size},
        asynchronous=AsynchronousConfig(**given).model_dump(),
        **more,
    )


def train(folder, size, asynchronous, until=(None,), **more):
    """The small run, interrupted after the steps ``until`` and taken up again; its weights."""
    settings = settings_of(size, asynchronous, **more)
    ranks = join(settings)
    for step in until:
        try:
            pretrain(Path(folder), small.Tokens(), replace(small.job(settings), until=step), ranks)
        except Interrupted:
            assert step is not None
    leave(ranks)
    model = load_model_weights(newest_good_checkpoint(Path(folder) / "checkpoints"))
    lines = list(read_lines(Path(folder) / "metrics.jsonl"))
    return {
        "weights": {name: p.flatten().tolist() for name, p in model.named_parameters()},
        "bits": {name: tensor_bytes(p).hex() for name, p in model.named_parameters()},
        "losses": [line["loss"] for line in lines],
        "norms": [line["grad_norm"] for line in lines],
    }


def refused(size, asynchronous, **more):
    """What is said of settings that do not fit."""
    try:
        join(replace(settings_of(size, asynchronous), **more))
    except ConfigError as error:
        return str(error)
    return None


def call(function, arguments, more):
    """By name, for a world."""
    return {"train": train, "refused": refused}[function](*arguments, **more)

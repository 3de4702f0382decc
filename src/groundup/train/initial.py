"""What training begins with when it does not begin at random: `pretrain.init_from`.

Any model that is there already, a checkpoint or a folder as `groundup import`, `groundup export` or
``transformers`` writes it. Only weights are taken; the optimizer starts new.
"""

from __future__ import annotations

from pathlib import Path

from groundup.errors import InputError
from groundup.model.convert import load_exported
from groundup.model.transformer import Transformer
from groundup.model.warm_start import warm_start
from groundup.progress import say
from groundup.train.checkpoint import load_model_weights


def source_model(folder: Path) -> Transformer:
    """The model in a checkpoint's or an exported model's folder, on the CPU in float32.

    Raises:
        InputError: there is none, or one that we do not compute.
        CorruptError: its files are damaged.
    """
    if (folder / "state.json").is_file():
        return load_model_weights(folder)
    return load_exported(folder)


def begin_with(model: Transformer, folder: Path) -> None:
    """Copy the weights in ``folder`` into ``model``, in place; what it has not stays as it is.

    Raises:
        InputError: parameters of another shape (named), or nothing in common.
    """
    try:
        done = warm_start(model, source_model(folder))
    except InputError as error:
        raise InputError(
            error.message, where=f"pretrain.init_from: {folder}", fix=error.fix
        ) from error
    n_all = len(done.copied) + len(done.fresh)
    fresh = f"; at random: {', '.join(done.fresh)}" if done.fresh else ""
    unused = f"; left behind: {', '.join(done.unused)}" if done.unused else ""
    say(f"begins with {len(done.copied)} of {n_all} parameters of {folder}{fresh}{unused}")

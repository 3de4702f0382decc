"""Which run a checkpoint is of: all that its bits depend on, and which of it may change midway.

The fingerprint stands in every checkpoint. When one is gone on from, each key that differs from the
present one belongs to one of four kinds:

    structural  the run would be another one, or its state does not fit: refused
    allowed     what is tuned while a run goes on (learning rate, length, batch): only if its key is
                named with ``--allow-change``; then written to the run's log
    machine     how sums are rounded (build of torch, threads, precision, processes): written and
                said, since the last bits may not be those of an uninterrupted run
    harmless    how often is looked at and kept: written

Keys are named as in the section ``pretrain`` (``learning_rate``, ``guard.window``); those of other
sections keep their own (``model.d_model``).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from groundup.errors import ConfigError
from groundup.progress import say
from groundup.train.lengths import IN_TOKENS

if TYPE_CHECKING:
    from groundup.tokens.dataset import TokenDataset
    from groundup.track.run import Run
    from groundup.train.config import Settings
    from groundup.train.distributed import Ranks

Kind = Literal["structural", "allowed", "machine", "harmless"]

STRUCTURAL = (
    "version", "model", "tokens", "tokenizer", "context_length", "seed", "optimizer", "init_from",
    "optimizer_dtype", "ema_decay",  # the state holds the average
    "objective.kind", "objective.layout", "objective.sentence", "objective.n_sentinels",
    "objective.generator_size",
    "asynchronous.kind", "asynchronous.optimizer", "asynchronous.outer_learning_rate",
    "asynchronous.outer_momentum",  # the state holds what they need
)  # fmt: skip
ALLOWED = (
    "steps", "batch_size", "learning_rate", "adam_learning_rate", "embedding_learning_rate",
    "weight_decay", "momentum", "beta1", "beta2", "grad_clip", "schedule", "warmup_steps",
    "decay_fraction", "decay_steps", "min_lr_ratio", "lr_step_every", "lr_step_factor",
    "lr_half_life", "batch_size_ramp", "sequence_length_ramp", "clip", "l1", "l2", "z_loss",
    "label_smoothing", "augment", "dropout", "attention_dropout", "activation_dropout",
    "layer_dropout", "attend_across_documents", "changes", "nesterov",
    "objective.mask_ratio", "objective.masking", "objective.n_static_masks",
    "objective.whole_word", "objective.mean_span_length", "objective.noises",
    "objective.predict_one_in", "objective.max_span_length", "objective.infill_rate",
    "objective.infill_spm_rate", "objective.infill_level", "objective.discriminator_weight",
    "objective.teacher", "objective.temperature", "objective.hard_weight",
    "guard.policy", "guard.window", "guard.armed_after", "guard.loss_threshold",
    "guard.grad_norm_threshold", "guard.probe_loss_ratio", "guard.probe_grad_norm_ratio",
    "guard.max_skips", "guard.max_skipped_share", "guard.max_rewinds", "guard.rewind_within",
    "guard.lr_factor", "guard.lr_steps",
    "asynchronous.max_staleness", "asynchronous.staleness_lr", "asynchronous.sync_every",
)  # fmt: skip
MACHINE = (
    "device", "precision", "float32_matmul_precision", "attention", "n_threads", "compile",
    "micro_batch_size", "recompute", "offload_optimizer", "layout", "numerics", "ranks",
)  # fmt: skip
HARMLESS = (
    "evaluate_every", "evaluation_windows", "checkpoint_every", "keep_last", "keep_every",
    "keep_best", "sample_every", "sample_prompt", "integrity",
    "guard.alert_command", "guard.alert_webhook",
    "asynchronous.workers", "asynchronous.lease_seconds", "asynchronous.host", "asynchronous.port",
)  # fmt: skip
KINDS: dict[str, Kind] = {
    **dict.fromkeys(STRUCTURAL, "structural"),
    **dict.fromkeys(ALLOWED, "allowed"),
    **dict.fromkeys(MACHINE, "machine"),
    **dict.fromkeys(HARMLESS, "harmless"),
}
NOT_SETTINGS = ("version", "model", "tokens", "tokenizer", "numerics", "ranks")  # of a fingerprint
FUSED = True  # the AdamW of `optimizers.groups`: other bits than the plain one

Difference = tuple[str, Any, Any]  # key, before, after


def fingerprint_of(
    key: Mapping[str, Any], dataset: TokenDataset, settings: Settings, ranks: Ranks
) -> dict[str, Any]:
    """What a checkpoint of this run says it is of.

    Args:
        key: what the run is named after: ``version``, ``model``, ``settings`` (those its bits
            depend on, folders by their content) and ``tokens`` (their content's hash).
        dataset: what is learnt from; it knows its tokenizer.
        settings: all of them; those that ``key`` does not have are added.
    """
    beside = {
        name: value
        for name, value in settings.to_dict().items()
        if name not in key["settings"] and name in KINDS
    }
    return {
        **key,
        "settings": {**beside, **key["settings"]},
        "tokenizer": dataset.tokenizer_hash,
        "numerics": numerics(),
        "ranks": {"size": ranks.size, **ranks.sizes()},
    }


def numerics() -> dict[str, Any]:
    """The build and the processor features that decide how sums are rounded."""
    import torch

    build = hashlib.sha256(torch.__config__.show().encode()).hexdigest()
    return {
        "torch": torch.__version__,
        "torch_build": build[:16],
        "fused": FUSED,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


@dataclass(frozen=True)
class Comparison:
    """The keys in which two fingerprints differ, by what is to be done about them.

    Attributes:
        structural: the run would be another one.
        refused: may change, but was not named.
        allowed: may change, and was named.
        machine: decides how sums are rounded.
        harmless: changes no bit.
    """

    structural: tuple[Difference, ...] = ()
    refused: tuple[Difference, ...] = ()
    allowed: tuple[Difference, ...] = ()
    machine: tuple[Difference, ...] = ()
    harmless: tuple[Difference, ...] = ()

    def require(self, where: Path | str) -> None:
        """Go on only where nothing differs that may not.

        Raises:
            ConfigError: something does; every such key is named with both values.
        """
        if not (self.structural or self.refused):
            return
        problems = [
            f"{written(one)}: another run's, whatever is allowed" for one in self.structural
        ]
        problems += [f"{written(one)}: not allowed to change" for one in self.refused]
        if self.structural:
            fix = "set these back; without --allow-change, `groundup pretrain` starts another run"
            if any(key == "optimizer" for key, _, _ in self.structural):
                fix += (
                    "; `groundup pretrain --at STEP optimizer=…` takes the optimizer's state along"
                )
        else:
            fix = f"set these back, or allow them: {options(self.refused)}"
        n = len(problems)
        raise ConfigError(
            f"{n} key{'s' if n > 1 else ''} of the run would change in its middle",
            where=str(where),
            problems=tuple(problems),
            fix=fix,
        )


def options(differences: Iterable[Difference]) -> str:
    """What allows these: ``--allow-change learning_rate --allow-change steps``."""
    return " ".join(f"--allow-change {key}" for key, _, _ in differences)


def compare(
    stored: Mapping[str, Any], now: Mapping[str, Any], allowed: Iterable[str] = ()
) -> Comparison:
    """Sort what differs between two fingerprints.

    Args:
        allowed: keys that may change, as `allowed_keys` gives them.
    """
    may_change = set(allowed)
    before, after = flat(stored), flat(now)
    found: dict[str, list[Difference]] = {}
    for key in sorted(before.keys() | after.keys()):
        if key in before and key in after and before[key] == after[key]:
            continue
        kind: str = kind_of(key) or "structural"  # what we do not know might be anything
        if kind == "allowed" and not is_named(key, may_change):
            kind = "refused"
        found.setdefault(kind, []).append((key, before.get(key), after.get(key)))
    return Comparison(**{kind: tuple(differences) for kind, differences in found.items()})


def accept(run: Run, step: int, found: Comparison) -> None:
    """Write to the run's log what changes from ``step`` on, and say it.

    ``run.record["changes"]`` has what changed before, also what is known to have changed but is not
    yet in the checkpoint gone on from.
    """
    settings = [*found.allowed, *(one for one in found.machine if _is_setting(one[0]))]
    for key, before, after in (*settings, *found.harmless):
        run.event(step, "changed", key=key, before=before, after=after, key_kind=kind_of(key))
    for difference in found.allowed:
        say(f"from step {step} on: {written(difference)}")
    if found.machine:
        say(
            f"this machine or its use differs in {', '.join(key for key, _, _ in found.machine)} "
            "from what wrote the checkpoint: the run goes on, but its last bits may not be those "
            "of an uninterrupted run"
        )
    new = [{"step": step, "key": key, "before": b, "after": a} for key, b, a in settings]
    changes = merged(run.record.get("changes", ()), step, new)
    if changes != list(run.record.get("changes", ())):
        run.update(changes=changes)


def merged(
    before: Iterable[Mapping[str, Any]], step: int, new: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The changes of a run that goes on from ``step``: those up to it, and the new ones.

    A change written after ``step`` was lost with the steps behind it; one at ``step`` itself is
    there twice where the run ended before its next checkpoint.
    """
    again = {change["key"] for change in new}
    kept = [c for c in before if c["step"] < step or (c["step"] == step and c["key"] not in again)]
    return [dict(change) for change in (*kept, *new)]


def allowed_keys(named: Iterable[str]) -> tuple[str, ...]:
    """What was given with ``--allow-change``, without the section's name.

    Raises:
        ConfigError: there is no such key, or it may not change.
    """
    return tuple(_allowed(name) for name in named)


def _allowed(name: str) -> str:
    key = name.removeprefix("pretrain.")
    key = IN_TOKENS.get(key, key)
    below = [known for known in KINDS if known.startswith(f"{key}.")]
    if any(KINDS[one] != "structural" for one in below):
        return key  # a whole section
    kind = kind_of(key)
    if kind is None:
        near = difflib.get_close_matches(key, KINDS, n=1)
        raise ConfigError(
            f"there is no key {name!r} that could change",
            where="--allow-change",
            fix=f"did you mean {near[0]}?" if near else f"use one of {', '.join(ALLOWED)}",
        )
    if kind == "structural":
        raise ConfigError(
            f"{name} cannot change while a run goes on: it would be another run",
            where="--allow-change",
            fix="give the new value without --allow-change: it starts a run of its own",
        )
    return key


def is_named(key: str, named: Iterable[str]) -> bool:
    """Whether ``key`` or a section it is in is among ``named``."""
    return any(key == name or key.startswith(f"{name}.") for name in named)


def kind_of(key: str) -> Kind | None:
    """The kind of a key: its own, or that of the section it is in; None: not known."""
    while key not in KINDS and "." in key:
        key = key.rpartition(".")[0]
    return KINDS.get(key)


def flat(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key → value; the settings without a prefix."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            if isinstance(value, Mapping) and value:
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value

    others = {name: value for name, value in fingerprint.items() if name != "settings"}
    return dict([*walk(others, ""), *walk(fingerprint.get("settings", {}), "")])


def written(difference: Difference) -> str:
    """``learning_rate: 0.05 → 0.02``."""
    key, before, after = difference
    return f"{key}: {shortened(before)} → {shortened(after)}"


def shortened(value: Any) -> str:
    """A value for a message: ``none``, or its first letters."""
    if value is None:
        return "none"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def _is_setting(key: str) -> bool:
    return key.partition(".")[0] not in NOT_SETTINGS

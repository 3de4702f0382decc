"""What `groundup find` has stored in a project, and which of it is of this project file.

A finding is an artifact that says what it is of: model, tokens, and the settings that it depends
on. Where any of these has changed since, it is left aside, and the plan says so. Nothing here needs
torch; what a finding does to the plan begins and ends with `Found`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from groundup.artifacts import Artifact, Store, environment
from groundup.files import hash_json
from groundup.stages_named import of_content, pretrain_section
from groundup.stages_work import Work
from groundup.train.config import unsettled

if TYPE_CHECKING:
    from groundup.train.config import PretrainConfig

KIND = "finding"  # of the artifacts
FILE = "finding.json"
WHAT = ("batch_size", "learning_rate", "noise_scale")
RATES = ("learning_rate", "adam_learning_rate", "embedding_learning_rate")
FILLED = (*RATES, "micro_batch_size")  # keys that a finding may fill where the file leaves them

# Settings that no finding depends on: what is looked for, how long and by which schedule a run
# goes, what guards it. The rest of the section belongs to what a finding is of.
BESIDE = (
    *FILLED, "steps", "schedule", "warmup_steps", "decay_fraction", "decay_steps", "min_lr_ratio",
    "lr_step_every", "lr_step_factor", "lr_half_life", "batch_size_ramp", "sequence_length_ramp",
    "ema_decay", "seed", "guard", "changes",
)  # fmt: skip
# Of the computer: they decide what fits, and what rounding does to a gradient is no matter.
OF_THE_MACHINE = (
    "device", "precision", "float32_matmul_precision", "attention", "n_threads", "recompute",
    "offload_optimizer",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The findings of a project.

    Attributes:
        of_this: kind → the newest that is of this project file.
        ignored: kind → why the newest is not used, where none is of this project file.
    """

    of_this: Mapping[str, Artifact] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)

    def contents(self) -> dict[str, dict[str, Any]]:
        """Kind → what was found."""
        return {kind: artifact.json(FILE)["result"] for kind, artifact in self.of_this.items()}

    def fill(
        self, section: PretrainConfig, *, model_is_given: bool, of_recipe: Collection[str] = ()
    ) -> Filled:
        """``section`` with what was found where it is open.

        Args:
            of_recipe: keys that a recipe set: what was found for this project takes their place.
            model_is_given: whether the project file gives the size of the model. Where the plan
                chooses it, the machine is measured before there is a model with a micro-batch.
        """
        used: dict[str, Any] = {}
        unused: dict[str, str] = {}
        for kind, content in self.contents().items():
            suggested = content.get("suggested")
            if kind == "noise_scale" or not suggested:
                continue
            values = {
                name: value
                for name, value in suggested.items()
                if getattr(section, name) is None or name in of_recipe
            }
            if next(iter(suggested)) not in values:  # the one that the others go with
                unused[kind] = "the project file has its own"
            elif kind == "batch_size" and not model_is_given:
                unused[kind] = "not used: write model.n_layers and model.d_model with it"
            else:
                given = section.model_dump(exclude_unset=True)
                try:
                    section = type(section).model_validate({**given, **values})
                    used |= values
                except ValueError:
                    unused[kind] = "not used: it does not fit a ramp or a change of the batch"
        return Filled(section, used, unused)


@dataclass(frozen=True)
class Filled:
    """The section ``pretrain`` with what was found.

    Attributes:
        used: key → value that was filled in.
        unused: kind of finding → why it gave nothing.
    """

    section: PretrainConfig
    used: Mapping[str, Any]
    unused: Mapping[str, str]


NOTHING = Found()


def has_findings(store: Store) -> bool:
    """Whether anything was ever found in a project."""
    return any((store.root / KIND).glob("*/manifest.json"))


def identity(work: Work, model: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a finding of this project file is of, name → plain value.

    Args:
        model: None while the plan has not chosen it: it is left out.
    """
    settings = unsettled(
        pretrain_section(work.project),
        context_length=work.project.model.context_length,
        seed=work.project.project.seed,
    )
    kept = {name: v for name, v in of_content(settings).items() if name not in BESIDE}
    kept["recompute"] = settings["recompute"]  # no bit depends on it, and the memory does
    inputs = work.done["tokens"].manifest["inputs"]
    here = environment()
    return {
        **({} if model is None else {"model": dict(model)}),
        "data": inputs.get("data"),
        "tokenizer": inputs.get("tokenizer"),
        "tokens": work.done["tokens"].content_hash,
        **{f"pretrain.{name}": value for name, value in sorted(kept.items())},
        "machine": {name: here[name] for name in ("processor", "cores", "gpus")},
    }


def differences(
    what: str, stored: Mapping[str, Any], now: Mapping[str, Any], *, model_is_open: bool
) -> list[str]:
    """The names in which a finding is of something else.

    Args:
        model_is_open: whether the plan has yet to choose the model, which is then not compared.
    """
    names = {*stored, *now}
    if model_is_open:
        names.discard("model")
    if what == "noise_scale":
        names.discard("pretrain.batch_size")  # it is a property of the gradient of one row
    if what != "batch_size":
        names -= {"machine", *(f"pretrain.{name}" for name in OF_THE_MACHINE)}
    differing = {name for name in names if hash_json(stored.get(name)) != hash_json(now.get(name))}
    if {"data", "tokenizer"} & differing:
        differing.discard("tokens")  # which follow from these
    return sorted(differing)


def found(work: Work, model: Mapping[str, Any] | None) -> Found:
    """The findings of a project whose tokens are there.

    Args:
        model: as in `identity`.
    """
    stored = [
        artifact
        for manifest in (work.store.root / KIND).glob("*/manifest.json")
        if (artifact := work.store.read(manifest.parent)) is not None
    ]
    if not stored:
        return NOTHING
    stored.sort(key=lambda artifact: str(artifact.manifest["config"]["found_at"]), reverse=True)
    now = identity(work, model)
    of_this: dict[str, Artifact] = {}
    ignored: dict[str, str] = {}
    for artifact in stored:
        config = artifact.manifest["config"]
        what = config["what"]
        if what in of_this:
            continue
        differing = differences(what, config["of"], now, model_is_open=model is None)
        if not differing:
            of_this[what] = artifact
            ignored.pop(what, None)
        elif what not in ignored:
            ignored[what] = (
                f"the newest ({config['found_at']}) was found with another {', '.join(differing)}"
            )
    return Found({what: of_this[what] for what in WHAT if what in of_this}, ignored)

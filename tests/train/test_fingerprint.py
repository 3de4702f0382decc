"""Which keys of a run may change midway: every one is classified, and each class does its own."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.errors import ConfigError
from groundup.model.transformer import Transformer
from groundup.section import Section
from groundup.track.run import Run, read_lines, read_run
from groundup.train.config import BESIDE_THE_BITS, PretrainConfig, Settings
from groundup.train.distributed import ALONE
from groundup.train.fingerprint import (
    FUSED,
    KINDS,
    accept,
    allowed_keys,
    compare,
    fingerprint_of,
    flat,
    kind_of,
    merged,
)
from groundup.train.lengths import IN_TOKENS
from groundup.train.optimizers.groups import build_optimizers
from tests.train.small import MODEL, SETTINGS, Tokens

KEY: dict[str, Any] = {
    "version": 1, "model": MODEL.to_dict(), "settings": SETTINGS.to_dict(), "tokens": "0" * 64,
}  # fmt: skip


def keys_of(section: type[Section], prefix: str = "") -> list[str]:
    """Every key of a section and of the sections in it, dotted."""
    found = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            found += keys_of(inner, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def changed(**values: Any) -> dict[str, Any]:
    """The fingerprint of the small run with other settings; dots are double underscores."""
    settings = json.loads(json.dumps(SETTINGS.to_dict()))
    for name, value in values.items():
        holder, *path = settings, *name.split("__")
        for part in path[:-1]:
            holder = holder[part]
        holder[path[-1]] = value
    return fingerprint_of({**KEY, "settings": settings}, Tokens(), SETTINGS, ALONE)


def test_every_key_of_the_settings_is_classified() -> None:
    settings = {field.name for field in fields(Settings)}
    written = keys_of(PretrainConfig)
    assert {"guard.window", "objective.mask_ratio", "learning_rate"} <= set(written)
    keys = {key for key in written if key not in IN_TOKENS} | settings
    sections = {key.partition(".")[0] for key in written if "." in key}
    unclassified = sorted(key for key in keys - sections if kind_of(key) is None)
    assert not unclassified
    assert {
        key for key in flat({"model": MODEL.to_dict()}) if kind_of(key) != "structural"
    } == set()


def test_nothing_is_classified_that_is_no_key() -> None:
    known = {*keys_of(PretrainConfig), *(field.name for field in fields(Settings))}
    assert KINDS.keys() - known - {"version", "model", "tokens", "tokenizer", "numerics", "ranks"} \
        == set()  # fmt: skip


def test_what_a_run_is_not_named_after_is_harmless_or_of_the_machine() -> None:
    assert {kind_of(key) for key in BESIDE_THE_BITS} == {"harmless", "machine"}


def test_adamw_is_fused_as_the_fingerprint_says() -> None:
    optimizers = build_optimizers(Transformer(MODEL), SETTINGS)
    (adamw,) = [each for each in optimizers if isinstance(each, torch.optim.AdamW)]
    assert adamw.defaults["fused"] is FUSED


def test_the_same_run_differs_in_nothing() -> None:
    stored = json.loads(json.dumps(changed()))  # as a checkpoint holds it
    found = compare(stored, changed())
    assert found == compare({}, {})
    found.require("here")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"learning_rate": 0.5}, "refused"),
        ({"guard__window": 64}, "refused"),
        ({"context_length": 8}, "structural"),
        ({"seed": 8}, "structural"),
        ({"optimizer": "adamw"}, "structural"),
        ({"unheard_of": 1}, "structural"),
        ({"n_threads": 2}, "machine"),
        ({"checkpoint_every": 2}, "harmless"),
        ({"guard__alert_webhook": "https://example.org"}, "harmless"),
    ],
)
def test_a_change_is_of_its_kind(change: dict[str, Any], kind: str) -> None:
    found = compare(changed(), changed(**change))
    (key,), (value,) = ([name.replace("__", ".") for name in change], change.values())
    before = flat(changed()).get(key)
    assert getattr(found, kind) == ((key, before, value),)
    others = {"structural", "refused", "allowed", "machine", "harmless"} - {kind}
    assert not [name for name in others if getattr(found, name)]


def test_all_keys_in_the_way_are_named_with_both_values_and_the_way_out() -> None:
    now = changed(learning_rate=0.5, beta2=0.9)
    with pytest.raises(ConfigError) as caught:
        compare(changed(), now).require("runs/a")
    assert str(caught.value).splitlines() == [
        "error: 2 keys of the run would change in its middle",
        "  beta2: 0.95 → 0.9: not allowed to change",
        "  learning_rate: 0.02 → 0.5: not allowed to change",
        "  where: runs/a",
        "  fix:   set these back, or allow them: --allow-change beta2 --allow-change learning_rate",
    ]
    found = compare(changed(), now, ["learning_rate", "beta2"])
    found.require("runs/a")
    assert found.allowed == (("beta2", 0.95, 0.9), ("learning_rate", 0.02, 0.5))


def test_nothing_allows_another_model_or_other_tokens() -> None:
    now = {**changed(), "tokens": "1" * 64, "model": {**MODEL.to_dict(), "d_model": 64}}
    with pytest.raises(ConfigError) as caught:
        compare(changed(), now, ["model", "tokens"]).require("runs/a")
    assert caught.value.problems == (
        "model.d_model: 32 → 64: another run's, whatever is allowed",
        "tokens: 000000000000… → 111111111111…: another run's, whatever is allowed",
    )
    with pytest.raises(ConfigError, match="optimizer cannot change while a run goes on"):
        allowed_keys(["optimizer"])


def test_keys_may_be_named_as_in_the_project_file() -> None:
    given = ["pretrain.learning_rate", "guard", "warmup_tokens", "augment.token_drop"]
    assert allowed_keys(given) == ("learning_rate", "guard", "warmup_steps", "augment.token_drop")
    assert compare(changed(), changed(guard__window=64), ["guard"]).allowed
    with pytest.raises(ConfigError) as caught:
        allowed_keys(["learning_rat"])
    assert caught.value.fix == "did you mean learning_rate?"


def test_a_change_is_in_the_log_and_in_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {"step": 3, "key": "beta2", "before": 0.9, "after": 0.95}
    run = Run(tmp_path, {"changes": [first]})
    now = changed(learning_rate=0.5, n_threads=2, checkpoint_every=9)
    accept(run, 7, compare(changed(), now, ["learning_rate"]))
    run.close()
    changes = (read_run(tmp_path) or {})["changes"]
    assert changes == [
        first,
        {"step": 7, "key": "learning_rate", "before": 0.02, "after": 0.5},
        {"step": 7, "key": "n_threads", "before": 1, "after": 2},
    ]
    events = [(line["event"], line["key"], line["key_kind"])
              for line in read_lines(tmp_path / "events.jsonl")]  # fmt: skip
    assert events == [
        ("changed", "learning_rate", "allowed"),
        ("changed", "n_threads", "machine"),
        ("changed", "checkpoint_every", "harmless"),
    ]
    said = capsys.readouterr().err
    assert "from step 7 on: learning_rate: 0.02 → 0.5\n" in said
    assert "differs in n_threads" in said
    assert "checkpoint_every" not in said


def test_changes_after_the_checkpoint_gone_on_from_are_not_kept_twice() -> None:
    def change(step: int, key: str) -> dict[str, Any]:
        return {"step": step, "key": key, "before": 1, "after": 2}

    before = [change(3, "a"), change(6, "b"), change(9, "c")]
    # Gone on from step 6, whose checkpoint has the old b: the same change, once. c is made anew.
    new = [change(6, "b"), change(6, "c")]
    assert merged(before, 6, new) == [change(3, "a"), change(6, "b"), change(6, "c")]
    assert merged(before, 6, []) == [change(3, "a"), change(6, "b")]

import json
import random
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from groundup.architecture.families import build
from groundup.artifacts import damage, seal
from groundup.errors import CorruptError, InputError, StorageError
from groundup.files import TEMPORARY
from groundup.track.run import checkpoints, newest_good_checkpoint
from groundup.train.batch import Batch
from groundup.train.checkpoint import load_checkpoint, load_model_weights, save_checkpoint
from groundup.train.retention import Retention
from groundup.train.start import new_state
from groundup.train.state import rng_state
from groundup.train.step import train_step
from tests.mounts import no_mounts
from tests.train.small import MODEL, SETTINGS, batch

FAMILIES = ["nanochat", "llama", "gpt2"]


def config_of(family):
    return build(family, vocab_size=64, n_layers=2, d_model=32, context_length=16)


def trained(config=MODEL, settings=SETTINGS, n_steps=3):
    state = new_state(config, settings)
    for seed in range(n_steps):
        loss, _ = train_step(state, settings, Batch(*batch(seed)))
        state.record_loss(state.step, loss.item())
    state.elapsed_seconds, state.step_seconds, state.peak_memory_bytes = 1.5, 1.25, 12345
    return state


def fingerprint(config=MODEL):
    return json.loads(json.dumps({"model": config.to_dict(), "settings": SETTINGS.to_dict()}))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with two checkpoints; tests copy it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    state = trained()
    save_checkpoint(folder, state, fingerprint(), keep=Retention(2))
    train_step(state, SETTINGS, Batch(*batch(9)))
    save_checkpoint(folder, state, fingerprint(), keep=Retention(2))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("family", FAMILIES)
def test_everything_comes_back_bit_for_bit(tmp_path, family, optimizer):
    config, settings = config_of(family), replace(SETTINGS, optimizer=optimizer)
    state = trained(config, settings)
    path = save_checkpoint(tmp_path, state, fingerprint(config), keep=Retention(1))
    found = new_state(config, replace(settings, seed=8))
    assert load_checkpoint(path, found) == fingerprint(config)
    assert found.final_hash() == state.final_hash()
    for group, tensors in state.tensors().items():
        assert tensors.keys() == found.tensors()[group].keys()
        for name, tensor in tensors.items():
            assert torch.equal(found.tensors()[group][name], tensor), name
    plain = ("step", "tokens", "loss_chain", "elapsed_seconds", "step_seconds", "peak_memory_bytes")
    assert [getattr(found, name) for name in plain] == [getattr(state, name) for name in plain]
    loaded = load_model_weights(path)
    inputs, _ = batch()
    torch.testing.assert_close(loaded(inputs), state.model(inputs), rtol=1e-5, atol=1e-5)


def test_every_random_generator_goes_on_where_it_was(tmp_path):
    def draw():
        return (
            [random.random(), random.gauss(0, 1)],
            [np.random.rand(), np.random.standard_normal()],
            torch.randn(3).tolist(),
        )

    state = trained()
    draw()  # an odd number of normals: one is left in the generators' pockets
    path = save_checkpoint(tmp_path, state, fingerprint(), keep=Retention(1))
    expected = draw()
    load_checkpoint(path, new_state(MODEL, SETTINGS))
    assert draw() == expected
    assert json.loads(json.dumps(rng_state())) == rng_state()


def test_a_checkpoint_is_safetensors_and_json_alone(folder):
    for path in checkpoints(folder):
        names = {file.name for file in path.iterdir()}
        assert names == {
            "model-00000.safetensors", "optimizer-00000.safetensors", "rng-00000.json",
            "state.json", "manifest.json",
        }  # fmt: skip
        for file in path.iterdir():  # the marks of pickle and of torch's zip archives
            assert not file.read_bytes().startswith((b"\x80", b"PK"))


def test_equal_states_are_equal_files(tmp_path):
    for name in ("one", "two", "three"):
        save_checkpoint(tmp_path / name, trained(), fingerprint(), keep=Retention(1))
    resumed = new_state(MODEL, SETTINGS)
    load_checkpoint(checkpoints(tmp_path / "one")[0], resumed)
    save_checkpoint(tmp_path / "resumed", resumed, fingerprint(), keep=Retention(1))
    for file in ("model-00000.safetensors", "optimizer-00000.safetensors"):
        assert len({path.read_bytes() for path in tmp_path.rglob(file)}) == 1


def meaning(path):
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def test_every_one_of_300_flipped_bits_is_noticed_and_the_previous_checkpoint_used(folder, capsys):
    before, last = checkpoints(folder)
    chance = random.Random(0)
    files = sorted(last.iterdir())
    noticed = harmless = 0
    for number in range(300):
        path = files[number % len(files)]
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        known = meaning(path)
        path.write_bytes(flipped)
        problems = damage(last)
        if problems:
            noticed += 1
            assert path.name in problems[0] or "manifest" in problems[0]
        else:  # a space became another white space, say: nothing else may pass
            assert path.name == "manifest.json"
            assert meaning(path) == known
            harmless += 1
        if number < 12:
            found = newest_good_checkpoint(folder)
            assert found == (before if problems else last)
            assert ("is damaged and not used" in capsys.readouterr().err) == bool(problems)
        path.write_bytes(whole)
    assert noticed + harmless == 300
    assert noticed >= 270
    assert damage(last) == []


def test_the_damaged_tensor_is_named(folder):
    last = checkpoints(folder)[-1]
    path = last / "model-00000.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = max(
        (name for name in header if name != "__metadata__"),
        key=lambda name: header[name]["data_offsets"][1],
    )
    assert damage(last) == [f"model-00000.safetensors: SHA-256 differs: tensor {name}"]
    with pytest.raises(CorruptError, match=name):
        load_model_weights(last)


@pytest.mark.parametrize("name", ["model-00000.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("how", ["cut by one byte", "cut in half", "emptied", "zeroed", "removed"])
def test_other_damage_is_noticed_too(folder, name, how):
    before, last = checkpoints(folder)
    path = last / name
    data = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "zeroed":  # a page that never reached the disk
        start = min(4096, len(data) // 2)
        path.write_bytes(
            data[:start] + bytes(len(data[start : start + 4096])) + data[start + 4096 :]
        )
    else:
        path.write_bytes(data[: {"cut by one byte": -1, "cut in half": len(data) // 2}.get(how, 0)])
    if (name, how) == ("manifest.json", "cut by one byte"):
        assert damage(last) == []  # its last byte is a line feed
        return
    assert damage(last)
    assert newest_good_checkpoint(folder) == before


def test_an_older_checkpoint_under_a_later_name_is_noticed(folder):
    before, last = checkpoints(folder)
    shutil.rmtree(last)
    shutil.copytree(before, last)
    assert damage(last) == [f"these are the files of {before.name}"]
    with pytest.raises(CorruptError, match=before.name):
        load_checkpoint(last, new_state(MODEL, SETTINGS))
    assert newest_good_checkpoint(folder) == before
    best = shutil.copytree(before, folder / "best")  # a name that says nothing may be given
    assert damage(best) == []


@pytest.mark.parametrize("name", ["optimizer-00000.safetensors", "state.json", "rng-00000.json"])
def test_loading_notices_damage_itself(folder, name):
    last = checkpoints(folder)[-1]
    data = bytearray((last / name).read_bytes())
    data[-2] ^= 1
    (last / name).write_bytes(data)
    with pytest.raises(CorruptError, match=name):
        load_checkpoint(last, new_state(MODEL, SETTINGS))


def test_a_checkpoint_of_an_earlier_version_is_not_gone_on_from(folder):
    last = checkpoints(folder)[-1]
    manifest = json.loads((last / "manifest.json").read_text())
    del manifest["checkpoint_version"]
    (last / "manifest.json").write_text(json.dumps(seal(manifest)))
    with pytest.raises(InputError, match="a checkpoint of version 1; this code goes on from"):
        load_checkpoint(last, new_state(MODEL, SETTINGS))
    load_model_weights(last)


def test_without_a_good_checkpoint_there_is_none(folder, capsys):
    for path in checkpoints(folder):
        (path / "state.json").write_text("{}")
    assert newest_good_checkpoint(folder) is None
    assert capsys.readouterr().err.count("damaged") == 2


def test_weights_of_another_model_are_refused(folder):
    wider = build("nanochat", vocab_size=64, n_layers=2, d_model=64, context_length=16)
    with pytest.raises(InputError, match="another model"):
        load_checkpoint(checkpoints(folder)[-1], new_state(wider, SETTINGS))


def test_only_the_last_ones_are_kept(tmp_path):
    state = trained()
    for step in range(1, 6):
        state.step = step
        save_checkpoint(tmp_path, state, fingerprint(), keep=Retention(3))
    assert [path.name[-1] for path in checkpoints(tmp_path)] == ["3", "4", "5"]
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))


def test_a_damaged_later_checkpoint_never_pushes_out_the_good_one(tmp_path):
    state = trained()
    for step in (4, 8):
        state.step = step
        save_checkpoint(tmp_path, state, fingerprint(), keep=Retention(2))
    (tmp_path / "step-00000008" / "state.json").write_text("{}")
    state.step = 6  # went on from 4, was stopped at 6
    good = save_checkpoint(tmp_path, state, fingerprint(), keep=Retention(1))
    assert damage(good) == []
    assert newest_good_checkpoint(tmp_path) == good


def test_a_checkpoint_written_again_replaces_the_damaged_one(folder):
    last = checkpoints(folder)[-1]
    (last / "state.json").write_text("{}")
    state = trained()
    state.step = int(last.name[-8:])
    save_checkpoint(folder, state, fingerprint(), keep=Retention(2))
    assert newest_good_checkpoint(folder) == last


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        no_mounts()
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("looks_first", [True, False])
def test_a_full_disk_is_said_and_the_older_checkpoint_stays_whole(
    small_disk, looks_first, monkeypatch
):
    state = trained()
    first = save_checkpoint(small_disk, state, fingerprint(), keep=Retention(2))
    if not looks_first:  # another program fills the disk meanwhile
        monkeypatch.setattr("groundup.train.commit.require_room", lambda folder, n_bytes: None)
    # Every place where the disk may turn out to be full: in the weights, the states, the JSON.
    for left in range(0, 200_000, 20_000):
        filler = small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - left))
        state.step += 1
        with pytest.raises(StorageError, match="the disk is full"):
            save_checkpoint(small_disk, state, fingerprint(), keep=Retention(9))
        filler.unlink()
    assert damage(first) == []
    assert not list(small_disk.glob(f"{TEMPORARY}*"))
    assert checkpoints(small_disk) == [first]

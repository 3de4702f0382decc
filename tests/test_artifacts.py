import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup import artifacts
from groundup.artifacts import MANIFEST, Store, read_artifact, require_whole, seal
from groundup.errors import CorruptError, StorageError
from groundup.track.verify import verify


def build(store, config, calls, text="hello", inputs=None, version=1):
    def make(folder):
        calls.append(config)
        (folder / "text.txt").write_text(text)
        return {"n_bytes": len(text)}

    return store.build(
        "corpus", "demo", version=version, config=config, inputs=inputs or {}, make=make
    )


def test_same_inputs_and_config_make_nothing(tmp_path):
    store, calls = Store(tmp_path), []
    first, built = build(store, {"a": 1}, calls)
    again, built_again = build(store, {"a": 1}, calls)
    assert (built, built_again, calls) == (True, False, [{"a": 1}])
    assert again.path == first.path
    assert again.manifest["measured"] == {"n_bytes": 5}


def test_a_changed_value_version_or_input_makes_another(tmp_path):
    store, calls = Store(tmp_path), []
    paths = {
        build(store, {"a": 1}, calls)[0].path,
        build(store, {"a": 2}, calls)[0].path,
        build(store, {"a": 1}, calls, inputs={"x": "0" * 64})[0].path,
        build(store, {"a": 1}, calls, version=2)[0].path,
    }
    assert len(paths) == len(calls) == 4


def test_content_hash_depends_on_files_alone(tmp_path):
    store, calls = Store(tmp_path), []
    one, _ = build(store, {"a": 1}, calls)
    two, _ = build(store, {"a": 2}, calls)
    three, _ = build(store, {"a": 3}, calls, text="hellO")
    assert one.content_hash == two.content_hash != three.content_hash


def test_a_failed_make_leaves_nothing(tmp_path):
    def make(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        Store(tmp_path).build("corpus", "demo", version=1, config={}, inputs={}, make=make)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_truncated_file_is_made_again(tmp_path, capsys):
    store, calls = Store(tmp_path / "artifacts"), []
    artifact, _ = build(store, {}, calls)
    (artifact.path / "text.txt").write_text("he")
    _, built = build(store, {}, calls)
    assert built
    assert "damaged" in capsys.readouterr().err
    assert verify(tmp_path) == (2, [])


def test_one_flipped_bit_is_not_used(tmp_path):
    artifact, _ = build(Store(tmp_path), {}, [])
    require_whole(artifact.path)
    (artifact.path / "text.txt").write_text("hellO")
    with pytest.raises(CorruptError, match=r"text\.txt: SHA-256 differs") as caught:
        require_whole(artifact.path)
    assert caught.value.where == str(artifact.path)
    assert "`groundup run` makes it again" in caught.value.fix


def test_a_long_check_is_said(tmp_path, capsys, monkeypatch):
    artifact, _ = build(Store(tmp_path), {}, [])
    require_whole(artifact.path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(artifacts, "SAID_FROM_BYTES", 4)
    require_whole(artifact.path)
    assert f"checking {artifact.path.name}" in capsys.readouterr().err


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_any_flipped_bit_in_a_manifest_is_noticed(tmp_path_factory, position, bit):
    folder = tmp_path_factory.mktemp("flip")
    artifact, _ = build(Store(folder), {"a": 1}, [])
    path = artifact.path / MANIFEST
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1 << bit
    path.write_bytes(data)
    try:
        damaged = json.loads(path.read_bytes())
    except ValueError:
        damaged = None
    if damaged == dict(artifact.manifest):  # white space, or another spelling of the same JSON
        return
    with pytest.raises(CorruptError):
        read_artifact(artifact.path)


def test_a_later_format_is_refused_with_a_way_out(tmp_path):
    artifact, _ = build(Store(tmp_path), {}, [])
    manifest = {**artifact.manifest, "format_version": 99}
    (artifact.path / MANIFEST).write_text(json.dumps(seal(manifest)))
    with pytest.raises(CorruptError, match="format version 99"):
        read_artifact(artifact.path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="read-only"):
        build(Store(tmp_path), {}, [])

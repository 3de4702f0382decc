"""The stages that make text into tokens: ``data``, ``tokenizer``, ``tokens``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundup.artifacts import Artifact
from groundup.errors import InputError
from groundup.files import hash_file, write_json
from groundup.find import find_model, find_tokenizer, is_tokenizer
from groundup.stages_work import Work, numbers

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
SHARDS = "shards"  # in the project: what the data stage made, shard by shard


def data(work: Work) -> tuple[Artifact, bool]:
    """Read, clean, deduplicate and split the text."""
    from groundup.data.corpus import build_corpus, depends_on, fingerprint

    config, seed, root = work.project.data, work.project.project.seed, work.project.folder
    cache = work.store.root / "input-hashes.json"
    files = fingerprint(config, root, cache)

    def make(folder: Path) -> Mapping[str, Any]:
        made = build_corpus(config, folder, seed, root, work=root / SHARDS, cache=cache)
        if fingerprint(config, root, cache) != files:  # else other text would stay under this key
            raise InputError(
                "the text changed while it was read",
                where=f"data.input: {config.input}",
                fix="give the same command again when nothing writes there",
            )
        if not all(split["documents"] for split in made["splits"].values()):
            raise InputError(
                f"{made['kept']} documents are left, and a project needs three, one for each split",
                where=f"data.input: {config.input}, below {root}",
                fix="add text, or loosen the rules in the section data",
            )
        return numbers(made)

    return work.build(
        "corpus",
        config={**depends_on(config, root), "seed": seed},
        more_inputs={"files": files},
        make=make,
    )


def tokenizer(work: Work) -> tuple[Artifact, bool]:
    """Train the tokenizer on the training split, or take one that is there."""
    if work.project.tokenizer.taken_from is not None:
        return taken_tokenizer(work, work.project.folder / work.project.tokenizer.taken_from)
    from groundup.train.noise.special import needed as needed_by

    config = work.project.tokenizer.with_special_tokens(needed_by(work.project.pretrain.objective))
    mixture, seed = work.project.data.mixture, work.project.project.seed
    key = config.model_dump(mode="json", exclude={"taken_from"})
    if config.sample_bytes is not None:  # only then these change what is read
        key["drawn"] = {"mixture": mixture.model_dump(mode="json"), "seed": seed}

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.data.corpus import Corpus
        from groundup.tokenizer.sample import Sample
        from groundup.tokenizer.train import train_tokenizer

        corpus = Corpus(work.done["data"].path)
        sample = Sample(lambda: corpus.documents("train"), config.sample_bytes, seed, mixture)
        summary = train_tokenizer(sample, config, folder)
        write_json(folder / "summary.json", summary)
        return numbers(summary)

    return work.build("tokenizer", config=key, inputs=["data"], make=make)


def taken_tokenizer(work: Work, path: Path) -> tuple[Artifact, bool]:
    """A copy of the tokenizer at ``path``, or of that of the model there.

    Raises:
        InputError: there is none.
    """
    source = path if is_tokenizer(path) else find_tokenizer(find_model(path))
    if source is None:
        raise InputError(
            "there is no tokenizer.json",
            where=f"tokenizer.taken_from: {path}",
            fix="name a folder that has one, or a model with its tokenizer",
        )
    files = [source / name for name in TOKENIZER_FILES if (source / name).is_file()]

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.tokenizer.load import load_tokenizer

        for file in files:
            shutil.copyfile(file, folder / file.name)
        made = load_tokenizer(folder)
        summary = {"vocab_size": made.vocab_size, "hash": made.hash, "kind": made.kind}
        write_json(folder / "summary.json", summary)
        return numbers(summary)

    key = {"taken_from": {file.name: hash_file(file) for file in files}}
    return work.build("tokenizer", config=key, make=make)


def tokens(work: Work) -> tuple[Artifact, bool]:
    """Turn the documents into token shards."""
    mixture, packing = work.project.data.mixture, work.project.tokens.packing

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.data.corpus import Corpus
        from groundup.data.engine import Workers
        from groundup.tokenizer.load import load_tokenizer, require_for_training
        from groundup.tokens.pack import pack

        corpus, config = Corpus(work.done["data"].path), work.project.data
        made = load_tokenizer(work.done["tokenizer"].path)
        require_for_training(made, work.done["tokenizer"].path)
        workers = Workers(config.engine, config.workers, config.ray_address)
        shards = work.project.folder / SHARDS
        index = pack(corpus, made, folder, mixture, packing, work=shards, workers=workers)
        return numbers(index)

    config = {"mixture": mixture.model_dump(mode="json"), "packing": packing}
    return work.build("tokens", config=config, inputs=["data", "tokenizer"], make=make)

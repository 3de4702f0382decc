from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pytest

from groundup.errors import InputError
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import load_tokenizer
from groundup.tokenizer.train import train_tokenizer
from groundup.tokens.samples import IGNORED
from groundup.train.augment.config import AugmentConfig
from groundup.train.augment.rows import augmentation_of

TEXT = "a big cat saw the cats, and the quick fox saw a big cat. concatenate the cat"
TABLE = "cat\ttiger\tlynx\n\nquick fox\tdog\nsaw\tcaught sight of\n"
KINDS = ["byte-bpe", "wordpiece", "unigram", "sentencepiece-bpe", "bytes"]


def tokenizer_of(kind, folder):
    words = "tiger lynx dog caught sight of cat cats concatenate "
    pairs = " ".join(a + b for a in ascii_lowercase for b in ascii_lowercase)
    texts = [TEXT, words * 5, pairs] * 4
    sizes = {"byte-bpe": 300, "wordpiece": 120, "unigram": 320, "sentencepiece-bpe": 320}
    size = {"vocab_size": sizes[kind]} if kind in sizes else {}
    config = TokenizerConfig(kind=kind, **size)
    train_tokenizer(texts, config, folder)
    return load_tokenizer(folder)


def replaced(tokenizer, folder, rate=1.0, sample=0, text=TEXT, room=60, table=TABLE):
    """The text of a row that held ``text``, after its words were replaced."""
    file = folder / "synonyms.tsv"
    file.write_text(table)
    noise = augmentation_of(AugmentConfig(synonyms=str(file), synonym_rate=rate), tokenizer)
    ids = [tokenizer.bos_id, *tokenizer.encode(text)]
    inputs = np.full((1, len(ids) + room), tokenizer.bos_id)
    targets = np.full_like(inputs, IGNORED)
    inputs[0, : len(ids)], targets[0, : len(ids)] = ids, [*ids[1:], tokenizer.bos_id]
    inputs, targets = noise.of_rows(inputs, targets, 1, sample)
    n = np.count_nonzero(targets != IGNORED)
    assert (inputs[0, 1:n] == targets[0, : n - 1]).all()
    assert targets[0, n - 1] == tokenizer.bos_id or not room
    return tokenizer.decode(inputs[0, 1:n].tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_whole_words_are_replaced_and_parts_of_words_are_not(kind, tmp_path):
    tokenizer = tokenizer_of(kind, tmp_path)
    found = {replaced(tokenizer, tmp_path, sample=sample) for sample in range(40)}
    spaced = {" ".join(text.replace(",", " ,").replace(".", " .").split()) for text in found}
    cats = ("tiger", "lynx")
    assert spaced == {
        f"a big {one} caught sight of the cats , and the dog caught sight of a big {two} . "
        f"concatenate the {three}"
        for one in cats
        for two in cats
        for three in cats
    }


def test_the_rate_is_the_share_of_the_words_in_the_table(tmp_path):
    tokenizer = tokenizer_of("byte-bpe", tmp_path)
    text = " cat" * 2000
    found = replaced(tokenizer, tmp_path, rate=0.25, text=text, room=3000)
    assert found.count("cat") / 2000 == pytest.approx(0.75, abs=0.03)


def test_a_row_that_grows_past_its_room_is_cut(tmp_path):
    tokenizer = tokenizer_of("byte-bpe", tmp_path)
    found = replaced(tokenizer, tmp_path, room=0, text=" saw" * 20)
    assert found.startswith(" caught sight of caught")


@pytest.mark.parametrize("line", ["cat", "cat\t", "\ttiger"])
def test_a_line_without_two_words_is_named(line, tmp_path):
    tokenizer = tokenizer_of("byte-bpe", tmp_path)
    with pytest.raises(InputError) as error:
        replaced(tokenizer, tmp_path, table=f"big\tlarge\n{line}\n")
    assert error.value.where.endswith("synonyms.tsv:2")


def test_words_that_the_tokenizer_cannot_spell_are_left_out_and_named(tmp_path, capfd):
    tokenizer = tokenizer_of("wordpiece", tmp_path)
    table = "cat\tŝafo\ttiger\nжук\tlynx\nfox\t犬\n"
    found = replaced(tokenizer, tmp_path, text="the cat saw ж the fox", table=table)
    assert found == replaced(tokenizer, tmp_path, text="the tiger saw ж the fox", table="a\tb")
    assert "cannot spell them: ŝafo, жук, 犬 (3)" in capfd.readouterr().err


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    tokenizer = tokenizer_of("byte-bpe", tmp_path)
    missing = AugmentConfig(synonyms=str(Path(tmp_path, "none.tsv")))
    with pytest.raises(InputError, match="cannot be read"):
        augmentation_of(missing, tokenizer)

import numpy as np
import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.data.vocabulary import Vocabulary, build
from seq2seq_jax.decoding.translate import Translation
from seq2seq_jax.decoding.unknown import read_dictionary, replace_unknown
from seq2seq_jax.types import EOS, SPECIALS, UNK, InputError

TARGET = Vocabulary("space", False, "none", (*SPECIALS, "i", "see"))


def pieces():
    side = configs.defaults().data.target
    side.tokens, side.max_vocabulary = "bpe", 14
    return build(["i see Zoé voit"] * 9, side)


def test_the_word_with_the_largest_weight_takes_the_place():
    """The end token of the source is no word, even where it has the largest weight."""
    tokens, ids = ["i", "<unk>", "see", "<unk>", "</s>"], [4, UNK, 5, UNK, EOS]
    alignment_TS = np.zeros((5, 4))
    alignment_TS[1], alignment_TS[3] = (0.1, 0.2, 0.3, 0.4), (0.5, 0.2, 0.2, 0.1)
    found = Translation("i <unk> see <unk>", -1.0, -1.0, tokens, [], alignment_TS, ids)
    replaced = replace_unknown(found, ["Zoé", "voit", "Paris"], TARGET, {})
    assert replaced.text == "i Paris see Zoé"
    assert replaced.tokens == ["i", "Paris", "see", "Zoé", "</s>"]
    translated = replace_unknown(found, ["Zoé", "voit", "Paris"], TARGET, {"Zoé": "Zoe"})
    assert translated.text == "i Paris see Zoe"


def test_where_nothing_is_looked_at_nothing_is_copied():
    found = Translation("<unk>", -1.0, -1.0, ["<unk>", "</s>"], [], np.zeros((2, 3)), [UNK, EOS])
    assert replace_unknown(found, ["Zoé", "voit"], TARGET, {}).text == "<unk>"


def test_words_that_are_written_as_specials_stay():
    """Such a word of the text has an id of its own."""
    target = build(["say <s> hello </s> now <unk>"], configs.defaults().data.target)
    ids = target.encode("say <s> hello </s> now <unk>")
    tokens = [target.tokens[i] for i in ids]
    found = Translation(target.decode(ids), -1.0, -1.0, tokens, [], np.ones((7, 2)), ids)
    same = replace_unknown(found, ["dis"], target, {})
    assert (same.text, same.tokens) == ("say <s> hello </s> now <unk>", tokens)
    unknown = found._replace(ids=[*ids[:4], UNK, *ids[5:]])
    copied = replace_unknown(unknown, ["<s>"], target, {})
    assert copied.text == "say <s> hello </s> <s> <unk>"


@pytest.mark.parametrize(
    ("kind", "words", "text"),
    [
        ("space", ["\u2581Zo", "é", "\u2581voit"], "i Zo see"),
        ("bpe", ["\u2581Zo", "é", "\u2581voit"], "i Zo see"),
        ("bpe", ["Zo", "é", "voit"], "i Zo see"),
    ],
)
def test_pieces_lose_the_space_before_them(kind, words, text):
    """Unless the target is pieces too, where a word begins with it."""
    space = "\u2581" if kind == "bpe" else ""
    tokens, ids = [f"{space}i", "<unk>", f"{space}see", "</s>"], [4, UNK, 5, EOS]
    found = Translation("i <unk> see", -1.0, -1.0, tokens, [], np.eye(4)[[1, 0, 2, 3]], ids)
    target = pieces() if kind == "bpe" else TARGET
    assert replace_unknown(found, words, target, {}).text == text
    assert replace_unknown(found, words, target, {"Zo": "Joe"}).text == "i Joe see"


def test_what_is_copied_has_the_form_of_the_targets_texts():
    """So that a test compares like with like."""
    found = Translation("<unk>", -1.0, -1.0, ["<unk>", "</s>"], [], np.eye(2), [UNK, EOS])
    lower = Vocabulary("word", True, "nfc", SPECIALS)
    assert replace_unknown(found, ["Bonn."], lower, {}).text == "bonn ."
    assert replace_unknown(found, ["Köln"], lower, {"Köln": "Cologne"}).text == "cologne"


def test_the_space_of_pieces_stands_once():
    tokens, ids = ["\u2581i", "\u2581", "<unk>", "</s>"], [4, 5, UNK, EOS]
    found = Translation("i <unk>", -1.0, -1.0, tokens, [], np.eye(4)[[0, 0, 1, 3]], ids)
    assert replace_unknown(found, ["je", "Zoé", "vois"], pieces(), {}).text == "i Zoé"


def test_a_dictionary_of_two_columns(tmp_path):
    path = tmp_path / "dictionary.tsv"
    path.write_text("chien\tdog\nchat\tcat\n", encoding="utf-8")
    assert read_dictionary(path) == {"chien": "dog", "chat": "cat"}
    path.write_text("chien\tdog\nchat cat\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"dictionary.tsv:2: expected WORD TAB TRANSLATION"):
        read_dictionary(path)

"""Text to ids and back."""

import itertools
import json
import unicodedata

import pytest

from configs.default import get_config
from seq2seq_jax.config_checks import CHOICES
from seq2seq_jax.data.links import word_sizes
from seq2seq_jax.data.vocabulary import Vocabulary, build
from seq2seq_jax.types import BOS, EOS, PAD, SPECIALS, UNK, InputError

KINDS = CHOICES["data.source.tokens"]
TEXTS = ["l'homme a vu week-end 3D .", "je suis étudiant", "a a a b b c"] * 4


def side(**options):
    side = get_config().data.source
    side.update(options)
    return side


def pieces(kind: str, size: int = 30, **options) -> Vocabulary:
    return build(TEXTS, side(tokens=kind, max_vocabulary=size, **options))


def of_kind(kind: str) -> Vocabulary:
    return pieces(kind) if kind in ("unigram", "bpe") else build(TEXTS, side(tokens=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_specials_come_first_and_ids_are_distinct(kind):
    vocabulary = of_kind(kind)
    assert vocabulary.tokens[:4] == SPECIALS
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert len(set(vocabulary.tokens)) == len(vocabulary)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS[:3])
def test_the_tokens_of_each_word(kind, text):
    """Cut at these places, the tokens are those of the words, one after another."""
    vocabulary = of_kind(kind)
    tokens = vocabulary.tokenize(text)
    sizes = word_sizes(vocabulary, text, len(tokens))
    places = itertools.accumulate(sizes, initial=0)
    words = [vocabulary.join(tokens[a:b]) for a, b in itertools.pairwise(places)]
    assert [word.replace(" ", "") for word in words] == text.split()


def test_tokens_that_are_those_of_no_word():
    """The second space of two."""
    with pytest.raises(InputError, match="'a  b' has 4 tokens, and its words 3: write"):
        word_sizes(of_kind("character"), "a  b", 4)


@pytest.mark.parametrize("kind", KINDS)
def test_encode_ends_in_eos_and_decode_inverts_it(kind):
    vocabulary = of_kind(kind)
    for text in TEXTS[:3]:
        ids = vocabulary.encode(text)
        assert ids[-1] == EOS
        assert all(i >= len(SPECIALS) for i in ids[:-1])
        assert vocabulary.decode([BOS, *ids, PAD, ids[0]]) == vocabulary.normalize_text(text)
        assert [vocabulary.tokens[i] for i in ids[:-1]] == vocabulary.tokenize(text)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_tokens_are_named_and_shown(kind):
    vocabulary = of_kind(kind)
    text = "je zzß"
    ids = vocabulary.encode(text)
    unknown = vocabulary.unknown(vocabulary.tokenize(text))
    assert UNK in ids
    assert "<unk>" in vocabulary.decode(ids)
    assert "".join(unknown) == "zzß"
    assert len(unknown) == ids.count(UNK)
    assert vocabulary.unknown(vocabulary.tokenize("je suis")) == []


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_reloaded_is_the_same(kind, tmp_path):
    vocabulary = of_kind(kind)
    vocabulary.save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded == vocabulary
    assert [loaded.encode(t) for t in TEXTS] == [vocabulary.encode(t) for t in TEXTS]
    assert [p.name for p in tmp_path.iterdir()] == ["v.json"]


def test_saved_file_is_readable_text(tmp_path):
    build(["étudiant"], side()).save(tmp_path / "v.json")
    text = (tmp_path / "v.json").read_text(encoding="utf-8")
    assert "étudiant" in text
    assert json.loads(text)["tokens"] == "space"


def test_word_rule():
    vocabulary = build(["x"], side(tokens="word"))
    text = "Aujourd'hui, l’homme (week-end!) 'dit' -non- a_b 3,5..."
    assert vocabulary.tokenize(text) == [
        "Aujourd'hui", ",", "l’homme", "(", "week-end", "!", ")", "'", "dit", "'",
        "-", "non", "-", "a_b", "3", ",", "5", ".", ".", ".",
    ]  # fmt: skip
    assert vocabulary.normalize_text("a,b") == "a , b"


def test_words_keep_their_combining_marks():
    vocabulary = build(["x"], side(tokens="word", unicode="none"))
    decomposed = unicodedata.normalize("NFD", "étudiant")
    hindi, adlam = "हिन्दी", "\U0001e900\U0001e944\U0001e902"
    assert vocabulary.tokenize(f"{decomposed} {hindi}!") == [decomposed, hindi, "!"]
    assert vocabulary.tokenize(f"{adlam}.{decomposed}") == [adlam, ".", decomposed]


def test_characters_include_spaces():
    vocabulary = build(["ab c"], side(tokens="character"))
    assert vocabulary.tokenize(" ab c ") == ["a", "b", " ", "c"]
    assert vocabulary.decode(vocabulary.encode("ab c")) == "ab c"


def test_text_spelled_like_a_special_token_is_ordinary():
    vocabulary = build(["a </s> b"], side())
    ids = vocabulary.encode("a </s> b")
    assert ids.count(EOS) == 1 and ids[-1] == EOS
    assert vocabulary.decode(ids) == "a </s> b"
    assert build(["a"], side()).encode("</s> <pad>") == [UNK, UNK, EOS]


def test_unicode_and_case():
    nfd = unicodedata.normalize("NFD", "ÉTÉ")
    assert build(["x"], side(lowercase=True)).tokenize(nfd) == ["été"]
    assert build(["x"], side(unicode="none")).tokenize(nfd) == [nfd]
    assert build(["x"], side(unicode="nfkc")).tokenize("ﬁn Ａ") == ["fin", "A"]
    assert build(["x"], side(unicode="nfc")).tokenize("ﬁn") == ["ﬁn"]
    iota = build(["x"], side(lowercase=True)).tokenize("\u03aa\u0301")[0]
    assert iota == "\u0390"  # of one piece again, which lower-casing alone does not give


def test_most_frequent_first_ties_alphabetical():
    vocabulary = build(["c c b b a d"], side())
    assert vocabulary.tokens[4:] == ("b", "c", "a", "d")
    assert build(["d a b b c c"], side()).tokens == vocabulary.tokens


def test_rare_tokens_and_cut():
    texts = ["c c c b b a"]
    assert build(texts, side(min_frequency=2)).tokens[4:] == ("c", "b")
    assert build(texts, side(max_vocabulary=1)).tokens[4:] == ("c",)
    with pytest.raises(InputError, match=r"min_frequency=4 leaves no token: .* 'c', occurs 3"):
        build(texts, side(min_frequency=4))


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_pieces_know_every_character_of_the_texts(kind):
    """Also of words that are spelled like special tokens, and beside sentencepiece's own mark."""
    texts = ["the <unk> sat on a mat", "a cat </s> sat <s>", "<pad> quiz \u2585"] * 9
    options = side(tokens=kind, max_vocabulary=27)
    vocabulary = build(texts, options)
    assert vocabulary.tokens[:4] == SPECIALS
    for text in texts[:2]:
        assert UNK not in vocabulary.encode(text)
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert UNK not in vocabulary.encode("quiz")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_too_many_pieces_names_key_and_largest_size(kind):
    with pytest.raises(InputError, match=r"data\.source\.max_vocabulary=9000 is too large") as e:
        pieces(kind, 9000)
    largest = int(str(e.value).rsplit(" ", 1)[1])
    assert len(pieces(kind, largest)) == largest
    with pytest.raises(InputError, match="too large"):
        pieces(kind, largest + 1)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_too_few_pieces(kind):
    with pytest.raises(InputError, match=r"max_vocabulary=5 is too small .* alone need \d+"):
        pieces(kind, 5)


def test_sentencepiece_is_silent(capfd):
    pieces("unigram")
    assert capfd.readouterr() == ("", "")


def test_long_texts_are_not_skipped():
    long = " ".join(["qxyzq"] * 2000)
    vocabulary = build([*TEXTS, long], side(tokens="bpe", max_vocabulary=60))
    assert vocabulary.unknown(vocabulary.tokenize("qxyzq")) == []


def test_load_says_what_is_wrong(tmp_path):
    with pytest.raises(InputError, match="no such vocabulary file"):
        Vocabulary.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"tokens": "space"}')
    with pytest.raises(InputError, match=r"bad\.json: not a vocabulary file"):
        Vocabulary.load(tmp_path / "bad.json")

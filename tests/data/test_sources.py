"""Text from files: what is read, what is held out, and what is said about bad input."""

import gzip

import pytest

from configs.default import get_config
from seq2seq_jax.data import load_data, load_pairs
from seq2seq_jax.data.holdout import hold_out, same
from seq2seq_jax.data.sources import read_lines
from seq2seq_jax.types import InputError, Pair
from tests.data.real_data import real


def data(folder, **options):
    data = get_config().data
    data.name, data.dir = "text", str(folder)
    data.update(options)
    return data


def write(folder, **files):
    """One file per keyword; `__` in the keyword is a dot in the name."""
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        content = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def tsv(folder, count: int = 100):
    write(folder, p__tsv="".join(f"source {i}\ttarget {i}\n" for i in range(count)))


def given(folder):
    """Three parallel splits, named as the options of `data`."""
    write(folder, a__de="ein Haus\nzwei\n", a__en="a house\ntwo\n", v__tsv="x\ty\n")
    return {"train": "a.de a.en", "valid": "v.tsv", "test": "v.tsv"}


# --- reading


def test_parallel_files_and_tsv(tmp_path):
    splits = load_pairs(data(tmp_path, **given(tmp_path)))
    assert splits.train == [Pair("ein Haus", "a house"), Pair("zwei", "two")]
    assert splits.valid == splits.test == [Pair("x", "y")]
    assert splits.notes == ()


def test_names_begin_in_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, **{"a b__tsv": "a\tb\n", "v__tsv": "x\ty\n", "~w__tsv": "v\tw\n"})
    options = {"train": "~/a b.tsv", "valid": "~/v.tsv", "test": "~w.tsv"}
    splits = load_pairs(data(tmp_path, **options))
    assert splits[:3] == ([Pair("a", "b")], [Pair("x", "y")], [Pair("v", "w")])


def test_names_with_spaces_stand_in_quotes(tmp_path):
    write(tmp_path, **{"a b__de": "ein Haus\n", "a b__en": "a house\n", "v w__tsv": "x\ty\n"})
    options = {"train": '"a b.de" "a b.en"', "valid": '"v w.tsv"', "test": "v w.tsv"}
    splits = load_pairs(data(tmp_path, **options))
    assert splits.train == [Pair("ein Haus", "a house")]
    assert splits.valid == splits.test == [Pair("x", "y")]


def test_gzip_columns_and_line_ends(tmp_path):
    options = {"train": "t.tsv.gz", "valid": "v.tsv", "test": "v.tsv"}
    write(tmp_path, v__tsv="id\tx\ty\n")
    # A byte-order mark, Windows line ends, a Unicode line separator inside, no last line feed.
    write(tmp_path, t__tsv__gz="\ufeffid1\ta\tb\r\nid2\tc\u2028d\te\r\nid3\tf\tg".encode())
    splits = load_pairs(data(tmp_path, **options, columns=(2, 1)))
    assert splits.train == [Pair("b", "a"), Pair("e", "c\u2028d"), Pair("g", "f")]


def test_lines_are_without_byte_order_mark_and_windows_ends(tmp_path):
    write(tmp_path, a__txt="\ufeffa\r\n\r\nb\u2028c\n")
    assert read_lines(tmp_path / "a.txt", "data.train") == ["a", "", "b\u2028c"]


def test_empty_sides_are_left_out_and_counted(tmp_path):
    options = given(tmp_path)
    write(tmp_path, a__de="a\n \nc\n\n", a__en="x\ny\n\n\n", v__tsv="x\ty\n\n")
    splits = load_pairs(data(tmp_path, **options))
    assert splits.train == [Pair("a", "x")]
    assert splits.valid == [Pair("x", "y")]
    assert splits.notes[0] == (
        f"train: 3 pairs with an empty side left out, first: {tmp_path / 'a.de'}:2"
    )
    assert splits.notes[1].startswith("valid: 1 pairs with an empty side left out")


def test_gzip_is_known_by_its_first_bytes(tmp_path):
    options = given(tmp_path) | {"train": "t.tsv"}
    write(tmp_path, t__tsv=gzip.compress(b"a\tb\n"))
    assert load_pairs(data(tmp_path, **options)).train == [Pair("a", "b")]


def test_a_third_file_has_gold_links(tmp_path):
    """`p` marks a possible one. The pair with an empty side takes its links with it."""
    options = given(tmp_path) | {"test": "t.de t.en t.links"}
    write(tmp_path, t__de="das Haus\n \nja\n", t__en="the house\nx\nyes sir\n")
    write(tmp_path, t__links="1-1 0-0 1p0\n\n\n")
    splits = load_pairs(data(tmp_path, **options))
    assert splits.test == [
        Pair("das Haus", "the house", ((1, 1), (0, 0)), possible=((1, 0),)),
        Pair("ja", "yes sir", ()),
    ]
    assert splits.train[0].alignment is None


def test_checksums_tell_pairs_and_links(tmp_path):
    options = given(tmp_path) | {"test": "t.de t.en t.links"}
    write(tmp_path, t__de="das Haus\n", t__en="the house\n", t__links="0-0 1-1\n")
    before = load_data(data(tmp_path, **options)).checksums
    write(tmp_path, t__links="0-0 1p1\n")
    after = load_data(data(tmp_path, **options)).checksums
    assert {part for part in before if before[part] != after[part]} == {"links of test"}


# --- bad input


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ("0-0\n0:0\n", r"t\.links:2: '0:0' is no link: 0-0 is a sure one"),
        ("0-0\n0-0 1-0\n", r"t\.links:2: the link 1-0 lies outside .* of 1 x 2 words"),
        ("0-0\n0p2\n", r"t\.links:2: the link 0p2 lies outside"),
    ],
)
def test_bad_links(tmp_path, links, message):
    write(tmp_path, t__de="das Haus\nja\n", t__en="the house\nyes sir\n", t__links=links)
    options = given(tmp_path) | {"test": "t.de t.en t.links"}
    with pytest.raises(InputError, match=message):
        load_pairs(data(tmp_path, **options))


@pytest.mark.parametrize(
    ("train", "files", "message"),
    [
        ("none.tsv", {}, r"data\.train: .*none\.tsv does not exist"),
        ("b.d b.en", {"b__de": "", "b__en": ""}, r"b\.d does not exist; the folder has .*b\.de"),
        ("no/b.tsv", {}, r"neither does its folder .*no: check data\.dir"),
        ("a b c d", {}, r"data\.train='a b c d' names 4 files"),
        ("b.d b.e b.l", {"b__d": "1\n", "b__e": "1\n", "b__l": ""}, r"b\.d has 1 and .*b\.l has 0"),
        ("b.de b.en", {"b__de": "1\n2\n", "b__en": "1\n"}, r"b\.de has 2 and .*b\.en has 1$"),
        ("b.tsv", {"b__tsv": "a\tb\nc d\n"}, r"b\.tsv:2: 1 tab-separated .* at least 2 .*'c d'"),
        ("b.tsv", {"b__tsv": b"a\tb\nc\t\xe9\n"}, r"b\.tsv:2: not UTF-8 .* -f latin1"),
        ("b.tsv", {"b__tsv": "a\tb\n".encode("utf-16")}, r"b\.tsv:1: not UTF-8 .* -f utf-16"),
        ("b.tsv", {"b__tsv": "a\tb\n".encode("utf-16-le")}, r"b\.tsv:1: a NUL .* -f utf-16"),
        ("b.tsv", {"b__tsv": b"a\tb\nc\td\0e\nf\tg\n"}, r"b\.tsv:2: a NUL .* tr -d '\\000'"),
        ("v.tsv/b.tsv", {}, r"data\.train: .*b\.tsv cannot be read: Not a directory"),
        ("b__.gz", {}, r"does not exist"),
    ],
)
def test_bad_files(tmp_path, train, files, message):
    options = given(tmp_path)
    write(tmp_path, **files)
    with pytest.raises(InputError, match=message):
        load_pairs(data(tmp_path, **options | {"train": train}))


@pytest.mark.parametrize(
    "content", [b"plain text", gzip.compress(b"a\tb\n" * 99, mtime=0)[:-9], b""]
)
def test_not_a_whole_gzip_file(tmp_path, content):
    (tmp_path / "t.gz").write_bytes(content)
    if content == b"":  # nothing at all is a gzip file of nothing
        with pytest.raises(InputError, match="nothing is left to train on"):
            load_pairs(data(tmp_path, train="t.gz"))
        return
    with pytest.raises(InputError, match=r"t\.gz is not a whole gzip file"):
        load_pairs(data(tmp_path, train="t.gz"))


@pytest.mark.parametrize("columns", [(), (0,), (0, 1, 2), (-1, 0), ("en", "fr")])
def test_columns_of_a_tsv_are_two_numbers(tmp_path, columns):
    tsv(tmp_path)
    with pytest.raises(InputError, match="needs two column numbers"):
        load_pairs(data(tmp_path, train="p.tsv", columns=columns))


# --- held out


def test_held_out_sources_are_not_in_train(tmp_path):
    lines = [f"source {i % 40}\ttarget {i}" for i in range(200)]
    lines += [f" SOURCE  {i}\tupper {i}" for i in range(40)]
    write(tmp_path, p__tsv="\n".join(lines))
    splits = load_pairs(data(tmp_path, train="p.tsv", valid_size=24, test_size=13))
    sources = [{same(pair.source) for pair in split} for split in splits[:3]]
    assert not sources[0] & sources[1] and not sources[0] & sources[2]
    assert not sources[1] & sources[2]
    assert len(splits.valid) == 24
    assert len(splits.test) == 12  # groups of six: the size is never passed
    assert sorted(splits.train + splits.valid + splits.test) == sorted(
        Pair(*(field.strip() for field in line.split("\t"))) for line in lines
    )
    assert "valid: 24 pairs held out of train, by source" in splits.notes


def test_hold_out_is_random_and_repeats():
    pairs = [Pair(str(i), str(i)) for i in range(50)]
    first = hold_out(pairs, {"valid": 10}, 0)
    assert first == hold_out(pairs, {"valid": 10}, 0)
    assert first["valid"] != hold_out(pairs, {"valid": 10}, 1)["valid"]
    assert first["valid"] != pairs[:10]
    assert first["train"] == [pair for pair in pairs if pair not in first["valid"]]


def test_default_sizes_and_too_large_ones(tmp_path):
    tsv(tmp_path)
    splits = load_pairs(data(tmp_path, train="p.tsv"))
    assert [len(split) for split in splits[:3]] == [88, 6, 6]
    with pytest.raises(InputError, match=r"train has 100 pairs, data\.valid_size=60, data\.test"):
        load_pairs(data(tmp_path, train="p.tsv", valid_size=60, test_size=40))


def test_sizes_cut_to_a_sample_in_file_order(tmp_path):
    tsv(tmp_path)
    options = {"train": "p.tsv", "valid": "p.tsv", "test": "p.tsv"}
    splits = load_pairs(data(tmp_path, **options, train_size=30, valid_size=20))
    assert [len(split) for split in splits[:3]] == [30, 20, 100]
    whole = splits.test
    at = [whole.index(pair) for pair in splits.train]
    assert at == sorted(at) and at != list(range(30))
    assert splits == load_pairs(data(tmp_path, **options, train_size=30, valid_size=20))
    assert "train: a random sample of 30 of 100 pairs" in splits.notes
    assert "test: 30 pairs whose source is in train, too" in splits.notes
    notes = load_pairs(data(tmp_path, **options, test_size=101)).notes
    assert "test: 100 pairs, fewer than data.test_size = 101" in notes


# --- vocabularies and ids


def test_vocabularies_come_from_train_alone(tmp_path):
    options = given(tmp_path)
    loaded = load_data(data(tmp_path, **options))
    assert set(loaded.source.tokens[4:]) == {"ein", "Haus", "zwei"}
    assert set(loaded.target.tokens[4:]) == {"a", "house", "two"}
    assert loaded.source.decode(loaded.encoded["train"].source[0]) == "ein Haus"
    assert loaded.encoded["valid"].source[0].tolist() == [3, 2]
    again = load_data(data(tmp_path, **options), (loaded.target, loaded.source))
    assert again.source == loaded.target


def test_joint_vocabulary_serves_both_sides(tmp_path):
    loaded = load_data(data(tmp_path, **given(tmp_path), joint_vocabulary=True))
    assert loaded.source is loaded.target
    assert {"ein", "two"} <= set(loaded.source.tokens)


def test_long_training_pairs_are_left_out_and_counted(tmp_path):
    options = given(tmp_path)
    write(tmp_path, a__de="a b c\na b\na\n", a__en="x\nx y\nx y z\n", v__tsv="a b c\tx y z\n")
    config = data(tmp_path, **options)
    config.source.max_length, config.target.max_length = 2, 2
    loaded = load_data(config)
    assert loaded.pairs.train == [Pair("a b", "x y")]
    assert len(loaded.encoded["train"]) == len(loaded.encoded["train"].target) == 1
    assert len(loaded.pairs.valid) == len(loaded.encoded["valid"]) == 1
    assert any("train: 2 of 3 pairs left out: longer than" in note for note in loaded.notes)
    config.source.max_length = 1
    with pytest.raises(InputError, match="no training pair is short enough"):
        load_data(config)


def test_no_training_pair_at_all(tmp_path):
    options = given(tmp_path)
    write(tmp_path, a__de="\n\n", a__en="\n\n")
    with pytest.raises(InputError, match=r"training split is empty\n  train: 2 pairs with an emp"):
        load_data(data(tmp_path, **options))
    write(tmp_path, a__de="a\n", a__en="b\n", v__tsv="a\t\n")
    with pytest.raises(InputError, match=r"valid split is empty.*\n  valid: 1 pairs with an emp"):
        load_data(data(tmp_path, **options))


# --- real data


def test_multi30k_as_text():
    folder = real("multi30k")
    splits = load_pairs(
        data(
            folder,
            train="train.de.gz train.en.gz",
            valid="val.de.gz val.en.gz",
            test="test_2016_flickr.de.gz test_2016_flickr.en.gz",
        )
    )
    assert [len(split) for split in splits[:3]] == [29000, 1014, 1000]
    assert splits.train[0] == Pair(
        "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
        "Two young, White males are outside near many bushes.",
    )


def test_tatoeba_as_text():
    folder = real("tatoeba-fra-eng")
    options = {"train": "fra.txt.gz", "columns": (1, 0), "valid_size": 1000, "test_size": 1000}
    splits = load_pairs(data(folder, **options))
    assert [len(split) for split in splits[:3]] == [140787, 1000, 1000]
    train = {same(pair.source) for pair in splits.train}
    assert not any(same(pair.source) in train for pair in splits.valid + splits.test)

"""tensorflow-datasets without TensorFlow: any data set with two texts, and the own builders."""

import contextlib
import gzip
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import tensorflow_datasets as tfds

from configs.default import get_config
from seq2seq_jax.data import load_pairs
from seq2seq_jax.data.builders import BUILDERS, find, multi30k
from seq2seq_jax.data.builders.files import verify
from seq2seq_jax.data.builders.tatoeba import split_of
from seq2seq_jax.data.holdout import same, share
from seq2seq_jax.data.tfds_source import data_dir, find_columns, load_tfds, prepare
from seq2seq_jax.types import InputError, Pair
from tests.data.real_data import real
from tests.data.tiny_g2p import write_g2p


class TinyTranslate(tfds.core.GeneratorBasedBuilder):
    """A data set as the library has them: two languages, no supervised keys, an empty example."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list] = [tfds.core.BuilderConfig(name="pt_to_en")]

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="pairs",
            features=tfds.features.Translation(languages=("pt", "en")),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(60), "validation": self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            yield i, {"pt": f"olá {i} {count}" if i != 1 else " ", "en": f"hello {i}"}


class TinyTexts(tfds.core.GeneratorBasedBuilder):
    """Two texts and a label by names of their own, a split by another name."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        texts = {name: tfds.features.Text() for name in ("question", "answer", "comment")}
        return tfds.core.DatasetInfo(
            builder=self, description="texts", features=tfds.features.FeaturesDict(texts)
        )

    def _split_generators(self, dl_manager):
        return {"dev": self._generate_examples(3), "other": self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            yield str(i), {"question": f"q{i}", "answer": f"a{i}", "comment": f"c{i}"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def data(name: str, folder: Path | str = "", **options):
    data = get_config().data
    data.name, data.dir = f"tfds:{name}", str(folder)
    data.update(options)
    return data


# --- any data set


def test_a_translation_data_set_by_its_name():
    splits = load_pairs(data("tiny_translate/pt_to_en", test_size=5))
    assert splits.train[0] == Pair("olá 0 60", "hello 0")
    assert [len(split) for split in splits[:3]] == [54, 2, 5]
    assert splits.notes[0].startswith("train: 1 pairs with an empty side left out, first: tfds:")
    assert "test: 5 pairs held out of train, by source" in splits.notes
    turned = load_pairs(data("tiny_translate/pt_to_en", columns=(1, 0)))
    assert turned.valid[0] == Pair("hello 0", "olá 0 3")
    named = load_pairs(data("tiny_translate/pt_to_en", columns=("en", "pt")))
    assert named.valid == turned.valid


class Info:
    """What `find_columns` looks at."""

    full_name = "some/data"

    def __init__(self, features, config_name=None, supervised_keys=None):
        self.features = {name: tfds.features.Text() for name in features.split()}
        self.config_name, self.supervised_keys = config_name, supervised_keys


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (Info("en pt", "pt_to_en"), ("pt", "en")),
        (Info("de en", "de_en"), ("de", "en")),
        (Info("en pt", "pt_to_en", ("en", "pt")), ("en", "pt")),
        (Info("a src dst z", None, ("src", "dst")), ("src", "dst")),
        (Info("question answer", "plain_text"), ("question", "answer")),
    ],
)
def test_source_and_target_are_found(info, expected):
    assert find_columns(info, ()) == find_columns(info, (0, 1)) == expected
    assert find_columns(info, (1, 0)) == expected[::-1]


def test_columns_that_cannot_be_told_or_are_not_there():
    with pytest.raises(InputError, match=r"which features of some/data .*: a, b, c"):
        find_columns(Info("a b c"), ())
    with pytest.raises(InputError, match=r"no text feature 'd', only a, b"):
        find_columns(Info("a b"), ("a", "d"))
    with pytest.raises(InputError, match=r"data\.columns=\(0, 2\): name two text features"):
        find_columns(Info("a b"), (0, 2))


def test_data_sets_that_cannot_be_used():
    with pytest.raises(InputError, match=r"no such data set; did you mean .*tiny_translate"):
        load_tfds(data("tiny_translat"))
    with pytest.raises(InputError, match=r"data\.name=tfds:tiny_translate/xx cannot be prepared"):
        load_tfds(data("tiny_translate/xx"))
    with pytest.raises(InputError, match=r"no split named train, only dev, other"):
        load_tfds(data("tiny_texts", columns=("question", "answer")))


def test_tensorflow_and_jax_are_not_imported(tmp_path):
    """In a fresh process, on the whole path: prepare, then read."""
    write_multi30k(tmp_path / "m")
    code = (
        "import sys; from configs.default import get_config; c = get_config().data\n"
        f"c.name, c.dir = 'tfds:multi30k/de_en', {str(tmp_path / 'm')!r}\n"
        "from seq2seq_jax.data import load_data; print(len(load_data(c).pairs.train))\n"
        "print([name for name in ('tensorflow', 'jax', 'grain') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["9", "[]"]  # and what the library prints is elsewhere


def test_processes_that_start_together_prepare_once(monkeypatch):
    """As a sweep's workers do: without the lock both write, and the second cannot rename."""
    both, written = threading.Barrier(2), []
    make = TinyTranslate._generate_examples

    def meet(self, count):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=1)
        written.append(count)
        yield from make(self, count)

    monkeypatch.setattr(TinyTranslate, "_generate_examples", meet)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # redirected by both, restored in any order
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: load_pairs(data("tiny_translate/pt_to_en")), range(2))
    assert written == [60, 3]
    assert first == second


def test_what_is_prepared_is_read_from_a_folder_that_cannot_be_written(monkeypatch):
    """Permissions do not stop root, so that the lock itself is forbidden here."""
    first = load_pairs(data("tiny_translate/pt_to_en"))
    monkeypatch.setattr("seq2seq_jax.data.tfds_source.locked", None)
    assert load_pairs(data("tiny_translate/pt_to_en")) == first


def test_prepared_data_lies_in_the_cache(monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data_dir() == Path("/cache/seq2seq_jax/tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", "/mine")
    assert data_dir() == Path("/mine")


# --- the own builders, on small files


def write_multi30k(folder: Path, marker: str = "x") -> Path:
    folder.mkdir()
    for stem, count in (("train", 9), ("val", 2), ("test_2016_flickr", 1)):
        for language in ("de", "en"):
            lines = "".join(f"{stem} {language} {marker}{i}\n" for i in range(count))
            if language == "de":
                (folder / f"{stem}.de.gz").write_bytes(gzip.compress(lines.encode()))
            else:
                (folder / f"{stem}.en").write_text(lines)
    return folder


def test_multi30k_both_directions_in_order(tmp_path):
    folder = write_multi30k(tmp_path / "m")
    splits = load_pairs(data("multi30k/de_en", folder))
    assert splits.train == [Pair(f"train de x{i}", f"train en x{i}") for i in range(9)]
    assert [len(split) for split in splits[:3]] == [9, 2, 1]
    turned = load_pairs(data("multi30k/en_de", folder))
    assert turned.test == [Pair("test_2016_flickr en x0", "test_2016_flickr de x0")]


def test_other_files_are_not_taken_for_the_prepared_ones(tmp_path):
    first = load_pairs(data("multi30k/de_en", write_multi30k(tmp_path / "m")))
    shutil.rmtree(tmp_path / "m")
    second = load_pairs(data("multi30k/de_en", write_multi30k(tmp_path / "m", "changed")))
    assert first.train != second.train
    assert second.train[0].source == "train de changed0"


def test_multi30k_downloads_what_verifies(tmp_path, monkeypatch):
    folder = write_multi30k(tmp_path / "m")
    for path in folder.glob("*.en"):
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    monkeypatch.setattr(multi30k, "URL", f"{folder.as_uri()}/")
    with pytest.raises(InputError, match=r"train\.de\.gz.*not the published file"):
        load_pairs(data("multi30k/de_en"))
    sums = {
        path.name.removesuffix(".gz"): (path.stat().st_size, sha256(path.read_bytes()).hexdigest())
        for path in folder.glob("*.gz")
    }
    monkeypatch.setattr(multi30k, "PUBLISHED", sums)
    assert load_pairs(data("multi30k/de_en")).train[2] == Pair("train de x2", "train en x2")


def test_tatoeba_splits_by_source(tmp_path):
    lines = [f"Go {i}.\tVa {i // 3} !\tattribution" for i in range(1500)]
    (tmp_path / "fra.txt").write_text("\n".join(lines))
    splits = load_pairs(data("tatoeba/fr_en", tmp_path))
    assert splits.train[0] == Pair("Va 0 !", "Go 0.")
    assert sum(map(len, splits[:3])) == 1500
    assert len(splits.valid) > 0 and len(splits.test) > 0
    for split, name in zip(splits[:3], ("train", "validation", "test"), strict=True):
        assert {split_of(pair.source) for pair in split} == {name}
    assert all(split_of(f"Va {i} !") == split_of(f" va  {i} ! ") for i in range(300))


def test_tatoeba_reads_the_archive_and_names_a_bad_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "fra-eng.zip", "w") as archive:
        archive.writestr("fra.txt", "".join(f"Go {i}.\tVa {i} !\n" for i in range(500)))
    assert load_pairs(data("tatoeba/en_fr", tmp_path)).train[0].source.startswith("Go ")
    (tmp_path / "fra.txt").write_text("Go.\tVa !\nonly one\n")
    with pytest.raises(InputError, match=r"fra\.txt:2: expected English TAB French, got 'only one"):
        load_pairs(data("tatoeba/en_fr", tmp_path))


def test_g2p_words_and_references(tmp_path):
    words = [f"W{i}" for i in range(300)]
    write_g2p(tmp_path, "".join(f"{word}\tD AH\n{word}\tD IY\n" for word in words))
    config = data("cmudict_g2p", tmp_path)
    splits = load_pairs(config)
    held_out = [word for word in words if share(word) < 0.05]
    assert [pair.source for pair in splits.valid] == held_out
    assert all(pair.target == "D AH" for pair in splits.valid)  # one example a word
    assert len(splits.train) == 2 * (300 - len(held_out))  # one a pronunciation
    assert splits.test == [
        Pair("ABBE", "AE B IY", alternatives=("AE B EY",)),
        Pair("ABLE", "EY B AH L"),
    ]
    assert splits.test[0].references == ("AE B IY", "AE B EY")
    # Every pronunciation of a training word is a target, and right for the others.
    assert {pair.references for pair in splits.train} == {("D AH", "D IY"), ("D IY", "D AH")}
    record = prepare(config).as_data_source(split="test")[0]
    assert list(record["references"]) == [b"AE B IY", b"AE B EY"]
    turned = load_pairs(data("cmudict_g2p", tmp_path, columns=(1, 0)))
    assert turned.test[0] == Pair("AE B IY", "ABBE")  # the references are no words


def test_g2p_names_a_bad_line(tmp_path):
    write_g2p(tmp_path, "A\tAH\nBROKEN\n")
    with pytest.raises(InputError, match=r"g014b2b\.train:2: expected WORD TAB phonemes"):
        load_pairs(data("cmudict_g2p", tmp_path))


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_folder_without_the_files_says_how_to_get_them(name, tmp_path):
    with pytest.raises(InputError, match=r"data\.dir: .* has no ") as error:
        load_pairs(data(name, tmp_path))
    assert find(name).MANUAL_DOWNLOAD_INSTRUCTIONS in str(error.value)


@pytest.mark.parametrize("name", ["tatoeba", "cmudict_g2p"])
def test_no_folder_at_all(name):
    with pytest.raises(InputError, match=r"data\.dir is empty") as error:
        load_pairs(data(name))
    assert find(name).MANUAL_DOWNLOAD_INSTRUCTIONS in str(error.value)


def test_unknown_config_names_the_known():
    with pytest.raises(InputError, match=r"multi30k has the configs de_en, fr_en, en_de, en_fr"):
        load_pairs(data("multi30k/de_fr"))


# --- the own builders, on the real files


def test_real_multi30k():
    folder = real("multi30k")
    splits = load_pairs(data("multi30k/de_en", folder))
    assert [len(split) for split in splits[:3]] == [29000, 1014, 1000]
    for name, published in multi30k.PUBLISHED.items():
        verify(folder / f"{name}.gz", *published)


def generated(name: str, config: str | None, folder: Path, tmp_path: Path) -> dict[str, list]:
    """The examples before they are written: writing all of them is the library's work, and slow."""
    builder = find(name)(config=config, data_dir=tmp_path, file_format="array_record")
    manager = SimpleNamespace(_manual_dir=folder, download_dir=tmp_path)
    splits = builder._split_generators(manager).items()
    return {split: [example for _, example in examples] for split, examples in splits}


def test_real_tatoeba(tmp_path):
    splits = generated("tatoeba", "fr_en", real("tatoeba-fra-eng"), tmp_path)
    assert sum(map(len, splits.values())) == 142787
    assert 1300 < len(splits["validation"]) < 1500 and 1300 < len(splits["test"]) < 1500
    sources = {split: {same(pair["fr"]) for pair in pairs} for split, pairs in splits.items()}
    assert not sources["train"] & (sources["validation"] | sources["test"])
    assert not sources["validation"] & sources["test"]


def test_real_g2p(tmp_path):
    splits = generated("cmudict_g2p", None, real("cmudict-g2p"), tmp_path)
    assert len(splits["test"]) == 12000
    assert sum(len(example["references"]) for example in splits["test"]) == 12753
    words = [{example["source"] for example in splits[s]} for s in ("train", "validation")]
    assert len(words[0]) + len(words[1]) == len(words[0] | words[1]) == 106837

"""CMUdict grapheme-to-phoneme pairs, the PRONASYL-2007 split on which papers report PER and WER."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from seq2seq_jax.data.builders.files import locate
from seq2seq_jax.data.holdout import share
from seq2seq_jax.data.sources import read_lines
from seq2seq_jax.types import InputError

VALID = 0.05  # share of the training words
NAMES = ("g014b2b.train", "g014b2b.words", "g014b2b.ref")


class CmudictG2p(tfds.core.GeneratorBasedBuilder):
    """113,438 training lines, of which 5 % of the words are validation; 12,000 test words.

    `source` is the word, `target` a pronunciation (phonemes separated by spaces), `references`
    all pronunciations of the word. Train has an example a line, validation and test one a word,
    with the first pronunciation as target. A word's split depends on a hash of it alone.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Put the files {', '.join(NAMES)} of the CMUdict split g014b2b (plain or .gz) into one "
        "folder and name it in data.dir. They are distributed with the grapheme-to-phoneme "
        "toolkits that use this split; no address of certain content is known to this program"
    )
    needs_folder = True

    @classmethod
    def files(cls, config: str, folder: Path) -> list[Path]:
        """The files in the user's folder, in the order of `NAMES`."""
        return locate(folder, NAMES, cls.MANUAL_DOWNLOAD_INSTRUCTIONS)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "source": tfds.features.Text(),
                    "target": tfds.features.Text(),
                    "references": tfds.features.Sequence(tfds.features.Text()),
                }
            ),
            supervised_keys=("source", "target"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        train, words, ref = self.files("", Path(dl_manager._manual_dir))
        rows = _table(train)
        known = _references(rows)
        held_out = [word for word in known if share(word) < VALID]
        tested = _references(_table(ref))
        order = [word.strip() for word in read_lines(words, "data.dir")]
        if missing := [word for word in order if word not in tested]:
            raise InputError(f"{ref}: no pronunciation of {missing[0]!r}, a word of {words}")
        return {
            "train": self._generate_examples(
                (word, target, known[word]) for word, target in rows if share(word) >= VALID
            ),
            "validation": self._generate_examples(
                (word, known[word][0], known[word]) for word in held_out
            ),
            "test": self._generate_examples(
                (word, tested[word][0], tested[word]) for word in order
            ),
        }

    def _generate_examples(self, rows) -> Iterator[tuple[int, dict]]:
        for i, (source, target, references) in enumerate(rows):
            yield i, {"source": source, "target": target, "references": references}


def _table(path: Path) -> list[tuple[str, str]]:
    """(word, pronunciation) for every pronunciation; a line is a word TAB one or several."""
    rows = []
    for number, line in enumerate(read_lines(path, "data.dir"), 1):
        word, *pronunciations = (field.strip() for field in line.split("\t"))
        if not (word and pronunciations and all(pronunciations)):
            raise InputError(f"{path}:{number}: expected WORD TAB phonemes, got {line[:60]!r}")
        rows += [(word, pronunciation) for pronunciation in pronunciations]
    return rows


def _references(rows: list[tuple[str, str]]) -> dict[str, list[str]]:
    """All pronunciations of each word, in the order of the file."""
    references: dict[str, list[str]] = {}
    for word, pronunciation in rows:
        references.setdefault(word, []).append(pronunciation)
    return references

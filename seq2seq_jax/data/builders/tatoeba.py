"""Tatoeba sentence pairs, English and French, as packed by manythings.org/anki."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from seq2seq_jax.data.builders.files import locate
from seq2seq_jax.data.builders.translation import translation_info
from seq2seq_jax.data.holdout import same, share
from seq2seq_jax.data.sources import read_lines
from seq2seq_jax.types import InputError

VALID, TEST = 0.01, 0.01  # shares of the source sentences


class Tatoeba(tfds.core.GeneratorBasedBuilder):
    """The whole file, split by source sentence: 1 % validation, 1 % test, the rest train.

    A pair's split depends on a hash of its source alone (compared without case, width and white
    space), so all translations of a sentence are in one split, and a newer file, which has more
    pairs, moves none of the old ones.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=name) for name in ("fr_en", "en_fr")
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get https://www.manythings.org/anki/fra-eng.zip and name its folder in data.dir (the "
        "archive, fra.txt or fra.txt.gz). It is not downloaded here, because it changes from "
        "month to month, so no checksum could tell a whole file from a broken one: keep yours"
    )
    needs_folder = True

    @classmethod
    def files(cls, config: str, folder: Path) -> list[Path]:
        """The one file with all pairs, in the user's folder."""
        archive = folder / "fra-eng.zip"
        if archive.is_file() and not (folder / "fra.txt").is_file():
            return [archive]
        return locate(folder, ["fra.txt"], cls.MANUAL_DOWNLOAD_INSTRUCTIONS)

    def _info(self) -> tfds.core.DatasetInfo:
        return translation_info(self, __doc__)

    def _split_generators(self, dl_manager):
        (path,) = self.files(self.builder_config.name, Path(dl_manager._manual_dir))
        if path.suffix == ".zip":
            path = _unpack(path, Path(dl_manager.download_dir))
        source = self.builder_config.name.split("_")[0]
        splits: dict[str, list[dict[str, str]]] = {"train": [], "validation": [], "test": []}
        for number, line in enumerate(read_lines(path, "data.dir"), 1):
            fields = line.split("\t")  # newer files have a third column, the attribution
            if len(fields) < 2:
                raise InputError(f"{path}:{number}: expected English TAB French, got {line[:60]!r}")
            pair = {"en": fields[0], "fr": fields[1]}
            splits[split_of(pair[source])].append(pair)
        return {split: self._generate_examples(pairs) for split, pairs in splits.items()}

    def _generate_examples(self, pairs: list[dict[str, str]]) -> Iterator[tuple[int, dict]]:
        yield from enumerate(pairs)


def split_of(source: str) -> str:
    """The split of all pairs that have this source sentence."""
    at = share(same(source))
    if at < VALID:
        return "validation"
    return "test" if at < VALID + TEST else "train"


def _unpack(archive: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as file:
            return Path(file.extract("fra.txt", folder))
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{archive}: not the archive of fra.txt ({error}); get it again") from None

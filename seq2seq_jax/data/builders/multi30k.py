"""Multi30k, task 1: image captions in English, German and French (Elliott et al. 2016)."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from seq2seq_jax.data.builders.files import Remote, download, locate
from seq2seq_jax.data.builders.translation import translation_info
from seq2seq_jax.data.sources import read_lines
from seq2seq_jax.types import InputError

URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
STEMS = {"train": "train", "validation": "val", "test": "test_2016_flickr"}

# Bytes and SHA-256 of the .gz files in the repository multi30k/dataset (data/task1/raw).
PUBLISHED = {
    "train.de": (637044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"),
    "train.en": (568929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
    "train.fr": (604242, "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c"),
    "val.de": (24681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
    "val.en": (21650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
    "val.fr": (23001, "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9"),
    "test_2016_flickr.de": (
        22890,
        "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    ),
    "test_2016_flickr.en": (
        21077,
        "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    ),
    "test_2016_flickr.fr": (
        22310,
        "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
    ),
}


class Multi30k(tfds.core.GeneratorBasedBuilder):
    """29,000 / 1,014 / 1,000 pairs, the published splits in their order; test is Flickr 2016."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=name) for name in ("de_en", "fr_en", "en_de", "en_fr")
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get train, val and test_2016_flickr for both languages from {URL} (train.de.gz, ...), "
        "and name the folder in data.dir"
    )
    needs_folder = False

    @classmethod
    def files(cls, config: str, folder: Path) -> list[Path]:
        """The files in the user's folder, in the order of `names`."""
        return locate(folder, names(config), cls.MANUAL_DOWNLOAD_INSTRUCTIONS)

    def _info(self) -> tfds.core.DatasetInfo:
        return translation_info(self, __doc__)

    def _split_generators(self, dl_manager):
        config = self.builder_config.name
        folder = Path(dl_manager._manual_dir)  # data.dir, or a default that need not exist
        if folder.is_dir():
            paths = self.files(config, folder)
        else:
            cache = Path(dl_manager.download_dir) / "multi30k"
            paths = [
                download(Remote(f"{URL}{name}.gz", *PUBLISHED[name]), cache / f"{name}.gz")
                for name in names(config)
            ]
        return {
            split: self._generate_examples(*paths[2 * i : 2 * i + 2])
            for i, split in enumerate(STEMS)
        }

    def _generate_examples(self, source: Path, target: Path) -> Iterator[tuple[int, dict]]:
        sources, targets = read_lines(source, "data.dir"), read_lines(target, "data.dir")
        if len(sources) != len(targets):
            raise InputError(
                f"{source} has {len(sources)} lines and {target} has {len(targets)}: get both again"
            )
        keys = self.builder_config.name.split("_")
        for i, pair in enumerate(zip(sources, targets, strict=True)):
            yield i, dict(zip(keys, pair, strict=True))


def names(config: str) -> list[str]:
    """The files of one direction: train, validation, test, source before target."""
    return [f"{stem}.{language}" for stem in STEMS.values() for language in config.split("_")]

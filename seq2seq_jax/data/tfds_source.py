"""Data sets of tensorflow-datasets, read as array_record: TensorFlow is never imported."""

import contextlib
import difflib
import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from seq2seq_jax.data.builders import BUILDERS, files, find
from seq2seq_jax.data.holdout import complete
from seq2seq_jax.data.sources import TFDS, as_pair, drop_empty
from seq2seq_jax.files import locked
from seq2seq_jax.types import InputError, Splits

SPLITS = {
    "train": ("train",),
    "valid": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
REFERENCES = "references"  # a feature with all right targets of an example


def load_tfds(data: ml_collections.ConfigDict) -> Splits:
    """The splits of the data set `tfds:NAME` or `tfds:NAME/CONFIG`, prepared first where needed.

    Source and target are the features that `data.columns` names, or those that are found (see
    `find_columns`); a list of texts named `references` holds all right targets of an example.
    Splits that the data set lacks are held out of train. Raises InputError for an unknown name,
    for features that cannot be told, and where preparing fails.
    """
    builder = prepare(data)
    columns = find_columns(builder.info, data.columns)
    several = has_references(builder.info, columns)
    given, notes = {}, []
    for split, names in SPLITS.items():
        name = next((name for name in names if name in builder.info.splits), None)
        if name is None:
            continue
        examples = builder.as_data_source(split=name)
        records = examples.__getitems__(range(len(examples)))
        rows = [
            (*(record[column] for column in columns), *(record[REFERENCES] if several else ()))
            for record in records
        ]
        pairs = [as_pair(*(text.decode() for text in row)) for row in rows]
        given[split], note = drop_empty(pairs, split, f"{data.name}, split {name}, example")
        notes += note
    if "train" not in given:
        raise InputError(
            f"data.name={data.name}: no split named train, only {', '.join(builder.info.splits)}"
        )
    return complete(given, data, notes)


def prepare(data: ml_collections.ConfigDict):
    """The builder of the data set, its array_record files written.

    Of several processes, as a sweep starts them, one writes and the others wait for it.
    """
    import tensorflow_datasets as tfds

    name = data.name.removeprefix(TFDS)
    base, _, config = name.partition("/")
    root, manual = data_dir(), data.dir and Path(data.dir).expanduser()
    if base in BUILDERS:
        own = find(base)
        configs = [c.name for c in own.BUILDER_CONFIGS]
        if config and config not in configs:
            raise InputError(
                f"data.name={data.name}: {base} has the configs {', '.join(configs) or '(none)'}"
            )
        if manual:
            # Another content of the folder is another data set, not a stale copy of the first.
            found = own.files(config or (configs or [""])[0], manual)
            root = root / "manual" / files.fingerprint(found)
        elif own.needs_folder:
            raise InputError(f"data.dir is empty. {own.MANUAL_DOWNLOAD_INSTRUCTIONS}")
    with _quiet(tfds), _explained(tfds, name, manual):

        def make() -> Any:
            return tfds.builder(name, data_dir=root, file_format="array_record")

        builder = make()
        if builder.is_prepared():  # perhaps in a folder that cannot be written
            return builder
        with locked(root / f"{base}.lock"):
            # A builder learns on creation what is prepared: another process may just have done so.
            builder = make()
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    manual_dir=manual or None, try_download_gcs=False
                )
            )
    return builder


def data_dir() -> Path:
    """Where prepared data sets are kept: TFDS_DATA_DIR, or a folder of the user's cache."""
    if folder := os.environ.get("TFDS_DATA_DIR"):
        return Path(folder).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "seq2seq_jax" / "tensorflow_datasets"


def find_columns(info: Any, columns: Sequence[int | str]) -> tuple[str, str]:
    """The names of the source and the target feature.

    Two names are taken as they are. Otherwise they are the data set's supervised keys, or the two
    languages of its config's name (`pt_to_en`, `de_en`), or its only two text features in the
    order of the data set; the numbers (1, 0) turn the direction round.
    """
    import tensorflow_datasets as tfds

    text = [name for name, f in info.features.items() if isinstance(f, tfds.features.Text)]
    if len(columns) == 2 and all(isinstance(column, str) for column in columns):
        if unknown := [column for column in columns if column not in text]:
            raise InputError(
                f"data.columns: {info.full_name} has no text feature {unknown[0]!r}, only "
                f"{', '.join(text) or 'none'}"
            )
        return str(columns[0]), str(columns[1])
    if tuple(columns) not in ((), (0, 1), (1, 0)):
        raise InputError(
            f"data.columns={tuple(columns)!r}: name two text features of {info.full_name} "
            f"({', '.join(text)}), or use (0, 1) or (1, 0)"
        )
    config = info.config_name or ""
    candidates = [info.supervised_keys or (), config.split("_to_"), config.split("_"), text]
    for pair in candidates:
        if len(pair) == 2 and all(isinstance(n, str) and n in text for n in pair):
            return (pair[1], pair[0]) if tuple(columns) == (1, 0) else (pair[0], pair[1])
    raise InputError(
        f"data.columns: which features of {info.full_name} are source and target? Name two of "
        f"its text features: {', '.join(text) or 'it has none'}"
    )


def has_references(info: Any, columns: tuple[str, str]) -> bool:
    """Whether the data set lists all right targets of an example, and this is its direction."""
    import tensorflow_datasets as tfds

    if REFERENCES not in info.features or tuple(info.supervised_keys or ()) != columns:
        return False
    feature = info.features[REFERENCES]
    return isinstance(feature, tfds.features.Sequence) and isinstance(
        feature.feature, tfds.features.Text
    )


@contextlib.contextmanager
def _quiet(tfds: Any) -> Generator[None]:
    """What the library prints goes to stderr: stdout is for results. No nested progress bars."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _explained(tfds: Any, name: str, manual: Path | str) -> Generator[None]:
    """Whatever a data set of the library raises, in one message that names the key."""
    try:
        yield
    except InputError:
        raise
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        near = ", ".join(difflib.get_close_matches(name.partition("/")[0], known, 3))
        raise InputError(
            f"data.name={TFDS}{name}: tensorflow-datasets has no such data set"
            + (f"; did you mean {near}?" if near else "")
        ) from None
    except Exception as error:
        folder = f" (data.dir={manual})" if manual else ""
        raise InputError(
            f"data.name={TFDS}{name} cannot be prepared{folder}: {type(error).__name__}: {error}"
        ) from error

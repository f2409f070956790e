"""What the builders of sentence pairs in two languages share."""

import tensorflow_datasets as tfds


def translation_info(builder, description: str | None) -> tfds.core.DatasetInfo:
    """Pairs of two languages, which the config's name joins, source first: `de_en`. In the order
    of the files."""
    languages = tuple(builder.builder_config.name.split("_"))
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        features=tfds.features.Translation(languages=languages),
        supervised_keys=languages,
        disable_shuffling=True,
    )

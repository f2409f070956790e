"""The project's own tensorflow-datasets builders, by name (`tfds:multi30k/de_en`).

They read a folder with the files (`data.dir`), or download them where that can be verified, and
prepare them as array_record. `tatoeba` takes the place of the library's data set of that name.
"""

import importlib

BUILDERS = {"multi30k": "Multi30k", "tatoeba": "Tatoeba", "cmudict_g2p": "CmudictG2p"}


def find(name: str):
    """The class of one of `BUILDERS`; importing it registers it with tensorflow-datasets."""
    return getattr(importlib.import_module(f"{__name__}.{name}"), BUILDERS[name])

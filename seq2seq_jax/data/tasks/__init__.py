"""Generated data sets: name -> function of config.data that makes the splits."""

from collections.abc import Callable

import ml_collections

from seq2seq_jax.data.tasks import addition, french, scan, symbols
from seq2seq_jax.types import Splits

TASKS: dict[str, Callable[[ml_collections.ConfigDict], Splits]] = {
    "french": french.generate,
    "scan": scan.generate,
    "copy": symbols.copy,
    "reverse": symbols.reverse,
    "sort": symbols.sort,
    "addition": addition.generate,
}

"""Translations as lines of JSON."""

import math
from collections.abc import Sequence
from typing import Any

from seq2seq_jax.decoding.translate import Translation

DECIMALS = 3  # of alignment weights in the files


def as_line(
    index: int,
    source: str,
    references: Sequence[str] | None,
    found: Translation,
    gold: Sequence[tuple[int, int]] | None,
) -> dict[str, Any]:
    """One prediction with all that a report needs of it.

    `reference` is the first of the references, None where none is known; `references` holds all
    where there are several.
    """
    known = list(references or ())
    return {
        "index": index,
        "source": source,
        "reference": known[0] if known else None,
        **({"references": known} if len(known) > 1 else {}),
        "hypothesis": found.text,
        # JSON has no infinity, which stands for no hypothesis that was allowed.
        "score": round(found.score, 6) if math.isfinite(found.score) else None,
        "source_tokens": found.source_tokens,
        "hypothesis_tokens": found.tokens,
        "alignment": found.alignment.astype(float).round(DECIMALS).tolist(),
        "gold": None if gold is None else [list(link) for link in gold],
    }

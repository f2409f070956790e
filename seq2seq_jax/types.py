"""Words shared by every module: pairs of text, batches of ids, and the dimension letters.

Arrays end in their shape, one letter a dimension, with these meanings where a module has no other:

| letter | meaning            | letter | meaning                          |
|--------|--------------------|--------|----------------------------------|
| B      | batch              | H      | decoder state                    |
| S      | source positions   | M      | memory width                     |
| T      | target positions   | A      | score space                      |
| V      | vocabulary         | E      | embedding                        |
| K      | beam entries       | L      | layers                           |
| N      | attention heads    | R      | runs in one program              |
| D      | any other width    |        |                                  |
"""

from typing import Any, NamedTuple

IntArray = FloatArray = Any  # of NumPy on the host, of JAX inside a compiled step

PAD, BOS, EOS, UNK = range(4)
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")


class Pair(NamedTuple):
    """One example as text.

    `alignment` holds gold links (source word, target word), counted from 0 over the words of the
    two sides, without start or end tokens; None where no gold alignment is known. `alternatives`
    are further targets that are as right: other translations, other pronunciations. `possible`
    are links that an alignment may have or lack.
    """

    source: str
    target: str
    alignment: tuple[tuple[int, int], ...] | None = None
    alternatives: tuple[str, ...] = ()
    possible: tuple[tuple[int, int], ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """All targets that count as right, each once, `target` first."""
        return tuple(dict.fromkeys((self.target, *self.alternatives)))


class Batch(NamedTuple):
    """Examples as ids; a row ends in EOS and is filled up with PAD.

    `index_B` is the example's position in its split, -1 in rows that only fill up the batch
    (all PAD); they take part in no sum. `gold_BTS` is there, and not None, where gold links
    guide attention: how they share each target token out over the source, all 0 without links.
    """

    source_BS: IntArray
    target_BT: IntArray
    index_B: IntArray
    gold_BTS: FloatArray = None


class Splits(NamedTuple):
    """A data set as text. `notes` tell what was left out and why, one line each."""

    train: list[Pair]
    valid: list[Pair]
    test: list[Pair]
    notes: tuple[str, ...] = ()


class InputError(ValueError):
    """Bad input from the user; the message names the place and the fix.

    Commands print it without a traceback and exit with status 1.
    """

"""Words that the model does not know, taken over from the source (Luong et al. 2015, section 4)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from seq2seq_jax.data.sources import read_lines
from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.decoding.translate import Translation
from seq2seq_jax.types import SPECIALS, UNK, InputError


def replace_unknown(
    found: Translation,
    words: Sequence[str],
    target: Vocabulary,
    dictionary: Mapping[str, str],
) -> Translation:
    """Each <unk> becomes the source word with the largest weight at that step, translated by the
    dictionary where it is in there.

    `words` are the source's tokens as they were written, without the end token.
    """
    tokens = list(found.tokens)
    for position, token in enumerate(tokens):
        if token == SPECIALS[UNK] and words:
            word = words[int(found.alignment[position, : len(words)].argmax())]
            tokens[position] = dictionary.get(word, word)
    text = target.join([token for token in tokens if token not in SPECIALS[:UNK]])
    return found._replace(text=text, tokens=tokens)


def read_dictionary(path: Path) -> dict[str, str]:
    """word -> translation, from lines of word TAB translation. Raises InputError with the line."""
    dictionary = {}
    for number, line in enumerate(read_lines(path, "--dictionary"), start=1):
        word, tab, translation = line.partition("\t")
        if not (tab and word.strip() and translation.strip()):
            raise InputError(f"{path}:{number}: expected WORD TAB TRANSLATION, got {line[:60]!r}")
        dictionary[word.strip()] = translation.strip()
    return dictionary

"""Words that the model does not know, taken over from the source (Luong et al. 2015, section 4)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from seq2seq_jax.data.sources import read_lines
from seq2seq_jax.data.vocabulary import SENTENCEPIECE, SPACE, Vocabulary
from seq2seq_jax.decoding.translate import Translation
from seq2seq_jax.types import BOS, EOS, PAD, UNK, InputError


def replace_unknown(
    found: Translation,
    words: Sequence[str],
    target: Vocabulary,
    dictionary: Mapping[str, str],
) -> Translation:
    """Each <unk> becomes the source word with the largest weight at that step, translated by the
    dictionary where it is in there; it stays where no word has any weight.

    `words` are the source's tokens as they were written, without the end token. Of a piece of
    sentencepiece the letters are taken. What is copied is written as the target's texts are.
    """
    tokens = list(found.tokens)
    for position, own in enumerate(found.ids):
        weights_S = found.alignment[position, : len(words)]
        if own == UNK and weights_S.any():
            piece = words[int(weights_S.argmax())]
            word = piece.removeprefix(SPACE)
            copied = target.normalize_text(dictionary.get(word, word))
            # A word among pieces begins with their space.
            begins = target.kind in SENTENCEPIECE and (piece != word or not _pieces(words))
            begun = position and tokens[position - 1].endswith(SPACE)
            tokens[position] = SPACE + copied if begins and not begun else copied
    pairs = zip(tokens, found.ids, strict=True)
    text = target.join([token for token, own in pairs if own not in (PAD, BOS, EOS)])
    return found._replace(text=text, tokens=tokens)


def _pieces(words: Sequence[str]) -> bool:
    return any(word.startswith(SPACE) for word in words)


def read_dictionary(path: Path) -> dict[str, str]:
    """word -> translation, from lines of word TAB translation. Raises InputError with the line."""
    dictionary = {}
    for number, line in enumerate(read_lines(path, "--dictionary"), start=1):
        word, tab, translation = line.partition("\t")
        if not (tab and word.strip() and translation.strip()):
            raise InputError(f"{path}:{number}: expected WORD TAB TRANSLATION, got {line[:60]!r}")
        dictionary[word.strip()] = translation.strip()
    return dictionary

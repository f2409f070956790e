"""Text to ids and back: the vocabulary of one side.

Ids 0..3 are PAD, BOS, EOS, UNK in every vocabulary. A token of the text that happens to be spelled
like one of them ("</s>") is an ordinary token with an id of its own.
"""

import base64
import functools
import io
import json
import operator
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

import ml_collections

from seq2seq_jax.files import write_json
from seq2seq_jax.types import EOS, SPECIALS, UNK, InputError

SENTENCEPIECE = ("unigram", "bpe")
UNICODE: dict[str, Callable[[str], str]] = {
    "none": str,
    "nfc": functools.partial(unicodedata.normalize, "NFC"),
    "nfkc": functools.partial(unicodedata.normalize, "NFKC"),
}
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
SPACE = "\u2581"  # how sentencepiece writes the space before a word
# Sentencepiece cuts its special tokens out of the text, and leaves out texts with its mark of an
# unknown character: tokens that no text has, and a space instead of the mark.
_SPECIAL_PIECES = tuple(f"\ue000{special}" for special in SPECIALS)
_UNKNOWN_MARK = "\u2585"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one side, how text is cut into them, and their ids.

    `kind` is how text is cut (the config's `tokens`):

    - `space`: at white space;
    - `word`: a word is a run of letters, combining marks, digits and underscores, with single
      apostrophes and hyphens between such runs (aujourd'hui, week-end, 3D); every other
      character that is not white space is a token of its own (`word_pattern`);
    - `character`: every character, spaces included;
    - `unigram`, `bpe`: sentencepiece, its model kept in `model`.

    `tokens` are in the order of their ids, the special ones first.
    """

    kind: str
    lowercase: bool
    unicode: str
    tokens: tuple[str, ...]
    model: bytes | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens) if i >= len(SPECIALS)}

    @functools.cached_property
    def _pieces(self):
        import sentencepiece

        return sentencepiece.SentencePieceProcessor(model_proto=self.model)

    @functools.cached_property
    def _sizes(self) -> dict[str, int]:
        return {}

    def size(self, word: str) -> int:
        """How many tokens a word has by itself; remembered, since words come again and again."""
        if (found := self._sizes.get(word)) is None:
            found = self._sizes[word] = len(self.tokenize(word))
        return found

    def tokenize(self, text: str) -> list[str]:
        """The tokens of the normalised text; those of unknown spelling keep it."""
        text = normalize(text, self.lowercase, self.unicode)
        if self.kind in SENTENCEPIECE:
            return self._pieces.encode(text, out_type=str)
        return split(text, self.kind)

    def encode(self, text: str) -> list[int]:
        """Ids of the tokens, UNK for unknown ones, then EOS."""
        return self.ids(self.tokenize(text))

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """Those of the tokens, UNK for unknown ones, then EOS."""
        ids = self._ids
        return [*(ids.get(token, UNK) for token in tokens), EOS]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """The text up to the first EOS, without special tokens; UNK reads `<unk>`."""
        ids = [*map(operator.index, ids)]
        before = ids[: ids.index(EOS)] if EOS in ids else ids
        return self.join([self.tokens[i] for i in before if i >= UNK])

    def join(self, tokens: Sequence[str]) -> str:
        """The text that the tokens stand for."""
        if self.kind in SENTENCEPIECE:
            return "".join(tokens).replace(SPACE, " ").strip()
        return ("" if self.kind == "character" else " ").join(tokens)

    def normalize_text(self, text: str) -> str:
        """What decode(encode(text)) gives when nothing is unknown: the form metrics compare."""
        return self.join(self.tokenize(text))

    def unknown(self, tokens: Iterable[str]) -> list[str]:
        """The tokens that are not in the vocabulary, in order."""
        return [token for token in tokens if token not in self._ids]

    def save(self, path: str | Path) -> None:
        """Writes one JSON file, whole or not at all."""
        model = self.model and base64.b64encode(self.model).decode("ascii")
        content = {
            "tokens": self.kind,
            "lowercase": self.lowercase,
            "unicode": self.unicode,
            "vocabulary": self.tokens,
            "model": model,
        }
        write_json(Path(path), content)

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Reads what `save` wrote. Raises InputError for any other file or none."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(
                kind=content["tokens"],
                lowercase=content["lowercase"],
                unicode=content["unicode"],
                tokens=tuple(content["vocabulary"]),
                model=content["model"] and base64.b64decode(content["model"]),
            )
        except FileNotFoundError:
            raise InputError(f"{path}: no such vocabulary file; train a run first") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not a vocabulary file ({type(error).__name__}: {error}); it is written "
                "with each run: train again into an empty folder"
            ) from None


def build(
    texts: Iterable[str], side: ml_collections.ConfigDict, key: str = "data.source"
) -> Vocabulary:
    """The vocabulary of `texts` by the options of one side of the config.

    Tokens are ordered by frequency, ties alphabetically; `min_frequency`, then `max_vocabulary`
    cut the list (special tokens not counted). For `unigram` and `bpe`, `max_vocabulary` is the
    number of pieces, the special ones included. `key` is the side's place in the config: errors
    name it. Raises InputError for a size that sentencepiece cannot make from these texts, and
    where no token is frequent enough.
    """
    normalized = (normalize(text, side.lowercase, side.unicode) for text in texts)
    if side.tokens in SENTENCEPIECE:
        model = _train_pieces(normalized, side.tokens, side.max_vocabulary, key)
        import sentencepiece

        pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        own = map(pieces.id_to_piece, range(len(SPECIALS), len(pieces)))
        tokens = (*SPECIALS, *own)
        return Vocabulary(side.tokens, side.lowercase, side.unicode, tokens, model)
    counts = Counter()
    for text in normalized:
        counts.update(split(text, side.tokens))
    kept = [token for token, count in counts.items() if count >= side.min_frequency]
    if counts and not kept:
        ((token, count),) = counts.most_common(1)
        raise InputError(
            f"{key}.min_frequency={side.min_frequency} leaves no token: the most frequent one,"
            f" {token!r}, occurs {count} times"
        )
    kept.sort(key=lambda token: (-counts[token], token))
    kept = kept[: side.max_vocabulary or None]
    return Vocabulary(side.tokens, side.lowercase, side.unicode, (*SPECIALS, *kept))


def normalize(text: str, lowercase: bool, form: str) -> str:
    """Strips white space at both ends, lower-cases, and brings Unicode to one form."""
    unify = UNICODE[form]
    text = unify(text.strip())
    # Lower-casing can undo the form (capital iota with dialytika and acute).
    return unify(text.lower()) if lowercase else text


def split(text: str, kind: str) -> list[str]:
    """Cuts normalised text into tokens: `space`, `word` or `character`."""
    if kind == "space":
        return text.split()
    if kind == "character":
        return list(text)
    return word_pattern(astral=bool(_ASTRAL.search(text))).findall(text)


@functools.cache
def word_pattern(astral: bool = True) -> re.Pattern[str]:
    """A word with its inner apostrophes and hyphens, or one other visible character.

    Python's `\\w` lacks combining marks (vowel signs of Hindi, decomposed accents), which are
    therefore collected from the Unicode table: all, or without `astral` those up to U+FFFF, which
    `re` matches several times faster.
    """
    candidates = map(chr, range(0x300, 0xE0200 if astral else 0x10000))
    marks = "".join(c for c in candidates if unicodedata.category(c).startswith("M"))
    run = rf"[\w{marks}]+"
    return re.compile(rf"{run}(?:['\u2019\u02BC\u2010\u2011-]{run})*|\S")


def _train_pieces(texts: Iterable[str], kind: str, size: int, key: str) -> bytes:
    """The bytes of a sentencepiece model over already normalised texts."""
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(text.replace(_UNKNOWN_MARK, " ") for text in texts),
            model_writer=model,
            model_type=kind,
            vocab_size=size,
            character_coverage=1.0,
            normalization_rule_name="identity",  # normalised here, as for the other kinds
            max_sentence_length=1 << 20,  # bytes; longer sentences would be skipped in silence
            num_threads=1,  # the same model everywhere
            minloglevel=10,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            pad_piece=_SPECIAL_PIECES[0],
            bos_piece=_SPECIAL_PIECES[1],
            eos_piece=_SPECIAL_PIECES[2],
            unk_piece=_SPECIAL_PIECES[3],
        )
    except RuntimeError as error:
        raise InputError(_explain(str(error), kind, size, key)) from None
    return model.getvalue()


def _explain(error: str, kind: str, size: int, key: str) -> str:
    """Sentencepiece's complaint in terms of the config."""
    if found := re.search(r"size too high.*?<= (\d+)", error):
        largest = int(found[1])
        return (
            f"{key}.max_vocabulary={size} is too large for {key}.tokens={kind} on this text: "
            f"the largest size possible is {largest}"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", error):
        return (
            f"{key}.max_vocabulary={size} is too small for {key}.tokens={kind}: the characters "
            f"of this text alone need {found[1]}"
        )
    return f"{key}.tokens={kind}, {key}.max_vocabulary={size}: sentencepiece says {error}"

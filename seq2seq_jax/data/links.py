"""Gold links from files: which source word a target word comes from, by a person's judgement."""

import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.types import InputError, Pair

LINK = re.compile(r"(\d+)([-p])(\d+)")


class Gold(NamedTuple):
    """The links of a pair: sure ones, and those that are only possible (Och & Ney 2003)."""

    sure: tuple[tuple[int, int], ...]
    possible: tuple[tuple[int, int], ...]


class Shares(NamedTuple):
    """The soft alignment that the gold links of a pair ask for, where it is not 0.

    Entry g says that the target token place_G2[g, 0] gives the source token place_G2[g, 1] the
    share share_G[g] of its weight.
    """

    place_G2: Int[np.ndarray, "G 2"]
    share_G: Float[np.ndarray, " G"]


def with_links(pairs: Sequence[Pair], lines: Sequence[str], path: Path) -> list[Pair]:
    """The pairs with the links of their lines: `0-0` is sure, `2p1` possible; source word first,
    words counted from 0 between spaces. An empty line says that nothing is linked.

    Raises InputError with the line where it is no list of links, or a word is not there.
    """
    linked = []
    for number, (pair, line) in enumerate(zip(pairs, lines, strict=True), start=1):
        try:
            gold = _links(line, len(pair.source.split()), len(pair.target.split()))
        except ValueError as error:
            raise InputError(f"{path}:{number}: {error}") from None
        linked.append(pair._replace(alignment=gold.sure, possible=gold.possible))
    return linked


def _links(line: str, source_words: int, target_words: int) -> Gold:
    found: dict[str, list[tuple[int, int]]] = {"-": [], "p": []}
    for text in line.split():
        if not (link := LINK.fullmatch(text)):
            raise ValueError(f"{text[:30]!r} is no link: 0-0 is a sure one, 0p0 a possible one")
        source, target = int(link[1]), int(link[3])
        if source >= source_words or target >= target_words:
            raise ValueError(
                f"the link {text} lies outside of its pair of {source_words} x {target_words}"
                " words, which are counted from 0"
            )
        found[link[2]].append((source, target))
    return Gold(tuple(found["-"]), tuple(found["p"]))


def word_sizes(vocabulary: Vocabulary, text: str, count: int) -> list[int]:
    """How many of the text's `count` tokens belong to each of its words.

    Raises InputError where the words by themselves have more or fewer.
    """
    sizes = [vocabulary.size(word) for word in text.split()]
    if vocabulary.kind == "character":  # the space behind a word is one, too
        sizes[:-1] = [size + 1 for size in sizes[:-1]]
    if sum(sizes) != count:
        raise InputError(
            f"gold links count words, but {text[:60]!r} has {count} tokens, and its words"
            f" {sum(sizes)}: write it with single spaces, in the Unicode form that the config names"
        )
    return sizes


def share_out(
    links: Sequence[tuple[int, int]], source_sizes: Sequence[int], target_sizes: Sequence[int]
) -> Shares:
    """Links (source word, target word) as shares of tokens; `sizes`: the tokens of each word.

    Each token of a target word looks at all tokens of all words that it is linked to, alike. A word
    may have none: sentencepiece has none for its own mark of a space.
    """
    source_tokens, target_tokens = _tokens(source_sizes), _tokens(target_sizes)
    words: dict[int, set[int]] = {}
    for source, target in links:
        words.setdefault(target, set()).add(source)
    places, shares = [], []
    for target, sources in words.items():
        looked_at = [token for source in sorted(sources) for token in source_tokens[source]]
        asked = [(token, other) for token in target_tokens[target] for other in looked_at]
        places += asked
        shares += [1 / len(looked_at) for _ in asked]
    return Shares(np.array(places, np.int32).reshape(-1, 2), np.array(shares, np.float32))


def _tokens(sizes: Sequence[int]) -> list[range]:
    """The tokens of each word."""
    return [range(end - size, end) for end, size in zip(accumulate(sizes), sizes, strict=True)]

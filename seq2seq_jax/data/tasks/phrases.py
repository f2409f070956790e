"""Phrases in two languages with their word links: the material of a synchronous grammar.

A rule names its parts by one letter each and gives their order in both languages, so that gold
alignments are exact by construction: `compose("SNVPC", "SNPVC", parts)` is the rule
"S ne V pas C -> S do not V C".
"""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple


class Phrase(NamedTuple):
    """Source words, target words, and links (source position, target position) from 0."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    links: tuple[tuple[int, int], ...]


EMPTY = Phrase((), (), ())


@cache
def phrase(source: str, target: str) -> Phrase:
    """A lexicon entry: every source word is linked with every target word."""
    s, t = tuple(source.split()), tuple(target.split())
    return Phrase(s, t, tuple((i, j) for i in range(len(s)) for j in range(len(t))))


def compose(
    source_order: str, target_order: str, parts: dict[str, Phrase], also: Iterable[str] = ()
) -> Phrase:
    """The parts in the order of each language; a part left out of an order has no words there.

    `also` adds links between parts: "NP" links the source words of N with the target words of P.
    """
    source: list[str] = []
    target: list[str] = []
    links: list[tuple[int, int]] = []
    source_start, target_start = {}, {}
    for name in source_order:
        source_start[name] = len(source)
        source += parts[name].source
    for name in target_order:
        part = parts[name]
        if not part.target:
            continue
        i, j = source_start[name], len(target)
        target_start[name] = j
        target += part.target
        links += [(i + s, j + t) for s, t in part.links]
    for a, b in also:
        if b in target_start:
            i, j = source_start[a], target_start[b]
            pairs = phrase_grid(len(parts[a].source), len(parts[b].target))
            links += [(i + s, j + t) for s, t in pairs]
    return Phrase(tuple(source), tuple(target), tuple(links))


def concat(*parts: Phrase) -> Phrase:
    """The parts one after the other, in the same order on both sides."""
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    links: list[tuple[int, int]] = []
    for part in parts:
        i, j = len(source), len(target)
        source += part.source
        target += part.target
        links += [(i + s, j + t) for s, t in part.links]
    return Phrase(source, target, tuple(links))


@cache
def phrase_grid(sources: int, targets: int) -> tuple[tuple[int, int], ...]:
    return tuple((i, j) for i in range(sources) for j in range(targets))

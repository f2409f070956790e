"""Beam search in plain Python, and every hypothesis there is, from a table of probabilities."""

import functools
import itertools
import math

import jax
import numpy as np
from flax import nnx

from seq2seq_jax.training.teacher_forcing import unroll_forced
from seq2seq_jax.types import BOS, EOS, PAD
from tests.small import SOURCE_SIZE, TARGET_SIZE, rows, small_model

WORDS = [v for v in range(TARGET_SIZE) if v not in (PAD, BOS, EOS)]
LIMIT = 4  # tokens of a hypothesis at most; the table has all that is shorter


class Table:
    """log p(v | prefix) and the alignment of each step, for one source and all prefixes.

    Made with gold fed, in one batch, so that it shares nothing with a search but the model.
    """

    def __init__(self, model, source_S):
        prefixes = [p for n in range(LIMIT) for p in itertools.product(WORDS, repeat=n)]
        target_BT = np.full((len(prefixes), LIMIT), PAD, np.int32)
        for row, prefix in zip(target_BT, prefixes, strict=True):
            row[: len(prefix)] = prefix
            row[len(prefix)] = EOS
        source_BS = np.broadcast_to(source_S, (len(prefixes), len(source_S)))
        log_p_BTV, alignment_BTS = _forced(model)(source_BS, target_BT)
        self.log_p, self.alignment = {}, {}
        for prefix, log_p_TV, alignment_TS in zip(prefixes, log_p_BTV, alignment_BTS, strict=True):
            self.log_p[prefix] = np.asarray(log_p_TV[len(prefix)], np.float64)
            self.alignment[prefix] = np.asarray(alignment_TS[len(prefix)], np.float64)

    def of(self, tokens):
        """(log p, alignments) of a hypothesis."""
        prefixes = [tokens[:i] for i in range(len(tokens))]
        log_p = sum(self.log_p[p][v] for p, v in zip(prefixes, tokens, strict=True))
        return log_p, np.array([self.alignment[p] for p in prefixes])


@functools.cache
def _compiled(items):
    graphdef, params = small_model(**dict(items))

    def forced(source_BS, target_BT):
        model = nnx.merge(graphdef, params)
        state, source = model.decoder.start(model.encoder(source_BS))
        unrolled = unroll_forced(model.decoder, state, source, target_BT)
        log_p_BTV = jax.nn.log_softmax(model.decoder.logits(unrolled.readout_BTH))
        return log_p_BTV, unrolled.alignment_BTNS.mean(axis=2)

    return jax.jit(forced)


def _forced(model):
    return _compiled(tuple(sorted(model.items())))


@functools.cache
def tables(items, sources=(5, 3, 1)):
    """(source_BS, a table of each row)."""
    source_BS = rows(sources, max(sources), SOURCE_SIZE)
    return source_BS, [Table(dict(items), source_S) for source_S in source_BS]


def score(table, tokens, source_S, alpha=0.0, gnmt=False, coverage=0.0):
    """log p / lp + cp (Wu et al. 2016, eq. 14); lp is theirs or a power of the length."""
    log_p, alignment_TS = table.of(tokens)
    length = len(tokens)
    lp = ((5 + length) / 6) ** alpha if gnmt else length**alpha
    seen_S = alignment_TS.sum(axis=0)[source_S != PAD]
    return log_p / lp + coverage * sum(math.log(max(min(x, 1.0), 1.2e-38)) for x in seen_S)


def repeats(tokens, n):
    grams = [tokens[i : i + n] for i in range(len(tokens) - n + 1)]
    return len(set(grams)) < len(grams)


def beam_search(table, source_S, limit, beam, ngram=0, min_length=0, **ranking):
    """Every hypothesis that ends, best first. Nothing is stopped early: the loop goes on to the
    limit, or until nothing lives."""
    live, ended = [((), 0.0)], []
    while live:
        candidates = []
        for prefix, log_p in live:
            for v in [*WORDS, EOS]:
                tokens = (*prefix, v)
                if v == EOS and len(tokens) <= min_length:
                    continue
                if not (ngram and repeats(tokens, ngram)):
                    candidates.append((tokens, log_p + table.log_p[prefix][v]))
        candidates = sorted(candidates, key=lambda one: -one[1])[:beam]
        done = [tokens[-1] == EOS or len(tokens) >= limit for tokens, _ in candidates]
        ended += [tokens for (tokens, _), end in zip(candidates, done, strict=True) if end]
        live = [one for one, end in zip(candidates, done, strict=True) if not end]
    return sorted(ended, key=lambda tokens: -score(table, tokens, source_S, **ranking))


def every_hypothesis(limit):
    """All token sequences that end with EOS, or are cut off at the limit."""
    for n in range(limit):
        for words in itertools.product(WORDS, repeat=n):
            yield (*words, EOS)
    yield from itertools.product(WORDS, repeat=limit)

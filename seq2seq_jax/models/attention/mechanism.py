"""Attention as a decoder sees it: a query in, a context and an alignment out."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from seq2seq_jax.models.attention.matching import make_score
from seq2seq_jax.models.attention.memory_terms import MEMORY_TERMS
from seq2seq_jax.models.attention.normalizers import NORMALIZERS
from seq2seq_jax.models.attention.scores import SCORES, AttentionState
from seq2seq_jax.models.attention.windows import WINDOWS
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import Linear, Noise, contract
from seq2seq_jax.rng import named


class Source(NamedTuple):
    """What every decoder step looks at, computed once a sequence.

    `values_NBSD`: what contexts are sums of, cut into heads; `keys`: what scores and windows
    compare the query with. Heads come first in both: products over heads and rows are two to three
    times as slow on a CPU where these axes are not the leading ones, in the same order.
    """

    values_NBSD: Float[Array, "N B S D"]
    keys: Any
    valid_BS: Bool[Array, "B S"]
    temperature: Float[Array, ""]


class Head(nnx.Module):
    """alignment = window(normalise(score(query, keys + memory term) / temperature))."""

    def __init__(self, config, query: int, memory: int, *, key: Key[Array, ""], dtype: str):
        self.score = make_score(config, query, memory, key=named(key, "score"), dtype=dtype)
        name, term_key = config.memory_term, named(key, "memory_term")
        self.term = (
            None
            if name == "none"
            else MEMORY_TERMS[name](config, self.score.key_width, key=term_key, dtype=dtype)
        )
        self.window = WINDOWS[config.window](
            config, query, memory, key=named(key, "window"), dtype=dtype
        )
        self.normalizer = NORMALIZERS[config.normalizer](key=named(key, "normalizer"))

    def prepare(self, memory_BSM: Float[Array, "B S M"]):
        return self.score.prepare(memory_BSM), self.window.prepare(memory_BSM)

    def __call__(
        self,
        query_BH: Float[Array, "B H"],
        keys,
        valid_BS: Bool[Array, "B S"],
        state: AttentionState,
        temperature: Float[Array, ""],
        key: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "B S"], Float[Array, "B S"] | None]:
        """The alignment, and where a monotonic reader stands."""
        score_keys, window_keys = keys
        normal, moves = (None, None) if key is None else (named(key, "normalizer"), named(key, "w"))

        def normalize(score_BS, valid_BS):
            return self.normalizer(score_BS / temperature, valid_BS, normal)

        def align(query_BH, state):
            with_term = score_keys if self.term is None else score_keys + self.term(state)
            score_BS = self.score(query_BH, with_term, state)
            return self.window(score_BS, query_BH, window_keys, valid_BS, state, normalize, moves)

        if self.score.joint or self.term is not None:
            # One S x A array a step is what a backward pass over T steps could not afford to keep.
            return jax.checkpoint(align, prevent_cse=False)(query_BH, state)
        return align(query_BH, state)


class Attention(nnx.Module):
    """context = sum over s of alignment_s memory_s (Bahdanau et al. 2015, eq. 5).

    With N > 1 heads each has its own score, window and normaliser on its own projections of query
    and memory, to H/N and M/N, and the contexts are joined: W_o [c_1; ...; c_N] (Vaswani et al.
    2017, section 3.2.2). One head projects nothing. `context_width` is M; `independent` says that
    no step needs what the step before has attended to.
    """

    def __init__(self, config, query: int, memory: int, *, key: Key[Array, ""], dtype: str):
        heads = self.heads = config.heads
        self.context_width = memory
        self.dtype = dtype

        def linear(width, name):
            return Linear(width, width, key=named(key, name), dtype=dtype, bias=False)

        split = heads > 1
        self.query = linear(query, "query") if split else None
        compared = split and SCORES[config.score].sees_memory
        self.memory = linear(memory, "memory") if compared else None
        self.value = linear(memory, "value") if split else None
        self.output = linear(memory, "output") if split else None

        @nnx.vmap
        def create(key):
            return Head(config, query // heads, memory // heads, key=key, dtype=dtype)

        self.head = create(jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(heads)))
        self.covers = config.memory_term == "coverage"
        self.moves = WINDOWS[config.window].remembers_position
        self.independent = config.memory_term == "none" and not self.moves

    def _split(self, x: Float[Array, "*B W"], project: Linear | None) -> Float[Array, "*B N D"]:
        x = x if project is None else project(x)
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def _each_head(self, function, in_axes, out_axes):
        """function(head, ...) of all heads at once, whose parameters are stacked."""
        graphdef, params = nnx.split(self.head)

        def one(params, arguments):
            return function(nnx.merge(graphdef, params), *arguments)

        return lambda *arguments: jax.vmap(one, (0, in_axes), out_axes)(params, arguments)

    def prepare(self, memory: Memory, temperature: Float[Array, ""]) -> Source:
        memory_BSND = self._split(memory.memory_BSM, self.memory)
        keys = self._each_head(Head.prepare, (2,), 0)(memory_BSND)
        values_BSND = self._split(memory.memory_BSM, self.value)
        return Source(jnp.moveaxis(values_BSND, 2, 0), keys, memory.valid_BS, temperature)

    def start(self, valid_BS: Bool[Array, "B S"]) -> AttentionState:
        """Nothing attended to yet; a monotonic reader stands at the first position."""
        batch, positions = valid_BS.shape
        zeros_BNS = jnp.zeros((batch, self.heads, positions))
        return AttentionState(
            zeros_BNS,
            zeros_BNS if self.covers else None,
            zeros_BNS.at[:, :, 0].set(1.0) if self.moves else None,
            jnp.int32(0),
        )

    def __call__(
        self,
        query_BH: Float[Array, "B H"],
        source: Source,
        state: AttentionState,
        noise: Noise | None = None,
    ) -> tuple[Float[Array, "B M"], AttentionState]:
        """The context, and the state of the next step, which holds this step's alignment."""
        context_BM, state = self.attend(self.split_query(query_BH), source, state, noise)
        return self.join(context_BM), state

    def split_query(self, query: Float[Array, "*B H"]) -> Float[Array, "*B N D"]:
        """What each head compares."""
        return self._split(query, self.query)

    def join(self, context: Float[Array, "*B M"]) -> Float[Array, "*B M"]:
        """W_o [c_1; ...; c_N], of the heads' contexts side by side."""
        return context if self.output is None else self.output(context)

    def attend(
        self,
        query_BND: Float[Array, "B N D"],
        source: Source,
        state: AttentionState,
        noise: Noise | None,
    ) -> tuple[Float[Array, "B M"], AttentionState]:
        """From what `split_query` gives to what `join` takes, and the state of the next step."""
        key = None
        if noise is not None:
            key = noise.at("attention").at(state.step).key

        def one(head, query_BD, keys, past, index):
            past = AttentionState(*past, state.step)
            head_key = None if key is None else jax.random.fold_in(key, index)
            return head(query_BD, keys, source.valid_BS, past, source.temperature, head_key)

        query_NBD = jnp.moveaxis(query_BND, 1, 0)
        found = self._each_head(one, (0, 0, 1, 0), 0)(
            query_NBD, source.keys, state[:-1], jnp.arange(self.heads)
        )
        context_NBD = contract("nbs,nbsd->nbd", found[0], source.values_NBSD, self.dtype)
        context_BM = jnp.moveaxis(context_NBD, 0, 1).reshape(query_BND.shape[0], -1)
        alignment_BNS, position_BNS = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), found)
        coverage_BNS = state.coverage_BNS + alignment_BNS if self.covers else None
        return context_BM, AttentionState(alignment_BNS, coverage_BNS, position_BNS, state.step + 1)


class FixedContext(nnx.Module):
    """No attention: the same context at every step, and an alignment of zeros.

    `every_input` gives the summary of the source (Cho et al. 2014); `initial` gives a context of
    width 0, so that the source reaches the decoder through its initial state alone
    (Sutskever et al. 2014).
    """

    def __init__(self, fixed_context: str, memory: int):
        self.context_width = memory if fixed_context == "every_input" else 0
        self.independent = True

    def prepare(self, memory: Memory, temperature: Float[Array, ""]) -> Source:
        context_BM = memory.summary_BM[:, : self.context_width]
        return Source(memory.memory_BSM[None], context_BM, memory.valid_BS, temperature)

    def start(self, valid_BS: Bool[Array, "B S"]) -> AttentionState:
        batch, positions = valid_BS.shape
        return AttentionState(jnp.zeros((batch, 1, positions)), None, None, jnp.int32(0))

    def __call__(
        self,
        query_BH: Float[Array, "B H"],
        source: Source,
        state: AttentionState,
        noise: Noise | None = None,
    ) -> tuple[Float[Array, "B M"], AttentionState]:
        return source.keys, state._replace(step=state.step + 1)


def make_attention(
    config, query: int, memory: int, *, key: Key[Array, ""]
) -> Attention | FixedContext:
    """What a decoder of `config` (its part `model`) looks at the memory with."""
    attention = config.attention
    if attention.score == "none":
        return FixedContext(attention.fixed_context, memory)
    return Attention(attention, query, memory, key=key, dtype=config.dtype)


def all_steps(
    attention: Attention | FixedContext,
    query_BTH: Float[Array, "B T H"],
    source: Source,
    state: AttentionState,
    noise: Noise | None = None,
) -> tuple[Float[Array, "B T M"], Float[Array, "B T N S"]]:
    """Contexts and alignments of T steps from `state` on, of attention that is `independent`.

    That is every score, normaliser, and the windows global, local_m and local_p, without memory
    terms. At once, except for `joint` scores: one step after the other, they make one S x A array
    at a time instead of T.
    """

    batch, steps = query_BTH.shape[:2]
    if isinstance(attention, FixedContext):
        context_BTM, alignment_BTNS = (
            jnp.broadcast_to(x[:, None], (batch, steps, *x.shape[1:]))
            for x in (source.keys, state.alignment_BNS)
        )
        return context_BTM, alignment_BTNS

    def one(query_BND, step):
        context_BM, after = attention.attend(query_BND, source, state._replace(step=step), noise)
        return context_BM, after.alignment_BNS

    # The linear maps stay outside: under `vmap` they would be products of more than two axes.
    query_BTND, step_T = attention.split_query(query_BTH), state.step + jnp.arange(steps)
    if attention.head.score.joint:
        found = jax.lax.map(lambda inputs: one(*inputs), (query_BTND.swapaxes(0, 1), step_T))
        context_BTM, alignment_BTNS = (x.swapaxes(0, 1) for x in found)
    else:
        context_BTM, alignment_BTNS = jax.vmap(one, (1, 0), 1)(query_BTND, step_T)
    return attention.join(context_BTM), alignment_BTNS

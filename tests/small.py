"""Models and batches small enough to compare number by number."""

import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seq2seq_jax import config as configs
from seq2seq_jax.models.seq2seq import build
from seq2seq_jax.training.losses import TokenSums
from seq2seq_jax.training.teacher_forcing import unroll_forced
from seq2seq_jax.types import PAD, Batch

SOURCE_SIZE, TARGET_SIZE = 9, 11

# One unit in the last place of a float32 near 1 is 1.2e-7; a few dozen roundings stay below this.
ROUNDING = {"rtol": 1e-5, "atol": 2e-6}


@functools.cache
def _defaults():
    return configs.defaults()


def small_config(**overrides):
    """Widths all different (E 3, encoder 2 x 3 = M 6, H 6 for the dot scores, else 4, A 5).

    Keys of `model` by their dotted names: small_config(**{"attention.score": "dot"}).
    """
    config = _defaults().copy_and_resolve_references()
    dotted = overrides.get("attention.score", "general") in ("dot", "scaled_dot")
    sizes = {
        "embedding": 3,
        "encoder.width": 3,
        "decoder.width": 6 if dotted else 4,
        "attention.width": 5,
        "encoder.cell": "elman",  # compiles fastest
        "decoder.cell": "elman",
    }
    config.model.update_from_flattened_dict(sizes | overrides)
    return config


@functools.cache
def _model(items):
    create = functools.partial(build, small_config(**dict(items)).model, SOURCE_SIZE, TARGET_SIZE)
    graphdef, shapes = nnx.split(nnx.eval_shape(create, jax.random.key(0)), nnx.Param)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape), nnx.to_pure_dict(shapes))
    # Numbers, not tracers, also where the first to ask is a function that is being traced.
    with jax.ensure_compile_time_eval():
        return graphdef, perturb(zeros, 0.5)


def small_model(**overrides):
    """(graphdef, params) of `small_config`: any numbers will do, and none is zero, so that no term
    of a formula hides. Drawing the proper initial values takes seconds to compile."""
    return _model(tuple(sorted(overrides.items())))


def perturb(params, scale=0.3):
    """Adds noise everywhere."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jnp.asarray(x + scale * rng.standard_normal(x.shape), jnp.float32), params
    )


def flat(params, dtype=np.float64):
    """{"encoder/layers/0/...": array}"""
    leaves = flax.traverse_util.flatten_dict(params)
    return {"/".join(map(str, path)): np.array(leaf, dtype) for path, leaf in leaves.items()}


def nested(arrays):
    return flax.traverse_util.unflatten_dict(arrays, sep="/")


def rows(lengths, positions, size, seed=0):
    """Ids of random words, EOS at the end of each row, PAD behind; a length of 0 is all PAD."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((len(lengths), positions), np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = rng.integers(4, size, length)
        row[length - 1 : length] = 2
    return ids


def small_batch(sources=(5, 3, 1, 4), targets=(4, 2, 5, 1), seed=0):
    """Rows of unequal lengths, unequally ordered on the two sides."""
    return Batch(
        rows(sources, max(sources), SOURCE_SIZE, seed),
        rows(targets, max(targets), TARGET_SIZE, seed + 1),
        np.arange(len(sources), dtype=np.int32),
    )


def small_guided_batch():
    """`small_batch` with gold shares: of some target tokens one, of some two source tokens."""
    batch = small_batch()
    gold_BTS = np.zeros((*batch.target_BT.shape, batch.source_BS.shape[1]), np.float32)
    gold_BTS[0, 1, 3] = gold_BTS[2, 4, 0] = 1.0
    gold_BTS[0, 2, 0:2] = gold_BTS[1, 0, 0:2] = 0.5
    return batch._replace(gold_BTS=gold_BTS)


def pad(batch, rows=0, source=0, target=0):
    """The same examples with filler rows and more padding behind them."""
    gold = batch.gold_BTS
    return Batch(
        np.pad(batch.source_BS, ((0, rows), (0, source))),
        np.pad(batch.target_BT, ((0, rows), (0, target))),
        np.pad(batch.index_B, (0, rows), constant_values=-1),
        gold if gold is None else np.pad(gold, ((0, rows), (0, target), (0, source))),
    )


def take(batch, order):
    return jax.tree.map(lambda x: x[np.array(order)], batch)


def forward(graphdef, params, batch, noise=None):
    """(memory, unrolled, logits) with gold fed at every step."""
    model = nnx.merge(graphdef, params)
    memory = model.encoder(batch.source_BS, noise)
    state, source = model.decoder.start(memory)
    unrolled = unroll_forced(model.decoder, state, source, batch.target_BT, noise)
    return memory, unrolled, model.decoder.logits(unrolled.readout_BTH)


def cross_entropy(logits_BTV, target_BT, smoothing=0.0) -> TokenSums:
    """The sums of `losses.cross_entropy` from logits, with a gradient by JAX."""
    log_p_BTV = jax.nn.log_softmax(logits_BTV)
    loss_BT = -jnp.take_along_axis(log_p_BTV, target_BT[..., None], axis=-1)[..., 0]
    objective_BT = (1 - smoothing) * loss_BT - smoothing * log_p_BTV.mean(axis=-1)
    correct_BT = logits_BTV.argmax(axis=-1) == target_BT
    real_BT = target_BT != PAD
    parts = objective_BT, loss_BT, correct_BT, jnp.ones_like(loss_BT)
    return TokenSums(*(jnp.sum(part * real_BT.astype(jnp.float32)) for part in parts))

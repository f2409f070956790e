"""The plain version of each optimisation in the package, and how to put it in its place."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from seq2seq_jax.benchmarking import measured_step, workloads
from seq2seq_jax.data import buckets
from seq2seq_jax.decoding import batches, search, shrinking, topk, translate
from seq2seq_jax.models import decoders, layers, recurrent
from seq2seq_jax.training import compiled, deferred, either, losses, mesh, some_rows, step
from seq2seq_jax.types import PAD


class Plain(NamedTuple):
    """`name` of `owner`, a module or a class, is to be `version`."""

    owner: Any
    name: str
    version: Callable


@contextlib.contextmanager
def off(optimisation: str) -> Iterator[list[mock.Mock]]:
    """Without it, wherever the package has imported it; gives what stands in its place."""
    owner, name, version = PLAIN[optimisation]
    own = getattr(owner, name)
    modules = [m for key, m in list(sys.modules.items()) if key.startswith("seq2seq_jax.")]
    places = [owner, *(m for m in modules if m is not owner and vars(m).get(name) is own)]
    instead = [mock.Mock(side_effect=version) for _ in places]
    with contextlib.ExitStack() as stack:
        for place, other in zip(places, instead, strict=True):
            stack.enter_context(mock.patch.object(place, name, other))
        yield instead


def cross_entropy(readout_BTH, layer, target_BT, smoothing=0.0, *, axis=None):
    """From the logits of all positions; the gradient is JAX's."""
    logits_BTV = layer(readout_BTH)
    log_p_BTV = jax.nn.log_softmax(logits_BTV)
    loss_BT = -jnp.take_along_axis(log_p_BTV, target_BT[..., None], axis=-1)[..., 0]
    objective_BT = (1 - smoothing) * loss_BT - smoothing * log_p_BTV.mean(axis=-1)
    correct_BT = logits_BTV.argmax(axis=-1) == target_BT
    parts = objective_BT, loss_BT, correct_BT, jnp.ones_like(loss_BT)
    return losses.TokenSums(*(jnp.sum(jnp.where(target_BT != PAD, x, 0.0)) for x in parts))


def compare(logits_KV, gold_K, smoothing, one_exponential=losses._compare):
    """With one exponential for the normaliser and another one for the slope."""
    sums, _ = one_exponential(logits_KV, gold_K, smoothing)
    is_gold_KV = jax.nn.one_hot(gold_K, logits_KV.shape[1])
    wanted_KV = (1 - smoothing) * is_gold_KV + smoothing / logits_KV.shape[1]
    p_KV = jnp.exp(logits_KV - jax.nn.logsumexp(logits_KV, axis=1, keepdims=True))
    return sums, jnp.where((gold_K != PAD)[:, None], p_KV - wanted_KV, 0.0)


def product(x, kernel, dtype):
    """With all axes that x has."""
    axes = "abc"[: x.ndim - 1]
    return layers.contract(f"{axes}d,df->{axes}f", x, kernel, dtype)


def kernel_slope(readout_KH, slope_KV, dtype):
    """In one piece."""
    return layers.contract("kh,kv->hv", readout_KH, slope_KV, dtype)


def in_float32(name, changes, make_config=workloads.make_config):
    """The same workload in float32."""
    return make_config(name, {**changes, "model.dtype": "float32"})


def log_probability(logits_BV, token_B):
    """That of the token, out of those of all."""
    log_p_BV = jax.nn.log_softmax(logits_BV)
    return jnp.take_along_axis(log_p_BV, token_B[:, None], axis=-1)[:, 0]


def cut_batches(steps, rows):
    """Full batches, and what is left."""
    starts = range(0, len(steps), rows)
    return [batches.Cut(start, min(start + rows, len(steps)), rows) for start in starts]


PLAIN = {
    "deferred": Plain(deferred, "deferred", lambda function: function),
    "loss": Plain(losses, "cross_entropy", cross_entropy),
    "few": Plain(losses, "block_size", lambda positions, _: min(256, positions + positions % 2)),
    "exponential": Plain(losses, "_compare", compare),
    "sigmoid": Plain(layers, "sigmoid", jax.nn.sigmoid),
    "tanh": Plain(layers, "tanh", jnp.tanh),
    "inputs_ahead": Plain(recurrent, "inputs_ahead", lambda numbers: False),
    "attention_apart": Plain(decoders.RecurrentDecoder, "attends_apart", lambda: False),
    "rematerialisation": Plain(jax, "checkpoint", lambda function, **_: function),
    "some_rows": Plain(some_rows, "worth_it", lambda numbers: False),
    "cores": Plain(mesh, "cores_for", lambda params, rows=None: jax.local_devices()[:1]),
    "branch": Plain(either, "worth_a_branch", lambda numbers: False),
    "in_turn": Plain(mesh, "in_turn", lambda: False),
    "rests": Plain(step, "unless", lambda ended, make, nothing: make()),
    "forced": Plain(measured_step, "is_forced", lambda config, step=0: False),
    "matrices": Plain(layers, "product", product),
    "bfloat16": Plain(workloads, "make_config", in_float32),
    "narrow_slopes": Plain(layers, "multiply_narrow", layers._multiply),
    "halves": Plain(losses, "_kernel_slope", kernel_slope),
    "made_apart": Plain(layers, "made_apart", lambda x: x),
    "argmax": Plain(layers, "argmax", lambda x: jnp.argmax(x, axis=-1)),
    "log_probability": Plain(search, "log_probability", log_probability),
    "top_k": Plain(topk, "top_k", jax.lax.top_k),
    "two_sizes": Plain(batches, "cut_batches", cut_batches),
    "one_ahead": Plain(translate, "_one_ahead", iter),
    "uncollected": Plain(translate, "_uncollected", contextlib.nullcontext),
    "shrinking": Plain(shrinking, "half_of", lambda rows: 0),
    "compiled_ahead": Plain(compiled.CompiledStep, "ahead", lambda *_, **__: None),
    "shapes": Plain(buckets, "_candidates", lambda x_N: np.unique(-(-x_N // 8) * 8)),
}

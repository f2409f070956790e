"""The plain version of each optimisation in the package, and how to put it in its place."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from seq2seq_jax.benchmarking import measured_step
from seq2seq_jax.data import buckets
from seq2seq_jax.decoding import search, topk, translate
from seq2seq_jax.models import layers
from seq2seq_jax.training import compiled, deferred, losses
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


def cross_entropy(readout_BTH, layer, target_BT, smoothing=0.0, *, shards=1, axis=None):
    """From the logits of all positions; the gradient is JAX's."""
    logits_BTV = layer(readout_BTH)
    log_p_BTV = jax.nn.log_softmax(logits_BTV)
    loss_BT = -jnp.take_along_axis(log_p_BTV, target_BT[..., None], axis=-1)[..., 0]
    objective_BT = (1 - smoothing) * loss_BT - smoothing * log_p_BTV.mean(axis=-1)
    correct_BT = logits_BTV.argmax(axis=-1) == target_BT
    parts = objective_BT, loss_BT, correct_BT, jnp.ones_like(loss_BT)
    return losses.TokenSums(*(jnp.sum(jnp.where(target_BT != PAD, x, 0.0)) for x in parts))


def product(x, kernel, dtype):
    """With all axes that x has."""
    operands = x.astype(dtype), kernel.astype(dtype)
    return jnp.matmul(*operands, preferred_element_type=jnp.float32)


def log_probability(logits_BV, token_B):
    """That of the token, out of those of all."""
    log_p_BV = jax.nn.log_softmax(logits_BV)
    return jnp.take_along_axis(log_p_BV, token_B[:, None], axis=-1)[:, 0]


PLAIN = {
    "deferred": Plain(deferred, "deferred", lambda function: function),
    "loss": Plain(losses, "cross_entropy", cross_entropy),
    "rematerialisation": Plain(jax, "checkpoint", lambda function, **_: function),
    "forced": Plain(measured_step, "is_forced", lambda config: False),
    "matrices": Plain(layers, "product", product),
    "argmax": Plain(layers, "argmax", lambda x: jnp.argmax(x, axis=-1)),
    "log_probability": Plain(search, "log_probability", log_probability),
    "top_k": Plain(topk, "top_k", jax.lax.top_k),
    "one_ahead": Plain(translate, "_one_ahead", iter),
    "compiled_ahead": Plain(compiled.CompiledStep, "ahead", lambda *_, **__: None),
    "shapes": Plain(buckets, "_candidates", lambda x_N: np.unique(-(-x_N // 8) * 8)),
}

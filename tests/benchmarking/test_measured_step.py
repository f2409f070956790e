"""Memory of the compiled training step: what the backward pass keeps. Nothing is computed."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from seq2seq_jax.benchmarking.measured_step import MeasuredStep, hyper_at
from seq2seq_jax.models.seq2seq import build
from seq2seq_jax.training.member import Lane
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.step import make_train_step
from seq2seq_jax.types import Batch
from tests.small import small_config

B, S, T, A = 8, 32, 16, 128  # S x A is what is large here

VARIANTS = {
    "concat": {},
    "location": {"attention.memory_term": "location"},
    "transformer": {
        "decoder.kind": "transformer",
        "transformer.heads": 1,
        "transformer.mlp_width": 4,
    },
}


@functools.cache
def step_bytes(name, positions, targets):
    config = small_config(
        **{"attention.score": "concat", "attention.width": A, "encoder.bidirectional": False},
        **VARIANTS[name],
    )
    config.data.batch_size = B
    config.train.optimizer = "sgd"  # compiles fastest
    config.train.clip_norm = 0.0
    create = functools.partial(build, config.model, 9, 11)
    graphdef, shapes = nnx.split(nnx.eval_shape(create, jax.random.key(0)), nnx.Param)

    def arguments(params):
        lane = Lane(config, params)
        batch = [jnp.zeros(shape, jnp.int32) for shape in ((B, positions), (B, targets), B)]
        return lane.state, Batch(*batch), hyper_at(config), lane.key

    step = MeasuredStep(make_train_step(config, graphdef, make_optimizer(config.train), 1), None)
    # Shapes alone: no array is made.
    described = jax.eval_shape(arguments, nnx.to_pure_dict(shapes))
    return step.temporary_bytes(*described, forced=True)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_s_by_a_array_is_kept_for_each_target_position(name):
    """Twice the target adds a fraction of the B x T x S x A numbers that it adds to compute."""
    growth = step_bytes(name, S, 2 * T) - step_bytes(name, S, T)
    assert growth < 0.15 * (B * T * S * A * 4)


def test_memory_grows_with_positions_times_score_space():
    """Keys, their gradient and a few more S x A arrays: the measure sees them."""
    growth = step_bytes("concat", 2 * S, T) - step_bytes("concat", S, T)
    assert 3 * (B * S * A * 4) < growth < T / 2 * (B * S * A * 4)

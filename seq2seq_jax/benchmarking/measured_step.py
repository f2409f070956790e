"""The training step as the benchmark sees it: on real batches, or compiled from shapes alone."""

from collections import Counter

import jax
import jax.numpy as jnp

from seq2seq_jax.benchmarking.products import Product, count_products
from seq2seq_jax.data.buckets import Shape
from seq2seq_jax.rng import named
from seq2seq_jax.training.compiled import CompiledStep
from seq2seq_jax.training.mesh import data_mesh, replicated
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.step import Hyper, init_state, make_hyper, make_train_step
from seq2seq_jax.training.teacher_forcing import ratio_at
from seq2seq_jax.types import Batch


class MeasuredStep(CompiledStep):
    """A CompiledStep that also tells what its programs need and do.

    Neither question compiles anything where a call with such arguments has been made. They take
    arrays or their shapes.
    """

    def temporary_bytes(self, state, batch, hyper, key, *, forced: bool) -> int:
        """Memory of all between inputs and outputs, residuals of the backward pass mostly; 0 where
        the compiler does not tell."""
        program = self._jitted.lower(state, batch, hyper, key, forced=forced).compile()
        analysis = program.memory_analysis()
        return analysis.temp_size_in_bytes if analysis else 0

    def products(self, state, batch, hyper, key, *, forced: bool, blocks: int) -> Counter[Product]:
        """The matrix products of one update, padding and recomputation included, where the loss
        goes through so many blocks of tokens."""
        program = self._jitted.trace(state, batch, hyper, key, forced=forced)
        return count_products(program.jaxpr.jaxpr, blocks)


def make_step(config, graphdef) -> MeasuredStep:
    mesh = data_mesh(config.data.batch_size)
    step = make_train_step(config, graphdef, make_optimizer(config.train), mesh.size)
    return MeasuredStep(step, replicated(mesh))


def make_state(config, params):
    return init_state(params, make_optimizer(config.train), config.train.ema_decay)


def first_hyper(config) -> Hyper:
    """The numbers of the first update, at the full learning rate."""
    return make_hyper(config, config.train.learning_rate, ratio_at(config.teacher_forcing, 0))


def make_key(config):
    return named(jax.random.key(config.seed), "training")


def is_forced(config) -> bool:
    return ratio_at(config.teacher_forcing, 0) >= 1


def temporary_bytes(config, graphdef, params, shape: Shape) -> int:
    """Temporary memory of one update's program; `params` may be shapes, nothing is computed."""
    batch, (sources, targets) = config.data.batch_size, shape
    arguments = jax.eval_shape(
        lambda params: (
            make_state(config, params),
            Batch(
                jnp.zeros((batch, sources), jnp.int32),
                jnp.zeros((batch, targets), jnp.int32),
                jnp.zeros(batch, jnp.int32),
            ),
            first_hyper(config),
            make_key(config),
        ),
        params,
    )
    step = make_step(config, graphdef)
    return step.temporary_bytes(*arguments, forced=is_forced(config))

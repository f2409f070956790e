"""The training step as the benchmark sees it."""

from seq2seq_jax.benchmarking.products import Products, count_products
from seq2seq_jax.training.compiled import CompiledStep
from seq2seq_jax.training.step import Hyper, make_hyper
from seq2seq_jax.training.teacher_forcing import ratio_at


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

    def products(self, state, batch, hyper, key, *, forced: bool, blocks: int | float) -> Products:
        """The matrix products of one update on one device, padding and recomputation included,
        where the loss goes through so many blocks of tokens there."""
        program = self._jitted.trace(state, batch, hyper, key, forced=forced)
        return count_products(program.jaxpr.jaxpr, blocks)


def hyper_at(config, step: int = 0) -> Hyper:
    """The numbers of an update, at the full learning rate."""
    return make_hyper(config, config.train.learning_rate, ratio_at(config.teacher_forcing, step))


def is_forced(config, step: int = 0) -> bool:
    return ratio_at(config.teacher_forcing, step) >= 1

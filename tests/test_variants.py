"""The laboratory as a whole: every combination of choices is built, and every pair takes a step."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seq2seq_jax import config_checks, config_rules
from seq2seq_jax.models.decoders import RecurrentDecoder
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import Embedding
from seq2seq_jax.training.step import Hyper, init_state, make_train_step
from tests.covering import covering
from tests.small import TARGET_SIZE, small_batch, small_config, small_model

AXES = {
    "attention.score": config_checks.SCORES,
    "attention.window": config_checks.WINDOWS,
    "attention.normalizer": config_checks.NORMALIZERS,
    "decoder.order": config_checks.CHOICES["model.decoder.order"],
    "attention.heads": (1, 2),
}
MORE = {
    "attention.memory_term": config_checks.MEMORY_TERMS,
    "decoder.context_gate": config_checks.CHOICES["model.decoder.context_gate"],
    "decoder.input_feeding": (False, True),
}
SIZES = {
    "decoder.width": 6,  # as wide as the memory, so that every score fits
    "encoder.width": 6,
    # What is no axis here is as small as it can be: compiling is what these tests cost.
    "encoder.bidirectional": False,
    "decoder.initial_state": "zero",
    "attention.fixed_context": "every_input",
}


@functools.cache
def _config():
    return small_config(**SIZES)


def set_up(case):
    config = _config()
    config.model.update_from_flattened_dict({name: values[0] for name, values in MORE.items()})
    config.model.update_from_flattened_dict(case)
    return config


def refusals(case):
    return _refusals(tuple(item for item in case.items() if item[0].startswith("attention.")))


@functools.cache
def _refusals(attention):
    config = set_up(dict(attention))
    return list(config_rules.attention_rules(config.model.attention, 6, 6, widths=""))


@pytest.mark.slow
def test_the_cross_product_of_the_axes_is_built_and_traced():
    """Abstract shapes alone: one decoder step of every combination that the rules allow."""
    B, S, M = 2, 5, 6
    memory = jax.eval_shape(
        lambda: Memory(jnp.zeros((B, S, M)), jnp.ones((B, S), bool), (), jnp.zeros((B, M)))
    )
    built = refused = 0
    for values in itertools.product(*AXES.values()):
        case = dict(zip(AXES, values, strict=True))
        if refusals(case):
            refused += 1
            continue
        config = set_up(case).model

        # A function of its own for each case: tracing is remembered by function.
        def one_step(key, memory, config=config):
            embedding = Embedding(TARGET_SIZE, config.embedding, key=key, dtype=config.dtype)
            decoder = RecurrentDecoder(config, embedding, M, TARGET_SIZE, key=key)
            state, source = decoder.start(memory)
            state, readout_BH = decoder.step(state, embedding(jnp.zeros(B, int)), source)
            return decoder.logits(readout_BH), state.attention.alignment_BNS

        logits_BV, alignment_BNS = jax.eval_shape(one_step, jax.random.key(0), memory)
        assert logits_BV.shape == (B, TARGET_SIZE)
        assert alignment_BNS.shape == (B, case["attention.heads"], S)
        built += 1
    scores, windows, normalizers, orders, heads = (len(values) for values in AXES.values())
    assert built + refused == scores * windows * normalizers * orders * heads
    # `none` goes with one window, normaliser and number of heads; `monotonic` with one normaliser.
    attending = (scores - 1) * ((windows - 1) * normalizers + 1) * orders * heads
    assert built == attending + orders


CASES = covering(AXES | MORE, lambda case: not refusals(case))
HYPER = Hyper(**{name: jnp.float32(0.5) for name in Hyper._fields})


@pytest.mark.parametrize("case", CASES, ids=lambda case: ",".join(map(str, case.values())))
def test_every_pair_of_choices_takes_a_training_step(case):
    """Finite, with padding in the batch, and no parameter is left without a gradient."""
    graphdef, params = small_model(**case | SIZES)
    config = set_up(case)
    optimizer = optax.sgd(1.0)
    step = jax.jit(make_train_step(config, graphdef, optimizer), static_argnames="forced")
    state = init_state(params, optimizer, 0.0)
    batch = jax.tree.map(jnp.asarray, small_batch())
    after = step(state, batch, HYPER, jax.random.key(0), forced=True)
    assert after.bad_step == -1
    assert np.isfinite(after.window["loss"])
    moved = jax.tree.map(lambda new, old: bool((new != old).any()), after.params, params)
    still = [jax.tree_util.keystr(path) for path, m in jax.tree.leaves_with_path(moved) if not m]
    # Biaffine's and linear's term of the query alone shifts all scores, which only some see.
    assert [path for path in still if "query_vector" not in path] == []

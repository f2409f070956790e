"""What a CPU cannot run is lowered for the others: updates and searches, for GPUs and TPUs."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from jax import export

from seq2seq_jax.decoding.beam import beam_search
from seq2seq_jax.decoding.penalties import Ranking
from seq2seq_jax.decoding.predictor import Predictor
from seq2seq_jax.decoding.search import greedy
from seq2seq_jax.training import losses
from seq2seq_jax.training.population import Together
from seq2seq_jax.training.step import init_state, make_hyper, make_train_step
from tests.small import small_batch, small_config, small_model

PLATFORMS = "cuda", "tpu"
MODELS = {
    "recurrent": {"decoder.cell": "lstm", "decoder.input_feeding": True, "dtype": "bfloat16"},
    "transformer": {
        "encoder.kind": "transformer",
        "encoder.width": 4,
        "decoder.kind": "transformer",
        "embedding": 4,
        "transformer.heads": 2,
        "transformer.mlp_width": 6,
    },
}


@pytest.fixture
def lower(monkeypatch):
    """lower(function, *arguments) -> the module's text, written as an accelerator wants it."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(losses, "FEW", 0)  # so that the loss goes by blocks
    monkeypatch.setitem(losses.BLOCK, "gpu", 4)

    def lower(function, *arguments):
        return export.export(jax.jit(function), platforms=PLATFORMS)(*arguments).mlir_module()

    return lower


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return small_config(**request.param), *small_model(**request.param)


@pytest.mark.parametrize("forced", [True, False])
def test_an_update(lower, model, forced):
    config, graphdef, params = model
    optimizer = optax.adam(1.0)
    arguments = init_state(params, optimizer, 0.0), small_batch(), make_hyper(config, 1.0, 0.5)
    key = jax.random.key(0)
    make_step = partial(make_train_step, config, graphdef, optimizer)
    alone = lower(partial(make_step(), forced=forced), *arguments, key)
    together = Together(2, False, jax.devices()[:1]).step(make_step)
    twice = jax.tree.map(lambda x: jnp.stack([x, x]), (*arguments, key))
    # All members at once: no more loops than one has, of which the loss's is one.
    both = lower(partial(together, forced=forced), *twice)
    assert both.count("while(") == alone.count("while(") >= 1


def test_a_search(lower, model):
    _, graphdef, params = model
    limit_B = jnp.array([5, 3, 1, 4])
    ranking = Ranking(jnp.float32(1), jnp.asarray(False), jnp.float32(0), jnp.int32(0))

    def search(params, source_BS):
        predictor = Predictor([nnx.merge(graphdef, params)])
        one = greedy(predictor, source_BS, limit_B, positions=5)
        several = beam_search(
            predictor, source_BS, limit_B, ranking, positions=5, beam=2, best=1, ngram=2
        )
        return one, several

    assert "stablehlo.while" in lower(search, params, small_batch().source_BS)

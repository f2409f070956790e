"""A complete, tiny training run for the tests of the loop."""

import itertools
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from configs.default import get_config
from seq2seq_jax.data.batching import Batches
from seq2seq_jax.models.seq2seq import initialize
from seq2seq_jax.rng import named
from seq2seq_jax.training import loop, mesh
from seq2seq_jax.training.losses import cross_entropy
from seq2seq_jax.training.member import Member
from seq2seq_jax.training.teacher_forcing import unroll_forced
from seq2seq_jax.types import EOS, SPECIALS

SYMBOLS = 6
SIZE = len(SPECIALS) + SYMBOLS


def tiny_config(**train):
    """Reversing up to 6 symbols: width 8, two batch shapes, dropout, teacher-forcing ratio 0.8."""
    config = get_config()
    config.data.batch_size = 8
    config.data.prefetch = 4
    config.model.embedding = config.model.encoder.width = config.model.decoder.width = 8
    config.model.encoder.bidirectional = False
    config.model.dropout.output = 0.1
    config.teacher_forcing.ratio = 0.8
    config.train.update(
        {"epochs": 0.0, "steps": 60, "log_every": 5, "eval_every": 10, "learning_rate": 0.01}
    )
    config.train.update(train)
    return config


def tiny_examples(count: int, seed: int) -> tuple[list[list[int]], list[list[int]]]:
    generator = np.random.default_rng(seed)
    words = [
        generator.integers(len(SPECIALS), SIZE, generator.integers(1, 7)).tolist()
        for _ in range(count)
    ]
    return [[*word, EOS] for word in words], [[*word[::-1], EOS] for word in words]


def tiny_batches(config, shapes=((4, 4), (8, 8))) -> Batches:
    return Batches(*tiny_examples(100, 0), shapes, config.data.batch_size, seed=config.seed)


def tiny_model(config):
    return initialize(config.model, SIZE, SIZE, named(jax.random.key(config.seed), "model"))


def tiny_evaluate(graphdef):
    """Forced loss on 16 other examples."""
    batch = jax.tree.map(jnp.asarray, Batches(*tiny_examples(16, 1), [(8, 8)], 16)[0])

    @jax.jit
    def sums(params):
        model = nnx.merge(graphdef, params)
        state, source = model.decoder.start(model.encoder(batch.source_BS, None))
        unrolled = unroll_forced(model.decoder, state, source, batch.target_BT)
        output = model.decoder.output_layer()
        return cross_entropy(unrolled.readout_BTH, output, batch.target_BT)

    def evaluate(params, step):
        found = sums(params)
        return {"valid/loss": float(found.loss / found.tokens)}

    return evaluate


def scripted(name, values):
    """An evaluation that gives these values of `name`, one after another."""
    values = itertools.chain(values)
    return lambda params, step: {name: next(values)}


def run(config, workdir, evaluate, **batches) -> loop.Result:
    return loop.train(
        config, workdir, tiny_model(config), tiny_batches(config, **batches), evaluate
    )


def main(workdir: Path, train: dict, pause: float, members: int) -> None:
    """Trains in `workdir`; each evaluation waits `pause` seconds more, to be hit while it runs.

    Several members train as one program, in the folders 0, 1, ... of `workdir`.
    """
    print(jax.device_count(), "devices", file=sys.stderr)
    mesh.APART = set()  # all of them take part
    config = tiny_config(**train)
    model = tiny_model(config)
    evaluate = tiny_evaluate(model[0])

    def slow_evaluate(params, step):
        time.sleep(pause)
        return evaluate(params, step)

    if members == 1:
        loop.train(config, workdir, model, tiny_batches(config), slow_evaluate)
        return
    graphdef, params = model
    configs = [config.copy_and_resolve_references() for _ in range(members)]
    for seed, own in enumerate(configs):
        own.seed = seed
        own.teacher_forcing.ratio = 0.8 - 0.1 * seed
    lanes = [Member(own, workdir / str(own.seed), params, slow_evaluate, keep=2) for own in configs]
    for _ in loop.train_together(lanes, graphdef, [tiny_batches(own) for own in configs]):
        pass

"""Where the time of an update goes, part by part, and how much of it matrix products need.

    PYTHONPATH=. .venv/bin/python benchmarks/parts.py [--workload=luong] [--shape=16x16]
        [--precision=bfloat16] [--ratio=0.5]

Encoder, decoder, output layer with loss, and optimiser, each with its gradients as a program of its
own on a full batch, in turns with the whole update. `products` is the time that the part's matrix
products take alone, each at its own shape; what is left moves memory or waits. The optimiser has no
products: `memory` is the time of its arrays (parameters, gradients and both moments read,
parameters and moments written) at the rate at which the machine copies large arrays. Below ratio 1
the decoder makes logits to choose from at each step, and the loss makes them once more.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from seq2seq_jax.benchmarking.machine import look_around
from seq2seq_jax.benchmarking.measured_step import is_forced
from seq2seq_jax.benchmarking.members import Members, make_lanes
from seq2seq_jax.benchmarking.products import count_products, operations, seconds_alone
from seq2seq_jax.benchmarking.workloads import (
    WORKLOADS,
    full_batch,
    make_config,
    make_examples,
    parse_shape,
)
from seq2seq_jax.evaluation.environment import environment
from seq2seq_jax.training.deferred import deferred
from seq2seq_jax.training.losses import cross_entropy, loss_blocks
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.teacher_forcing import unroll, unroll_forced
from seq2seq_jax.types import EOS

ROUNDS, COPIED = 9, 64 * 2**20  # floats of the array that is copied


class Part(NamedTuple):
    """`run()` is the part once; `alone`: seconds that it cannot do without, and of what kind."""

    name: str
    run: Callable[[], Any]
    alone: float
    kind: str


def parts(config, batch, graphdef, lane) -> Iterator[Part]:
    """The parts of an update, then all of it."""
    params, batch = jax.device_put((lane.state.params, batch))
    full_BT = np.full(batch.target_BT.shape, EOS)
    blocks, _ = loss_blocks(full_BT, len(params["decoder"]["output_bias"]))

    def merged(params):
        return nnx.merge(graphdef, params)

    def encode(params):
        return jnp.sum(merged(params).encoder(batch.source_BS).memory_BSM ** 2)

    def decode(params, memory):
        model = merged(params)
        positions = batch.target_BT.shape[1]
        state, source = model.decoder.start(memory, positions=positions)
        arguments = model.decoder, state, source, batch.target_BT
        if is_forced(config):
            return unroll_forced(*arguments).readout_BTH
        ratio = jnp.float32(config.teacher_forcing.ratio)
        return unroll(*arguments, ratio, lane.key, batch.index_B, alone=True).readout_BTH

    def score(params, readout_BTH):
        layer = merged(params).decoder.output_layer()
        return cross_entropy(readout_BTH, layer, batch.target_BT).objective

    memory = jax.jit(lambda params: merged(params).encoder(batch.source_BS))(params)
    floats, rest = _floats(memory)

    def decode_floats(params, floats):
        return jnp.sum(decode(params, rest(floats)) ** 2)

    readout_BTH = jax.jit(decode)(params, memory)
    for name, function, arguments in (
        ("encoder", jax.grad(encode), (params,)),
        ("decoder", jax.grad(decode_floats, (0, 1)), (params, floats)),
        ("output layer and loss", jax.grad(score, (0, 1)), (params, readout_BTH)),
    ):
        program = jax.jit(deferred(function))
        counted = count_products(jax.make_jaxpr(deferred(function))(*arguments).jaxpr, blocks)
        yield Part(name, lambda f=program, a=arguments: f(*a), seconds_alone(counted), "products")

    optimizer, gradients = make_optimizer(config.train), jax.tree.map(jnp.ones_like, params)
    moments = jax.jit(optimizer.init)(params)

    @jax.jit
    def optimize(params, moments, gradients):
        updates, moments = optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moments

    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    yield Part(
        "optimiser", lambda: optimize(params, moments, gradients), 7 * size / copy_rate(), "memory"
    )
    members = Members([lane], graphdef)
    whole = members.products(batch)
    yield Part("whole update", lambda: members.seconds([batch]), seconds_alone(whole), "products")
    print(f"{operations(whole) / 1e9:,.1f} billion operations in matrix products an update")


def _floats(tree) -> tuple[list, Callable[[list], Any]]:
    """The leaves that have a gradient, and the tree with others in their place."""
    leaves, structure = jax.tree.flatten(tree)
    places = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def rest(floats):
        new = dict(zip(places, floats, strict=True))
        return structure.unflatten([new.get(i, leaf) for i, leaf in enumerate(leaves)])

    return [leaves[i] for i in places], rest


def copy_rate() -> float:
    """Bytes read and written a second by a copy of a large array, the best of some."""
    x = jnp.ones(COPIED, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    jax.block_until_ready(copy(x))
    seconds = [_seconds(lambda: copy(x)) for _ in range(5)]
    return 2 * x.nbytes / min(seconds)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="See the top of this file.")
    parser.add_argument("--workload", choices=WORKLOADS, default="luong")
    parser.add_argument("--shape", type=parse_shape, default=(16, 16))
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--ratio", type=float, default=1.0)
    flags = parser.parse_args()
    print(f"{environment()['device']}; {look_around(before=True)}")
    print(f"memory is copied at {copy_rate() / 1e9:.1f} GB/s, reading and writing together")
    changes = {"model.dtype": flags.precision, "teacher_forcing.ratio": flags.ratio}
    config = make_config(flags.workload, changes)
    sizes = [len(words) for words in make_examples(flags.workload, config).vocabularies]
    batch = full_batch(sizes, config.data.batch_size, flags.shape)
    graphdef, (lane,) = make_lanes([config], sizes)
    found = list(parts(config, batch, graphdef, lane))
    for part in found:
        part.run()  # compiles
    seconds = np.array([[_seconds(part.run) for part in found] for _ in range(ROUNDS)])
    print("| part | ms | products or memory alone, ms | share |")
    print("|---|---:|---:|---:|")
    for part, times in zip(found, seconds.T, strict=True):
        median = np.median(times)
        alone = f"{part.alone * 1e3:,.1f} ({part.kind})"
        print(f"| {part.name} | {median * 1e3:,.1f} | {alone} | {part.alone / median:.0%} |")


if __name__ == "__main__":
    main()

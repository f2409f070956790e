"""A toy step for the tests of the loop, and what they look at."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from seq2seq_jax.training import member
from seq2seq_jax.training.checkpoints import Checkpoints
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.step import init_state
from tests.training.tiny_run import tiny_config


def make_toy_step(config, graphdef, optimizer, shards=1, axis=None, rests=False):
    """w falls by rate * (ratio + a number of the batch and the key); a row's loss is its index.

    A rate above 1000 makes the update a bad one.
    """

    def step(state, batch, hyper, key, *, forced):
        noise = jax.random.uniform(jax.random.fold_in(key, state.step))
        rows = batch.index_B >= 0
        loss = jnp.sum(jnp.where(rows, batch.index_B, 0)).astype(jnp.float32)
        tokens = jnp.sum(rows).astype(jnp.float32)
        update = hyper.learning_rate * (hyper.ratio + noise + 1e-3 * loss / tokens)
        ones = dict.fromkeys(state.window, jnp.float32(1))
        sums = ones | {"loss": loss, "tokens": tokens, "gold": hyper.ratio}
        return state._replace(
            params={"w": state.params["w"] - update},
            ema={"w": state.params["w"]} if state.ema else (),
            step=state.step + 1,
            window=jax.tree.map(jnp.add, state.window, sums),
            bad_step=jnp.where(
                (hyper.learning_rate > 1000) & (state.bad_step < 0), state.step, state.bad_step
            ),
        )

    return step


def lines(folder, prefix):
    text = (folder / "metrics.jsonl").read_text()
    found = [json.loads(line) for line in text.splitlines()]
    return [line for line in found if any(name.startswith(prefix) for name in line)]


def final(folder):
    """Everything that has to be the same bits: parameters, and the metrics file."""
    like = init_state({"w": jnp.zeros(3)}, make_optimizer(tiny_config().train), 0.0)
    store = Checkpoints(folder / "checkpoints", 2)
    saved = store.restore(like, lambda text: None)
    store.close()
    host = {name: saved.host[name] for name in ("data", "best_step", "selection")}
    leaves = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(saved.tree)]
    return leaves, host, (folder / "metrics.jsonl").read_bytes()


class Killed(BaseException):
    pass


PLACES = {
    "before the line of an evaluation": ("metrics", False),
    "after the line of an evaluation": ("metrics", True),
    "before the best": ("save_best", False),
    "between best and last": ("save_best", True),
    "after last": ("save", True),
    "before a line of timing": ("timing", False),
}


def stop_at(patch, place: str, count: int) -> None:
    """Raises Killed when the place is passed for the count-th time: nothing after it is done."""
    name, after = PLACES[place]
    owner = Checkpoints if name.startswith("save") else member.Logs
    original, calls = getattr(owner, name), iter(range(1, 1000))

    def stopping(self, *arguments):
        now = next(calls) == count
        if now and not after:
            raise Killed
        original(self, *arguments)
        if now:
            raise Killed

    patch.setattr(owner, name, stopping)

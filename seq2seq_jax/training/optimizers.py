"""Optimisers for a learning rate of 1, and learning-rate schedules of the update number.

The rate is evaluated on the host and enters the step as a traced scalar, so that a schedule, a
plateau or another peak compiles nothing anew.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array, Float


def make_optimizer(train: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Descent updates for a learning rate of 1: params += learning_rate * updates.

    They are those of the optimiser for a gradient that has been clipped, and then of decoupled
    weight decay (Loshchilov & Hutter 2019, algorithm 2): update -= weight_decay * params, so that
    it too is multiplied by the rate.

    - `adam`: Kingma & Ba 2015, algorithm 1, epsilon 1e-8.
    - `sgd`: v = momentum * v + gradient; update = -v (Polyak 1964).
    - `adadelta`: Zeiler 2012, algorithm 1, with the constants that Bahdanau et al. 2015 took:
      rho 0.95, epsilon 1e-6; its own rate is 1.
    """
    rules = {
        "adam": lambda: optax.scale_by_adam(train.adam_b1, train.adam_b2, eps=1e-8),
        "sgd": lambda: optax.trace(train.momentum) if train.momentum else optax.identity(),
        "adadelta": lambda: optax.scale_by_adadelta(rho=0.95, eps=1e-6),
    }
    parts = [rules[train.optimizer]()]
    if train.weight_decay:
        parts.append(optax.add_decayed_weights(train.weight_decay))
    return optax.chain(*parts, optax.scale(-1.0))


def clip_scale(norm: Float[Array, ""], clip_norm: float) -> Float[Array, ""] | float:
    """What scales a gradient of this norm down to `clip_norm` at most (Pascanu et al. 2013,
    algorithm 1); 1 where `clip_norm` is 0."""
    return jnp.minimum(1.0, clip_norm / norm) if clip_norm else 1.0


def learning_rate_at(train: ml_collections.ConfigDict, total_steps: int) -> Callable[[int], float]:
    """The learning rate of update n = 0, 1, ..., total_steps - 1, a pure function of n.

    With peak rate p, W = warmup_steps, N = total_steps and x = (n - W) / (N - W), the share of
    the run that lies behind after the warm-up:

    - warm-up, in front of all: p (n + 1) / W for n < W, so that the first update does something
      and update W - 1 has the peak;
    - `constant`: p; `plateau`: p too, the loop multiplies it with `Plateau.scale`;
    - `linear`: p (1 - x), which would be 0 at n = N;
    - `cosine`: p (1 + cos(pi x)) / 2 (Loshchilov & Hutter 2017, equation 5, one period);
    - `inverse_sqrt`: p sqrt(max(W, 1) / (n + 1)), equation 3 of Vaswani et al. 2017, where n + 1
      is their step number, scaled to have its peak p where the warm-up ends;
    - `halving`: p until `halving_start` of the N updates, there p / 2, and half of that again
      after every `halving_every` of the N updates (Luong et al. 2015, section 4.1: 10 epochs,
      after 5 of them the rate is halved every epoch: 0.5 and 0.1).
    """
    peak, warmup = float(train.learning_rate), int(train.warmup_steps)

    def share(n: int) -> float:
        return (n - warmup) / (total_steps - warmup)

    def halvings(n: int) -> int:
        # 0.55 - 0.5 is not 0.05.
        periods = (n / total_steps - train.halving_start) / train.halving_every
        return max(0, 1 + math.floor(periods + 1e-9))

    shapes: dict[str, Callable[[int], float]] = {
        "constant": lambda n: 1.0,
        "plateau": lambda n: 1.0,
        "linear": lambda n: 1.0 - share(n),
        "cosine": lambda n: 0.5 * (1.0 + math.cos(math.pi * share(n))),
        "inverse_sqrt": lambda n: math.sqrt(max(warmup, 1) / (n + 1)),
        "halving": lambda n: 0.5 ** halvings(n),
    }
    shape = shapes[train.schedule]
    return lambda n: peak * ((n + 1) / warmup if n < warmup else shape(n))

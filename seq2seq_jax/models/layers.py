"""The pieces every model part is made of: linear map, activations, embedding, dropout.

Parameters are float32. Products take operands in `dtype`, which `bfloat16` rounds, and sum in
float32.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from seq2seq_jax.rng import drawn_by_place, named


def contract(
    axes: str, left: Float[Array, "*N"], right: Float[Array, "*M"], dtype: str
) -> Float[Array, "*K"]:
    """An einsum of two arrays, with operands in `dtype` and the sum in float32."""
    operands = left.astype(dtype), right.astype(dtype)
    return jnp.einsum(axes, *operands, preferred_element_type=jnp.float32)


def product(
    x: Float[Array, "*N D"], kernel: Float[Array, "D F"], dtype: str
) -> Float[Array, "*N F"]:
    """x W with operands in `dtype` and the sum in float32, backwards too."""
    # As two matrices: on a CPU the gradient of W is slow where x has more axes.
    x_ND = x.reshape(-1, x.shape[-1])
    multiply = _multiply if dtype == "float32" else multiply_narrow
    return multiply(x_ND, kernel, dtype).reshape(*x.shape[:-1], kernel.shape[1])


def _multiply(x_ND: Float[Array, "N D"], kernel: Float[Array, "D F"], dtype: str):
    return contract("nd,df->nf", x_ND, kernel, dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def multiply_narrow(x_ND: Float[Array, "N D"], kernel: Float[Array, "D F"], dtype: str):
    """A product whose gradients are products in `dtype` too.

    By itself JAX multiplies the slope, which is float32, by the other operand as it is, and that is
    done in float32. For weights only: under `vmap` over steps the gradient of what all of them use,
    like the keys of an attention, would be made for each step and summed.
    """
    return _multiply(x_ND, kernel, dtype)


def _multiply_and_keep(x_ND, kernel, dtype):
    x_ND, kernel = x_ND.astype(dtype), kernel.astype(dtype)
    return _multiply(x_ND, kernel, dtype), (x_ND, kernel)


def _multiply_back(dtype, operands, slope_NF):
    x_ND, kernel = operands
    of_x = contract("nf,df->nd", slope_NF, kernel, dtype)
    return of_x, contract("nd,nf->df", x_ND, slope_NF, dtype)


multiply_narrow.defvjp(_multiply_and_keep, _multiply_back)


@jax.custom_vjp
def made_apart(x: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """x, whose gradient is made as it is written: XLA draws nothing of what follows into it."""
    return x


made_apart.defvjp(lambda x: (x, None), lambda _, slope: (jax.lax.optimization_barrier(slope),))


def _with_slope_of_value(function: Callable, slope: Callable) -> Callable:
    """y = function(x), elementwise, with dy/dx = slope(y).

    The value is all that its gradient keeps. JAX's own keeps two arrays, y and what follows from
    it, and those of a scan are written and read for all its steps.
    """
    activation = jax.custom_vjp(function)
    activation.defvjp(lambda x: (y := function(x), y), lambda y, dy: (dy * slope(y),))
    return activation


sigmoid = _with_slope_of_value(jax.lax.logistic, lambda y: y * (1 - y))
tanh = _with_slope_of_value(jax.lax.tanh, lambda y: (1 - y) * (1 + y))


def add_bias(x: Float[Array, "*N F"], bias: Float[Array, " F"]) -> Float[Array, "*N F"]:
    """x + b at every position, spelled out: the tests forbid silent promotion of ranks."""
    return x + jnp.broadcast_to(bias, x.shape)


def argmax(x: Float[Array, "*N V"]) -> Int[Array, "*N"]:
    """The first index of the largest entry of each row; the last index where an entry is NaN.

    Two reductions of one value each, which vectorise: XLA's reduction of pairs takes four times as
    long on a CPU.
    """
    largest = jnp.broadcast_to(x.max(axis=-1, keepdims=True), x.shape)
    index = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    return jnp.where(x == largest, index, x.shape[-1] - 1).min(axis=-1)


class Linear(nnx.Module):
    """y = x W + b. W: Glorot & Bengio (2010) uniform; b: zeros."""

    def __init__(self, inputs: int, outputs: int, *, key: Key[Array, ""], dtype: str, bias=True):
        init = jax.nn.initializers.glorot_uniform()
        self.kernel = nnx.Param(init(named(key, "kernel"), (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None
        self.dtype = dtype

    def matrix(self) -> Float[Array, "D F"]:
        """W"""
        return self.kernel[...]

    def __call__(self, x: Float[Array, "*N D"]) -> Float[Array, "*N F"]:
        y = product(x, self.matrix(), self.dtype)
        return y if self.bias is None else add_bias(y, self.bias[...])


class Narrowing(Linear):
    """The same from many numbers to fewer, at many positions at once.

    The gradient of W is made as (dy' x)': as x' dy it takes a CPU 1.7 times as long, x being wide.
    """

    def matrix(self) -> Float[Array, "D F"]:
        return made_apart(self.kernel[...].T).T


class Embedding(nnx.Module):
    """A table of V vectors, N(0, 1), that can also score tokens (tied embeddings).

    logits = x table^T / sqrt(E), which has the scale of an untied layer (Press & Wolf 2017; the
    factor is that of Vaswani et al. 2017, section 3.4, on the other side). Unit variance matters:
    with entries of size 1/sqrt(E) a decoder hardly sees its input in the first hundreds of updates.
    """

    def __init__(self, size: int, width: int, *, key: Key[Array, ""], dtype: str):
        self.table = nnx.Param(jax.random.normal(named(key, "table"), (size, width)))
        self.dtype = dtype

    def __call__(self, ids: Int[Array, "*N"]) -> Float[Array, "*N E"]:
        return self.table[...][ids]

    def kernel(self) -> Float[Array, "E V"]:
        """table^T / sqrt(E)"""
        return self.table[...].T * self.table.shape[1] ** -0.5


class OutputLayer(NamedTuple):
    """logits = x W + b, for a caller that must not hold the logits of a whole batch at once."""

    kernel_HV: Float[Array, "H V"]
    bias_V: Float[Array, " V"]
    dtype: str

    def __call__(self, x: Float[Array, "*N H"]) -> Float[Array, "*N V"]:
        return add_bias(product(x, self.kernel_HV, self.dtype), self.bias_V)


class Noise(NamedTuple):
    """The randomness of one training step; a forward pass without it is an evaluation.

    `input` and `output` are dropout rates in [0, 1), traced; None where there is no dropout.
    """

    key: Key[Array, ""]
    input: Float[Array, ""] | None = None
    output: Float[Array, ""] | None = None

    def at(self, name: str | Int[Array, ""]) -> "Noise":
        """Independent noise for the part called `name`, or for a position."""
        key = named(self.key, name) if isinstance(name, str) else jax.random.fold_in(self.key, name)
        return self._replace(key=key)

    def drop_input(self, x: Float[Array, "*N D"], *, over_time: bool = False):
        return drop(x, self.input, self.key, over_time=over_time)

    def drop_output(self, x: Float[Array, "*N D"], *, over_time: bool = False):
        return drop(x, self.output, self.key, over_time=over_time)


def drop(
    x: Float[Array, "*N D"],
    rate: Float[Array, ""] | None,
    key: Key[Array, ""],
    *,
    over_time: bool = False,
) -> Float[Array, "*N D"]:
    """Inverted dropout: x / (1 - rate) with probability 1 - rate, else 0; x where rate is None.

    With `over_time`, x is B x time x D and one mask serves all positions (Gal & Ghahramani 2016).
    """
    if rate is None:
        return x
    shape = (x.shape[0], 1, x.shape[2]) if over_time else x.shape
    keep = drawn_by_place(partial(jax.random.bernoulli, p=1 - rate), key, shape)
    return jnp.where(keep, x / (1 - rate), 0.0)


def drop_at(
    noise: Noise, drop, x_BTD: Float[Array, "B T D"], position_T: Int[Array, " T"], same: bool
) -> Float[Array, "B T D"]:
    """Dropout whose mask at a position is the same all at once as step by step.

    `drop`: Noise.drop_input or Noise.drop_output. `same`: one mask for all positions.
    """
    if same:
        return drop(noise, x_BTD, over_time=True)
    return jax.vmap(lambda at, x_BD: drop(noise.at(at), x_BD), (0, 1), 1)(position_T, x_BTD)

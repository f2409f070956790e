"""Recurrent cells and their unrolling over a padded sequence.

A carry is a tuple whose first entry is the output h_BH; the LSTM adds its cell state.
"""

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from seq2seq_jax.models.layers import add_bias, product, sigmoid, tanh
from seq2seq_jax.rng import named

Carry = tuple[Float[Array, "B H"], ...]


class Cell(nnx.Module):
    """One step of recurrence: (carry, x) -> carry.

    Kernels hold the gates side by side. Input kernels are Glorot uniform and recurrent ones
    orthogonal (Saxe et al. 2014), each gate on its own; biases are zero.
    """

    gates: ClassVar[int]
    carries: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, *, key: Key[Array, ""], dtype: str):
        def gates(init, name, rows):
            keys = jax.random.split(named(key, name), self.gates)
            return jnp.concatenate([init(k, (rows, width)) for k in keys], axis=1)

        initializers = jax.nn.initializers
        self.input_kernel = nnx.Param(gates(initializers.glorot_uniform(), "input_kernel", inputs))
        self.recurrent_kernel = nnx.Param(
            gates(initializers.orthogonal(), "recurrent_kernel", width)
        )
        self.bias = nnx.Param(jnp.zeros(self.gates * width))
        self.width = width
        self.dtype = dtype

    def start(self, batch: int) -> Carry:
        """Zeros."""
        return tuple(jnp.zeros((batch, self.width)) for _ in range(self.carries))

    def inputs(self, x: Float[Array, "*N D"]) -> Float[Array, "*N G"]:
        """W x + b, which needs no carry."""
        return add_bias(product(x, self.input_kernel[...], self.dtype), self.bias[...])

    def recurrence(self, h: Float[Array, "B H"]) -> Float[Array, "B G"]:
        return product(h, self.recurrent_kernel[...], self.dtype)

    def update(self, carry: Carry, inputs_BG: Float[Array, "B G"]) -> Carry:
        """The next carry, from what `inputs` makes of x."""
        raise TypeError(f"{type(self).__name__} is an abstract cell")

    def __call__(self, carry: Carry, x: Float[Array, "B D"]) -> Carry:
        return self.update(carry, self.inputs(x))


class Elman(Cell):
    """h_t = tanh(W x_t + U h_{t-1} + b) (Elman 1990)."""

    gates = 1

    def update(self, carry: Carry, inputs_BG: Float[Array, "B G"]) -> Carry:
        (h,) = carry
        return (tanh(inputs_BG + self.recurrence(h)),)


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), with the reset gate after the product (cuDNN's form).

    r = sigmoid(W_r x + U_r h + b_r),  z = sigmoid(W_z x + U_z h + b_z),
    n = tanh(W_n x + b_n + r * (U_n h + c_n)),  h' = (1 - z) * n + z * h.
    """

    gates = 3

    def __init__(self, inputs: int, width: int, *, key: Key[Array, ""], dtype: str):
        super().__init__(inputs, width, key=key, dtype=dtype)
        self.reset_bias = nnx.Param(jnp.zeros(width))

    def update(self, carry: Carry, inputs_BG: Float[Array, "B G"]) -> Carry:
        (h,) = carry
        xr, xz, xn = jnp.split(inputs_BG, 3, axis=-1)
        hr, hz, hn = jnp.split(self.recurrence(h), 3, axis=-1)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        n = tanh(xn + r * add_bias(hn, self.reset_bias[...]))
        return ((1 - z) * n + z * h,)


class LSTM(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000).

    i, f, o = sigmoid(W x + U h + b),  g = tanh(W x + U h + b),
    c' = f * c + i * g,  h' = o * tanh(c').
    """

    gates = 4
    carries = 2

    def __init__(
        self, inputs: int, width: int, *, key: Key[Array, ""], dtype: str, forget_bias: float
    ):
        super().__init__(inputs, width, key=key, dtype=dtype)
        self.bias[...] = self.bias[...].at[width : 2 * width].set(forget_bias)

    def update(self, carry: Carry, inputs_BG: Float[Array, "B G"]) -> Carry:
        h, c = carry
        i, f, g, o = jnp.split(inputs_BG + self.recurrence(h), 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


CELLS = {"elman": Elman, "gru": GRU, "lstm": LSTM}


def make_cell(
    name: str, inputs: int, width: int, *, key: Key[Array, ""], dtype: str, forget_bias: float
) -> Cell:
    options = {"forget_bias": forget_bias} if name == "lstm" else {}
    return CELLS[name](inputs, width, key=key, dtype=dtype, **options)


# Numbers that the inputs of one step may be on a CPU to be made before the scan, of all steps at
# once: small products gain by it, where larger ones lose more by the way to memory and back.
AHEAD = 2**16


def inputs_ahead(numbers: int) -> bool:
    """Whether W x of all steps, so many numbers each, is one product before the scan."""
    return jax.default_backend() != "cpu" or numbers <= AHEAD


def unroll(
    cell: Cell,
    x_BSD: Float[Array, "B S D"],
    valid_BS: Bool[Array, "B S"] | None = None,
    *,
    start: Carry | None = None,
    reverse: bool = False,
) -> tuple[Carry, Float[Array, "B S H"]]:
    """Runs the cell over the valid positions; gives the last carry and all outputs.

    It starts from zeros where no `start` is given, and all positions are valid where none are
    named. Padding leaves the carry as it is and outputs zeros, in both directions: a backward pass
    starts at the last real token of each row, whatever padding stands behind it.
    """
    ahead = inputs_ahead(x_BSD.shape[0] * cell.gates * cell.width)
    step = cell.update if ahead else cell

    def body(carry, inputs):
        x_BD, valid_B = inputs
        new = step(carry, x_BD)
        if valid_B is None:
            return new, new[0]
        # One mask for all: its gradient is one array, and not one for each `where`.
        valid_BH = jnp.broadcast_to(valid_B[:, None], new[0].shape)
        new = jax.tree.map(lambda n, o: jnp.where(valid_BH, n, o), new, carry)
        return new, jnp.where(valid_BH, new[0], 0.0)

    x_SBD = x_BSD.swapaxes(0, 1)
    inputs = (cell.inputs(x_SBD) if ahead else x_SBD, None if valid_BS is None else valid_BS.T)
    start = cell.start(x_BSD.shape[0]) if start is None else start
    carry, h_SBH = jax.lax.scan(body, start, inputs, reverse=reverse)
    return carry, h_SBH.swapaxes(0, 1)


def unroll_layer(
    cells: Sequence[Cell], x_BSD: Float[Array, "B S D"], valid_BS: Bool[Array, "B S"]
) -> tuple[Carry, Float[Array, "B S M"]]:
    """Unrolls a forward cell and perhaps a backward one, and puts what they give side by side."""
    runs = [unroll(cell, x_BSD, valid_BS, reverse=i == 1) for i, cell in enumerate(cells)]
    carries, outputs = zip(*runs, strict=True)
    carry = tuple(jnp.concatenate(leaf, -1) for leaf in zip(*carries, strict=True))
    return carry, jnp.concatenate(outputs, axis=-1)

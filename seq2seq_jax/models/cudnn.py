"""A layer of LSTMs in one call of cuDNN, NVIDIA's library, through `jax.experimental.rnn`.

It takes what `recurrent.unroll_layer` takes, parameters too, and gives the same up to rounding. JAX
has neither a rule for it under `vmap` nor a way to cut its batch into parts for several devices.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.experimental import rnn
from jax.extend.backend import get_backend
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from seq2seq_jax.models.recurrent import Carry, Cell
from seq2seq_jax.types import InputError

# Settings of jax_default_matmul_precision under which a GPU takes TF32 for float32 products.
TF32 = ("default", "bfloat16", "high", "tensorfloat32", "TF32_TF32_F32")


def available() -> bool:
    """Whether JAX computes on an NVIDIA GPU in this process."""
    return "cuda" in get_backend().platform_version


def require(model: ConfigDict) -> None:
    """Raises InputError where a model is to train with cuDNN and cannot; `model` is that part of a
    config. Without training nothing is asked: a scan gives the same."""
    if model.encoder.kernel != "cudnn":
        return
    if not available():
        raise InputError(
            "model.encoder.kernel = cudnn trains on an NVIDIA GPU, and the device here is"
            f" {jax.default_backend()}; take model.encoder.kernel = scan, or a CUDA device"
        )
    if jax.local_device_count() > 1:
        raise InputError(
            "model.encoder.kernel = cudnn trains on one device, since cuDNN's part of an update"
            f" cannot be shared out, and there are {jax.local_device_count()}; set"
            " CUDA_VISIBLE_DEVICES=0, or take model.encoder.kernel = scan"
        )


def unroll_layer(
    cells: Sequence[Cell], x_BSD: Float[Array, "B S D"], valid_BS: Bool[Array, "B S"]
) -> tuple[Carry, Float[Array, "B S M"]]:
    """As `recurrent.unroll_layer`, of LSTMs, on rows whose padding stands behind all else.

    What cuDNN leaves in padding is never read: `where` on both sides keeps it from values and
    gradients. It fails on rows without a token (jax issue 17966); such a row gets one of zeros,
    whose results are left out as well.
    """
    batch, _, inputs = x_BSD.shape
    width, directions = cells[0].width, len(cells)
    valid_BS1 = valid_BS[..., None]
    lengths_B = valid_BS.sum(axis=1, dtype=jnp.int32)
    zeros_LBH = jnp.zeros((directions, batch, width))
    h_BSM, *last = rnn.lstm(
        jnp.where(valid_BS1, x_BSD, 0.0),
        zeros_LBH,
        zeros_LBH,
        _pack(cells),
        jnp.maximum(lengths_B, 1),
        inputs,
        width,
        1,  # layer: dropout and residual connections between layers are the encoder's
        0.0,  # dropout
        directions == 2,
        _precision(),
    )
    some_B1 = lengths_B[:, None] > 0
    carry = (jnp.where(some_B1, jnp.concatenate(list(leaf_LBH), -1), 0.0) for leaf_LBH in last)
    return tuple(carry), jnp.where(valid_BS1, h_BSM, 0.0)


def _pack(cells: Sequence[Cell]) -> Float[Array, " P"]:
    """cuDNN's parameters: the kernels of each direction, outputs first, then the biases of each.

    It orders the gates i, f, g, o as `recurrent.LSTM` does. A second bias of its own is zero.
    """
    kernels = [k[...].T for cell in cells for k in (cell.input_kernel, cell.recurrent_kernel)]
    biases = [b for cell in cells for b in (cell.bias[...], jnp.zeros_like(cell.bias[...]))]
    return jnp.concatenate([array.reshape(-1) for array in [*kernels, *biases]])


def _precision() -> jax.lax.Precision:
    """float32 unless JAX's setting allows TF32; left to itself, JAX would take TF32 unasked, and
    refuse the two settings that a GPU reads as TF32."""
    lower = jax.default_matmul_precision.value in TF32
    return jax.lax.Precision.HIGH if lower else jax.lax.Precision.HIGHEST

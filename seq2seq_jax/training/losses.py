"""Sums over real target tokens; the one division happens where results are reported."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from seq2seq_jax.models.layers import OutputLayer, contract
from seq2seq_jax.types import PAD

# Tokens whose logits exist at once. A CPU keeps 256 x 6,000 numbers in its cache between products;
# an accelerator wants larger products.
BLOCK = {"cpu": 256, "gpu": 4096, "tpu": 4096}
# A batch of so few logits is one block: to find the real tokens, and to go through them in several
# steps, costs more than all positions at once.
FEW = 2**20


def block_size(positions: int, vocabulary: int) -> int:
    """Tokens of a block, an even number, for a batch of so many target positions."""
    everything = positions + positions % 2
    few = positions * vocabulary <= FEW
    return everything if few else min(BLOCK[jax.default_backend()], everything)


def loss_blocks(
    target_BT: Int[np.ndarray, "B T"], vocabulary: int, shards: int = 1
) -> tuple[int, int]:
    """(blocks, target positions in them) of `cross_entropy` on this batch, of all the devices that
    share its rows."""
    target_GN = target_BT.reshape(shards, -1)
    size = block_size(target_GN.shape[1], vocabulary)
    if size == target_GN.shape[1]:
        return shards, target_GN.size
    blocks = int((-(-(target_GN != PAD).sum(axis=1) // size)).sum())
    return blocks, blocks * size


class TokenSums(NamedTuple):
    """Sums over the real tokens of a batch, or of each of its rows. Losses in nats."""

    objective: Float[Array, "..."]
    loss: Float[Array, "..."]
    correct: Float[Array, "..."]
    tokens: Float[Array, "..."]


class _Slopes(NamedTuple):
    """The gradient of the objective."""

    readout_NH: Float[Array, "N H"]
    kernel_HV: Float[Array, "H V"]
    bias_V: Float[Array, " V"]


def cross_entropy(
    readout_BTH: Float[Array, "B T H"],
    layer: OutputLayer,
    target_BT: Int[Array, "B T"],
    smoothing: Float[Array, ""] | float = 0.0,
    *,
    axis: str | None = None,
) -> TokenSums:
    """Sums of -log p(gold) and of the objective with label smoothing (Szegedy et al. 2016, s. 7).

    objective = (1 - eps) * -log p(gold) + eps / V * sum over v of -log p(v).

    Logits are made of real tokens only, a block at a time, and the gradient along with them: no
    array of B x T x V numbers ever exists, but where all positions make one block. A token is
    correct where its logit is the greatest and has no equal. Of the sums only `objective` has a
    gradient.

    Under `vmap` give the name of its `axis`: all members then go through as many blocks.
    """
    readout_NH, target_N = readout_BTH.reshape(-1, readout_BTH.shape[-1]), target_BT.reshape(-1)
    rest = layer.kernel_HV, layer.bias_V, jnp.float32(smoothing)
    return _sums(readout_NH, target_N, *rest, layer.dtype, axis)


def sentence_sums(
    readout_BTH: Float[Array, "B T H"], layer: OutputLayer, target_BT: Int[Array, "B T"]
) -> TokenSums:
    """The sums of each row, without label smoothing, by the same blocks as `cross_entropy`.

    They have no gradient, and each row is added up in the same order whatever its neighbours.
    """
    readout_NH, target_N = readout_BTH.reshape(-1, readout_BTH.shape[-1]), target_BT.reshape(-1)
    size = block_size(len(target_N), layer.kernel_HV.shape[1])
    gold_N, order_N = _real_first(target_N, size)

    def block(i, kept: TokenSums) -> TokenSums:
        gold_K, order_K = (lax.dynamic_slice_in_dim(x, i * size, size) for x in (gold_N, order_N))
        found, _ = _compare(layer(readout_NH[order_K]), gold_K, 0.0)
        return jax.tree.map(
            lambda all_N, part_K: lax.dynamic_update_slice_in_dim(all_N, part_K, i * size, 0),
            kept,
            found,
        )

    start = TokenSums(*(jnp.zeros(len(order_N)) for _ in TokenSums._fields))
    real_N = target_N != PAD
    found = lax.fori_loop(0, -(-real_N.sum() // size), block, start)
    place_N = jnp.cumsum(real_N) - 1
    return jax.tree.map(
        lambda all_N: jnp.where(real_N, all_N[place_N], 0.0).reshape(target_BT.shape).sum(axis=1),
        found,
    )


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _sums(readout_NH, target_N, kernel_HV, bias_V, smoothing, dtype, axis):
    inputs = readout_NH, target_N, kernel_HV, bias_V, smoothing
    return _over_blocks(*inputs, dtype, axis, slopes=False)[0]


def _scale_slopes(dtype, axis, slopes: _Slopes, cotangent: TokenSums):
    readout_NH, kernel_HV, bias_V = (cotangent.objective * slope for slope in slopes)
    return readout_NH, None, kernel_HV, bias_V, None


def _over_blocks(readout_NH, target_N, kernel_HV, bias_V, smoothing, dtype, axis, *, slopes: bool):
    """The sums, and the objective's slopes or None."""
    layer = OutputLayer(kernel_HV, bias_V, dtype)

    def at_once(readout_KH, gold_K):
        found, slope_KV = _compare(layer(readout_KH), gold_K, smoothing)
        sums = jax.tree.map(jnp.sum, found)
        if not slopes:
            return sums, None
        return sums, _Slopes(
            contract("kv,hv->kh", slope_KV, kernel_HV, dtype),
            _kernel_slope(readout_KH, slope_KV, dtype),
            slope_KV.sum(axis=0),
        )

    size = block_size(len(target_N), kernel_HV.shape[1])
    if size == len(target_N):
        return at_once(readout_NH, target_N)
    real_N = target_N != PAD
    gold_N, order_N = _real_first(target_N, size)

    def block(i, carry):
        sums, slope = carry
        gold_K, order_K = (lax.dynamic_slice_in_dim(x, i * size, size) for x in (gold_N, order_N))
        found, new = at_once(readout_NH[order_K], gold_K)
        if slopes:
            slope = _Slopes(
                lax.dynamic_update_slice_in_dim(slope.readout_NH, new.readout_NH, i * size, 0),
                slope.kernel_HV + new.kernel_HV,
                slope.bias_V + new.bias_V,
            )
        return jax.tree.map(jnp.add, sums, found), slope

    tokens = real_N.sum()
    if axis:  # one count for all, or the loop under vmap could not slice
        tokens = lax.pmax(tokens, axis)
    start = TokenSums(*(jnp.zeros(()) for _ in TokenSums._fields)), None
    if slopes:
        zeros = (len(order_N), readout_NH.shape[1]), kernel_HV.shape, bias_V.shape
        start = start[0], _Slopes(*(jnp.zeros(shape) for shape in zeros))
    sums, slope = lax.fori_loop(0, -(-tokens // size), block, start)
    if slopes:
        back_NH = slope.readout_NH[jnp.cumsum(real_N) - 1]
        slope = slope._replace(readout_NH=jnp.where(real_N[:, None], back_NH, 0.0))
    return sums, slope


_sums.defvjp(partial(_over_blocks, slopes=True), _scale_slopes)


def _kernel_slope(readout_KH, slope_KV, dtype) -> Float[Array, "H V"]:
    # In two halves: a CPU multiplies in float32, whatever the operands are, where one contracted
    # axis stands first on both sides, and in bfloat16 where two do.
    halves = (x.reshape(2, -1, x.shape[1]) for x in (readout_KH, slope_KV))
    return contract("ckh,ckv->hv", *halves, dtype)


def _real_first(target_N: Int[Array, " N"], size: int):
    """(gold, places) of the real tokens in their order, then padding up to whole blocks."""
    order_N = jnp.argsort(target_N == PAD)  # stable
    rest = (0, -len(target_N) % size)
    return jnp.pad(jnp.take(target_N, order_N), rest), jnp.pad(order_N, rest)


def _compare(logits_KV, gold_K, smoothing) -> tuple[TokenSums, Float[Array, "K V"]]:
    """What each token adds, nothing for padding, and the slope of the objective in the logits."""
    real_K = gold_K != PAD
    gold_logit_K1 = jnp.take_along_axis(logits_KV, gold_K[:, None], axis=1)
    # Each logit's exponential is taken once, for the normaliser and for the slope. Logits are
    # compared with the largest one first: a sum with it would round small losses away.
    largest_K1 = logits_KV.max(axis=1, keepdims=True)
    power_KV = jnp.exp(logits_KV - largest_K1)
    sum_K1 = power_KV.sum(axis=1, keepdims=True)
    log_sum_K1 = jnp.log(sum_K1)
    loss_K = (log_sum_K1 - (gold_logit_K1 - largest_K1))[:, 0]
    spread_K = log_sum_K1[:, 0] - (logits_KV - largest_K1).mean(axis=1)
    objective_K = (1 - smoothing) * loss_K + smoothing * spread_K
    correct_K = jnp.sum(logits_KV >= gold_logit_K1, axis=1) == 1
    parts = objective_K, loss_K, correct_K, jnp.ones_like(loss_K)
    is_gold_KV = jax.nn.one_hot(gold_K, logits_KV.shape[1], dtype=bool)
    wanted_KV = (1 - smoothing) * is_gold_KV + smoothing / logits_KV.shape[1]
    slope_KV = jnp.where(real_K[:, None], power_KV / sum_K1 - wanted_KV, 0.0)
    return TokenSums(*(jnp.where(real_K, part, 0.0) for part in parts)), slope_KV


def guided_alignment_loss(
    alignment_BTNS: Float[Array, "B T N S"], gold_BTS: Float[Array, "B T S"]
) -> Float[Array, ""]:
    """Sum over t and s of -gold_ts log alignment_ts, of the mean of heads (Chen et al. 2016, with
    the cross-entropy of Liu et al. 2016).

    A weight below 1e-30, as sparse normalisers and windows give, counts as that, without gradient.
    """
    mean_BTS = alignment_BTNS.mean(axis=2)
    return -jnp.sum(gold_BTS * jnp.log(jnp.maximum(mean_BTS, 1e-30)))


def coverage_loss(
    alignment_BTNS: Float[Array, "B T N S"], target_BT: Int[Array, "B T"]
) -> Float[Array, ""]:
    """Sum over real tokens t of sum over s of min(alignment_ts, coverage_ts), the mean of heads.

    coverage_ts sums the alignments of the steps before t (See et al. 2017, eq. 10 and 12).
    """
    before_BTNS = jnp.cumsum(alignment_BTNS, axis=1) - alignment_BTNS
    overlap_BT = jnp.minimum(alignment_BTNS, before_BTNS).sum(axis=-1).mean(axis=-1)
    return jnp.sum(overlap_BT * (target_BT != PAD))

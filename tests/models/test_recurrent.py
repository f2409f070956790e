import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.recurrent import CELLS, make_cell, unroll
from tests import reference
from tests.small import ROUNDING, flat, nested, perturb

D, H, S = 3, 4, 5
LENGTHS = np.array([5, 2, 0, 3])
VALID = np.arange(S) < LENGTHS[:, None]
X = np.float32(np.random.default_rng(1).standard_normal((4, S, D)))


def make(name, dtype="float32"):
    key = jax.random.key(7)
    return make_cell(name, D, H, key=key, dtype=dtype, forget_bias=1.0)


def split(name, dtype="float32"):
    graphdef, params = nnx.split(make(name, dtype), nnx.Param)
    return graphdef, perturb(nnx.to_pure_dict(params))


def run(name, params, x=X, valid=VALID, reverse=False, dtype="float32"):
    graphdef = split(name, dtype)[0]
    apply = jax.jit(lambda p, x, v: unroll(nnx.merge(graphdef, p), x, v, reverse=reverse))
    return apply(params, x, valid)


def expected(name, params, reverse):
    """Outputs of each row, run over its real positions alone."""
    outputs, finals = np.zeros((len(LENGTHS), S, H)), []
    for row, length in enumerate(LENGTHS):
        xs = X[row, :length].astype(np.float64)
        carry = reference.zeros(name, H)
        carries = reference.run(name, xs[::-1] if reverse else xs, params, carry)
        hs = [c[0] for c in carries]
        outputs[row, :length] = np.reshape(hs[::-1] if reverse else hs, (-1, H))
        finals.append(carries[-1] if carries else carry)
    return [np.array(entry) for entry in zip(*finals, strict=True)], outputs


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_values_are_those_of_the_paper(name, reverse):
    params = split(name)[1]
    carry, h_BSH = run(name, params, reverse=reverse)
    finals, outputs = expected(name, flat(params), reverse)
    np.testing.assert_allclose(h_BSH, outputs, **ROUNDING)
    for got, want in zip(carry, finals, strict=True):
        np.testing.assert_allclose(got, want, **ROUNDING)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_are_those_of_the_paper(name):
    graphdef, params = split(name)
    weight = np.random.default_rng(2).standard_normal((len(LENGTHS), S, H))

    def loss(p):
        x_BSD, valid_BS = jnp.asarray(X), jnp.asarray(VALID)
        carry, h_BSH = unroll(nnx.merge(graphdef, p), x_BSD, valid_BS, reverse=True)
        return jnp.sum(h_BSH * weight) + sum(jnp.sum(c**2) for c in carry)

    def reference_loss(p):
        finals, outputs = expected(name, p, reverse=True)
        return np.sum(outputs * weight) + sum(np.sum(c**2) for c in finals)

    gradient = flat(jax.jit(jax.grad(loss))(params))
    reference.check_gradient(gradient, reference_loss, flat(params), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_padding_is_never_seen(name, reverse):
    """Junk in padding, more of it, another batch size or order: bit by bit the same."""
    params = split(name)[1]
    carry, h_BSH = run(name, params, reverse=reverse)
    order = np.array([3, 1, 0])
    wide = np.full((3, S + 4, D), 1e30, np.float32)
    wide[:, :S] = np.where(VALID[..., None], X, -1e30)[order]
    valid = np.pad(VALID[order], ((0, 0), (0, 4)))
    other_carry, other_BSH = run(name, params, wide, valid, reverse=reverse)
    np.testing.assert_allclose(other_BSH[:, :S], h_BSH[order], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(other_BSH[:, S:], 0.0)
    for got, want in zip(other_carry, carry, strict=True):
        np.testing.assert_allclose(got, want[order], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(np.array(h_BSH)[~VALID], 0.0)


@pytest.mark.parametrize("name", CELLS)
def test_initial_parameters(name):
    cell = make(name)
    U = np.array(cell.recurrent_kernel[...])
    assert U.shape == (H, cell.gates * H)
    for gate in np.split(U, cell.gates, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(H), atol=1e-5)
    W = np.array(cell.input_kernel[...])
    assert abs(W).max() <= np.sqrt(6 / (D + H))  # Glorot's bound of one gate, not of all together
    assert len({tuple(gate.ravel()) for gate in np.split(W, cell.gates, axis=1)}) == cell.gates
    bias = np.zeros(cell.gates * H)
    if name == "lstm":
        bias[H : 2 * H] = 1.0  # the forget gate is the second: i, f, g, o
    np.testing.assert_array_equal(cell.bias[...], bias)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.state(cell)))


@pytest.mark.parametrize("name", CELLS)
def test_bfloat16_is_close_and_carries_stay_float32(name):
    params = split(name)[1]
    exact, near = run(name, params)[1], run(name, params, dtype="bfloat16")[1]
    assert near.dtype == jnp.float32
    difference = abs(np.array(exact) - np.array(near)).max()
    # bfloat16 keeps 8 bits: 2^-9 relative a factor, a few of them summed over five steps.
    assert 0 < difference < 0.03


def test_nested_inverts_flat():
    params = split("gru")[1]
    again = nested(flat(params))
    assert again.keys() == params.keys()

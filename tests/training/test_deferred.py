"""Sums that leave the carry of a scan: which do, and that the numbers stay."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.extend.core import jaxprs_in_params, primitives

from seq2seq_jax.benchmarking.workloads import make_config
from seq2seq_jax.models.layers import made_apart
from seq2seq_jax.models.recurrent import make_cell, unroll
from seq2seq_jax.models.seq2seq import build
from seq2seq_jax.training import step as steps
from seq2seq_jax.training.deferred import deferred
from seq2seq_jax.types import Batch
from tests.small import ROUNDING
from tests.training.test_step import KEY, SGD, hyper

T, B, D, F = 5, 2, 6, 8
DRAW = np.random.default_rng(0)
WEIGHT_DF, BACK_FD, START_BD, X_TBD = (
    jnp.asarray(0.3 * DRAW.standard_normal(shape), jnp.float32)
    for shape in ((D, F), (F, D), (B, D), (T, B, D))
)


def scans(jaxpr):
    """The scans of a program, inner ones too."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from scans(inner)


def carried(function, *inputs):
    """Shapes in the carries of the program's scans."""
    found = []
    for eqn in scans(jax.make_jaxpr(function)(*inputs).jaxpr):
        first = eqn.params["num_consts"]
        found += [var.aval.shape for var in eqn.invars[first:][: eqn.params["num_carry"]]]
    return found


def handed_out(function, *inputs):
    """Shapes of what the program's scans stack."""
    return [
        var.aval.shape
        for eqn in scans(jax.make_jaxpr(function)(*inputs).jaxpr)
        for var in eqn.outvars[eqn.params["num_carry"] :]
    ]


def cell(state_BD, x_BD, weight_DF, back_FD):
    return jnp.tanh(jnp.tanh((state_BD + x_BD) @ weight_DF) @ back_FD)


def plain(state_BD, x_BD, weights):
    return cell(state_BD, x_BD, *weights)


def nested(state_BD, x_BD, weights):
    return jax.jit(jax.jit(cell))(state_BD, x_BD, *weights)


def apart(state_BD, x_BD, weights):
    """As a Transformer's MLP, whose gradient is made apart."""
    weight_DF, back_FD = weights
    return cell(state_BD, x_BD, weight_DF, made_apart(back_FD.T).T)


def typed(state_BD, x_BD, weights):
    """A product of two numbers' types: the gradient comes back through another one."""
    half = (x.astype(jnp.bfloat16) for x in (state_BD, x_BD, *weights))
    return cell(*half).astype(jnp.float32)


def loss(weights, start_BD, x_TBD, *, body=plain, reverse=False):
    def step(state_BD, x_BD):
        state_BD = body(state_BD, x_BD, weights)
        return state_BD, state_BD

    _, states_TBD = lax.scan(step, start_BD, x_TBD, reverse=reverse)
    # A slope of its own at each step.
    return jnp.sum(states_TBD * jnp.arange(states_TBD.size).reshape(states_TBD.shape))


WEIGHTS = WEIGHT_DF, BACK_FD
INPUTS = WEIGHTS, START_BD, X_TBD


def assert_same(one, other):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **ROUNDING), one, other)


@pytest.mark.parametrize("body", [plain, nested, apart])
@pytest.mark.parametrize("reverse", [False, True])
def test_weights_leave_the_carry_and_keep_their_gradient(body, reverse):
    gradient = jax.grad(functools.partial(loss, body=body, reverse=reverse), argnums=(0, 1, 2))
    assert {(D, F), (F, D)} <= set(carried(gradient, *INPUTS))
    assert not {(D, F), (F, D)} & set(carried(deferred(gradient), *INPUTS))
    assert_same(jax.jit(deferred(gradient))(*INPUTS), jax.jit(gradient)(*INPUTS))


def test_a_sum_of_converted_products_leaves_too():
    gradient = jax.grad(functools.partial(loss, body=typed))
    assert (D, F) not in carried(deferred(gradient), *INPUTS)
    # bfloat16 has 8 bits.
    for one, other in zip(deferred(gradient)(*INPUTS), gradient(*INPUTS), strict=True):
        np.testing.assert_allclose(one, other, atol=2**-6 * np.abs(other).max())


def test_under_vmap():
    gradient = jax.grad(loss)
    members = jax.tree.map(lambda x: jnp.stack([x, 2 * x, -x]), INPUTS)
    many = jax.vmap(deferred(gradient))
    assert not {(3, D, F), (D, F)} & set(carried(many, *members))
    assert_same(jax.jit(many)(*members), jax.jit(jax.vmap(gradient))(*members))


def test_a_scan_in_a_scan():
    """What the outer one sums, the gradient of a whole inner one, is no product and stays."""

    def twice(weights, start_BD, x_TBD):
        return lax.scan(
            lambda sum, _: (sum + loss(weights, start_BD, x_TBD + sum), None), 0.0, length=2
        )[0]

    gradient = jax.grad(twice)
    before, after = (carried(f, *INPUTS).count((D, F)) for f in (gradient, deferred(gradient)))
    assert (before, after) == (2, 1)
    assert_same(jax.jit(deferred(gradient))(*INPUTS), jax.jit(gradient)(*INPUTS))


def test_many_rows_are_not_stacked():
    """With more rows than that, a step would hand out more numbers than the sum has."""
    few, many = (jax.tree.map(lambda x, n=n: jnp.tile(x, (n, 1)), START_BD) for n in (1, 8))
    x_few, x_many = (jnp.tile(X_TBD, (1, n, 1)) for n in (1, 8))
    gradient = jax.grad(loss)
    assert handed_out(deferred(gradient), WEIGHTS, few, x_few) != handed_out(
        gradient, WEIGHTS, few, x_few
    )
    large = WEIGHTS, many, x_many
    assert set(handed_out(deferred(gradient), *large)) == set(handed_out(gradient, *large))
    assert carried(deferred(gradient), *large) == carried(gradient, *large)


def test_a_factor_that_is_handed_out_anyway_costs_nothing():
    """However many rows it has, then, the sum leaves."""

    def total(start_DF, a_TBD, b_TBF, *, hands_out):
        def step(sum_DF, ab):
            a_BD, b_BF = ab[0], jnp.sin(ab[1])
            product_DF = lax.dot_general(a_BD, b_BF, (((0,), (0,)), ((), ())))
            added_DF = primitives.add_jaxvals_p.bind(sum_DF, product_DF)
            return added_DF, b_BF if hands_out else b_BF.mean()

        return lax.scan(step, start_DF, (a_TBD, b_TBF))

    inputs = WEIGHT_DF, jnp.tile(X_TBD, (1, D, 1)), jnp.tile(X_TBD @ WEIGHT_DF, (1, D, 1))
    for hands_out in (True, False):
        function = functools.partial(total, hands_out=hands_out)
        assert ((D, F) not in carried(deferred(function), *inputs)) == hands_out
        assert_same(deferred(function)(*inputs), function(*inputs))


def test_what_is_handed_out_twice_is_one_array():
    """And read as one by the scan behind; what came in is not handed out at all."""

    def there_and_back(start_BD, x_TBD):
        def step(state_BD, x_BD):
            return jnp.tanh(state_BD + x_BD), (state_BD, x_BD, state_BD, 1.0)

        def back(state_BD, inputs):
            one_BD, x_BD, other_BD, scale = inputs
            return state_BD + one_BD * x_BD * other_BD * scale, None

        end_BD, stacked = lax.scan(step, start_BD, x_TBD)
        return lax.scan(back, end_BD, stacked, reverse=True)[0], stacked

    inputs = START_BD, X_TBD
    assert handed_out(deferred(there_and_back), *inputs) == [(T, B, D), (T,)]
    _, back = scans(jax.make_jaxpr(deferred(there_and_back))(*inputs).jaxpr)
    assert [var.aval.shape for var in back.invars] == [(B, D), (T, B, D), (T, B, D), (T,)]
    assert_same(deferred(there_and_back)(*inputs), there_and_back(*inputs))


def test_what_an_lstm_keeps_of_a_step():
    """Its gates, tanh(c), the output and both carries; and backwards the gradient of the gates."""
    lstm = make_cell("lstm", D, D, key=KEY, dtype="float32", forget_bias=0.0)
    graphdef, params = nnx.split(lstm)

    def total(params, x_BTD):
        return jnp.sum(unroll(nnx.merge(graphdef, params), x_BTD)[1] ** 2)

    x_BTD = X_TBD.swapaxes(0, 1)
    gradient = jax.grad(total)
    assert handed_out(deferred(gradient), params, x_BTD) == 8 * [(T, B, D)] + [(T, B, 4 * D)]
    assert_same(deferred(gradient)(params, x_BTD), gradient(params, x_BTD))


def matrices(a_BD, b_BF):
    return a_BD.T @ b_BF


def constant(_, b_BF):
    return lax.dot_general(START_BD, b_BF, (((0,), (0,)), ((), ())))


def rows(a_BD, _):
    return jnp.einsum("bd,bd->b", a_BD, a_BD)


@pytest.mark.parametrize(
    ("product", "read", "stays"),
    [
        (matrices, False, False),
        (matrices, True, True),
        (constant, False, True),
        (rows, False, True),
    ],
)
def test_which_sums_stay(product, read, stays):
    """One that a step reads; one with a factor that all steps share; one of separate products."""

    def total(start, a_TBD, b_TBF):
        def step(sum, ab):
            a_BD, b_BF = ab
            added = primitives.add_jaxvals_p.bind(sum, product(a_BD, b_BF))
            return added, sum.mean() if read else a_BD.mean()

        return lax.scan(step, start, (a_TBD, b_TBF))

    b_TBF = jnp.tanh(X_TBD) @ WEIGHT_DF
    start = jnp.ones_like(product(X_TBD[0], b_TBF[0]))
    inputs = start, X_TBD, b_TBF
    assert (start.shape in carried(deferred(total), *inputs)) == stays
    assert_same(deferred(total)(*inputs), total(*inputs))


def test_the_gradient_of_a_memory_stays():
    """Steps add outer products, one for each row."""

    def attend(memory_BSD, start_BD, x_TBD):
        def body(state_BD, x_BD, memory_BSD):
            alignment_BS = jax.nn.softmax(jnp.einsum("bd,bsd->bs", state_BD + x_BD, memory_BSD))
            return jnp.einsum("bs,bsd->bd", alignment_BS, memory_BSD)

        return loss(memory_BSD, start_BD, x_TBD, body=body)

    inputs = jnp.stack([START_BD, jnp.cos(START_BD), -START_BD], axis=1), START_BD, X_TBD
    gradient = jax.grad(attend)
    assert carried(deferred(gradient), *inputs) == carried(gradient, *inputs)
    assert_same(jax.jit(deferred(gradient))(*inputs), jax.jit(gradient)(*inputs))


def test_no_weight_is_summed_in_the_scans_of_a_real_update(monkeypatch):
    config = make_config("luong", {})
    create = functools.partial(build, config.model, 90, 60)
    graphdef, shapes = nnx.split(nnx.eval_shape(create, jax.random.key(0)), nnx.Param)
    params = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), nnx.to_pure_dict(shapes)
    )
    state = jax.eval_shape(lambda p: steps.init_state(p, SGD, 0.0), params)
    batch = Batch(np.ones((128, 4), np.int32), np.ones((128, 3), np.int32), np.arange(128))

    def carried_weights():
        step = functools.partial(steps.make_train_step(config, graphdef, SGD), forced=True)
        weights = {x.shape for x in jax.tree.leaves(params) if x.ndim == 2}
        return weights & set(carried(step, state, batch, hyper(), KEY))

    assert not carried_weights()
    monkeypatch.setattr(steps, "deferred", lambda function: function)
    cells = {(256, 1024), (768, 2048), (512, 2048)}
    assert carried_weights() == cells | {(1024, 512)}

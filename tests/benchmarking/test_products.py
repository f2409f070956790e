"""Operations counted from a program, against pencil and paper."""

import jax
import jax.numpy as jnp
import pytest

from seq2seq_jax.benchmarking.products import Product, count_products, operations

M, K, N, STEPS = 3, 5, 7, 4


def count(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return count_products(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_one_product_counts_its_multiplications_and_additions():
    found = count(jnp.matmul, (M, K), (K, N))
    assert found == {Product(1, M, K, N, "float32"): 1}
    assert operations(found) == 2 * M * K * N


def test_batch_and_contraction_anywhere():
    found = count(lambda a, b: jnp.einsum("bns,bsnd->bnd", a, b), (2, 3, 5), (2, 5, 3, 7))
    assert operations(found) == 2 * (2 * 3 * 5 * 7)
    ((product, times),) = found.items()
    assert (product.batch, times, sorted([product.m, product.n])) == (6, 1, [1, 7])


def test_loops_functions_and_branches_are_looked_into():
    def step(carry, x):
        return jax.jit(jnp.matmul)(carry, x), None

    def scanned(carry, xs):
        return jax.checkpoint(lambda c: jax.lax.scan(step, c, xs)[0])(carry)

    found = count(scanned, (M, K), (STEPS, K, K))
    assert found == {Product(1, M, K, K, "float32"): STEPS}


def test_a_loop_of_unknown_length_counts_as_often_as_is_said():
    def looped(carry, matrix, steps):
        outside = carry @ matrix
        return jax.lax.fori_loop(0, steps.astype(int), lambda i, c: c @ matrix, outside)

    arguments = [jnp.zeros(shape) for shape in ((M, K), (K, K), ())]
    program = jax.make_jaxpr(looped)(*arguments).jaxpr
    found = [count_products(program, passes)[Product(1, M, K, K, "float32")] for passes in (0, 6)]
    assert found == [1, 7]


def test_branches_that_do_any_count_as_often_as_each_other():
    def branching(left, right):
        some = [
            lambda: left @ right,
            lambda: left @ right + 1.0,
            lambda: (left[1:] @ right)[jnp.zeros(M, int)],
            lambda: jnp.zeros((M, N)),
        ]
        return jax.lax.switch(left[0, 0].astype(int), some)

    found = count(branching, (M, K), (K, N))
    whole, part = (Product(1, rows, K, N, "float32") for rows in (M, M - 1))
    assert found == {whole: pytest.approx(2 / 3), part: pytest.approx(1 / 3)}


def test_the_gradient_of_a_product_is_two_more():
    def loss(left, right):
        return jnp.sum(left @ right)

    found = count(jax.value_and_grad(loss, argnums=(0, 1)), (M, K), (K, N))
    assert operations(found) == 3 * 2 * M * K * N


def test_nothing_to_multiply():
    found = count(jnp.sin, (M,))
    assert (found, operations(found)) == ({}, 0)

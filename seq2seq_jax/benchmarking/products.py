"""The matrix products of a program, and how fast this machine does such products alone."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

COVERED = 0.9  # share of the operations whose shapes are timed; the rest counts as fast as they
SECONDS = 0.05  # of one timing


class Product(NamedTuple):
    """`batch` products of an m x k with a k x n matrix."""

    batch: int
    m: int
    k: int
    n: int
    dtype: str

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * self.batch * self.m * self.k * self.n


Products = Mapping[Product, int | float]  # how often each is done


def count_products(jaxpr: Any, passes: int | float = 1) -> Products:
    """How often each product is done. A scan's body counts once a step; that of a while loop, whose
    steps the program does not know, `passes` times. Of branches those that do any count as often as
    each other: one without is there for when there is nothing to do."""
    found: dict[Product, int | float] = defaultdict(int)
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            found[_product(equation)] += 1
        inside = [count_products(inner, passes) for inner in _programs(equation.params)]
        inside = [products for products in inside if products]
        times = {"scan": equation.params.get("length"), "while": passes}
        if equation.primitive.name == "cond":
            times["cond"] = 1 / max(1, len(inside))
        for products in inside:
            for product, count in products.items():
                found[product] += times.get(equation.primitive.name, 1) * count
    return found


def _programs(params: Mapping[str, Any]) -> Iterator[Any]:
    """The programs inside an operation: bodies of loops, branches, functions."""
    for value in params.values():
        for item in value if isinstance(value, list | tuple) else [value]:
            program = getattr(item, "jaxpr", item)  # a closed one holds the open one
            if hasattr(program, "eqns"):
                yield program


def _product(equation: Any) -> Product:
    (contracted, _), (batched, _) = equation.params["dimension_numbers"]
    left, right = (variable.aval for variable in equation.invars)
    batch = math.prod(left.shape[i] for i in batched)
    k = math.prod(left.shape[i] for i in contracted)
    m, n = (math.prod(side.shape) // (batch * k) for side in (left, right))
    return Product(batch, m, k, n, str(left.dtype))


def operations(products: Products) -> int | float:
    return sum(product.operations * count for product, count in products.items())


def seconds_alone(products: Products) -> float:
    """How long the products take by themselves, one after another, each at its own shape."""
    total, covered, spent = operations(products), 0, 0.0
    for product, count in sorted(products.items(), key=lambda item: -item[0].operations * item[1]):
        if covered >= COVERED * total:
            break
        covered += product.operations * count
        spent += time_product(product) * count
    return spent * total / covered if covered else 0.0


def time_product(product: Product) -> float:
    """Seconds of one such product: the best of three timings, each of many in a row."""
    batch, m, k, n, dtype = product

    @jax.jit
    def multiply(left, right):
        return jnp.matmul(left, right, preferred_element_type=jnp.float32)

    left, right = jnp.ones((batch, m, k), dtype), jnp.ones((batch, k, n), dtype)
    jax.block_until_ready(multiply(left, right))

    def timed(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            found = multiply(left, right)
        jax.block_until_ready(found)
        return (time.perf_counter() - start) / times

    times = max(1, int(SECONDS / timed(3)))
    return min(timed(times) for _ in range(3))

"""Weight gradients of a scan, summed after it and not at each of its steps.

The backward pass of `lax.scan` carries a sum for each weight of the forward pass. Step t makes it
C + A_t' B_t: a product with a short contraction, that reads and writes all of C. `deferred` takes
such sums out of the carry. The scan hands out A_t and B_t, and one product after it contracts time
too: C + sum over t of A_t' B_t. What a step hands out in several places is one array, not several:
the gradient of a product keeps a factor that its function, or another gradient, has kept already.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, primitives

# What may stand between a product and its sum.
CHANGES = (
    primitives.transpose_p,
    primitives.convert_element_type_p,
    lax.optimization_barrier_p,
)


def deferred(function: Callable) -> Callable:
    """The same function of arrays, up to rounding: its sums run in another order.

    A sum stays in its carry where a step reads it, where it adds anything but a product of two
    matrices, and where a step would hand out as many numbers as the sum has, or more, that it does
    not hand out anyway. Products of stacks of matrices, the gradients of keys and memory, stay too:
    on a CPU they gain nothing.
    """

    def rewritten(*inputs):
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*inputs)
        outputs = _run(program, *jax.tree.leaves(inputs))
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return rewritten


def _run(program: ClosedJaxpr, *inputs) -> list:
    """What a program gives; `jit` is inlined and scans are rewritten."""
    jaxpr = program.jaxpr
    values = _bind(jaxpr.constvars, program.consts) | _bind(jaxpr.invars, inputs)
    return _evaluate(jaxpr.eqns, values, jaxpr.outvars)


def _bind(variables, values) -> dict[Any, Any]:
    return dict(zip(variables, values, strict=True))


def _evaluate(eqns: list[JaxprEqn], values: dict[Any, Any], wanted: list) -> list:
    """What is wanted, from the values that are known before."""

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in eqns:
        inputs = map(read, eqn.invars)
        with eqn.ctx.manager:
            if eqn.primitive is primitives.jit_p:
                outputs = _run(eqn.params["jaxpr"], *inputs)
            elif eqn.primitive is primitives.scan_p:
                outputs = _scan(eqn.params, *inputs)
            else:
                params = eqn.primitive.get_bind_params(eqn.params)
                outputs = eqn.primitive.bind(*inputs, **params)
                outputs = outputs if eqn.primitive.multiple_results else [outputs]
        values |= _bind(eqn.outvars, outputs)
    return [read(atom) for atom in wanted]


def _scan(params: dict[str, Any], *inputs) -> list:
    program = params["jaxpr"]
    program = jax.make_jaxpr(partial(_run, program))(*program.in_avals)  # inlines
    jaxpr, consts, carries = program.jaxpr, params["num_consts"], params["num_carry"]
    carried, x_vars = jaxpr.invars[consts:][:carries], jaxpr.invars[consts + carries :]
    start, xs = inputs[consts:][:carries], inputs[consts + carries :]
    known = _bind(jaxpr.constvars, program.consts) | _bind(jaxpr.invars[:consts], inputs[:consts])

    sums = _find_sums(jaxpr, consts, carries)
    kept = [place for place in range(carries) if place not in sums]
    gone = {id(eqn) for eqns in sums.values() for eqn in eqns}
    eqns = [eqn for eqn in jaxpr.eqns if id(eqn) not in gone]
    handed = jaxpr.outvars[carries:]
    factors = [var for product, *_ in sums.values() for var in product.invars]
    made = {id(var): var for var in [*handed, *factors] if var not in x_vars}
    read = {id(x): x for x in xs}

    def step(carry, x):
        slices = dict(zip(read, x, strict=True))
        values = known | _bind([carried[place] for place in kept], carry)
        values |= _bind(x_vars, [slices[id(x)] for x in xs])
        new = [jaxpr.outvars[place] for place in kept]
        outputs = _evaluate(eqns, values, [*new, *made.values()])
        return outputs[: len(kept)], outputs[len(kept) :]

    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    end, ys = lax.scan(step, [start[place] for place in kept], list(read.values()), **options)
    stacked = _bind(map(id, x_vars), xs) | _bind(made, ys)
    results = _bind(kept, end)
    for place, (product, *rest) in sums.items():
        values = {carried[place]: start[place]} | _multiply(product, rest, stacked)
        (results[place],) = _evaluate(rest, values, [jaxpr.outvars[place]])
    return [results[place] for place in range(carries)] + [stacked[id(var)] for var in handed]


def _multiply(product: JaxprEqn, rest: list[JaxprEqn], stacked: dict[int, Any]) -> dict[Any, Any]:
    """The product of all steps at once; where it is only transposed, takes that from the rest."""
    axes, _ = product.params["dimension_numbers"]
    factors = [stacked[id(var)] for var in product.invars]
    sides = [(factor, axis + 1) for factor, (axis,) in zip(factors, axes, strict=True)]
    name = product.outvars[0]
    if rest[0].primitive is primitives.transpose_p:
        # JAX writes (B' A)' for A' B. A CPU takes up to twice as long for that once the
        # contraction is long, since XLA's product does not like to come out transposed.
        name, sides = rest.pop(0).outvars[0], sides[::-1]
    (left, left_axis), (right, right_axis) = sides
    params = product.primitive.get_bind_params(product.params)
    params["dimension_numbers"] = ((0, left_axis), (0, right_axis)), ((), ())
    return {name: product.primitive.bind(left, right, **params)}


def _find_sums(jaxpr: Jaxpr, consts: int, carries: int) -> dict[int, list[JaxprEqn]]:
    """Of each sum that can leave the carry its place there, and what each step does to it: a
    product of two matrices, perhaps a transposition or another type, and the addition."""
    inputs, outputs = jaxpr.invars[consts:][:carries], jaxpr.outvars[:carries]
    fixed = {*jaxpr.constvars, *jaxpr.invars[:consts]}
    stacked = jaxpr.invars[consts + carries :] + jaxpr.outvars[carries:]
    makers = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}
    read = [atom for eqn in jaxpr.eqns for atom in eqn.invars] + list(jaxpr.outvars)
    reads = Counter(atom for atom in read if isinstance(atom, Var))

    def maker(atom, *wanted) -> JaxprEqn | None:
        """The equation that makes this for one reader alone, if it is one of those wanted."""
        eqn = makers.get(atom) if isinstance(atom, Var) and reads[atom] == 1 else None
        return eqn if eqn and eqn.primitive in wanted else None

    sums = {}
    for place, (old, new) in enumerate(zip(inputs, outputs, strict=True)):
        eqn = maker(new, primitives.add_jaxvals_p)
        if eqn is None or old not in eqn.invars or reads[old] != 1:
            continue
        chain = [eqn]
        (atom,) = (atom for atom in eqn.invars if atom is not old)
        while eqn := maker(atom, *CHANGES):
            chain, atom = [eqn, *chain], eqn.invars[0]
        product = maker(atom, primitives.dot_general_p)
        if product is None or not _multiplies_matrices(product):
            continue
        made = [var for var in product.invars if var not in stacked]
        if fixed.isdisjoint(made) and sum(map(_size, made)) < _size(new):
            sums[place] = [product, *chain]
    return sums


def _size(var: Any) -> int:
    return var.aval.size


def _multiplies_matrices(product: Any) -> bool:
    (axes, _), (batch, _) = product.params["dimension_numbers"]
    return all(var.aval.ndim == 2 for var in product.invars) and (len(axes), len(batch)) == (1, 0)

"""Formulas of the papers in NumPy float64, for one example at a time, without padding or batches.

Nothing here imports the package. Row vectors, as in y = x W. A kernel holds the gates side by side,
in the order of the equations. Padding does not exist here: an example has its real positions only.
"""

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def log_softmax(x):
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


# Cells: (carry, x, parameters) -> carry; the first entry of a carry is the output.


def elman(carry, x, p):
    """Elman (1990): h' = tanh(W x + U h + b)."""
    (h,) = carry
    return (np.tanh(x @ p["input_kernel"] + h @ p["recurrent_kernel"] + p["bias"]),)


def gru(carry, x, p):
    """Cho et al. (2014), eq. 5-8, the reset gate after the product as in cuDNN."""
    (h,) = carry
    W_r, W_z, W_n = np.split(p["input_kernel"], 3, axis=1)
    U_r, U_z, U_n = np.split(p["recurrent_kernel"], 3, axis=1)
    b_r, b_z, b_n = np.split(p["bias"], 3)
    r = sigmoid(x @ W_r + h @ U_r + b_r)
    z = sigmoid(x @ W_z + h @ U_z + b_z)
    n = np.tanh(x @ W_n + b_n + r * (h @ U_n + p["reset_bias"]))
    return ((1 - z) * n + z * h,)


def lstm(carry, x, p):
    """Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000); no peepholes."""
    h, c = carry
    W_i, W_f, W_g, W_o = np.split(p["input_kernel"], 4, axis=1)
    U_i, U_f, U_g, U_o = np.split(p["recurrent_kernel"], 4, axis=1)
    b_i, b_f, b_g, b_o = np.split(p["bias"], 4)
    i = sigmoid(x @ W_i + h @ U_i + b_i)
    f = sigmoid(x @ W_f + h @ U_f + b_f)
    g = np.tanh(x @ W_g + h @ U_g + b_g)
    o = sigmoid(x @ W_o + h @ U_o + b_o)
    c = f * c + i * g
    return o * np.tanh(c), c


CELLS = {"elman": elman, "gru": gru, "lstm": lstm}


def zeros(cell, width):
    return (np.zeros(width),) * (2 if cell == "lstm" else 1)


def run(cell, xs, p, carry):
    """All carries along a sequence."""
    carries = []
    for x in xs:
        carry = CELLS[cell](carry, x, p)
        carries.append(carry)
    return carries


def softmax(score_S):
    """Bahdanau et al. (2015), eq. 6, over the real positions."""
    weight_S = np.exp(score_S)
    return weight_S / weight_S.sum()


def smoothed_cross_entropy(logits_V, gold, smoothing):
    """Szegedy et al. (2016), section 7: H(q', p) with q' = (1 - eps) delta(gold) + eps / V."""
    target_V = np.full(len(logits_V), smoothing / len(logits_V))
    target_V[gold] += 1 - smoothing
    return -target_V @ log_softmax(logits_V)


def schedule(name, step, start, decay, floor):
    """Bengio et al. (2015), section 2.4: max(floor, ...); the inverse sigmoid for small i / k."""
    if name == "linear":
        return max(floor, start - decay * step)
    if name == "exponential":
        return max(floor, start * decay**step)
    if name == "inverse_sigmoid":
        return max(floor, start * decay / (decay + np.exp(step / decay)))
    return start


def slopes(function, arrays, directions, epsilon=1e-5):
    """Central differences of function(arrays) along one direction for each of the arrays, a dict.

    With random directions a wrong gradient, in whatever entry, gives a wrong slope. The error is of
    the order epsilon^2 + 1e-16 / epsilon, 1e-10 for values around 1.
    """

    def difference(name):
        move = epsilon * directions[name]
        above = function(arrays | {name: arrays[name] + move})
        below = function(arrays | {name: arrays[name] - move})
        return (above - below) / (2 * epsilon)

    return {name: difference(name) for name in arrays}


def check_gradient(gradient, function, arrays, **tolerance):
    """Compares `gradient`, a dict like `arrays`, with slopes of `function` in random directions."""
    assert gradient.keys() == arrays.keys()
    rng = np.random.default_rng(0)
    directions = {name: rng.standard_normal(array.shape) for name, array in arrays.items()}
    for name, want in slopes(function, arrays, directions).items():
        got = np.sum(gradient[name] * directions[name])
        np.testing.assert_allclose(got, want, err_msg=name, **tolerance)

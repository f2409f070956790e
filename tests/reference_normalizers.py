"""Normalisers from the papers in NumPy float64, for one row of real positions. No padding here.

Nothing here imports the package, and the thresholds are found in another way than the package does.
"""

import numpy as np

from tests.reference import sigmoid, softmax


def sparsemax(score_S):
    """Martins & Astudillo (2016): the nearest point of the simplex, by Michelot's projections:
    onto the plane of sum 1, what is negative leaves, and again."""
    active_S = np.ones(len(score_S), bool)
    while True:
        tau = (score_S[active_S].sum() - 1) / active_S.sum()
        if (score_S[active_S] > tau).all():
            return np.where(active_S, score_S - tau, 0.0)
        active_S &= score_S > tau


def entmax(score_S, alpha):
    """Peters et al. (2019): [(alpha - 1) e_s - tau]_+ ^ (1 / (alpha - 1)), by bisection of tau."""

    def power(tau):
        return np.maximum((alpha - 1) * score_S - tau, 0.0) ** (1 / (alpha - 1))

    high = (alpha - 1) * score_S.max()
    low = high - 1  # the best position alone has 1 there
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle).sum() > 1 else (low, middle)
    return power((low + high) / 2)


def smoothed(score_S):
    """Chorowski et al. (2015), section 2.3."""
    weight_S = sigmoid(score_S)
    return weight_S / weight_S.sum()


def hard(score_S):
    """1 at the greatest, the first of equals."""
    return np.float64(np.arange(len(score_S)) == np.argmax(score_S))


# At initial parameters, in evaluation.
NORMALIZERS = {
    "softmax": softmax,
    "sparsemax": sparsemax,
    "entmax15": lambda score_S: entmax(score_S, 1.5),
    "entmax": lambda score_S: entmax(score_S, 1.5),
    "sigmoid": smoothed,
    "hard": hard,
    "gumbel": hard,
}


def by_rows(lengths, function, score_BS):
    """`function` of the real positions of each row, zeros behind them."""
    result_BS = np.zeros(score_BS.shape)
    for row, length in enumerate(lengths):
        if length:
            result_BS[row, :length] = function(score_BS[row, :length])
    return result_BS

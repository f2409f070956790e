"""Addition, digit by digit: `1 2 + 3 9` -> `5 1`.

Digits are words, the most significant first; the base is data.task.symbols (default 10). A source
of n tokens has n - 1 digits: each number has floor((n - 1) / 2) of them or one more, without
leading zeros. There is no gold alignment: a digit of the sum depends on all digits to its right.
"""

import ml_collections

from seq2seq_jax.data.tasks.sampling import Draw, cut, distinct, length_range, split_sizes
from seq2seq_jax.types import InputError, Pair, Splits

SIZES = (10_000, 500, 500)  # train, valid, test
LENGTHS = (3, 9)  # source tokens, the plus sign included
BASE = 10


def generate(data: ml_collections.ConfigDict) -> Splits:
    sizes = split_sizes(data, SIZES)
    low, high = length_range(data, LENGTHS, smallest=3)
    base = data.task.symbols or BASE
    if base < 2:
        raise InputError(f"data.task.symbols = {base}: the base of addition, expected 2 or more")
    draw = Draw(data.seed)

    def make(length: int) -> Pair:
        digits = [(length - 1) // 2, length // 2]
        draw.shuffle(digits)
        numbers = [_number(draw, count, base) for count in digits]
        source = " + ".join(_spell(number, base) for number in numbers)
        return Pair(source, _spell(sum(numbers), base))

    counts = {length: _count(length, base) for length in range(low, high + 1)}
    return cut(draw, distinct(draw, make, counts, sum(sizes), "addition"), sizes)


def _bounds(digits: int, base: int) -> tuple[int, int]:
    """Numbers of that many digits: [low, high); 0 is a number of one digit."""
    return (0 if digits == 1 else base ** (digits - 1)), base**digits


def _number(draw: Draw, digits: int, base: int) -> int:
    """Digit by digit, so that long numbers are drawn evenly too."""
    number = draw.below(base) if digits == 1 else 1 + draw.below(base - 1)
    for _ in range(digits - 1):
        number = number * base + draw.below(base)
    return number


def _count(length: int, base: int) -> int:
    """Sources of that length: both orders where one number is a digit longer."""
    one, other = (length - 1) // 2, length // 2
    sizes = [high - low for low, high in (_bounds(one, base), _bounds(other, base))]
    return sizes[0] * sizes[1] * (1 if one == other else 2)


def _spell(number: int, base: int) -> str:
    digits = [str(number % base)]
    while number := number // base:
        digits.append(str(number % base))
    return " ".join(reversed(digits))

"""Does attention keep long sentences as good as short ones?

Bahdanau et al.'s figure (2015): scores by source length, without attention and with every score,
and for two of them also after training on sentences of at most 10 words; on the generated French
(`length.py`) or on Tatoeba's pairs (`length.py:tatoeba`, whose folder holds fra.txt).

Command: ./launch.sh sweep --config=configs/length.py --workdir=runs/length --workers=2
    or, with --config=configs/length.py:tatoeba, --config.data.dir=FOLDER
Cost: 12 runs a seed, on one core of 1 to 2 minutes (french) and 5 to 16 (tatoeba, bfloat16) each
Expected: see experiments/length/
"""

from configs import _laboratory
from seq2seq_jax.config_checks import SCORES
from seq2seq_jax.sweeps.grid import chain, product


def get_config(data="french"):
    config = _laboratory.base(data)
    config.model.attention.scale = "learned"  # of scaled_dot and cosine
    config.sweep.baseline = "score=none"
    return config


def sweep():
    score, longest = "model.attention.score", "data.source.max_length"
    return chain(
        product({score: list(SCORES)}),
        product({score: ["none", "concat"]}, {longest: [10]}),
    )

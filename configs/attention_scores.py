"""Which score learns best, everything else being equal?

All scores, on the generated French (`attention_scores.py`) or on CMUdict g2p
(`attention_scores.py:g2p`); location-sensitive attention and coverage are concat with a memory
term. `--config.model.attention.match_parameters` repeats the comparison at equal size.

Command: ./launch.sh sweep --config=configs/attention_scores.py --workdir=runs/attention_scores
    or, with --config=configs/attention_scores.py:g2p, --config.data.dir=FOLDER
Cost: 13 runs
Expected: see experiments/attention_scores/
"""

from configs import _laboratory
from seq2seq_jax.sweeps.grid import chain, product


def get_config(data="french"):
    config = _laboratory.base(data)
    config.sweep.baseline = "score=dot"
    return config


def sweep():
    score, scale, term = (f"model.attention.{key}" for key in ("score", "scale", "memory_term"))
    return chain(
        product({score: ["dot", "general", "biaffine", "linear", "concat", "normed_concat"]}),
        product({score: ["scaled_dot", "cosine"]}, {scale: ["fixed", "learned"]}),
        product({score: ["location"]}),
        product({score: ["concat"]}, {term: ["location", "coverage"]}),
    )
